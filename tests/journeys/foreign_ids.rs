//! Ids of others, on every route × role × state: nobody reads a word of what is not theirs to read, and nobody changes a row of it.
//! The routes are those that are served and registered; what a role may see by its office stands in one small table by path.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt};
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
use crate::gated::{applies_for, gated};
use crate::grants::{account_of, grant_of};
use crate::privacy::{CANARY, canary_answers};
use crate::route_table;

/// What stands in everything that reviewers write among themselves.
const INTERNAL: &str = "xolotl";
/// What stands in everything that was typed and not sent.
const UNSENT: &str = "tezcatlipoca";

/// So many requests are on their way at once.
const AT_ONCE: usize = 8;

/// Every state that an application and its grant may be in. The one that waits for a month comes first.
const STATES: [&str; 15] = [
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

/// Whoever asks for what is somebody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    Visitor,
    /// A researcher with nothing.
    Stranger,
    /// One with access of their own to the same model.
    Other,
    /// One who has never touched any of the cases.
    Reviewer,
    Admin,
}

const ASKERS: [Asker; 5] = [Asker::Visitor, Asker::Stranger, Asker::Other, Asker::Reviewer, Asker::Admin];
const DESK: &[Asker] = &[Asker::Reviewer, Asker::Admin];
const ADMINS: &[Asker] = &[Asker::Admin];

/// Whose office it is to see others' things, `/api/v1` left out: the longest prefix counts. What is under none of them is its owner's alone,
/// or public.
const OFFICES: [(&str, &[Asker]); 13] = [
    ("/review", DESK),
    ("/api/models/{org}/{name}/user-access-request", DESK),
    ("/audit/receipt", DESK),
    ("/receipts", DESK),
    ("/audit/tile/entries", ADMINS),
    ("/admin", ADMINS),
    ("/admin/blocks", DESK),
    ("/admin/grants/{id}", DESK),
    ("/admin/people/{id}", DESK),
    ("/admin/people/{id}/role", ADMINS),
    ("/admin/people/{id}/close", ADMINS),
    ("/admin/people/{id}/reopen", ADMINS),
    ("/admin/people/{id}/erase", ADMINS),
];

/// What an id in a path is of, by where it stands, `/api/v1` left out.
const KINDS: [(&str, &str); 15] = [
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
fn place(pattern: &str) -> &str {
    pattern.strip_prefix("/api/v1").unwrap_or(pattern)
}

fn office(pattern: &str) -> Option<&'static [Asker]> {
    let under = OFFICES.iter().filter(|(prefix, _)| place(pattern).starts_with(prefix));
    under.max_by_key(|(prefix, _)| prefix.len()).map(|(_, who)| *who)
}

fn kind(pattern: &str) -> Option<&'static str> {
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
struct Both {
    browser: Person,
    program: Person,
    csrf: String,
}

impl Both {
    /// Their token has every scope that there is, whatever the pages would have given them.
    async fn of(portal: &TestPortal, browser: Person) -> Self {
        let program = browser.with_token(&browser.makes_token(&["download"]).await);
        let all = Scope::ALL.map(|scope| scope.as_str().to_owned());
        sqlx::query("update token set scopes = $1").bind(&all[..]).execute(&portal.portal.db).await.unwrap();
        let csrf = browser.csrf().await;
        Self { browser, program, csrf }
    }

    async fn visitor(portal: &TestPortal) -> Self {
        let browser = portal.visitor();
        let csrf = browser.csrf().await;
        Self { program: portal.visitor(), browser, csrf }
    }

    async fn asks(&self, route: &Route, path: &str) -> Page {
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

struct Route {
    method: String,
    pattern: String,
    /// What a program sends: the example of the document.
    body: Value,
}

/// Every route of the source, with the bodies that the served document gives as examples; whatever the document has besides, too.
async fn routes(portal: &TestPortal) -> Vec<Route> {
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
    fn reads(&self) -> bool {
        matches!(self.method.as_str(), "GET" | "HEAD")
    }

    /// Whether what it shows depends on who asks, and on nothing that is public.
    fn is_personal(&self) -> bool {
        kind(&self.pattern).is_some()
            || ["/applications", "/grants", "/account", "/me", "/downloads"].iter().any(|own| place(&self.pattern).starts_with(own))
    }

    /// Its paths: one for each of the things whose ids it takes, with whose it is; one where it takes none.
    fn paths(&self, things: &[Thing]) -> Vec<(String, &'static str)> {
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
struct Thing {
    state: &'static str,
    owner: Both,
    ids: BTreeMap<&'static str, String>,
}

/// Those who bring things into their states.
struct Desk {
    grace: Person,
    barbara: Person,
    wheel: Person,
}

async fn posts(person: &Person, path: &str, fields: &[(&str, &str)]) -> Page {
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
    async fn brings(&self, portal: &TestPortal, number: usize, state: &'static str) -> Thing {
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

/// Every row of every table, as a hash for each table; when somebody was seen last is left out.
async fn rows(portal: &TestPortal, tables: &[String]) -> Vec<(String, String)> {
    let one = |table: &String| {
        format!(
            "select '{table}', md5(coalesce(string_agg(row, '' order by row), ''))
             from (select (to_jsonb(t) - 'last_used_at' - 'last_seen_at')::text as row from \"{table}\" t) r"
        )
    };
    let sql = tables.iter().map(one).collect::<Vec<_>>().join(" union all ");
    sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(&portal.portal.db).await.unwrap()
}

/// The words of others in an answer or its headers, of those that may not be there.
fn leaks(page: &Page, words: &[&'static str]) -> Option<&'static str> {
    let text = format!("{:?}\n{}", page.headers, page.text).to_lowercase();
    words.iter().find(|word| text.contains(**word)).copied()
}

/// An answer that nobody should get. That a model has no weights to compute with is another kind of 503.
fn fails(page: &Page) -> bool {
    page.status == 500 || page.text.contains("database is busy")
}

fn is_refused(page: &Page) -> bool {
    matches!(page.status, 401 | 403 | 404) || page.status == 303 && page.location().starts_with("/sign-in")
}

/// What is wrong with the answer that `asker` got, if anything is.
fn fault(asker: Asker, route: &Route, page: &Page) -> Option<String> {
    let may = office(&route.pattern).map(|who| who.contains(&asker));
    match may {
        Some(true) if fails(page) => Some("failed".into()),
        Some(true) => leaks(page, &[UNSENT]).map(|word| format!("says {word}")),
        Some(false) if !is_refused(page) => Some("was let through".into()),
        None if kind(&route.pattern).is_some() && !is_refused(page) => Some("was let through".into()),
        Some(false) | None if fails(page) => Some("failed".into()),
        Some(false) | None => leaks(page, &[CANARY, INTERNAL, UNSENT]).map(|word| format!("says {word}")),
    }
}

/// What they might do to others here; what is their own, public or by their office is tried elsewhere.
fn is_tried(asker: Asker, route: &Route) -> bool {
    match office(&route.pattern) {
        _ if route.reads() => true,
        Some(who) => !who.contains(&asker),
        None => kind(&route.pattern).is_some(),
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn nobody_reads_or_changes_what_is_anothers_by_its_id(db: sqlx::PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "kept").await;
    let two = gated(&portal, "two").await;
    let desk =
        Desk { grace: portal.reviewer("grace").await, barbara: portal.reviewer("barbara").await, wheel: portal.admin("wheel").await };
    let rules = [("answer_days", "7"), ("reapply_days", "14"), ("trial_tokens", "0"), ("revoke_needs_two", "on")];
    posts(&desk.wheel, &format!("/admin/models/{two}/policy"), &rules).await;
    let mut things = vec![desk.brings(&portal, 0, STATES[0]).await];
    let desk = Desk { grace: portal.reviewer("gladys").await, barbara: portal.reviewer("beate").await, wheel: portal.admin("wanda").await };
    for (number, state) in STATES.into_iter().enumerate().skip(1) {
        things.push(desk.brings(&portal, number, state).await);
    }
    let other = portal.researcher("bob").await;
    let own = case_of(&applies_for(&other, "/demo/kept").await);
    posts(&desk.grace, &format!("{own}/approve"), &[("until", "2026-05-15"), ("note", "")]).await;
    let askers = [
        Both::visitor(&portal).await,
        Both::of(&portal, portal.researcher("sam").await).await,
        Both::of(&portal, other).await,
        Both::of(&portal, portal.reviewer("hedy").await).await,
        Both::of(&portal, portal.admin("root").await).await,
    ];
    portal.portal.audit.integrate(&portal.portal.db).await.unwrap();
    for (_, kind) in KINDS {
        assert!(things.iter().any(|thing| thing.ids.contains_key(kind)), "there is no {kind}");
    }

    let routes = routes(&portal).await;
    let tables = "select table_name::text from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&portal.portal.db).await.unwrap();
    let (mut faults, mut asked) = (Vec::new(), 0);
    let mut before = rows(&portal, &tables).await;
    for route in &routes {
        let paths = route.paths(&things);
        let tries = ASKERS.into_iter().zip(&askers).filter(|(asker, _)| is_tried(*asker, route));
        let tries: Vec<_> = tries.flat_map(|(asker, person)| paths.iter().map(move |(path, whose)| (asker, person, path, whose))).collect();
        asked += tries.len();
        let answers = stream::iter(tries).map(|(asker, person, path, whose)| async move {
            let page = person.asks(route, path).await;
            fault(asker, route, &page).map(|fault| format!("{asker:?} at {} {path} ({whose}): {} {fault}", route.method, page.status))
        });
        faults.extend(answers.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await.into_iter().flatten());
        let after = rows(&portal, &tables).await;
        let changed: Vec<_> = after.iter().zip(&before).filter(|(is, was)| is != was).map(|((table, _), _)| table).collect();
        if !changed.is_empty() {
            faults.push(format!("{} {} changed {changed:?}", route.method, route.pattern));
        }
        before = after;
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    assert!(asked > 5_000, "{asked} requests");
    they_are_there_for_whom_they_concern(&things, &askers[3], &routes).await;
}

/// Else nothing was shown: owners read their words, and none of those that reviewers write among themselves; reviewers read what was sent.
async fn they_are_there_for_whom_they_concern(things: &[Thing], reviewer: &Both, routes: &[Route]) {
    let own: Vec<&Route> = routes.iter().filter(|route| route.reads() && route.is_personal()).collect();
    for thing in things {
        let paths = own.iter().flat_map(|route| route.paths(std::slice::from_ref(thing)).into_iter().map(|(path, _)| (*route, path)));
        let pages = stream::iter(paths.collect::<Vec<_>>()).map(|(route, path)| async move {
            let page = thing.owner.asks(route, &path).await;
            assert_eq!(leaks(&page, &[INTERNAL]), None, "{} at {path}", thing.state);
            leaks(&page, &[CANARY]).is_some()
        });
        let read = pages.buffer_unordered(AT_ONCE).filter(|has_words| std::future::ready(*has_words)).count().await;
        assert!(read > 10, "{}: {read} pages with their words", thing.state);
        let case = reviewer.browser.get(&format!("/review/{}", thing.ids["application"])).await;
        let words = leaks(&case, &[INTERNAL]);
        assert_eq!(words.is_some(), thing.state != "draft", "{}: {}", thing.state, case.text);
    }
}
