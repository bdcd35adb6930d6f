//! What every answer about a file says of it, whether its bytes come along or not.

use actix_web::HttpResponseBuilder;
use actix_web::http::header::{self, HeaderName};
use data_encoding::{BASE64, HEXLOWER};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::ascii::ascii;
use super::instead::X_REPO_COMMIT;
use crate::catalog::{Gate, Model, Release, ReleaseFile};
use crate::storage::Shown;

const X_LINKED_ETAG: HeaderName = HeaderName::from_static("x-linked-etag");
const X_LINKED_SIZE: HeaderName = HeaderName::from_static("x-linked-size");
const DIGEST: HeaderName = HeaderName::from_static("digest");
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// What stays as it is in a path segment and in RFC 8187's `value-chars`.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// A path keeps its slashes.
const PLAIN_PATH: &AsciiSet = &PLAIN.remove(b'/');

/// The value of the file's strong ETag: SHA-256 for large files, git's hash for the others, as in the tree.
pub(super) fn etag(file: &ReleaseFile) -> &str {
    if file.is_lfs { &file.sha256 } else { &file.git_sha1 }
}

/// Which file, of which commit, how large. Goes with redirects too: clients read it from the first answer.
pub(super) fn identify(response: &mut HttpResponseBuilder, release: &Release, file: &ReleaseFile) {
    let etag = format!("\"{}\"", etag(file));
    response
        .insert_header((header::ETAG, etag.as_str()))
        .insert_header((X_LINKED_ETAG, etag.as_str()))
        .insert_header((X_LINKED_SIZE, file.size_bytes.to_string()))
        .insert_header((X_REPO_COMMIT, release.revision.as_str()))
        .insert_header((header::ACCEPT_RANGES, "bytes"));
}

/// How the bytes are called and typed, and who may keep them. `attachment`: a browser should save, not show.
pub(super) fn shown(model: &Model, file: &ReleaseFile, attachment: bool) -> Shown {
    // `no-transform`: a proxy that compresses would break sizes and ranges.
    let caching = match model.gate {
        Gate::Open => "public, max-age=31536000, immutable, no-transform",
        Gate::Application => "no-store, no-transform",
    };
    Shown { media_type: media_type(&file.path), disposition: disposition(&file.path, attachment), caching }
}

/// How to take the bytes: their type, name and digests, and who may keep them.
pub(super) fn describe(response: &mut HttpResponseBuilder, file: &ReleaseFile, shown: &Shown) {
    let digest = HEXLOWER.decode(file.sha256.as_bytes()).expect("object_sha256_ck allows only hex digits");
    let digest = BASE64.encode(&digest);
    response
        .insert_header((header::CONTENT_TYPE, shown.media_type))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::CONTENT_DISPOSITION, ascii(&shown.disposition)))
        .insert_header((header::CACHE_CONTROL, shown.caching))
        .insert_header((DIGEST, format!("SHA-256={digest}")))
        .insert_header((REPR_DIGEST, format!("sha-256=:{digest}:")));
}

/// The relative URL of a file at a commit, where it never changes. `query` goes along.
pub(super) fn location(model: &Model, release: &Release, path: &str, query: &str) -> String {
    let path = utf8_percent_encode(path, PLAIN_PATH);
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    format!("{}/resolve/{}/{path}{query}", model.path(), release.revision)
}

/// The path of a folder's listing at a commit.
pub(super) fn tree_path(model: &Model, release: &Release, folder: &str) -> String {
    let folder = if folder.is_empty() { String::new() } else { format!("/{}", utf8_percent_encode(folder, PLAIN_PATH)) };
    format!("/api/models{}/tree/{}{folder}", model.path(), release.revision)
}

/// Nothing that a browser would run: what is published here is other people's.
fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("json") => "application/json",
        Some("md" | "txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// RFC 6266: the name in UTF-8 for those who read it, and in ASCII for the others.
fn disposition(path: &str, attachment: bool) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    let fallback: String = name.chars().map(|c| if c == ' ' || (c.is_ascii_graphic() && !"\"\\%".contains(c)) { c } else { '_' }).collect();
    let kind = if attachment { "attachment" } else { "inline" };
    format!("{kind}; filename*=UTF-8''{}; filename=\"{fallback}\"", utf8_percent_encode(name, PLAIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_told_to_old_and_new_clients() {
        assert_eq!(
            disposition("sub/model-00001-of-00002.safetensors", false),
            "inline; filename*=UTF-8''model-00001-of-00002.safetensors; filename=\"model-00001-of-00002.safetensors\""
        );
        assert_eq!(
            disposition("für \"uns\".txt", true),
            "attachment; filename*=UTF-8''f%C3%BCr%20%22uns%22.txt; filename=\"f_r _uns_.txt\""
        );
    }
}
