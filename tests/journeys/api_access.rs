//! `/api/v1` on the side of access, by programs alone: renewals, consent, blocks, a model's rules and form, and what the desk tells.

use serde_json::{Value, json};
use server::ids::{AccountId, ApplicationId, BlockId, GrantId, ModelId, RenewalId};
use sqlx::PgPool;
use tests::{Person, TestPortal};
use time::Duration;

use crate::api::{applies, fine, program, refused, sends};
use crate::api_document::Document;
use crate::gated::{gated, open_model, relicense};
use crate::grants::account_of;

const SUMMARY: &str = "We measured how negation fares with size, and found that size helps little.";

/// What an answer says under a name, as text.
#[track_caller]
fn text(of: &Value, pointer: &str) -> String {
    of.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer} in {of}")).to_owned()
}

/// The fields at fault.
fn fields(problem: &tests::Page) -> Vec<String> {
    problem.json()["errors"].as_array().unwrap().iter().map(|fault| text(fault, "/field")).collect()
}

/// Applies for `demo/opt` and is approved for half a year; returns the application and the grant.
async fn gets_access(mine: &Person, desk: &Person) -> (String, String) {
    let id = text(&applies(mine, "demo/opt").await, "/application/id");
    let case = fine(sends(desk, "POST", &format!("/api/v1/review/{id}/approve"), json!({ "until": "2026-08-28" })).await);
    (id, text(&case, "/grants/0/id"))
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_grant_is_renewed_by_programs(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "opt").await;
    let (ada, bob) = (portal.researcher("ada").await, portal.researcher("bob").await);
    let (mine, first) = (program(&ada, &["apply"]).await, program(&portal.reviewer("rosa").await, &["review"]).await);
    let (_, grant) = gets_access(&mine, &first).await;
    let at = |verb: &str| format!("/api/v1/grants/{grant}{verb}");
    let asked = json!({ "summary": SUMMARY, "publications": "Negation, https://doi.org/10.1000/182", "months": 6 });
    let told = fine(mine.fetch(&at("")).await);
    assert_eq!((&told["grant"]["renewal"], &told["used"]["files"]), (&Value::Null, &json!(0)), "{told}");
    assert!(text(&told, "/not_renewable").contains("can be renewed from"), "{told}");
    refused(&sends(&mine, "POST", &at("/renew"), asked.clone()).await, 409, "conflict");

    portal.wait(Duration::days(150));
    let (grace, hugo) = (portal.reviewer("grace").await, portal.reviewer("hugo").await);
    ada.signs_in().await;
    bob.signs_in().await;
    let (mine, other) = (program(&ada, &["apply"]).await, program(&bob, &["apply"]).await);
    let (desk, second) = (program(&grace, &["review", "apply"]).await, program(&hugo, &["review"]).await);
    assert_eq!(fine(mine.fetch(&at("")).await)["not_renewable"], Value::Null);
    for (path, body) in [("/renew", asked.clone()), ("/renew/withdraw", json!({}))] {
        refused(&sends(&other, "POST", &at(path), body).await, 404, "not_found");
    }
    refused(&other.fetch(&at("")).await, 404, "not_found");
    let short = sends(&mine, "POST", &at("/renew"), json!({ "summary": "Science.", "months": 13 })).await;
    refused(&short, 422, "invalid");
    assert_eq!(fields(&short), ["summary", "months"]);
    refused(&sends(&mine, "POST", &at("/renew"), json!({ "summary": SUMMARY, "months": 6, "until": "2027-01-01" })).await, 422, "invalid");
    // Of two at once one counts.
    let renew = at("/renew");
    let (one, two) = tokio::join!(sends(&mine, "POST", &renew, asked.clone()), sends(&mine, "POST", &renew, asked.clone()));
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    assert_eq!(fine(mine.fetch("/api/v1/grants").await)["items"][0]["renewal"], "open");
    assert_eq!(fine(sends(&mine, "POST", &at("/renew/withdraw"), json!({})).await)["renewal"], "withdrawn");
    refused(&sends(&mine, "POST", &at("/renew/withdraw"), json!({})).await, 409, "conflict");
    fine(sends(&mine, "POST", &at("/renew"), asked.clone()).await);

    let list = fine(desk.fetch("/api/v1/review/renewals?limit=1").await);
    assert_eq!((list["items"].as_array().unwrap().len(), &list["next"]), (1, &Value::Null), "withdrawn ones wait for nobody");
    assert_eq!((&list["items"][0]["grant"], &list["items"][0]["months"]), (&json!(grant), &json!(6)));
    let renewal = text(&list, "/items/0/id");
    let of = |verb: &str| format!("/api/v1/review/renewals/{renewal}{verb}");
    let case = fine(desk.fetch(&of("")).await);
    assert_eq!((&case["renewal"]["summary"], &case["would_end_on"]), (&json!(SUMMARY), &json!("2027-02-24")), "{case}");
    refused(&mine.fetch(&of("")).await, 403, "not_a_reviewer");
    refused(&desk.fetch(&format!("/api/v1/review/renewals/{}", RenewalId::fresh())).await, 404, "not_found");
    for (path, body, field) in [
        ("/approve", json!({ "until": "2026-08-01" }), "until"),
        ("/approve", json!({ "until": "2028-08-01" }), "until"),
        ("/approve", json!({ "until": "soon" }), "until"),
        ("/decline", json!({ "text": " " }), "text"),
    ] {
        let wrong = sends(&desk, "POST", &of(path), body).await;
        refused(&wrong, 422, "invalid");
        assert_eq!(fields(&wrong), [field]);
    }
    let declined = fine(sends(&desk, "POST", &of("/decline"), json!({ "text": "Which second round?" })).await);
    assert_eq!((&declined["renewal"]["state"], &declined["renewal"]["by"]), (&json!("declined"), &json!("grace")));
    refused(&sends(&second, "POST", &of("/approve"), json!({ "until": "2027-01-31" })).await, 409, "conflict");
    let told = fine(mine.fetch(&at("")).await);
    assert_eq!((&told["renewals"][0]["text"], &told["renewals"][0]["by"]), (&json!("Which second round?"), &Value::Null));

    fine(sends(&mine, "POST", &at("/renew"), asked.clone()).await);
    let renewal = text(&fine(second.fetch("/api/v1/review/renewals").await), "/items/0/id");
    let yes = json!({ "until": "2027-01-31", "text": "Send us the paper!" });
    let renewed = fine(sends(&second, "POST", &format!("/api/v1/review/renewals/{renewal}/approve"), yes).await);
    assert_eq!((&renewed["renewal"]["state"], &renewed["grant"]["expires_at"]), (&json!("approved"), &json!("2027-01-31T23:59:59.000Z")));
    assert_eq!(fine(mine.fetch(&at("")).await)["grant"]["renewal"], "approved");
    assert_eq!(fine(second.fetch("/api/v1/review/renewals").await)["items"], json!([]));

    // Nobody renews what is their own.
    let own = text(&applies(&desk, "demo/opt").await, "/application/id");
    let case = fine(sends(&second, "POST", &format!("/api/v1/review/{own}/approve"), json!({ "until": "2026-08-28" })).await);
    fine(sends(&desk, "POST", &format!("/api/v1/grants/{}/renew", text(&case, "/grants/0/id")), asked).await);
    let renewal = text(&fine(desk.fetch("/api/v1/review/renewals").await), "/items/0/id");
    let mine_too = sends(&desk, "POST", &format!("/api/v1/review/renewals/{renewal}/approve"), json!({ "until": "2027-01-31" })).await;
    refused(&mine_too, 403, "own_application");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn renewals_and_blocks_are_read_to_their_end_page_by_page(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let model = gated(&portal, "opt").await;
    let (ada, grace) = (portal.researcher("ada").await, portal.reviewer("grace").await);
    let desk = program(&grace, &["review"]).await;
    let (account, setter, now) = (account_of(&portal, &ada).await, account_of(&portal, &grace).await, portal.portal.clock.now());
    for number in 0..25_i64 {
        // Some asked at the same moment: their ids decide. Of a model one grant lives at a time.
        let (grant, at) = (GrantId::fresh(), now + Duration::seconds(number / 4));
        sqlx::query(
            "insert into access_grant (id, account_id, model_id, reason, granted_at, expires_at, revoked_at, revoke_reason)
             values ($1, $2, $3, 'arranged', $4, $5, $5, 'arranged')",
        )
        .bind(grant.uuid())
        .bind(account.uuid())
        .bind(model.uuid())
        .bind(now - Duration::DAY)
        .bind(now)
        .execute(&portal.portal.db)
        .await
        .unwrap();
        sqlx::query("insert into renewal (id, grant_id, state, summary, publications, months, asked_at) values ($1, $2, 'open', 'arranged', '', 6, $3)")
            .bind(RenewalId::fresh().uuid())
            .bind(grant.uuid())
            .bind(at)
            .execute(&portal.portal.db)
            .await
            .unwrap();
        sqlx::query("insert into block (id, account_id, reason, set_by, set_at, expires_at) values ($1, $2, 'arranged', $5, $3, $4)")
            .bind(BlockId::fresh().uuid())
            .bind(account.uuid())
            .bind(at)
            .bind(at + Duration::days(2))
            .bind(setter.uuid())
            .execute(&portal.portal.db)
            .await
            .unwrap();
    }
    for path in [
        "/api/v1/review/renewals?limit=10".to_owned(),
        "/api/v1/admin/blocks?limit=10".into(),
        format!("/api/v1/admin/people/{account}/blocks?limit=10"),
    ] {
        let mut seen = Vec::new();
        let mut next = Some(path.clone());
        while let Some(path) = next {
            let page = fine(desk.fetch(&path).await);
            seen.extend(page["items"].as_array().unwrap().iter().map(|item| text(item, "/id")));
            next = page["next"].as_str().map(|url| url.strip_prefix(&portal.base).unwrap().to_owned());
        }
        let once: std::collections::BTreeSet<&String> = seen.iter().collect();
        assert_eq!((seen.len(), once.len()), (25, 25), "{path}");
        refused(&desk.fetch(&format!("{path}&cursor=x")).await, 422, "invalid");
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_holder_agrees_by_program_to_the_text_that_was_read(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let model = gated(&portal, "opt").await;
    let (ada, bob, grace, root) =
        (portal.researcher("ada").await, portal.researcher("bob").await, portal.reviewer("grace").await, portal.admin("root").await);
    let (mine, other) = (program(&ada, &["apply"]).await, program(&bob, &["apply"]).await);
    let (desk, admin) = (program(&grace, &["review"]).await, program(&root, &["admin"]).await);
    let (_, grant) = gets_access(&mine, &desk).await;
    let at = format!("/api/v1/grants/{grant}/consent");
    assert_eq!(fine(mine.fetch(&at).await)["asked"], Value::Null);
    refused(&sends(&mine, "POST", &at, json!({ "shown": "", "agreed": [] })).await, 409, "conflict");

    let before = text(&fine(admin.fetch(&format!("/api/v1/admin/models/{model}/access")).await), "/licence_sha256");
    portal.wait(Duration::DAY);
    let sha256 = relicense(&portal, Some(model), "And no training of other models.", portal.portal.clock.now()).await;
    let announce = format!("/api/v1/admin/models/{model}/licence-change");
    let stale = sends(&admin, "POST", &announce, json!({ "licence_shown": before, "grace_days": 30 })).await;
    refused(&stale, 409, "stale");
    let long = sends(&admin, "POST", &announce, json!({ "licence_shown": sha256, "grace_days": 999 })).await;
    refused(&long, 422, "invalid");
    assert_eq!(fields(&long), ["grace_days"]);
    refused(&sends(&desk, "POST", &announce, json!({ "licence_shown": sha256, "grace_days": 30 })).await, 403, "not_an_admin");
    let told = fine(sends(&admin, "POST", &announce, json!({ "licence_shown": sha256, "grace_days": 30 })).await);
    assert_eq!((&told["asked"], &told["access"]["licence_change"]["licence_sha256"]), (&json!(1), &json!(sha256)));
    refused(&sends(&admin, "POST", &announce, json!({ "licence_shown": sha256, "grace_days": 30 })).await, 409, "conflict");

    let asked = fine(mine.fetch(&at).await)["asked"].clone();
    assert_eq!((&asked["shown"], &asked["licence"]["text"]), (&json!(sha256), &json!("And no training of other models.")));
    assert_eq!(fine(mine.fetch("/api/v1/grants").await)["items"][0]["consent_due_at"], asked["due_at"]);
    let clauses: Vec<String> = asked["clauses"].as_array().unwrap().iter().map(|clause| text(clause, "/field")).collect();
    refused(&other.fetch(&at).await, 404, "not_found");
    refused(&sends(&other, "POST", &at, json!({ "shown": sha256, "agreed": clauses })).await, 404, "not_found");
    let unread = sends(&mine, "POST", &at, json!({ "shown": before, "agreed": clauses })).await;
    refused(&unread, 422, "invalid");
    assert_eq!(fields(&unread), ["shown"]);
    let part = sends(&mine, "POST", &at, json!({ "shown": sha256, "agreed": clauses[1..] })).await;
    refused(&part, 422, "invalid");
    assert_eq!(fields(&part), clauses[..1]);
    // After the days of grace it rests, and goes on by the same word.
    portal.wait(Duration::days(30));
    ada.signs_in().await;
    let mine = program(&ada, &["apply"]).await;
    assert_eq!(fine(mine.fetch("/api/v1/grants").await)["items"][0]["standing"], "consent_needed");
    let agreed = fine(sends(&mine, "POST", &at, json!({ "shown": sha256, "agreed": clauses })).await);
    assert_eq!((&agreed["standing"], &agreed["consent_due_at"]), (&json!("holds"), &Value::Null));
    refused(&sends(&mine, "POST", &at, json!({ "shown": sha256, "agreed": clauses })).await, 409, "conflict");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn somebody_is_blocked_and_let_in_again_by_program(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "opt").await;
    let (ada, grace) = (portal.researcher("ada").await, portal.reviewer("grace").await);
    let (mine, desk) = (program(&ada, &["apply"]).await, program(&grace, &["review"]).await);
    gets_access(&mine, &desk).await;
    let (account, own) = (account_of(&portal, &ada).await, account_of(&portal, &grace).await);
    let at = format!("/api/v1/admin/people/{account}/blocks");
    let why = json!({ "model": "demo/opt", "until": "2026-04-30", "reason": "The weights were passed on." });
    refused(&sends(&mine, "POST", &at, why.clone()).await, 403, "not_a_reviewer");
    refused(&sends(&desk, "POST", &format!("/api/v1/admin/people/{own}/blocks"), why.clone()).await, 403, "own_block");
    refused(&sends(&desk, "POST", &format!("/api/v1/admin/people/{}/blocks", AccountId::fresh()), why.clone()).await, 404, "not_found");
    refused(&desk.fetch(&format!("/api/v1/admin/people/{}/blocks", AccountId::fresh())).await, 404, "not_found");
    for (field, value) in
        [("until", "2026-03-01"), ("until", "2036-03-01"), ("until", "?"), ("reason", " "), ("model", "demo/none"), ("model", "opt")]
    {
        let mut wrong = why.clone();
        wrong[field] = value.into();
        let wrong = sends(&desk, "POST", &at, wrong).await;
        refused(&wrong, 422, "invalid");
        assert_eq!(fields(&wrong), [field], "{value}");
    }
    assert_eq!(fine(desk.fetch(&at).await)["items"], json!([]), "nothing of it was done");

    let block = fine(sends(&desk, "POST", &at, why).await);
    assert_eq!((&block["stands"], &block["model"], &block["set_by"]), (&json!(true), &json!("demo/opt"), &json!("grace")));
    assert_eq!(fine(mine.fetch("/api/v1/grants").await)["items"][0]["standing"], "blocked");
    assert_eq!(fine(mine.fetch("/api/v1/models/demo/opt").await)["download"]["code"], "blocked");
    let all = fine(sends(&desk, "POST", &at, json!({ "until": "2026-03-10", "reason": "For a week from all." })).await);
    assert_eq!(all["model"], Value::Null);
    let in_force = fine(desk.fetch("/api/v1/admin/blocks").await);
    assert_eq!((&in_force["items"][0]["id"], &in_force["items"][1]["id"]), (&all["id"], &block["id"]), "the newest first");
    let lift = |whose: AccountId, id: &Value| format!("/api/v1/admin/people/{whose}/blocks/{}/lift", id.as_str().unwrap());
    refused(&sends(&desk, "POST", &lift(own, &all["id"]), json!({})).await, 404, "not_found");
    let lifted = fine(sends(&desk, "POST", &lift(account, &all["id"]), json!({})).await);
    assert_eq!((&lifted["stands"], lifted["lifted_at"].is_string()), (&json!(false), true));
    refused(&sends(&desk, "POST", &lift(account, &all["id"]), json!({})).await, 409, "conflict");
    fine(sends(&desk, "POST", &lift(account, &block["id"]), json!({})).await);
    assert_eq!(fine(mine.fetch("/api/v1/grants").await)["items"][0]["standing"], "holds");
    assert_eq!(fine(desk.fetch("/api/v1/admin/blocks").await)["items"], json!([]));
    assert_eq!(fine(desk.fetch(&at).await)["items"].as_array().unwrap().len(), 2, "what was lifted is still told");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn an_admin_sets_what_access_takes_by_program(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let model = open_model(&portal, "opt").await;
    let (ada, grace, root) = (portal.researcher("ada").await, portal.reviewer("grace").await, portal.admin("root").await);
    let (mine, desk, admin) = (program(&ada, &["apply"]).await, program(&grace, &["review"]).await, program(&root, &["admin"]).await);
    let at = |verb: &str| format!("/api/v1/admin/models/{model}/{verb}");
    let policy =
        |version: i64| json!({ "version": version, "answer_days": 3, "reapply_days": 0, "trial_tokens": 500, "revoke_needs_two": true });
    for refused_to in [&mine, &desk] {
        refused(&refused_to.fetch(&at("access")).await, 403, "not_an_admin");
        refused(&sends(refused_to, "PUT", &at("gate"), json!({ "gate": "open" })).await, 403, "not_an_admin");
        refused(&sends(refused_to, "PUT", &at("policy"), policy(0)).await, 403, "not_an_admin");
    }
    let before = fine(admin.fetch(&at("access")).await);
    assert_eq!((&before["gate"], &before["policy"]["version"], &before["policy"]["answer_days"]), (&json!("open"), &json!(0), &json!(7)));
    refused(&admin.fetch(&format!("/api/v1/admin/models/{}/access", ModelId::fresh())).await, 404, "not_found");
    refused(&sends(&admin, "PUT", &at("gate"), json!({ "gate": "ajar" })).await, 422, "invalid");
    let gated = fine(sends(&admin, "PUT", &at("gate"), json!({ "gate": "application" })).await);
    assert_eq!(gated["gate"], "application");
    assert_eq!(fine(mine.fetch("/api/v1/models/demo/opt").await)["download"]["code"], "no_application");

    let wrong = sends(
        &admin,
        "PUT",
        &at("policy"),
        json!({ "answer_days": 0, "reapply_days": 999, "trial_tokens": -1, "revoke_needs_two": false }),
    )
    .await;
    refused(&wrong, 422, "invalid");
    assert_eq!(fields(&wrong), ["trial_tokens", "answer_days", "reapply_days"]);
    refused(&sends(&admin, "PUT", &at("policy"), json!({ "answer_days": 3 })).await, 422, "invalid");
    let set = fine(sends(&admin, "PUT", &at("policy"), policy(0)).await);
    assert_eq!((&set["policy"]["version"], &set["policy"]["revoke_needs_two"]), (&json!(1), &json!(true)));
    // The same again is no change, and what another set meanwhile is not undone.
    assert_eq!(fine(sends(&admin, "PUT", &at("policy"), policy(1)).await)["policy"]["version"], 1);
    refused(&sends(&admin, "PUT", &at("policy"), policy(0)).await, 409, "stale");
    let page = format!("/admin/models/{model}");
    root.get(&page).await.says("name=\"version\" value=\"1\"");
    let typed = [("answer_days", "9"), ("reapply_days", "1"), ("trial_tokens", "0")];
    assert_eq!(root.post(&format!("{page}/policy"), &[&typed[..], &[("version", "0")]].concat()).await.status, 409);
    assert_eq!(root.post(&format!("{page}/policy"), &[&typed[..], &[("version", "1")]].concat()).await.status, 303);
    refused(&sends(&admin, "PUT", &at("policy"), policy(1)).await, 409, "stale");
    assert_eq!(fine(admin.fetch(&at("access")).await)["policy"]["answer_days"], 9);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_form_is_written_compared_and_published_by_program(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let model = gated(&portal, "opt").await;
    let (ada, grace, root) = (portal.researcher("ada").await, portal.reviewer("grace").await, portal.admin("root").await);
    let (mine, desk, admin) = (program(&ada, &["apply"]).await, program(&grace, &["review"]).await, program(&root, &["admin"]).await);
    let at = |verb: &str| format!("/api/v1/admin/models/{model}/form{verb}");
    let waiting = text(&applies(&mine, "demo/opt").await, "/application/id");
    let before = fine(admin.fetch(&at("")).await);
    assert_eq!((&before["version"], &before["draft"], before["versions"].as_array().unwrap().len()), (&json!(0), &Value::Null, 1));
    refused(&desk.fetch(&at("")).await, 403, "not_an_admin");
    refused(&sends(&desk, "PUT", &at("/draft"), json!({ "form": before["form"] })).await, 403, "not_an_admin");
    refused(&admin.fetch(&at("/compare")).await, 409, "conflict");
    refused(&sends(&admin, "POST", &at("/publish"), json!({ "edition": 1 })).await, 409, "conflict");
    refused(&admin.fetch(&at("/versions/1")).await, 404, "not_found");

    // What breaks rules is kept, told by its place, and not published; what is no form is not kept.
    let mut form = before["form"].clone();
    form["sections"][0]["fields"][2]["label"] = "".into();
    form["clauses"][0]["id"] = "Not so".into();
    let broken = fine(sends(&admin, "PUT", &at("/draft"), json!({ "form": form })).await)["draft"].clone();
    let places: Vec<&str> = broken["faults"].as_array().unwrap().iter().map(|fault| fault["place"].as_str().unwrap()).collect();
    assert_eq!((&broken["form"], places), (&form, vec!["question department", "clause Not so"]));
    refused(&sends(&admin, "POST", &at("/publish"), json!({ "edition": broken["edition"] })).await, 409, "conflict");
    fine(sends(&admin, "POST", &at("/discard"), json!({ "edition": broken["edition"] })).await);
    let mut unknown = before["form"].clone();
    unknown["sections"][0]["colour"] = "red".into();
    let unknown = sends(&admin, "PUT", &at("/draft"), json!({ "form": unknown })).await;
    refused(&unknown, 422, "invalid");
    unknown.says("unknown field `colour`");
    assert_eq!(fine(admin.fetch(&at("")).await)["draft"], Value::Null);

    let mut form = before["form"].clone();
    form["sections"][0]["fields"].as_array_mut().unwrap().remove(2);
    form["sections"][0]["title"] = "About you".into();
    let begun = fine(sends(&admin, "PUT", &at("/draft"), json!({ "form": form })).await);
    let edition = begun["draft"]["edition"].as_i64().unwrap();
    assert_eq!((&begun["draft"]["form"], &begun["draft"]["updated_by"], &begun["form"]), (&form, &json!("root"), &before["form"]));
    refused(&sends(&admin, "PUT", &at("/draft"), json!({ "form": form })).await, 409, "stale");
    form["sections"][0]["intro"] = "Who asks.".into();
    let second =
        fine(sends(&admin, "PUT", &at("/draft"), json!({ "edition": edition, "form": form })).await)["draft"]["edition"].as_i64().unwrap();
    refused(&sends(&admin, "PUT", &at("/draft"), json!({ "edition": edition, "form": form })).await, 409, "stale");

    let compared = fine(admin.fetch(&at("/compare")).await);
    assert_eq!((&compared["edition"], &compared["next_version"], &compared["waiting"]), (&json!(second), &json!(1), &json!(1)));
    assert_eq!(compared["waiting_cases"][0]["id"], waiting.as_str());
    let changes: Vec<String> = compared["changes"].as_array().unwrap().iter().map(|change| text(change, "/change")).collect();
    assert_eq!((changes.join(" "), &compared["faults"]), ("Changed Removed".to_owned(), &json!([])));
    for path in ["/publish", "/discard"] {
        refused(&sends(&admin, "POST", &at(path), json!({ "edition": edition })).await, 409, "stale");
    }
    let published = fine(sends(&admin, "POST", &at("/publish"), json!({ "edition": second })).await);
    assert_eq!((&published["version"], &published["form"], &published["draft"]), (&json!(1), &form, &Value::Null));
    assert_eq!(published["versions"][0]["by"], "root");
    assert_eq!(fine(admin.fetch(&at("/versions/1")).await)["sha256"], published["sha256"]);
    assert_eq!(fine(admin.fetch(&at("/versions/0")).await)["form"], before["form"]);

    // The same again is refused, and a draft is thrown away.
    let again = fine(sends(&admin, "PUT", &at("/draft"), json!({ "form": form })).await)["draft"]["edition"].clone();
    refused(&sends(&admin, "POST", &at("/publish"), json!({ "edition": again })).await, 409, "conflict");
    assert_eq!(fine(sends(&admin, "POST", &at("/discard"), json!({ "edition": again })).await)["draft"], Value::Null);
    refused(&sends(&admin, "POST", &at("/discard"), json!({ "edition": again })).await, 409, "conflict");
    // Whoever applies from now on is asked the new one.
    fine(sends(&mine, "POST", &format!("/api/v1/applications/{waiting}/withdraw"), json!({})).await);
    let asked = fine(mine.fetch("/api/v1/models/demo/opt/form").await);
    assert_eq!(asked["form"], form);
    assert_eq!(asked["left_over"], json!([]));
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_program_is_told_what_the_pages_tell(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "opt").await;
    let (ada, bob) = (portal.researcher("ada").await, portal.researcher("bob").await);
    let (grace, hugo) = (portal.reviewer("grace").await, portal.reviewer("hugo").await);
    let (mine, other) = (program(&ada, &["apply"]).await, program(&bob, &["apply"]).await);
    let (desk, second) = (program(&grace, &["review", "apply"]).await, program(&hugo, &["review"]).await);
    let id = text(&applies(&mine, "demo/opt").await, "/application/id");
    let own = text(&applies(&desk, "demo/opt").await, "/application/id");
    let at = |verb: &str| format!("/api/v1/review/{id}{verb}");

    let told = fine(mine.fetch(&format!("/api/v1/applications/{id}")).await);
    let steps: Vec<String> = told["timeline"].as_array().unwrap().iter().map(|step| text(step, "/state")).collect();
    assert_eq!(steps, ["done", "done", "now", "next"]);
    assert_eq!(told["may"], json!({ "submit": false, "comment": true, "withdraw": true, "appeal": false, "apply_again": false }));
    assert_eq!((told["quicker"].as_array().unwrap().len(), &told["place"]), (2, &json!(0)));
    let views = fine(desk.fetch("/api/v1/review/views").await);
    assert_eq!((&views["items"][0]["view"], &views["items"][0]["count"]), (&json!("all"), &json!(2)));
    let queue = fine(desk.fetch("/api/v1/review").await);
    let row = &queue["items"][0];
    assert_eq!(row["organisation"], "University of Turin");
    assert!(text(row, "/role").starts_with("Academic staff"), "{row}");
    assert!(row["evidence"].as_array().unwrap().contains(&json!("Institutional address")), "{row}");
    let case = fine(desk.fetch(&at("")).await);
    assert_eq!((&case["asked_months"], &case["barred"], &case["undo_until"]), (&json!("6"), &Value::Null, &Value::Null));
    refused(&desk.fetch(&format!("/api/v1/review/{own}")).await, 403, "own_application");

    // What would happen is told first, and nothing of it is done.
    let cases = json!([{ "id": id, "version": 99 }, { "id": own }, { "id": ApplicationId::fresh() }]);
    let foreseen = fine(sends(&desk, "POST", "/api/v1/review/bulk/preview", json!({ "action": "approve", "cases": cases })).await);
    let codes: Vec<&Value> = foreseen["items"].as_array().unwrap().iter().map(|item| &item["code"]).collect();
    assert_eq!(codes, ["stale", "own_application", "not_found"]);
    let foreseen = fine(sends(&desk, "POST", "/api/v1/review/bulk/preview", json!({ "action": "approve", "cases": [{ "id": id }] })).await);
    assert!(text(&foreseen, "/items/0/told").contains("gets access until"), "{foreseen}");
    let mail =
        fine(sends(&desk, "POST", &at("/approve/preview"), json!({ "until": "2026-08-28", "scopes": ["api"], "note": "Welcome." })).await);
    assert!(text(&mail, "/body").contains("You may use it through the API.") && text(&mail, "/body").contains("> Welcome."), "{mail}");
    let mail = fine(sends(&desk, "POST", &at("/decline/preview"), json!({ "reason": "duplicate", "text": "See the other one." })).await);
    assert!(text(&mail, "/subject").contains("declined") && text(&mail, "/body").contains("See the other one."));
    assert_eq!(fine(desk.fetch(&at("")).await)["application"]["state"], "submitted");

    // Scopes: known ones, at least one, and what was chosen is what holds.
    for scopes in [json!([]), json!(["everything"])] {
        for path in [at("/approve"), at("/approve/preview")] {
            let wrong = sends(&desk, "POST", &path, json!({ "until": "2026-08-28", "scopes": scopes })).await;
            refused(&wrong, 422, "invalid");
            assert_eq!(fields(&wrong), ["scopes"]);
        }
        let many = json!({ "action": "approve", "scopes": scopes, "cases": [{ "id": id }] });
        for path in ["/api/v1/review/bulk", "/api/v1/review/bulk/preview"] {
            refused(&sends(&desk, "POST", path, many.clone()).await, 422, "invalid");
        }
    }
    let both = sends(&desk, "POST", &at("/approve"), json!({ "until": "never", "scopes": ["everything"] })).await;
    assert_eq!(fields(&both), ["until", "scopes"]);
    let approved = fine(sends(&desk, "POST", &at("/approve"), json!({ "until": "2026-08-28", "scopes": ["api", "playground"] })).await);
    assert_eq!(approved["grants"][0]["scopes"], json!(["playground", "api"]));
    assert!(approved["undo_until"].is_string());
    assert_eq!(fine(second.fetch(&at("")).await)["undo_until"], Value::Null, "whoever decided takes it back");
    assert_eq!(fine(mine.fetch("/api/v1/models/demo/opt").await)["download"]["code"], "grant_scope");
    let bulk = json!({ "action": "approve", "scopes": ["download"], "cases": [{ "id": own }] });
    assert_eq!(fine(sends(&second, "POST", "/api/v1/review/bulk", bulk).await)["items"][0]["done"], true);
    assert_eq!(fine(desk.fetch("/api/v1/grants").await)["items"][0]["scopes"], json!(["download"]));

    // The applicant sees the access, and has a receipt of it; nobody else has.
    portal.portal.audit.integrate(&portal.portal.db).await.unwrap();
    let told = fine(mine.fetch(&format!("/api/v1/applications/{id}")).await);
    assert_eq!((&told["grant"]["standing"], &told["may"]["apply_again"]), (&json!("holds"), &json!(false)));
    let event = told["record"].as_array().unwrap().iter().find(|event| event["kind"] == "application.approved").unwrap();
    let receipt = text(event, "/receipt").strip_prefix(&portal.base).unwrap().to_owned();
    assert!(text(&fine(mine.fetch(&receipt).await), "/proof").starts_with("c2sp.org/tlog-proof@v1\n"));
    refused(&other.fetch(&receipt).await, 404, "not_found");
    refused(&mine.fetch("/api/v1/receipts/999999999").await, 404, "not_found");
    // An admin's program sees to others with the scope for that alone.
    let root = portal.admin("root").await;
    refused(&program(&root, &["apply"]).await.fetch(&receipt).await, 404, "not_found");
    fine(program(&root, &["apply", "admin"]).await.fetch(&receipt).await);

    // Reviewers read any grant; whoever holds it, only their own.
    let grant = text(&told, "/grant/id");
    let held = fine(desk.fetch(&format!("/api/v1/review/grants/{grant}")).await);
    assert_eq!((&held["grant"]["id"], &held["revoke_needs_two"], &held["suspended"]), (&json!(grant), &json!(false), &Value::Null));
    fine(sends(&desk, "POST", &format!("/api/v1/review/grants/{grant}/suspend"), json!({ "reason": "To be settled." })).await);
    assert_eq!(fine(desk.fetch(&format!("/api/v1/review/grants/{grant}")).await)["suspended"]["by"], "grace");
    refused(&mine.fetch(&format!("/api/v1/review/grants/{grant}")).await, 403, "not_a_reviewer");
    refused(&other.fetch(&format!("/api/v1/grants/{grant}")).await, 404, "not_found");
    let in_force = fine(desk.fetch("/api/v1/review/grants?view=in_force&limit=1").await);
    assert!(text(&in_force, "/next").contains("view=in_force"), "{in_force}");
    assert_eq!(fine(desk.fetch("/api/v1/review/grants?view=proposed").await)["items"], json!([]));
    for query in ["view=lost", "view=in_force&model=demo/opt", "view=in_force&cursor=x"] {
        refused(&desk.fetch(&format!("/api/v1/review/grants?{query}")).await, 422, "invalid");
    }
}

/// Every operation around an approval, held against its description. `over`: a case that waits no more, `case`: one that is about to be approved.
pub async fn tries_of_an_approval(document: &mut Document, admin: &Person, over: &str, case: &str) {
    document.tries(admin, "GET", "/api/v1/review/views", "", None).await;
    let order = json!({ "action": "approve", "scopes": ["api"], "cases": [{ "id": over }, { "id": case }] });
    document.tries(admin, "POST", "/api/v1/review/bulk/preview", "", Some(order)).await;
    let yes = json!({ "until": "2026-06-30", "scopes": ["download"], "note": "Welcome." });
    document.tries(admin, "POST", "/api/v1/review/{id}/approve/preview", case, Some(yes)).await;
    document
        .tries(admin, "POST", "/api/v1/review/{id}/decline/preview", case, Some(json!({ "reason": "duplicate", "text": "See the other." })))
        .await;
}

/// Every operation on what access takes and what becomes of a grant, held against its description.
pub async fn tries_of_access(
    document: &mut Document,
    portal: &TestPortal,
    (mine, desk, admin): (&Person, &Person, &Person),
    model: ModelId,
    grant: &str,
) {
    let model = model.to_string();
    document.tries(mine, "GET", "/api/v1/grants/{id}", grant, None).await;
    document.tries(desk, "GET", "/api/v1/review/grants/{id}", grant, None).await;
    let asked = json!({ "summary": SUMMARY, "months": 6 });
    for decision in ["withdraw", "decline", "approve"] {
        document.tries(mine, "POST", "/api/v1/grants/{id}/renew", grant, Some(asked.clone())).await;
        let waiting = document.tries(desk, "GET", "/api/v1/review/renewals", "", None).await;
        let renewal = text(&waiting, "/items/0/id");
        document.tries(desk, "GET", "/api/v1/review/renewals/{id}", &renewal, None).await;
        match decision {
            "withdraw" => document.tries(mine, "POST", "/api/v1/grants/{id}/renew/withdraw", grant, Some(json!({}))).await,
            "decline" => {
                document.tries(desk, "POST", "/api/v1/review/renewals/{id}/decline", &renewal, Some(json!({ "text": "No." }))).await
            }
            _ => {
                document.tries(desk, "POST", "/api/v1/review/renewals/{id}/approve", &renewal, Some(json!({ "until": "2026-07-31" }))).await
            }
        };
    }
    let access = document.tries(admin, "GET", "/api/v1/admin/models/{id}/access", &model, None).await;
    document.tries(admin, "PUT", "/api/v1/admin/models/{id}/gate", &model, Some(json!({ "gate": "application" }))).await;
    let rules = json!({ "answer_days": 7, "reapply_days": 0, "trial_tokens": 0, "revoke_needs_two": false });
    document.tries(admin, "PUT", "/api/v1/admin/models/{id}/policy", &model, Some(rules)).await;
    let licence = text(&access, "/licence_sha256");
    let change = json!({ "licence_shown": licence, "grace_days": 30 });
    document.tries(admin, "POST", "/api/v1/admin/models/{id}/licence-change", &model, Some(change)).await;
    let consent = document.tries(mine, "GET", "/api/v1/grants/{id}/consent", grant, None).await;
    let agreed: Vec<String> = consent["asked"]["clauses"].as_array().unwrap().iter().map(|clause| text(clause, "/field")).collect();
    document.tries(mine, "POST", "/api/v1/grants/{id}/consent", grant, Some(json!({ "shown": licence, "agreed": agreed }))).await;
    let told = document.tries(mine, "GET", "/api/v1/grants/{id}", grant, None).await;
    portal.portal.audit.integrate(&portal.portal.db).await.unwrap();
    let receipt = told["record"].as_array().unwrap().last().unwrap()["seq"].to_string();
    document.tries(mine, "GET", "/api/v1/receipts/{seq}", &receipt, None).await;

    let person = text(&told, "/grant/holder/id");
    let why = json!({ "until": "2026-04-30", "reason": "A question." });
    let block = document.tries(desk, "POST", "/api/v1/admin/people/{id}/blocks", &person, Some(why)).await;
    document.tries(desk, "GET", "/api/v1/admin/blocks", "", None).await;
    document.tries(desk, "GET", "/api/v1/admin/people/{id}/blocks", &person, None).await;
    let both = format!("{person} {}", text(&block, "/id"));
    document.tries(desk, "POST", "/api/v1/admin/people/{id}/blocks/{block}/lift", &both, Some(json!({}))).await;

    let form = document.tries(admin, "GET", "/api/v1/admin/models/{id}/form", &model, None).await["form"].clone();
    document.tries(admin, "GET", "/api/v1/admin/models/{id}/form/versions/{version}", &format!("{model} 0"), None).await;
    let mut form = form;
    form["sections"][0]["title"] = "About you".into();
    for last in ["discard", "publish"] {
        let draft = document.tries(admin, "PUT", "/api/v1/admin/models/{id}/form/draft", &model, Some(json!({ "form": form }))).await;
        document.tries(admin, "GET", "/api/v1/admin/models/{id}/form/compare", &model, None).await;
        let seen = json!({ "edition": draft["draft"]["edition"] });
        document.tries(admin, "POST", &format!("/api/v1/admin/models/{{id}}/form/{last}"), &model, Some(seen)).await;
    }
}
