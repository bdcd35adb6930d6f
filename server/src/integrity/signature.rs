//! OpenSSF Model Signing v1.0: a Sigstore bundle around a DSSE envelope around a [`Statement`], signed with a P-256 key.
//!
//! What verifies here verifies with the reference implementation (`model_signing verify key`), and the other way round; the formats
//! older than version 1.0 are not read. Everything is parsed strictly: what is not known in bundle and envelope is refused.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use serde::Deserialize;
use serde_json::json;

use super::key::{KeyFault, PublicKey, SigningKey};
use super::statement::{Method, Release, Resource, Statement};

const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// How long a bundle may be: 512 MiB, which is a million files and more.
pub const BUNDLE_BYTES_MAX: usize = 512 << 20;

/// What a good signature says, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The model's name, as its signer called it.
    pub subject: String,
    /// How it was taken apart.
    pub method: Method,
    /// Every file or range, in the order signed; paths are safe, and no two are one.
    pub resources: Vec<Resource>,
    /// What may lie beside the files unsigned.
    pub ignored: Vec<String>,
    /// The release it belongs to, if it says so.
    pub release: Option<Release>,
    /// Whose signature it is ([`PublicKey::id`]).
    pub key_id: String,
}

impl Signed {
    /// The SHA-256 of every range, by path; of the whole file where files were signed.
    pub fn by_path(&self) -> BTreeMap<&str, Vec<&Resource>> {
        let mut files: BTreeMap<&str, Vec<&Resource>> = BTreeMap::new();
        for resource in &self.resources {
            files.entry(&resource.path).or_default().push(resource);
        }
        files
    }
}

/// Why a signature is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    /// It is no bundle, or one of a kind that is not read.
    #[error("this is no OpenSSF model signature: {0}")]
    NotABundle(String),
    /// It was made with a key that is not among those trusted.
    #[error("it was signed with another key (its hint is {hint}): fetch the publisher's keys again, or do not trust it")]
    OtherKey {
        /// SHA-256 of the key's PEM, as the bundle names it.
        hint: String,
    },
    /// The key is right, the signature is not: what it signs was changed.
    #[error("the signature does not fit what it signs: one of them was changed")]
    Forged,
    /// The signature is good, and says something else than what a model consists of.
    #[error("the signature is good, and does not say what a model consists of: {0}")]
    OtherStatement(String),
    /// The signature is good, and names a file that must not be written.
    #[error("the signature names {path:?}, which {problem}")]
    UnsafePath {
        /// The path.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// Signs a statement; gives the bundle's JSON.
pub fn sign(statement: &Statement, key: &SigningKey) -> Result<String, KeyFault> {
    seal(statement.to_json().as_bytes(), key)
}

/// Signs the JSON of an in-toto statement of any kind.
pub(super) fn seal(payload: &[u8], key: &SigningKey) -> Result<String, KeyFault> {
    let signature = key.sign(&pre_authentication(payload))?;
    let bundle = json!({
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": { "publicKey": { "hint": key.public().hint() }, "tlogEntries": [] },
        "dsseEnvelope": {
            "payload": BASE64.encode(payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{ "sig": BASE64.encode(&signature), "keyid": "" }],
        },
    });
    Ok(bundle.to_string())
}

/// What the bundle says, if one of these keys signed it.
pub fn verify(bundle_json: &[u8], trusted: &[PublicKey]) -> Result<Signed, SignatureFault> {
    let (payload, key) = open(bundle_json, trusted)?;
    let Statement { subject, method, resources, ignored, release } = Statement::from_json(&payload)?;
    Ok(Signed { subject, method, resources, ignored, release, key_id: key.id() })
}

/// The JSON that was signed, and by which of these keys. It may be a statement of any kind.
pub(super) fn open<'k>(bundle_json: &[u8], trusted: &'k [PublicKey]) -> Result<(Vec<u8>, &'k PublicKey), SignatureFault> {
    if bundle_json.len() > BUNDLE_BYTES_MAX {
        return Err(SignatureFault::NotABundle(format!("it is longer than {BUNDLE_BYTES_MAX} bytes")));
    }
    let bundle: Bundle = serde_json::from_slice(bundle_json).map_err(|cause| SignatureFault::NotABundle(cause.to_string()))?;
    let (payload, signature) = bundle.content()?;
    let hint = bundle.verification_material.public_key.hint;
    // Without a hint, as an older signer leaves it, any trusted key may be the one.
    let mut candidates = trusted.iter().filter(|key| hint.is_empty() || key.hint() == hint).peekable();
    if candidates.peek().is_none() {
        return Err(SignatureFault::OtherKey { hint });
    }
    let message = pre_authentication(&payload);
    let key = candidates.find(|key| key.has_signed(&message, &signature)).ok_or(SignatureFault::Forged)?;
    Ok((payload, key))
}

/// What DSSE signs, so that a payload of one type is never taken for one of another.
fn pre_authentication(payload: &[u8]) -> Vec<u8> {
    let mut message = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    message
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    verification_material: Material,
    dsse_envelope: Envelope,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Material {
    public_key: Hint,
    #[serde(default, rename = "tlogEntries")]
    log_entries: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hint {
    #[serde(default)]
    hint: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    sig: String,
    #[serde(default, rename = "keyid")]
    key_id: String,
}

impl Bundle {
    /// Payload and signature, where the bundle is of the one kind that is read.
    fn content(&self) -> Result<(Vec<u8>, Vec<u8>), SignatureFault> {
        let refused = |what: String| Err(SignatureFault::NotABundle(what));
        if self.media_type != MEDIA_TYPE {
            return refused(format!("its media type is {}", self.media_type));
        }
        if self.dsse_envelope.payload_type != PAYLOAD_TYPE {
            return refused(format!("its payload is {}", self.dsse_envelope.payload_type));
        }
        if !self.verification_material.log_entries.is_empty() {
            return refused("it has entries of a transparency log, which nobody here checks".into());
        }
        let [signature] = &self.dsse_envelope.signatures[..] else { return refused("it has not exactly one signature".into()) };
        if !signature.key_id.is_empty() {
            return refused("its signature names a key, which its hint does".into());
        }
        let decoded = |base64: &str| BASE64.decode(base64.as_bytes());
        match (decoded(&self.dsse_envelope.payload), decoded(&signature.sig)) {
            (Ok(payload), Ok(signature)) => Ok((payload, signature)),
            (Err(cause), _) | (_, Err(cause)) => refused(format!("it is not base64: {cause}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::digest::sha256_hex;
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_pem(&SigningKey::generate_pem().unwrap()).unwrap()
    }

    fn statement(resources: Vec<Resource>, method: Method) -> Statement {
        Statement { subject: "lab/model".into(), method, resources, ignored: vec!["README.md".into()], release: None }
    }

    fn files(paths: &[&str]) -> Statement {
        statement(paths.iter().map(|path| Resource::file(*path, sha256_hex(path.as_bytes()))).collect(), Method::Files)
    }

    fn shards(ranges: &[(&str, u64, u64)]) -> Statement {
        let resource = |(path, start, end): &(&str, u64, u64)| Resource::shard(*path, *start..*end, sha256_hex(b"x"));
        statement(ranges.iter().map(resource).collect(), Method::Shards { shard_bytes: 10 })
    }

    /// The payload that a signer with our key might have signed instead.
    fn signed_payload(payload: &str, key: &SigningKey) -> String {
        let signature = key.sign(&pre_authentication(payload.as_bytes())).unwrap();
        let mut bundle: serde_json::Value = serde_json::from_str(&sign(&files(&[]), key).unwrap()).unwrap();
        bundle["dsseEnvelope"]["payload"] = json!(BASE64.encode(payload.as_bytes()));
        bundle["dsseEnvelope"]["signatures"][0]["sig"] = json!(BASE64.encode(&signature));
        bundle.to_string()
    }

    #[test]
    fn what_was_signed_is_what_is_read() {
        let (key, other) = (key(), key());
        let release = Release { revision: "0".repeat(40), manifest_sha256: "1".repeat(64) };
        for said in [
            files(&["model-00001.safetensors", "original/x.bin"]),
            shards(&[("a", 0, 10), ("a", 10, 13), ("sub/b", 0, 1)]),
            Statement { release: Some(release), ..files(&[]) },
        ] {
            let bundle = sign(&said, &key).unwrap();
            let signed = verify(bundle.as_bytes(), &[other.public().clone(), key.public().clone()]).unwrap();
            assert_eq!((&signed.resources, signed.method, &signed.release), (&said.resources, said.method, &said.release));
            assert_eq!((signed.subject.as_str(), signed.key_id), ("lab/model", key.public().id()));
            assert!(signed.ignored.contains(&"README.md".into()) && signed.ignored.contains(&".git".into()));
        }
    }

    #[test]
    fn another_key_and_a_forgery_are_told_apart() {
        let (key, other) = (key(), key());
        let bundle = sign(&files(&["a"]), &key).unwrap();
        let refused = verify(bundle.as_bytes(), &[other.public().clone()]).unwrap_err();
        assert_eq!(refused, SignatureFault::OtherKey { hint: key.public().hint() });
        assert!(matches!(verify(bundle.as_bytes(), &[]), Err(SignatureFault::OtherKey { .. })));

        let pretended = bundle.replace(&key.public().hint(), &other.public().hint());
        assert_eq!(verify(pretended.as_bytes(), &[other.public().clone()]), Err(SignatureFault::Forged));
        let unnamed = bundle.replace(&format!(r#"{{"hint":"{}"}}"#, key.public().hint()), "{}");
        assert!(verify(unnamed.as_bytes(), &[other.public().clone(), key.public().clone()]).is_ok());
        assert_eq!(verify(unnamed.as_bytes(), &[other.public().clone()]), Err(SignatureFault::Forged));
    }

    #[test]
    fn paths_that_leave_or_clash_are_refused_even_when_they_are_signed() {
        let key = key();
        for paths in [&["../x"][..], &["/etc/passwd"], &["a/../../b"], &["C:\\x"], &["a", "a"], &["A", "a"], &["a", "a/b"], &["nul"]] {
            let bundle = sign(&files(paths), &key).unwrap();
            let refused = verify(bundle.as_bytes(), &[key.public().clone()]).unwrap_err();
            assert!(matches!(&refused, SignatureFault::UnsafePath { path, .. } if paths.contains(&path.as_str())), "{paths:?}: {refused}");
        }
    }

    #[test]
    fn ranges_follow_each_other_without_gaps() {
        let key = key();
        for ranges in [
            &[("a", 0, 10), ("a", 20, 30)][..],
            &[("a", 1, 10)],
            &[("a", 0, 11)],
            &[("a", 0, 5), ("a", 5, 10)],
            &[("a", 0, 0)],
            &[("a", 0, 10), ("b", 10, 20)],
        ] {
            let bundle = sign(&shards(ranges), &key).unwrap();
            let refused = verify(bundle.as_bytes(), &[key.public().clone()]).unwrap_err();
            assert!(matches!(refused, SignatureFault::OtherStatement(_)), "{ranges:?}");
        }
        let bundle = sign(&shards(&[("a", 0, 3), ("b", 0, 3), ("a", 0, 3)]), &key).unwrap();
        assert!(matches!(verify(bundle.as_bytes(), &[key.public().clone()]), Err(SignatureFault::UnsafePath { .. })));
    }

    #[test]
    fn statements_of_another_kind_are_refused_with_a_good_signature() {
        let key = key();
        let good = files(&["a", "b"]).to_json();
        assert!(verify(signed_payload(&good, &key).as_bytes(), &[key.public().clone()]).is_ok());
        let digest = sha256_hex(b"a");
        for (from, to) in [
            ("https://model_signing/signature/v1.0", "https://slsa.dev/provenance/v1"),
            ("https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"),
            (r#""method":"files""#, r#""method":"files","method":"files""#),
            (r#""name":"a""#, r#""name":"a","name":"c""#),
            (r#""hash_type":"sha256""#, r#""hash_type":"blake3""#),
            (r#""method":"files""#, r#""method":"shards""#),
            (&digest, &sha256_hex(b"c")),
            (&digest, &digest.to_uppercase()),
            (r#""subject":["#, r#""subject":[{"name":"x","digest":{"sha256":""}},"#),
        ] {
            assert!(good.contains(from), "{from}");
            let refused = verify(signed_payload(&good.replace(from, to), &key).as_bytes(), &[key.public().clone()]).unwrap_err();
            assert!(matches!(refused, SignatureFault::OtherStatement(_)), "{to}: {refused}");
        }
    }

    #[test]
    fn bundles_of_another_kind_are_refused() {
        let key = key();
        let good = sign(&files(&["a"]), &key).unwrap();
        for (from, to) in [
            ("bundle.v0.3", "bundle.v0.2"),
            ("application/vnd.in-toto+json", "text/plain"),
            (r#""tlogEntries":[]"#, r#""tlogEntries":[{}]"#),
            (r#""keyid":"""#, r#""keyid":"x""#),
            (r#""keyid":"""#, r#""keyid":"","more":1"#),
            (r#""signatures":[{"#, r#""signatures":[],"signatures":[{"#),
            ("{", "[{"),
        ] {
            assert!(good.contains(from), "{from}");
            let refused = verify(good.replacen(from, to, 1).as_bytes(), &[key.public().clone()]).unwrap_err();
            assert!(matches!(refused, SignatureFault::NotABundle(_)), "{to}: {refused}");
        }
    }

    #[test]
    fn no_bundle_with_a_flipped_bit_is_accepted() {
        const FLIPS: usize = 6_000;
        let key = key();
        for said in [files(&["a.safetensors", "sub/b"]), shards(&[("a", 0, 10), ("a", 10, 13)])] {
            let mut bundle = sign(&said, &key).unwrap().into_bytes();
            let bits = bundle.len() * 8;
            // Spread evenly, and over all eight bits of a byte.
            for at in (0..FLIPS / 2).map(|n| (n * bits / (FLIPS / 2) + n) % bits) {
                bundle[at / 8] ^= 1 << (at % 8);
                assert!(verify(&bundle, std::slice::from_ref(key.public())).is_err(), "bit {at}: {}", String::from_utf8_lossy(&bundle));
                bundle[at / 8] ^= 1 << (at % 8);
            }
            assert!(verify(&bundle, std::slice::from_ref(key.public())).is_ok());
        }
    }
}
