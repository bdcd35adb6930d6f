//! Keys that sign releases: ECDSA over P-256 with SHA-256, which every OpenSSF verifier knows. Signatures of others may be over P-384, too.

use std::fmt;

use data_encoding::{BASE64, HEXLOWER};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1, EcdsaKeyPair, EcdsaVerificationAlgorithm, KeyPair,
    UnparsedPublicKey,
};

use super::digest::sha256_hex;

/// What our keys are called in `sluice-keys.json`.
pub const ALGORITHM: &str = "ecdsa-p256-sha256";

/// A curve whose signatures are read. Ours are of the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Curve {
    P256,
    P384,
}

impl Curve {
    const ALL: [Curve; 2] = [Curve::P256, Curve::P384];

    /// The start of a SubjectPublicKeyInfo (RFC 5480): id-ecPublicKey, the curve's name, a bit string. The point follows.
    fn spki_prefix(self) -> &'static [u8] {
        match self {
            Curve::P256 => &[
                0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d,
                0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
            ],
            Curve::P384 => &[
                0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22,
                0x03, 0x62, 0x00,
            ],
        }
    }

    /// Bytes of an uncompressed point: 4, x, y.
    fn point_bytes(self) -> usize {
        match self {
            Curve::P256 => 65,
            Curve::P384 => 97,
        }
    }

    /// ECDSA with the hash that OpenSSF signers pair the curve with.
    fn verification(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Curve::P256 => &ECDSA_P256_SHA256_ASN1,
            Curve::P384 => &ECDSA_P384_SHA384_ASN1,
        }
    }
}

/// Characters in a line of PEM (RFC 7468).
const PEM_LINE: usize = 64;

/// Why a key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// The text is not what it should be.
    #[error("{0}")]
    NotAKey(&'static str),
    /// The system gives no randomness, or the key computes nothing.
    #[error("the system could not make or use a signing key")]
    NoRandomness,
}

/// The half that everybody may have.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    curve: Curve,
    point: Vec<u8>,
}

impl PublicKey {
    /// Reads `-----BEGIN PUBLIC KEY-----`. Keys of other curves are refused by name.
    pub fn from_pem(pem: &str) -> Result<Self, KeyFault> {
        let der = from_pem(pem, "PUBLIC KEY").ok_or(KeyFault::NotAKey("this is no public key in PEM (-----BEGIN PUBLIC KEY-----)"))?;
        let read = Curve::ALL.into_iter().find_map(|curve| {
            let point = der.strip_prefix(curve.spki_prefix())?;
            (point.len() == curve.point_bytes() && point[0] == 4).then(|| Self { curve, point: point.to_vec() })
        });
        read.ok_or(KeyFault::NotAKey("the key is not one of ECDSA over P-256 (prime256v1) or P-384 (secp384r1), uncompressed"))
    }

    /// PEM, with a line feed at its end.
    pub fn to_pem(&self) -> String {
        to_pem("PUBLIC KEY", &self.der())
    }

    /// SHA-256 of the key's DER, 64 hex digits: what we call it.
    pub fn id(&self) -> String {
        sha256_hex(&self.der())
    }

    /// What signatures of the OpenSSF call it: SHA-256 of the PEM.
    pub fn hint(&self) -> String {
        sha256_hex(self.to_pem().as_bytes())
    }

    /// Whether `signature` (ASN.1) is one of this key over `message`.
    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(self.curve.verification(), &self.point).verify(message, signature).is_ok()
    }

    fn der(&self) -> Vec<u8> {
        [self.curve.spki_prefix(), &self.point[..]].concat()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PublicKey({})", self.id())
    }
}

/// The half that stays in the data folder. It cannot be printed.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    public: PublicKey,
    random: SystemRandom,
}

impl SigningKey {
    /// A new key, as PKCS#8 in PEM; [`SigningKey::from_pem`] reads it.
    pub fn generate_pem() -> Result<String, KeyFault> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new());
        let document = document.map_err(|_| KeyFault::NoRandomness)?;
        Ok(to_pem("PRIVATE KEY", document.as_ref()))
    }

    /// Reads `-----BEGIN PRIVATE KEY-----`.
    pub fn from_pem(pem: &str) -> Result<Self, KeyFault> {
        let der = from_pem(pem, "PRIVATE KEY").ok_or(KeyFault::NotAKey("this is no private key in PEM (-----BEGIN PRIVATE KEY-----)"))?;
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der, &random)
            .map_err(|_| KeyFault::NotAKey("the key is not one of ECDSA over P-256 (prime256v1)"))?;
        let point = pair.public_key().as_ref().to_vec();
        Ok(Self { pair, public: PublicKey { curve: Curve::P256, point }, random })
    }

    /// Its public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// A signature over `message`, ASN.1. Two over the same message differ: each takes fresh randomness.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyFault> {
        let signature = self.pair.sign(&self.random, message).map_err(|_| KeyFault::NoRandomness)?;
        Ok(signature.as_ref().to_vec())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SigningKey({})", self.public.id())
    }
}

/// What a verifier calls this key's hint, from text of 64 hex digits; nothing if it is none.
pub(super) fn is_sha256_hex(text: &str) -> bool {
    text.len() == 64 && HEXLOWER.decode(text.as_bytes()).is_ok()
}

fn to_pem(label: &str, der: &[u8]) -> String {
    let mut pem = format!("-----BEGIN {label}-----\n");
    let base64 = BASE64.encode(der);
    for start in (0..base64.len()).step_by(PEM_LINE) {
        pem += &base64[start..base64.len().min(start + PEM_LINE)];
        pem.push('\n');
    }
    pem + &format!("-----END {label}-----\n")
}

/// The bytes of the one block of this label; nothing if there is anything else.
fn from_pem(pem: &str, label: &str) -> Option<Vec<u8>> {
    let body = pem.trim().strip_prefix(&format!("-----BEGIN {label}-----"))?.strip_suffix(&format!("-----END {label}-----"))?;
    let base64: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    BASE64.decode(base64.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `openssl ecparam -name prime256v1 -genkey` and `openssl ec -pubout`.
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEPZZpqHq80quWobPuyqJY2LV8Z1Zq\n\
                          wT3SzBRe6YboiNqUjh56bJ6Bb15OjhebD6GhI2zGlPXpBPgUPxRnG3ypGg==\n-----END PUBLIC KEY-----\n";

    #[test]
    fn what_openssl_writes_is_read_and_written_alike() {
        let key = PublicKey::from_pem(PUBLIC).unwrap();
        assert_eq!(key.to_pem(), PUBLIC);
        // Told by the reference implementation of OpenSSF Model Signing for this key.
        assert_eq!(key.hint(), "c217dc8865c64abfa2299c16bfaa7a206578913e540009a60756af794cfa9570");
        assert_ne!(key.id(), key.hint());
    }

    /// The same over the curve secp384r1, and `openssl dgst -sha384 -sign` of `the weights` with it.
    const PUBLIC_384: &str = "-----BEGIN PUBLIC KEY-----\nMHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEXCocOUL2XGwGTsgmWOvsMFfmj4eBwyho\n\
                              1z3yzQqyJpC6mWHSMi7bQ232KfVVPn8j1NsgU4mNmjvXj1WSoH40dEo9omjn05Hy\n\
                              sW1I4LLkScdKW9TuTJ7ZM5sK1fTBaseW\n-----END PUBLIC KEY-----\n";
    const SIGNATURE_384: &str = "3066023100946839100e98512e9fd2e5fc72849c3b9e75285f2b330c0d560a51b1a3b120cbbde6465c5515a56a2b28c12071c845fd\
                                 023100f257f3efa67aa4af99e6e00030a4ea16236890c6e3f1864c39c93407932e2b3ac4ef597a51b934bfc32c87dfd2ee619c";

    #[test]
    fn a_signature_over_p384_is_read() {
        let key = PublicKey::from_pem(PUBLIC_384).unwrap();
        assert_eq!(key.to_pem(), PUBLIC_384);
        let signature = HEXLOWER.decode(SIGNATURE_384.as_bytes()).unwrap();
        assert!(key.has_signed(b"the weights", &signature) && !key.has_signed(b"The weights", &signature));
        assert!(!PublicKey::from_pem(PUBLIC).unwrap().has_signed(b"the weights", &signature));
    }

    #[test]
    fn a_key_that_was_made_is_read_again_and_signs() {
        let pem = SigningKey::generate_pem().unwrap();
        let (key, again) = (SigningKey::from_pem(&pem).unwrap(), SigningKey::from_pem(&pem).unwrap());
        assert_eq!(key.public(), again.public());
        let signature = key.sign(b"the weights").unwrap();
        let public = PublicKey::from_pem(&key.public().to_pem()).unwrap();
        assert!(public.has_signed(b"the weights", &signature) && !public.has_signed(b"The weights", &signature));
        assert!(!format!("{key:?}").contains("BEGIN"));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for pem in ["", "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n", &PUBLIC.replace("wT3S", "****"), &PUBLIC[1..]] {
            assert!(matches!(PublicKey::from_pem(pem), Err(KeyFault::NotAKey(_))), "{pem}");
        }
        assert!(SigningKey::from_pem(PUBLIC).is_err());
    }
}
