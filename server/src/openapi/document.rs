//! The document: what all operations share, and what each room says of its own.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi, Server};
use utoipa::{Modify, OpenApi as _};

use crate::config::Config;
use crate::http::api::Problem;
use crate::{access, accounts, admin, downloads, models, privacy, record};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Sluice",
        version = "1",
        description = "All that the portal's pages can do, as JSON. Send an access token (made at /account/tokens) as \
            `Authorization: Bearer slc_…`; a browser's cookies change nothing here. Lists come in pages: follow `next` until it is null. \
            Moments are UTC. A thing that may change under you has a `version`: send the one you saw, and `stale` (409) tells you to look \
            again. Refusals are `application/problem+json` with a stable `code`, and `mend` says where a missing condition is met. \
            Fields and parameters that are not described here are refused in what you send; more may come in answers.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "models", description = "What is on offer, where you stand with it, and how long applications take."),
        (name = "applications", description = "Your applications."),
        (name = "grants", description = "What you have access to."),
        (name = "account", description = "Who you are, your sessions, tokens and downloads."),
        (name = "review", description = "The desk, for reviewers."),
        (name = "people", description = "Who has an account, what they may do, what keeps them out, and forgetting them."),
        (name = "rules", description = "Who may have a model and what they are asked: gates, rules, changes of the licence, and forms; for admins."),
        (name = "releases", description = "Drafts and releases, for admins: on offer and off."),
        (name = "admin", description = "Running the portal, for admins: the record, mails, usage, statistics, jobs, the store.")
    ),
    components(schemas(Problem)),
    modifiers(&BearerToken)
)]
struct Whole;

struct BearerToken;

impl Modify for BearerToken {
    fn modify(&self, document: &mut OpenApi) {
        let token =
            HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("An access token, `slc_…`, with the scope named.")).build();
        document.components.get_or_insert_default().add_security_scheme("token", SecurityScheme::Http(token));
    }
}

/// The document of this portal.
pub fn document(config: &Config) -> OpenApi {
    let mut document = Whole::openapi();
    document.merge(models::Operations::openapi());
    document.merge(access::Operations::openapi());
    document.merge(accounts::Operations::openapi());
    document.merge(privacy::Operations::openapi());
    document.merge(downloads::Operations::openapi());
    document.merge(record::Operations::openapi());
    document.merge(admin::Operations::openapi());
    document.servers = Some(vec![Server::new(config.url_of("").trim_end_matches('/'))]);
    document
}
