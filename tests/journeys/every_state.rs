//! Something in every state that there is, the routes that lead to it, and those who brought it there.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::{Value, json};
use server::access;
use server::accounts::{Role, Scope};
use server::ids::{ApplicationId, BlockId, GrantId, MailId, ModelId, ReleaseId, RenewalId, SessionId, TokenId};
use sqlx::types::Uuid;
use tests::{Page, Person, TestPortal};
use time::Duration;

use crate::api_document::described;
use crate::apply_and_review::case_of;
use crate::gated::gated;
use crate::grants::{account_of, grant_of};
use crate::privacy::{CANARY, canary_answers};
use crate::route_table;

/// What stands in everything that reviewers write among themselves.
pub const INTERNAL: &str = "xolotl";
/// What stands in everything that was typed and not sent.
pub const UNSENT: &str = "tezcatlipoca";

/// Every state that an application and its grant may be in. The one that waits for a month comes first.
pub const STATES: [&str; 15] = [
    "lapsed",
    "draft",
    "submitted",
    "claimed",
    "changes requested",
    "approved",
    "declined",
    "appealed",
    "withdrawn",
    "running, renewal asked",
    "suspended",
    "proposed for revocation",
    "revoked",
    "closed",
    "blocked",
];

/// What an id in a path is of, by where it stands, `/api/v1` left out.
pub const KINDS: [(&str, &str); 15] = [
    ("/admin/models/", "model"),
    ("/admin/releases/", "release"),
    ("/admin/people/", "account"),
    ("/admin/grants/", "grant"),
    ("/admin/mail", "mail"),
    ("/applications/", "application"),
    ("/review/renewals/", "renewal"),
    ("/review/grants/", "grant"),
    ("/review/", "application"),
    ("/grants/", "grant"),
    ("/account/sessions/", "session"),
    ("/sessions/", "session"),
    ("/account/tokens/", "token"),
    ("/tokens/", "token"),
    ("", "event"),
];

/// Where a pattern stands on the pages, if it is one of `/api/v1`.
pub fn place(pattern: &str) -> &str {
    pattern.strip_prefix("/api/v1").unwrap_or(pattern)
}

pub fn kind(pattern: &str) -> Option<&'static str> {
    if !pattern.contains("{id}") && !pattern.contains("{seq}") {
        return None;
    }
    let kind = KINDS.iter().find(|(prefix, _)| place(pattern).starts_with(prefix)).map(|(_, kind)| *kind);
    assert_eq!(kind == Some("event"), pattern.contains("{seq}"), "{pattern} needs a row in KINDS");
    kind
}

/// Whether programs alone come this way, with tokens.
fn is_for_programs(pattern: &str) -> bool {
    let first = ["/api/", "/v1/", "/tokenize", "/detokenize"].iter().any(|first| pattern.starts_with(first));
    first || pattern.contains("/resolve/") || pattern.contains("/raw/")
}

/// Somebody at a browser and at a terminal.
pub struct Both {
    pub browser: Person,
    program: Person,
    csrf: String,
}

impl Both {
    /// Their token has every scope that there is, whatever the pages would have given them.
    pub async fn of(portal: &TestPortal, browser: Person) -> Self {
        let program = browser.with_token(&browser.makes_token(&["download"]).await);
        let all = Scope::ALL.map(|scope| scope.as_str().to_owned());
        sqlx::query("update token set scopes = $1").bind(&all[..]).execute(&portal.portal.db).await.unwrap();
        let csrf = browser.csrf().await;
        Self { browser, program, csrf }
    }

    pub async fn visitor(portal: &TestPortal) -> Self {
        let browser = portal.visitor();
        let csrf = browser.csrf().await;
        Self { program: portal.visitor(), browser, csrf }
    }

    pub async fn asks(&self, route: &Route, path: &str) -> Page {
        let method = Method::from_bytes(route.method.as_bytes()).unwrap();
        if is_for_programs(&route.pattern) {
            let request = self.program.request(method.clone(), path);
            let request = if matches!(method, Method::POST | Method::PUT) { request.json(&route.body) } else { request };
            return Page::of(request.send().await.unwrap()).await;
        }
        let request = self.browser.request(method.clone(), path).header("accept", "text/html");
        let request = if method == Method::POST { request.form(&form(&self.csrf)) } else { request };
        Page::of(request.send().await.unwrap()).await
    }
}

/// What fits every form of a page.
fn form(csrf: &str) -> [(&str, &str); 14] {
    [
        ("csrf", csrf),
        ("text", "No."),
        ("note", ""),
        ("lane", "shared"),
        ("until", "2026-06-30"),
        ("reason", "duplicate"),
        ("summary", "We measured how negation fares with size, and found that size helps little."),
        ("publications", ""),
        ("months", "6"),
        ("deleted", "on"),
        ("role", "researcher"),
        ("gate", "open"),
        ("grant", "grant_00000000000000000000000000"),
        ("action", "approve"),
    ]
}

pub struct Route {
    pub method: String,
    pub pattern: String,
    /// What a program sends: the example of the document.
    body: Value,
}

/// Every route of the source, with the bodies that the served document gives as examples; whatever the document has besides, too.
pub async fn routes(portal: &TestPortal) -> Vec<Route> {
    let document = portal.visitor().fetch("/api/openapi.json").await.json();
    let mut all: BTreeSet<(String, String)> = route_table::registered();
    all.extend(described(&document));
    let with_body = |(method, pattern): (String, String)| {
        let schema = &document["paths"][&pattern][method.to_lowercase()]["requestBody"]["content"]["application/json"]["schema"];
        let named = schema["$ref"].as_str().and_then(|path| document.pointer(path.trim_start_matches('#')));
        let body =
            named.map_or_else(|| json!({ "user": "nobody@university.edu", "status": "accepted" }), |schema| schema["example"].clone());
        Route { method, pattern, body }
    };
    all.into_iter().map(with_body).collect()
}

impl Route {
    /// A page that is asked for by its address alone.
    pub fn page(path: &str) -> Self {
        Self { method: "GET".into(), pattern: path.into(), body: Value::Null }
    }

    pub fn reads(&self) -> bool {
        matches!(self.method.as_str(), "GET" | "HEAD")
    }

    /// Whether what it shows depends on who asks, and on nothing that is public.
    pub fn is_personal(&self) -> bool {
        kind(&self.pattern).is_some()
            || ["/applications", "/grants", "/account", "/me", "/downloads"].iter().any(|own| place(&self.pattern).starts_with(own))
    }

    /// Its paths: one for each of the things whose ids it takes, with whose it is; one where it takes none.
    pub fn paths(&self, things: &[Thing]) -> Vec<(String, &'static str)> {
        let whole = self.pattern.replace("{org}/{name}", "demo/kept");
        let mut paths = Vec::new();
        match kind(&self.pattern) {
            None => paths.push((whole, "anybody's")),
            Some(kind) => {
                for thing in things {
                    if let Some(id) = thing.ids.get(kind) {
                        let path = whole.replace("{id}", id).replace("{seq}", id).replace("{block}", &thing.ids["block"]);
                        // Things of different people may be about one model.
                        if !paths.iter().any(|(known, _)| *known == path) {
                            paths.push((path, thing.state));
                        }
                    }
                }
            }
        }
        if place(&self.pattern) == "/review" {
            let asked = ["?view=applicant", "?view=decided", "?q=turin"];
            paths.extend(asked.map(|asked| (format!("{}{asked}", self.pattern), "anybody's")));
        }
        let lists = ["csv", "jsonl"].map(|ending| ("{ending}", ending));
        if self.pattern.contains("{ending}") {
            paths = paths.iter().flat_map(|(path, whose)| lists.map(|(open, ending)| (path.replace(open, ending), *whose))).collect();
        }
        let rest = [
            ("{file}", "waits.csv"),
            ("{revision}", "main"),
            ("{path:.*}", "config.json"),
            ("{tile:.*}", "000.p/1"),
            ("{level}", "0"),
            ("{part}", "questions"),
            ("{name}", "title"),
            ("{version}", "0"),
            ("{topic:.*}", "x"),
            ("{tag}", "review"),
            ("{bundle}", "x"),
            ("{full_name}", "demo%2Fkept"),
            ("{status}", "pending"),
        ];
        let fill = |path: String| rest.iter().fold(path, |path, (open, word)| path.replace(open, word));
        let paths: Vec<_> = paths.into_iter().map(|(path, whose)| (fill(path), whose)).collect();
        assert!(paths.iter().all(|(path, _)| !path.contains('{')), "{paths:?}");
        paths
    }
}

/// Something of somebody, full of words that are not for everybody.
pub struct Thing {
    pub state: &'static str,
    pub owner: Both,
    pub ids: BTreeMap<&'static str, String>,
}

/// Those who bring things into their states.
pub struct Desk {
    grace: Person,
    barbara: Person,
    wheel: Person,
}

pub async fn posts(person: &Person, path: &str, fields: &[(&str, &str)]) -> Page {
    let page = person.post(path, fields).await;
    assert_eq!(page.status, 303, "{path}: {}", page.text);
    page
}

/// Words that are kept, and not sent.
async fn types_on(person: &Person, model: &str) {
    let words = "Quetzalcoatl and Tezcatlipoca";
    posts(person, &format!("{model}/apply/draft"), &[("title", words), ("organisation", words), ("summary", words)]).await;
}

impl Desk {
    pub async fn brings(&self, portal: &TestPortal, number: usize, state: &'static str) -> Thing {
        let model = if state == "proposed for revocation" { "/demo/two" } else { "/demo/kept" };
        let ada = portal.somebody(&format!("{CANARY}-{number}@university.edu"), &format!("Quetzalcoatl {number}"), Role::Researcher).await;
        if state == "draft" {
            types_on(&ada, model).await;
        } else {
            self.leads(portal, &ada, model, state).await;
        }
        // A month ends a session.
        let ada = if state == "lapsed" { portal.by_link(&ada.email, account_of(portal, &ada).await).await } else { ada };
        let ids = ids_of(portal, &ada).await;
        Thing { state, owner: Both::of(portal, ada).await, ids }
    }

    /// From the sending to the state.
    async fn leads(&self, portal: &TestPortal, ada: &Person, model: &str, state: &str) {
        let Desk { grace, barbara, wheel } = self;
        let fields = canary_answers(ada, model).await;
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let application = posts(ada, &format!("{model}/apply"), &fields).await.location().to_owned();
        let case = case_of(&application);
        posts(ada, &format!("{application}/comment"), &[("text", "I am Quetzalcoatl.")]).await;
        posts(grace, &format!("{case}/comment"), &[("lane", "shared"), ("text", "Dear Quetzalcoatl!")]).await;
        posts(grace, &format!("{case}/comment"), &[("lane", "internal"), ("text", "Quetzalcoatl is Xolotl's twin.")]).await;
        posts(grace, &format!("{case}/check"), &[("point", "purpose")]).await;
        let words = [("text", "Which Quetzalcoatl?"), ("note", "Welcome, Quetzalcoatl."), ("until", "2026-05-15"), ("reason", "other")];
        let does = async |by: &Person, verb: &str| drop(posts(by, &format!("{case}/{verb}"), &words).await);
        match state {
            "submitted" => {}
            "claimed" => does(grace, "claim").await,
            "lapsed" => {
                does(grace, "changes").await;
                types_on(ada, model).await;
                portal.wait(Duration::days(30));
                access::sweep_applications(&portal.portal).await.unwrap();
            }
            "changes requested" => {
                does(grace, "changes").await;
                types_on(ada, model).await;
            }
            "declined" => does(grace, "decline").await,
            "appealed" => {
                does(grace, "decline").await;
                posts(ada, &format!("{application}/appeal"), &[("text", "Quetzalcoatl is also a name.")]).await;
            }
            "withdrawn" => {
                does(grace, "changes").await;
                types_on(ada, model).await;
                posts(ada, &format!("{application}/withdraw"), &[]).await;
            }
            granted => {
                does(grace, "approve").await;
                let grant = grant_of(portal, ada).await;
                let why = [("reason", "Quetzalcoatl passed it on"), ("until", "2026-06-30"), ("model", "")];
                match granted {
                    "approved" => {}
                    "running, renewal asked" => {
                        let summary = "We found Quetzalcoatl in it, and in every copy of it, too.";
                        let asked = [("summary", summary), ("publications", "Quetzalcoatl et al."), ("months", "3")];
                        posts(ada, &format!("/grants/{grant}/renew"), &asked).await;
                    }
                    "suspended" => drop(posts(barbara, &format!("/admin/grants/{grant}/suspend"), &why).await),
                    "proposed for revocation" | "revoked" => drop(posts(barbara, &format!("/admin/grants/{grant}/revoke"), &why).await),
                    "closed" => drop(posts(ada, &format!("/grants/{grant}/close"), &[("deleted", "on")]).await),
                    "blocked" => {
                        let page = format!("/admin/people/{}/block", account_of(portal, ada).await);
                        drop(posts(wheel, &page, &why).await);
                    }
                    other => panic!("{other} is no state"),
                }
            }
        }
    }
}

/// What there is of this person, by kind.
async fn ids_of(portal: &TestPortal, person: &Person) -> BTreeMap<&'static str, String> {
    let account = account_of(portal, person).await;
    let newest = async |sql: &'static str| -> Option<Uuid> {
        sqlx::query_scalar(sql).bind(account.uuid()).fetch_optional(&portal.portal.db).await.unwrap()
    };
    let application = newest("select id from application where account_id = $1 order by id desc limit 1").await.map(ApplicationId::from);
    let event = "select seq from audit_event where subject = $1 order by seq desc limit 1";
    let event: Option<i64> =
        sqlx::query_scalar(event).bind(application.map(|id| id.to_string())).fetch_optional(&portal.portal.db).await.unwrap();
    let block = newest("select id from block where account_id = $1").await.map_or_else(BlockId::fresh, BlockId::from);
    let grant = newest("select id from access_grant where account_id = $1").await.map(GrantId::from);
    let renewal = newest("select r.id from renewal r join access_grant g on g.id = r.grant_id where g.account_id = $1").await;
    let session = newest("select id from session where account_id = $1 order by id desc limit 1").await.map(SessionId::from);
    let mail = newest("select m.id from mail m join account a on a.email = m.recipient where a.id = $1 order by m.id desc limit 1").await;
    person.makes_token(&["apply"]).await;
    let token = newest("select id from token where account_id = $1 order by id desc limit 1").await.map(TokenId::from);
    let model = newest("select model_id from application where account_id = $1 limit 1").await.map(ModelId::from);
    let release = newest("select r.id from release r join application a using (model_id) where a.account_id = $1 limit 1").await;
    let all = [
        ("account", Some(account.to_string())),
        ("application", application.map(|id| id.to_string())),
        ("event", event.map(|seq| seq.to_string())),
        ("block", Some(block.to_string())),
        ("grant", grant.map(|id| id.to_string())),
        ("renewal", renewal.map(|id| RenewalId::from(id).to_string())),
        ("session", session.map(|id| id.to_string())),
        ("mail", mail.map(|id| MailId::from(id).to_string())),
        ("token", token.map(|id| id.to_string())),
        ("model", model.map(|id| id.to_string())),
        ("release", release.map(|id| ReleaseId::from(id).to_string())),
    ];
    all.into_iter().filter_map(|(kind, id)| Some((kind, id?))).collect()
}

/// Brings something into every state; who reviewed it comes along. A month passes after the first of them.
pub async fn everything(portal: &TestPortal) -> (Vec<Thing>, Person) {
    gated(portal, "kept").await;
    let two = gated(portal, "two").await;
    let desk =
        Desk { grace: portal.reviewer("grace").await, barbara: portal.reviewer("barbara").await, wheel: portal.admin("wheel").await };
    let rules = [("answer_days", "7"), ("reapply_days", "14"), ("trial_tokens", "0"), ("revoke_needs_two", "on")];
    posts(&desk.wheel, &format!("/admin/models/{two}/policy"), &rules).await;
    let mut things = vec![desk.brings(portal, 0, STATES[0]).await];
    let desk = Desk { grace: portal.reviewer("gladys").await, barbara: portal.reviewer("beate").await, wheel: portal.admin("wanda").await };
    for (number, state) in STATES.into_iter().enumerate().skip(1) {
        things.push(desk.brings(portal, number, state).await);
    }
    (things, desk.grace)
}
