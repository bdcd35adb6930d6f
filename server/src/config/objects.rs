//! Where the weights lie, and how their bytes reach people: `SLUICE_OBJECTS`, `SLUICE_OBJECTS_DELIVERY` and the usual `AWS_*`.

use std::fmt;
use std::path::{Path, PathBuf};

use url::Url;

use super::Fault;

/// The store of weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectsConfig {
    /// A folder on this machine.
    Folder(PathBuf),
    /// A bucket behind the S3 interface.
    S3(Box<S3Config>),
}

/// A bucket, and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Config {
    /// The bucket.
    pub bucket: String,
    /// What the keys of our objects begin with: empty, or ending with `/`.
    pub prefix: String,
    /// `AWS_ENDPOINT_URL`: the server, where it is not Amazon's. The bucket then stands in the path and not in the host name.
    pub endpoint: Option<Url>,
    /// `AWS_REGION`.
    pub region: String,
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_key: Secret,
    /// `AWS_SESSION_TOKEN`.
    pub session_token: Option<Secret>,
}

/// How the bytes of a bucket reach who may have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// By a signed address of short life: they do not pass through the portal.
    Redirect,
    /// Through the portal, for stores that people cannot reach.
    Gateway,
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for the one who has to send it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl fmt::Display for ObjectsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ObjectsConfig::Folder(folder) => write!(f, "the folder {}", folder.display()),
            ObjectsConfig::S3(s3) => match &s3.endpoint {
                Some(endpoint) => write!(f, "the bucket {} at {endpoint}", s3.bucket),
                None => write!(f, "the bucket {} in {}", s3.bucket, s3.region),
            },
        }
    }
}

/// Reads the store's settings and notes every fault.
pub(super) fn read(faults: &mut Vec<Fault>, data_dir: &Path, get: &dyn Fn(&'static str) -> Option<String>) -> ObjectsConfig {
    match get("SLUICE_OBJECTS") {
        None => ObjectsConfig::Folder(data_dir.join("objects")),
        Some(raw) => match raw.strip_prefix("s3://") {
            None => ObjectsConfig::Folder(PathBuf::from(raw)),
            Some(place) => ObjectsConfig::S3(Box::new(bucket(faults, &raw, place, get))),
        },
    }
}

/// Reads how bytes are delivered. A redirect leads away from the portal; to another port of the same host, clients would carry
/// their tokens along, which the store then takes for a second signature and refuses.
pub(super) fn read_delivery(
    faults: &mut Vec<Fault>,
    public_url: &Url,
    objects: &ObjectsConfig,
    get: &dyn Fn(&'static str) -> Option<String>,
) -> Delivery {
    let raw = get("SLUICE_OBJECTS_DELIVERY");
    let delivery = match raw.as_deref() {
        None | Some("redirect") => Delivery::Redirect,
        Some("gateway") => Delivery::Gateway,
        Some(other) => {
            faults.push(fault("SLUICE_OBJECTS_DELIVERY", format!("{other:?} is not one of redirect, gateway"), "gateway"));
            Delivery::Gateway
        }
    };
    if let ObjectsConfig::S3(s3) = objects
        && delivery == Delivery::Redirect
        && let Some(endpoint) = &s3.endpoint
        && endpoint.host() == public_url.host()
    {
        let host = endpoint.host_str().unwrap_or_default();
        let problem = format!(
            "redirect needs a store under another host name than the portal's, and both are {host}: clients send the portal's tokens to \
             every port of a host. Give the store another name in AWS_ENDPOINT_URL, or let the bytes pass through the portal"
        );
        faults.push(fault("SLUICE_OBJECTS_DELIVERY", problem, "gateway"));
    }
    delivery
}

fn bucket(faults: &mut Vec<Fault>, raw: &str, place: &str, get: &dyn Fn(&'static str) -> Option<String>) -> S3Config {
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    let prefix = prefix.trim_matches('/');
    let sane = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if !(3..=63).contains(&bucket.len()) || !sane(bucket) || !prefix.split('/').all(sane) || prefix.split('/').any(|part| part == "..") {
        let problem = format!("{raw:?} names no bucket and prefix of letters, digits, '-', '_' and '.'");
        faults.push(fault("SLUICE_OBJECTS", problem, "s3://weights/sluice"));
    }
    let endpoint = get("AWS_ENDPOINT_URL").and_then(|raw| match Url::parse(&raw) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none() => Some(url),
        _ => {
            faults.push(fault("AWS_ENDPOINT_URL", format!("{raw:?} is not an http(s) address"), "https://s3.example.org"));
            None
        }
    });
    let region = match (get("AWS_REGION"), &endpoint) {
        (Some(region), _) => region,
        // A server of one's own rarely has regions, and signs with the first.
        (None, Some(_)) => "us-east-1".to_owned(),
        (None, None) => {
            faults.push(fault("AWS_REGION", "needed for the bucket of SLUICE_OBJECTS".into(), "eu-central-1"));
            String::new()
        }
    };
    let mut needed = |variable, example| {
        get(variable).unwrap_or_else(|| {
            faults.push(fault(variable, "needed for the bucket of SLUICE_OBJECTS".into(), example));
            String::new()
        })
    };
    let access_key = needed("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE");
    let secret_key = Secret(needed("AWS_SECRET_ACCESS_KEY", "the secret that belongs to it"));
    S3Config {
        bucket: bucket.to_owned(),
        prefix: if prefix.is_empty() { String::new() } else { format!("{prefix}/") },
        endpoint,
        region,
        access_key,
        secret_key,
        session_token: get("AWS_SESSION_TOKEN").map(Secret),
    }
}

fn fault(variable: &'static str, problem: String, example: &'static str) -> Fault {
    Fault { variable, problem, example }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn with(settings: &'static [(&'static str, &'static str)]) -> Result<Config, Vec<Fault>> {
        Config::from_lookup(|variable| settings.iter().find(|(name, _)| *name == variable).map(|(_, value)| (*value).to_owned()))
    }

    const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "hidden")];

    #[test]
    fn a_bucket_is_read_with_its_prefix_and_its_secret_is_not_printed() {
        let config = with(&[
            ("SLUICE_OBJECTS", "s3://weights/a/b/"),
            ("AWS_ENDPOINT_URL", "http://localhost:8333"),
            KEYS[0],
            KEYS[1],
            ("AWS_SESSION_TOKEN", "hidden too"),
        ])
        .expect("all is said");
        let ObjectsConfig::S3(s3) = &config.objects else { panic!("a bucket") };
        assert_eq!((s3.bucket.as_str(), s3.prefix.as_str(), s3.region.as_str()), ("weights", "a/b/", "us-east-1"));
        assert_eq!(config.delivery, Delivery::Redirect);
        assert!(!format!("{config:?}").contains("hidden"), "{config:?}");
    }

    #[test]
    fn what_a_bucket_misses_is_told_at_once() {
        let faults = with(&[("SLUICE_OBJECTS", "s3://x"), ("SLUICE_OBJECTS_DELIVERY", "pigeon")]).expect_err("much is missing");
        assert_eq!(
            faults.iter().map(|fault| fault.variable).collect::<Vec<_>>(),
            ["SLUICE_OBJECTS", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "SLUICE_OBJECTS_DELIVERY"]
        );
    }

    #[test]
    fn a_store_on_the_portal_s_own_host_is_not_redirected_to() {
        let same = [("SLUICE_OBJECTS", "s3://weights"), ("AWS_ENDPOINT_URL", "http://127.0.0.1:8333"), KEYS[0], KEYS[1]];
        let refused = with(Box::leak(Box::new(same))).expect_err("one host");
        assert!(refused[0].to_string().contains("SLUICE_OBJECTS_DELIVERY=gateway"), "{}", refused[0]);
        let through = [same[0], same[1], same[2], same[3], ("SLUICE_OBJECTS_DELIVERY", "gateway")];
        assert_eq!(with(Box::leak(Box::new(through))).expect("by the gateway").delivery, Delivery::Gateway);
    }
}
