//! The private cluster, on a real server: its life, its recoveries, and its sharing between commands.

mod life;
mod recovery;
mod sharing;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::geteuid;
use server::postgres::{Cluster, ClusterError, Settings};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

const PATIENCE: Duration = Duration::from_secs(30);

/// A folder for one cluster, which notices when a server outlives its test.
struct Scratch(TempDir);

impl Scratch {
    fn new() -> Self {
        let dir = TempDir::new().expect("a temporary folder");
        // The server's account has to pass through it when the tests run as root.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("our own folder");
        Self(dir)
    }

    fn folder(&self) -> PathBuf {
        self.0.path().join("postgres")
    }

    fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    async fn start(&self) -> Cluster {
        self.try_start().await.expect("a cluster that starts")
    }

    async fn try_start(&self) -> Result<Cluster, ClusterError> {
        Cluster::start(&self.folder(), &quick()).await
    }

    /// A cluster that was made and stopped, with one row in it.
    async fn with_a_row(&self) {
        let cluster = self.start().await;
        let mut connection = connect(cluster.connect_options()).await;
        sqlx::raw_sql("create table kept (n int); insert into kept values (42)").execute(&mut connection).await.expect("written");
        cluster.stop().await.expect("stopped");
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let asked = Instant::now();
        while !servers_in(&self.data()).is_empty() && asked.elapsed() < PATIENCE {
            #[expect(clippy::disallowed_methods, reason = "a destructor cannot await, and nothing is left to be kept waiting")]
            std::thread::sleep(Duration::from_millis(5));
        }
        let left = servers_in(&self.data());
        assert!(left.is_empty() || std::thread::panicking(), "the test left servers behind: {left:?}");
    }
}

/// Not durable: no test pulls the plug.
fn quick() -> Settings {
    Settings { durable: false, ..Settings::default() }
}

async fn connect(options: PgConnectOptions) -> PgConnection {
    options.connect().await.expect("a server that takes connections")
}

/// The row of `with_a_row`, if it is still there.
async fn kept(cluster: &Cluster) -> i32 {
    let mut connection = connect(cluster.connect_options()).await;
    sqlx::query_scalar("select n from kept").fetch_one(&mut connection).await.expect("the row written before")
}

/// The server processes that work in a folder, as the system sees them.
fn servers_in(data: &Path) -> Vec<u32> {
    let Ok(data) = fs::metadata(data) else {
        return Vec::new();
    };
    let here = |process: &Path| fs::metadata(process.join("cwd")).is_ok_and(|cwd| (cwd.dev(), cwd.ino()) == (data.dev(), data.ino()));
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    processes.filter(|entry| here(&entry.path())).filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The server's own process, from its pid file.
fn server_pid(data: &Path) -> u32 {
    let text = fs::read_to_string(data.join("postmaster.pid")).expect("a running server's pid file");
    text.lines().next().expect("its first line").parse().expect("a number")
}

fn uid_of(pid: u32) -> u32 {
    fs::metadata(format!("/proc/{pid}")).expect("a living process").uid()
}

fn we_are_root() -> bool {
    geteuid().is_root()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let asked = Instant::now();
    while !holds() {
        assert!(asked.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Another process that uses a cluster until it is told to finish.
struct Neighbour {
    process: Child,
    stdin: ChildStdin,
    options: PgConnectOptions,
}

impl Neighbour {
    /// Returns when that process is connected.
    async fn attach(folder: &Path) -> Self {
        let mut process = with_postgres(folder, &["sh", "-c", "echo $DATABASE_URL; cat"]);
        let stdin = process.stdin.take().expect("piped");
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let url = lines.next_line().await.expect("readable").expect("the URL it was given");
        Self { process, stdin, options: url.parse().expect("a database URL") }
    }

    fn finish(self) -> Child {
        drop(self.stdin);
        self.process
    }
}

fn with_postgres(folder: &Path, command: &[&str]) -> Child {
    let mut process = Command::new(env!("CARGO_BIN_EXE_with-postgres"));
    process.arg(folder).args(command).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    process.kill_on_drop(true).spawn().expect("our own program")
}
