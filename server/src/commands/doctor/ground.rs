//! What a portal stands on: settings, its own address, its folder.

use url::Host;

use super::Finding;
use crate::catalog::human_bytes;
use crate::config::Config;
use crate::data_dir;

/// With less free space, what the portal writes soon fails.
const FREE_BYTES_MIN: u64 = 256 << 20;
/// With less, a release of a small model does not fit.
const FREE_BYTES_FEW: u64 = 5_000_000_000;

pub(super) fn settings(strange: &[String]) -> Finding {
    match strange {
        [] => Finding::right("settings", "all are understood"),
        names => Finding::note(
            "settings",
            format!("not understood, and without effect: {}", names.join(", ")),
            "correct the name, or unset it; deploy/env.example has all there are",
        ),
    }
}

/// Whether links in mails lead somewhere.
pub(super) fn public_url(config: &Config) -> Finding {
    let (part, url) = ("public URL", &config.public_url);
    let (is_nowhere, is_here) = match url.host() {
        Some(Host::Ipv4(address)) => (address.is_unspecified(), address.is_loopback()),
        Some(Host::Ipv6(address)) => (address.is_unspecified(), address.is_loopback()),
        Some(Host::Domain(name)) => (false, name == "localhost"),
        None => (true, false),
    };
    let set_it = "set SLUICE_PUBLIC_URL to the address that people type, such as https://weights.example.org";
    match () {
        () if is_nowhere => Finding::failed(part, format!("{url} leads nowhere, and so do the links in mails"), set_it),
        () if is_here && !config.listen.ip().is_loopback() => Finding::note(
            part,
            format!("{url} leads to the reader's own machine, though others can reach this one at {}", config.listen),
            set_it,
        ),
        () if is_here => Finding::right(part, format!("{url}, on this machine alone")),
        () if !config.is_https() => Finding::note(
            part,
            format!("{url}: passwords and tokens go over the network for everybody to read"),
            "put a proxy with TLS before the portal (deploy/proxy.conf), and begin SLUICE_PUBLIC_URL with https://",
        ),
        () => Finding::right(part, url.to_string()),
    }
}

/// Whether it can be written, and for how long.
pub(super) fn data_folder(config: &Config) -> Finding {
    let (part, folder) = ("data folder", &config.data_dir);
    if let Err(fault) = data_dir::try_out(folder) {
        return Finding::failed(part, fault.to_string(), "make it writable for this user (the account that runs `sluice serve`)");
    }
    let portal = match data_dir::runs_on(folder) {
        Some(Some(pid)) => format!("a portal runs on it (process {pid})"),
        Some(None) => "a portal runs on it".into(),
        None => "no portal runs on it".into(),
    };
    let Some(free_bytes) = data_dir::free_bytes(folder) else {
        return Finding::right(part, format!("{} can be written; {portal}", folder.display()));
    };
    let text = format!("{} can be written, {} are free; {portal}", folder.display(), human_bytes(free_bytes));
    let advice = "make room, or move the folder to a larger disk (SLUICE_DATA_DIR)";
    match free_bytes {
        ..FREE_BYTES_MIN => Finding::failed(part, text, advice),
        FREE_BYTES_MIN..FREE_BYTES_FEW => Finding::note(part, text, advice),
        _ => Finding::right(part, text),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn an_address_is_looked_at_beside_who_can_reach_the_portal() {
        let told = |listen: &'static str, url: Option<&'static str>| {
            let config = Config::from_lookup(|variable| match variable {
                "SLUICE_LISTEN" => Some(listen.to_owned()),
                "SLUICE_PUBLIC_URL" => url.map(str::to_owned),
                _ => None,
            });
            public_url(&config.expect("valid settings")).state
        };
        assert_eq!(told("127.0.0.1:8080", None), State::Right);
        assert_eq!(told("0.0.0.0:8080", None), State::Failed);
        assert_eq!(told("0.0.0.0:8080", Some("http://localhost:8080")), State::Note);
        assert_eq!(told("0.0.0.0:8080", Some("http://weights.example.org")), State::Note);
        assert_eq!(told("127.0.0.1:8080", Some("https://weights.example.org")), State::Right);
    }

    #[test]
    fn names_that_mean_nothing_are_told() {
        assert_eq!(settings(&[]).state, State::Right);
        let strange = settings(&["SLUICE_STMP_URL".into()]);
        assert!(strange.state == State::Note && strange.text.contains("SLUICE_STMP_URL"), "{strange:?}");
    }
}
