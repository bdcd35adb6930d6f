//! Signed addresses: whoever holds one may read one object, for a short time, from the store itself.

use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;

use super::{ObjectKey, Problem, S3};

/// How the store should name and type the bytes, since it knows them by a digest alone.
#[derive(Debug, Clone)]
pub struct Shown {
    /// `Content-Type`.
    pub media_type: &'static str,
    /// `Content-Disposition`.
    pub disposition: String,
    /// `Cache-Control`.
    pub caching: &'static str,
}

impl S3 {
    /// An address at which the object can be read for `life`: the range that was asked for (a `Range` header's text, which has to be sent along
    /// just so), or all of it. Nobody is asked for it: it is computed here.
    pub async fn signed_get(&self, key: &ObjectKey, shown: &Shown, range: Option<&str>, life: Duration) -> Result<String, Problem> {
        let life = PresigningConfig::expires_in(life).map_err(|cause| Problem::Other(cause.to_string()))?;
        let asked = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(self.name(key))
            .set_range(range.map(str::to_owned))
            .response_content_type(shown.media_type)
            .response_content_disposition(&shown.disposition)
            .response_cache_control(shown.caching);
        let signed = asked.presigned(life).await.map_err(|error| self.problem(&error))?;
        Ok(signed.uri().to_owned())
    }
}
