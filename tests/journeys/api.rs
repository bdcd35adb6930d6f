//! `/api/v1`: what programs can do for applicants, reviewers and admins, and what they are refused.

use reqwest::Method;
use serde_json::{Value, json};
use server::ids::ModelId;
use sqlx::PgPool;
use tests::{Page, Person, TestPortal};
use time::Duration;

use crate::api_document::Document;
use crate::api_portal;
use crate::gated::{gated, prepared};

/// This person's program, by a token with these scopes.
pub async fn program(person: &Person, scopes: &[&str]) -> Person {
    person.with_token(&person.makes_token(scopes).await)
}

pub async fn sends(program: &Person, method: &str, path: &str, body: Value) -> Page {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    Page::of(program.request(method, path).json(&body).send().await.unwrap()).await
}

/// What came back, which is what was asked for.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "it reads as one gesture: fine(sends(…).await)")]
pub fn fine(page: Page) -> Value {
    assert_eq!(page.status, 200, "{}", page.text);
    page.json()
}

#[track_caller]
pub fn refused(page: &Page, status: u16, code: &str) {
    assert_eq!((page.status, page.json()["code"].as_str()), (status, Some(code)), "{}", page.text);
    assert_eq!(page.header("content-type"), "application/problem+json");
}

/// A complete form, as a program fills it in: from what the form says itself.
async fn filled(program: &Person, model: &str) -> Value {
    let told = fine(program.fetch(&format!("/api/v1/models/{model}/form")).await);
    assert_eq!(told["now"], "write", "{told}");
    let mut answers = told["answers"].clone();
    for (name, value) in prepared() {
        answers[name] = value.into();
    }
    for clause in told["form"]["clauses"].as_array().unwrap() {
        answers[clause["field"].as_str().unwrap()] = "on".into();
    }
    answers
}

pub async fn applies(program: &Person, model: &str) -> Value {
    let answers = filled(program, model).await;
    fine(sends(program, "POST", &format!("/api/v1/models/{model}/application"), json!({ "answers": answers })).await)
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn an_application_lives_its_whole_life_by_program(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "opt").await;
    let (ada, grace) = (portal.researcher("ada").await, portal.reviewer("grace").await);
    let (mine, desk) = (program(&ada, &["apply"]).await, program(&grace, &["review"]).await);

    let model = fine(mine.fetch("/api/v1/models/demo/opt").await);
    assert_eq!((&model["download"]["allowed"], &model["download"]["mend"]["path"]), (&json!(false), &json!("/demo/opt/apply")), "{model}");
    // What cannot be accepted is kept, and every fault told by its field.
    let half = sends(&mine, "POST", "/api/v1/models/demo/opt/application", json!({ "answers": { "title": "Negation" } })).await;
    refused(&half, 422, "invalid");
    assert!(half.json()["errors"].as_array().unwrap().iter().any(|fault| fault["field"] == "summary"), "{}", half.text);
    let draft =
        fine(sends(&mine, "PUT", "/api/v1/models/demo/opt/application", json!({ "answers": { "title": "Not" }, "version": 2 })).await);
    assert_eq!((&draft["application"]["state"], &draft["application"]["turn"]), (&json!("draft"), &json!("applicant")));
    let late = sends(&mine, "PUT", "/api/v1/models/demo/opt/application", json!({ "answers": {}, "version": 2 })).await;
    refused(&late, 409, "stale");

    let sent = applies(&mine, "demo/opt").await;
    let id = sent["application"]["id"].as_str().unwrap().to_owned();
    assert_eq!((&sent["application"]["state"], &sent["place"]), (&json!("submitted"), &json!(0)), "{sent}");
    let again = applies_again(&mine, &sent).await;
    assert_eq!(again["application"]["id"], id.as_str(), "sent twice, it is one");

    // The reviewer sees it, takes it on, sends it back.
    let queue = fine(desk.fetch("/api/v1/review?view=unclaimed").await);
    assert_eq!((&queue["items"][0]["application"]["id"], &queue["items"][0]["name"]), (&json!(id), &json!("ada")));
    let case = fine(desk.fetch(&format!("/api/v1/review/{id}")).await);
    assert_eq!(case["answers"]["title"], "Negation in language models");
    assert!(case["attested"].as_array().unwrap().len() > 5, "{case}");
    let version = case["application"]["version"].as_i64().unwrap();
    let at = |verb: &str| format!("/api/v1/review/{id}/{verb}");
    refused(&sends(&desk, "POST", &at("claim"), json!({ "version": version - 1 })).await, 409, "stale");
    let claimed = fine(sends(&desk, "POST", &at("claim"), json!({ "version": version })).await);
    assert_eq!(claimed["claim"]["by"], "grace");
    let checked = fine(sends(&desk, "PUT", &at("check"), json!({ "points": ["purpose"] })).await);
    assert_eq!(checked["checked"], json!(["purpose"]));
    fine(sends(&desk, "POST", &at("comment"), json!({ "lane": "internal", "text": "Known from the workshop." })).await);
    refused(&sends(&desk, "POST", &at("changes"), json!({ "text": "?", "fields": ["nothing"] })).await, 422, "invalid");
    fine(sends(&desk, "POST", &at("changes"), json!({ "text": "Which data?", "fields": ["summary"] })).await);

    // The applicant reads what is asked, nothing of the other lane, and answers.
    let back = fine(mine.fetch(&format!("/api/v1/applications/{id}")).await);
    assert_eq!((&back["application"]["state"], &back["word"]["fields"]), (&json!("changes_requested"), &json!(["summary"])));
    assert!(!back.to_string().contains("workshop") && !back.to_string().contains("grace"), "{back}");
    fine(sends(&mine, "POST", &format!("/api/v1/applications/{id}/comment"), json!({ "text": "I have added it." })).await);
    let mut answers = filled(&mine, "demo/opt").await;
    answers["summary"] = "We use the negated halves of two public test sets, and a third one that we wrote ourselves. ".repeat(5).into();
    let resent = fine(sends(&mine, "POST", "/api/v1/models/demo/opt/application", json!({ "answers": answers })).await);
    assert_eq!(resent["application"]["id"], id.as_str());
    let case = fine(desk.fetch(&format!("/api/v1/review/{id}")).await);
    assert_eq!(case["changed"].as_array().unwrap().len(), 1, "{}", case["changed"]);

    // Approved, taken back, approved: then access holds, and is taken away again.
    fine(sends(&desk, "POST", &at("approve"), json!({ "until": "2026-12-31", "note": "Welcome." })).await);
    fine(sends(&desk, "POST", &at("undo"), json!({})).await);
    let case = fine(sends(&desk, "POST", &at("approve"), json!({ "until": "2026-12-31" })).await);
    assert_eq!((&case["application"]["state"], &case["word"]["by"]), (&json!("approved"), &json!("grace")));
    let grants = fine(mine.fetch("/api/v1/grants").await);
    assert_eq!((&grants["items"][0]["standing"], &grants["items"][0]["application"]), (&json!("holds"), &json!(id)));
    assert_eq!(fine(mine.fetch("/api/v1/models/demo/opt").await)["download"]["allowed"], true);
    let grant = grants["items"][0]["id"].as_str().unwrap();
    let held = fine(desk.fetch("/api/v1/review/grants?model=demo/opt&person=ada@university.edu").await);
    assert_eq!(held["items"][0]["id"], grant);
    refused(&sends(&mine, "POST", &format!("/api/v1/review/grants/{grant}/revoke"), json!({ "reason": "x" })).await, 403, "not_a_reviewer");
    let over =
        fine(sends(&desk, "POST", &format!("/api/v1/review/grants/{grant}/revoke"), json!({ "reason": "The project ended." })).await);
    assert_eq!(over["standing"], "revoked");
    assert_eq!(fine(mine.fetch("/api/v1/models/demo/opt").await)["download"]["code"], "grant_revoked", "and says why");
}

/// PostgreSQL keeps every character but this one.
#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_character_that_cannot_be_kept_is_a_fault_of_what_was_sent(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "opt").await;
    let (ada, root) = (portal.researcher("ada").await, portal.admin("root").await);
    let (mine, admin) = (program(&ada, &["apply"]).await, program(&root, &["admin", "review"]).await);
    let mut answers = filled(&mine, "demo/opt").await;
    let form = "/api/v1/models/demo/opt/application";
    for field in ["form_shown", "title", "summary"] {
        let whole = std::mem::replace(&mut answers[field], json!("x\u{0}"));
        for method in ["PUT", "POST"] {
            let page = sends(&mine, method, form, json!({ "answers": answers })).await;
            assert!(page.status < 500, "{method} {field}: {} {}", page.status, page.text);
        }
        answers[field] = whole;
    }
    for search in
        ["kind=a%00b", "subject=a%00b", "subject=a%00/b", "subject=%00@lab.example", "by=%00@lab.example", "cursor=%00", "from=%00"]
    {
        for path in ["/admin/audit", "/admin/audit.csv", "/admin/audit.jsonl"] {
            let expected = if search.starts_with("from=") { 422 } else { 200 };
            assert_eq!(root.get(&format!("{path}?{search}")).await.status, expected, "{path}?{search}");
        }
        let page = admin.fetch(&format!("/api/v1/admin/audit?{search}")).await;
        assert!([200, 404, 422].contains(&page.status), "{search}: {} {}", page.status, page.text);
    }
    refused(&admin.fetch("/api/v1/admin/audit?kind=a%00b").await, 422, "invalid");
    // Whatever else may be asked for by words.
    for path in [
        "/admin/people?q=%00",
        "/admin/people?q=a%00b",
        "/admin/outbox?q=%00",
        "/admin/usage?who=%00",
        "/admin/usage?person=%00&model=%00/x",
    ] {
        assert!(root.get(path).await.status < 500, "{path}");
    }
    for path in
        ["/review?q=a%00b", "/review/renewals?q=%00", "/models?q=%00", "/turnaround?model=%00", "/sign-in?then=%00", "/reset?key=%00"]
    {
        assert!(root.get(path).await.status < 500, "{path}");
    }
    let listed = [
        "admin/people?q=%00",
        "admin/people?q=a%00b",
        "admin/mails?to=%00",
        "admin/downloads?person=%00&model=%00",
        "admin/generations?person=%00",
        "models?q=%00",
        "review/grants?model=%00/x&person=%00",
    ];
    for path in listed {
        let page = admin.fetch(&format!("/api/v1/{path}")).await;
        assert!(page.status < 500, "{path}: {} {}", page.status, page.text);
    }
}

async fn applies_again(mine: &Person, sent: &Value) -> Value {
    fine(sends(mine, "POST", "/api/v1/models/demo/opt/application", json!({ "answers": sent["answers"] })).await)
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_makes_no_sense_or_is_not_theirs_is_refused(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "opt").await;
    let (ada, bob, grace) = (portal.researcher("ada").await, portal.researcher("bob").await, portal.reviewer("grace").await);
    let (mine, other, desk) = (program(&ada, &["apply"]).await, program(&bob, &["apply"]).await, program(&grace, &["review"]).await);
    let id = applies(&mine, "demo/opt").await["application"]["id"].as_str().unwrap().to_owned();

    // Foreign things do not exist, whatever is wanted of them; a cookie and a token for something else open nothing.
    for (method, path) in [("GET", ""), ("POST", "/withdraw"), ("POST", "/comment"), ("POST", "/appeal")] {
        let body = if matches!(path, "/comment" | "/appeal") { json!({ "text": "mine" }) } else { json!({}) };
        refused(&sends(&other, method, &format!("/api/v1/applications/{id}{path}"), body).await, 404, "not_found");
    }
    assert_eq!(ada.fetch(&format!("/api/v1/applications/{id}")).await.status, 401);
    let downloads = program(&ada, &["download"]).await;
    let narrow = downloads.fetch("/api/v1/applications").await;
    refused(&narrow, 403, "token_scope");
    assert_eq!(narrow.json()["mend"]["path"], "/account/tokens");
    refused(&program(&ada, &["review"]).await.fetch("/api/v1/review").await, 403, "not_a_reviewer");
    refused(&program(&grace, &["admin"]).await.fetch("/api/v1/admin/people").await, 403, "not_an_admin");
    refused(&desk.fetch("/api/v1/applications").await, 403, "token_scope");
    let bad = ada.with_token(&format!("slc_{}", "a".repeat(48)));
    refused(&bad.fetch("/api/v1/models").await, 401, "signed_out");

    // Bodies and parameters.
    let comment = format!("/api/v1/applications/{id}/comment");
    let unknown = sends(&mine, "POST", &comment, json!({ "text": "x", "lane": "internal" })).await;
    refused(&unknown, 422, "invalid");
    unknown.says("unknown field `lane`");
    let unasked = sends(&other, "PUT", "/api/v1/models/demo/opt/application", json!({ "answers": { "state": "approved" } })).await;
    refused(&unasked, 422, "invalid");
    let post = |body: Vec<u8>, kind: &'static str| mine.request(Method::POST, &comment).header("content-type", kind).body(body).send();
    for (body, kind) in [
        (b"{".to_vec(), "application/json"),
        (b"text=x".to_vec(), "application/x-www-form-urlencoded"),
        (b"{\"text\":\"x\"}".to_vec(), "text/plain"),
        (b"[]".to_vec(), "application/json"),
        (b"\xff\xfe".to_vec(), "application/json"),
        (json!({ "text": "x".repeat(1 << 20) }).to_string().into_bytes(), "application/json"),
    ] {
        refused(&Page::of(post(body, kind).await.unwrap()).await, 422, "invalid");
    }
    for query in ["limit=0", "limit=-1", "limit=201", "limit=1e9", "limit=99999999999999999999", "cursor=x", "cursor=", "page=2"] {
        refused(&mine.fetch(&format!("/api/v1/applications?{query}")).await, 422, "invalid");
    }
    refused(&desk.fetch("/api/v1/review?view=everything").await, 422, "invalid");
    refused(&sends(&desk, "POST", "/api/v1/review/bulk", json!({ "action": "burn", "cases": [] })).await, 422, "invalid");
    assert_eq!(fine(mine.fetch(&format!("/api/v1/applications/{id}")).await)["thread"], json!([]), "nothing of it was written");
    assert_eq!(mine.fetch("/api/v1/nothing").await.status, 404);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn of_two_decisions_at_once_one_counts_and_bulk_says_of_each(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "opt").await;
    gated(&portal, "other").await;
    let (ada, grace, hugo) = (portal.researcher("ada").await, portal.reviewer("grace").await, portal.reviewer("hugo").await);
    let mine = program(&ada, &["apply"]).await;
    let (one, two) = (program(&grace, &["review"]).await, program(&hugo, &["review"]).await);
    let first = applies(&mine, "demo/opt").await["application"]["id"].as_str().unwrap().to_owned();
    let second = applies(&mine, "demo/other").await["application"]["id"].as_str().unwrap().to_owned();
    let (approve, decline) = (format!("/api/v1/review/{first}/approve"), format!("/api/v1/review/{first}/decline"));
    let (yes, no) = tokio::join!(
        sends(&one, "POST", &approve, json!({ "until": "2026-12-31" })),
        sends(&two, "POST", &decline, json!({ "reason": "duplicate", "text": "See the other." })),
    );
    let mut statuses = [yes.status, no.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409], "{} {}", yes.text, no.text);

    let cases = json!([{ "id": first }, { "id": second, "version": 99 }, { "id": server::ids::ApplicationId::fresh() }]);
    let done = fine(sends(&one, "POST", "/api/v1/review/bulk", json!({ "action": "approve", "cases": cases })).await);
    let codes: Vec<&Value> = done["items"].as_array().unwrap().iter().map(|item| &item["code"]).collect();
    assert_eq!(codes, ["conflict", "stale", "not_found"], "{done}");
    let done = fine(sends(&one, "POST", "/api/v1/review/bulk", json!({ "action": "approve", "cases": [{ "id": second }] })).await);
    assert_eq!(done["items"][0]["done"], true);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn lists_are_read_to_their_end_page_by_page(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let model = gated(&portal, "opt").await;
    let (ada, grace) = (portal.researcher("ada").await, portal.reviewer("grace").await);
    let mine = program(&ada, &["apply"]).await;
    let now = portal.portal.clock.now();
    for number in 0..120_i64 {
        // Some begun at the same moment: their ids decide.
        sqlx::query(
            "insert into application (id, account_id, model_id, answers, state, created_at, updated_at, closed_at)
             select $1, id, $2, '{}', 'withdrawn', $3, $3, $3 from account where email = 'ada@university.edu'",
        )
        .bind(server::ids::ApplicationId::fresh().uuid())
        .bind(model.uuid())
        .bind(now + Duration::seconds(number / 7))
        .execute(&portal.portal.db)
        .await
        .unwrap();
    }
    let mut seen = Vec::new();
    let mut next = Some("/api/v1/applications?limit=25".to_owned());
    while let Some(path) = next {
        let page = fine(mine.fetch(&path).await);
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        next = page["next"].as_str().map(|url| url.strip_prefix(&portal.base).unwrap().to_owned());
        assert!(next.as_deref().is_none_or(|path| path.contains("limit=25")), "{next:?}");
    }
    assert_eq!(seen.len(), 120);
    let once: std::collections::BTreeSet<&String> = seen.iter().collect();
    assert_eq!(once.len(), 120, "each once");
    // A foreign cursor gives nothing of anybody else's.
    let other = program(&grace, &["apply"]).await;
    assert_eq!(fine(other.fetch(&format!("/api/v1/applications?cursor={}", seen[3])).await)["items"], json!([]));
}

async fn arranges(portal: &TestPortal, sql: &'static str, model: ModelId) {
    sqlx::query(sql).bind(model.uuid()).execute(&portal.portal.db).await.unwrap();
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn every_operation_answers_as_it_is_described(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (opt, _) = (gated(&portal, "opt").await, gated(&portal, "other").await);
    let (ada, grace, root) = (portal.researcher("ada").await, portal.reviewer("grace").await, portal.admin("root").await);
    let (mine, desk) = (program(&ada, &["apply"]).await, program(&grace, &["review"]).await);
    let admin = program(&root, &["admin", "review"]).await;
    let mut document = Document::of(&portal).await;

    let app = applies(&mine, "demo/opt").await["application"]["id"].as_str().unwrap().to_owned();
    let answers = filled(&mine, "demo/other").await;
    let words = json!({ "text": "A word." });
    document.tries(&mine, "GET", "/api/v1/me", "", None).await;
    document.tries(&mine, "GET", "/api/v1/models", "?limit=1", None).await;
    for tail in ["", "/licence", "/form", "/turnaround"] {
        document.tries(&mine, "GET", &format!("/api/v1/models/{{org}}/{{name}}{tail}"), "demo/other", None).await;
    }
    document.tries(&mine, "PUT", "/api/v1/models/{org}/{name}/application", "demo/other", Some(json!({ "answers": answers }))).await;
    let other =
        document.tries(&mine, "POST", "/api/v1/models/{org}/{name}/application", "demo/other", Some(json!({ "answers": answers }))).await;
    let other = other["application"]["id"].as_str().unwrap().to_owned();
    document.tries(&mine, "GET", "/api/v1/applications", "", None).await;
    document.tries(&mine, "GET", "/api/v1/applications/{id}", &app, None).await;
    document.tries(&mine, "POST", "/api/v1/applications/{id}/comment", &app, Some(words.clone())).await;
    document.tries(&desk, "GET", "/api/v1/review", "?q=negation", None).await;
    document.tries(&desk, "GET", "/api/v1/review/{id}", &app, None).await;
    document.tries(&desk, "POST", "/api/v1/review/{id}/claim", &app, Some(json!({}))).await;
    document.tries(&desk, "POST", "/api/v1/review/{id}/release", &app, Some(json!({}))).await;
    document.tries(&desk, "POST", "/api/v1/review/{id}/comment", &app, Some(json!({ "lane": "shared", "text": "A word." }))).await;
    document.tries(&desk, "PUT", "/api/v1/review/{id}/check", &app, Some(json!({ "points": ["licence"] }))).await;
    document.tries(&desk, "POST", "/api/v1/review/{id}/changes", &other, Some(json!({ "text": "More.", "fields": ["title"] }))).await;
    document.tries(&mine, "POST", "/api/v1/applications/{id}/withdraw", &other, Some(json!({}))).await;
    document
        .tries(&desk, "POST", "/api/v1/review/{id}/decline", &app, Some(json!({ "reason": "duplicate", "text": "See the other." })))
        .await;
    document.tries(&desk, "POST", "/api/v1/review/{id}/undo", &app, Some(json!({}))).await;
    fine(sends(&desk, "POST", &format!("/api/v1/review/{app}/decline"), json!({ "reason": "duplicate", "text": "See the other." })).await);
    document.tries(&mine, "POST", "/api/v1/applications/{id}/appeal", &app, Some(words)).await;
    document.tries(&admin, "POST", "/api/v1/review/bulk", "", Some(json!({ "action": "claim", "cases": [{ "id": app }] }))).await;
    crate::api_access::tries_of_an_approval(&mut document, &admin, &other, &app).await;
    document.tries(&admin, "POST", "/api/v1/review/{id}/approve", &app, Some(json!({ "until": "2026-06-30" }))).await;
    let grants = document.tries(&mine, "GET", "/api/v1/grants", "", None).await;
    let grant = grants["items"][0]["id"].as_str().unwrap().to_owned();
    document.tries(&desk, "GET", "/api/v1/review/grants", "", None).await;
    let reason = json!({ "reason": "A question to be settled." });
    document.tries(&desk, "POST", "/api/v1/review/grants/{id}/suspend", &grant, Some(reason.clone())).await;
    document.tries(&desk, "POST", "/api/v1/review/grants/{id}/reinstate", &grant, Some(json!({}))).await;
    arranges(&portal, "insert into access_policy (model_id, revoke_needs_two, trial_tokens, answer_days, reapply_days, changed_at) values ($1, true, 0, 7, 30, now())", opt).await;
    document.tries(&desk, "POST", "/api/v1/review/grants/{id}/revoke", &grant, Some(reason.clone())).await;
    document.tries(&admin, "POST", "/api/v1/review/grants/{id}/reject", &grant, Some(json!({}))).await;
    fine(sends(&desk, "POST", &format!("/api/v1/review/grants/{grant}/revoke"), reason).await);
    document.tries(&admin, "POST", "/api/v1/review/grants/{id}/confirm", &grant, Some(json!({}))).await;
    let given = "insert into access_grant (id, account_id, model_id, reason, granted_at, expires_at)
         select gen_random_uuid(), id, $1, 'arranged', '2026-03-02 08:00Z', '2026-05-01Z' from account where email = 'ada@university.edu'";
    arranges(&portal, given, opt).await;
    let grants = fine(mine.fetch("/api/v1/grants").await);
    let running = grants["items"].as_array().unwrap().iter().find(|grant| grant["standing"] == "holds").unwrap();
    let grant = running["id"].as_str().unwrap().to_owned();
    crate::api_access::tries_of_access(&mut document, &portal, (&mine, &desk, &admin), opt, &grant).await;
    document.tries(&mine, "POST", "/api/v1/grants/{id}/close", &grant, Some(json!({ "deleted": true }))).await;
    document.tries(&mine, "GET", "/api/v1/downloads", "", None).await;

    let me = fine(mine.fetch("/api/v1/me").await)["account"]["id"].as_str().unwrap().to_owned();
    document.tries(&admin, "GET", "/api/v1/admin/people", "?q=ada", None).await;
    document.tries(&admin, "PUT", "/api/v1/admin/people/{id}/role", &me, Some(json!({ "role": "researcher" }))).await;
    document.tries(&admin, "GET", "/api/v1/admin/audit", "?kind=application", None).await;
    document.tries(&admin, "GET", "/api/v1/admin/usage", "?who=ada", None).await;
    let mails = document.tries(&admin, "GET", "/api/v1/admin/mails", "?limit=1", None).await;
    let mail = mails["items"][0]["id"].as_str().unwrap().to_owned();
    sqlx::query("update mail set last_error = 'arranged', attempts = 1").execute(&portal.portal.db).await.unwrap();
    document.tries(&admin, "POST", "/api/v1/admin/mails/{id}/retry", &mail, Some(json!({}))).await;
    document.tries(&admin, "POST", "/api/v1/admin/people/{id}/close", &me, Some(json!({}))).await;
    document.tries(&admin, "POST", "/api/v1/admin/people/{id}/reopen", &me, Some(json!({}))).await;
    let nothing = json!({ "tokens": [format!("slc_{}", "a".repeat(48))] });
    document.tries(&mine, "POST", "/api/v1/tokens/leaked", "", Some(nothing)).await;
    api_portal::tries_an_account(&mut document, &portal, &mine).await;
    api_portal::tries_running(&mut document, &portal, &admin).await;
    let tokens = document.tries(&mine, "GET", "/api/v1/tokens", "", None).await;
    let own = tokens["items"].as_array().unwrap().iter().find(|token| token["made_with"].is_null()).unwrap();
    let token = own["id"].as_str().unwrap().to_owned();
    document.tries(&mine, "DELETE", "/api/v1/tokens/{id}", &token, None).await;
    assert_eq!(mine.fetch("/api/v1/me").await.status, 401, "it ended itself");
    document.was_tried_whole();
}
