//! How often somebody may do what is worth attacking. In memory: a restart forgives.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use actix_web::HttpRequest;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::config::Networks;
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

/// Where a request comes from, as limits count it: an IPv4 address, or the /64 of an IPv6 address, which is one connection's to
/// choose from freely. `X-Forwarded-For` is believed as far as trusted proxies wrote it.
pub fn client_address(request: &HttpRequest, trusted: &Networks) -> String {
    let Some(peer) = request.peer_addr() else { return "unknown".into() };
    let mut client = peer.ip().to_canonical();
    let headers: Vec<&str> = request.headers().get_all("x-forwarded-for").filter_map(|value| value.to_str().ok()).collect();
    // Every proxy adds on the right whom it heard from; what stands left of the first stranger is that stranger's claim.
    for named in headers.iter().rev().flat_map(|list| list.rsplit(',')) {
        if !trusted.contains(client) {
            break;
        }
        let Some(before) = address(named.trim()) else { break };
        client = before;
    }
    key_of(client)
}

/// An address as proxies write it, some with the port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.parse::<IpAddr>().ok();
    bare.or_else(|| text.parse::<SocketAddr>().ok().map(|with_port| with_port.ip())).map(|address| address.to_canonical())
}

fn key_of(client: IpAddr) -> String {
    match client {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("{}/64", Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn client(peer: &str, forwarded: &[&str], trusted: &str) -> String {
        let peer = SocketAddr::new(peer.parse().expect("an address"), 40_000);
        let request = forwarded
            .iter()
            .fold(TestRequest::default().peer_addr(peer), |request, value| request.append_header(("x-forwarded-for", *value)));
        client_address(&request.to_http_request(), &trusted.parse().expect("networks"))
    }

    #[test]
    fn a_stranger_cannot_choose_where_they_come_from() {
        assert_eq!(client("192.0.2.1", &["198.51.100.7"], "127.0.0.1"), "192.0.2.1");
        assert_eq!(client("127.0.0.1", &["198.51.100.7"], "127.0.0.1"), "198.51.100.7");
        assert_eq!(client("127.0.0.1", &["203.0.113.9, 198.51.100.7"], "127.0.0.1"), "198.51.100.7", "the left one is a claim");
        assert_eq!(client("127.0.0.1", &["203.0.113.9", "198.51.100.7"], "127.0.0.1"), "198.51.100.7", "in headers of their own, too");
        assert_eq!(client("127.0.0.1", &["nonsense"], "127.0.0.1"), "127.0.0.1");
    }

    #[test]
    fn a_chain_of_trusted_proxies_is_followed_to_its_beginning() {
        let trusted = "10.0.0.0/8, 127.0.0.1";
        assert_eq!(client("10.1.2.3", &["203.0.113.9, 198.51.100.7:4711, 10.9.9.9"], trusted), "198.51.100.7");
        assert_eq!(client("::ffff:10.1.2.3", &["198.51.100.7"], trusted), "198.51.100.7", "as a socket for both kinds tells it");
    }

    #[test]
    fn an_ipv6_client_is_one_whichever_of_its_addresses_it_uses() {
        let one = client("2001:db8:1:2:aaaa::1", &[], "127.0.0.1");
        assert_eq!(one, "2001:db8:1:2::/64");
        assert_eq!(one, client("2001:db8:1:2:bbbb:cccc:dddd:eeee", &[], "127.0.0.1"));
        assert_ne!(one, client("2001:db8:1:3::1", &[], "127.0.0.1"));
        assert_eq!(client("::1", &["2001:db8:1:2::7"], "::1"), one);
    }
}
