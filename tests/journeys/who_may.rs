//! Every route × every kind of visitor, and who may pass. A route without a row fails, and so does a row without a route.

use std::collections::BTreeSet;
use std::path::Path;

use clap::Parser;
use reqwest::Method;
use serde_json::json;
use server::accounts::{self, Email};
use server::catalog::Gate;
use server::commands::grant::{self, GrantCommand};
use sqlx::PgPool;
use tests::{Page, Person, TestPortal};
use time::Duration;

use crate::gated::{LICENCE, applies_for, relicense};
use crate::route_table;

/// The columns: nobody · a researcher with nothing · one with a grant · with one that has ended · with one that was revoked · a reviewer
/// · an admin · the grant holder's token for downloads · the grant holder's token for the API · a token that is none.
const VISITORS: [&str; 10] =
    ["nobody", "plain", "granted", "expired", "revoked", "reviewer", "admin", "download token", "api token", "bad token"];

/// A letter for each visitor: `y` passes (whatever the form then says) · `s` has to sign in (401, or sent to the page)
/// · `n` it does not exist for them (404) · `f` told what is missing (403). `TRY` posts the playground's form, `JSON`, `PUT` and `DELETE` a request of `/v1` or `/api/v1`,
/// which takes tokens alone: a browser's cookies open nothing there, so no other site can spend them.
///
/// `{app}` is the application that the grant holder once sent; `{gated}` and `{open}` are models; other placeholders are filled in below.
const TABLE: &[(&str, &str, &str, &str)] = &[
    // What everybody sees.
    ("GET", "/", "/", "yyyyyyyyyy"),
    ("GET", "/healthz", "/healthz", "yyyyyyyyyy"),
    ("GET", "/readyz", "/readyz", "yyyyyyyyyy"),
    ("GET", "/metrics", "/metrics", "yyyyyyyyyy"),
    ("GET", "/robots.txt", "/robots.txt", "yyyyyyyyyy"),
    ("GET", "/static/{bundle}/{name}", "/static/x/style.css", "yyyyyyyyyy"),
    ("GET", "/turnaround", "/turnaround", "yyyyyyyyyy"),
    ("GET", "/turnaround.{ending}", "/turnaround.csv", "yyyyyyyyyy"),
    ("GET", "/models", "/models", "yyyyyyyyyy"),
    ("GET", "/{org}/{name}", "/{gated}", "yyyyyyyyyy"),
    ("GET", "/{org}/{name}/files", "/{gated}/files", "yyyyyyyyyy"),
    ("GET", "/{org}/{name}/licence", "/{gated}/licence", "yyyyyyyyyy"),
    ("GET", "/{org}/{name}", "/lab/nothing", "nnnnnnnnnn"),
    // Digests and signatures tell nothing of the weights.
    ("GET", "/{org}/{name}/proof/{revision}/{file}", "/{gated}/proof/{revision}/manifest.json", "yyyyyyyyyy"),
    ("GET", "/{org}/{name}/proof/{revision}/{file}", "/{gated}/proof/{revision}/nothing", "nnnnnnnnnn"),
    ("GET", "/.well-known/sluice-keys.json", "/.well-known/sluice-keys.json", "yyyyyyyyyy"),
    ("GET", "/.well-known/sluice-key.pem", "/.well-known/sluice-key.pem", "yyyyyyyyyy"),
    // The way in.
    ("GET", "/sign-up", "/sign-up", "yyyyyyyyyy"),
    ("POST", "/sign-up", "/sign-up", "yyyyyyyyyy"),
    ("GET", "/sign-in", "/sign-in", "yyyyyyyyyy"),
    ("POST", "/sign-in", "/sign-in", "yyyyyyyyyy"),
    ("GET", "/sign-in/link", "/sign-in/link", "yyyyyyyyyy"),
    ("POST", "/sign-in/link", "/sign-in/link", "yyyyyyyyyy"),
    ("GET", "/verify", "/verify", "yyyyyyyyyy"),
    ("POST", "/verify", "/verify", "yyyyyyyyyy"),
    ("GET", "/forgot", "/forgot", "yyyyyyyyyy"),
    ("POST", "/forgot", "/forgot", "yyyyyyyyyy"),
    ("GET", "/reset", "/reset", "yyyyyyyyyy"),
    ("POST", "/reset", "/reset", "yyyyyyyyyy"),
    // Signing a program in: it asks and waits without an account, and somebody with one decides.
    ("POST", "/oauth/device", "/oauth/device", "yyyyyyyyyy"),
    ("POST", "/oauth/token", "/oauth/token", "yyyyyyyyyy"),
    ("POST", "/oauth/revoke", "/oauth/revoke", "yyyyyyyyyy"),
    ("GET", "/device", "/device", "syyyyyysss"),
    ("POST", "/device/approve", "/device/approve", "syyyyyysss"),
    ("POST", "/device/deny", "/device/deny", "syyyyyysss"),
    // One's own account: browsers only.
    ("GET", "/account", "/account", "syyyyyysss"),
    ("POST", "/account/name", "/account/name", "syyyyyysss"),
    ("POST", "/account/password", "/account/password", "syyyyyysss"),
    ("GET", "/account/sessions", "/account/sessions", "syyyyyysss"),
    ("GET", "/account/sessions.{ending}", "/account/sessions.csv", "syyyyyysss"),
    ("POST", "/account/sessions/end-others", "/account/sessions/end-others", "syyyyyysss"),
    ("POST", "/account/sessions/{id}/end", "/account/sessions/{session}/end", "snnnnnnsss"),
    ("GET", "/account/mail", "/account/mail", "syyyyyysss"),
    ("POST", "/account/mail", "/account/mail", "syyyyyysss"),
    ("GET", "/account/tokens", "/account/tokens", "syyyyyysss"),
    ("GET", "/account/tokens.{ending}", "/account/tokens.jsonl", "syyyyyysss"),
    ("POST", "/account/tokens", "/account/tokens", "syyyyyysss"),
    ("POST", "/account/tokens/{id}/revoke", "/account/tokens/{token}/revoke", "snnnnnnsss"),
    ("GET", "/account/downloads", "/account/downloads", "syyyyyysss"),
    ("GET", "/account/downloads.{ending}", "/account/downloads.csv", "syyyyyysss"),
    ("GET", "/account/downloads.{ending}", "/account/downloads.doc", "snnnnnnsss"),
    ("GET", "/account/data", "/account/data", "syyyyyysss"),
    ("GET", "/account/data.json", "/account/data.json", "syyyyyysss"),
    ("GET", "/account/erase", "/account/erase", "syyyyyysss"),
    ("POST", "/account/erase", "/account/erase", "syyyyyysss"),
    // Applying: one's own cases, and nobody else's.
    ("GET", "/applications", "/applications", "syyyyyysss"),
    ("GET", "/applications.{ending}", "/applications.csv", "syyyyyysss"),
    ("GET", "/applications/{id}", "/applications/{app}", "snynnnnsss"),
    ("POST", "/applications/{id}/withdraw", "/applications/{app}/withdraw", "snynnnnsss"),
    ("POST", "/applications/{id}/comment", "/applications/{app}/comment", "snynnnnsss"),
    ("POST", "/applications/{id}/appeal", "/applications/{app}/appeal", "snynnnnsss"),
    ("GET", "/{org}/{name}/apply", "/{gated}/apply", "syyyyyysss"),
    ("POST", "/{org}/{name}/apply", "/{gated}/apply", "syyyyyysss"),
    ("POST", "/{org}/{name}/apply/draft", "/{gated}/apply/draft", "syyyyyysss"),
    // What came of it: one's own grants.
    ("GET", "/grants.{ending}", "/grants.csv", "syyyyyysss"),
    ("GET", "/grants/{id}", "/grants/{grant}", "snynnnnsss"),
    ("POST", "/grants/{id}/renew", "/grants/{grant}/renew", "snynnnnsss"),
    ("POST", "/grants/{id}/renew/withdraw", "/grants/{grant}/renew/withdraw", "snynnnnsss"),
    ("GET", "/grants/{id}/consent", "/grants/{grant}/consent", "snynnnnsss"),
    ("POST", "/grants/{id}/consent", "/grants/{grant}/consent", "snynnnnsss"),
    ("POST", "/grants/{id}/close", "/grants/{grant}/close", "snynnnnsss"),
    // Deciding.
    ("GET", "/review", "/review", "snnnnyysss"),
    ("GET", "/review.{ending}", "/review.csv", "snnnnyysss"),
    ("GET", "/review.{ending}", "/review.csv?view=none", "snnnnnnsss"),
    ("GET", "/review/{id}", "/review/{app}", "snnnnyysss"),
    ("GET", "/review/bulk", "/review/bulk", "snnnnyysss"),
    ("GET", "/review/bulk/do", "/review/bulk/do", "snnnnyysss"),
    ("POST", "/review/bulk", "/review/bulk", "snnnnyysss"),
    ("POST", "/review/bulk/do", "/review/bulk/do", "snnnnyysss"),
    ("POST", "/review/{id}/seen", "/review/{app}/seen", "snnnnyysss"),
    ("POST", "/review/{id}/claim", "/review/{app}/claim", "snnnnyysss"),
    ("POST", "/review/{id}/release", "/review/{app}/release", "snnnnyysss"),
    ("POST", "/review/{id}/comment", "/review/{app}/comment", "snnnnyysss"),
    ("POST", "/review/{id}/check", "/review/{app}/check", "snnnnyysss"),
    ("POST", "/review/{id}/changes", "/review/{app}/changes", "snnnnyysss"),
    ("POST", "/review/{id}/undo", "/review/{app}/undo", "snnnnyfsss"),
    ("POST", "/review/{id}/approve", "/review/{app}/approve", "snnnnyysss"),
    ("POST", "/review/{id}/decline", "/review/{app}/decline", "snnnnyysss"),
    ("POST", "/review/{id}/revoke", "/review/{app}/revoke", "snnnnyysss"),
    ("GET", "/review/grants.{ending}", "/review/grants.csv", "snnnnyysss"),
    ("GET", "/review/grants", "/review/grants", "snnnnyysss"),
    ("GET", "/review/renewals", "/review/renewals", "snnnnyysss"),
    ("GET", "/review/renewals.{ending}", "/review/renewals.csv", "snnnnyysss"),
    ("GET", "/review/renewals/{id}", "/review/renewals/{renewal}", "snnnnyysss"),
    ("POST", "/review/renewals/{id}/approve", "/review/renewals/{renewal}/approve", "snnnnyysss"),
    ("POST", "/review/renewals/{id}/decline", "/review/renewals/{renewal}/decline", "snnnnyysss"),
    // Running the portal.
    ("GET", "/admin", "/admin", "snnnnnysss"),
    ("GET", "/admin/people.{ending}", "/admin/people.csv", "snnnnnysss"),
    ("GET", "/admin/people", "/admin/people", "snnnnnysss"),
    ("GET", "/admin/people/{id}", "/admin/people/{account}", "snnnnyysss"),
    ("POST", "/admin/people/{id}/block", "/admin/people/{account}/block", "snnnnyysss"),
    ("POST", "/admin/people/{id}/blocks/{block}/lift", "/admin/people/{account}/blocks/{block}/lift", "snnnnnnsss"),
    ("GET", "/admin/people/{id}/erase", "/admin/people/{account}/erase", "snnnnnysss"),
    ("POST", "/admin/people/{id}/erase", "/admin/people/{account}/erase", "snnnnnysss"),
    ("POST", "/admin/people/{id}/role", "/admin/people/{account}/role", "snnnnnysss"),
    ("POST", "/admin/people/{id}/close", "/admin/people/{account}/close", "snnnnnysss"),
    ("POST", "/admin/people/{id}/reopen", "/admin/people/{account}/reopen", "snnnnnysss"),
    ("GET", "/admin/models.{ending}", "/admin/models.csv", "snnnnnysss"),
    ("GET", "/admin/models", "/admin/models", "snnnnnysss"),
    ("POST", "/admin/models/{id}/gate", "/admin/models/{model}/gate", "snnnnnysss"),
    ("GET", "/admin/models/{id}/open", "/admin/models/{model}/open", "snnnnnysss"),
    ("POST", "/admin/models/{id}/open", "/admin/models/{model}/open", "snnnnnysss"),
    ("POST", "/admin/models/{id}/licence-change", "/admin/models/{model}/licence-change", "snnnnnysss"),
    ("POST", "/admin/models/{id}/policy", "/admin/models/{model}/policy", "snnnnnysss"),
    ("GET", "/admin/models/{id}", "/admin/models/{model}", "snnnnnysss"),
    ("GET", "/admin/models/{id}.{ending}", "/admin/models/{model}.csv", "snnnnnysss"),
    ("GET", "/admin/models/{id}/form", "/admin/models/{model}/form", "snnnnnysss"),
    ("GET", "/admin/models/{id}/form.json", "/admin/models/{model}/form.json", "snnnnnysss"),
    ("POST", "/admin/models/{id}/form/start", "/admin/models/{model}/form/start", "snnnnnysss"),
    ("POST", "/admin/models/{id}/form/discard", "/admin/models/{model}/form/discard", "snnnnnysss"),
    ("GET", "/admin/models/{id}/form/preview", "/admin/models/{model}/form/preview", "snnnnnysss"),
    ("GET", "/admin/models/{id}/form/compare", "/admin/models/{model}/form/compare", "snnnnnysss"),
    ("POST", "/admin/models/{id}/form/publish", "/admin/models/{model}/form/publish", "snnnnnysss"),
    ("GET", "/admin/models/{id}/form/json", "/admin/models/{model}/form/json", "snnnnnysss"),
    ("POST", "/admin/models/{id}/form/json", "/admin/models/{model}/form/json", "snnnnnysss"),
    ("GET", "/admin/models/{id}/form/versions/{version}", "/admin/models/{model}/form/versions/0", "snnnnnysss"),
    ("GET", "/admin/models/{id}/form/new/{part}", "/admin/models/{model}/form/new/questions", "snnnnnysss"),
    ("POST", "/admin/models/{id}/form/new/{part}", "/admin/models/{model}/form/new/questions", "snnnnnysss"),
    ("GET", "/admin/models/{id}/form/{part}/{name}", "/admin/models/{model}/form/questions/title", "snnnnnysss"),
    ("POST", "/admin/models/{id}/form/{part}/{name}", "/admin/models/{model}/form/questions/title", "snnnnnysss"),
    ("POST", "/admin/models/{id}/form/{part}/{name}/move", "/admin/models/{model}/form/questions/title/move", "snnnnnysss"),
    ("POST", "/admin/models/{id}/form/{part}/{name}/remove", "/admin/models/{model}/form/questions/title/remove", "snnnnnysss"),
    ("GET", "/admin/releases/{id}", "/admin/releases/{release}", "snnnnnysss"),
    ("POST", "/admin/releases/{id}/publish", "/admin/releases/{release}/publish", "snnnnnysss"),
    ("POST", "/admin/releases/{id}/discard", "/admin/releases/{release}/discard", "snnnnnysss"),
    ("POST", "/admin/releases/{id}/yank", "/admin/releases/{release}/yank", "snnnnnysss"),
    ("POST", "/admin/releases/{id}/restore", "/admin/releases/{release}/restore", "snnnnnysss"),
    ("GET", "/admin/grants.{ending}", "/admin/grants.csv", "snnnnnysss"),
    ("GET", "/admin/grants", "/admin/grants", "snnnnnysss"),
    ("GET", "/admin/grants/{id}", "/admin/grants/{grant}", "snnnnyysss"),
    ("POST", "/admin/grants/{id}/revoke", "/admin/grants/{grant}/revoke", "snnnnyysss"),
    ("POST", "/admin/grants/{id}/suspend", "/admin/grants/{grant}/suspend", "snnnnyysss"),
    ("POST", "/admin/grants/{id}/reinstate", "/admin/grants/{grant}/reinstate", "snnnnyysss"),
    ("POST", "/admin/grants/{id}/confirm", "/admin/grants/{grant}/confirm", "snnnnyysss"),
    ("POST", "/admin/grants/{id}/reject", "/admin/grants/{grant}/reject", "snnnnyysss"),
    ("GET", "/admin/audit", "/admin/audit", "snnnnnysss"),
    ("GET", "/admin/audit.{ending}", "/admin/audit.csv", "snnnnnysss"),
    ("GET", "/admin/audit.{ending}", "/admin/audit.jsonl", "snnnnnysss"),
    // The log: hashes for everybody, entries for admins, receipts for whom they concern.
    ("GET", "/audit/checkpoint", "/audit/checkpoint", "yyyyyyyyyy"),
    ("GET", "/audit/key", "/audit/key", "yyyyyyyyyy"),
    ("GET", "/audit/tile/{level}/{tile:.*}", "/audit/tile/0/000.p/1", "yyyyyyyyyy"),
    ("GET", "/audit/tile/entries/{tile:.*}", "/audit/tile/entries/000.p/1", "snnnnnysss"),
    ("GET", "/audit/receipt/{seq}", "/audit/receipt/{approval}", "snynnyysss"),
    ("GET", "/admin/jobs", "/admin/jobs", "snnnnnysss"),
    ("GET", "/admin/jobs.{ending}", "/admin/jobs.csv", "snnnnnysss"),
    ("GET", "/admin/statistics", "/admin/statistics", "snnnnnysss"),
    ("GET", "/admin/statistics/{file}", "/admin/statistics/waits.csv", "snnnnnysss"),
    ("GET", "/admin/statistics/{file}", "/admin/statistics/waits", "snnnnnysss"),
    ("GET", "/admin/statistics/{file}", "/admin/statistics/nothing", "snnnnnnsss"),
    ("GET", "/admin/store", "/admin/store", "snnnnnysss"),
    ("GET", "/admin/store/faulty.{ending}", "/admin/store/faulty.csv", "snnnnnysss"),
    ("GET", "/admin/store/rounds.{ending}", "/admin/store/rounds.csv", "snnnnnysss"),
    ("GET", "/admin/mail", "/admin/mail", "snnnnnysss"),
    ("GET", "/admin/mail/{id}", "/admin/mail/{mail}", "snnnnnysss"),
    ("GET", "/admin/mail.{ending}", "/admin/mail.csv", "snnnnnysss"),
    ("POST", "/admin/mail/retry", "/admin/mail/retry", "snnnnnysss"),
    ("POST", "/admin/mail/{id}/retry", "/admin/mail/{mail}/retry", "snnnnnysss"),
    ("GET", "/admin/usage", "/admin/usage", "snnnnnysss"),
    ("GET", "/admin/usage.{ending}", "/admin/usage.csv", "snnnnnysss"),
    ("GET", "/admin/usage/generations.{ending}", "/admin/usage/generations.csv", "snnnnnysss"),
    ("GET", "/admin/usage/generations", "/admin/usage/generations", "snnnnnysss"),
    // The Hub's interface: what is on offer is public, the bytes are not.
    ("GET", "/api/agent-harnesses", "/api/agent-harnesses", "yyyyyyyyyy"),
    ("HEAD", "/api/telemetry/{topic:.*}", "/api/telemetry/x", "yyyyyyyyyy"),
    ("GET", "/api/whoami-v2", "/api/whoami-v2", "syyyyyyyys"),
    ("GET", "/api/models", "/api/models", "yyyyyyyyys"),
    ("GET", "/api/models/{org}/{name}", "/api/models/{gated}", "yyyyyyyyys"),
    ("GET", "/api/models/{org}/{name}/revision/{revision}", "/api/models/{gated}/revision/main", "yyyyyyyyys"),
    ("GET", "/api/models/{org}/{name}/tree/{revision}", "/api/models/{gated}/tree/main", "yyyyyyyyys"),
    ("GET", "/api/models/{org}/{name}/tree/{revision}/{path:.*}", "/api/models/{gated}/tree/main/nothing", "nnnnnnnnns"),
    ("POST", "/api/models/{org}/{name}/paths-info/{revision}", "/api/models/{gated}/paths-info/main", "yyyyyyyyys"),
    ("GET", "/api/models/{org}/{name}/refs", "/api/models/{gated}/refs", "yyyyyyyyys"),
    ("GET", "/api/models/{org}/{name}/commits/{revision}", "/api/models/{gated}/commits/main", "yyyyyyyyys"),
    // Reviewers' programs, by tokens with the scope `review` alone.
    ("GET", "/api/models/{org}/{name}/user-access-request/{status}", "/api/models/{gated}/user-access-request/pending", "sssssssffs"),
    ("JSON", "/api/models/{org}/{name}/user-access-request/handle", "/api/models/{gated}/user-access-request/handle", "sssssssffs"),
    ("JSON", "/api/models/{org}/{name}/user-access-request/grant", "/api/models/{gated}/user-access-request/grant", "sssssssffs"),
    ("GET", "/api/models/{org}/{name}/auth-check", "/api/models/{gated}/auth-check", "sfyfffyyfs"),
    ("GET", "/{org}/{name}/resolve/{revision}/{path:.*}", "/{gated}/resolve/{revision}/model.safetensors", "sfyfffyyfs"),
    ("HEAD", "/{org}/{name}/resolve/{revision}/{path:.*}", "/{gated}/resolve/{revision}/model.safetensors", "sfyfffyyfs"),
    ("GET", "/{org}/{name}/resolve/{revision}/{path:.*}", "/{gated}/resolve/{revision}/config.json", "sfyfffyyfs"),
    ("GET", "/{org}/{name}/resolve/{revision}/{path:.*}", "/{gated}/resolve/{revision}/README.md", "yyyyyyyyys"),
    ("GET", "/{org}/{name}/resolve/{revision}/{path:.*}", "/{open}/resolve/main/model.safetensors", "yyyyyyyyfs"),
    ("GET", "/{org}/{name}/raw/{revision}/{path:.*}", "/{gated}/raw/{revision}/config.json", "sfyfffyyfs"),
    // The interface of our own: by tokens alone, each for what its scope says; what is on offer is public.
    ("GET", "/api/openapi.json", "/api/openapi.json", "yyyyyyyyyy"),
    ("GET", "/api/docs", "/api/docs", "yyyyyyyyyy"),
    ("GET", "/api/docs/{tag}", "/api/docs/models", "yyyyyyyyyy"),
    ("GET", "/api/docs/{tag}", "/api/docs/nothing", "nnnnnnnnnn"),
    ("GET", "/api/v1/models", "/api/v1/models", "yyyyyyyyys"),
    ("GET", "/api/v1/models/{org}/{name}", "/api/v1/models/{gated}", "yyyyyyyyys"),
    ("GET", "/api/v1/models/{org}/{name}/licence", "/api/v1/models/{gated}/licence", "yyyyyyyyys"),
    ("GET", "/api/v1/models/{org}/{name}/turnaround", "/api/v1/models/{gated}/turnaround", "yyyyyyyyys"),
    ("GET", "/api/v1/models/{org}/{name}/form", "/api/v1/models/{gated}/form", "sssssssffs"),
    ("PUT", "/api/v1/models/{org}/{name}/application", "/api/v1/models/{gated}/application", "sssssssffs"),
    ("JSON", "/api/v1/models/{org}/{name}/application", "/api/v1/models/{gated}/application", "sssssssffs"),
    ("GET", "/api/v1/applications", "/api/v1/applications", "sssssssffs"),
    ("GET", "/api/v1/applications/{id}", "/api/v1/applications/{app}", "sssssssffs"),
    ("JSON", "/api/v1/applications/{id}/withdraw", "/api/v1/applications/{app}/withdraw", "sssssssffs"),
    ("JSON", "/api/v1/applications/{id}/comment", "/api/v1/applications/{app}/comment", "sssssssffs"),
    ("JSON", "/api/v1/applications/{id}/appeal", "/api/v1/applications/{app}/appeal", "sssssssffs"),
    ("GET", "/api/v1/review", "/api/v1/review", "sssssssffs"),
    ("JSON", "/api/v1/review/bulk", "/api/v1/review/bulk", "sssssssffs"),
    ("JSON", "/api/v1/review/bulk/preview", "/api/v1/review/bulk/preview", "sssssssffs"),
    ("GET", "/api/v1/review/views", "/api/v1/review/views", "sssssssffs"),
    ("GET", "/api/v1/review/renewals", "/api/v1/review/renewals", "sssssssffs"),
    ("GET", "/api/v1/review/renewals/{id}", "/api/v1/review/renewals/{renewal}", "sssssssffs"),
    ("JSON", "/api/v1/review/renewals/{id}/approve", "/api/v1/review/renewals/{renewal}/approve", "sssssssffs"),
    ("JSON", "/api/v1/review/renewals/{id}/decline", "/api/v1/review/renewals/{renewal}/decline", "sssssssffs"),
    ("GET", "/api/v1/review/grants", "/api/v1/review/grants", "sssssssffs"),
    ("GET", "/api/v1/review/grants/{id}", "/api/v1/review/grants/{grant}", "sssssssffs"),
    ("JSON", "/api/v1/review/grants/{id}/revoke", "/api/v1/review/grants/{grant}/revoke", "sssssssffs"),
    ("JSON", "/api/v1/review/grants/{id}/suspend", "/api/v1/review/grants/{grant}/suspend", "sssssssffs"),
    ("JSON", "/api/v1/review/grants/{id}/reinstate", "/api/v1/review/grants/{grant}/reinstate", "sssssssffs"),
    ("JSON", "/api/v1/review/grants/{id}/confirm", "/api/v1/review/grants/{grant}/confirm", "sssssssffs"),
    ("JSON", "/api/v1/review/grants/{id}/reject", "/api/v1/review/grants/{grant}/reject", "sssssssffs"),
    ("GET", "/api/v1/review/{id}", "/api/v1/review/{app}", "sssssssffs"),
    ("JSON", "/api/v1/review/{id}/claim", "/api/v1/review/{app}/claim", "sssssssffs"),
    ("JSON", "/api/v1/review/{id}/release", "/api/v1/review/{app}/release", "sssssssffs"),
    ("JSON", "/api/v1/review/{id}/comment", "/api/v1/review/{app}/comment", "sssssssffs"),
    ("PUT", "/api/v1/review/{id}/check", "/api/v1/review/{app}/check", "sssssssffs"),
    ("JSON", "/api/v1/review/{id}/changes", "/api/v1/review/{app}/changes", "sssssssffs"),
    ("JSON", "/api/v1/review/{id}/approve", "/api/v1/review/{app}/approve", "sssssssffs"),
    ("JSON", "/api/v1/review/{id}/decline", "/api/v1/review/{app}/decline", "sssssssffs"),
    ("JSON", "/api/v1/review/{id}/approve/preview", "/api/v1/review/{app}/approve/preview", "sssssssffs"),
    ("JSON", "/api/v1/review/{id}/decline/preview", "/api/v1/review/{app}/decline/preview", "sssssssffs"),
    ("JSON", "/api/v1/review/{id}/undo", "/api/v1/review/{app}/undo", "sssssssffs"),
    ("GET", "/api/v1/grants", "/api/v1/grants", "sssssssffs"),
    ("GET", "/api/v1/grants/{id}", "/api/v1/grants/{grant}", "sssssssffs"),
    ("JSON", "/api/v1/grants/{id}/renew", "/api/v1/grants/{grant}/renew", "sssssssffs"),
    ("JSON", "/api/v1/grants/{id}/renew/withdraw", "/api/v1/grants/{grant}/renew/withdraw", "sssssssffs"),
    ("GET", "/api/v1/grants/{id}/consent", "/api/v1/grants/{grant}/consent", "sssssssffs"),
    ("JSON", "/api/v1/grants/{id}/consent", "/api/v1/grants/{grant}/consent", "sssssssffs"),
    ("JSON", "/api/v1/grants/{id}/close", "/api/v1/grants/{grant}/close", "sssssssffs"),
    ("GET", "/api/v1/me", "/api/v1/me", "sssssssyys"),
    ("PUT", "/api/v1/me/name", "/api/v1/me/name", "sssssssffs"),
    ("GET", "/api/v1/me/mails", "/api/v1/me/mails", "sssssssffs"),
    ("PUT", "/api/v1/me/mails", "/api/v1/me/mails", "sssssssffs"),
    ("GET", "/api/v1/me/data", "/api/v1/me/data", "sssssssffs"),
    ("GET", "/api/v1/sessions", "/api/v1/sessions", "sssssssffs"),
    ("DELETE", "/api/v1/sessions", "/api/v1/sessions", "sssssssffs"),
    ("DELETE", "/api/v1/sessions/{id}", "/api/v1/sessions/{session}", "sssssssffs"),
    ("GET", "/api/v1/receipts/{seq}", "/api/v1/receipts/{approval}", "sssssssffs"),
    ("GET", "/api/v1/tokens", "/api/v1/tokens", "sssssssffs"),
    ("JSON", "/api/v1/tokens", "/api/v1/tokens", "sssssssffs"),
    ("JSON", "/api/v1/tokens/leaked", "/api/v1/tokens/leaked", "yyyyyyyyyy"),
    ("DELETE", "/api/v1/tokens/{id}", "/api/v1/tokens/{token}", "sssssssffs"),
    ("GET", "/api/v1/downloads", "/api/v1/downloads", "sssssssffs"),
    ("GET", "/api/v1/downloads/summary", "/api/v1/downloads/summary", "sssssssffs"),
    ("GET", "/api/v1/admin/people", "/api/v1/admin/people", "sssssssffs"),
    ("GET", "/api/v1/admin/people/{id}", "/api/v1/admin/people/{account}", "sssssssffs"),
    ("PUT", "/api/v1/admin/people/{id}/role", "/api/v1/admin/people/{account}/role", "sssssssffs"),
    ("JSON", "/api/v1/admin/people/{id}/close", "/api/v1/admin/people/{account}/close", "sssssssffs"),
    ("JSON", "/api/v1/admin/people/{id}/reopen", "/api/v1/admin/people/{account}/reopen", "sssssssffs"),
    ("GET", "/api/v1/admin/blocks", "/api/v1/admin/blocks", "sssssssffs"),
    ("GET", "/api/v1/admin/people/{id}/blocks", "/api/v1/admin/people/{account}/blocks", "sssssssffs"),
    ("JSON", "/api/v1/admin/people/{id}/blocks", "/api/v1/admin/people/{account}/blocks", "sssssssffs"),
    ("JSON", "/api/v1/admin/people/{id}/blocks/{block}/lift", "/api/v1/admin/people/{account}/blocks/{block}/lift", "sssssssffs"),
    ("GET", "/api/v1/admin/models/{id}/access", "/api/v1/admin/models/{model}/access", "sssssssffs"),
    ("PUT", "/api/v1/admin/models/{id}/gate", "/api/v1/admin/models/{model}/gate", "sssssssffs"),
    ("PUT", "/api/v1/admin/models/{id}/policy", "/api/v1/admin/models/{model}/policy", "sssssssffs"),
    ("JSON", "/api/v1/admin/models/{id}/licence-change", "/api/v1/admin/models/{model}/licence-change", "sssssssffs"),
    ("GET", "/api/v1/admin/models/{id}/form", "/api/v1/admin/models/{model}/form", "sssssssffs"),
    ("GET", "/api/v1/admin/models/{id}/form/versions/{version}", "/api/v1/admin/models/{model}/form/versions/0", "sssssssffs"),
    ("PUT", "/api/v1/admin/models/{id}/form/draft", "/api/v1/admin/models/{model}/form/draft", "sssssssffs"),
    ("GET", "/api/v1/admin/models/{id}/form/compare", "/api/v1/admin/models/{model}/form/compare", "sssssssffs"),
    ("JSON", "/api/v1/admin/models/{id}/form/publish", "/api/v1/admin/models/{model}/form/publish", "sssssssffs"),
    ("JSON", "/api/v1/admin/models/{id}/form/discard", "/api/v1/admin/models/{model}/form/discard", "sssssssffs"),
    ("JSON", "/api/v1/admin/people/{id}/erase", "/api/v1/admin/people/{account}/erase", "sssssssffs"),
    ("GET", "/api/v1/admin/models", "/api/v1/admin/models", "sssssssffs"),
    ("GET", "/api/v1/admin/models/{id}/releases", "/api/v1/admin/models/{model}/releases", "sssssssffs"),
    ("GET", "/api/v1/admin/releases/{id}", "/api/v1/admin/releases/{release}", "sssssssffs"),
    ("JSON", "/api/v1/admin/releases/{id}/publish", "/api/v1/admin/releases/{release}/publish", "sssssssffs"),
    ("JSON", "/api/v1/admin/releases/{id}/discard", "/api/v1/admin/releases/{release}/discard", "sssssssffs"),
    ("JSON", "/api/v1/admin/releases/{id}/yank", "/api/v1/admin/releases/{release}/yank", "sssssssffs"),
    ("JSON", "/api/v1/admin/releases/{id}/restore", "/api/v1/admin/releases/{release}/restore", "sssssssffs"),
    ("GET", "/api/v1/admin/audit", "/api/v1/admin/audit", "sssssssffs"),
    ("GET", "/api/v1/admin/mails", "/api/v1/admin/mails", "sssssssffs"),
    ("JSON", "/api/v1/admin/mails/retry", "/api/v1/admin/mails/retry", "sssssssffs"),
    ("GET", "/api/v1/admin/mails/{id}", "/api/v1/admin/mails/{mail}", "sssssssffs"),
    ("JSON", "/api/v1/admin/mails/{id}/retry", "/api/v1/admin/mails/{mail}/retry", "sssssssffs"),
    ("GET", "/api/v1/admin/usage", "/api/v1/admin/usage", "sssssssffs"),
    ("GET", "/api/v1/admin/usage/totals", "/api/v1/admin/usage/totals", "sssssssffs"),
    ("GET", "/api/v1/admin/usage/generations", "/api/v1/admin/usage/generations", "sssssssffs"),
    ("GET", "/api/v1/admin/statistics", "/api/v1/admin/statistics", "sssssssffs"),
    ("GET", "/api/v1/admin/jobs", "/api/v1/admin/jobs", "sssssssffs"),
    ("GET", "/api/v1/admin/store", "/api/v1/admin/store", "sssssssffs"),
    // Trying.
    ("GET", "/playground", "/playground", "yyyyyyyyyy"),
    ("TRY", "/playground", "/playground", "yyyyyyyyyy"),
    ("TRY", "/playground/complete", "/playground/complete", "ffyfffyfyf"),
    ("GET", "/v1/models", "/v1/models", "sssssssfys"),
    ("GET", "/v1/models/{org}/{name}", "/v1/models/{gated}", "sssssssfys"),
    ("GET", "/v1/models/{full_name}", "/v1/models/lab%2Fgated", "sssssssfys"),
    ("JSON", "/v1/completions", "/v1/completions", "sssssssfys"),
    ("JSON", "/tokenize", "/tokenize", "sssssssfys"),
    ("JSON", "/detokenize", "/detokenize", "sssssssfys"),
    ("GET", "/tokenizer_info", "/tokenizer_info?model={gated}", "sssssssfys"),
    // Last, because it ends the sessions of those who may.
    ("POST", "/sign-out", "/sign-out", "syyyyyysss"),
];

const OPEN: &str = "lab/open";
const GATED: &str = "lab/gated";

fn letter(page: &Page) -> char {
    match page.status {
        401 => 's',
        403 => 'f',
        404 => 'n',
        303 if page.location().starts_with("/sign-in") => 's',
        status if status < 500 => 'y',
        status => panic!("{status}: {}", page.text),
    }
}

async fn knocks(person: &Person, method: &str, path: &str) -> Page {
    match method {
        "GET" => person.get(path).await,
        "HEAD" => Page::of(person.request(Method::HEAD, path).send().await.unwrap()).await,
        "POST" => person.post(path, &[]).await,
        "TRY" => person.post(path, &[("model", GATED), ("text", "In the"), ("max_tokens", "1")]).await,
        "JSON" | "PUT" | "DELETE" => {
            let method = if method == "JSON" { Method::POST } else { Method::from_bytes(method.as_bytes()).unwrap() };
            let body = json!({ "model": GATED, "prompt": "a", "tokens": [4], "max_tokens": 1 });
            Page::of(person.request(method, path).json(&body).send().await.unwrap()).await
        }
        other => panic!("{other} is no method of this table"),
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn every_route_lets_through_whom_it_should_and_nobody_else(db: PgPool) {
    let portal = TestPortal::start_narrow(db).await;
    let (visitors, fill) = everybody(&portal).await;
    let mut faults = Vec::new();
    for (method, pattern, path, expected) in TABLE {
        let path = fill.iter().fold((*path).to_owned(), |path, (name, value)| path.replace(name, value));
        let mut got = String::new();
        for person in &visitors {
            got.push(letter(&knocks(person, method, &path).await));
        }
        for (place, (got, expected)) in got.chars().zip(expected.chars()).enumerate() {
            if got != expected {
                faults.push(format!("{method} {pattern} as {}: {got}, should be {expected}", VISITORS[place]));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// One person of each kind, in the order of [`VISITORS`], and what stands for the placeholders.
async fn everybody(portal: &TestPortal) -> (Vec<Person>, Vec<(&'static str, String)>) {
    let toy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/demo/opt-verse-6m");
    let files: Vec<(&str, Vec<u8>)> = ["config.json", "model.safetensors", "tokenizer.json", "README.md"]
        .map(|name| (name, std::fs::read(toy.join(name)).unwrap()))
        .into();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    portal.offers(OPEN, Gate::Open, &files).await;
    let gated = portal.offers(GATED, Gate::Application, &files).await;
    relicense(portal, Some(gated.model), LICENCE, portal.portal.clock.now()).await;

    let reviewer = portal.reviewer("grace").await;
    let admin = portal.admin("root").await;
    let (expired, granted) = (portal.researcher("emmy").await, portal.researcher("ada").await);
    operator(portal, &["add", &expired.email, GATED, "--reason", "a test", "--days", "1"]).await;
    portal.wait(Duration::days(2));
    let (plain, revoked) = (portal.researcher("bob").await, portal.researcher("rosa").await);
    operator(portal, &["add", &revoked.email, GATED, "--reason", "a test"]).await;
    operator(portal, &["revoke", &revoked.email, GATED, "--reason", "a test"]).await;

    let application = applies_for(&granted, &format!("/{GATED}")).await;
    let application = application.rsplit('/').next().unwrap().to_owned();
    let page = reviewer.post(&format!("/review/{application}/approve"), &[("until", "2026-06-30"), ("note", "")]).await;
    assert_eq!(page.status, 303, "{}", page.text);
    // The decision stands from here on: it is not undone by whoever walks the table.
    portal.wait(Duration::minutes(10));
    let download = granted.with_token(&granted.makes_token(&["download"]).await);
    let api = granted.with_token(&granted.makes_token(&["api"]).await);
    let bad = granted.with_token(&format!("slc_{}", "a".repeat(48)));

    portal.researcher("spare").await;
    portal.portal.audit.integrate(&portal.portal.db).await.unwrap();
    let mut db = portal.portal.db.acquire().await.unwrap();
    let spare = accounts::find_by_email(&mut db, &Email::parse("spare@university.edu").unwrap()).await.unwrap().unwrap().id;
    let holder = accounts::find_by_email(&mut db, &Email::parse(&granted.email).unwrap()).await.unwrap().unwrap().id;
    let grant = server::access::grants_of(&mut db, holder).await.unwrap()[0].grant.id;
    let release = server::catalog::resolve(&mut db, gated.model, "main").await.unwrap().unwrap().id;
    let mail = server::mail::page(&mut db, &server::mail::Filter::default(), 1).await.unwrap()[0].id;
    let of_application = server::audit::Filter { subjects: Some(vec![application.clone()]), ..Default::default() };
    let approval = server::audit::page(&mut db, &of_application, 1).await.unwrap()[0].seq;
    let renewal = server::ids::RenewalId::fresh();
    sqlx::query(
        "insert into renewal (id, grant_id, state, summary, publications, months, asked_at) values ($1, $2, 'open', 'a test', '', 6, now())",
    )
    .bind(renewal.uuid())
    .bind(grant.uuid())
    .execute(&mut *db)
    .await
    .unwrap();
    let fill = vec![
        ("{renewal}", renewal.to_string()),
        ("{approval}", approval.to_string()),
        ("{open}", OPEN.to_owned()),
        ("{gated}", GATED.to_owned()),
        ("{revision}", gated.revision.clone()),
        ("{app}", application),
        ("{account}", spare.to_string()),
        ("{model}", gated.model.to_string()),
        ("{grant}", grant.to_string()),
        ("{release}", release.to_string()),
        ("{mail}", mail.to_string()),
        ("{block}", server::ids::BlockId::fresh().to_string()),
        ("{session}", server::ids::SessionId::fresh().to_string()),
        ("{token}", server::ids::TokenId::fresh().to_string()),
    ];
    (vec![portal.visitor(), plain, granted, expired, revoked, reviewer, admin, download, api, bad], fill)
}

/// What an operator types behind `sluice grant`.
async fn operator(portal: &TestPortal, words: &[&str]) {
    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        command: GrantCommand,
    }
    let line = Line::parse_from(["grant"].iter().chain(words));
    grant::run(&portal.portal, line.command).await.unwrap();
}

#[test]
fn every_route_has_a_row() {
    let patterns: BTreeSet<String> = route_table::registered().into_iter().map(|(_, pattern)| pattern).collect();
    let rows: BTreeSet<String> = TABLE.iter().map(|(_, pattern, _, _)| (*pattern).to_owned()).collect();
    let missing: Vec<_> = patterns.difference(&rows).collect();
    let extra: Vec<_> = rows.difference(&patterns).collect();
    assert!(missing.is_empty() && extra.is_empty(), "routes without a row: {missing:?}; rows without a route: {extra:?}");
}
