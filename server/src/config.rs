//! The settings: environment variables, read once, all faults reported together.
//! Every variable here also stands in `deploy/env.example` (a test holds the two together).

mod client;
mod mail;
mod networks;
mod objects;

use std::net::SocketAddr;
use std::path::PathBuf;

use inference::{DeviceChoice, MachineMemory, Precision};
use url::Url;

pub use client::ClientConfig;
pub use mail::MailConfig;
pub use networks::Networks;
pub use objects::{Delivery, ObjectsConfig, S3Config, Secret};

/// Every setting of the portal.
#[derive(Clone, Debug)]
pub struct Config {
    /// `SLUICE_LISTEN`: address and port to answer on.
    pub listen: SocketAddr,
    /// `SLUICE_PUBLIC_URL`: how people reach the portal; links in mails and listings begin with it.
    pub public_url: Url,
    /// `SLUICE_TRUSTED_PROXIES`: whose `X-Forwarded-For` is believed; unset, only proxies on this machine.
    pub trusted_proxies: Networks,
    /// `SLUICE_DATA_DIR`: everything the portal keeps by itself.
    pub data_dir: PathBuf,
    /// `DATABASE_URL`: a PostgreSQL to use; unset, a private cluster under the data folder.
    pub database_url: Option<String>,
    /// `SLUICE_POSTGRES_BIN`: folder of the PostgreSQL server's programs for the private cluster.
    pub postgres_bin: Option<PathBuf>,
    /// `SLUICE_OBJECTS`: where the weights lie: a folder, or a bucket with the usual `AWS_*` variables.
    pub objects: ObjectsConfig,
    /// `SLUICE_OBJECTS_DELIVERY`: how the bytes of a bucket reach people.
    pub delivery: Delivery,
    /// `SLUICE_MIRRORS`: other addresses that hold the open models' files under the same paths; named in Metalinks.
    pub mirrors: Vec<Url>,
    /// What somebody may download.
    pub downloads: DownloadLimits,
    /// Mail.
    pub mail: MailConfig,
    /// The embedded engine.
    pub engine: EngineConfig,
    /// `SLUICE_LOG`: what to log, as `tracing` filters.
    pub log: String,
}

/// What one account may download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DownloadLimits {
    /// `SLUICE_DOWNLOAD_BYTES_A_DAY`: bytes in a day (UTC); nothing if that is not limited.
    pub bytes_a_day: Option<u64>,
    /// `SLUICE_DOWNLOADS_AT_ONCE`: files, or ranges of them, at once.
    pub at_once: usize,
}

/// Five times the largest OPT.
const DOWNLOAD_BYTES_A_DAY: u64 = 2_000_000_000_000;
/// More than any client opens by itself.
const DOWNLOADS_AT_ONCE: usize = 64;

/// What the engine may use.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// `SLUICE_ENGINE_DEVICE`: where models are computed.
    pub device: DeviceChoice,
    /// `SLUICE_ENGINE_PRECISION`: how weights are held and multiplied.
    pub precision: Precision,
    /// `SLUICE_ENGINE_MEMORY_BYTES`: memory for models and their caches together.
    pub memory_bytes: u64,
}

/// One setting that cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// The variable's name.
    pub variable: &'static str,
    /// What is wrong with it.
    pub problem: String,
    /// What would be right.
    pub example: &'static str,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} (for example {}={})", self.variable, self.problem, self.variable, self.example)
    }
}

/// Every variable the portal and its clients read, for `deploy/env.example` and the documentation.
pub const VARIABLES: &[&str] = &[
    "SLUICE_LISTEN",
    "SLUICE_PUBLIC_URL",
    "SLUICE_TRUSTED_PROXIES",
    "SLUICE_DATA_DIR",
    "DATABASE_URL",
    "SLUICE_POSTGRES_BIN",
    "SLUICE_OBJECTS",
    "SLUICE_OBJECTS_DELIVERY",
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "SLUICE_MIRRORS",
    "SLUICE_DOWNLOAD_BYTES_A_DAY",
    "SLUICE_DOWNLOADS_AT_ONCE",
    "SLUICE_SMTP_URL",
    "SLUICE_SMTP_CA",
    "SLUICE_MAIL_FROM",
    "SLUICE_MAIL_DIGEST_HOUR",
    "SLUICE_ENGINE_DEVICE",
    "SLUICE_ENGINE_PRECISION",
    "SLUICE_ENGINE_MEMORY_BYTES",
    "SLUICE_LOG",
    "SLUICE_ENDPOINT",
    "SLUICE_TOKEN",
];

impl Config {
    /// The settings of this process.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    pub fn from_env() -> Result<Self, Vec<Fault>> {
        Self::from_lookup(|variable| std::env::var(variable).ok())
    }

    /// Variables of this process that look like ours and mean nothing, sorted: names mistyped, or of another version.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    pub fn not_understood() -> Vec<String> {
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let mut strange: Vec<String> = names.filter(|name| name.starts_with("SLUICE_") && !VARIABLES.contains(&name.as_str())).collect();
        strange.sort();
        strange
    }

    /// The settings as `lookup` tells them; an empty value counts as unset.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<Fault>> {
        Self::on_machine(inference::available_memory(), lookup)
    }

    /// The same on a machine of this memory.
    fn on_machine(memory: Option<MachineMemory>, lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<Fault>> {
        let get = |variable: &'static str| lookup(variable).filter(|value| !value.trim().is_empty());
        let mut faults = Vec::new();

        let listen = parsed(&mut faults, "SLUICE_LISTEN", get("SLUICE_LISTEN"), "127.0.0.1:8080", |raw| {
            raw.parse::<SocketAddr>().map_err(|_| "not an address and port".into())
        });
        let default_url = format!("http://{listen}");
        let public_url = parsed(
            &mut faults,
            "SLUICE_PUBLIC_URL",
            get("SLUICE_PUBLIC_URL").or(Some(default_url)),
            "https://weights.example.org",
            web_url,
        );
        let trusted_proxies =
            parsed(&mut faults, "SLUICE_TRUSTED_PROXIES", get("SLUICE_TRUSTED_PROXIES"), "127.0.0.0/8,::1", str::parse::<Networks>);
        let data_dir = PathBuf::from(get("SLUICE_DATA_DIR").unwrap_or_else(|| "./data".into()));
        let objects = objects::read(&mut faults, &data_dir, &get);
        let delivery = objects::read_delivery(&mut faults, &public_url, &objects, &get);
        let mirrors =
            get("SLUICE_MIRRORS").map_or(Ok(vec![]), |raw| raw.split([',', ' ']).filter(|url| !url.is_empty()).map(web_url).collect());
        let mirrors = mirrors.unwrap_or_else(|problem| {
            faults.push(Fault { variable: "SLUICE_MIRRORS", problem, example: "https://mirror.example.org,https://weights.example.net" });
            vec![]
        });
        let downloads = DownloadLimits {
            bytes_a_day: match get("SLUICE_DOWNLOAD_BYTES_A_DAY").map(|raw| raw.trim().parse::<u64>()) {
                None => Some(DOWNLOAD_BYTES_A_DAY),
                Some(Ok(0)) => None,
                Some(Ok(bytes)) => Some(bytes),
                Some(Err(_)) => {
                    let (variable, problem) = ("SLUICE_DOWNLOAD_BYTES_A_DAY", "not a number of bytes; 0 stands for no limit".into());
                    faults.push(Fault { variable, problem, example: "2000000000000" });
                    None
                }
            },
            at_once: parsed(
                &mut faults,
                "SLUICE_DOWNLOADS_AT_ONCE",
                get("SLUICE_DOWNLOADS_AT_ONCE").or_else(|| Some(DOWNLOADS_AT_ONCE.to_string())),
                "64",
                |raw| raw.trim().parse().ok().filter(|count| *count > 0).ok_or_else(|| "not a number above 0".into()),
            ),
        };
        let database_url = get("DATABASE_URL");
        if let Some(url) = &database_url
            && !url.starts_with("postgres://")
            && !url.starts_with("postgresql://")
        {
            faults.push(Fault {
                variable: "DATABASE_URL",
                problem: "not a PostgreSQL URL".into(),
                example: "postgres://sluice@db.example.org/sluice",
            });
        }
        let mail = mail::read(&mut faults, &get);
        let device = parsed(&mut faults, "SLUICE_ENGINE_DEVICE", get("SLUICE_ENGINE_DEVICE"), "auto", |raw| {
            DeviceChoice::named(raw).ok_or_else(|| format!("not one of {}", DeviceChoice::ALL.map(DeviceChoice::name).join(", ")))
        });
        let precision = parsed(&mut faults, "SLUICE_ENGINE_PRECISION", get("SLUICE_ENGINE_PRECISION"), "exact", |raw| {
            Precision::named(raw).ok_or_else(|| format!("not one of {}", Precision::ALL.map(Precision::name).join(", ")))
        });
        let memory_bytes = match get("SLUICE_ENGINE_MEMORY_BYTES") {
            None => memory.map_or(MEMORY_BYTES_UNTOLD, |memory| memory.total_bytes / 2),
            Some(raw) => engine_memory(&raw, memory).unwrap_or_else(|problem| {
                let (variable, problem) = ("SLUICE_ENGINE_MEMORY_BYTES", format!("{raw:?} is {problem}"));
                faults.push(Fault { variable, problem, example: "8000000000" });
                0
            }),
        };
        let log = get("SLUICE_LOG").unwrap_or_else(|| "info,sqlx=warn,actix_server=warn".into());
        if log.parse::<tracing_subscriber::EnvFilter>().is_err() {
            faults.push(Fault {
                variable: "SLUICE_LOG",
                problem: "not a list of log filters".into(),
                example: "info,sqlx=warn,actix_server=warn",
            });
        }

        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self {
            listen,
            public_url,
            trusted_proxies,
            data_dir,
            database_url,
            postgres_bin: get("SLUICE_POSTGRES_BIN").map(PathBuf::from),
            objects,
            delivery,
            mirrors,
            downloads,
            mail,
            engine: EngineConfig { device, precision, memory_bytes },
            log,
        })
    }

    /// Whether people reach the portal by TLS: cookies are then `Secure` and `__Host-`.
    pub fn is_https(&self) -> bool {
        self.public_url.scheme() == "https"
    }

    /// The public address of `path` (which begins with `/`).
    pub fn url_of(&self, path: &str) -> String {
        format!("{}{path}", self.public_url.as_str().trim_end_matches('/'))
    }
}

/// Reads a value, or notes the fault and goes on with the example, so that all faults are found in one go.
fn parsed<T>(
    faults: &mut Vec<Fault>,
    variable: &'static str,
    raw: Option<String>,
    example: &'static str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> T {
    let raw = raw.unwrap_or_else(|| example.to_owned());
    parse(&raw).unwrap_or_else(|problem| {
        faults.push(Fault { variable, problem: format!("{raw:?} is {problem}"), example });
        parse(example).unwrap_or_else(|_| panic!("the example of {variable} is valid"))
    })
}

fn web_url(raw: &str) -> Result<Url, String> {
    match Url::parse(raw) {
        Ok(url)
            if matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none() && matches!(url.path(), "" | "/") =>
        {
            Ok(url)
        }
        _ => Err("not an http(s) address without a path".into()),
    }
}

/// The engine's memory where the system does not tell how much there is: 4 GiB.
const MEMORY_BYTES_UNTOLD: u64 = 4 << 30;

/// A budget that the machine could hold. More would be lent by the system, which then ends the portal.
fn engine_memory(raw: &str, memory: Option<MachineMemory>) -> Result<u64, String> {
    let bytes = raw.parse::<u64>().map_err(|_| "not a number of bytes")?;
    match memory.filter(|memory| memory.total_bytes < bytes) {
        Some(memory) => Err(format!("more than the {} bytes that this machine, or its container, has", memory.total_bytes)),
        None => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_set_is_a_working_portal() {
        let config = Config::from_lookup(|_| None).expect("defaults are valid");
        assert_eq!(config.url_of("/models"), "http://127.0.0.1:8080/models");
        assert!(!config.is_https());
    }

    #[test]
    fn trusted_proxies_that_make_no_sense_are_told_by_name() {
        let with = |value: &'static str| Config::from_lookup(move |variable| (variable == "SLUICE_TRUSTED_PROXIES").then(|| value.into()));
        assert!(with("10.0.0.0/8, 2001:db8::/32").is_ok());
        assert!(Config::from_lookup(|_| None).expect("the default").trusted_proxies.contains([127, 0, 0, 1].into()));
        for wrong in ["proxy.example.org", "10.0.0.0/33", "10.0.0.0/8 192.168.0.1", "10.0.0.1/8", "10.0.0.0/"] {
            let faults = with(wrong).expect_err(wrong);
            assert_eq!(faults.iter().map(|f| f.variable).collect::<Vec<_>>(), ["SLUICE_TRUSTED_PROXIES"], "{wrong}");
            let told = faults[0].to_string();
            assert!(told.contains(wrong) && told.contains("SLUICE_TRUSTED_PROXIES=127.0.0.0/8,::1"), "{told}");
        }
    }

    #[test]
    fn the_engine_gets_half_of_the_machine_and_never_more_than_all_of_it() {
        let machine = Some(MachineMemory { total_bytes: 6_000_000_000, available_bytes: 100 });
        let with = |value: Option<&'static str>| {
            Config::on_machine(machine, move |variable| (variable == "SLUICE_ENGINE_MEMORY_BYTES").then(|| value.map(str::to_owned))?)
        };
        assert_eq!(with(None).expect("the default").engine.memory_bytes, 3_000_000_000);
        assert_eq!(with(Some("6000000000")).expect("all there is").engine.memory_bytes, 6_000_000_000);
        let faults = with(Some("6000000001")).expect_err("more than there is");
        assert_eq!(faults.iter().map(|fault| fault.variable).collect::<Vec<_>>(), ["SLUICE_ENGINE_MEMORY_BYTES"]);
        assert!(faults[0].problem.contains("6000000001") && faults[0].problem.contains("6000000000"), "{}", faults[0]);
        assert!(Config::on_machine(None, |_| None).expect("where nobody tells").engine.memory_bytes > 0);
    }

    #[test]
    fn the_engine_s_device_is_one_of_three() {
        let with = |value: Option<&'static str>| {
            Config::from_lookup(move |variable| (variable == "SLUICE_ENGINE_DEVICE").then(|| value.map(str::to_owned))?)
        };
        assert_eq!(with(None).expect("the default").engine.device, DeviceChoice::Auto);
        for choice in DeviceChoice::ALL {
            assert_eq!(with(Some(choice.name())).expect("a device").engine.device, choice);
        }
        let faults = with(Some("gpu")).expect_err("no such device");
        assert!(faults[0].to_string().contains("\"gpu\" is not one of auto, cpu, cuda"), "{}", faults[0]);
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let wrong = |variable: &str| match variable {
            "SLUICE_LISTEN" => Some("everywhere".into()),
            "SLUICE_PUBLIC_URL" => Some("ftp://x".into()),
            "SLUICE_ENGINE_MEMORY_BYTES" => Some("lots".into()),
            _ => None,
        };
        let faults = Config::from_lookup(wrong).expect_err("three faults");
        assert_eq!(
            faults.iter().map(|f| f.variable).collect::<Vec<_>>(),
            ["SLUICE_LISTEN", "SLUICE_PUBLIC_URL", "SLUICE_ENGINE_MEMORY_BYTES"]
        );
    }
}
