//! How often somebody may do what is worth attacking. In memory: a restart forgives.

use std::num::NonZeroU32;
use std::time::Duration;

use actix_web::HttpRequest;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::error::Error;

/// So many tries at once per key, then one every `refill`.
pub struct Limit {
    limiter: DefaultKeyedRateLimiter<String>,
}

impl Limit {
    /// `burst` at once, then one every `refill`.
    pub fn new(burst: u32, refill: Duration) -> Self {
        let burst = NonZeroU32::new(burst).expect("a limit allows at least one");
        let quota = Quota::with_period(refill).expect("a refill takes some time").allow_burst(burst);
        Self { limiter: RateLimiter::keyed(quota) }
    }

    /// Counts one try of `key`. Errors: [`Error::Limited`] with the time to wait.
    pub fn check(&self, key: &str) -> Result<(), Error> {
        self.limiter.check_key(&key.to_owned()).map_err(|until| {
            let wait = until.wait_time_from(DefaultClock::default().now());
            Error::Limited { retry_after_s: u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1) }
        })
    }

    /// Forgets keys that have all their tries again, so that memory does not grow with visitors.
    pub fn sweep(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }
}

/// Where a request comes from. The forwarded header counts only when a proxy on this machine sent it.
pub fn client_address(request: &HttpRequest) -> String {
    let peer = request.peer_addr().map(|peer| peer.ip());
    let forwarded = request
        .headers()
        .get_all("x-forwarded-for")
        .last()
        .and_then(|value| value.to_str().ok())
        .and_then(|list| list.rsplit(',').next())
        .map(str::trim);
    match (peer, forwarded) {
        (Some(peer), Some(forwarded)) if peer.is_loopback() && forwarded.parse::<std::net::IpAddr>().is_ok() => forwarded.to_owned(),
        (Some(peer), _) => peer.to_string(),
        (None, _) => "unknown".into(),
    }
}
