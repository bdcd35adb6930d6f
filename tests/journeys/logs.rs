//! What stands in the log when somebody tries to write into it: one line for each event, and nothing that a terminal obeys.

use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::header::HeaderValue;
use tests::{Installation, MailServer, Security};

/// What others would like to have there: a line of its own, and one that moves the cursor.
const FORGED: &str = "2026-03-02T09:00:00Z ERROR sluice: all tokens are void";

#[tokio::test]
async fn nobody_writes_a_line_of_their_own_into_the_log() {
    let place = Installation::fresh();
    let mut server = MailServer::start(Security::Plain);
    let said = format!("451-later \u{1b}[2Jmailworm\r\n451 {FORGED}");
    server.answers("eve@university.edu", Some(&said));
    let mut settings = server.settings();
    settings.push(("SLUICE_LOG", "debug".into()));
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let portal = place.serve_with(&settings).await;

    // A name, on its way in and in everything that is done with it; what a browser calls itself can have no line ends, but all the rest.
    let eve = place.person("eve@university.edu", "researcher").await;
    let name = format!("Eve\u{1b}[31mnameworm\r\n{FORGED}");
    eve.post("/account/name", &[("name", &name)]).await;
    let agent = HeaderValue::from_bytes(b"agentworm\x9b2J\xc2\x9b1m\tcurl").unwrap();
    for path in ["/", "/applications", "/sluice/nothing", "/api/models/sluice/nothing", "/metrics"] {
        eve.request(Method::GET, path).header("user-agent", agent.clone()).send().await.unwrap();
    }
    eve.post("/forgot", &[("email", "eve@university.edu")]).await;
    let begun = Instant::now();
    while !place.log().contains("mailworm") {
        assert!(begun.elapsed() < Duration::from_secs(10), "no word of the mail");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let log = place.log();
    portal.stop();

    let mail: Vec<&str> = log.lines().filter(|line| line.contains("mailworm")).collect();
    for line in log.lines() {
        assert!(!line.chars().any(char::is_control), "something raw: {line:?}");
        let (moment, rest) = line.trim_start().split_once(' ').unwrap_or_default();
        assert!(moment.len() >= 20 && moment.ends_with('Z') && !line.starts_with(FORGED), "no event of ours: {line:?}");
        assert!(["ERROR", "WARN", "INFO", "DEBUG"].iter().any(|level| rest.trim_start().starts_with(level)), "{line:?}");
    }
    let warned: Vec<&&str> = mail.iter().filter(|line| line.contains(" WARN ") && line.contains("a mail is not taken now")).collect();
    assert_eq!(warned.len(), 1, "one line for one answer: {mail:#?}");
}
