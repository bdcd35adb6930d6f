//! What proves a release, for whoever wants to verify it without us: signatures, digests, sums and Metalink, and the keys that signed.
//! Readable by everybody who may see the model's page: digests tell nothing of the weights.

use actix_web::http::header;
use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use sqlx::PgConnection;
use time::format_description::well_known::Rfc3339;

use super::routes::{Found, Names, find};
use crate::catalog::{self, Bundle, Gate, Model, Release};
use crate::error::Error;
use crate::ids::ReleaseId;
use crate::integrity::{ALGORITHM, FileProof, blake3_sums, manifest_page, metalink, sha256_sums};
use crate::portal::Portal;

/// What a page of the manifest holds at most, in bytes; its frame takes a little more.
const PAGE_BYTES_MAX: usize = 190_000;
/// Files looked up for one page: more than fit, since the shortest entry, of an empty file, has more than 200 bytes.
const PAGE_FILES_MAX: i64 = 1_000;
/// All the files of a release.
const FILES_MAX: i64 = 1_000_000;
/// It never changes: the revision follows from it.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// Signatures change when the key is rotated, keys likewise.
const FOR_MINUTES: &str = "public, max-age=300";

/// What the URL names.
#[derive(serde::Deserialize)]
pub(super) struct Asked {
    org: String,
    name: String,
    revision: String,
    file: String,
}

#[derive(serde::Deserialize)]
pub(super) struct From {
    cursor: Option<String>,
}

/// `GET /{org}/{name}/proof/{revision}/{file}`
pub(super) async fn proof(
    portal: Data<Portal>,
    request: HttpRequest,
    asked: Path<Asked>,
    from: Query<From>,
) -> Result<HttpResponse, Error> {
    let mut db = portal.db.acquire().await?;
    let names = Names { org: asked.org.clone(), name: asked.name.clone() };
    let model = match find(&mut db, &request, &names).await? {
        Found::Here(model) => model,
        Found::Elsewhere(answer) => return Ok(answer),
    };
    let release = catalog::resolve(&mut db, model.id, &asked.revision).await?.ok_or(Error::NotFound("release"))?;
    if release.revision != asked.revision {
        // A branch moves; what is verified together has to be of one release.
        let location = format!("{}/proof/{}/{}", model.path(), release.revision, asked.file);
        return Ok(HttpResponse::TemporaryRedirect()
            .insert_header((header::LOCATION, location))
            .insert_header((header::CACHE_CONTROL, "no-cache"))
            .finish());
    }
    let after = from.cursor.as_deref().unwrap_or_default();
    match asked.file.as_str() {
        "model.sig" => bundle(&mut db, release.id, Bundle::Weights).await,
        "documents.sig" => bundle(&mut db, release.id, Bundle::Documents).await,
        "chunks.sig" => bundle(&mut db, release.id, Bundle::Chunks).await,
        "manifest.json" => {
            let files = files(&mut db, release.id, after, PAGE_FILES_MAX).await?;
            let page = manifest_page(&model.full_name(), &release.revision, &files, PAGE_BYTES_MAX);
            Ok(answer("application/json", FOR_EVER, page))
        }
        "tensors.json" => {
            let report = catalog::report(&mut db, release.id).await?.ok_or(Error::NotFound("report on this release's tensors"))?;
            Ok(answer("application/json", FOR_EVER, report))
        }
        "SHA256SUMS" => Ok(answer("text/plain; charset=utf-8", FOR_EVER, sha256_sums(&all(&mut db, release.id).await?))),
        "B3SUMS" => Ok(answer("text/plain; charset=utf-8", FOR_EVER, blake3_sums(&all(&mut db, release.id).await?))),
        "release.meta4" => {
            let files = all(&mut db, release.id).await?;
            Ok(answer("application/metalink4+xml", FOR_MINUTES, links(&portal, &model, &release, &files)?))
        }
        _ => Err(Error::NotFound("proof")),
    }
}

/// `GET /.well-known/sluice-keys.json`: every key that has signed here, the one that signs now first, each with the statement in which the
/// one before vouches for it.
pub(super) async fn keys(portal: Data<Portal>) -> Result<HttpResponse, Error> {
    let keys: Vec<serde_json::Value> = portal
        .keys
        .list()?
        .into_iter()
        .map(|key| {
            let time = |at: crate::clock::Timestamp| at.format(&Rfc3339).map_err(Error::internal);
            let bundle = |json: String| serde_json::from_str::<serde_json::Value>(&json).map_err(Error::internal);
            Ok(serde_json::json!({
                "id": key.id,
                "algorithm": ALGORITHM,
                "public_key_pem": key.public_key_pem,
                "created_at": time(key.created_at)?,
                "retires_at": key.retires_at.map(time).transpose()?,
                "current": key.retires_at.is_none(),
                "succession": key.succession.map(bundle).transpose()?,
            }))
        })
        .collect::<Result<_, Error>>()?;
    Ok(answer("application/json", FOR_MINUTES, serde_json::json!({ "keys": keys }).to_string()))
}

/// `GET /.well-known/sluice-key.pem`: the public half of the key that signs now.
pub(super) async fn key(portal: Data<Portal>) -> Result<HttpResponse, Error> {
    Ok(answer("application/x-pem-file", FOR_MINUTES, portal.keys.list()?.swap_remove(0).public_key_pem))
}

async fn bundle(db: &mut PgConnection, release: ReleaseId, which: Bundle) -> Result<HttpResponse, Error> {
    let bundle = catalog::bundle(db, release, which).await?.ok_or_else(not_yet)?;
    Ok(answer("application/vnd.dev.sigstore.bundle.v0.3+json", FOR_MINUTES, bundle))
}

async fn files(db: &mut PgConnection, release: ReleaseId, after: &str, limit: i64) -> Result<Vec<FileProof>, Error> {
    if after.contains('\0') {
        return Err(Error::NotFound("page of this manifest"));
    }
    catalog::file_proofs(db, release, after, limit).await?.ok_or_else(not_yet)
}

async fn all(db: &mut PgConnection, release: ReleaseId) -> Result<Vec<FileProof>, Error> {
    files(db, release, "", FILES_MAX).await
}

/// Released before there were proofs, and large: a worker is at it.
fn not_yet() -> Error {
    Error::Unavailable(
        "this release was published before there were signatures and is being hashed again; ask again in some minutes".into(),
    )
}

fn links(portal: &Portal, model: &Model, release: &Release, files: &[FileProof]) -> Result<String, Error> {
    let below = |base: &str| format!("{base}{}/resolve/{}/", model.path(), release.revision);
    let mut bases = vec![below(portal.config.url_of("").trim_end_matches('/'))];
    // Whoever downloads a gated model sends a token along, to every address in the file; mirrors are not ours.
    if model.gate == Gate::Open {
        bases.extend(portal.config.mirrors.iter().map(|mirror| below(mirror.as_str().trim_end_matches('/'))));
    }
    Ok(metalink(files, &bases, &release.published_at.format(&Rfc3339).map_err(Error::internal)?))
}

fn answer(kind: &str, caching: &str, body: String) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CONTENT_TYPE, kind)).insert_header((header::CACHE_CONTROL, caching)).body(body)
}
