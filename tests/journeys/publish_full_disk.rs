//! A store whose disk is full: the publication says so, nobody sees anything of it, and with more room the same command completes.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use server::catalog;
use server::integrity::sha256_hex;
use server::storage::ObjectKey;
use sqlx::PgPool;
use tests::{Installation, Line, Weights, as_seen_by, noise, on_small_disk, quoted};

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn while_files_are_copied(db: PgPool) {
    let weights = Weights::of("preln-fp32");
    weights.write("long.dat", noise(5, 40 << 20));
    completes_once_there_is_room(db, &weights, "20m").await;
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn while_pickled_weights_are_rewritten(db: PgPool) {
    completes_once_there_is_room(db, &Weights::of("preln-fp16-bin-sharded"), "100k").await;
}

/// Publishes these weights onto a disk of this size, which is too small, and again once the disk is larger.
async fn completes_once_there_is_room(db: PgPool, weights: &Weights, size: &str) {
    let place = Installation::fresh();
    // Its socket lies where an account of another world may not look.
    let (_line, way) = Line::to(&db).await;
    let (way, port) = (way.connect_options(), way.connect_options().get_port());
    let url = format!("postgres://{}@127.0.0.1:{port}/{}?sslmode=disable", way.get_username(), way.get_database().unwrap());
    let objects = place.data().join("objects");
    fs::create_dir_all(&objects).unwrap();
    let at = |name: &str| place.data().join(name);
    // The disk goes with the last who sees it: one shell publishes, waits to be told that there may be room, and publishes again.
    let wait = |name: &str| format!("while [ ! -e '{}' ]; do sleep 0.05; done", at(name).display());
    let publish = |said: &str| format!("\\\"\\$@\\\" 2> '{}'; echo \\$? > '{}.ended'", at(said).display(), at(said).display());
    let story = format!(
        "{}; {}; mount -o remount,size=200m '{}'; {}; {}; true",
        publish("first"),
        wait("larger"),
        objects.display(),
        publish("second"),
        wait("seen")
    );
    let Some(world) = on_small_disk(&objects, size, &story) else { return };
    let asked = place.sluice(&["publish", weights.path().to_str().unwrap(), "acme/tiny", "--gate", "open"]);
    let mut shell = Command::new("sh");
    let settings = asked.get_envs().filter_map(|(name, value)| Some((name, value?)));
    shell.args(["-c", &format!("{world} {}", quoted(&asked))]).envs(settings).env("DATABASE_URL", url);
    let mut shell = Shell(shell.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap());

    let (status, said) = shell.told(&at("first")).await;
    assert!(status == "1" && said.contains("the disk is full (the store's, or the data folder's)"), "{status}: {said}");
    assert!(said.contains("free some space and publish again"), "{said}");
    let mut reader = db.acquire().await.unwrap();
    assert!(catalog::find_any_model(&mut reader, "acme", "tiny").await.unwrap().is_none(), "something of it is there");
    let objects = as_seen_by(&shell.0, &objects);
    let left = files_below(&objects.join("staging"));
    assert!(left.is_empty(), "what was not finished takes up room: {left:?}");

    fs::write(at("larger"), "").unwrap();
    let (status, said) = shell.told(&at("second")).await;
    assert_eq!(status, "0", "{said}");
    let model = catalog::find_model(&mut reader, "acme", "tiny").await.unwrap().unwrap();
    let release = catalog::resolve(&mut reader, model.id, "main").await.unwrap().unwrap();
    for file in catalog::files(&mut reader, release.id).await.unwrap() {
        let stored = fs::read(objects.join(ObjectKey::file(&file.sha256).path())).unwrap();
        assert_eq!(sha256_hex(&stored), file.sha256, "{}", file.path);
        let given = weights.path().join(&file.path);
        assert!(!given.exists() || fs::read(given).unwrap() == stored, "{}", file.path);
    }
    fs::write(at("seen"), "").unwrap();
    assert!(shell.0.wait().unwrap().success());
}

/// The shell that sees the disk; it ends with the test.
struct Shell(Child);

impl Shell {
    /// How a command of its ended, and what that said; waits for it.
    async fn told(&mut self, said: &Path) -> (String, String) {
        let (ended, asked) = (said.with_extension("ended"), Instant::now());
        loop {
            match fs::read_to_string(&ended) {
                Ok(status) if status.ends_with('\n') => return (status.trim().to_owned(), fs::read_to_string(said).unwrap()),
                _ => {}
            }
            assert!(self.0.try_wait().unwrap().is_none() && asked.elapsed() < Duration::from_secs(120), "it never ended");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The files in a folder and below, but for the one that everybody locks who works there.
fn files_below(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let found = entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path.display().to_string()] });
    found.filter(|path| !path.ends_with("/.in-use")).collect()
}
