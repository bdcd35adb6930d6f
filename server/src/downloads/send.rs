//! The bytes of a file, or what is true about them: one path for HEAD, GET and every range.

use std::time::Duration;

use actix_web::body::{BoxBody, None as NoBody, SizedStream};
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use futures_util::stream;

use super::ascii::ascii;
use super::instead::{Instead, X_HF_WARNING, tell_limits};
use super::ledger::Ledger;
use super::query::{Query, is_yes};
use super::quota::Share;
use super::range::{self, Asked, Part};
use super::{at_once, headers, lookup};
use crate::accounts::Visitor;
use crate::catalog::{Model, Release, ReleaseFile};
use crate::config::Delivery;
use crate::error::Error;
use crate::http::page::is_head;
use crate::http::wire::{FileBody, Line};
use crate::portal::Portal;
use crate::storage::ObjectKey;

/// How long a signed address works: a download that has begun by then goes on, and whoever is cut asks here again.
const ADDRESS_LIFE: Duration = Duration::from_secs(300);
/// How the names of programs begin that send the headers they were given to every host (`--header` of aria2 and wget).
const CARRIERS: [&str; 2] = ["aria2/", "Wget/"];

/// The names in the URL.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Names {
    pub org: String,
    pub name: String,
    pub revision: String,
    pub path: String,
}

/// What the names mean, and that this visitor may have it.
pub(super) struct Found {
    pub model: Model,
    pub release: Release,
    pub file: ReleaseFile,
    pub warning: Option<String>,
    /// Whose allowance the bytes are taken from; nobody's for what everybody may read.
    pub share: Option<Share>,
}

/// Answers a request for a file. A name that may move (a branch, a tag, a short commit) is answered with the commit it means now,
/// so that a client never mixes two releases.
pub(super) async fn send(portal: &Portal, ledger: &Ledger, request: &HttpRequest, names: &Names) -> Result<HttpResponse, Instead> {
    let (visitor, found) = match at_once::find(portal, request, names).await? {
        Some(found) => found,
        None => {
            let visitor = Visitor::settle(portal, request).await?;
            let found = find(portal, &visitor, request, names).await?;
            (visitor, found)
        }
    };
    let (model, release, file) = (&found.model, &found.release, &found.file);
    if names.revision != release.revision {
        let mut response = HttpResponse::TemporaryRedirect();
        headers::identify(&mut response, release, file);
        let location = headers::location(model, release, &file.path, request.query_string());
        response.insert_header((header::LOCATION, location)).insert_header((header::CACHE_CONTROL, "no-cache"));
        return Ok(told(portal, response.finish(), &found));
    }

    let size = u64::try_from(file.size_bytes).expect("object_size_ck allows no negative size");
    let key = ObjectKey::file(&file.sha256);
    let is_head = is_head(request);
    let asked = asked(request);
    let part = if is_head { range::of_head } else { range::of_get }(asked, headers::etag(file), size);
    // What is counted is what was asked for: an address for that, and not for the rest.
    let range = asked.range.filter(|_| matches!(part, Part::Slice { .. }));
    // And the store has to read it as we do. Of `If-Range` it knows nothing: its tags are others.
    let is_for_a_store = asked.if_range.is_none() && range.is_none_or(range::is_plain);
    let (mut response, start, len) = match part {
        Part::NotModified => {
            let mut response = HttpResponse::NotModified();
            headers::identify(&mut response, release, file);
            return Ok(told(portal, response.body(NoBody::new()), &found));
        }
        Part::Unsatisfiable => {
            let mut response = HttpResponse::RangeNotSatisfiable();
            headers::identify(&mut response, release, file);
            let body = serde_json::json!({ "error": format!("the range begins behind the end of the file, which has {size} bytes") });
            return Ok(response.insert_header((header::CONTENT_RANGE, format!("bytes */{size}"))).json(body));
        }
        Part::Full => (HttpResponse::Ok(), 0, size),
        Part::Slice { start, len } => {
            let mut response = HttpResponse::PartialContent();
            response.insert_header((header::CONTENT_RANGE, format!("bytes {start}-{}/{size}", start + len - 1)));
            (response, start, len)
        }
    };
    headers::identify(&mut response, release, file);
    let attachment = Query::parse(request.query_string().as_bytes()).get("download").is_some_and(is_yes);
    let shown = headers::shown(model, file, attachment);
    if is_head {
        portal.objects.confirm(&key, size).await.map_err(Error::from)?;
        headers::describe(&mut response, file, &shown);
        // Only a body of known size makes actix tell that size; of a HEAD it sends none of it.
        return Ok(told(portal, response.body(SizedStream::new(size, stream::empty::<std::io::Result<Bytes>>())), &found));
    }
    let client = text(request, header::USER_AGENT).unwrap_or_default();
    let pass = match &found.share {
        Some(share) => Some(share.enter(portal, len).await?),
        None => None,
    };
    let meter = ledger.begin(&portal.db, &visitor, (model, release, file), client).await?.holding(pass);
    if portal.config.delivery == Delivery::Redirect
        && is_for_a_store
        && !carries_its_token_along(request, client)
        && let Some(address) = portal.objects.signed_get(&key, &shown, range, ADDRESS_LIFE).await.map_err(Error::from)?
    {
        meter.hand_over(len);
        let mut response = HttpResponse::Found();
        headers::identify(&mut response, release, file);
        response.insert_header((header::LOCATION, address)).insert_header((header::CACHE_CONTROL, "no-store"));
        return Ok(told(portal, response.finish(), &found));
    }
    headers::describe(&mut response, file, &shown);
    let body = match (portal.objects.open_file(&key, size).await.map_err(Error::from)?, Line::of(request)) {
        (Some(file), Some(line)) => {
            response.no_chunking(len);
            BoxBody::new(FileBody::new(line, file, start, len, meter.listen()))
        }
        _ => {
            let bytes = portal.objects.slice(&key, size, start, len).await.map_err(Error::from)?;
            BoxBody::new(SizedStream::new(len, meter.measure(bytes)))
        }
    };
    let response = if lookup::is_readable_by_all(&file.path) {
        response.body(body)
    } else {
        response.body(BoxBody::new(ledger.watch().guard(&visitor, release.id, body)))
    };
    Ok(told(portal, response, &found))
}

/// Some programs send the headers they were told to send wherever a redirect leads them, our token among them. It does not leave the
/// house: their bytes come from here.
fn carries_its_token_along(request: &HttpRequest, client: &str) -> bool {
    request.headers().contains_key(header::AUTHORIZATION) && CARRIERS.iter().any(|carrier| client.starts_with(carrier))
}

/// Looks everything up in the Hub's order and asks the gate, with one connection that is given back before the first byte is sent.
async fn find(portal: &Portal, visitor: &Visitor, request: &HttpRequest, names: &Names) -> Result<Found, Instead> {
    let mut db = portal.db.acquire().await?;
    let model = lookup::model(&mut db, &portal.config, request, &names.org, &names.name).await?;
    let readable = lookup::is_readable_by_all(&names.path);
    let warning = if readable {
        None
    } else {
        let permit = lookup::permit(&mut db, portal, visitor, &model).await?;
        lookup::ends_soon(&portal.config, &model, &permit, portal.clock.now())
    };
    let release = lookup::release(&mut db, &model, &names.revision).await?;
    let mut share = None;
    if !readable {
        lookup::is_offered(&portal.config, &model, &release)?;
        share = Some(Share::of(&mut db, portal, visitor, request).await?);
    }
    let file = lookup::file(&mut db, &release, &names.path).await?;
    if let Some(share) = &share {
        share.check_day(portal)?;
    }
    Ok(Found { model, release, file, warning, share })
}

fn asked(request: &HttpRequest) -> Asked<'_> {
    Asked {
        range: text(request, header::RANGE),
        if_range: text(request, header::IF_RANGE),
        if_none_match: text(request, header::IF_NONE_MATCH),
    }
}

fn text(request: &HttpRequest, name: header::HeaderName) -> Option<&str> {
    request.headers().get(name)?.to_str().ok()
}

/// With what is told beside the file: a warning, and what is left of today's allowance.
fn told(portal: &Portal, mut response: HttpResponse, found: &Found) -> HttpResponse {
    if let Some(share) = &found.share {
        tell_limits(response.headers_mut(), &share.standing(portal));
    }
    if let Some(warning) = &found.warning {
        response.headers_mut().insert(X_HF_WARNING, ascii(warning));
    }
    response
}
