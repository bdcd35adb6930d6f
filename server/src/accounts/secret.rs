//! Random secrets of which the database keeps only the SHA-256: session cookies, one-time links, access tokens.

use sha2::{Digest, Sha256};

/// A secret just made; shown to its holder once, never stored.
pub struct Secret(String);

/// Random bytes in each secret: 200 bits.
const RANDOM_BYTES: usize = 25;
/// Bytes of checksum behind them, so that a typo or a cut paste is told from a revoked token without asking the database.
const CHECK_BYTES: usize = 5;

impl Secret {
    /// 48 letters and digits behind `prefix`.
    pub fn fresh(prefix: &str) -> Self {
        let mut bytes = [0u8; RANDOM_BYTES + CHECK_BYTES];
        getrandom::fill(&mut bytes[..RANDOM_BYTES]).expect("the operating system has random bytes");
        let check = checksum(prefix, &bytes[..RANDOM_BYTES]);
        bytes[RANDOM_BYTES..].copy_from_slice(&check);
        Self(format!("{prefix}{}", encoding().encode(&bytes)))
    }

    /// The secret `text` if it is well formed: right prefix, right length, right checksum. Says nothing about whether it is known.
    pub fn parse(prefix: &str, text: &str) -> Option<Self> {
        let bytes = encoding().decode(text.strip_prefix(prefix)?.as_bytes()).ok()?;
        let (random, check) = bytes.split_at_checked(RANDOM_BYTES)?;
        (check == checksum(prefix, random)).then(|| Self(text.to_owned()))
    }

    /// What the database keeps.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// The secret itself, for its holder.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

fn checksum(prefix: &str, random: &[u8]) -> [u8; CHECK_BYTES] {
    let digest = Sha256::new().chain_update(prefix).chain_update(random).finalize();
    digest[..CHECK_BYTES].try_into().expect("a digest is longer than the checksum")
}

/// Base 32, lower case, without padding.
fn encoding() -> &'static data_encoding::Encoding {
    static ENCODING: std::sync::LazyLock<data_encoding::Encoding> = std::sync::LazyLock::new(|| {
        let mut specification = data_encoding::Specification::new();
        specification.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
        specification.encoding().expect("32 different symbols")
    });
    &ENCODING
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_reads_back_and_a_typo_does_not() {
        let secret = Secret::fresh("slc_");
        assert_eq!(secret.reveal().len(), 52);
        assert_eq!(Secret::parse("slc_", secret.reveal()).expect("well formed").hash(), secret.hash());
        for place in 4..52 {
            let mut typo = secret.reveal().as_bytes().to_vec();
            typo[place] = if typo[place] == b'a' { b'b' } else { b'a' };
            assert!(Secret::parse("slc_", std::str::from_utf8(&typo).expect("ASCII")).is_none());
        }
        assert!(Secret::parse("slc_", &secret.reveal()[..51]).is_none());
        assert!(Secret::parse("slc_", "slc_").is_none());
    }
}
