//! Wherever a table stands, the same rows are there as CSV and as JSON lines: for whom the page is, and nobody else.

use serde_json::Value;
use server::catalog::Gate;
use sqlx::PgPool;
use tests::{Page, Person, TestPortal};
use time::Duration;

use crate::gated::{answers, applies_for, gated};

async fn csv(person: &Person, path: &str) -> Page {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let page = person.get(&format!("{path}.csv?{query}")).await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/csv; charset=utf-8"), "{path}");
    assert_eq!(page.header("cache-control"), "no-store");
    assert!(page.header("content-disposition").starts_with("attachment; filename=\""), "{path}");
    page
}

/// The rows of the file that belongs to a page; as many as the CSV has.
async fn rows(person: &Person, path: &str) -> Vec<Value> {
    let lines = csv(person, path).await.text.lines().count();
    let (bare, query) = path.split_once('?').unwrap_or((path, ""));
    let page = person.fetch(&format!("{bare}.jsonl?{query}")).await;
    assert_eq!((page.status, page.header("content-type")), (200, "application/jsonl"), "{path}");
    let rows: Vec<Value> = page.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, rows.len() + 1, "one line for each and one for the names");
    rows
}

/// The page leads to both files of its table.
fn leads_to(page: &Page, path: &str) {
    for ending in ["csv", "jsonl"] {
        page.says(&format!("href=\"{path}.{ending}"));
    }
}

async fn claims(person: &Person, application: &str) -> String {
    let case = application.replace("/applications/", "/review/");
    assert_eq!(person.post(&format!("{case}/claim"), &[]).await.status, 303);
    case
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_queue_is_a_file_as_its_view_and_search_show_it(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (grace, barbara) = (portal.reviewer("grace").await, portal.reviewer("barbara").await);
    let (ada, bob) = (portal.researcher("ada").await, portal.researcher("bob").await);
    let mut fields = answers(&ada, "/demo/tiny-opt").await;
    fields.iter_mut().filter(|(name, _)| name == "title").for_each(|(_, value)| *value = "=HYPERLINK(\"http://evil.example\")".into());
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let first = ada.post("/demo/tiny-opt/apply", &fields).await.location().to_owned();
    let second = applies_for(&bob, "/demo/tiny-opt").await;
    let own = applies_for(&grace, "/demo/tiny-opt").await;
    claims(&grace, &first).await;
    claims(&barbara, &own).await;

    leads_to(&grace.get("/review").await, "/review");
    let all = rows(&grace, "/review").await;
    assert_eq!(
        all.iter().map(|row| row["applicant"].as_str().unwrap()).collect::<Vec<_>>(),
        ["ada", "bob", "grace"],
        "longest waiting first"
    );
    assert_eq!((&all[0]["seen_to"], &all[0]["state"], &all[1]["seen_to"]), (&"grace".into(), &"submitted".into(), &Value::Null));
    assert!(all[0]["evidence"].as_str().unwrap().contains("Institutional address"));
    csv(&grace, "/review").await.says(",\"'=HYPERLINK(\"\"http://evil.example\"\")\",");
    assert_eq!((&all[2]["seen_to"], &all[2]["evidence"]), (&Value::Null, &Value::Null), "nothing of one's own that is among reviewers");
    assert_eq!(rows(&barbara, "/review?view=mine").await[0]["seen_to"], "barbara");
    assert_eq!(rows(&grace, "/review?view=unclaimed").await.len(), 1);
    assert_eq!(rows(&grace, "/review?view=decided").await.len(), 0);
    assert_eq!(rows(&grace, "/review?q=bob").await[0]["id"], second.rsplit('/').next().unwrap());
    assert_eq!(rows(&grace, "/review?q=%26%21").await.len(), 0);
    leads_to(&grace.get("/review?q=bob").await, "/review");
    grace.get("/review?q=bob").await.says("/review.csv?q=bob");
    assert_eq!(grace.get("/review.csv?view=theirs").await.status, 404);
    assert_eq!(ada.get("/review.csv").await.status, 404, "no applicant's");

    sqlx::query(
        "insert into application
         select (jsonb_populate_record(a, jsonb_build_object('id', gen_random_uuid(), 'state', 'withdrawn', 'closed_at', a.submitted_at,
                     'submitted_at', a.submitted_at - (n / 2) * interval '1 second'))).*
         from application a, generate_series(1, 450) n where a.account_id = (select id from account where email = $1)",
    )
    .bind(&bob.email)
    .execute(&portal.portal.db)
    .await
    .unwrap();
    let found = rows(&grace, "/review?q=bob").await;
    let ids: std::collections::BTreeSet<&str> = found.iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!((found.len(), ids.len()), (451, 451), "page after page, every one once");
    assert_eq!(rows(&bob, "/applications").await.len(), 451);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_is_ones_own_is_a_file_for_oneself(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let offer = portal.offers("lab/tiny", Gate::Application, &[]).await;
    let (ada, eve, grace) = (portal.researcher("ada").await, portal.researcher("eve").await, portal.reviewer("grace").await);
    let application = applies_for(&ada, "/demo/tiny-opt").await;
    portal.grants(&offer, &ada.email, 40).await;
    let secret = ada.makes_token(&["download"]).await;

    let page = ada.get("/applications").await;
    leads_to(&page, "/applications");
    leads_to(&page, "/grants");
    let mine = rows(&ada, "/applications").await;
    assert_eq!((&mine[0]["id"], &mine[0]["state"]), (&application.rsplit('/').next().unwrap().into(), &"submitted".into()));
    let held = rows(&ada, "/grants").await;
    assert_eq!((&held[0]["model"], &held[0]["standing"]), (&"lab/tiny".into(), &"holds".into()));
    leads_to(&ada.get("/account/tokens").await, "/account/tokens");
    let tokens = rows(&ada, "/account/tokens").await;
    assert_eq!((&tokens[0]["name"], &tokens[0]["scopes"]), (&"laptop".into(), &"download".into()));
    assert!(secret.ends_with(tokens[0]["ends_with"].as_str().unwrap()));
    assert!(!csv(&ada, "/account/tokens").await.text.contains(&secret), "no secret");
    leads_to(&ada.get("/account/sessions").await, "/account/sessions");
    assert_eq!(rows(&ada, "/account/sessions").await.len(), 1);
    leads_to(&ada.get("/account/downloads?model=tiny").await, "/account/downloads");
    for path in ["/applications", "/grants", "/account/tokens", "/account/downloads"] {
        assert_eq!(rows(&eve, path).await.len(), 0, "{path}: not of others");
    }

    let grant = held[0]["id"].as_str().unwrap();
    let asked = [
        ("summary", "We measured how negation fares with size, and found that size helps little. A second round is planned."),
        ("months", "6"),
    ];
    assert_eq!(ada.post(&format!("/grants/{grant}/renew"), &asked).await.status, 303);
    leads_to(&grace.get("/review/renewals").await, "/review/renewals");
    let waiting = rows(&grace, "/review/renewals").await;
    assert_eq!((&waiting[0]["holder"], &waiting[0]["months"], &waiting[0]["grant"]), (&"ada".into(), &6.into(), &grant.into()));
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_admins_tables_are_files_and_heed_what_is_searched(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let offer = portal.offers("lab/tiny", Gate::Application, &[("config.json", b"{}")]).await;
    let (root, ada) = (portal.admin("root").await, portal.researcher("ada").await);
    portal.grants(&offer, &ada.email, 40).await;

    root.get("/admin/people?q=ada").await.says("/admin/people.csv?q=ada").says("All who match");
    assert_eq!(rows(&root, "/admin/people").await.len(), 2);
    assert_eq!(rows(&root, "/admin/people?q=ada").await[0]["email"], "ada@university.edu");
    let grants = rows(&root, "/admin/grants").await;
    assert_eq!((&grants[0]["email"], &grants[0]["standing"]), (&"ada@university.edu".into(), &"holds".into()));
    assert_eq!(rows(&root, "/admin/models").await[0]["model"], "lab/tiny");
    let releases = format!("/admin/models/{}", offer.model);
    leads_to(&root.get(&releases).await, &releases);
    let release = &rows(&root, &releases).await[0];
    assert_eq!(
        (&release["revision"], &release["names"], &release["state"]),
        (&offer.revision.into(), &"main v1".into(), &"published".into())
    );

    let jobs = &portal.portal.jobs;
    let (now, second) = (portal.portal.clock.now(), std::time::Duration::from_secs(1));
    jobs.begun("sweep", second, now);
    jobs.ended("sweep", now, second, Some("@the database is away".into()));
    leads_to(&root.get("/admin/jobs").await, "/admin/jobs");
    let job = &rows(&root, "/admin/jobs").await[0];
    assert_eq!((&job["job"], &job["state"], &job["rests_ms"]), (&"sweep".into(), &"failed".into(), &1_000.into()));
    csv(&root, "/admin/jobs").await.says("\"'@the database is away\"");

    portal.wait(Duration::HOUR);
    server::catalog::scrub(&portal.portal, 0, |_, _, _| {}).await.unwrap();
    sqlx::query("update object set fault = 'is missing'").execute(&portal.portal.db).await.unwrap();
    let page = root.get("/admin/store").await;
    leads_to(&page, "/admin/store/faulty");
    leads_to(&page, "/admin/store/rounds");
    let faulty = &rows(&root, "/admin/store/faulty").await[0];
    assert!(faulty["fault"] == "is missing" && faulty["files"][0].as_str().unwrap().contains("config.json"), "{faulty}");
    assert_eq!(rows(&root, "/admin/store/rounds").await[0]["objects"], 1);
    assert_eq!(rows(&root, "/admin/usage?who=nobody").await.len(), 0);
    ada.makes_token(&["download"]).await;
    assert_eq!(rows(&root, "/admin/mail").await[0]["kind"], "token_made");
    assert_eq!(rows(&root, "/admin/audit?kind=token").await[0]["kind"], "token.made");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn access_that_was_stopped_is_a_file_for_reviewers(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let offer = portal.offers("lab/tiny", Gate::Application, &[]).await;
    let (grace, barbara) = (portal.reviewer("grace").await, portal.reviewer("barbara").await);
    let (root, ada) = (portal.admin("root").await, portal.researcher("ada").await);
    assert_eq!(rows(&grace, "/review/grants").await.len(), 0);
    let rules = [("revoke_needs_two", "on"), ("trial_tokens", "0"), ("answer_days", "7"), ("reapply_days", "0")];
    assert_eq!(root.post(&format!("/admin/models/{}/policy", offer.model), &rules).await.status, 303);
    for (holder, act) in [(&ada, "revoke"), (&barbara, "suspend")] {
        portal.grants(&offer, &holder.email, 40).await;
        let grant = format!("/admin/grants/{}", crate::grants::grant_of(&portal, holder).await);
        assert_eq!(grace.post(&format!("{grant}/{act}"), &[("reason", "=a token was seen")]).await.status, 303);
    }
    leads_to(&grace.get("/review/grants").await, "/review/grants");
    let of_grace = rows(&grace, "/review/grants").await;
    let of = |row: &Value| [&row["holder"], &row["why"], &row["by"], &row["may_confirm"]].map(|cell| cell.to_string()).join(" ");
    let told: Vec<String> = of_grace.iter().map(of).collect();
    assert_eq!(told, ["\"ada\" \"revocation_proposed\" \"grace\" false", "\"barbara\" \"suspended\" \"grace\" false"]);
    let told: Vec<String> = rows(&barbara, "/review/grants").await.iter().map(of).collect();
    assert_eq!(
        told,
        ["\"ada\" \"revocation_proposed\" \"grace\" true", "\"barbara\" \"suspended\" \"a reviewer\" false"],
        "to whom it concerns, a reviewer is a reviewer"
    );
    csv(&grace, "/review/grants").await.says("\"'=a token was seen\"");
    assert_eq!(ada.get("/review/grants.csv").await.status, 404);
}
