//! The Hub's JSON, translated here only. Clients are strict about some shapes: `lfs.sha256` among siblings but `lfs.oid` in a tree,
//! times ending in `Z`, `orgs` a list, all three keys of the references.

use serde_json::{Value, json};

use super::tree::{Entry, blob_oid, pointer};
use crate::accounts::{Account, Scope, Via};
use crate::catalog::{Gate, Model, Release, ReleaseFile, ReleaseName};
use crate::http::when;

/// `GET /api/models/{org}/{name}`: a model at a release. `blobs`: with sizes and digests of the files.
pub(super) fn model_info(model: &Model, release: &Release, files: &[ReleaseFile], blobs: bool, downloads: i64) -> Value {
    let mut info = model_row(model, release, downloads);
    info["disabled"] = json!(release.yanked_at.is_some());
    info["config"] = release
        .config_json
        .as_ref()
        .map_or_else(|| json!({}), |config| json!({ "model_type": config["model_type"], "architectures": config["architectures"] }));
    info["usedStorage"] = json!(files.iter().map(|file| file.size_bytes).sum::<i64>());
    info["siblings"] = files.iter().map(|file| sibling(file, blobs)).collect();
    info
}

/// A row of `GET /api/models`.
pub(super) fn model_row(model: &Model, release: &Release, downloads: i64) -> Value {
    json!({
        "_id": object_id(model),
        "id": model.full_name(),
        "modelId": model.full_name(),
        "author": model.org,
        "sha": release.revision,
        "lastModified": when::hub(release.published_at),
        "createdAt": when::hub(model.created_at),
        "private": false,
        "gated": match model.gate { Gate::Open => json!(false), Gate::Application => json!("manual") },
        "downloads": downloads,
        "likes": 0,
        "tags": tags(release),
        "pipeline_tag": "text-generation",
        "library_name": "transformers",
    })
}

/// What a listing can be filtered by.
pub(super) fn tags(release: &Release) -> Vec<String> {
    let kind = release.config_json.as_ref().and_then(|config| config["model_type"].as_str());
    ["transformers", "safetensors", "text-generation"].into_iter().chain(kind).map(str::to_owned).collect()
}

fn sibling(file: &ReleaseFile, blobs: bool) -> Value {
    let mut sibling = json!({ "rfilename": file.path });
    if blobs {
        sibling["size"] = json!(file.size_bytes);
        sibling["blobId"] = json!(blob_oid(file));
        if file.is_lfs {
            sibling["lfs"] = json!({ "sha256": file.sha256, "size": file.size_bytes, "pointerSize": pointer(file).len() });
        }
    }
    sibling
}

/// An entry of a tree. `expand`: with the commit it came with; every file of a release came with that release.
pub(super) fn tree_entry(entry: &Entry<'_>, release: &Release, expand: bool) -> Value {
    let mut value = match entry {
        Entry::Folder { path, oid } => json!({ "type": "directory", "oid": oid, "size": 0, "path": path }),
        Entry::File(file) => {
            let mut value = json!({ "type": "file", "oid": blob_oid(file), "size": file.size_bytes, "path": file.path });
            if file.is_lfs {
                value["lfs"] = json!({ "oid": file.sha256, "size": file.size_bytes, "pointerSize": pointer(file).len() });
            }
            value
        }
    };
    if expand {
        value["lastCommit"] = json!({ "id": release.revision, "title": title(release), "date": when::hub(release.published_at) });
        if let Entry::File(_) = entry {
            value["securityFileStatus"] = json!({ "status": "unscanned", "avScan": null, "pickleImportScan": null });
        }
    }
    value
}

/// `GET /api/models/{org}/{name}/refs`. `pull_requests`: they were asked for; there are none.
pub(super) fn refs(names: &[ReleaseName], pull_requests: bool) -> Value {
    let named = |is_tag, folder: &str| -> Value {
        let chosen = names.iter().filter(|name| name.is_tag == is_tag);
        chosen.map(|n| json!({ "name": n.name, "ref": format!("refs/{folder}/{}", n.name), "targetCommit": n.revision })).collect()
    };
    let mut refs = json!({ "branches": named(false, "heads"), "tags": named(true, "tags"), "converts": [] });
    if pull_requests {
        refs["pullRequests"] = json!([]);
    }
    refs
}

/// A row of `GET /api/models/{org}/{name}/commits/{revision}`: a release is one commit.
pub(super) fn commit(model: &Model, release: &Release) -> Value {
    json!({
        "id": release.revision,
        "title": title(release),
        "message": release.notes.split_once('\n').map(|(_, rest)| rest.trim()).unwrap_or_default(),
        "date": when::hub(release.published_at),
        "authors": [{ "user": model.org }],
    })
}

/// `GET /api/whoami-v2`. People have no user name here but their address, so that is what they are called.
pub(super) fn whoami(account: &Account, via: &Via) -> Value {
    let auth = match via {
        Via::Token { name, created_at, expires_at, scopes, .. } => json!({
            "type": "access_token",
            "accessToken": {
                "displayName": name, "role": if scopes.contains(&Scope::Review) { "write" } else { "read" }, "createdAt": when::hub(*created_at), "expiresAt": when::hub(*expires_at),
            },
        }),
        Via::Session(_) => json!({ "type": "session" }),
    };
    json!({
        "type": "user",
        "id": account.id,
        "name": account.email.as_str(),
        "fullname": account.name,
        "email": account.email.as_str(),
        "emailVerified": account.email_verified_at.is_some(),
        "canPay": false,
        "isPro": false,
        "avatarUrl": "",
        "orgs": [],
        "auth": auth,
    })
}

/// The first line of what was said about a release.
fn title(release: &Release) -> &str {
    release.notes.lines().next().filter(|line| !line.trim().is_empty()).unwrap_or("Publish a release")
}

/// 24 hex digits, as the Hub's ids have: the random end of our own.
fn object_id(model: &Model) -> String {
    model.id.uuid().simple().to_string()[8..].to_owned()
}
