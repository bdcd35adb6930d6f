//! What plain tools verify with: `sha256sum -c`, `b3sum -c`, and Metalink for `aria2c`.

use std::fmt::Write;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::digest::CHUNK_BYTES;
use super::manifest::FileProof;

/// What stays as it is in a path of a URL.
const PLAIN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// `SHA256SUMS`: a line a file, as `sha256sum` writes it.
pub fn sha256_sums(files: &[FileProof]) -> String {
    files.iter().map(|file| format!("{}  {}\n", file.sha256, file.path)).collect()
}

/// `B3SUMS`: a line a file, as `b3sum` writes it.
pub fn blake3_sums(files: &[FileProof]) -> String {
    files.iter().map(|file| format!("{}  {}\n", file.blake3, file.path)).collect()
}

/// Metalink 4 (RFC 5854): each file with its digest, the digest of every piece, and where it is to be had, the first address first.
/// `bases`: what stands before a file's path in each address, such as `https://host/org/name/resolve/REVISION/`.
pub fn metalink(files: &[FileProof], bases: &[String], published: &str) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">\n");
    xml += &format!("<generator>sluice/{}</generator>\n<published>{}</published>\n", env!("CARGO_PKG_VERSION"), escaped(published));
    for file in files {
        // Writing into a String does not fail.
        let _ = write!(
            xml,
            "<file name=\"{}\">\n<size>{}</size>\n<hash type=\"sha-256\">{}</hash>\n",
            escaped(&file.path),
            file.size_bytes,
            file.sha256
        );
        // One piece says no more than the file's own digest.
        if file.chunks.len() > 1 {
            let _ = writeln!(xml, "<pieces length=\"{CHUNK_BYTES}\" type=\"sha-256\">");
            for chunk in &file.chunks {
                let _ = writeln!(xml, "<hash>{}</hash>", chunk.sha256_hex());
            }
            xml += "</pieces>\n";
        }
        for (place, base) in bases.iter().enumerate() {
            let url = format!("{base}{}", utf8_percent_encode(&file.path, PLAIN_PATH));
            let _ = writeln!(xml, "<url priority=\"{}\">{}</url>", place + 1, escaped(&url));
        }
        xml += "</file>\n";
    }
    xml + "</metalink>\n"
}

/// Text in XML, in attributes too.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::digest::ChunkDigests;
    use super::*;

    #[test]
    fn each_is_as_its_tool_reads_it() {
        let chunk = ChunkDigests { sha256: [0xab; 32], blake3: [0; 32] };
        let file = |path: &str, size_bytes, chunks| FileProof {
            path: path.to_owned(),
            size_bytes,
            sha256: "1".repeat(64),
            blake3: "2".repeat(64),
            chunks,
        };
        let files = [file("a (1)=b.txt", 3, vec![chunk]), file("model.safetensors", CHUNK_BYTES + 1, vec![chunk; 2])];
        assert!(sha256_sums(&files).starts_with(&format!("{}  a (1)=b.txt\n", "1".repeat(64))));
        assert!(blake3_sums(&files).ends_with(&format!("{}  model.safetensors\n", "2".repeat(64))));
        let bases = ["https://a.example/l/m/resolve/0/".to_owned(), "https://b.example/?x&y=".to_owned()];
        let xml = metalink(&files, &bases, "2026-03-02T09:00:00Z");
        assert!(xml.contains("<file name=\"model.safetensors\">\n<size>16777217</size>\n<hash type=\"sha-256\">1111"), "{xml}");
        assert!(xml.contains(&format!("<pieces length=\"16777216\" type=\"sha-256\">\n<hash>{}</hash>\n", "ab".repeat(32))));
        assert_eq!(xml.matches("<pieces").count(), 1);
        assert!(xml.contains("<url priority=\"1\">https://a.example/l/m/resolve/0/a%20%281%29%3Db.txt</url>"), "{xml}");
        assert!(xml.contains("<url priority=\"2\">https://b.example/?x&amp;y=model.safetensors</url>"), "{xml}");
    }
}
