//! A real object store behind the S3 interface: SeaweedFS, as a process of the test's own, with one bucket.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use server::config::{Config, ObjectsConfig};
use server::storage::S3;

const BUCKET: &str = "weights";
const ACCESS_KEY: &str = "testkey";
const SECRET_KEY: &str = "testsecret123";
const READY_WAIT: Duration = Duration::from_secs(60);
/// It listens on eight ports in a row, below those that the system gives to whoever asks for any.
const PORTS: u16 = 8;
const PORT_MIN: u16 = 12_000;
const PORT_SETS: u16 = 2_000;

/// The store. It ends, and its data goes, with the test.
pub struct ObjectStore {
    folder: tempfile::TempDir,
    child: Option<Child>,
    port: u16,
}

impl ObjectStore {
    /// Starts one and waits until it takes objects.
    pub async fn start() -> Self {
        crate::choose_tls();
        let folder = tempfile::Builder::new().prefix("sluice-store-").tempdir().unwrap();
        let identity = serde_json::json!({ "name": "app", "credentials": [{ "accessKey": ACCESS_KEY, "secretKey": SECRET_KEY }],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"] });
        fs::write(folder.path().join("s3.json"), serde_json::json!({ "identities": [identity] }).to_string()).unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        let mut store = Self { folder, child: None, port: free_ports() };
        store.starts_again().await;
        let made = reqwest::Client::new().post(format!("http://127.0.0.1:{}/buckets/{BUCKET}/", store.port + 3)).send().await.unwrap();
        assert!(made.status().is_success(), "the bucket is not made: {}", made.status());
        store
    }

    /// Starts it on the data of before, after [`ObjectStore::kill`].
    pub async fn starts_again(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.folder.path().join("log.txt")).unwrap();
        let port = |flag: &str, place: u16| format!("-{flag}={}", self.port + place);
        // setpriv: it ends with this process, however that ends.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program())
            .args(["-logtostderr=true", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"])
            .arg(format!("-dir={}", self.folder.path().join("data").display()))
            .arg(format!("-s3.config={}", self.folder.path().join("s3.json").display()))
            .args(["-s3", "-filer", "-s3.port.iceberg=0", "-s3.port.lance=0"])
            .args([port("s3.port", 0), port("master.port", 1), port("volume.port", 2), port("filer.port", 3)])
            .args([port("s3.port.grpc", 4), port("master.port.grpc", 5), port("volume.port.grpc", 6), port("filer.port.grpc", 7)])
            .args(["-master.electionTimeout=1s", "-volume.preStopSeconds=0", "-volume.max=0", "-master.volumeSizeLimitMB=256"])
            // A disk that is nearly full has room for what a test writes.
            .args(["-master.telemetry=false", "-volume.minFreeSpace=100MiB"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let asked = Instant::now();
        while !self.is_ready().await {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            let log = || fs::read_to_string(self.folder.path().join("log.txt")).unwrap();
            assert!(ended.is_none() && asked.elapsed() < READY_WAIT, "the object store is not ready ({ended:?}): {}", log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// `kill -9`; its data stays.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Where it answers. Not `127.0.0.1`, which is the portal's name in the tests.
    pub fn endpoint(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// The settings of a portal that keeps its weights here.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("SLUICE_OBJECTS", format!("s3://{BUCKET}/sluice")),
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.into()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.into()),
        ]
    }

    /// The same with some of them changed.
    pub fn settings_but(&self, changed: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
        let mut settings = self.settings();
        settings.retain(|(name, _)| changed.iter().all(|(other, _)| other != name));
        settings.extend(changed.iter().map(|(name, value)| (*name, (*value).to_owned())));
        settings
    }
}

/// The bucket of these settings, with nothing of a portal around it.
pub fn bucket(settings: &[(&str, String)], data_dir: &Path) -> S3 {
    let lookup = |variable: &str| settings.iter().find(|(name, _)| *name == variable).map(|(_, value)| value.clone());
    let ObjectsConfig::S3(config) = Config::from_lookup(lookup).unwrap().objects else { panic!("the settings name a bucket") };
    S3::open(&config, data_dir, 1 << 30).unwrap()
}

impl ObjectStore {
    /// Ready is when the gateway answers and the store behind it takes a write: after a start the first seconds give errors.
    async fn is_ready(&self) -> bool {
        let probe = format!("http://127.0.0.1:{}/.probe", self.port + 3);
        let written = reqwest::Client::new().put(&probe).body("ready").send().await;
        written.is_ok_and(|answer| answer.status().is_success())
            && reqwest::get(&probe).await.is_ok_and(|answer| answer.status() == 200)
            && reqwest::get(self.endpoint()).await.is_ok_and(|answer| answer.status() == 403)
    }
}

impl Drop for ObjectStore {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_ports() -> u16 {
    let first = u16::try_from(std::process::id() % u32::from(PORT_SETS)).unwrap();
    let sets = (first..PORT_SETS).chain(0..first).map(|set| PORT_MIN + set * PORTS);
    let is_free = |port: &u16| (*port..port + PORTS).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok());
    sets.into_iter().find(is_free).expect("eight free ports in a row")
}

/// `weed`, as `make test` installs it.
fn program() -> PathBuf {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/dev/bin/weed");
    if ours.exists() { ours } else { PathBuf::from("weed") }
}
