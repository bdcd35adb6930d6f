//! The life of a grant: what it is for, suspended, revoked by one or by two, and kept from somebody who is blocked; on every path at once.

use reqwest::Method;
use serde_json::json;
use server::access::{self, Gift, GrantScope};
use server::accounts::{self, Email};
use server::catalog::{self, Gate};
use server::ids::{AccountId, GrantId};
use sqlx::PgPool;
use tests::{Offer, Page, Person, TestPortal};
use time::Duration;

use crate::gated::{LICENCE, applies_for, relicense};

pub async fn account_of(portal: &TestPortal, person: &Person) -> AccountId {
    let mut db = portal.portal.db.acquire().await.unwrap();
    accounts::find_by_email(&mut db, &Email::parse(&person.email).unwrap()).await.unwrap().unwrap().id
}

/// The newest grant of this person.
pub async fn grant_of(portal: &TestPortal, person: &Person) -> GrantId {
    let account = account_of(portal, person).await;
    access::grants_of(&mut portal.portal.db.acquire().await.unwrap(), account).await.unwrap()[0].grant.id
}

pub async fn events_of(portal: &TestPortal, subject: &str) -> Vec<String> {
    let filter = server::audit::Filter { subjects: Some(vec![subject.to_owned()]), ..Default::default() };
    let events = server::audit::page(&mut portal.portal.db.acquire().await.unwrap(), &filter, 100).await.unwrap();
    events.into_iter().rev().map(|event| event.kind).collect()
}

/// A gated model with a file, somebody who has access to it, and their programs.
struct Place {
    portal: TestPortal,
    offer: Offer,
    ada: Person,
    download: Person,
    api: Person,
}

impl Place {
    async fn new(db: PgPool, scopes: &[GrantScope]) -> Self {
        let portal = TestPortal::start(db).await;
        let offer = portal.offers("lab/tiny", Gate::Application, &[("model.safetensors", &[7; 5_000])]).await;
        relicense(&portal, Some(offer.model), LICENCE, portal.portal.clock.now()).await;
        let ada = portal.researcher("ada").await;
        let download = ada.with_token(&ada.makes_token(&["download"]).await);
        let api = ada.with_token(&ada.makes_token(&["api"]).await);
        let place = Self { portal, offer, ada, download, api };
        place.gives(scopes).await;
        place
    }

    async fn gives(&self, scopes: &[GrantScope]) {
        let mut db = self.portal.portal.db.acquire().await.unwrap();
        let account = accounts::find_by_email(&mut db, &Email::parse(&self.ada.email).unwrap()).await.unwrap().unwrap();
        let model = catalog::find_model_by_id(&mut db, self.offer.model).await.unwrap();
        drop(db);
        let gift = Gift { scopes, reason: "agreed by mail", days: 60 };
        access::give_for(&self.portal.portal, None, &account, &model, &gift).await.unwrap();
    }

    /// What each path answers: the file by token (GET and HEAD) and by cookie, the Hub's question, `/v1`, the playground's stream. An empty
    /// code is a yes; the model has no weights that an engine could run, so a yes of the last two is that it was tried.
    async fn answers(&self) -> Vec<(&'static str, String)> {
        let url = self.offer.url("model.safetensors");
        let file = |page: Page| if page.status < 400 { String::new() } else { page.header("x-error-message").to_owned() };
        let head = Page::of(self.download.request(Method::HEAD, &url).send().await.unwrap()).await;
        let body = json!({ "model": self.offer.full_name, "prompt": "a", "max_tokens": 1 });
        let v1 = Page::of(self.api.request(Method::POST, "/v1/completions").json(&body).send().await.unwrap()).await;
        let page = self.ada.post("/playground/complete", &[("model", &self.offer.full_name), ("text", "a"), ("max_tokens", "1")]).await;
        let said = |page: Page| if page.status == 403 { page.text } else { String::new() };
        vec![
            ("file", file(self.download.fetch(&url).await)),
            ("head", file(head)),
            ("cookie", file(self.ada.fetch(&url).await)),
            ("check", file(self.download.fetch(&format!("/api/models/{}/auth-check", self.offer.full_name)).await)),
            ("v1", said(v1)),
            ("page", said(page)),
        ]
    }

    /// Each path named is refused with these words, and each other one is not.
    async fn refuses(&self, paths: &[&str], words: &str) {
        for (path, answer) in self.answers().await {
            let refused = if paths.contains(&path) { answer.contains(words) } else { answer.is_empty() };
            assert!(refused, "{path}: {answer:?}, where {words:?} stands against {paths:?}");
        }
    }
}

const DOWNLOADS: [&str; 4] = ["file", "head", "cookie", "check"];
const EVERYWHERE: [&str; 6] = ["file", "head", "cookie", "check", "v1", "page"];

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_grant_is_for_some_uses_and_not_for_others(db: PgPool) {
    let place = Place::new(db, &[GrantScope::Download]).await;
    place.refuses(&["v1", "page"], "does not let you").await;
    for (scopes, refused, words) in [
        (&[GrantScope::Playground, GrantScope::Api][..], &DOWNLOADS[..], "does not let you download the weights"),
        (&[GrantScope::Playground][..], &["file", "head", "cookie", "check", "v1"][..], "does not let you"),
        (&GrantScope::ALL[..], &[][..], ""),
    ] {
        place.portal.revokes(&place.offer).await;
        place.portal.wait(Duration::MINUTE);
        place.gives(scopes).await;
        place.refuses(refused, words).await;
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn who_is_suspended_has_nothing_anywhere_until_reinstated(db: PgPool) {
    let place = Place::new(db, &GrantScope::ALL).await;
    let (grace, id) = (place.portal.reviewer("grace").await, grant_of(&place.portal, &place.ada).await);
    let page = format!("/admin/grants/{id}");
    grace.get(&page).await.says("Suspend access").says("download the weights, try it in the playground, use it through the API");
    let refused = grace.post(&format!("{page}/suspend"), &[("reason", " ")]).await;
    assert_eq!(refused.status, 422);
    refused.says("say why");
    place.refuses(&[], "").await;

    let suspended = grace.post(&format!("{page}/suspend"), &[("reason", "a token was seen in public")]).await;
    assert_eq!((suspended.status, suspended.location()), (303, page.as_str()));
    place.refuses(&EVERYWHERE, "is suspended: a token was seen in public").await;
    assert_eq!(grace.post(&format!("{page}/suspend"), &[("reason", "again")]).await.status, 409);
    grace.get(&page).await.says("grace suspended it on 2 March 2026").says("Reinstate");
    grace.get("/review/grants").await.says(&page).says("a token was seen in public");
    place.ada.get("/applications").await.says("Suspended").says("a token was seen in public");
    place.ada.get("/lab/tiny").await.says("is suspended: a token was seen in public");
    place.ada.get("/lab/tiny/apply").await.says("does not hold now").says("is suspended: a token was seen in public");
    assert!(place.portal.mails_to(&place.ada.email, "access_suspended").await[0].contains("a token was seen in public"));

    assert_eq!(grace.post(&format!("{page}/reinstate"), &[]).await.status, 303);
    grace.get(&page).await.says("Reinstated. Access is valid again");
    place.refuses(&[], "").await;
    assert_eq!(place.portal.mails_to(&place.ada.email, "access_reinstated").await.len(), 1);
    assert_eq!(events_of(&place.portal, &id.to_string()).await, ["grant.made", "grant.suspended", "grant.reinstated"]);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn words_of_people_are_crushed_in_headers_alone(db: PgPool) {
    let place = Place::new(db, &GrantScope::ALL).await;
    let (grace, id) = (place.portal.reviewer("grace").await, grant_of(&place.portal, &place.ada).await);
    let reason = "Überprüfung läuft – идёт проверка";
    assert_eq!(grace.post(&format!("/admin/grants/{id}/suspend"), &[("reason", reason)]).await.status, 303);

    let url = place.offer.url("model.safetensors");
    for path in [url.as_str(), &format!("/api/models/{}/auth-check", place.offer.full_name)] {
        let refused = place.download.fetch(path).await;
        assert_eq!(refused.status, 403);
        let said = refused.json()["error"].as_str().unwrap().to_owned();
        assert!(said.contains(&format!("is suspended: {reason}. See your access: ")), "{said}");
        let header = refused.header("x-error-message");
        assert!(header.contains("is suspended: Ueberpruefung laeuft - [...]. See your access: "), "{header}");
        assert_eq!(said.split(": http").last(), header.split(": http").last(), "both lead to the page that has the words");
    }
    let body = json!({ "model": place.offer.full_name, "prompt": "a", "max_tokens": 1 });
    let v1 = Page::of(place.api.request(Method::POST, "/v1/completions").json(&body).send().await.unwrap()).await;
    assert!(v1.json()["error"]["message"].as_str().unwrap().contains(reason), "{}", v1.text);
    place.ada.get(&url).await.says(reason);
    place.ada.get(&format!("/grants/{id}")).await.says(reason);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn where_it_takes_two_the_first_suspends_and_the_second_decides(db: PgPool) {
    let place = Place::new(db, &GrantScope::ALL).await;
    let (grace, barbara) = (place.portal.reviewer("grace").await, place.portal.reviewer("barbara").await);
    let root = place.portal.admin("root").await;
    let rules = [("answer_days", "7"), ("reapply_days", "14"), ("trial_tokens", "0"), ("revoke_needs_two", "on")];
    assert_eq!(root.post(&format!("/admin/models/{}/policy", place.offer.model), &rules).await.status, 303);
    let page = format!("/admin/grants/{}", grant_of(&place.portal, &place.ada).await);
    let proposes = async || {
        assert_eq!(grace.post(&format!("{page}/revoke"), &[("reason", "passed on")]).await.status, 303);
        place.refuses(&EVERYWHERE, "is suspended: passed on").await;
    };

    grace.get(&page).await.says("Propose to revoke");
    proposes().await;
    assert_eq!(place.portal.mails_to(&grace.email, "revocation_to_confirm").await.len(), 0, "not to whoever proposed it");
    assert!(place.portal.mails_to(&barbara.email, "revocation_to_confirm").await[0].contains(&page));
    grace.get(&page).await.says("Another reviewer confirms or rejects");
    grace.get("/review/grants").await.says("Waiting for another reviewer").says(&page);
    assert!(!grace.get("/review").await.text.contains("to confirm"), "it is another's turn");
    barbara.get("/review").await.says("1 to confirm");
    barbara.get("/review/grants").await.says("another person, you for example").says(&page).says("passed on");
    for path in ["confirm", "reject"] {
        let own = grace.post(&format!("{page}/{path}"), &[]).await;
        assert_eq!(own.status, 403, "{path}");
        own.says("revoking takes another person");
    }
    assert_eq!(barbara.post(&format!("{page}/revoke"), &[("reason", "me too")]).await.status, 409, "it is proposed already");
    root.get("/admin/grants").await.says("Proposed to be revoked");
    assert_eq!(barbara.post(&format!("{page}/reject"), &[]).await.status, 303);
    place.refuses(&[], "").await;
    assert_eq!(barbara.post(&format!("{page}/confirm"), &[]).await.status, 409, "nothing is proposed any more");

    proposes().await;
    assert_eq!(barbara.post(&format!("{page}/confirm"), &[]).await.status, 303);
    place.refuses(&EVERYWHERE, "was revoked").await;
    assert!(place.portal.mails_to(&place.ada.email, "access_revoked").await[0].contains("passed on"));
    let id = grant_of(&place.portal, &place.ada).await.to_string();
    let story =
        ["made", "revocation_proposed", "revocation_rejected", "revocation_proposed", "revoked"].map(|kind| format!("grant.{kind}"));
    assert_eq!(events_of(&place.portal, &id).await, story);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn whose_access_is_stopped_and_then_taken_back_is_told_each_once_and_what_is_left_to_do(db: PgPool) {
    let place = Place::new(db, &GrantScope::ALL).await;
    let (grace, barbara) = (place.portal.reviewer("grace").await, place.portal.reviewer("barbara").await);
    let rules = [("answer_days", "7"), ("reapply_days", "14"), ("trial_tokens", "0"), ("revoke_needs_two", "on")];
    let root = place.portal.admin("root").await;
    assert_eq!(root.post(&format!("/admin/models/{}/policy", place.offer.model), &rules).await.status, 303);
    let id = grant_of(&place.portal, &place.ada).await;
    let (page, own) = (format!("/admin/grants/{id}"), format!("/grants/{id}"));
    place.ada.get(&own).await.says("<dt>You may</dt>").says("<dt>Until</dt>");

    assert_eq!(grace.post(&format!("{page}/suspend"), &[("reason", "a token was seen in public")]).await.status, 303);
    let stopped = place.ada.get(&own).await;
    assert!(!stopped.says("Not now, but later you may").text.contains("<dt>You may</dt>"));
    assert_eq!(barbara.post(&format!("{page}/revoke"), &[("reason", "passed on")]).await.status, 303);
    assert_eq!(place.portal.mails_to(&place.ada.email, "access_suspended").await.len(), 1, "it was suspended already");

    assert_eq!(grace.post(&format!("{page}/confirm"), &[]).await.status, 303);
    let mail = &place.portal.mails_to(&place.ada.email, "access_revoked").await[0];
    assert!(mail.contains("was revoked") && mail.contains("delete every copy") && mail.contains(&own), "{mail}");
    let over = place.ada.get(&own).await;
    over.says("<dt>You could</dt>").says("<dt>Ended</dt><dd>2 March 2026").says("href=\"/lab/tiny/apply\">Apply again");
    assert!(!over.text.contains("<dt>You may</dt>") && !over.text.contains("<dt>Until</dt>"));
    place.ada.get("/lab/tiny").await.says(&format!("href=\"{own}\">See why"));
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn where_it_takes_two_the_operator_is_the_first_of_them(db: PgPool) {
    let place = Place::new(db, &GrantScope::ALL).await;
    let (grace, root) = (place.portal.reviewer("grace").await, place.portal.admin("root").await);
    let rules = [("answer_days", "7"), ("reapply_days", "14"), ("trial_tokens", "0"), ("revoke_needs_two", "on")];
    root.post(&format!("/admin/models/{}/policy", place.offer.model), &rules).await;
    let id = grant_of(&place.portal, &place.ada).await;
    let page = format!("/admin/grants/{id}");
    let operates = async || {
        let mut db = place.portal.portal.db.acquire().await.unwrap();
        let account = accounts::find_by_email(&mut db, &Email::parse(&place.ada.email).unwrap()).await.unwrap().unwrap();
        let model = catalog::find_model_by_id(&mut db, place.offer.model).await.unwrap();
        drop(db);
        access::take_back(&place.portal.portal, &account, &model, "passed on").await
    };

    assert!(matches!(operates().await, Ok(access::Revoked::Proposed(_))));
    place.refuses(&EVERYWHERE, "is suspended: passed on").await;
    assert!(matches!(operates().await, Err(server::error::Error::Conflict(_))), "once is enough");
    for other in [&grace, &root] {
        let told = place.portal.mails_to(&other.email, "revocation_to_confirm").await;
        assert!(told.len() == 1 && told[0].contains("The operator proposes") && told[0].contains(&page), "{told:?}");
    }
    grace.get(&page).await.says("the operator").says("Confirm");
    assert_eq!(grace.post(&format!("{page}/reject"), &[]).await.status, 303);
    place.refuses(&[], "").await;
    operates().await.unwrap();
    assert_eq!(root.post(&format!("{page}/confirm"), &[]).await.status, 303);
    place.refuses(&EVERYWHERE, "was revoked").await;
    let story =
        ["made", "revocation_proposed", "revocation_rejected", "revocation_proposed", "revoked"].map(|kind| format!("grant.{kind}"));
    assert_eq!(events_of(&place.portal, &id.to_string()).await, story);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn of_two_who_answer_a_proposal_at_once_one_does(db: PgPool) {
    let place = Place::new(db, &GrantScope::ALL).await;
    let root = place.portal.admin("root").await;
    let rules = [("answer_days", "7"), ("reapply_days", "14"), ("trial_tokens", "0"), ("revoke_needs_two", "on")];
    root.post(&format!("/admin/models/{}/policy", place.offer.model), &rules).await;
    let (grace, barbara, id) =
        (place.portal.reviewer("grace").await, place.portal.reviewer("barbara").await, grant_of(&place.portal, &place.ada).await);
    for _ in 0..10 {
        root.post(&format!("/admin/grants/{id}/revoke"), &[("reason", "passed on")]).await;
        let (reject, again) = (format!("/admin/grants/{id}/reject"), format!("/admin/grants/{id}/reject"));
        let (one, other) = futures_util::future::join(grace.post(&reject, &[]), barbara.post(&again, &[])).await;
        let mut statuses = [one.status, other.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [303, 409]);
    }
    let confirm = format!("/admin/grants/{id}/confirm");
    root.post(&format!("/admin/grants/{id}/revoke"), &[("reason", "passed on")]).await;
    let (one, other) = futures_util::future::join(grace.post(&confirm, &[]), barbara.post(&confirm, &[])).await;
    assert_eq!(one.status.min(other.status), 303);
    assert_eq!(one.status.max(other.status), 409);
    assert_eq!(events_of(&place.portal, &id.to_string()).await.iter().filter(|kind| *kind == "grant.revoked").count(), 1);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_block_keeps_somebody_out_until_its_end_or_until_it_is_lifted(db: PgPool) {
    let place = Place::new(db, &GrantScope::ALL).await;
    let other = place.portal.offers("lab/other", Gate::Application, &[]).await;
    let (grace, ada) = (place.portal.reviewer("grace").await, account_of(&place.portal, &place.ada).await);
    let page = format!("/admin/people/{ada}");
    grace.get(&page).await.says("They are not blocked").says("lab/tiny").says("Every model");
    let refused = grace.post(&format!("{page}/block"), &[("until", "2026-02-01"), ("reason", "harassed a reviewer")]).await;
    assert_eq!(refused.status, 422);
    refused.says("choose a day in the future").says("harassed a reviewer");

    let of_tiny = place.offer.model.to_string();
    let block = [("model", of_tiny.as_str()), ("until", "2026-03-12"), ("reason", "harassed a reviewer")];
    assert_eq!(grace.post(&format!("{page}/block"), &block).await.status, 303);
    place.refuses(&EVERYWHERE, "You are blocked from lab/tiny until 12 March 2026: harassed a reviewer.").await;
    let apply = place.ada.get("/lab/tiny/apply").await;
    assert_eq!(apply.status, 403);
    apply.says("blocked from lab/tiny until 12 March 2026: harassed a reviewer");
    assert_eq!(place.ada.get("/lab/other/apply").await.status, 200, "of one model alone");
    assert!(place.portal.mails_to(&place.ada.email, "blocked").await[0].contains("harassed a reviewer"));
    place.ada.get("/applications").await.says("Blocked");

    let lift = grace.get(&page).await;
    let (_, rest) = lift.text.split_once(&format!("{page}/blocks/")).unwrap();
    let lift = format!("{page}/blocks/{}", rest.split('"').next().unwrap());
    assert_eq!(grace.post(&lift, &[]).await.status, 303);
    place.refuses(&[], "").await;
    assert_eq!(grace.post(&lift, &[]).await.status, 409, "it does not stand any more");
    assert_eq!(place.portal.mails_to(&place.ada.email, "block_lifted").await.len(), 1);

    assert_eq!(grace.post(&format!("{page}/block"), &[("until", "2026-03-12"), ("reason", "again")]).await.status, 303);
    assert_eq!(place.ada.get("/lab/other/apply").await.status, 403, "of every model");
    place.portal.wait(Duration::days(11));
    place.ada.signs_in().await;
    place.refuses(&[], "").await;
    assert_eq!(place.ada.get("/lab/other/apply").await.status, 200, "it ended by itself: {}", other.full_name);
    let of_ada = events_of(&place.portal, &ada.to_string()).await;
    let blocks: Vec<&str> = of_ada.iter().map(String::as_str).filter(|kind| kind.contains("block")).collect();
    assert_eq!(blocks, ["account.blocked", "account.block_lifted", "account.blocked"]);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_end_of_a_grant_that_another_one_follows_is_on_the_record(db: PgPool) {
    let place = Place::new(db, &[GrantScope::Download]).await;
    let expired = grant_of(&place.portal, &place.ada).await.to_string();
    place.portal.wait(Duration::days(61));
    place.gives(&[GrantScope::Download]).await;
    assert_eq!(events_of(&place.portal, &expired).await, ["grant.made", "grant.replaced"]);
    assert_ne!(grant_of(&place.portal, &place.ada).await.to_string(), expired);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn nobody_decides_about_their_own_grant_or_block(db: PgPool) {
    let place = Place::new(db, &[GrantScope::Api]).await;
    let (grace, barbara) = (place.portal.reviewer("grace").await, place.portal.reviewer("barbara").await);
    let application = applies_for(&grace, "/lab/tiny").await.replace("/applications/", "/review/");
    assert_eq!(barbara.post(&format!("{application}/approve"), &[("until", "2026-06-30"), ("note", "")]).await.status, 303);
    let (page, own) = (grant_of(&place.portal, &grace).await, account_of(&place.portal, &grace).await);
    assert_eq!(barbara.post(&format!("/admin/grants/{page}/suspend"), &[("reason", "a test")]).await.status, 303);
    assert_eq!(grace.post(&format!("/admin/grants/{page}/reinstate"), &[]).await.status, 403);
    grace.get(&format!("/admin/grants/{page}")).await.says("This is your own access");
    let block = [("until", "2026-03-12"), ("reason", "a test")];
    assert_eq!(grace.post(&format!("/admin/people/{own}/block"), &block).await.status, 403);
    assert_eq!(barbara.post(&format!("/admin/people/{own}/block"), &block).await.status, 303);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn whoever_approves_chooses_what_access_is_for(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let offer = portal.offers("lab/tiny", Gate::Application, &[("model.safetensors", &[7; 5_000])]).await;
    let (ada, bob, grace) = (portal.researcher("ada").await, portal.researcher("bob").await, portal.reviewer("grace").await);
    let application = applies_for(&ada, "/lab/tiny").await;
    let case = application.replace("/applications/", "/review/");
    let shown = grace.get(&case).await;
    for scope in GrantScope::ALL {
        shown.says(&format!("name=\"scopes\" value=\"{}\" checked", scope.as_str()));
    }
    // No tick at all is no approval, nor is a use that there is not; what was filled in is kept.
    let approve = format!("{case}/approve");
    for fields in [&[("scopes", "")][..], &[("scopes", ""), ("scopes", "everything")], &[("scopes", ""), ("preview", "yes")]] {
        let fields = [&[("until", "2026-06-30"), ("note", "Good luck!")], fields].concat();
        let refused = grace.post(&approve, &fields).await;
        assert_eq!(refused.status, 422);
        refused.says("download, playground, api").says("Good luck!").says("value=\"download\">");
    }
    let two = [("until", "2026-06-30"), ("scopes", ""), ("scopes", "playground"), ("scopes", "api")];
    let preview = grace.post(&approve, &[&two[..], &[("preview", "yes")]].concat()).await;
    preview.says("You may try it in the playground and use it through the API.").says("value=\"api\" checked").says("value=\"download\">");
    assert_eq!(grace.post(&approve, &two).await.status, 303);

    let may = "You may try it in the playground and use it through the API.";
    ada.get(&application).await.says(may);
    assert!(portal.mails_to(&ada.email, "access_granted").await[0].contains(may));
    grace.get(&case).await.says("They may try it in the playground and use it through the API.");
    let program = ada.with_token(&ada.makes_token(&["download"]).await);
    let refused = program.fetch(&offer.url("model.safetensors")).await;
    assert!(refused.header("x-error-message").contains("does not let you download the weights"), "{}", refused.text);

    // Of several at once, it is chosen for all of them.
    let id = applies_for(&bob, "/lab/tiny").await.rsplit('/').next().unwrap().to_owned();
    let chosen = [("action", "approve"), ("id", id.as_str())];
    grace.post("/review/bulk", &chosen).await.says("Each of them may").says("value=\"download\" checked");
    let none = grace.post("/review/bulk/do", &[&chosen[..], &[("scopes", "")]].concat()).await;
    assert_eq!(none.status, 422);
    none.says("choose at least one use");
    grace.post("/review/bulk/do", &[&chosen[..], &[("scopes", ""), ("scopes", "download")]].concat()).await.says("1 of 1 done");
    assert!(portal.mails_to(&bob.email, "access_granted").await[0].contains("You may download the weights.\n"));
}
