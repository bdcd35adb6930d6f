//! Where it is pulled to: somebody else is there, it is full, it may not be written to, something is in the way.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use server::catalog::Gate;
use sqlx::PgPool;
use tests::{Puller, TestPortal, Trouble, Weather, journal_says_done, on_small_disk, quoted};

use super::publish;

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn of_two_pulls_into_one_folder_one_waits_for_no_one(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let release = publish(&portal, "acme/open", Gate::Open).await;
    let weather = Weather::before(&portal.base, |asked| asked.is_chunk().then_some(Trouble::Delay(Duration::from_millis(700)))).await;
    let ada = Puller::new(&weather.base);
    let first = ada.begins(&release.name, &[]);
    while weather.asked().iter().all(|asked| !asked.is_chunk()) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    ada.pulls(&release.name, &[]).await.with(1, &format!("another sluice pull (process {})", first.id()));
    Puller::ends(first).await.well();
    release.is_whole_at(&ada);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_is_in_the_way_is_not_touched(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let release = publish(&portal, "acme/open", Gate::Open).await;
    let ada = Puller::new(&portal.base);
    fs::create_dir_all(ada.folder()).unwrap();
    fs::write(ada.folder().join("config.json"), "mine").unwrap();
    ada.pulls(&release.name, &[]).await.with(3, "config.json").with(3, "--repair");
    assert_eq!(ada.read("config.json"), b"mine");

    fs::remove_file(ada.folder().join("config.json")).unwrap();
    // A link, and a folder that is one, may lead anywhere.
    fs::write(ada.home().join("outside"), "outside").unwrap();
    std::os::unix::fs::symlink("../outside", ada.folder().join("config.json")).unwrap();
    ada.pulls(&release.name, &[]).await.with(1, "is a link");
    fs::remove_file(ada.folder().join("config.json")).unwrap();
    std::os::unix::fs::symlink("..", ada.folder().join("deep")).unwrap();
    ada.pulls(&release.name, &[]).await.with(1, "is a link");
    assert!(!ada.home().join("er").exists());
    assert_eq!(fs::read(ada.home().join("outside")).unwrap(), b"outside");
    fs::remove_file(ada.folder().join("deep")).unwrap();
    fs::create_dir(ada.folder().join("config.json")).unwrap();
    ada.pulls(&release.name, &[]).await.with(1, "is in the way");
    fs::remove_dir(ada.folder().join("config.json")).unwrap();
    ada.pulls(&release.name, &[]).await.well();
    release.is_whole_at(&ada);

    fs::write(ada.home().join("file"), "").unwrap();
    ada.runs(&["pull", &release.name, "file/model"]).await.with(1, "cannot write to");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_folder_that_others_have_prepared_leads_nowhere_and_vouches_for_nothing(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let release = publish(&portal, "acme/open", Gate::Open).await;
    let ada = Puller::new(&portal.base);
    let at = |path: &str| ada.folder().join(path);
    fs::create_dir_all(ada.folder()).unwrap();
    fs::create_dir(ada.home().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("../elsewhere", at(".sluice")).unwrap();
    ada.pulls(&release.name, &[]).await.with(1, ".sluice is a link");
    assert_eq!(fs::read_dir(ada.home().join("elsewhere")).unwrap().count(), 0);
    fs::remove_file(at(".sluice")).unwrap();

    // A pipe would be read for ever, under either name; what has another name would be overwritten there, too.
    for name in ["config.json", "config.json.sluice-part"] {
        assert!(Command::new("mkfifo").arg(at(name)).status().unwrap().success());
        ada.pulls(&release.name, &[]).await.with(1, "is in the way");
        fs::remove_file(at(name)).unwrap();
    }
    fs::write(ada.home().join("mine"), "mine").unwrap();
    fs::hard_link(ada.home().join("mine"), at("noise-1.dat.sluice-part")).unwrap();
    ada.pulls(&release.name, &[]).await.with(1, "hard link");
    assert_eq!(fs::read(ada.home().join("mine")).unwrap(), b"mine");
    fs::remove_file(at("noise-1.dat.sluice-part")).unwrap();
    ada.pulls(&release.name, &[]).await.well();
    release.is_whole_at(&ada);

    // Other bytes, and a journal that says that they are right: this user's is believed, one that others could write is not.
    fs::write(at("config.json"), vec![b' '; release.files["config.json"].len()]).unwrap();
    journal_says_done(&ada.folder(), "config.json", &release.files["config.json"]).unwrap();
    fs::set_permissions(at(".sluice/journal"), PermissionsExt::from_mode(0o600)).unwrap();
    ada.pulls(&release.name, &["--dry-run", "--include", "config.json"]).await.with(0, "0 files, 0 B.");
    fs::set_permissions(at(".sluice/journal"), PermissionsExt::from_mode(0o666)).unwrap();
    ada.pulls(&release.name, &["--dry-run"]).await.with(0, "to read first");
    ada.pulls(&release.name, &[]).await.with(3, "config.json: 1 of 1 chunks differ");
    assert_eq!(fs::metadata(at(".sluice/journal")).unwrap().permissions().mode() & 0o777, 0o600);
    ada.pulls(&release.name, &["--repair"]).await.well();
    release.is_whole_at(&ada);

    // What a verifier reads has an end.
    fs::remove_file(at(".sluice/chunks.sig")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", at(".sluice/chunks.sig")).unwrap();
    ada.verifies().await.with(1, "chunks.sig");
}

/// Runs a pull in a world that is smaller than ours: `world` is a command that runs what follows it.
async fn in_world(ada: &Puller, world: &str, release: &str) -> tests::Ended {
    let mut shell = Command::new("sh");
    ada.settle(&mut shell);
    let pull = ada.sluice(&["pull", release, ada.folder().to_str().unwrap(), "--jobs", "2"]);
    shell.args(["-c", &format!("{world} {}", quoted(&pull))]);
    Puller::ends(shell.spawn().unwrap()).await
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_limit_reached_midway_says_so_and_what_has_arrived_is_kept(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let release = publish(&portal, "acme/open", Gate::Open).await;
    let ada = Puller::new(&portal.base);
    // No file over 20 MiB: as on a file system that takes none. In units of 512 bytes; the signal that comes with it is ignored.
    let ended = in_world(&ada, "trap '' XFSZ; ulimit -f 40960; exec", &release.name).await;
    ended.with(1, "takes no file of this size");
    ada.pulls(&release.name, &[]).await.well();
    release.is_whole_at(&ada);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_full_disk_is_told_beforehand_and_midway(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let release = publish(&portal, "acme/open", Gate::Open).await;
    let mut ada = Puller::new(&portal.base);
    fs::create_dir_all(ada.folder()).unwrap();
    let folder = ada.folder();
    let Some(small) = on_small_disk(&folder, "20m", "exec") else { return };
    in_world(&ada, &small, &release.name).await.with(1, "are still to come; free ");
    // Somebody else fills it while we pull: enough is free at first.
    let filled = format!("(sleep 0.3; head -c 60M /dev/zero > '{}/other') & exec", folder.display());
    let slow = Weather::before(&portal.base, |asked| asked.is_chunk().then_some(Trouble::Delay(Duration::from_millis(900)))).await;
    ada.ask(&slow.base);
    in_world(&ada, &on_small_disk(&folder, "64m", &filled).unwrap(), &release.name)
        .await
        .with(1, "free some space and run the same command again");
    // A folder that may only be read.
    let readonly = format!("mount -o remount,ro '{}'; exec", folder.display());
    in_world(&ada, &on_small_disk(&folder, "64m", &readonly).unwrap(), &release.name)
        .await
        .with(1, "choose a folder that you may write to");
}
