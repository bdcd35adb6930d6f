//! A day at the desk: what a decision that was taken back leaves behind, where a form that came back is, and whom mail does not reach.

use sqlx::PgPool;
use tests::{Page, TestPortal};

use crate::apply_and_review::case_of;
use crate::gated::{applies_for, gated};
use crate::grants::{account_of, events_of, grant_of};

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn an_approval_that_was_taken_back_has_never_been(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, grace, root) = (portal.researcher("ada").await, portal.reviewer("grace").await, portal.admin("root").await);
    let case = case_of(&applies_for(&ada, "/demo/tiny-opt").await);
    assert_eq!(grace.post(&format!("{case}/approve"), &[("until", "2026-06-01")]).await.status, 303);
    let grant = grant_of(&portal, &ada).await.to_string();
    assert_eq!(ada.get(&format!("/grants/{grant}")).await.status, 200);
    assert_eq!(grace.post(&format!("{case}/undo"), &[]).await.status, 303);

    assert_eq!(events_of(&portal, &grant).await, ["grant.made", "grant.undone"], "no revocation, so that those can be counted");
    let person = format!("/admin/people/{}", account_of(&portal, &ada).await);
    for (reader, path) in [(&ada, "/applications"), (&ada, "/grants.csv"), (&root, "/admin/grants.csv"), (&grace, &case), (&grace, &person)]
    {
        let page = reader.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(!page.text.contains("Revoked") && !page.text.contains("revoked") && !page.text.contains(&grant), "{path}: {}", page.text);
    }
    for (reader, path) in [(&ada, format!("/grants/{grant}")), (&grace, format!("/admin/grants/{grant}"))] {
        assert_eq!(reader.get(&path).await.status, 404, "{path}");
    }
    let program = ada.with_token(&ada.makes_token(&["apply"]).await);
    assert_eq!(program.fetch("/api/v1/grants").await.json()["items"], serde_json::json!([]));
    root.get("/admin/audit?kind=grant.undone").await.says("grace@lab.example");

    // One that is revoked in earnest afterwards is seen as such, and alone.
    portal.wait(time::Duration::MINUTE);
    assert_eq!(grace.post(&format!("{case}/approve"), &[("until", "2026-06-01")]).await.status, 303);
    let again = grant_of(&portal, &ada).await.to_string();
    assert_eq!(grace.post(&format!("/admin/grants/{again}/revoke"), &[("reason", "Left the project.")]).await.status, 303);
    ada.get(&format!("/grants/{again}")).await.says("Left the project.");
    assert_eq!(ada.get("/grants.csv").await.text.lines().count(), 2, "its head and the one that was");
}

/// What follows ` autofocus` before the element ends, with the element's beginning.
fn focused(page: &Page) -> Vec<&str> {
    let ends = page.text.match_indices(" autofocus").map(|(at, _)| at);
    ends.map(|at| &page.text[page.text[..at].rfind('<').unwrap()..at]).collect()
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_form_that_comes_back_is_where_its_reader_goes_on(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, grace) = (portal.researcher("ada").await, portal.reviewer("grace").await);
    let case = case_of(&applies_for(&ada, "/demo/tiny-opt").await);
    assert!(focused(&grace.get(&case).await).is_empty());
    for (form, fields, control) in [
        ("approve", &[("until", "soon"), ("note", "")][..], "id=\"until\""),
        ("decline", &[("reason", "duplicate"), ("text", "")], "id=\"text\""),
        ("decline", &[("reason", ""), ("text", "")], "id=\"reason\""),
        ("changes", &[("text", "")], "id=\"changes\""),
        ("comment", &[("lane", "shared"), ("text", "")], "id=\"comment\""),
        ("approve", &[("until", "2026-06-01"), ("scopes", "")], "<fieldset"),
        ("approve", &[("until", "2026-06-01"), ("preview", "yes")], "preview-title"),
    ] {
        let page = grace.post(&format!("{case}/{form}"), fields).await;
        let focused = focused(&page);
        assert!(focused.len() == 1 && focused[0].contains(control), "{form}: {focused:?}");
    }
    let written = grace.post(&format!("{case}/comment"), &[("lane", "shared"), ("text", "Which data?")]).await;
    assert_eq!(written.location(), format!("{case}#thread-title"));
    grace.get(&case).await.says("id=\"thread-title\"");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn reviewers_see_whom_mail_does_not_reach(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, bob, grace) = (portal.researcher("ada").await, portal.researcher("bob").await, portal.reviewer("grace").await);
    let (case, other) = (case_of(&applies_for(&ada, "/demo/tiny-opt").await), case_of(&applies_for(&bob, "/demo/tiny-opt").await));
    let came_back = "update mail set sent_at = created_at, bounced_at = created_at, bounce = 'mailbox full' where recipient = $1";
    sqlx::query(came_back).bind(&ada.email).execute(&portal.portal.db).await.unwrap();
    let told = "Mail does not arrive";
    grace.get(&case).await.says("<span class=\"badge bad\">Mail does not arrive</span>");
    assert!(!grace.get(&other).await.text.contains(told));
    assert_eq!(grace.get("/review").await.text.matches(told).count(), 1);
    assert_eq!(grace.get("/review.csv").await.text.matches(told).count(), 1);
    let program = grace.with_token(&grace.makes_token(&["review"]).await);
    program.fetch(&format!("/api/v1{case}")).await.says(told);
    assert_eq!(program.fetch("/api/v1/review").await.text.matches(told).count(), 1);

    // From the case to the person, where somebody is blocked, and back.
    let person = format!("/admin/people/{}", account_of(&portal, &ada).await);
    grace.get(&case).await.says(&format!("<a href=\"{person}\">ada</a>"));
    grace.get(&person).await.says("<p><a href=\"/review\">Applications to review</a></p>").says(told);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_case_of_somebody_blocked_cannot_be_approved_and_says_why(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, grace, root) = (portal.researcher("ada").await, portal.reviewer("grace").await, portal.admin("root").await);
    let case = case_of(&applies_for(&ada, "/demo/tiny-opt").await);
    let person = format!("/admin/people/{}", account_of(&portal, &ada).await);
    assert!(!grace.get(&case).await.text.contains("approve-barred"));
    let block = [("model", ""), ("until", "2026-05-01"), ("reason", "Broke the licence elsewhere.")];
    assert_eq!(grace.post(&format!("{person}/block"), &block).await.status, 303);
    grace.get(&case).await.says("<button class=\"button primary\" disabled aria-describedby=\"approve-barred\">Approve</button>");

    // The person's page has what they sent, and for admins the way to what is kept about them.
    let page = grace.get(&person).await;
    page.says(&format!("<a href=\"{case}\">demo/tiny-opt</a>: ")).says("In review");
    assert!(!page.text.contains("/admin/audit"), "{}", page.text);
    root.get(&person).await.says("What the record has about them").says("/admin/mail?q=ada%40university.edu");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn every_list_of_the_desk_has_its_tabs_and_a_way_back_to_its_place(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (grace, barbara) = (portal.reviewer("grace").await, portal.reviewer("barbara").await);
    let mut ids = Vec::new();
    for name in ["ada", "bob", "cyd"] {
        ids.push(applies_for(&portal.researcher(name).await, "/demo/tiny-opt").await.replace("/applications/", ""));
    }
    for page in ["/review", "/review/renewals", "/review/grants"] {
        let shown = grace.get(page).await;
        shown.says("Renewals <span class=\"count\">0</span>").says("All waiting <span class=\"count\">3</span>").says("Stopped access");
        assert_eq!(shown.text.matches("aria-current=\"page\"").count(), 2, "{page}: the desk and the list");
    }
    assert_eq!(barbara.post(&format!("/review/{}/claim", ids[1]), &[]).await.status, 303);

    let place = [("action", "approve"), ("view", "unclaimed"), ("q", "tiny & small")];
    let all: Vec<(&str, &str)> = ids.iter().map(|id| ("id", id.as_str())).chain(place).collect();
    let back = "href=\"/review?view=unclaimed&#38;q=tiny+%26+small\"";
    let preview = grace.post("/review/bulk", &all).await;
    preview.says("<h1>Approve 2 applications</h1>").says(">Approve 2</button>").says(back);
    preview.says(&format!("name=\"skipped\" value=\"{}\"", ids[1]));
    let act = [("id", ids[0].as_str()), ("id", &ids[2]), ("skipped", &ids[1]), ("scopes", "download")];
    let mail = grace.post("/review/bulk/do", &[&act[..], &place, &[("preview", "yes")]].concat()).await;
    mail.says("Preview of the mail").says("ada@university.edu").says("Nothing has been done yet").says("Approve 2 applications");
    assert_eq!(grace.get("/review?view=decided").await.text.matches("data-case").count(), 0);
    // What could not be done when it was looked at stays named, and is not done even if it could be by now.
    assert_eq!(barbara.post(&format!("/review/{}/release", ids[1]), &[]).await.status, 303);
    let done = grace.post("/review/bulk/do", &[&act[..], &place].concat()).await;
    done.says("2 of 3 done").says("bob").says("it could not be changed this way when you looked at it").says(back);
    assert_eq!(grace.get("/review?view=decided").await.text.matches("data-case").count(), 2);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_mail_of_an_order_is_shown_for_the_first_whom_it_reaches(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, bob, grace) = (portal.researcher("ada").await, portal.researcher("bob").await, portal.reviewer("grace").await);
    let ids = [applies_for(&ada, "/demo/tiny-opt").await, applies_for(&bob, "/demo/tiny-opt").await]
        .map(|path| path.replace("/applications/", ""));
    let block = [("until", "2026-06-01"), ("reason", "harassed a reviewer"), ("model", "")];
    assert_eq!(grace.post(&format!("/admin/people/{}/block", account_of(&portal, &ada).await), &block).await.status, 303);
    let order = [("id", ids[0].as_str()), ("id", &ids[1]), ("action", "approve"), ("scopes", "download"), ("preview", "yes")];
    let page = grace.post("/review/bulk/do", &order).await;
    page.says("Preview of the mail").says("Hello bob").says("ada is blocked from").says("Approve 1");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_cannot_be_read_of_an_address_is_told_with_a_way_back(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (grace, root) = (portal.reviewer("grace").await, portal.admin("root").await);
    for (reader, page) in [(&grace, "/review?after=nonsense"), (&root, "/admin/people?before=nonsense"), (&root, "/admin/audit?before=x")] {
        let refused = reader.get(page).await;
        assert_eq!(refused.status, 422, "{page}");
        refused.says("cannot be read").says(&format!("href=\"{}\">Open the page", page.split_once('?').unwrap().0));
        assert!(!refused.text.contains("deserialize"), "{page}: {}", refused.text);
    }
}
