//! The real binary as a process of its own, on a data folder and a private PostgreSQL, to be stopped or killed.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::Person;

/// A data folder and the commands that work on it.
pub struct Installation {
    folder: tempfile::TempDir,
    port: u16,
}

/// `sluice serve`, running.
pub struct Serving {
    child: Child,
    pub base: String,
    /// What it has said on stdout goes here.
    pub said: PathBuf,
}

const READY_WAIT: Duration = Duration::from_secs(60);

impl Installation {
    /// An empty one, on a free port. Under `/tmp`, where the account that runs PostgreSQL can reach it.
    pub fn fresh() -> Self {
        let folder = tempfile::Builder::new().prefix("sluice-").tempdir().unwrap();
        // The database's account, when that is not ours, has to pass through.
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { folder, port }
    }

    /// What the portal that runs, or ran last, has written to its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log.txt")).unwrap()
    }

    /// Where it keeps its data.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// `http://127.0.0.1:port`
    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A command on this data folder.
    pub fn sluice(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        forget_settings(&mut command);
        command
            .args(arguments)
            .env("SLUICE_DATA_DIR", self.data())
            .env("SLUICE_LISTEN", format!("127.0.0.1:{}", self.port))
            .env("SLUICE_ENGINE_MEMORY_BYTES", "1000000000")
            .env_remove("DATABASE_URL")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end and returns what it printed; panics if it failed.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(output.status.success(), "sluice {}: {}\n{}", arguments.join(" "), output.status, String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Runs a command to its end.
    pub fn output(&self, arguments: &[&str]) -> Output {
        self.sluice(arguments).output().unwrap()
    }

    /// Starts the portal and waits until it is ready and has said all there is to say.
    pub async fn serve(&self) -> Serving {
        self.serve_with(&[]).await
    }

    /// The same with settings of its own.
    pub async fn serve_with(&self, settings: &[(&str, &str)]) -> Serving {
        crate::choose_tls();
        let said = self.folder.path().join("said.txt");
        let log = fs::File::create(self.folder.path().join("log.txt")).unwrap();
        let mut command = self.sluice(&["serve"]);
        let child = command.envs(settings.iter().copied()).stdout(fs::File::create(&said).unwrap()).stderr(log).spawn().unwrap();
        let mut serving = Serving { child, base: self.base(), said };
        let asked = Instant::now();
        loop {
            if let Ok(answer) = reqwest::get(format!("{}/readyz", serving.base)).await
                && answer.status() == 200
                && fs::read_to_string(&serving.said).unwrap().contains("Stop with Ctrl-C.")
            {
                return serving;
            }
            let ended = serving.child.try_wait().unwrap();
            assert!(ended.is_none() && asked.elapsed() < READY_WAIT, "the portal is not ready ({ended:?}): {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// An account with the password everybody has, signed in at a running portal.
    pub async fn person(&self, email: &str, role: &str) -> Person {
        let mut child = self
            .sluice(&["user", "add", email, "--role", role, "--password-stdin"])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), format!("{}\n", Person::PASSWORD).as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        let person = Person::new(&self.base(), email);
        assert_eq!(person.signs_in().await.status, 303);
        person
    }
}

impl Serving {
    /// `kill -9`, and nothing else: what it held is as it was at that moment.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; returns how long it took to end, and panics unless it ended cleanly.
    pub fn stop(mut self) -> Duration {
        let asked = Instant::now();
        self.signal(rustix::process::Signal::TERM);
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
        asked.elapsed()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.signal(rustix::process::Signal::TERM);
            let _ = self.child.wait();
        }
    }
}

/// `sluice` as built beside this test. `make test` builds it first.
pub(crate) fn binary() -> PathBuf {
    let deps = std::env::current_exe().unwrap();
    let path = deps.parent().and_then(Path::parent).unwrap().join("sluice");
    assert!(path.exists(), "{} is not built: cargo build --bin sluice", path.display());
    path
}

/// Whoever runs the tests may have settings, and has names for the browser's: they are none of the program's.
#[expect(clippy::disallowed_methods, reason = "what there is must not reach the program")]
fn forget_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SLUICE_")) {
        command.env_remove(name);
    }
}
