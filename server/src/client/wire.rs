//! Asking a portal or a mirror over HTTP: what an answer means, and when silence is an answer, too.
//!
//! The token goes to the portal alone. A redirect to another host is followed without it; the signed URL it leads to is used once,
//! so it cannot expire on us.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_RANGE, HeaderMap, LOCATION, RANGE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

use super::backoff::{self, Tries};
use super::endpoint::Endpoint;
use super::fault::Fault;
use super::lanes::Lanes;
use super::meter::Meter;
use crate::clock::Clock;

/// How long a connection may take to come about.
const CONNECT_WAIT: Duration = Duration::from_secs(15);
/// In each time of patience at least so many bytes have to come; less is a stall.
const TRICKLE_BYTES: u64 = 4 << 10;
/// Redirects in a row.
const HOPS_MAX: usize = 5;
/// Failures in a row before we stop asking.
pub(super) const TRIES_MAX: u32 = 9;
/// Waits shorter than this are our own business.
const WAIT_MIN: Duration = Duration::from_secs(1);
/// Waits longer than this are for the person, not for the program.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(3600);
/// Of a refusal so much is read.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// The connections of one pull, and whom they may show the token.
#[derive(Debug)]
pub(super) struct Wire {
    client: Client,
    endpoint: Endpoint,
    token: Option<String>,
    patience: Duration,
    /// How many requests at once the portal lets us have.
    pub(super) lanes: Lanes,
}

/// Why an answer is not what was asked for, by what to do about it.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Asking again will not help.
    Final(Fault),
    /// Whoever answered asks to come back after so long.
    Wait(Duration, String),
    /// Ask again, a little later.
    Again(String),
    /// What came is not what was asked for: whoever sent it is not to be asked for this again.
    Wrong(String),
}

impl Wire {
    /// Connections to `endpoint`. Where nothing comes for `patience`, the request is given up and made again.
    pub(super) fn new(endpoint: &Endpoint, token: Option<&str>, patience: Duration) -> Result<Self, Fault> {
        // Whoever installed a provider first has chosen the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(concat!("sluice/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .connect_timeout(CONNECT_WAIT.min(patience))
            .pool_idle_timeout(Duration::from_secs(20))
            .build()
            .map_err(|cause| Fault::Failed(format!("cannot speak HTTP on this machine: {}", chain(&cause))))?;
        Ok(Self { client, endpoint: endpoint.clone(), token: token.map(str::to_owned), patience, lanes: Lanes::new() })
    }

    /// How long nothing may come.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// The portal.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// A small answer of the portal as a whole; asks again while that may help.
    pub(super) async fn whole(&self, path: &str, bytes_max: usize, meter: &Meter) -> Result<Vec<u8>, Fault> {
        let mut tries = Tries::default();
        loop {
            let trouble = match self.try_whole(self.endpoint.url(path), bytes_max).await {
                Ok(bytes) => return Ok(bytes),
                Err(trouble) => trouble,
            };
            self.recover(trouble, &mut tries, meter).await?;
        }
    }

    /// The same, query included, parsed as JSON.
    pub(super) async fn json<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        query: Option<&str>,
        bytes_max: usize,
        meter: &Meter,
    ) -> Result<T, Fault> {
        let mut tries = Tries::default();
        let mut url = self.endpoint.url(path);
        url.set_query(query);
        loop {
            let trouble = match self.try_whole(url.clone(), bytes_max).await {
                Ok(bytes) => match serde_json::from_slice(&bytes) {
                    Ok(answer) => return Ok(answer),
                    Err(cause) => Trouble::Again(format!("{url} is not what a portal answers ({cause})")),
                },
                Err(trouble) => trouble,
            };
            self.recover(trouble, &mut tries, meter).await?;
        }
    }

    /// Sends a form to the portal; gives the status and the body, whatever they are.
    pub(super) async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Result<(u16, Vec<u8>), Trouble> {
        let url = self.endpoint.url(path);
        let request = self.client.post(url.clone()).form(fields);
        let response =
            timeout(self.patience, request.send()).await.map_err(|_| self.silent())?.map_err(|cause| Self::broken(true, &url, &cause))?;
        let status = response.status().as_u16();
        Ok((status, self.body(response, REFUSAL_BYTES_MAX).await?))
    }

    /// Waits as the trouble asks for, or gives up.
    pub(super) async fn recover(&self, trouble: Trouble, tries: &mut Tries, meter: &Meter) -> Result<(), Fault> {
        let wait = match trouble {
            Trouble::Final(fault) => return Err(fault),
            Trouble::Wait(wait, why) if wait >= WAIT_MIN => {
                if wait > WAIT_MAX {
                    let wait = words(wait);
                    return Err(Fault::Failed(format!(
                        "{why}\nIt asks to come back in {wait}. What has arrived is kept: run the same command again then, it goes on where it was"
                    )));
                }
                if wait > Duration::from_secs(3) {
                    meter.note(format!("{why} Waiting {}.", words(wait)));
                }
                backoff::spread(wait)
            }
            // Who says "at once" again and again is a failure like others.
            Trouble::Again(why) | Trouble::Wrong(why) | Trouble::Wait(_, why) => {
                let wait = tries.failed();
                if tries.count() > TRIES_MAX {
                    return Err(Fault::Failed(format!(
                        "{why}; gave up after {TRIES_MAX} tries. Run the same command again, it goes on where it was"
                    )));
                }
                wait
            }
        };
        tokio::time::sleep(wait).await;
        Ok(())
    }

    async fn try_whole(&self, url: Url, bytes_max: usize) -> Result<Vec<u8>, Trouble> {
        let response = self.get(url, None).await?;
        if response.status().as_u16() != 200 {
            return Err(Trouble::Again(format!("{} answered {}", response.url(), response.status().as_u16())));
        }
        self.body(response, bytes_max).await
    }

    /// Asks for `length` bytes from `start`, and makes sure that it is these that will come.
    pub(super) async fn range(&self, url: Url, start: u64, length: u64, size_bytes: u64) -> Result<Body, Trouble> {
        let asked = format!("bytes {start}-{}/{size_bytes}", start + length - 1);
        let response = self.get(url, Some(format!("bytes={start}-{}", start + length - 1))).await?;
        let from = response.url().host_str().unwrap_or_default().to_owned();
        match (response.status().as_u16(), header(response.headers(), CONTENT_RANGE.as_str())) {
            (206, Some(range)) if range.trim() == asked => {}
            (206, range) => {
                return Err(Trouble::Wrong(format!("{from} sent {:?} where {asked:?} was asked for", range.unwrap_or("nothing"))));
            }
            // Where all of it was asked for, all of it may come as such.
            (200, _) if start == 0 && length == size_bytes => {}
            (status, _) => return Err(Trouble::Wrong(format!("{from} ignored the range that was asked for ({status})"))),
        }
        if header(response.headers(), CONTENT_ENCODING.as_str()).is_some_and(|how| how != "identity") {
            return Err(Trouble::Wrong(format!("{from} sent the bytes in another form than they have")));
        }
        if response.content_length().is_some_and(|announced| announced != length) {
            return Err(Trouble::Wrong(format!("{from} announced another length than was asked for")));
        }
        Ok(Body { response, left: length, window: Window::new(self.patience), from })
    }

    /// Follows redirects to an answer that has what was asked for.
    async fn get(&self, mut url: Url, range: Option<String>) -> Result<Response, Trouble> {
        let (mut home, lanes) = (true, self.lanes.open());
        for _ in 0..HOPS_MAX {
            // Who was led away and back is led by somebody else.
            home = home && self.endpoint.is_home_of(&url);
            let mut request = self.client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
            if let Some(token) = self.token.as_ref().filter(|_| home) {
                request = request.bearer_auth(token);
            }
            if let Some(range) = &range {
                request = request.header(RANGE, range);
            }
            let response = timeout(self.patience, request.send())
                .await
                .map_err(|_| self.silent())?
                .map_err(|cause| Self::broken(home, &url, &cause))?;
            if home {
                self.lanes.heed(response.headers());
            }
            match response.status().as_u16() {
                200 | 206 => return Ok(response),
                301 | 302 | 303 | 307 | 308 => {
                    let next = header(response.headers(), LOCATION.as_str()).and_then(|to| url.join(to).ok());
                    let next = next.ok_or_else(|| Trouble::Again(format!("{} redirects to nowhere", host(&url))))?;
                    if url.scheme() == "https" && next.scheme() != "https" {
                        return Err(Trouble::Final(Fault::Failed(format!(
                            "{} redirects to {next} without TLS, which is not followed",
                            host(&url)
                        ))));
                    }
                    url = next;
                }
                status => {
                    if home && status == 429 {
                        self.lanes.crowded(lanes);
                    }
                    return Err(self.refused(status, home, response).await);
                }
            }
        }
        Err(Trouble::Again(format!("{} redirects in a circle", host(&url))))
    }

    /// What an answer means that is neither the bytes nor the way to them.
    async fn refused(&self, status: u16, home: bool, response: Response) -> Trouble {
        let who = host(response.url());
        let told = backoff::told(response.headers());
        match status {
            429 | 503 => match told.filter(|_| home) {
                Some(wait) => Trouble::Wait(wait, self.busy(status, &who, &response)),
                // A store is asked again through the portal, a mirror less and less: neither says how long we wait.
                None => Trouble::Again(format!("{who} is busy ({status})")),
            },
            408 | 425 | 500.. => Trouble::Again(format!("{who} answered {status}")),
            416 => Trouble::Wrong(format!("{who} has a shorter file than was published")),
            // The signed URL of a store, which is asked for anew; or a mirror, which is asked no more.
            _ if !home => Trouble::Wrong(format!("{who} answered {status}")),
            _ => {
                let hidden = header(response.headers(), "x-error-code") == Some("RepoNotFound");
                let reason = match hidden {
                    true => format!("{who} has no such model, or shows it to nobody who has not signed in"),
                    false => self.reason(response).await,
                };
                Trouble::Final(match status {
                    401 if self.token.is_none() => Fault::NotAllowed(format!(
                        "{reason}\nSign in with `sluice login --endpoint {0}`, or set SLUICE_TOKEN to a token from {0}/account/tokens",
                        self.endpoint
                    )),
                    401 => Fault::NotAllowed(format!(
                        "{reason}\nThe token is unknown, expired or revoked: `sluice login --endpoint {0}`, or a new one from {0}/account/tokens",
                        self.endpoint
                    )),
                    403 | 410 | 451 => Fault::NotAllowed(reason),
                    _ => Fault::Failed(format!("{who} answered {status}: {reason}")),
                })
            }
        }
    }

    /// Why the portal wants us to wait, in its own words where it says them.
    fn busy(&self, status: u16, who: &str, response: &Response) -> String {
        match header(response.headers(), "x-error-message") {
            Some(said) => format!("{who} gives nothing at the moment ({status}): {said}"),
            None => format!("{who} is busy or has given as much as it may ({status})."),
        }
    }

    /// Why the portal refuses, in its own words: as the body has them, where there is one, because a header has to do without their marks.
    async fn reason(&self, response: Response) -> String {
        let plain = header(response.headers(), "x-error-message").map(str::to_owned);
        let body = self.body(response, REFUSAL_BYTES_MAX).await.unwrap_or_default();
        let said: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
        let said = said.as_ref().and_then(|said| ["detail", "error", "title"].iter().find_map(|key| said.get(key)?.as_str()));
        said.map(str::to_owned).or(plain).unwrap_or_else(|| "the portal gave no reason".into())
    }

    async fn body(&self, mut response: Response, bytes_max: usize) -> Result<Vec<u8>, Trouble> {
        let mut window = Window::new(self.patience);
        let mut body = Vec::new();
        while let Some(piece) = window.next(&mut response).await? {
            if body.len() + piece.len() > bytes_max {
                return Err(Trouble::Final(Fault::Failed(format!(
                    "{} answers with more than {bytes_max} bytes, which is not read",
                    response.url()
                ))));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    fn silent(&self) -> Trouble {
        Trouble::Again(format!("nothing came for {}", words(self.patience)))
    }

    /// A request to `url` that failed on its way. `home`: to the portal, so that asking again cannot help where its certificate is out of date.
    fn broken(home: bool, url: &Url, cause: &reqwest::Error) -> Trouble {
        if !is_out_of_date(cause) {
            return Trouble::Again(chain(cause));
        }
        let why = format!(
            "{}\nThe certificate of {} is good at another time: this machine's clock says {}. Set the clock if it is wrong",
            chain(cause),
            host(url),
            Clock::System.now().date()
        );
        if home { Trouble::Final(Fault::Failed(why)) } else { Trouble::Again(why) }
    }
}

/// The bytes of a range, as they come.
#[derive(Debug)]
pub(super) struct Body {
    response: Response,
    left: u64,
    window: Window,
    /// The host that sends them.
    pub(super) from: String,
}

impl Body {
    /// The next piece; `None` after the last. An end that comes too early is trouble, and so is a byte too many.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Trouble> {
        if self.left == 0 {
            return Ok(None);
        }
        let piece = self.window.next(&mut self.response).await?;
        let piece = piece.ok_or_else(|| Trouble::Again(format!("{} broke off {} bytes before the end", self.from, self.left)))?;
        self.left = self
            .left
            .checked_sub(piece.len() as u64)
            .ok_or_else(|| Trouble::Wrong(format!("{} sent more bytes than were asked for", self.from)))?;
        Ok(Some(piece))
    }
}

/// A time in which something has to come.
#[derive(Debug)]
struct Window {
    patience: Duration,
    ends: Instant,
    came: u64,
}

impl Window {
    fn new(patience: Duration) -> Self {
        Self { patience, ends: Instant::now() + patience, came: 0 }
    }

    async fn next(&mut self, response: &mut Response) -> Result<Option<Bytes>, Trouble> {
        let piece = match timeout_at(self.ends, response.chunk()).await {
            Ok(piece) => piece.map_err(|cause| Trouble::Again(chain(&cause)))?,
            Err(_) => return Err(Trouble::Again(format!("{} stalled for {}", host(response.url()), words(self.patience)))),
        };
        self.came += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        if self.came >= TRICKLE_BYTES {
            self.ends = Instant::now() + self.patience;
            self.came = 0;
        }
        Ok(piece)
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn host(url: &Url) -> String {
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}{port}", url.host_str().unwrap_or_default())
}

/// An error with everything that lies beneath it, without the URL twice.
fn chain(cause: &dyn std::error::Error) -> String {
    let mut text = cause.to_string();
    let mut below = cause.source();
    while let Some(cause) = below {
        let more = cause.to_string();
        if !text.contains(&more) {
            text += &format!(": {more}");
        }
        below = cause.source();
    }
    text
}

/// Whether it is a certificate that is good at another time than our clock shows.
fn is_out_of_date(cause: &(dyn std::error::Error + 'static)) -> bool {
    use rustls::CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    let mut below = Some(cause);
    while let Some(cause) = below {
        if let Some(rustls::Error::InvalidCertificate(why)) = cause.downcast_ref() {
            return matches!(why, Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. });
        }
        // An error of reading or writing hides what it was made of from those who ask for its source.
        let within = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        below = within.map(|within| within as &(dyn std::error::Error + 'static)).or_else(|| cause.source());
    }
    false
}

/// "20 s", "5 min", "13 h"
pub(super) fn words(wait: Duration) -> String {
    match wait.as_secs() {
        0 => format!("{} ms", wait.as_millis()),
        seconds @ 1..=99 => format!("{seconds} s"),
        seconds @ 100..=5_999 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{} h", seconds.div_ceil(3600)),
    }
}
