//! Becoming somebody, staying somebody, and not becoming somebody else.

use reqwest::Method;
use sqlx::PgPool;
use tests::{Page, Person, TestPortal};
use time::Duration;

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_researcher_signs_up_confirms_the_address_and_comes_back(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let ada = portal.researcher("ada").await;
    ada.get("/account").await.says("ada@university.edu").says("confirmed");
    assert_eq!(ada.post("/sign-out", &[]).await.location(), "/");
    assert_eq!(ada.get("/account").await.location(), "/sign-in?then=%2Faccount");

    let page = ada.post("/sign-in", &[("email", "Ada@University.edu"), ("password", Person::PASSWORD), ("then", "/account")]).await;
    assert_eq!((page.status, page.location()), (303, "/account"));
    ada.get("/account").await.says("Your account");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn known_and_unknown_addresses_get_the_same_answers(db: PgPool) {
    let portal = TestPortal::start(db).await;
    portal.researcher("ada").await;
    let stranger = portal.visitor();
    // The form's token is masked anew in each page.
    let without_address = |page: Page, email: &str| {
        let token = page.text.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        (page.status, page.text.replace(token, "").replace(email, "").replace(char::is_whitespace, ""))
    };

    for path in ["/sign-up", "/forgot"] {
        let known = stranger.post(path, &[("name", "X"), ("email", "ada@university.edu")]).await;
        let unknown = stranger.post(path, &[("name", "X"), ("email", "bob@university.edu")]).await;
        assert_eq!(without_address(known, "ada@university.edu"), without_address(unknown, "bob@university.edu"), "{path}");
    }
    let known = stranger.post("/sign-in", &[("email", "ada@university.edu"), ("password", "not the right one")]).await;
    let unknown = stranger.post("/sign-in", &[("email", "eve@university.edu"), ("password", "not the right one")]).await;
    assert_eq!(without_address(known, "ada@university.edu"), without_address(unknown, "eve@university.edu"));
    assert_eq!(portal.mails_to("ada@university.edu", "already_registered").await.len(), 1);
}

/// Everybody may read how many entries the log has.
#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_length_of_the_log_does_not_tell_which_addresses_are_known(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let ada = portal.researcher("ada").await;
    let (db, stranger) = (&portal.portal.db, portal.visitor());
    let grown = async |path: &str, name: &str, email: &str, password: &str| {
        let size = async || {
            portal.portal.audit.integrate(db).await.unwrap();
            let checkpoint = stranger.fetch("/audit/checkpoint").await.text;
            checkpoint.lines().nth(1).unwrap().parse::<u64>().unwrap()
        };
        let before = size().await;
        let status = stranger.post(path, &[("name", name), ("email", email), ("password", password)]).await.status;
        assert_eq!(status, if path == "/sign-in" { 422 } else { 200 }, "{path} {email}");
        size().await - before
    };
    let (known, fresh) = (ada.email.as_str(), "bob@university.edu");
    for (name, email) in [("X", known), ("Bob", fresh), ("Bob", fresh), ("Robert", fresh)] {
        assert_eq!(grown("/sign-up", name, email, "").await, 1, "{name} {email}");
    }
    for email in [known, fresh, "eve@university.edu"] {
        assert_eq!(grown("/forgot", "", email, "").await, 0, "{email}");
        assert_eq!(grown("/sign-in", "", email, "not the right one").await, 1, "{email}");
    }
    sqlx::query("update account set disabled_at = now() where email = $1").bind(known).execute(db).await.unwrap();
    assert_eq!(grown("/sign-in", "", known, Person::PASSWORD).await, 1, "a closed account");

    // An admin reads which were meant for somebody, and by which names people were asked for in vain.
    let root = portal.admin("root").await;
    root.get("/admin/audit?kind=account.sign_in_failed").await.says("unknown").says("somebody unknown").says("acct_");
    root.get("/admin/audit?kind=account.sign_up_repeated").await.says("acct_");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn nobody_sends_words_of_theirs_to_others_in_our_mails(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let stranger = portal.visitor();
    let victim = "dean@university.edu";
    stranger.post("/sign-up", &[("name", "Prize! See evil.example"), ("email", victim)]).await;
    stranger.post("/forgot", &[("email", victim)]).await;
    for kind in ["verify_address", "reset_password"] {
        let [mail] = &portal.mails_to(victim, kind).await[..] else { panic!("one mail, {kind}") };
        assert!(!mail.contains("evil.example"), "{mail}");
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_link_works_once_and_not_for_ever(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let ada = portal.researcher("ada").await;
    ada.post("/forgot", &[("email", "ada@university.edu")]).await;
    let first = portal.key_mailed_to("ada@university.edu", "reset_password").await;
    ada.post("/forgot", &[("email", "ada@university.edu")]).await;
    let second = portal.key_mailed_to("ada@university.edu", "reset_password").await;

    assert_eq!(ada.get(&format!("/reset?key={first}")).await.status, 200, "a stranger who asks again does not void it");
    assert_eq!(ada.get(&format!("/reset?key={second}")).await.status, 200, "looking does not use it up");
    let fields = [("key", second.as_str()), ("password", "another fine sentence")];
    let stranger = portal.visitor();
    assert_eq!(stranger.post("/reset", &fields).await.status, 303);
    assert_eq!(stranger.post("/reset", &fields).await.status, 409);
    assert_eq!(ada.get(&format!("/reset?key={first}")).await.status, 409, "what was sent before the new password is void");
    assert_eq!(ada.get("/account").await.status, 303, "the sessions from before have ended");

    stranger.post("/forgot", &[("email", "ada@university.edu")]).await;
    let late = portal.key_mailed_to("ada@university.edu", "reset_password").await;
    portal.wait(Duration::minutes(31));
    assert_eq!(stranger.get(&format!("/reset?key={late}")).await.status, 409);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn who_takes_an_account_back_shares_it_with_nobody(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let ada = portal.researcher("ada").await;
    let terminal = ada.with_token(&ada.makes_token(&["download"]).await);
    assert_eq!(terminal.fetch("/api/whoami-v2").await.status, 200);
    let stranger = portal.visitor();
    stranger.post("/forgot", &[("email", "ada@university.edu")]).await;
    let key = portal.key_mailed_to("ada@university.edu", "reset_password").await;
    stranger.get(&format!("/reset?key={key}")).await.says("revokes its access tokens");

    let page = stranger.post("/reset", &[("key", &key), ("password", "another fine sentence")]).await;
    assert_eq!(page.location(), "/account");
    stranger.get("/account").await.says("every access token was revoked");
    assert_eq!(ada.get("/account").await.status, 303, "the session from before has ended");
    assert_eq!(terminal.fetch("/api/whoami-v2").await.status, 401, "and so has the token");
    let mail = &portal.mails_to("ada@university.edu", "password_changed").await[0];
    assert!(mail.contains("Access tokens were revoked too (1)") && mail.contains("/account/tokens"), "{mail}");
    let root = portal.admin("root").await;
    root.get("/admin/audit?kind=token").await.says("token.revoked");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_new_name_is_on_the_record(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (ada, root) = (portal.researcher("ada").await, portal.admin("root").await);
    assert_eq!(ada.post("/account/name", &[("name", "ada")]).await.status, 303);
    root.get("/admin/audit?kind=account.renamed").await.says("Nothing on record matches");
    assert_eq!(ada.post("/account/name", &[("name", "Ada Lovelace")]).await.status, 303);
    let page = root.get("/admin/audit?subject=ada%40university.edu&kind=account.renamed").await;
    assert!(!page.says("account.renamed").text.contains("Lovelace"), "the record holds no personal data");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn sessions_are_listed_ended_and_run_out(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let laptop = portal.researcher("ada").await;
    let phone = Person::clone(&portal.visitor());
    assert_eq!(phone.post("/sign-in", &[("email", "ada@university.edu"), ("password", Person::PASSWORD)]).await.status, 303);
    laptop.get("/account/sessions").await.says("this one").says("End all others");
    laptop.post("/account/sessions/end-others", &[]).await;
    assert_eq!(phone.get("/account").await.status, 303);
    assert_eq!(laptop.get("/account").await.status, 200);

    portal.wait(Duration::days(6));
    assert_eq!(laptop.get("/account").await.status, 200);
    portal.wait(Duration::days(8));
    assert_eq!(laptop.get("/account").await.status, 303, "nobody used it for a week");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_form_from_elsewhere_changes_nothing(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let ada = portal.researcher("ada").await;
    for fields in [vec![("name", "Mallory")], vec![("name", "Mallory"), ("csrf", "AAAAAAAAAAAAAAAAAAAAAAAAAAA")]] {
        let answer = ada.request(Method::POST, "/account/name").form(&fields).send().await.unwrap();
        assert_eq!(answer.status(), 409);
    }
    ada.get("/account").await.says("value=\"ada\"");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn guessing_passwords_is_slowed_down(db: PgPool) {
    let portal = TestPortal::start(db).await;
    portal.researcher("ada").await;
    let guesser = portal.visitor();
    let mut last = 0;
    for _ in 0..12 {
        let page = guesser.post("/sign-in", &[("email", "ada@university.edu"), ("password", "a wrong password")]).await;
        last = page.status;
        if last == 429 {
            assert!(page.header("retry-after").parse::<u32>().unwrap() > 0);
            break;
        }
    }
    assert_eq!(last, 429);
    let elsewhere = portal.visitor();
    let answer = elsewhere.csrf().await;
    let fields = [("email", "ada@university.edu"), ("password", Person::PASSWORD), ("csrf", &answer)];
    let owner = elsewhere.request(Method::POST, "/sign-in").header("x-forwarded-for", "192.0.2.7").form(&fields).send().await.unwrap();
    assert_eq!(owner.status(), 303, "the owner gets in from elsewhere");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_password_is_changed_only_by_who_knows_it(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let ada = portal.researcher("ada").await;
    let new = "a completely new sentence";
    ada.post("/account/password", &[("current", "wrong wrong wrong"), ("password", new)]).await.says("wrong password");
    ada.post("/account/password", &[("current", Person::PASSWORD), ("password", "short")]).await.says("enter 15 to 256 characters");
    assert_eq!(ada.post("/account/password", &[("current", Person::PASSWORD), ("password", new)]).await.status, 303);
    assert_eq!(portal.mails_to("ada@university.edu", "password_changed").await.len(), 1);
    let elsewhere = portal.visitor();
    assert_eq!(elsewhere.post("/sign-in", &[("email", "ada@university.edu"), ("password", Person::PASSWORD)]).await.status, 422);
    assert_eq!(elsewhere.post("/sign-in", &[("email", "ada@university.edu"), ("password", new)]).await.status, 303);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_token_is_shown_once_and_stored_as_a_hash(db: PgPool) {
    let portal = TestPortal::start(db.clone()).await;
    let ada = portal.researcher("ada").await;
    let token = ada.makes_token(&["download"]).await;
    assert!(token.starts_with("slc_") && token.len() == 52, "{token}");
    let page = ada.get("/account/tokens").await;
    assert!(!page.says("laptop").text.contains(&token), "it is shown only once");
    let everything: String = sqlx::query_scalar("select coalesce(string_agg(t::text, ' '), '') from token t").fetch_one(&db).await.unwrap();
    assert!(!everything.contains(&token[4..]));
    let [mail] = &portal.mails_to(&ada.email, "token_made").await[..] else { panic!("one mail") };
    assert!(mail.contains("called \"laptop\"") && mail.contains("download the weights") && !mail.contains("slc_"), "{mail}");

    ada.post("/account/tokens", &[("name", ""), ("days", "9000")]).await.says("enter a name");
    ada.post("/account/tokens", &[("name", "x"), ("days", "9000"), ("api", "on")]).await.says("enter 1 to 366 days");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn an_operator_reads_mails_as_files_when_there_is_no_mail_server(db: PgPool) {
    let portal = TestPortal::start(db).await;
    portal.researcher("ada").await;
    assert!(server::mail::send_next(&portal.portal.db, &portal.portal.mailer, &portal.portal.clock).await.unwrap());
    assert!(!server::mail::send_next(&portal.portal.db, &portal.portal.mailer, &portal.portal.clock).await.unwrap());
    let folder = portal.portal.config.data_dir.join("mail");
    let file = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "it carries a link that is its reader's alone");
    let text = std::fs::read_to_string(file.path()).unwrap();
    assert!(text.contains("Subject: Confirm your address") && text.contains("Auto-Submitted: auto-generated"), "{text}");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn head_tells_what_get_would(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let stranger = portal.visitor();
    let head = stranger.request(Method::HEAD, "/sign-in").send().await.unwrap();
    assert_eq!(head.status(), 200);
    assert!(head.headers()["content-length"].to_str().unwrap().parse::<usize>().unwrap() > 500);
    assert_eq!(head.headers()["content-security-policy"].to_str().unwrap().matches("unsafe").count(), 0);
    assert!(head.text().await.unwrap().is_empty());
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_revoked_token_is_refused_at_once(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let ada = portal.researcher("ada").await;
    let token = ada.makes_token(&["download"]).await;
    let terminal = ada.with_token(&token);
    assert_eq!(terminal.fetch("/api/whoami-v2").await.status, 200);
    let page = ada.get("/account/tokens").await;
    let id = page.text.split("/account/tokens/").nth(1).unwrap().split('/').next().unwrap();
    assert_eq!(ada.post(&format!("/account/tokens/{id}/revoke"), &[]).await.status, 303);
    assert_eq!(terminal.fetch("/api/whoami-v2").await.status, 401);
    assert_eq!(
        portal.researcher("bob").await.post(&format!("/account/tokens/{id}/revoke"), &[]).await.status,
        404,
        "another's token does not exist"
    );
}
