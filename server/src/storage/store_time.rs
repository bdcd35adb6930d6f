//! What time it is at the store. Signed addresses live for minutes: where the clocks are further apart than these, the portal runs, and every
//! download it sends there is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};

use crate::clock::Clock;

/// Further apart, clocks take most of an address's life (300 s).
const APART_MAX_S: u64 = 200;

/// Reads the `Date` of an answer, and how far this machine's clock is from it.
#[derive(Debug, Clone, Default)]
pub(super) struct StoreTime {
    ahead_s: Arc<AtomicI64>,
}

impl StoreTime {
    /// How the clocks are apart, in words, if that is too far. An answer that told no time is taken for right.
    pub(super) fn apart(&self) -> Option<String> {
        let ahead_s = self.ahead_s.load(Ordering::Relaxed);
        let place = if ahead_s > 0 { "ahead of" } else { "behind" };
        (ahead_s.unsigned_abs() > APART_MAX_S).then(|| format!("the store's is {} s {place} this machine's", ahead_s.unsigned_abs()))
    }
}

impl Intercept for StoreTime {
    fn name(&self) -> &'static str {
        "store time"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.response().headers();
        // A cache's answer tells the time when it was made.
        let told = headers
            .get("date")
            .filter(|_| headers.get("age").is_none())
            .and_then(|date| DateTime::from_str(date, DateTimeFormat::HttpDate).ok());
        if let Some(told) = told {
            // What signs asks the machine, too.
            let now_s = Clock::System.now().unix_timestamp();
            self.ahead_s.store(told.secs().saturating_sub(now_s), Ordering::Relaxed);
        }
        Ok(())
    }
}
