//! Bad weather between a client and a portal, or a portal and its bucket: a proxy that delays, drops, cuts, spoils, refuses and lies, as the test tells it to.
//! It speaks just enough HTTP/1.1 for that: one request a connection.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What goes wrong with one request.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// The answer begins so much later.
    Delay(Duration),
    /// The connection ends before an answer.
    Drop,
    /// The body ends after so many bytes.
    Cut(u64),
    /// The body stands still after so many bytes.
    Stall(u64),
    /// The body comes in drops, a few kilobytes a second.
    Trickle,
    /// This bit of the body is another.
    Flip(u64),
    /// A status with an empty body, and when to come back.
    Status(u16, Option<u64>),
    /// Bytes from another place, said to be from there.
    WrongRange,
    /// Bytes from another place, said to be those that were asked for.
    Stale,
    /// The whole file, whatever part was asked for.
    Whole,
    /// The answer of somebody in between: this status, type and body.
    Answer(u16, &'static str, Arc<Vec<u8>>),
    /// Elsewhere.
    Redirect(String),
    /// Of what is sent only so many bytes arrive.
    SentCut(u64),
    /// This bit of what is sent arrives as another.
    SentFlip(u64),
    /// It arrives and is done, and nobody hears the answer.
    Unheard,
}

/// A request as the proxy sees it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// How many came before it.
    pub before: u64,
    /// How many for the same target and range came before it.
    pub again: u64,
    /// How many parts of files are on their way beside it.
    pub beside: u64,
    /// `GET`, say.
    pub method: String,
    /// How many bytes are sent with it.
    pub body_bytes: u64,
    /// Path and query.
    pub target: String,
    /// The first and last byte that are asked for.
    pub range: Part,
    /// The token that is shown.
    pub authorization: Option<String>,
}

impl Asked {
    /// Whether it is for a part of a file.
    pub fn is_chunk(&self) -> bool {
        self.range.is_some()
    }
}

/// The first and last byte of a part, if one is asked for.
pub type Part = Option<(u64, u64)>;
type Rule = dyn Fn(&Asked) -> Option<Trouble> + Send + Sync;

/// A proxy in front of a portal.
pub struct Weather {
    /// `http://127.0.0.1:port`
    pub base: String,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    upstream: String,
    rule: Box<Rule>,
    asked: Mutex<Vec<Asked>>,
    counts: Mutex<HashMap<(String, Part), u64>>,
    chunk_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    /// Held by every request for a part that is on its way.
    under_way: Arc<()>,
}

impl Weather {
    /// Stands before the portal at `base`; `rule` says what goes wrong with each request.
    pub async fn before(base: &str, rule: impl Fn(&Asked) -> Option<Trouble> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            upstream: base.trim_start_matches("http://").to_owned(),
            rule: Box::new(rule),
            asked: Mutex::default(),
            counts: Mutex::default(),
            chunk_bytes: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            under_way: Arc::default(),
        });
        let shared = state.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = shared.clone();
                // Whoever leaves in the middle is what all this is about.
                tokio::spawn(async move { drop(state.serve(client).await) });
            }
        });
        Self { base: format!("http://127.0.0.1:{port}"), state, task }
    }

    /// Every request so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.state.asked.lock().unwrap().clone()
    }

    /// Bytes of parts of files that were sent so far.
    pub fn chunk_bytes(&self) -> u64 {
        self.state.chunk_bytes.load(Ordering::SeqCst)
    }

    /// Bytes that clients sent so far, and that were handed on.
    pub fn sent_bytes(&self) -> u64 {
        self.state.sent_bytes.load(Ordering::SeqCst)
    }
}

impl Drop for Weather {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl State {
    async fn serve(&self, mut client: TcpStream) -> std::io::Result<()> {
        let (head, body) = read_head(&mut client).await?;
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default().to_owned();
        let headers: Vec<(String, String)> =
            lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
        let value = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let mut words = first.split(' ').map(str::to_owned);
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let body_bytes: u64 = value("content-length").and_then(|length| length.parse().ok()).unwrap_or_default();
        let range = value("range").and_then(|range| {
            let (start, end) = range.strip_prefix("bytes=")?.split_once('-')?;
            Some((start.parse().ok()?, end.parse().ok()?))
        });
        let under_way = range.map(|_| self.under_way.clone());
        let asked = {
            let mut asked = self.asked.lock().unwrap();
            let beside = Arc::strong_count(&self.under_way) as u64 - 1 - u64::from(under_way.is_some());
            let mut counts = self.counts.lock().unwrap();
            let count = counts.entry((target.clone(), range)).or_default();
            let (before, again, authorization) = (asked.len() as u64, *count, value("authorization"));
            let this = Asked { before, again, beside, method, body_bytes, target, range, authorization };
            *count += 1;
            asked.push(this.clone());
            this
        };
        let trouble = (self.rule)(&asked);
        let mut asks = range;
        match &trouble {
            Some(Trouble::Delay(time)) => tokio::time::sleep(*time).await,
            Some(Trouble::Drop) => return Ok(()),
            Some(Trouble::Status(status, after)) => {
                let after = after.map_or_else(String::new, |seconds| format!("retry-after: {seconds}\r\n"));
                return answer(&mut client, *status, &format!("{after}content-type: text/html\r\n"), b"<h1>not now</h1>").await;
            }
            Some(Trouble::Answer(status, kind, body)) => {
                return answer(&mut client, *status, &format!("content-type: {kind}\r\n"), body).await;
            }
            Some(Trouble::Redirect(to)) => return answer(&mut client, 302, &format!("location: {to}\r\n"), b"").await,
            Some(Trouble::WrongRange | Trouble::Stale) => asks = range.map(|(start, end)| (start.saturating_sub(1), end - 1)),
            Some(Trouble::Whole) => asks = None,
            Some(Trouble::Cut(_) | Trouble::Stall(_) | Trouble::Trickle | Trouble::Flip(_))
            | Some(Trouble::SentCut(_) | Trouble::SentFlip(_) | Trouble::Unheard)
            | None => {}
        }

        let mut portal = TcpStream::connect(&self.upstream).await?;
        let mut forwarded = format!("{first}\r\nconnection: close\r\n");
        headers
            .iter()
            .filter(|(name, _)| name != "connection" && name != "range")
            .for_each(|(name, value)| forwarded += &format!("{name}: {value}\r\n"));
        if let Some((start, end)) = asks {
            forwarded += &format!("range: bytes={start}-{end}\r\n");
        }
        portal.write_all(format!("{forwarded}\r\n").as_bytes()).await?;
        if !self.send(&mut client, &mut portal, (body, body_bytes), &trouble).await? {
            return Ok(());
        }

        let (mut head, first_bytes) = read_head(&mut portal).await?;
        if matches!(trouble, Some(Trouble::Unheard)) {
            return Ok(());
        }
        if let (Some(Trouble::Stale), Some((start, end)), Some(at)) = (&trouble, range, head.to_lowercase().find("content-range: bytes ")) {
            let line = head[at..].split("\r\n").next().unwrap_or_default().to_owned();
            let size = line.rsplit('/').next().unwrap_or_default();
            head = head.replace(&line, &format!("content-range: bytes {start}-{end}/{size}"));
        }
        let head = head.lines().filter(|line| !line.to_lowercase().starts_with("connection:")).collect::<Vec<_>>().join("\r\n");
        client.write_all(format!("{head}\r\nconnection: close\r\n\r\n").as_bytes()).await?;
        self.relay(client, portal, first_bytes, &trouble, asked.is_chunk()).await
    }

    /// Hands on what the client sends, of which the first bytes are here; says whether all of it was.
    async fn send(
        &self,
        client: &mut TcpStream,
        portal: &mut TcpStream,
        (first, length): (Vec<u8>, u64),
        trouble: &Option<Trouble>,
    ) -> std::io::Result<bool> {
        let (mut sent, mut piece) = (0u64, first);
        loop {
            piece.truncate(usize::try_from(length - sent).unwrap());
            match trouble {
                Some(Trouble::SentFlip(bit)) if (sent..sent + piece.len() as u64).contains(&(bit / 8)) => {
                    piece[usize::try_from(bit / 8 - sent).unwrap()] ^= 1 << (bit % 8);
                }
                Some(Trouble::SentCut(after)) if sent + piece.len() as u64 > *after => {
                    piece.truncate(usize::try_from(after - sent).unwrap());
                    portal.write_all(&piece).await?;
                    return Ok(false);
                }
                _ => {}
            }
            portal.write_all(&piece).await?;
            sent += piece.len() as u64;
            self.sent_bytes.fetch_add(piece.len() as u64, Ordering::SeqCst);
            if sent == length {
                return Ok(true);
            }
            piece.resize(64 << 10, 0);
            let read = client.read(&mut piece).await?;
            if read == 0 {
                return Ok(false);
            }
            piece.truncate(read);
        }
    }

    async fn relay(
        &self,
        mut client: TcpStream,
        mut portal: TcpStream,
        first: Vec<u8>,
        trouble: &Option<Trouble>,
        is_chunk: bool,
    ) -> std::io::Result<()> {
        let (mut sent, mut piece) = (0u64, first);
        loop {
            match trouble {
                Some(Trouble::Flip(bit)) if (sent..sent + piece.len() as u64).contains(&(bit / 8)) => {
                    let at = usize::try_from(bit / 8 - sent).unwrap();
                    piece[at] ^= 1 << (bit % 8);
                }
                Some(Trouble::Cut(after) | Trouble::Stall(after)) if sent + piece.len() as u64 > *after => {
                    piece.truncate(usize::try_from(after - sent).unwrap());
                    client.write_all(&piece).await?;
                    if matches!(trouble, Some(Trouble::Stall(_))) {
                        // Until the client has had enough.
                        let _ = client.read(&mut [0; 1]).await;
                    }
                    return Ok(());
                }
                _ => {}
            }
            if matches!(trouble, Some(Trouble::Trickle)) {
                for drop in piece.chunks(2_000) {
                    client.write_all(drop).await?;
                    tokio::time::sleep(Duration::from_millis(300)).await;
                }
            } else {
                client.write_all(&piece).await?;
            }
            sent += piece.len() as u64;
            if is_chunk {
                self.chunk_bytes.fetch_add(piece.len() as u64, Ordering::SeqCst);
            }
            piece.resize(64 << 10, 0);
            let length = portal.read(&mut piece).await?;
            if length == 0 {
                return client.shutdown().await;
            }
            piece.truncate(length);
        }
    }
}

/// The head of a message, and what was read behind it.
async fn read_head(stream: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes[..end]).into_owned(), rest));
        }
        let mut piece = [0; 8 << 10];
        let length = stream.read(&mut piece).await?;
        if length == 0 || bytes.len() > 64 << 10 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&piece[..length]);
    }
}

async fn answer(client: &mut TcpStream, status: u16, headers: &str, body: &[u8]) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 {status} Told\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    client.write_all(head.as_bytes()).await?;
    client.write_all(body).await?;
    client.shutdown().await
}
