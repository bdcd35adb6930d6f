//! `sluice serve` as an operator meets it: first start, second start, a second one beside it, the end.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::json;
use tests::{Installation, Person};

/// Running answers have 10 seconds; what else there is to end takes the rest.
const STOP_MAX: Duration = Duration::from_secs(12);

#[tokio::test]
async fn the_first_start_lets_the_admin_in_once_and_the_second_is_quick() {
    let place = Installation::fresh();
    let portal = place.serve().await;
    let said = std::fs::read_to_string(&portal.said).unwrap();
    let link = said.lines().find(|line| line.contains("/sign-in/link?key=")).expect("a link for the admin").trim().to_owned();
    let key = link.split_once("key=").unwrap().1;
    let path = link.strip_prefix(&portal.base).unwrap();

    let admin = Person::new(&portal.base, "admin@localhost");
    admin.get(path).await.says("admin@localhost");
    assert_eq!(admin.post("/sign-in/link", &[("key", key)]).await.status, 303);
    for told in
        ["a private PostgreSQL in", "weights ", "engine ", "not sent but kept", "demo ", "the only one that does", "Stop with Ctrl-C."]
    {
        assert!(said.contains(told), "{told}: {said}");
    }
    assert_eq!(Person::new(&portal.base, "").post("/sign-in/link", &[("key", key)]).await.status, 409, "it works once");
    assert_eq!(admin.get("/account").await.status, 200);

    for private in ["mail", "objects"] {
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(place.data().join(private)).unwrap().permissions());
        assert_eq!(mode & 0o077, 0, "{private} is for the portal alone");
    }

    assert!(portal.stop() < Duration::from_secs(10));
    let asked = Instant::now();
    let again = place.serve().await;
    assert!(asked.elapsed() < Duration::from_secs(5), "a warm start took {:?}", asked.elapsed());
    assert_eq!(admin.get("/account").await.status, 200, "the session outlives the restart");
    let said = std::fs::read_to_string(&again.said).unwrap();
    assert!(!said.contains("/sign-in/link"), "the admin has moved in: {said}");
    for told in
        [&format!("Sign in at {}/sign-in", again.base), "sluice user link EMAIL", "/playground", "sluice publish", "Stop with Ctrl-C."]
    {
        assert!(said.contains(told), "{told}: {said}");
    }
    assert!(!said.contains("demo "), "the demo was published before: {said}");
}

#[tokio::test]
async fn until_somebody_comes_in_each_start_prints_the_only_link_that_works() {
    let place = Installation::fresh();
    let link = |said: &std::path::Path| {
        let said = std::fs::read_to_string(said).unwrap();
        said.lines().find_map(|line| Some(line.split_once("/sign-in/link?key=")?.1.trim().to_owned())).expect("a link")
    };
    let portal = place.serve().await;
    let first = link(&portal.said);
    portal.stop();
    let again = place.serve().await;
    let second = link(&again.said);
    let visitor = Person::new(&again.base, "");
    assert_eq!(visitor.post("/sign-in/link", &[("key", &first)]).await.status, 409, "the newer link replaces it");
    assert_eq!(visitor.post("/sign-in/link", &[("key", &second)]).await.status, 303);
}

#[tokio::test]
async fn an_admin_who_lost_the_password_comes_back_by_a_link_from_the_terminal() {
    let place = Installation::fresh();
    let portal = place.serve().await;
    let root = place.person("root@lab.example", "admin").await;
    let link = place.run(&["user", "link", "root@lab.example"]);
    let key = link.split_once("/sign-in/link?key=").expect("a link").1;
    let elsewhere = Person::new(&portal.base, "root@lab.example");
    assert_eq!(elsewhere.post("/sign-in/link", &[("key", key)]).await.status, 303);
    assert_eq!(elsewhere.get("/admin").await.status, 200);
    assert_eq!(root.get("/admin").await.status, 200, "a link ends no session");

    let unknown = place.output(&["user", "link", "nobody@lab.example"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("account with this address"));
}

#[tokio::test]
async fn a_second_portal_on_the_same_data_is_refused_and_commands_work_beside_it() {
    let place = Installation::fresh();
    let portal = place.serve().await;
    let second = place.output(&["serve"]);
    let complaint = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{complaint}");
    assert!(complaint.contains(&portal.pid().to_string()), "it names who holds the folder: {complaint}");

    let link = place.run(&["user", "add", "ada@university.edu"]);
    assert!(link.starts_with(&portal.base), "{link}");
    let token = place.run(&["token", "add", "ada@university.edu", "--scope", "download"]);
    assert!(token.starts_with("slc_"), "{token}");
    portal.stop();
    let token = place.run(&["token", "add", "ada@university.edu"]);
    assert!(token.starts_with("slc_"), "commands start the database for their own length");
    let unknown = place.output(&["token", "add", "nobody@university.edu"]);
    assert_eq!(unknown.status.code(), Some(1));
}

#[tokio::test]
async fn killed_it_starts_again_with_everything_there() {
    let place = Installation::fresh();
    let portal = place.serve().await;
    let ada = place.person("ada@university.edu", "researcher").await;
    assert_eq!(ada.post("/account/name", &[("name", "Ada Lovelace")]).await.status, 303);
    portal.kill();
    let _again = place.serve().await;
    ada.get("/account").await.says("Ada Lovelace");
}

#[test]
fn settings_that_cannot_be_used_are_all_told_at_once() {
    let place = Installation::fresh();
    let output = place.sluice(&["serve"]).env("SLUICE_LISTEN", "everywhere").env("SLUICE_PUBLIC_URL", "ftp://x").output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert!(complaint.contains("SLUICE_LISTEN") && complaint.contains("SLUICE_PUBLIC_URL"), "{complaint}");
}

#[tokio::test]
async fn a_stream_that_does_not_end_is_told_so_when_the_portal_stops() {
    let place = Installation::fresh();
    let portal = place.serve().await;
    let token = {
        place.person("ada@university.edu", "researcher").await;
        place.run(&["token", "add", "ada@university.edu", "--scope", "api"])
    };
    // More than any machine makes in the ten seconds.
    let ask = json!({ "model": "sluice/opt-verse-6m", "prompt": vec!["The sea was"; 32], "n": 4, "max_tokens": 480, "ignore_eos": true, "stream": true });
    let address = format!("{}/v1/completions", portal.base);
    let mut answer = reqwest::Client::new().post(address).bearer_auth(token).json(&ask).send().await.unwrap();
    let mut text = String::from_utf8(answer.chunk().await.unwrap().unwrap().to_vec()).unwrap();
    let stopping = tokio::task::spawn_blocking(|| portal.stop());
    while let Some(chunk) = answer.chunk().await.unwrap() {
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    let last = text.trim_end().rsplit("\n\n").next().unwrap();
    assert!(last.starts_with("data: {\"error\":") && last.contains("shut down"), "{last}");
    let took = stopping.await.unwrap();
    assert!(took < STOP_MAX, "the stop took {took:?}");
}

#[tokio::test]
async fn a_mail_server_that_does_not_answer_does_not_hold_up_the_end() {
    let place = Installation::fresh();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("smtp://{}", silent.local_addr().unwrap());
    let portal = place.serve_with(&[("SLUICE_SMTP_URL", &url)]).await;
    let stranger = Person::new(&portal.base, "ada@university.edu");
    assert_eq!(stranger.post("/sign-up", &[("email", "ada@university.edu"), ("name", "Ada")]).await.status, 200);
    let (held, _) = tokio::task::spawn_blocking(move || silent.accept().unwrap()).await.unwrap();
    let took = portal.stop();
    assert!(took < STOP_MAX, "the stop took {took:?}");
    drop(held);
}
