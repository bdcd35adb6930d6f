//! Mails that come back: the whole way with the real program, from the sign-up to the admin's page.

use std::io::Write;
use std::process::Stdio;

use tests::{Installation, MailServer, Person, Security};

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
    csv.says("\"ada@university.edu\"").says(",bounced,").says("\"5.2.2 552 5.2.2 <script>mailbox full</script>\"\r\n");

    drop(portal);
    let nowhere = place.sluice(&["mail", "bounce"]).env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none").output().unwrap();
    assert_eq!(nowhere.status.code(), Some(75), "to be handed over again: {}", String::from_utf8_lossy(&nowhere.stderr));
}
