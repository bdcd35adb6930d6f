//! How one signing key vouches for the next: a small in-toto statement, signed by the key before as a model's bundles are. Whoever trusts
//! a key follows a chain of such statements to the one that signs now, over as many rotations as there were, and asks nobody.

use serde::Deserialize;
use serde_json::json;

use super::key::{KeyFault, PublicKey, SigningKey};
use super::signature::{open, seal};

const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE: &str = "urn:sluice:key-succession:1";
/// What the statement speaks of: the file of this name at `/.well-known/`.
const SUBJECT: &str = "sluice-key.pem";

/// The statement that `next` signs after `before`, signed by the latter.
pub(super) fn vouch(before: &SigningKey, next: &PublicKey) -> Result<String, KeyFault> {
    let statement = json!({
        "_type": STATEMENT_TYPE,
        "subject": [{ "name": SUBJECT, "digest": { "sha256": next.hint() } }],
        "predicateType": PREDICATE_TYPE,
        "predicate": { "public_key_pem": next.to_pem() },
    });
    seal(statement.to_string().as_bytes(), before)
}

/// The key that this statement names, if one of `trusted` has signed it and it is a statement of this kind.
pub fn vouched_for(bundle_json: &[u8], trusted: &[PublicKey]) -> Option<PublicKey> {
    let (payload, _) = open(bundle_json, trusted).ok()?;
    let statement: Wire = serde_json::from_slice(&payload).ok()?;
    let key = PublicKey::from_pem(&statement.predicate.public_key_pem).ok()?;
    let [subject] = &statement.subject[..] else { return None };
    let is_ours = statement.kind == STATEMENT_TYPE && statement.predicate_type == PREDICATE_TYPE;
    (is_ours && subject.name == SUBJECT && subject.digest.sha256 == key.hint()).then_some(key)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: Predicate,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    name: String,
    digest: SubjectDigest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubjectDigest {
    sha256: String,
}

/// What else it may come to hold is passed over.
#[derive(Deserialize)]
struct Predicate {
    public_key_pem: String,
}

#[cfg(test)]
mod tests {
    use super::super::signature::sign;
    use super::super::{Method, Statement};
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_pem(&SigningKey::generate_pem().unwrap()).unwrap()
    }

    #[test]
    fn the_key_before_vouches_for_the_next_and_nobody_else_does() {
        let (old, new, other) = (key(), key(), key());
        let bundle = vouch(&old, new.public()).unwrap();
        let trusted = |keys: &[&SigningKey]| keys.iter().map(|key| key.public().clone()).collect::<Vec<_>>();
        assert_eq!(vouched_for(bundle.as_bytes(), &trusted(&[&other, &old])), Some(new.public().clone()));
        assert_eq!(vouched_for(bundle.as_bytes(), &trusted(&[&other, &new])), None, "nobody vouches for himself");
        let pretended = bundle.replace(&old.public().hint(), &other.public().hint());
        assert_eq!(vouched_for(pretended.as_bytes(), &trusted(&[&other, &old])), None);
    }

    #[test]
    fn a_signature_over_weights_vouches_for_nothing() {
        let old = key();
        let statement =
            Statement { subject: SUBJECT.into(), method: Method::Files, resources: Vec::new(), ignored: Vec::new(), release: None };
        let bundle = sign(&statement, &old).unwrap();
        assert_eq!(vouched_for(bundle.as_bytes(), std::slice::from_ref(old.public())), None);
    }

    #[test]
    fn no_flipped_bit_vouches() {
        let (old, new) = (key(), key());
        let mut bundle = vouch(&old, new.public()).unwrap().into_bytes();
        for bit in 0..bundle.len() * 8 {
            bundle[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(vouched_for(&bundle, std::slice::from_ref(old.public())), None, "bit {bit}");
            bundle[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
