//! What an owner is told of the ways into their account: a browser that is new, a token that ends, a token that was found in public.

use reqwest::Method;
use serde_json::{Value, json};
use server::accounts;
use server::mail::{self, Filter};
use sqlx::PgPool;
use tests::{Page, Person, TestPortal};
use time::Duration;

/// The subjects of the mails of one kind to one person, the oldest first.
async fn subjects(portal: &TestPortal, person: &Person, kind: &str) -> Vec<String> {
    let mails = mail::page(&mut portal.portal.db.acquire().await.unwrap(), &Filter::default(), 1_000).await.unwrap();
    mails.into_iter().rev().filter(|mail| mail.recipient == person.email && mail.kind == kind).map(|mail| mail.subject).collect()
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_browser_that_is_new_is_told_of_and_one_that_was_here_is_not(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (ada, bob) = (portal.researcher("ada").await, portal.researcher("bob").await);
    let told = async |person: &Person| portal.mails_to(&person.email, "new_sign_in").await;
    ada.signs_in().await;
    assert!(told(&ada).await.is_empty(), "neither the first sign-in nor another of the same browser");

    let elsewhere = Person::new(&portal.base, &ada.email);
    let fields = [("email", ada.email.as_str()), ("password", Person::PASSWORD), ("csrf", &elsewhere.csrf().await)];
    let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0 https://evil.example";
    let request = elsewhere.request(Method::POST, "/sign-in").header("user-agent", firefox).form(&fields);
    let page = Page::of(request.send().await.unwrap()).await;
    assert_eq!(page.status, 303);
    let cookies: Vec<&str> = page.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect();
    let [cookie] = &cookies.iter().filter(|cookie| cookie.starts_with("sluice-browser=")).collect::<Vec<_>>()[..] else {
        panic!("{cookies:?}")
    };
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && cookie.contains("Max-Age=34560000"), "{cookie}");
    let mails = told(&ada).await;
    let [mail] = &mails[..] else { panic!("one mail: {mails:?}") };
    assert!(mail.contains("on 2 March 2026, 09:00 UTC") && mail.contains("Firefox on Linux"), "{mail}");
    assert!(mail.contains(&format!("{}/account/sessions", portal.base)) && !mail.contains("evil"), "{mail}");
    for _ in 0..2 {
        elsewhere.signs_in().await;
    }
    assert_eq!(told(&ada).await.len(), 1, "it is known from then on");

    // A browser that several people use is new to each of them once.
    for _ in 0..2 {
        assert_eq!(elsewhere.post("/sign-in", &[("email", &bob.email), ("password", Person::PASSWORD)]).await.status, 303);
    }
    assert_eq!((told(&ada).await.len(), told(&bob).await.len()), (1, 1));
    let hashes: i64 =
        sqlx::query_scalar("select count(distinct secret_hash) from known_browser").fetch_one(&portal.portal.db).await.unwrap();
    assert_eq!(hashes, 4, "nobody can tell that two of them are one browser");

    // Who takes an account back starts anew: the stranger's browser is a stranger's again.
    ada.post("/forgot", &[("email", &ada.email)]).await;
    let key = portal.key_mailed_to(&ada.email, "reset_password").await;
    assert_eq!(ada.post("/reset", &[("key", &key), ("password", Person::PASSWORD)]).await.status, 303);
    assert_eq!(told(&ada).await.len(), 1, "the mail about the password says it");
    elsewhere.signs_in().await;
    assert_eq!(told(&ada).await.len(), 2);

    ada.get("/account/mail").await.says("are always sent");
    portal.wait(Duration::days(400));
    accounts::sweep(&portal.portal).await.unwrap();
    let left: i64 = sqlx::query_scalar("select count(*) from known_browser").fetch_one(&portal.portal.db).await.unwrap();
    assert_eq!(left, 0, "nothing is kept of a browser for longer than it keeps its cookie");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn an_owner_is_told_that_a_token_ends_once_a_week_before_and_once_a_day_before(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (ada, bob, cora) = (portal.researcher("ada").await, portal.researcher("bob").await, portal.researcher("cora").await);
    let makes = async |person: &Person, name: &str, days: &str| {
        let page = person.post("/account/tokens", &[("name", name), ("days", days), ("download", "on")]).await;
        page.says("slc_");
    };
    makes(&ada, "laptop", "30").await;
    makes(&ada, "a test of an hour", "1").await;
    makes(&ada, "a week", "7").await;
    makes(&bob, "cluster", "30").await;
    makes(&bob, "cluster", "60").await;
    makes(&cora, "desk", "30").await;
    let choice = [("comments", "each"), ("tokens", "never"), ("releases", "each")];
    assert_eq!(cora.post("/account/mail", &choice).await.status, 303);
    let sweep = async || {
        let (one, other) = futures_util::future::join(accounts::sweep(&portal.portal), accounts::sweep(&portal.portal)).await;
        one.and(other).unwrap();
        accounts::sweep(&portal.portal).await.unwrap();
        subjects(&portal, &ada, "token_ends").await
    };
    assert!(sweep().await.is_empty());
    portal.wait(Duration::days(6));
    assert_eq!(
        sweep().await,
        ["Your access token a week ends in 1 day"],
        "a week is too short for a notice of a week, and a day for one of a day"
    );
    portal.wait(Duration::days(17) - Duration::MINUTE);
    assert_eq!(sweep().await.len(), 1);
    portal.wait(Duration::MINUTE);
    assert_eq!(sweep().await[1..], ["Your access token laptop ends in 7 days"]);
    portal.wait(Duration::days(6));
    assert_eq!(sweep().await[2..], ["Your access token laptop ends in 1 day"]);
    let mail = &portal.mails_to(&ada.email, "token_ends").await[0];
    assert!(mail.contains("/account/tokens") && mail.contains("1 April 2026, 09:00 UTC") && !mail.contains("slc_"), "{mail}");
    assert!(subjects(&portal, &bob, "token_ends").await.is_empty(), "another of the same name is in its place");
    assert!(subjects(&portal, &cora, "token_ends").await.is_empty(), "she chose so");

    // After a pause the most urgent alone; nothing of what has ended meanwhile.
    portal.wait(Duration::days(30) + Duration::hours(3));
    assert_eq!(sweep().await.len(), 3);
    assert_eq!(subjects(&portal, &bob, "token_ends").await, ["Your access token cluster ends in 22 hours"]);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn whoever_finds_a_token_reports_it_and_its_owner_is_told(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (ada, bob, root) = (portal.researcher("ada").await, portal.researcher("bob").await, portal.admin("root").await);
    let (of_ada, spare, of_bob) =
        (ada.makes_token(&["download"]).await, ada.makes_token(&["api"]).await, bob.makes_token(&["download"]).await);
    assert_eq!(ada.with_token(&of_ada).fetch("/api/whoami-v2").await.status, 200);
    let reports = async |body: Value| {
        let nobody = portal.visitor();
        Page::of(nobody.request(Method::POST, "/api/v1/tokens/leaked").json(&body).send().await.unwrap()).await
    };
    let unknown = format!("slc_{}", "a".repeat(48));
    for body in [
        json!({ "token": unknown }),
        json!({ "tokens": ["nonsense", "", unknown] }),
        json!({ "tokens": [of_ada, format!(" {of_bob}\n"), unknown] }),
        json!({ "token": of_ada }),
        json!({ "tokens": [of_ada, of_bob] }),
    ] {
        let page = reports(body.clone()).await;
        assert_eq!((page.status, page.text.as_str()), (202, ""), "{body}");
    }
    for (body, words) in [
        (json!({}), "are 1 to 100"),
        (json!({ "tokens": vec!["x"; 101] }), "are 1 to 100"),
        (json!({ "tokens": "x" }), "body"),
        (json!({ "tokens": ["x"], "reason": "x" }), "unknown field"),
    ] {
        let page = reports(body).await;
        assert_eq!(page.status, 422);
        page.says(words);
    }
    for (token, status) in [(&of_ada, 401), (&of_bob, 401), (&spare, 200)] {
        assert_eq!(ada.with_token(token).fetch("/api/whoami-v2").await.status, status);
    }
    for person in [&ada, &bob] {
        let mails = portal.mails_to(&person.email, "token_leaked").await;
        let [mail] = &mails[..] else { panic!("one mail: {mails:?}") };
        assert!(mail.contains("\"laptop\"") && mail.contains("/account/tokens") && !mail.contains("slc_"), "{mail}");
    }
    assert!(portal.mails_to(&ada.email, "token_leaked").await[0].contains("last used on 2 March 2026, 09:00 UTC"));
    assert!(portal.mails_to(&bob.email, "token_leaked").await[0].contains("was never used"));
    let record = root.get("/admin/audit?kind=token.leaked").await;
    assert_eq!(record.says("somebody unknown").text.matches("token.leaked</a>").count(), 2, "{}", record.text);

    let mut limited = 0;
    for _ in 0..60 {
        limited += usize::from(reports(json!({ "token": unknown })).await.status == 429);
    }
    assert!(limited > 0, "as every door that stands open");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn who_signs_in_anew_ends_the_session_that_the_browser_had(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (ada, bob) = (portal.researcher("ada").await, portal.researcher("bob").await);
    let elsewhere = Person::new(&portal.base, &ada.email);
    elsewhere.signs_in().await;
    let sessions = async |of: &Person| -> i64 {
        let count = sqlx::query_scalar("select count(*) from session s join account a on a.id = s.account_id where a.email = $1");
        count.bind(&of.email).fetch_one(&portal.portal.db).await.unwrap()
    };
    assert_eq!(sessions(&ada).await, 2);
    assert_eq!(ada.signs_in().await.status, 303);
    assert_eq!((sessions(&ada).await, elsewhere.get("/account").await.status), (2, 200), "another browser goes on");
    // Somebody else at the same browser.
    let fields = [("email", bob.email.as_str()), ("password", Person::PASSWORD)];
    assert_eq!(ada.post("/sign-in", &fields).await.status, 303);
    ada.get("/account").await.says(&bob.email);
    assert_eq!((sessions(&ada).await, sessions(&bob).await), (1, 2));
    // Who mistypes stays who they are.
    assert_eq!(ada.post("/sign-in", &[("email", bob.email.as_str()), ("password", "a wrong password")]).await.status, 422);
    assert_eq!(ada.get("/account").await.status, 200);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn strangers_who_try_passwords_lock_nobody_out_of_a_browser_that_is_known(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (ada, bob) = (portal.researcher("ada").await, portal.researcher("bob").await);
    ada.post("/sign-out", &[]).await;
    // From so many addresses that every try of everybody together is used up.
    while portal.portal.limits.sign_in_everywhere.check(&ada.email).is_ok() {}
    assert_eq!(Person::new(&portal.base, &ada.email).signs_in().await.status, 429);
    let as_ada = [("email", ada.email.as_str()), ("password", Person::PASSWORD)];
    assert_eq!(bob.post("/sign-in", &as_ada).await.status, 429, "a browser is known to its own account alone");
    assert_eq!(ada.signs_in().await.status, 303);
    // It has tries of its own, and no more than others.
    let wrong = [("email", ada.email.as_str()), ("password", "a wrong password")];
    let mut tried = 0;
    while ada.post("/sign-in", &wrong).await.status == 422 {
        tried += 1;
    }
    assert!((8..=11).contains(&tried), "{tried}");
}
