//! Mails that come back: the whole way with the real program, from the sign-up to the admin's page.

use std::io::Write;
use std::process::Stdio;

use reqwest::Method;
use serde_json::json;
use server::mail::{self, Message, Returned};
use sqlx::PgPool;
use tests::{Installation, MailServer, Page, Person, Security, TestPortal};

/// What a far mail server writes about a mail that it took and could not deliver.
fn report(original: &str, action: &str) -> String {
    let head: String = original.split("\r\n\r\n").next().unwrap().replace("\r\n", "\n");
    format!(
        "From MAILER-DAEMON  Mon Mar  2 09:00:00 2026\nReturn-Path: <>\nFrom: Mail Delivery System <MAILER-DAEMON@mx.example>\nTo: sluice@lab.example\n\
         Subject: Undelivered Mail Returned to Sender\nMIME-Version: 1.0\nContent-Type: multipart/report; report-type=delivery-status;\n\
         \tboundary=\"A1B2/mx.example\"\n\n--A1B2/mx.example\nContent-Type: text/plain\n\nYour mail could not be delivered.\n\n\
         --A1B2/mx.example\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n\n\
         Final-Recipient: rfc822; ada@university.edu\nAction: {action}\nStatus: 5.2.2\n\
         Diagnostic-Code: smtp; 552 5.2.2 <script>mailbox full</script>\n\n--A1B2/mx.example\nContent-Type: text/rfc822-headers\n\n{head}\n\n--A1B2/mx.example--\n"
    )
}

fn hands_over(place: &Installation, message: &str) -> (Option<i32>, String) {
    let mut child = place.sluice(&["mail", "bounce"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(message.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), said)
}

#[tokio::test]
async fn a_mail_that_comes_back_is_seen_where_people_are_looked_up() {
    let server = MailServer::start(Security::StartTls);
    let place = Installation::fresh();
    let settings = server.settings();
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let portal = place.serve_with(&settings).await;
    let root = place.person("root@lab.example", "admin").await;
    let ada = Person::new(&portal.base, "ada@university.edu");
    assert_eq!(ada.post("/sign-up", &[("email", &ada.email), ("name", "Ada")]).await.status, 200);
    let arrived = loop {
        match server.arrived_for(&ada.email).pop() {
            Some(arrived) => break arrived,
            None => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    };

    for (message, said) in [
        ("Subject: I am away\n\nBack in May.\n".to_owned(), "no report"),
        (report(arrived.raw(), "delayed"), "nothing is marked"),
        (report("Message-ID: <mail_01jd0000000000000000000000@lab.example>\r\n\r\n", "failed"), "no mail that we have sent"),
    ] {
        let (code, told) = hands_over(&place, &message);
        assert!(code == Some(0) && told.contains(said), "{code:?} {told}");
    }
    root.get("/admin/mail?state=bounced").await.says("No mail came back.");

    for _ in 0..2 {
        let (code, told) = hands_over(&place, &report(arrived.raw(), "failed"));
        assert!(code == Some(0) && told.contains("to ada@university.edu came back: 5.2.2 552"), "{code:?} {told}");
    }
    let page = root.get("/admin/mail?state=bounced").await;
    page.says("Bounced (1)").says("ada@university.edu").says("552 5.2.2 &#60;script&#62;mailbox full");
    assert!(!page.text.contains("Try again"), "its text is gone");
    let people = root.get("/admin/people?q=ada").await;
    let (before, _) = people.says("Mail does not arrive").text.split_once("\">Ada</a>").unwrap();
    root.get(&before[before.rfind("/admin/people/").unwrap()..]).await.says("Mail does not arrive");
    root.get("/admin").await.says("1 came back");
    root.fetch("/metrics").await.says("sluice_mail_bounced 1\n");
    let csv = root.fetch("/admin/mail.csv?state=bounced").await;
    csv.says("\"ada@university.edu\"").says(",\"bounced\",").says("\"5.2.2 552 5.2.2 <script>mailbox full</script>\"\r\n");

    drop(portal);
    let nowhere = place.sluice(&["mail", "bounce"]).env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none").output().unwrap();
    assert_eq!(nowhere.status.code(), Some(75), "to be handed over again: {}", String::from_utf8_lossy(&nowhere.stderr));
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_mail_that_came_back_is_sent_again_and_both_stay_in_sight(db: PgPool) {
    let server = MailServer::start(Security::Plain);
    let portal = TestPortal::start_with(db, &server.settings()).await;
    let (root, address) = (portal.admin("root").await, "ada@university.edu");
    let (db, mailer, clock) = (&portal.portal.db, &portal.portal.mailer, &portal.portal.clock);
    let message = Message::ApplicationReceived {
        to: address.into(),
        name: "Ada".into(),
        model: "demo/opt".into(),
        promised: "8 March 2026".into(),
        link: portal.base.clone(),
    };
    mail::enqueue(&mut db.acquire().await.unwrap(), clock.now(), &message).await.unwrap();
    mail::empty(db, mailer, clock, || false).await.unwrap();
    let [first] = &server.arrived_for(address)[..] else { panic!("one mail") };
    let returned =
        mail::take_returned(&mut db.acquire().await.unwrap(), clock.now(), report(first.raw(), "failed").as_bytes()).await.unwrap();
    assert!(matches!(returned, Returned::Bounced { .. }), "{returned:?}");

    let page = root.get("/admin/mail?state=bounced").await;
    page.says("Bounced (1)").says("Send again");
    let (before, _) = page.text.rsplit_once("/retry\">").unwrap();
    let came_back = before[before.rfind("/admin/mail/").unwrap()..].to_owned();
    let again = root.post(&format!("{came_back}/retry"), &[]).await;
    assert_eq!(again.status, 303, "{}", again.text);
    let another = again.location().to_owned();
    assert_ne!(another, came_back);
    mail::empty(db, mailer, clock, || false).await.unwrap();
    let [first, second] = &server.arrived_for(address)[..] else { panic!("two mails") };
    assert_eq!((first.text(), first.header("subject")), (second.text(), second.header("subject")), "the same words");
    assert_ne!(first.header("message-id"), second.header("message-id"), "a report about the second is about the second");

    root.get(&came_back).await.says("Bounced").says("552 5.2.2").says(&format!("href=\"{another}\"")).says("as another mail");
    root.get(&another).await.says("Sent").says(&format!("href=\"{came_back}\"")).says("the mail that came back");
    root.get("/admin/mail?state=bounced").await.says("Bounced (1)").says("sent again");
    let program = root.with_token(&root.makes_token(&["admin"]).await);
    let path = |mail: &str| format!("/api/v1{}/retry", mail.replace("/mail/", "/mails/"));
    let twice = Page::of(program.request(Method::POST, &path(&came_back)).json(&json!({})).send().await.unwrap()).await;
    assert_eq!((twice.status, &twice.json()["mend"]["path"]), (409, &json!(another)), "{}", twice.text);

    // The new one comes back, too: that one is sent again.
    mail::take_returned(&mut db.acquire().await.unwrap(), clock.now(), report(second.raw(), "failed").as_bytes()).await.unwrap();
    root.get("/admin/mail?state=bounced").await.says("Bounced (2)");
    let third = Page::of(program.request(Method::POST, &path(&another)).json(&json!({})).send().await.unwrap()).await;
    assert_eq!((third.status, &third.json()["state"]), (200, &json!("waiting")), "{}", third.text);
    assert_eq!(third.json()["again_of"], another.rsplit('/').next().unwrap());

    // A link that works once is not kept, and not sent again: its reader asks for another.
    let eve = Person::new(&portal.base, "eve@university.edu");
    assert_eq!(eve.post("/sign-up", &[("email", &eve.email), ("name", "Eve")]).await.status, 200);
    mail::empty(db, mailer, clock, || false).await.unwrap();
    let report = report(server.arrived_for(&eve.email)[0].raw(), "failed");
    mail::take_returned(&mut db.acquire().await.unwrap(), clock.now(), report.as_bytes()).await.unwrap();
    let id: sqlx::types::Uuid =
        sqlx::query_scalar("select id from mail where recipient = $1 and body is null").bind(&eve.email).fetch_one(db).await.unwrap();
    let mail = format!("/admin/mail/{}", server::ids::MailId::from(id));
    let page = root.get(&mail).await;
    page.says("cannot be sent again").says("its reader asks for another at /forgot");
    assert!(!page.text.contains("/retry"), "{}", page.text);
    assert_eq!(root.post(&format!("{mail}/retry"), &[]).await.says("a link that works once").status, 409);
}
