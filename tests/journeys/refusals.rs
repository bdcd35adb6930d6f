//! Every refusal names what stands in the way and has a next step, on pages and for programs.

use reqwest::Method;
use serde_json::json;
use sqlx::PgPool;
use tests::{Page, Person, TestPortal};

use crate::forms::base;
use crate::gated::{answers, applies_for, gated, open_model};
use crate::grants::{account_of, grant_of};

/// The button of a page that refuses.
fn next_step(page: &Page) -> &str {
    let (_, button) = page.text.split_once("<a class=\"button primary\" href=\"").unwrap_or_else(|| panic!("no next step: {}", page.text));
    button.split('"').next().unwrap()
}

/// A form is refused, and its sender is led to a page that they can see.
async fn refuses(who: &Person, path: &str, fields: &[(&str, &str)], status: u16, way: &str) {
    let page = who.post(path, fields).await;
    assert_eq!(page.status, status, "{path}: {}", page.text);
    // A case that changed meanwhile comes back as it is now, with what was typed.
    if page.text.contains("This page shows the application as it stands now") {
        assert!(page.text.contains(&format!("action=\"{way}/comment\"")), "{path}: {}", page.text);
        return;
    }
    let next = next_step(&page).to_owned();
    assert_eq!(next, way, "{path}: {}", page.text);
    assert_eq!(who.get(&next).await.status, 200, "{path} leads to {next}");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn every_refused_form_leads_on(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let model = gated(&portal, "tiny-opt").await;
    open_model(&portal, "open").await;
    let (ada, bob, root) = (portal.researcher("ada").await, portal.researcher("bob").await, portal.admin("root").await);
    let (grace, barbara) = (portal.reviewer("grace").await, portal.reviewer("barbara").await);
    let rules = [("answer_days", "7"), ("reapply_days", "14"), ("trial_tokens", "0"), ("revoke_needs_two", "on")];
    assert_eq!(root.post(&format!("/admin/models/{model}/policy"), &rules).await.status, 303);

    // At the desk.
    let of_ada = applies_for(&ada, "/demo/tiny-opt").await;
    let case = of_ada.replace("applications", "review");
    assert_eq!(grace.post(&format!("{case}/claim"), &[]).await.status, 303);
    refuses(&barbara, &format!("{case}/approve"), &[("until", "2026-06-01")], 409, &case).await;
    refuses(&barbara, &format!("{case}/release"), &[], 409, &case).await;
    refuses(&grace, &format!("{case}/claim"), &[("version", "1")], 409, &case).await;
    let decline = [("reason", "purpose_unclear"), ("text", "Which model?")];
    assert_eq!(grace.post(&format!("{case}/decline"), &decline).await.status, 303);
    refuses(&barbara, &format!("{case}/approve"), &[("until", "2026-06-01")], 409, &case).await;
    refuses(&barbara, &format!("{case}/undo"), &[], 403, &case).await;
    let of_grace = applies_for(&grace, "/demo/tiny-opt").await.replace("applications", "review");
    refuses(&grace, &format!("{of_grace}/claim"), &[], 403, &of_grace.replace("review", "applications")).await;
    refuses(
        &grace,
        &format!("{of_grace}/comment"),
        &[("lane", "shared"), ("text", "Soon?")],
        403,
        &of_grace.replace("review", "applications"),
    )
    .await;

    // As an applicant: the cool-down, what is closed, what needs no application.
    let again: Vec<(String, String)> = answers(&bob, "/demo/tiny-opt").await;
    let again: Vec<(&str, &str)> = again.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    refuses(&ada, "/demo/tiny-opt/apply", &again, 409, &of_ada).await;
    refuses(&ada, &format!("{of_ada}/withdraw"), &[], 409, &of_ada).await;
    refuses(&ada, &format!("{of_ada}/comment"), &[("text", "Why?")], 409, &of_ada).await;
    refuses(&ada, "/demo/open/apply", &again, 409, "/demo/open").await;

    // What somebody holds.
    let of_bob = applies_for(&bob, "/demo/tiny-opt").await;
    assert_eq!(grace.post(&format!("{}/approve", of_bob.replace("applications", "review")), &[("until", "2026-06-01")]).await.status, 303);
    let grant = grant_of(&portal, &bob).await;
    let (held, seen) = (format!("/grants/{grant}"), format!("/admin/grants/{grant}"));
    refuses(&bob, "/demo/tiny-opt/apply", &again, 409, &held).await;
    refuses(&bob, &format!("{held}/renew/withdraw"), &[], 409, &held).await;
    refuses(&bob, &format!("{held}/consent"), &[("shown", "")], 409, &held).await;
    refuses(&grace, &format!("{seen}/reinstate"), &[], 409, &seen).await;
    assert_eq!(grace.post(&format!("{seen}/revoke"), &[("reason", "passed on")]).await.status, 303, "proposed");
    refuses(&grace, &format!("{seen}/confirm"), &[], 403, &seen).await;
    assert_eq!(barbara.post(&format!("{seen}/confirm"), &[]).await.status, 303);
    refuses(&grace, &format!("{seen}/suspend"), &[("reason", "once more")], 409, &seen).await;
    bob.get("/demo/tiny-opt").await.says("Your access to demo/tiny-opt was revoked").says(&format!("href=\"{held}\">See why"));
    bob.get(&held).await.says("href=\"/demo/tiny-opt/apply\">Apply again");

    // People, forms, mails.
    let myself = account_of(&portal, &root).await;
    refuses(&root, &format!("/admin/people/{myself}/role"), &[("role", "reviewer")], 409, "/admin/people").await;
    let block = [("model", ""), ("until", "2026-06-01"), ("reason", "a test")];
    refuses(&root, &format!("/admin/people/{myself}/block"), &block, 403, "/applications").await;
    let form = base(model);
    assert_eq!(root.post(&format!("{form}/start"), &[("version", "0")]).await.status, 303);
    let compare = Page::of(root.request(Method::GET, &format!("{form}/compare")).header("accept", "text/html").send().await.unwrap()).await;
    assert_eq!(compare.status, 200);
    let mail: sqlx::types::Uuid =
        sqlx::query_scalar("select id from mail where kind = 'application_received' limit 1").fetch_one(&portal.portal.db).await.unwrap();
    let mail = format!("/admin/mail/{}", server::ids::MailId::from(mail));
    refuses(&root, &format!("{mail}/retry"), &[], 409, &mail).await;

    // Where nothing better is known: back to where one was, and never to somebody else's page.
    let old = |from: &str| {
        ada.request(Method::POST, "/account/name").header("accept", "text/html").header("referer", from).form(&[("csrf", "old")])
    };
    for (from, way) in
        [(format!("{}/account?tab=name", portal.base), "/account?tab=name"), ("https://elsewhere.example/account/x".to_owned(), "/account")]
    {
        let page = Page::of(old(&from).send().await.unwrap()).await;
        assert_eq!((page.status, next_step(&page)), (409, way), "{from}");
        page.says("from an older visit");
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn programs_are_told_the_same_next_step(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, grace, barbara) = (portal.researcher("ada").await, portal.reviewer("grace").await, portal.reviewer("barbara").await);
    let of_ada = applies_for(&ada, "/demo/tiny-opt").await;
    let (id, case) = (of_ada.rsplit('/').next().unwrap(), of_ada.replace("applications", "review"));
    assert_eq!(grace.post(&format!("{case}/claim"), &[]).await.status, 303);
    let program = barbara.with_token(&barbara.makes_token(&["review"]).await);
    let sends =
        async |path: &str, body: serde_json::Value| Page::of(program.request(Method::POST, path).json(&body).send().await.unwrap()).await;

    let decline = json!({ "reason": "purpose_unclear", "text": "Which model?" });
    let refused = sends(&format!("/api/v1/review/{id}/decline"), decline).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert_eq!(refused.json()["mend"], json!({ "path": case, "label": "Take it over at the case" }));
    let handled = sends("/api/models/demo/tiny-opt/user-access-request/handle", json!({ "requestId": id, "status": "accepted" })).await;
    assert_eq!(handled.status, 409);
    let way = format!("leave it to them. Take it over at the case: {}{case}", portal.base);
    assert!(handled.json()["error"].as_str().unwrap().ends_with(&way), "{}", handled.text);

    let mine = ada.with_token(&ada.makes_token(&["review"]).await);
    let refused = mine.fetch("/api/v1/review").await;
    assert_eq!((refused.status, &refused.json()["mend"]["path"]), (403, &json!("/account")), "{}", refused.text);
}
