//! Where bytes may come from: the portal, or mirrors that nobody has to trust because every chunk is compared.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use url::Url;

use super::endpoint::{Endpoint, ModelRef, escape};
use super::fault::Fault;
use super::meter::Meter;

/// After so much trouble a mirror is left alone.
const STRIKES_MAX: u32 = 4;

/// The portal and the mirrors of one release.
#[derive(Debug)]
pub(super) struct Sources {
    endpoint: Endpoint,
    files_at: String,
    mirrors: Vec<Mirror>,
    turn: AtomicUsize,
}

#[derive(Debug)]
struct Mirror {
    base: Url,
    strikes: AtomicU32,
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Portal,
    Mirror(usize),
}

impl Sources {
    /// A mirror is the address of a folder in which the release's files lie under their paths.
    pub(super) fn new(endpoint: &Endpoint, model: &ModelRef, revision: &str, mirrors: &[String]) -> Result<Self, Fault> {
        let mirror = |text: &String| match Url::parse(text.trim_end_matches('/')) {
            Ok(base) if matches!(base.scheme(), "http" | "https") && base.has_host() && base.query().is_none() => {
                Ok(Mirror { base, strikes: AtomicU32::new(0) })
            }
            _ => Err(Fault::Usage(format!("{text:?} is no address of a mirror, such as https://mirror.example.org/opt-125m"))),
        };
        let mirrors = mirrors.iter().map(mirror).collect::<Result<_, _>>()?;
        Ok(Self { endpoint: endpoint.clone(), files_at: model.files_at(revision), mirrors, turn: AtomicUsize::new(0) })
    }

    /// Whom to ask next for something that has failed so often: mirrors in turn, and the portal every second time something fails.
    pub(super) fn pick(&self, failures: u32) -> Source {
        if failures % 2 == 1 {
            return Source::Portal;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let alive = |at: &usize| self.mirrors[*at].strikes.load(Ordering::Relaxed) < STRIKES_MAX;
        (0..self.mirrors.len()).map(|step| (turn + step) % self.mirrors.len()).find(alive).map_or(Source::Portal, Source::Mirror)
    }

    /// Where `path` lies there.
    pub(super) fn url(&self, source: Source, path: &str) -> Url {
        match source {
            Source::Portal => self.endpoint.url(&format!("{}/{}", self.files_at, escape(path))),
            Source::Mirror(at) => {
                let mut url = self.mirrors[at].base.clone();
                url.set_path(&format!("{}/{}", url.path().trim_end_matches('/'), escape(path)));
                url
            }
        }
    }

    /// A mirror was in trouble.
    pub(super) fn strike(&self, source: Source, why: &str, meter: &Meter) {
        self.blame(source, 1, why, meter);
    }

    /// A mirror has sent what the release does not have: it is not asked again.
    pub(super) fn expel(&self, source: Source, why: &str, meter: &Meter) {
        self.blame(source, STRIKES_MAX, why, meter);
    }

    fn blame(&self, source: Source, strikes: u32, why: &str, meter: &Meter) {
        let Source::Mirror(at) = source else { return };
        let before = self.mirrors[at].strikes.fetch_add(strikes, Ordering::Relaxed);
        if before < STRIKES_MAX && before + strikes >= STRIKES_MAX {
            meter.note(format!("The mirror {} is left alone: {why}", self.mirrors[at].base));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;

    fn sources(mirrors: &[&str]) -> Result<Sources, Fault> {
        let mirrors: Vec<String> = mirrors.iter().map(|text| (*text).to_owned()).collect();
        Sources::new(&Endpoint::parse("https://portal.example").unwrap(), &ModelRef::parse("acme/tiny").unwrap(), "0f", &mirrors)
    }

    #[test]
    fn mirrors_take_turns_and_the_portal_stands_behind_them() {
        let sources = sources(&["https://a.example/x/", "http://b.example"]).unwrap();
        let meter = Meter::default();
        assert_eq!((0..4).map(|_| sources.pick(0)).collect::<Vec<_>>(), [0, 1, 0, 1].map(Source::Mirror));
        assert_eq!(sources.pick(1), Source::Portal);
        assert_eq!(sources.url(Source::Mirror(0), "sub/a b.txt").as_str(), "https://a.example/x/sub/a%20b.txt");
        assert_eq!(sources.url(Source::Mirror(1), "a").as_str(), "http://b.example/a");
        assert_eq!(sources.url(Source::Portal, "a#b").as_str(), "https://portal.example/acme/tiny/resolve/0f/a%23b");
        sources.expel(Source::Mirror(0), "it lies", &meter);
        assert!((0..4).all(|_| sources.pick(0) == Source::Mirror(1)));
        (0..STRIKES_MAX).for_each(|_| sources.strike(Source::Mirror(1), "it is slow", &meter));
        assert_eq!(sources.pick(0), Source::Portal);
        assert_eq!(meter.take_notes().len(), 2);
    }

    #[test]
    fn what_is_no_address_is_no_mirror() {
        for wrong in ["mirror.example", "ftp://a", "https://a?b=c"] {
            assert!(matches!(sources(&[wrong]), Err(Fault::Usage(_))), "{wrong}");
        }
    }
}
