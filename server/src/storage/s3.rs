//! The object store as a bucket behind the S3 interface: Amazon's, or any server that speaks it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use futures_util::StreamExt;
use futures_util::stream;

use super::copies::Copies;
use super::staging::Staging;
use super::store_time::StoreTime;
use super::{Bytestream, ObjectKey, Problem};
use crate::config::S3Config;

/// A store that takes longer to take a connection is away.
const CONNECT_WAIT: Duration = Duration::from_secs(4);
/// A store that has a whole request and says nothing for so long is away.
const ANSWER_WAIT: Duration = Duration::from_secs(60);
/// How often one request is tried, with pauses between that grow.
const TRIES: u32 = 4;
/// How long a probe waits.
const PROBE_WAIT: Duration = Duration::from_secs(5);

/// A bucket of objects.
#[derive(Debug, Clone)]
pub struct S3 {
    pub(super) client: Client,
    pub(super) bucket: String,
    prefix: String,
    staging: Staging,
    copies: Copies,
    signs_addresses: bool,
}

impl S3 {
    /// The bucket of these settings, and the folders on this machine for what is on its way there and for copies of at most so many bytes.
    /// Nobody is asked yet: see [`S3::check`].
    pub fn open(config: &S3Config, data_dir: &Path, copies_bytes_max: u64) -> io::Result<Self> {
        let token = config.session_token.as_ref().map(|token| token.reveal().to_owned());
        let credentials = Credentials::new(&config.access_key, config.secret_key.reveal(), token, None, "the environment");
        let https = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let mut builder = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(https)
            .credentials_provider(credentials)
            .region(Region::new(config.region.clone()))
            .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_WAIT).read_timeout(ANSWER_WAIT).build())
            .retry_config(RetryConfig::standard().with_max_attempts(TRIES))
            // We send the SHA-256 of everything, and compare what comes back with digests of our own.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        if let Some(endpoint) = &config.endpoint {
            builder = builder.endpoint_url(endpoint.as_str().trim_end_matches('/')).force_path_style(true);
        }
        Ok(Self {
            client: Client::from_conf(builder.build()),
            bucket: config.bucket.clone(),
            prefix: config.prefix.clone(),
            staging: Staging::open(&data_dir.join("staging"))?,
            copies: Copies::open(data_dir.join("copies"), copies_bytes_max)?,
            signs_addresses: true,
        })
    }

    /// Whether its addresses are given out, which live for minutes: only then it matters that clocks are minutes apart.
    pub(super) fn signing(self, signs_addresses: bool) -> Self {
        Self { signs_addresses, ..self }
    }

    /// Where things lie on their way in.
    pub fn staging(&self) -> &Staging {
        &self.staging
    }

    /// Where a verified copy of the object lies on this disk.
    pub async fn on_disk(&self, key: &ObjectKey, size_bytes: u64) -> Result<PathBuf, Problem> {
        self.copies.path(self, &self.staging, key, size_bytes).await
    }

    /// Whether the bucket is there and lets us in, and has our time.
    pub async fn check(&self) -> Result<(), Problem> {
        let time = StoreTime::default();
        let once = aws_sdk_s3::config::Config::builder().retry_config(RetryConfig::disabled()).interceptor(time.clone());
        let asked = self.client.list_objects_v2().bucket(&self.bucket).prefix(&self.prefix).max_keys(1);
        match tokio::time::timeout(PROBE_WAIT, asked.customize().config_override(once).send()).await {
            Ok(answer) => {
                answer.map_err(|error| self.problem(&error))?;
                match time.apart().filter(|_| self.signs_addresses) {
                    Some(apart) => Err(Problem::Clock(apart)),
                    None => Ok(()),
                }
            }
            Err(_) => Err(Problem::Unreachable(format!("no answer within {} s", PROBE_WAIT.as_secs()))),
        }
    }

    /// The object's size in bytes, or nothing if it is not here.
    pub async fn size(&self, key: &ObjectKey) -> Result<Option<u64>, Problem> {
        match self.client.head_object().bucket(&self.bucket).key(self.name(key)).send().await {
            Ok(head) => Ok(Some(unsigned(head.content_length()))),
            Err(error) => match self.problem(&error) {
                Problem::Missing(_) => Ok(None),
                problem => Err(problem),
            },
        }
    }

    /// `len` bytes from `start` of the object, which has `size_bytes`, as they come. What ends too early ends with an error.
    pub async fn slice(&self, key: &ObjectKey, size_bytes: u64, start: u64, len: u64) -> Result<Bytestream, Problem> {
        let asked = self.client.get_object().bucket(&self.bucket).key(self.name(key));
        // No range names no bytes at all: of an object that has some, one is asked for then.
        let asked = if size_bytes == 0 { asked } else { asked.range(format!("bytes={start}-{}", start + len.max(1) - 1)) };
        let answer = asked.send().await.map_err(|error| self.problem(&error))?;
        let found = match answer.content_range().and_then(|range| range.rsplit('/').next()?.parse().ok()) {
            Some(found) => found,
            None => unsigned(answer.content_length()),
        };
        if found != size_bytes {
            return Err(Problem::Spoilt(format!("{}: has {found} bytes in the store, not {size_bytes}", key.path())));
        }
        if len == 0 {
            return Ok(stream::empty().boxed());
        }
        Ok(stream::try_unfold((answer.body, len), |(mut body, left): (ByteStream, u64)| async move {
            match body.next().await.transpose().map_err(io::Error::other)? {
                Some(chunk) => {
                    let left = left.checked_sub(chunk.len() as u64).ok_or_else(|| io::Error::other("the store sent too much"))?;
                    Ok(Some((chunk, (body, left))))
                }
                None if left == 0 => Ok(None),
                None => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        })
        .boxed())
    }

    /// Removes the object; that it is not there is no error.
    pub async fn remove(&self, key: &ObjectKey) -> Result<(), Problem> {
        let removed = self.client.delete_object().bucket(&self.bucket).key(self.name(key)).send().await;
        removed.map(|_| ()).map_err(|error| self.problem(&error))
    }

    /// Every object and its size.
    pub async fn list(&self) -> Result<Vec<(ObjectKey, u64)>, Problem> {
        let mut pages = self.client.list_objects_v2().bucket(&self.bucket).prefix(&self.prefix).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.problem(&error))?;
            found.extend(page.contents().iter().filter_map(|object| {
                let key = ObjectKey::named(object.key()?.rsplit('/').next()?)?;
                (self.name(&key) == object.key()?).then(|| (key, unsigned(object.size())))
            }));
        }
        Ok(found)
    }

    /// The object's key in the bucket.
    pub(super) fn name(&self, key: &ObjectKey) -> String {
        format!("{}{}", self.prefix, key.path())
    }

    /// What all our keys begin with.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What an error of the SDK means to us.
    pub(super) fn problem<E>(&self, error: &SdkError<E>) -> Problem
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let code = error.as_service_error().and_then(ProvideErrorMetadata::code).map(str::to_owned);
        let said = error.as_service_error().and_then(ProvideErrorMetadata::message).map(str::to_owned);
        let told = match (&code, &said) {
            (Some(code), Some(said)) => format!("{code}: {said}"),
            (Some(code), None) => code.clone(),
            _ => format!("{}", DisplayErrorContext(error)),
        };
        match (code.as_deref(), status) {
            (Some("NoSuchBucket"), _) => Problem::NoBucket(self.bucket.clone()),
            (Some("NoSuchKey" | "NotFound" | "NoSuchUpload"), _) | (None, Some(404)) => Problem::Missing(told),
            (Some("BadDigest" | "XAmzContentChecksumMismatch" | "InvalidDigest"), _) => Problem::Spoilt(told),
            (Some("RequestTimeTooSkewed"), _) => Problem::Clock(told),
            (_, Some(401 | 403)) | (Some("ExpiredToken" | "InvalidToken" | "AuthorizationHeaderMalformed"), _) => Problem::Refused(told),
            (Some("SlowDown" | "RequestTimeout" | "InternalError" | "ServiceUnavailable"), _) | (_, Some(500..) | None) => {
                Problem::Unreachable(told)
            }
            (_, Some(_)) => Problem::Other(told),
        }
    }
}

/// A length of the SDK's, which has a sign.
pub(super) fn unsigned(length: Option<i64>) -> u64 {
    length.and_then(|length| u64::try_from(length).ok()).unwrap_or(0)
}
