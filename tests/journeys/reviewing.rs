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
