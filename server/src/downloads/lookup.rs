//! From the names in a URL to what they mean, in the Hub's order: token, model, gate, revision, path.
//! HEAD, GET and every range of it pass here, so they cannot be answered differently.

use actix_web::HttpRequest;
use sqlx::PgConnection;
use time::Duration;

use super::instead::Instead;
use crate::access::{self, Action, Permit, Verdict};
use crate::accounts::Visitor;
use crate::catalog::{self, Model, ModelName, Release, ReleaseFile};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::portal::Portal;

/// What everybody may read of a gated model: the card and the licence at the root, spelled so.
const READABLE: [&str; 4] = ["README.md", "LICENSE", "LICENSE.md", "LICENSE.txt"];
/// Access that ends sooner than this is announced with every file.
const ENDS_SOON: Duration = Duration::days(4);

/// The model that the URL names. A bad token is refused whatever it asks for; another spelling is sent to the right one,
/// because clients cache under the spelling they used.
pub(super) async fn model(db: &mut PgConnection, config: &Config, request: &HttpRequest, org: &str, name: &str) -> Result<Model, Instead> {
    let visitor = Visitor::of(request);
    if matches!(visitor, Visitor::BadToken) {
        return Err(Instead::bad_token(config));
    }
    let is_name = format!("{org}/{name}").parse::<ModelName>().is_ok();
    let model = if is_name { catalog::find_model(db, org, name).await? } else { None };
    let model = model.ok_or_else(|| Instead::no_model(&visitor))?;
    let asked = format!("/{org}/{name}");
    if asked != model.path() {
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        return Err(match target.split_once(&asked) {
            Some((before, after)) => Instead::Elsewhere(format!("{before}{}{after}", model.path())),
            None => Instead::no_model(&visitor),
        });
    }
    Ok(model)
}

/// The release of `model` that `revision` means.
pub(super) async fn release(db: &mut PgConnection, model: &Model, revision: &str) -> Result<Release, Instead> {
    let found = if is_text(revision) { catalog::resolve(db, model.id, revision).await? } else { None };
    found.ok_or_else(|| Instead::no_revision(revision))
}

/// Whether the bytes of this release are given at all. What its page shows stays readable.
pub(super) fn is_offered(config: &Config, model: &Model, release: &Release) -> Result<(), Instead> {
    release.refusal(model).map_or(Ok(()), |refusal| Err(Instead::yanked(config, refusal)))
}

/// The file at `path` of a release. Looked up as it is written, never joined to a folder.
pub(super) async fn file(db: &mut PgConnection, release: &Release, path: &str) -> Result<ReleaseFile, Instead> {
    let found = if is_text(path) { catalog::file(db, release.id, path).await? } else { None };
    found.ok_or_else(|| Instead::no_entry(&release.revision, path))
}

/// May this visitor have the model's bytes, now?
pub(super) async fn permit(db: &mut PgConnection, portal: &Portal, visitor: &Visitor, model: &Model) -> Result<Permit, Instead> {
    match access::authorize(db, visitor, model, Action::Download, portal.clock.now()).await? {
        Verdict::Allowed(permit) => Ok(permit),
        Verdict::Refused(refusal) => Err(Instead::gated(&portal.config, visitor, model, refusal)),
    }
}

/// Whether this file needs no permit.
pub(super) fn is_readable_by_all(path: &str) -> bool {
    READABLE.contains(&path)
}

/// What to tell somebody whose access ends soon.
pub(super) fn ends_soon(config: &Config, model: &Model, permit: &Permit, now: Timestamp) -> Option<String> {
    let until = permit.until.filter(|until| *until - now < ENDS_SOON)?;
    let renew = config.url_of(&permit.grant.map_or_else(|| format!("{}/apply", model.path()), |grant| format!("/grants/{grant}")));
    Some(format!("access-ends; Your access to {} ends on {}. Renew it: {renew}", model.full_name(), until.date()))
}

/// Whether the database could keep this text at all.
pub(super) fn is_text(text: &str) -> bool {
    !text.is_empty() && text.len() <= 1024 && !text.contains('\0')
}
