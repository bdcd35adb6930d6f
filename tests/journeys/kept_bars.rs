//! What keeps somebody out is not shed by being erased and signing up again with the same address.

use server::accounts::{self, Account, Email};
use server::ids::GrantId;
use server::privacy::{Asker, erase};
use sqlx::PgPool;
use sqlx::types::Uuid;
use tests::{Person, TestPortal};
use time::Duration;

use crate::apply_and_review::case_of;
use crate::gated::{applies_for, gated};

async fn account_of(portal: &TestPortal, person: &Person) -> Account {
    let email = Email::parse(&person.email).unwrap();
    accounts::find_by_email(&mut portal.portal.db.acquire().await.unwrap(), &email).await.unwrap().unwrap()
}

async fn posts(person: &Person, path: &str, fields: &[(&str, &str)]) {
    let page = person.post(path, fields).await;
    assert_eq!(page.status, 303, "{path}: {}", page.text);
}

async fn erases_themselves(person: &Person) {
    person.get("/account/erase").await.says("A block, the time to wait after a declined application").says("same address");
    posts(person, "/account/erase", &[("understood", "on"), ("password", Person::PASSWORD)]).await;
}

/// What is kept: why and, as text, all of it.
async fn kept(portal: &TestPortal) -> (Vec<String>, String) {
    let rows: Vec<(String, String)> =
        sqlx::query_as("select why, to_jsonb(k)::text from kept_bar k order by why").fetch_all(&portal.portal.db).await.unwrap();
    let all = rows.iter().map(|(_, row)| row.as_str()).collect::<Vec<_>>().join("\n");
    (rows.into_iter().map(|(why, _)| why).collect(), all)
}

async fn is_declined(portal: &TestPortal, grace: &Person, person: &Person, model: &str) {
    let case = case_of(&applies_for(person, model).await);
    posts(grace, &format!("{case}/decline"), &[("reason", "other"), ("text", "Not this time.")]).await;
    portal.wait(Duration::minutes(11));
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_block_follows_an_address_from_account_to_account_until_it_is_lifted(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "opt").await;
    let (ada, bob, grace) = (portal.researcher("ada").await, portal.researcher("bob").await, portal.reviewer("grace").await);
    let first = account_of(&portal, &ada).await;
    let block = [("model", ""), ("until", "2028-12-31"), ("reason", "harassed Barbara")];
    posts(&grace, &format!("/admin/people/{}/block", first.id), &block).await;
    erases_themselves(&ada).await;
    erases_themselves(&bob).await;
    let (why, all) = kept(&portal).await;
    assert_eq!(why, ["blocked"]);
    for word in ["ada", "harassed", &first.id.uuid().to_string()] {
        assert!(!all.contains(word), "{word} is kept: {all}");
    }

    // Whoever has not proved the address is nobody yet.
    let again = Person::new(&portal.base, &ada.email);
    again.post("/sign-up", &[("name", "Ada"), ("email", &ada.email)]).await;
    assert_eq!(kept(&portal).await.0, ["blocked"]);
    let key = portal.key_mailed_to(&ada.email, "verify_address").await;
    posts(&again, "/verify", &[("key", &key), ("password", Person::PASSWORD)]).await;
    assert_eq!(kept(&portal).await.0.len(), 0, "it is a block of the new account now");
    let page = again.get("/demo/opt/apply").await;
    assert_eq!(page.status, 403);
    page.says("blocked from every model until 31 December 2028: an account with this address was blocked");
    assert!(portal.mails_to(&ada.email, "blocked").await[0].contains("every model until 31 December 2028"));
    let second = account_of(&portal, &again).await;
    let person = format!("/admin/people/{}", second.id);
    grace.get(&person).await.says("Every model").says("Until 31 December 2028").says("Set by the portal");
    let root = portal.admin("root").await;
    root.get("/admin/audit?kind=account.blocked").await.says("the portal").says(&second.id.to_string());
    assert_eq!(portal.researcher("bob").await.get("/demo/opt/apply").await.status, 200, "nothing was kept of bob");

    // Not by an admin either, and not by the operator.
    posts(&root, &format!("{person}/erase"), &[("email", &ada.email)]).await;
    assert_eq!(portal.researcher("ada").await.get("/demo/opt/apply").await.status, 403);
    erase(&portal.portal, account_of(&portal, &ada).await.id, Asker::Operator).await.unwrap();
    let last = portal.researcher("ada").await;
    assert_eq!(last.get("/demo/opt/apply").await.status, 403);
    let person = format!("/admin/people/{}", account_of(&portal, &last).await.id);
    let page = grace.get(&person).await;
    let (_, rest) = page.text.split_once(&format!("{person}/blocks/")).unwrap();
    posts(&grace, &format!("{person}/blocks/{}", rest.split('"').next().unwrap()), &[]).await;
    assert_eq!(last.get("/demo/opt/apply").await.status, 200);
    erases_themselves(&last).await;
    assert_eq!(kept(&portal).await.0.len(), 0, "what was lifted bars nobody");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_cool_down_runs_on_over_an_erasure_and_nothing_is_kept_longer(db: PgPool) {
    let portal = TestPortal::start(db).await;
    for name in ["opt", "other"] {
        gated(&portal, name).await;
    }
    let (grace, root) = (portal.reviewer("grace").await, portal.admin("root").await);
    let [ada, bob, carl, eve] =
        [portal.researcher("ada").await, portal.researcher("bob").await, portal.researcher("carl").await, portal.researcher("eve").await];
    is_declined(&portal, &grace, &ada, "/demo/opt").await;
    is_declined(&portal, &grace, &eve, "/demo/opt").await;
    // Bob's access is revoked; Carl gives his back.
    for (person, then) in [(&bob, "revoke"), (&carl, "close")] {
        let case = case_of(&applies_for(person, "/demo/opt").await);
        posts(&grace, &format!("{case}/approve"), &[("until", "2026-06-30"), ("text", "")]).await;
        portal.wait(Duration::minutes(11));
        let grant: Uuid = sqlx::query_scalar("select id from access_grant where account_id = $1")
            .bind(account_of(&portal, person).await.id.uuid())
            .fetch_one(&portal.portal.db)
            .await
            .unwrap();
        let grant = GrantId::from(grant);
        match then {
            "revoke" => posts(&root, &format!("/admin/grants/{grant}/revoke"), &[("reason", "passed on")]).await,
            _ => posts(person, &format!("/grants/{grant}/close"), &[("deleted", "on")]).await,
        }
    }
    for person in [&ada, &bob, &carl, &eve] {
        erases_themselves(person).await;
    }
    assert_eq!(kept(&portal).await.0, ["declined", "declined", "stopped"]);

    for (name, why) in [("ada", "was declined"), ("bob", "was stopped")] {
        let again = portal.researcher(name).await;
        let page = again.get("/demo/opt/apply").await;
        assert_eq!(page.status, 403, "{name}");
        page.says("until 16 March 2026").says(why);
        assert_eq!(again.get("/demo/other/apply").await.status, 200, "of one model alone");
    }
    assert_eq!(portal.researcher("carl").await.get("/demo/opt/apply").await.status, 200);

    // Eve comes back when the time is over, and there is nothing left to know her by.
    portal.wait(Duration::days(14));
    server::access::sweep(&portal.portal).await.unwrap();
    assert_eq!(kept(&portal).await.0.len(), 0);
    assert_eq!(portal.researcher("eve").await.get("/demo/opt/apply").await.status, 200);
    let ada = portal.visitor();
    ada.post("/sign-in", &[("email", "ada@university.edu"), ("password", Person::PASSWORD)]).await;
    assert_eq!(ada.get("/demo/opt/apply").await.status, 200);
}
