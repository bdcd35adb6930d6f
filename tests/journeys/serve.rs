//! `sluice serve` as an operator meets it: first start, second start, a second one beside it, the end.

use std::time::{Duration, Instant};

use tests::{Installation, Person};

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
