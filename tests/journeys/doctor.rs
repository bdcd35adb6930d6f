//! `sluice doctor`: what it says of a portal that is well, and of one that is not.

use std::process::Output;

use serde_json::Value;
use tests::{Installation, MailServer, Security};

/// What it printed, and whether it found everything right.
fn examined(place: &Installation, settings: &[(&str, &str)]) -> (String, bool) {
    let output = place.sluice(&["doctor"]).envs(settings.iter().copied()).output().unwrap();
    (String::from_utf8(output.stdout.clone()).unwrap(), is_well(&output))
}

/// Its result for programs.
fn examined_by_program(place: &Installation, settings: &[(&str, &str)]) -> (Value, bool) {
    let output = place.sluice(&["doctor", "--json"]).envs(settings.iter().copied()).output().unwrap();
    (serde_json::from_slice(&output.stdout).unwrap(), is_well(&output))
}

fn is_well(output: &Output) -> bool {
    match output.status.code() {
        Some(0) => true,
        Some(1) => false,
        other => panic!("{other:?}: {}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// How each part is, by name.
fn states(told: &Value) -> Vec<(&str, &str)> {
    let checks = told["checks"].as_array().unwrap();
    checks.iter().map(|check| (check["check"].as_str().unwrap(), check["state"].as_str().unwrap())).collect()
}

/// The line about a part, and what to do.
fn lines_of<'a>(told: &'a str, part: &str) -> (&'a str, &'a str) {
    let mut lines = told.lines().skip_while(|line| line.get(6..).is_none_or(|rest| !rest.starts_with(part)));
    (lines.next().unwrap_or_else(|| panic!("nothing is said of {part}:\n{told}")), lines.next().unwrap_or_default().trim_start())
}

#[tokio::test]
async fn a_portal_that_is_well_is_told_so_before_beside_and_after_it_runs() {
    let place = Installation::fresh();
    let (told, well) = examined_by_program(&place, &[]);
    assert!(well && told["healthy"] == true, "{told}");
    assert!(states(&told).contains(&("database", "note")) && states(&told).contains(&("keys", "note")), "nothing is there yet: {told}");

    let serving = place.serve().await;
    let (told, well) = examined_by_program(&place, &[]);
    assert!(well, "{told}");
    for part in ["settings", "public URL", "data folder", "database", "audit log", "object store", "keys", "engine"] {
        assert!(states(&told).contains(&(part, "ok")), "{part}: {told}");
    }
    assert!(told.to_string().contains(&format!("a portal runs on it (process {})", serving.pid())), "{told}");
    let engine = &told["engine"];
    assert!(engine["cores"].as_u64().unwrap() > 0 && engine["machine_available_bytes"].as_u64().unwrap() > 0);
    let fits = engine["fits"].as_array().unwrap();
    let of = |model: &str| fits.iter().find(|fit| fit["model"] == model && fit["precision"] == "int4").unwrap();
    // The harness gives models 1 GB.
    assert_eq!((fits.len(), &of("opt-125m")["cpu"], &of("opt-175b")["cpu"]), (36, &true.into(), &false.into()));
    serving.stop();

    let (told, well) = examined(&place, &[]);
    assert!(well, "{told}");
    assert!(told.contains("no portal runs on it") && lines_of(&told, "database").0.contains("up to date"), "{told}");
    assert!(lines_of(&told, "opt-125m").0.contains("cpu"), "{told}");
    let objects = std::fs::read_dir(place.data().join("objects/staging")).unwrap();
    assert!(objects.filter(|entry| !entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.')).count() == 0, "it tidies up");
}

#[test]
fn whatever_is_broken_is_told_at_once_with_what_to_do() {
    let place = Installation::fresh();
    let file = place.data().with_file_name("file");
    std::fs::write(&file, "no folder").unwrap();
    let store = file.join("objects").to_str().unwrap().to_owned();
    let (told, well) = examined(
        &place,
        &[
            ("SLUICE_OBJECTS", &store),
            ("SLUICE_SMTP_URL", "smtp://grace:hidden@127.0.0.1:1"),
            ("SLUICE_STMP_CA", "/etc/ca.pem"),
            ("DATABASE_URL", "postgres://nobody:hidden@127.0.0.1:1/none"),
        ],
    );
    assert!(!well && !told.contains("hidden"), "{told}");
    for (part, what, advice) in [
        ("object store", store.as_str(), "SLUICE_OBJECTS"),
        ("mail", "127.0.0.1, port 1 cannot be used", "correct SLUICE_SMTP_URL"),
        ("database", "cannot be reached", "correct DATABASE_URL (it names 127.0.0.1, port 1)"),
    ] {
        let (line, next) = lines_of(&told, part);
        assert!(line.starts_with("FAIL ") && line.contains(what), "{line}");
        assert!(next.starts_with("-> ") && next.contains(advice), "{part}: {next}");
    }
    assert!(lines_of(&told, "settings").0.contains("SLUICE_STMP_CA"), "{told}");
    assert!(lines_of(&told, "data folder").0.starts_with("ok "), "one broken part hides no other: {told}");

    let (told, well) = examined(&place, &[("SLUICE_LISTEN", "everywhere"), ("SLUICE_ENGINE_DEVICE", "gpu")]);
    assert!(!well && told.contains("SLUICE_LISTEN=127.0.0.1:8080") && told.contains("not one of auto, cpu, cuda"), "{told}");

    let nowhere = file.join("data");
    let (told, well) = examined(&place, &[("SLUICE_DATA_DIR", nowhere.to_str().unwrap())]);
    let (line, next) = lines_of(&told, "data folder");
    assert!(!well && line.starts_with("FAIL ") && next.contains("writable"), "{told}");
}

#[test]
fn a_mail_server_is_greeted_with_its_password_and_sent_nothing() {
    let (place, server) = (Installation::fresh(), MailServer::start(Security::StartTls));
    let examined = |settings: Vec<(&'static str, String)>| {
        let nowhere = ("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none");
        let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).chain([nowhere]).collect();
        lines_of(&examined(&place, &settings).0, "mail").0.to_owned()
    };
    let told = examined(server.settings());
    assert!(told.starts_with("ok ") && told.contains("takes mails from us; none was sent"), "{told}");
    let told = examined(server.settings_with_password("wrong"));
    assert!(told.starts_with("FAIL ") && told.contains("535"), "{told}");
    assert!(server.arrived().is_empty());
}

#[tokio::test]
async fn a_record_that_was_cut_is_found() {
    let place = Installation::fresh();
    let serving = place.serve().await;
    let checkpoint = place.data().join("audit/checkpoint");
    while !checkpoint.exists() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    serving.stop();
    let note = std::fs::read_to_string(&checkpoint).unwrap();
    std::fs::write(&checkpoint, note.replacen('\n', "\n9", 1)).unwrap();
    let (told, well) = examined(&place, &[]);
    let (line, next) = lines_of(&told, "audit log");
    assert!(!well && line.starts_with("FAIL ") && next.contains("audit verify"), "{told}");
}
