//! A portal's signing key changes, and who knows an older one follows by what the keys have vouched for, or not at all.

use std::fs;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use server::catalog::{self, Gate};
use sqlx::PgPool;
use tests::{Installation, Puller, TestPortal, Trouble, Weather};
use time::Duration;

use super::publish;

const KEYS: &str = "/.well-known/sluice-keys.json";

async fn key_of(portal: &TestPortal) -> String {
    portal.visitor().fetch("/.well-known/sluice-key.pem").await.text
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_rotation_is_followed_and_so_are_two(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let release = publish(&portal, "acme/open", Gate::Open).await;
    let (ada, bob, eve) = (Puller::new(&portal.base), Puller::new(&portal.base), Puller::new(&portal.base));
    let first = key_of(&portal).await;
    for machine in [&ada, &bob] {
        machine.pulls(&release.name, &[]).await.well().with(0, "first contact");
    }
    catalog::rotate_key(&portal.portal, Duration::days(1)).await.unwrap();
    ada.verifies().await.well();
    ada.pulls(&release.name, &[]).await.well().with(0, "has vouched for it");
    ada.verifies().await.well();
    catalog::rotate_key(&portal.portal, Duration::days(1)).await.unwrap();
    // One was here between the two rotations, one was not, one knows nothing.
    ada.pulls(&release.name, &[]).await.well().with(0, "has vouched for it");
    bob.pulls(&release.name, &["--dry-run"]).await.well().with(0, "has vouched for it");
    eve.pulls(&release.name, &[]).await.well().with(0, "first contact");
    assert!(!ada.pulls(&release.name, &[]).await.well().said.contains("Trusting"), "once is enough");

    // Offline, on a machine that has the publisher's key from before: the folder brings what its keys have vouched for.
    let carol = Puller::new("http://nowhere.invalid");
    fs::write(carol.home().join("first.pem"), &first).unwrap();
    let folder = eve.folder();
    carol.runs(&["verify", folder.to_str().unwrap(), "--key", "first.pem"]).await.well();
    bob.runs(&["pull", &release.name, "again", "--key", "key.pem"]).await.with(2, "cannot be read");
    fs::write(bob.home().join("first.pem"), &first).unwrap();
    bob.runs(&["pull", &release.name, "again", "--key", "first.pem"]).await.well();
    fs::remove_file(folder.join(".sluice/keys.json")).unwrap();
    carol.runs(&["verify", folder.to_str().unwrap(), "--key", "first.pem"]).await.with(3, "another key");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_key_that_retires_at_once_vouches_for_nothing(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let release = publish(&portal, "acme/open", Gate::Open).await;
    let ada = Puller::new(&portal.base);
    ada.pulls(&release.name, &[]).await.well();
    catalog::rotate_key(&portal.portal, Duration::ZERO).await.unwrap();
    ada.pulls(&release.name, &[]).await.with(3, "has changed").with(3, "--key FILE");
    ada.verifies().await.well();
    // Who has asked the publisher goes on with the key that came from there.
    fs::write(ada.home().join("key.pem"), key_of(&portal).await).unwrap();
    ada.pulls(&release.name, &["--key", "key.pem"]).await.well();
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_list_that_somebody_has_changed_makes_no_key_trusted(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let release = publish(&portal, "acme/open", Gate::Open).await;
    let shown: Arc<Mutex<Option<String>>> = Arc::default();
    let shows = shown.clone();
    let between = Weather::before(&portal.base, move |asked| {
        let list = shows.lock().unwrap().clone().filter(|_| asked.target == KEYS)?;
        Some(Trouble::Answer(200, "application/json", Arc::new(list.into_bytes())))
    })
    .await;
    let ada = Puller::new(&between.base);
    ada.pulls(&release.name, &[]).await.well();
    catalog::rotate_key(&portal.portal, Duration::days(700)).await.unwrap();
    catalog::rotate_key(&portal.portal, Duration::days(700)).await.unwrap();
    let good = portal.visitor().fetch(KEYS).await.json();
    let envelope = |key: usize| format!("/keys/{key}/succession/dsseEnvelope");
    let flipped = |place: &str| -> Value {
        let mut list = good.clone();
        let text = list.pointer_mut(place).unwrap();
        // Of a character of base64 in the middle, the lowest bit.
        let mut bytes = text.as_str().unwrap().as_bytes().to_vec();
        let at = bytes.len() / 2;
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        *text = String::from_utf8(bytes).unwrap().into();
        list
    };
    let mut none = good.clone();
    none["keys"][1].as_object_mut().unwrap().remove("succession");
    let mut foreign = good.clone();
    foreign["keys"][1]["succession"] = good["keys"][0]["succession"].clone();
    let signature = |key| format!("{}/signatures/0/sig", envelope(key));
    let payload = |key| format!("{}/payload", envelope(key));
    for list in [none, foreign, flipped(&signature(0)), flipped(&payload(0)), flipped(&signature(1)), flipped(&payload(1))] {
        *shown.lock().unwrap() = Some(list.to_string());
        ada.pulls(&release.name, &[]).await.with(3, "has changed").with(3, "--key FILE");
    }
    *shown.lock().unwrap() = None;
    ada.pulls(&release.name, &[]).await.well().with(0, "has vouched for it");
}

#[test]
fn the_operator_is_told_who_vouches_for_which_key() {
    let place = Installation::fresh();
    let rotates = |arguments: &[&str]| {
        let output = place.output(&[&["key", "rotate"], arguments].concat());
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(rotates(&[]).contains("has vouched for it"));
    assert!(rotates(&["--overlap-days", "0"]).contains("tell everybody the new key"));
    let list = place.run(&["key", "list"]);
    let ends: Vec<&str> = list.lines().map(|line| line.rsplit_once("  ").unwrap().1).collect();
    assert_eq!(ends, ["vouched for by nobody", "vouched for by the one before", "the first"], "{list}");
}
