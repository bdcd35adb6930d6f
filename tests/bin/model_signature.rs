//! `model-signature sign PRIVATE.pem DIR files|SHARD_BYTES OUT [IGNORED…]` and `model-signature verify PUBLIC.pem BUNDLE`: our signatures
//! without a portal around them, so that the reference tool can be set beside them on any folder. `verify` prints what was signed.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use server::integrity::{Method, PublicKey, Resource, SigningKey, Statement, sha256_hex, signature};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["key", out] => SigningKey::generate_pem().map_err(Into::into).and_then(|pem| Ok(fs::write(out, pem)?)),
        ["public", key] => public(key),
        ["sign", key, dir, method, out, ignored @ ..] => sign(key, Path::new(dir), method, out, ignored),
        ["verify", key, bundle] => verify(key, bundle),
        _ => Err("usage: model-signature key OUT | public KEY | sign KEY DIR files|SHARD_BYTES OUT [IGNORED…] | verify KEY BUNDLE".into()),
    };
    let Err(error) = done else { return ExitCode::SUCCESS };
    // Nothing is left to do about a standard error that cannot be written.
    let _ = writeln!(io::stderr(), "model-signature: {error}");
    ExitCode::FAILURE
}

fn public(key: &str) -> Result<(), Box<dyn Error>> {
    let key = SigningKey::from_pem(&fs::read_to_string(key)?)?;
    Ok(io::stdout().write_all(key.public().to_pem().as_bytes())?)
}

fn sign(key: &str, dir: &Path, method: &str, out: &str, ignored: &[&str]) -> Result<(), Box<dyn Error>> {
    let method = if method == "files" { Method::Files } else { Method::Shards { shard_bytes: method.parse()? } };
    let mut resources = Vec::new();
    walk(dir, "", &mut |path, bytes| {
        if ignored.contains(&path) {
            return;
        }
        match method {
            Method::Files => resources.push(Resource::file(path, sha256_hex(bytes))),
            Method::Shards { shard_bytes } => {
                let size = usize::try_from(shard_bytes).expect("a size of this machine");
                let mut start = 0;
                for piece in bytes.chunks(size) {
                    let end = start + piece.len() as u64;
                    resources.push(Resource::shard(path, start..end, sha256_hex(piece)));
                    start = end;
                }
            }
        }
    })?;
    let ignored = ignored.iter().map(ToString::to_string).collect();
    let statement = Statement { subject: "test".into(), method, resources, ignored, release: None };
    let key = SigningKey::from_pem(&fs::read_to_string(key)?)?;
    Ok(fs::write(out, signature::sign(&statement, &key)?)?)
}

fn verify(key: &str, bundle: &str) -> Result<(), Box<dyn Error>> {
    let key = PublicKey::from_pem(&fs::read_to_string(key)?)?;
    let signed = signature::verify(&fs::read(bundle)?, &[key])?;
    let mut out = io::stdout().lock();
    for resource in &signed.resources {
        writeln!(out, "{} {}", resource.sha256, resource.name())?;
    }
    Ok(())
}

fn walk(dir: &Path, prefix: &str, each: &mut impl FnMut(&str, &[u8])) -> io::Result<()> {
    let mut entries = fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() { walk(&entry.path(), &format!("{path}/"), each)? } else { each(&path, &fs::read(entry.path())?) }
    }
    Ok(())
}
