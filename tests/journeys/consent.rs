//! A licence that changes in a way that matters: holders are asked, have some days, and agree clause by clause.

use server::catalog::Gate;
use server::ids::GrantId;
use sqlx::PgPool;
use tests::{Offer, Person, TestPortal};
use time::Duration;

use crate::forms::{base, done, edits};
use crate::gated::{LICENCE, applies_for, gated, relicense};
use crate::grants::{events_of, grant_of};

const CHANGED: &str = "Non-commercial research licence, and no training of other models.";

/// Applies and is approved; returns the grant and a program.
async fn gets_access(portal: &TestPortal, reviewer: &Person, person: &Person) -> (GrantId, Person) {
    let case = applies_for(person, "/lab/tiny").await.replace("/applications/", "/review/");
    let approved = reviewer.post(&format!("{case}/approve"), &[("until", "2026-09-15"), ("note", "")]).await;
    assert_eq!(approved.status, 303, "{}", approved.text);
    (grant_of(portal, person).await, person.with_token(&person.makes_token(&["download"]).await))
}

async fn fetches(program: &Person, offer: &Offer) -> String {
    let answer = program.fetch(&offer.url("model.safetensors")).await;
    if answer.status == 200 { String::new() } else { answer.header("x-error-message").to_owned() }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn holders_agree_to_a_licence_that_changed_or_their_access_rests(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let offer = portal.offers("lab/tiny", Gate::Application, &[("model.safetensors", &[7; 5_000])]).await;
    relicense(&portal, Some(offer.model), LICENCE, portal.portal.clock.now()).await;
    let (root, grace) = (portal.admin("root").await, portal.reviewer("grace").await);
    let (ada, bob, cora) = (portal.researcher("ada").await, portal.researcher("bob").await, portal.researcher("cora").await);
    let (of_ada, ada_program) = gets_access(&portal, &grace, &ada).await;
    let (of_bob, bob_program) = gets_access(&portal, &grace, &bob).await;
    portal.wait(Duration::DAY);
    relicense(&portal, Some(offer.model), CHANGED, portal.portal.clock.now()).await;
    // Agreed to the new text when she applied, before anybody said that it matters.
    let (of_cora, cora_program) = gets_access(&portal, &grace, &cora).await;

    let page = format!("/admin/models/{}", offer.model);
    root.get(&page).await.says("Ask holders to agree").says("2 holders are asked, and get a mail");
    let refused = root.post(&format!("{page}/licence-change"), &[("grace_days", "a month")]).await;
    assert_eq!(refused.status, 422);
    refused.says("enter a whole number from 0 to 180");
    portal.wait(Duration::MINUTE);
    assert_eq!(root.post(&format!("{page}/licence-change"), &[("grace_days", "30")]).await.status, 303);
    let twice = root.post(&format!("{page}/licence-change"), &[("grace_days", "30")]).await;
    assert_eq!(twice.status, 409);
    twice.says("asked to agree to this text already on 3 March 2026");
    root.get(&page).await.says("Since 3 March 2026").says("holders have been asked");
    for (person, grant, mails) in [(&ada, of_ada, 1), (&bob, of_bob, 1), (&cora, of_cora, 0)] {
        let sent = portal.mails_to(&person.email, "licence_changed").await;
        assert_eq!(sent.len(), mails, "{}", person.email);
        assert!(sent.iter().all(|mail| mail.contains(&format!("/grants/{grant}/consent"))), "{sent:?}");
    }

    // In the days of grace: everything goes on, and ada agrees.
    for program in [&ada_program, &bob_program, &cora_program] {
        assert_eq!(fetches(program, &offer).await, "");
    }
    ada.get(&format!("/grants/{of_ada}")).await.says("What you agreed to for lab/tiny has changed").says("Read and agree");
    for page in ["/applications", "/lab/tiny"] {
        let shown = ada.get(page).await;
        shown.says("What you agreed to has changed: agree by 2 April 2026").says(&format!("href=\"/grants/{of_ada}/consent\""));
        assert!(!cora.get(page).await.text.contains("agree by"), "she has agreed to it on {page}");
    }
    let consent = format!("/grants/{of_ada}/consent");
    let shown = ada.get(&consent).await;
    shown.says("no training of other models").says("goes on until 2 April 2026").says("non-commercial research only");
    assert!(!shown.text.contains("at least 18"), "the portal's own terms are not asked again");
    assert_eq!(bob.get(&consent).await.status, 404);
    let boxes: Vec<String> =
        shown.text.split("name=\"agree_").skip(1).map(|part| format!("agree_{}", part.split('"').next().unwrap())).collect();
    let (_, rest) = shown.text.split_once("name=\"shown\" value=\"").unwrap();
    let licence = rest.split('"').next().unwrap().to_owned();
    let mut fields: Vec<(&str, &str)> = boxes.iter().map(|name| (name.as_str(), "on")).collect();
    fields.push(("shown", &licence));
    let refused = ada.post(&consent, &fields[1..]).await;
    assert_eq!(refused.status, 422);
    refused.says("you have to agree to this");
    let other = "0".repeat(64);
    let mut stale = fields.clone();
    stale.last_mut().unwrap().1 = &other;
    let refused = ada.post(&consent, &stale).await;
    assert_eq!(refused.status, 422);
    refused.says("read it again");
    assert!(!refused.text.contains("checked"), "ticks under another text are made again");
    assert_eq!(ada.post(&consent, &fields).await.status, 303);
    assert_eq!(ada.post(&consent, &fields).await.status, 409);
    ada.get(&consent).await.says("There is nothing to agree to");
    let kept: Vec<(String, String)> = sqlx::query_as("select clause, licence_sha256 from consent where grant_id = $1")
        .bind(of_ada.uuid())
        .fetch_all(&portal.portal.db)
        .await
        .unwrap();
    assert_eq!(kept.len(), boxes.len());
    assert!(kept.iter().all(|(_, sha256)| *sha256 == licence));
    assert_eq!(events_of(&portal, &of_ada.to_string()).await, ["grant.made", "grant.consent_given"]);

    // Three days before the end bob is reminded, once; nobody else is.
    let reminded = async |person: &Person| {
        let (one, other) = tokio::join!(server::access::sweep(&portal.portal), server::access::sweep(&portal.portal));
        one.and(other).unwrap();
        portal.mails_to(&person.email, "consent_due").await
    };
    portal.wait(Duration::days(27) - Duration::MINUTE);
    assert!(reminded(&bob).await.is_empty());
    portal.wait(Duration::MINUTE);
    let [mail] = &reminded(&bob).await[..] else { panic!("one mail") };
    assert!(mail.contains("in 3 days") && mail.contains(&format!("/grants/{of_bob}/consent")), "{mail}");
    portal.wait(Duration::DAY);
    for (person, mails) in [(&bob, 1), (&ada, 0), (&cora, 0)] {
        assert_eq!(reminded(person).await.len(), mails, "{}", person.email);
    }

    // After them bob rests, until he agrees; the others never notice.
    portal.wait(Duration::days(2) - Duration::MINUTE);
    bob.signs_in().await;
    let bob_program = bob.with_token(&bob.makes_token(&["download", "api"]).await);
    let again = async |person: &Person| {
        person.signs_in().await;
        person.with_token(&person.makes_token(&["download"]).await)
    };
    let (ada_program, cora_program) = (again(&ada).await, again(&cora).await);
    assert_eq!(fetches(&bob_program, &offer).await, "");
    portal.wait(Duration::MINUTE);
    for program in [&ada_program, &cora_program] {
        assert_eq!(fetches(program, &offer).await, "");
    }
    let resting = fetches(&bob_program, &offer).await;
    assert!(
        resting.contains("has changed; your access is paused until you agree") && resting.contains(&format!("/grants/{of_bob}/consent")),
        "{resting}"
    );
    let body = serde_json::json!({ "model": "lab/tiny", "prompt": "a", "max_tokens": 1 });
    let v1 = tests::Page::of(bob_program.request(reqwest::Method::POST, "/v1/completions").json(&body).send().await.unwrap()).await;
    assert_eq!(v1.status, 403);
    v1.says("consent_needed");
    bob.get("/lab/tiny").await.says("Read and agree");
    let consent = format!("/grants/{of_bob}/consent");
    bob.get(&consent).await.says("Your access has been paused since 2 April 2026");
    bob.get("/lab/tiny/apply").await.says("your access is paused until you agree").says(&consent);
    assert_eq!(bob.post(&consent, &fields).await.status, 303);
    assert_eq!(fetches(&bob_program, &offer).await, "");
}

/// What the consent page asks: the names of its boxes, and what it shows.
fn asked(page: &tests::Page) -> (Vec<String>, String) {
    let boxes = page.text.split("name=\"agree_").skip(1).map(|part| format!("agree_{}", part.split('"').next().unwrap())).collect();
    let (_, rest) = page.text.split_once("name=\"shown\" value=\"").unwrap_or_else(|| panic!("nothing is asked: {}", page.text));
    (boxes, rest.split('"').next().unwrap().to_owned())
}

async fn agrees(person: &Person, grant: GrantId) -> tests::Page {
    let path = format!("/grants/{grant}/consent");
    let (boxes, shown) = asked(&person.get(&path).await);
    let fields: Vec<(&str, &str)> = boxes.iter().map(|name| (name.as_str(), "on")).chain([("shown", shown.as_str())]).collect();
    person.post(&path, &fields).await
}

const WEEK: &str = "I delete every copy within a week of the end of my access.";
const TRAINING: &str = "I will not train another model on what this one says.";

/// A draft in which one clause has other words.
async fn rewords(root: &Person, base: &str, version: &str, deletion: &str) {
    done(&root.post(&format!("{base}/start"), &[("version", version)]).await);
    let fields = [("id", "site-deletion"), ("field", "agree_deletion"), ("wording", deletion), ("source", "site")];
    done(&edits(root, base, "clauses/site-deletion", &fields).await);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn holders_agree_to_clauses_that_changed_or_their_access_rests(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let offer = portal.offers("lab/tiny", Gate::Application, &[("model.safetensors", &[7; 5_000])]).await;
    relicense(&portal, Some(offer.model), LICENCE, portal.portal.clock.now()).await;
    let (root, grace, base) = (portal.admin("root").await, portal.reviewer("grace").await, base(offer.model));
    let (ada, bob, cora) = (portal.researcher("ada").await, portal.researcher("bob").await, portal.researcher("cora").await);
    let ((of_ada, _), (of_bob, _)) = (gets_access(&portal, &grace, &ada).await, gets_access(&portal, &grace, &bob).await);
    let dora = portal.researcher("dora").await;
    portal.grants(&offer, &dora.email, 200).await;
    let of_dora = grant_of(&portal, &dora).await;
    let waiting = applies_for(&cora, "/lab/tiny").await.replace("/applications/", "/review/");
    portal.wait(Duration::DAY);

    // Who is affected is said before; what is typed wrong is said beside it, and nothing is published.
    rewords(&root, &base, "0", WEEK).await;
    done(&edits(&root, &base, "new/clauses", &[("id", "site-training"), ("wording", TRAINING), ("source", "site")]).await);
    let compare = root.get(&format!("{base}/compare")).await;
    compare.says("Have access").says("<dd>3. They agreed").says("2 are new or reworded").says("The change of the clauses matters");
    let refused = edits(&root, &base, "publish", &[("material", "on"), ("grace_days", "soon")]).await;
    assert_eq!(refused.status, 422);
    refused.says("enter a whole number from 0 to 180").says("name=\"material\" value=\"on\" checked").says("value=\"soon\"");
    let other = root.post(&format!("{base}/publish"), &[("material", "on"), ("grace_days", "14"), ("edition", "0")]).await;
    assert_eq!(other.status, 409, "nobody has seen that edition");
    done(&edits(&root, &base, "publish", &[("material", "on"), ("grace_days", "14")]).await);
    root.get(&base).await.says("3 holders get a mail").says("Since 3 March 2026").says("holders have been asked");
    for (person, grant) in [(&ada, of_ada), (&bob, of_bob), (&dora, of_dora)] {
        let mails = portal.mails_to(&person.email, "clauses_changed").await;
        let [mail] = &mails[..] else { panic!("one mail: {mails:?}") };
        assert!(mail.contains(&format!("> {WEEK}")) && mail.contains(&format!("> {TRAINING}")), "{mail}");
        assert!(mail.contains("by 17 March 2026") && mail.contains(&format!("/grants/{grant}/consent")), "{mail}");
    }
    let of_model = events_of(&portal, &offer.model.to_string()).await;
    assert_eq!(of_model[of_model.len() - 2..], ["form.published", "model.clauses_change_announced"]);

    // ada is asked what is new to her, with the words from before; dora, who never applied, all of it.
    ada.get(&format!("/grants/{of_ada}")).await.says("What you agreed to for lab/tiny has changed").says("Read and agree");
    let path = format!("/grants/{of_ada}/consent");
    let page = ada.get(&path).await;
    page.says("Before: <del>When my access ends, I delete every copy").says(TRAINING).says("goes on until 17 March 2026");
    let (boxes, shown) = asked(&page);
    assert_eq!(boxes, ["agree_deletion", "agree_site_training"]);
    assert_eq!(asked(&dora.get(&format!("/grants/{of_dora}/consent")).await).0.len(), 14);
    assert_eq!(bob.get(&path).await.status, 404);
    let refused = ada.post(&path, &[("shown", &shown), ("agree_deletion", "on")]).await;
    assert_eq!(refused.status, 422);
    refused.says("you have to agree to this");
    let both = [("agree_deletion", "on"), ("agree_site_training", "on")];
    assert_eq!(ada.post(&path, &[&both[..], &[("shown", "x")]].concat()).await.status, 422);
    assert_eq!(agrees(&ada, of_ada).await.status, 303);
    assert_eq!(ada.post(&path, &[&both[..], &[("shown", &shown)]].concat()).await.status, 409);
    ada.get(&path).await.says("There is nothing to agree to");
    assert_eq!(events_of(&portal, &of_ada.to_string()).await, ["grant.made", "grant.consent_given"]);
    let kept: Vec<(String, String)> =
        sqlx::query_as("select clause, wording from consent where grant_id = $1 and form_sha256 = $2 order by 1")
            .bind(of_ada.uuid())
            .bind(&shown)
            .fetch_all(&portal.portal.db)
            .await
            .unwrap();
    assert_eq!(kept, [("site-deletion", WEEK), ("site-training", TRAINING)].map(|(clause, words)| (clause.to_owned(), words.to_owned())));

    // Whose application was sent with the old form is asked once they have access; who applies now is not.
    portal.wait(Duration::DAY);
    assert_eq!(grace.post(&format!("{waiting}/approve"), &[("until", "2026-09-15"), ("note", "")]).await.status, 303);
    let of_cora = grant_of(&portal, &cora).await;
    cora.get(&format!("/grants/{of_cora}/consent")).await.says("goes on until 18 March 2026").says(TRAINING);
    let eve = portal.researcher("eve").await;
    let case = applies_for(&eve, "/lab/tiny").await.replace("/applications/", "/review/");
    assert_eq!(grace.post(&format!("{case}/approve"), &[("until", "2026-09-15"), ("note", "")]).await.status, 303);
    eve.get(&format!("/grants/{}/consent", grant_of(&portal, &eve).await)).await.says("There is nothing to agree to");

    // After the days of grace bob rests, until he agrees.
    portal.wait(Duration::days(13));
    for person in [&ada, &bob] {
        person.signs_in().await;
    }
    let programs = [ada.with_token(&ada.makes_token(&["download"]).await), bob.with_token(&bob.makes_token(&["download"]).await)];
    assert_eq!(fetches(&programs[0], &offer).await, "");
    assert!(fetches(&programs[1], &offer).await.contains("has changed; your access is paused until you agree"));
    assert_eq!(agrees(&bob, of_bob).await.status, 303);
    assert_eq!(fetches(&programs[1], &offer).await, "");

    // A change that does not matter asks nobody, and one without a new clause cannot matter.
    let root = portal.admin("wheel").await;
    rewords(&root, &base, "1", "I delete every copy within seven days of the end of my access.").await;
    done(&edits(&root, &base, "publish", &[("grace_days", "14")]).await);
    bob.get(&format!("/grants/{of_bob}/consent")).await.says("There is nothing to agree to");
    done(&root.post(&format!("{base}/start"), &[("version", "2")]).await);
    done(&edits(&root, &base, "clauses/site-training/remove", &[]).await);
    let refused = edits(&root, &base, "publish", &[("material", "on"), ("grace_days", "14")]).await;
    assert_eq!(refused.status, 422);
    refused.says("no clause is new or reworded").says("They are not asked anything");
    done(&edits(&root, &base, "discard", &[]).await);

    // Licence and clauses at once are one page, agreed to together, and two entries of the record.
    rewords(&root, &base, "2", "I delete every copy within a day of the end of my access.").await;
    done(&edits(&root, &base, "publish", &[("material", "on"), ("grace_days", "30")]).await);
    relicense(&portal, Some(offer.model), CHANGED, portal.portal.clock.now()).await;
    portal.wait(Duration::MINUTE);
    let announced = root.post(&format!("/admin/models/{}/licence-change", offer.model), &[("grace_days", "7")]).await;
    assert_eq!(announced.status, 303);
    let page = bob.get(&format!("/grants/{of_bob}/consent")).await;
    page.says("The licence and the terms for lab/tiny have changed")
        .says("no training of other models")
        .says("goes on until 24 March 2026");
    page.says("Before: <del>I delete every copy within a week");
    assert_eq!(agrees(&bob, of_bob).await.status, 303);
    let of_bob = events_of(&portal, &of_bob.to_string()).await;
    assert_eq!(of_bob.iter().filter(|kind| *kind == "grant.consent_given").count(), 3, "{of_bob:?}");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_text_of_a_licence_stays_as_it_was_agreed_to(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    for wrong in ["update licence set body = 'Anything goes.'", "delete from licence", "truncate licence cascade"] {
        let refused = sqlx::query(wrong).execute(&portal.portal.db).await.unwrap_err();
        assert!(refused.to_string().contains("the text of a licence stays as it is"), "{wrong}: {refused}");
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_licence_is_announced_only_where_somebody_has_to_agree(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let offer = portal.offers("lab/tiny", Gate::Application, &[]).await;
    relicense(&portal, Some(offer.model), LICENCE, portal.portal.clock.now()).await;
    let (root, grace, ada) = (portal.admin("root").await, portal.reviewer("grace").await, portal.researcher("ada").await);
    let page = format!("/admin/models/{}", offer.model);
    gets_access(&portal, &grace, &ada).await;
    portal.wait(Duration::MINUTE);
    let shown = root.get(&page).await;
    assert!(!shown.says("there is nobody to ask").text.contains("Ask holders to agree"), "{}", shown.text);
    let refused = root.post(&format!("{page}/licence-change"), &[("grace_days", "30")]).await;
    assert_eq!(refused.status, 409);
    refused.says("has agreed to this text already");
    assert!(!root.get("/admin/audit").await.text.contains("licence_change"), "nothing was announced");

    // Who waits with another text is asked once they hold access, so that it is announced for them.
    let bob = portal.researcher("bob").await;
    crate::gated::applies_for(&bob, "/lab/tiny").await;
    portal.wait(Duration::MINUTE);
    relicense(&portal, Some(offer.model), CHANGED, portal.portal.clock.now()).await;
    portal.revokes(&offer).await;
    root.get(&page).await.says("0 holders are asked");
    assert_eq!(root.post(&format!("{page}/licence-change"), &[("grace_days", "30")]).await.status, 303);
}
