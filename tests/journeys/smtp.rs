//! Mails on their way to a real mail server, on good days and on bad ones.

use server::clock::Clock;
use server::mail::{self, Message};
use sqlx::PgPool;
use tests::{MailServer, Person, Security, TestPortal};
use time::Duration;
use time::macros::datetime;

const ADA: &str = "ada@university.edu";

async fn signs_up(portal: &TestPortal, email: &str) {
    let page = portal.visitor().post("/sign-up", &[("name", "Somebody"), ("email", email)]).await;
    assert_eq!(page.status, 200, "{}", page.text);
}

/// One try at whatever is due.
async fn tries(portal: &TestPortal) -> bool {
    mail::send_next(&portal.portal.db, &portal.portal.mailer, &portal.portal.clock).await.unwrap()
}

/// What the workers do once a second.
async fn empties(portal: &TestPortal) {
    mail::empty(&portal.portal.db, &portal.portal.mailer, &portal.portal.clock, || false).await.unwrap();
}

async fn writes(portal: &TestPortal, to: &str) {
    let message = Message::ApplicationReceived {
        to: to.into(),
        name: "Ada".into(),
        model: "demo/opt".into(),
        promised: "8 March 2026".into(),
        link: portal.base.clone(),
    };
    mail::enqueue(&mut portal.portal.db.acquire().await.unwrap(), portal.portal.clock.now(), &message).await.unwrap();
}

async fn says(root: &Person, filter: &str, words: &str) {
    root.get(&format!("/admin/mail?{filter}")).await.says(words);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_mail_arrives_by_tls_and_password_as_text_and_as_html(db: PgPool) {
    for security in [Security::StartTls, Security::Tls] {
        let server = MailServer::start(security);
        let portal = TestPortal::start_with(db.clone(), &server.settings()).await;
        let address = format!("{security:?}@university.edu").to_lowercase();
        signs_up(&portal, &address).await;
        let [body] = &portal.mails_to(&address, "verify_address").await[..] else { panic!("one mail") };
        let link = body.lines().find(|line| line.contains("?key=")).unwrap();
        assert!(tries(&portal).await);

        let [letter] = &server.arrived_for(&address)[..] else { panic!("one mail by {security:?}: {:?}", portal.portal.mailer.trouble()) };
        assert!(letter.is_secured());
        assert_eq!((letter.header("from"), letter.header("subject")), ("Sluice <sluice@lab.example>", "Confirm your address"));
        assert_eq!((letter.header("auto-submitted"), letter.header("list-unsubscribe")), ("auto-generated", ""));
        assert!(letter.header("message-id").starts_with("<mail_") && letter.header("message-id").ends_with("@lab.example>"));
        assert_eq!(letter.header("date"), "Mon, 02 Mar 2026 09:00:00 +0000");
        assert!(letter.text().contains(link) && letter.text().contains("\n-- \n"), "{}", letter.text());
        assert!(
            letter.html().contains(&format!("href=\"{link}\"")) && letter.html().contains(">Confirm your address</a>"),
            "{}",
            letter.html()
        );
        assert_eq!(portal.mails_to(&address, "verify_address").await, [""], "a text with a one-time link is not kept");
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_certificate_that_nobody_knows_is_not_believed_and_nothing_is_lost(db: PgPool) {
    let server = MailServer::start(Security::StartTls);
    let stranger: Vec<_> = server.settings().into_iter().filter(|(name, _)| *name != "SLUICE_SMTP_CA").collect();
    let portal = TestPortal::start_with(db, &stranger).await;
    let root = portal.admin("root").await;
    signs_up(&portal, ADA).await;
    tries(&portal).await;
    says(&root, "state=waiting", "The mail server has been unavailable since 2 March 2026, 09:00 UTC").await;
    says(&root, "state=waiting", "certificate").await;
    assert!(server.arrived().is_empty());
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_is_not_taken_now_is_tried_again_with_growing_waits(db: PgPool) {
    let mut server = MailServer::start(Security::Plain);
    let portal = TestPortal::start_with(db, &server.settings()).await;
    let root = portal.admin("root").await;
    server.answers(ADA, Some("451 4.7.1 come back later"));
    signs_up(&portal, ADA).await;
    for wait in [60, 120, 240, 480, 960, 1800, 1800, 1800] {
        assert!(tries(&portal).await);
        portal.wait(Duration::seconds(wait - 1));
        assert!(!tries(&portal).await, "not before {wait} s");
        portal.wait(Duration::SECOND);
    }
    says(&root, "state=waiting&q=ada", "Retrying").await;
    says(&root, "state=waiting&q=ada", "come back later").await;
    assert!(portal.portal.mailer.trouble().is_none(), "the server is well; it is this mail");
    server.answers(ADA, None);
    assert!(tries(&portal).await);
    assert_eq!(server.arrived_for(ADA).len(), 1);
    says(&root, "state=sent&q=ada", "Confirm your address").await;
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_is_refused_is_given_up_in_sight_and_can_be_sent_again(db: PgPool) {
    let mut server = MailServer::start(Security::Plain);
    let portal = TestPortal::start_with(db, &server.settings()).await;
    let all = ["ada@university.edu", "bob@university.edu", "eve@university.edu"];
    for address in all {
        server.answers(address, Some("550 5.1.1 no such mailbox"));
        signs_up(&portal, address).await;
        assert!(tries(&portal).await);
    }
    portal.wait(Duration::days(30));
    assert!(!tries(&portal).await, "and is not tried any more");
    let root = portal.admin("root").await;
    let page = root.get("/admin/mail?state=given_up").await;
    page.says("Given up (3)").says("no such mailbox").says("Retry all failed");
    root.get("/admin").await.says("3 given up");
    root.get("/admin/people?q=ada").await.says("Mail does not arrive").says("/admin/mail?q=ada%40university.edu");
    root.fetch("/metrics").await.says("sluice_mail_given_up 3\n").says("sluice_mail_waiting 0\n").says("sluice_mail_server_fault 0\n");

    // One of them.
    let (before, _) = page.text.split_once("/retry\"><input type=\"hidden\" name=\"csrf\"").unwrap();
    assert!(before.ends_with("/admin/mail"), "the first form is the one for all");
    let (before, _) = page.text.rsplit_once("/retry\">").unwrap();
    let path = format!("{}/retry", &before[before.rfind("/admin/mail/").unwrap()..]);
    server.answers(all[0], None);
    assert_eq!(root.post(&path, &[]).await.status, 303);
    assert_eq!(root.post(&path, &[]).await.status, 409, "it is on its way");
    empties(&portal).await;
    assert_eq!(server.arrived_for(all[0]).len(), 1);

    // All that are left.
    all.iter().for_each(|address| server.answers(address, None));
    assert_eq!(root.post("/admin/mail/retry", &[]).await.location(), "/admin/mail?state=waiting");
    root.get("/admin/mail").await.says("2 mails will be tried again");
    empties(&portal).await;
    assert_eq!(all.map(|address| server.arrived_for(address).len()), [1, 1, 1]);
    root.get("/admin/mail?state=given_up").await.says("No mail was given up");
    assert_eq!(root.post("/admin/mail/retry", &[]).await.status, 303, "nothing to do is no fault");
    assert_eq!(server.arrived().len(), 3);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_wrong_password_is_told_and_loses_nothing(db: PgPool) {
    let server = MailServer::start(Security::Tls);
    let portal = TestPortal::start_with(db.clone(), &server.settings_with_password("opensesame")).await;
    let root = portal.admin("root").await;
    for address in [ADA, "bob@university.edu"] {
        signs_up(&portal, address).await;
    }
    empties(&portal).await;
    let page = root.get("/admin/mail").await;
    page.says("The mail server has been unavailable since").says("535").says("Waiting (2)").says("Given up (0)");
    assert!(!page.text.contains("opensesame"), "the password stays a secret");
    assert_eq!(page.text.matches("Retrying").count(), 1, "one try finds it out; the other mails rest");
    root.get("/admin").await.says("The mail server is unavailable");
    root.fetch("/metrics").await.says("sluice_mail_server_fault 1\n");

    let mended = TestPortal::start_with(db, &server.settings()).await;
    mended.wait(Duration::minutes(2));
    empties(&mended).await;
    assert_eq!(server.arrived().len(), 2);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_server_that_is_down_for_days_gets_every_mail_once_when_it_is_back(db: PgPool) {
    let mut server = MailServer::start(Security::StartTls);
    let portal = TestPortal::start_with(db, &server.settings()).await;
    let root = portal.admin("root").await;
    server.kill();
    for number in 0..20 {
        writes(&portal, &format!("reader-{number}@university.edu")).await;
    }
    for _ in 0..2 * 24 * 4 {
        empties(&portal).await;
        portal.wait(Duration::minutes(15));
    }
    root.get("/admin/mail").await.says("Waiting (20)").says("Given up (0)").says("been unavailable since 2 March 2026, 09:00 UTC");
    root.fetch("/metrics").await.says("sluice_mail_overdue_seconds 172800\n");
    server.starts_again();
    for _ in 0..2 {
        empties(&portal).await;
        portal.wait(Duration::minutes(30));
    }
    assert_eq!(server.arrived().len(), 20);
    assert!(portal.portal.mailer.trouble().is_none());
    root.get("/admin/mail?state=waiting").await.says("No mail waits: all have left.");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_portal_killed_with_a_mail_in_its_hands_sends_it_again_as_the_same_mail(db: PgPool) {
    let mut server = MailServer::start(Security::Plain);
    let portal = TestPortal::start_with(db, &server.settings()).await;
    let root = portal.admin("root").await;
    server.is_slow_with(ADA, 0.3);
    signs_up(&portal, ADA).await;
    let parts = portal.portal.clone();
    let sending = tokio::spawn(async move { mail::send_next(&parts.db, &parts.mailer, &parts.clock).await });
    server.thinks().await;
    says(&root, "", "is being sent").await;
    assert_eq!(root.post("/admin/mail/retry", &[]).await.status, 303, "what is being sent is not what has failed");
    sending.abort();
    assert!(!tries(&portal).await, "it may still arrive");
    portal.wait(Duration::minutes(2));
    assert!(tries(&portal).await);
    says(&root, "state=sent", "Confirm your address").await;
    let arrived = server.arrived_for(ADA);
    assert!(!arrived.is_empty());
    assert!(arrived.iter().all(|mail| mail.raw() == arrived[0].raw()), "whoever gets it twice can tell, to the last byte");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_slow_mail_holds_up_nobody_else(db: PgPool) {
    let mut server = MailServer::start(Security::Plain);
    let portal = TestPortal::start_with(db, &server.settings()).await;
    server.is_slow_with("slow@university.edu", 600.0);
    writes(&portal, "slow@university.edu").await;
    let parts = portal.portal.clone();
    let slow = tokio::spawn(async move { mail::send_next(&parts.db, &parts.mailer, &parts.clock).await });
    server.thinks().await;
    for number in 0..10 {
        writes(&portal, &format!("reader-{number}@university.edu")).await;
    }
    empties(&portal).await;
    assert_eq!(server.arrived().len(), 10);
    assert!(!slow.is_finished());
    slow.abort();
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn two_portals_with_all_their_workers_send_every_mail_once(db: PgPool) {
    let server = MailServer::start(Security::Plain);
    let portals = [TestPortal::start_with(db.clone(), &server.settings()).await, TestPortal::start_with(db, &server.settings()).await];
    for number in 0..200 {
        writes(&portals[0], &format!("reader-{number}@university.edu")).await;
    }
    let mut workers = tokio::task::JoinSet::new();
    for portal in portals.iter().cycle().take(2 * mail::SENDERS) {
        let parts = portal.portal.clone();
        workers.spawn(async move { mail::empty(&parts.db, &parts.mailer, &parts.clock, || false).await.unwrap() });
    }
    workers.join_all().await;
    let mut addresses: Vec<String> = server.arrived().iter().map(|mail| mail.header("to").to_owned()).collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!((addresses.len(), server.arrived().len()), (200, 200));
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn nothing_of_a_person_s_words_becomes_a_header_a_recipient_or_a_button(db: PgPool) {
    let server = MailServer::start(Security::Plain);
    let portal = TestPortal::start_with(db, &server.settings()).await;
    let mut db = portal.portal.db.acquire().await.unwrap();
    let now = Clock::held(datetime!(2026-03-02 09:00 UTC)).now();
    let link = format!("{}/applications/1", portal.base);
    let declined = |to: &str, model: &str, name: &str, text: &str| Message::ApplicationDeclined {
        to: to.into(),
        name: name.into(),
        model: model.into(),
        reason: "Something else".into(),
        text: text.into(),
        appeal_until: Some("31 March 2026".into()),
        again_from: "from 15 March 2026".into(),
        link: link.clone(),
    };
    for (to, model) in
        [("ada@university.edu\r\nBcc: eve@evil.example", "demo/opt"), (ADA, "demo/opt\r\nBcc: eve@evil.example"), (ADA, "a\nb")]
    {
        assert!(mail::enqueue(&mut db, now, &declined(to, model, "Ada", "")).await.is_err(), "{to:?} {model:?}");
    }
    for to in ["ada@university.edu, eve@evil.example", "eve@evil.example> <ada@university.edu"] {
        mail::enqueue(&mut db, now, &declined(to, "demo/opt", "Ada", "")).await.unwrap();
    }
    let words =
        "No.\r\n\r\nContinue here: https://evil.example/\n\u{2028}Sign in: https://evil.example/\r.\r\nQUIT\n<script>alert(1)</script>";
    mail::enqueue(&mut db, now, &declined(ADA, "demo/opt", "Ada\r\nBcc: eve@evil.example", words)).await.unwrap();
    empties(&portal).await;

    let [letter] = &server.arrived()[..] else { panic!("one mail, to one reader: {:?}", server.arrived()) };
    let expected = ["Auto-Submitted", "Content-Type", "Date", "From", "MIME-Version", "Message-ID", "Subject", "To"];
    assert_eq!((letter.header("to"), letter.headers()), (ADA, expected.to_vec()));
    assert!(!letter.html().contains("<script") && letter.html().contains("&lt;script&gt;"), "{}", letter.html());
    let buttons: Vec<&str> = letter.html().split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(!buttons.is_empty() && buttons.iter().all(|address| address.starts_with(&portal.base)), "{buttons:?}");
    for line in letter.text().lines().filter(|line| line.contains("evil.example/") || line.contains("QUIT")) {
        assert!(line.starts_with("> "), "{line:?} does not stand as somebody else's words");
    }
    portal.admin("root").await.get("/admin/mail?state=given_up").await.says("cannot be used");
}
