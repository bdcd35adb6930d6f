//! The rules of the house, checked on the source: who may import whom, and what lives only in one place.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The floors, from the ground up. A room may import what stands on a lower floor, never a neighbour on its own.
/// What is not named here (`serve`, `routes`, `openapi`, `metrics`, `workers`, `commands`, `main`, `lib`) is the roof and may import everything.
const FLOORS: &[&[&str]] = &[
    &["error", "ids", "clock", "config", "data_dir"],
    &["http", "audit", "mail", "storage", "integrity", "database", "postgres", "jobs"],
    &["portal", "client"],
    &["accounts"],
    &["catalog"],
    &["access"],
    &["downloads", "playground", "models", "record"],
    &["privacy"],
    &["admin"],
];
const ROOF: &[&str] = &["serve", "routes", "openapi", "metrics", "workers", "commands", "main", "lib"];
/// Pure rules and values: what they say can be read, and tested, without anything around them.
const NOUNS: &[&str] = &[
    "access/application",
    "access/answers",
    "access/clause",
    "access/decline",
    "access/form",
    "access/form_parts",
    "access/form_rules",
    "access/grant",
    "access/renewal",
    "access/scope",
    "accounts/secret",
    "catalog/card",
    "catalog/model",
    "catalog/model_name",
    "downloads/range",
    "models/memory",
];
/// Answers that refuse. `http/problem.rs` gives each error of ours its status; OpenAI's dialect has a place of its own.
const REFUSALS: &[&str] = &[
    "BadRequest",
    "Unauthorized",
    "Forbidden",
    "NotFound",
    "Conflict",
    "Gone",
    "TooManyRequests",
    "UnprocessableEntity",
    "InternalServerError",
    "ServiceUnavailable",
];
/// Most files are far shorter; at this length two things share a bed.
const LINES_MAX: usize = 600;

struct Source {
    path: PathBuf,
    /// The first folder or file below `src`, without `.rs`.
    room: String,
    /// Without comment lines and without the test module at the end.
    code: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("target") && !path.ends_with("node_modules") && !path.ends_with("fixtures") {
                files(&path, ending, found);
            }
        } else if path.to_str().unwrap().ends_with(ending) {
            found.push(path);
        }
    }
}

fn sources(folder: &str) -> Vec<Source> {
    let base = root().join(folder);
    let mut paths = Vec::new();
    files(&base, ".rs", &mut paths);
    assert!(paths.len() > 3, "{folder} has sources");
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let shipped = text.split("#[cfg(test)]").next().unwrap();
            let code = shipped.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
            let first = path.strip_prefix(&base).unwrap().iter().next().unwrap().to_str().unwrap();
            Source { room: first.trim_end_matches(".rs").to_owned(), path, code, text }
        })
        .collect()
}

/// SQL lives here: a room's `store.rs`, or the files of its `store/` where one would be too long.
fn is_store(source: &Source) -> bool {
    source.path.ends_with("store.rs") || source.path.parent().unwrap().ends_with("store")
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// Every room named behind `crate::` in this code, `use crate::{a, b::{c, d}}` included.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for part in code.split("crate::").skip(1) {
        let names = match part.strip_prefix('{') {
            Some(list) => outermost(list),
            None => vec![part],
        };
        for name in names {
            found.insert(name.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect());
        }
    }
    found.remove("");
    found
}

/// What commas part in a list, up to the brace that closes it; inner braces belong to what stands before them.
fn outermost(list: &str) -> Vec<&str> {
    let (mut names, mut depth, mut from) = (Vec::new(), 0, 0);
    for (at, sign) in list.char_indices() {
        match sign {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' | ',' if depth == 0 => {
                names.push(&list[from..at]);
                from = at + 1;
                if sign == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names
}

#[test]
fn imports_are_found_however_they_are_written() {
    let code = "use crate::error::Error;\nuse crate::{access::{authorize, Action}, catalog, http::page};\nlet x = crate::ids::fresh();";
    let expected = ["access", "catalog", "error", "http", "ids"];
    assert_eq!(imports(code).iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[test]
fn imports_run_down() {
    let mut faults = Vec::new();
    for source in sources("server/src") {
        if ROOF.contains(&source.room.as_str()) {
            continue;
        }
        let Some(here) = floor(&source.room) else {
            faults.push(format!("{}: the room {:?} stands on no floor; give it one in FLOORS", source.path.display(), source.room));
            continue;
        };
        for name in imports(&source.code) {
            match floor(&name) {
                _ if name == source.room => faults.push(format!("{}: imports its own face", source.path.display())),
                Some(there) if there < here => {}
                Some(_) => faults.push(format!("{}: {} may not import {name}", source.path.display(), source.room)),
                None if name == "MIGRATOR" => faults.push(format!("{}: the migrations are the roof's", source.path.display())),
                None if ROOF.contains(&name.as_str()) => {
                    faults.push(format!("{}: {} may not import {name}", source.path.display(), source.room))
                }
                None => {}
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// It runs on machines that have nothing of a portal.
#[test]
fn the_client_stands_on_the_ground_and_on_integrity() {
    for source in sources("server/src").into_iter().filter(|source| source.room == "client") {
        for name in imports(&source.code) {
            assert!(name == "integrity" || FLOORS[0].contains(&name.as_str()), "{} imports {name}", source.path.display());
        }
    }
}

#[test]
fn a_store_knows_no_pages_and_a_noun_no_database() {
    let mut nouns = 0;
    for source in sources("server/src") {
        let path = source.path.to_str().unwrap();
        if is_store(&source) {
            for page in ["routes", "actix_web", "HttpRe", "askama"] {
                assert!(!source.code.contains(page), "{path}: a store knows no pages, and this one names {page}");
            }
        }
        if NOUNS.iter().any(|noun| path.ends_with(&format!("src/{noun}.rs"))) {
            nouns += 1;
            for tool in ["sqlx", "PgConnection", "Portal", "actix_web"] {
                assert!(!source.code.contains(tool), "{path}: a noun knows no database and no request, and this one names {tool}");
            }
        }
    }
    assert_eq!(nouns, NOUNS.len(), "every noun has a file");
}

#[test]
fn the_engine_knows_nothing_of_the_web() {
    for source in sources("inference/src") {
        for stranger in ["actix", "sqlx", "reqwest", "server::", "tokio::runtime", "tokio::spawn", "tokio::task", "tokio::net", "tokio::fs"]
        {
            assert!(!source.code.contains(stranger), "{} names {stranger}", source.path.display());
        }
    }
}

#[test]
fn some_things_live_in_one_place_only() {
    let mut faults = Vec::new();
    for source in sources("server/src") {
        let file = source.path.file_name().unwrap().to_str().unwrap();
        let mut only = |what: &str, allowed: bool| {
            if source.code.contains(what) && !allowed {
                faults.push(format!("{} has {what:?}", source.path.display()));
            }
        };
        only("sqlx::query", file == "outbox.rs" || is_store(&source));
        only("StatusCode", source.room == "http");
        for refusal in REFUSALS {
            // The API speaks OpenAI's form; the probe's 503 is for a machine.
            let speaks = source.room == "http" || source.path.ends_with("playground/openai/refusal.rs");
            let probes = source.path.ends_with("src/routes.rs") && *refusal == "ServiceUnavailable";
            only(&format!("HttpResponse::{refusal}()"), speaks || probes);
        }
        only("web::Form<", source.path.ends_with("http/csrf.rs"));
        only("println!", source.path.ends_with("commands/mod.rs"));
        only("unsafe ", source.path.ends_with("postgres/child.rs"));
        only(".unwrap()", false);
    }
    for source in sources("inference/src").into_iter().chain(sources("digests/src")) {
        let file = source.path.file_name().unwrap().to_str().unwrap();
        if source.code.contains("unsafe ") && !matches!(file, "simd.rs" | "cuda.rs" | "mmap.rs" | "threads.rs" | "shares.rs") {
            faults.push(format!("{} has unsafe code", source.path.display()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn two_schemas_of_the_interface_have_two_names() {
    let mut seen = BTreeMap::new();
    let mut faults = Vec::new();
    for source in sources("server/src") {
        let mut lines = source.code.lines().map(str::trim_start);
        while let Some(line) = lines.next() {
            if !(line.starts_with("#[derive(") && line.contains("ToSchema")) {
                continue;
            }
            let mut renamed = None;
            let name = lines.by_ref().find_map(|line| {
                renamed = renamed.take().or_else(|| Some(line.split_once("schema(as = ")?.1.split([',', ')']).next()?.to_owned()));
                let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
                let kind = words.iter().position(|word| matches!(*word, "struct" | "enum")).filter(|_| !line.starts_with('#'))?;
                words.get(kind + 1).map(|name| (*name).to_owned())
            });
            let name = renamed.or(name).unwrap();
            if let Some(other) = seen.insert(name.clone(), source.path.clone()) {
                faults.push(format!("{name}: {} and {}", other.display(), source.path.display()));
            }
        }
    }
    assert!(seen.len() > 50 && seen.contains_key("FormValue"), "the schemas are found: {seen:?}");
    assert!(faults.is_empty(), "one would be described as the other:\n{}", faults.join("\n"));
}

#[test]
fn each_table_belongs_to_one_room() {
    let mut migrations = Vec::new();
    files(&root().join("migrations"), ".sql", &mut migrations);
    let mut owners = Vec::new();
    for path in migrations {
        let text = fs::read_to_string(&path).unwrap();
        let room = text.lines().find_map(|line| line.split("Room: ").nth(1)).unwrap_or_else(|| panic!("{} names no room", path.display()));
        let room = room.split('.').next().unwrap().to_owned();
        for line in text.lines() {
            if let Some(table) = line.strip_prefix("create table ") {
                owners.push((table.split_whitespace().next().unwrap().to_owned(), room.clone()));
            }
        }
    }
    assert!(owners.len() > 10);
    let mut faults = Vec::new();
    for source in sources("server/src") {
        let words: Vec<&str> =
            source.code.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let (verb, table) = (pair[0], pair[1]);
            let owner = owners.iter().find(|(name, _)| name == table).map(|(_, room)| room);
            if matches!(verb, "from" | "join" | "into" | "update")
                && source.code.contains("sqlx::query")
                && owner.is_some_and(|owner| *owner != source.room)
            {
                faults.push(format!("{}: touches the table {table} of {}", source.path.display(), owner.unwrap()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn templates_are_escaped_and_carry_nothing_inline() {
    let mut templates = Vec::new();
    files(&root().join("templates"), ".html", &mut templates);
    assert!(templates.len() > 5);
    for path in templates {
        let text = fs::read_to_string(&path).unwrap();
        for wrong in ["|safe", "| safe", "<script>", " style=\"", " onclick=", "javascript:", "https://fonts.", "//cdn"] {
            assert!(!text.contains(wrong), "{} has {wrong:?}", path.display());
        }
        let posts = text.matches("method=\"post\"").count();
        let tokens = text.matches("name=\"csrf\"").count();
        assert!(tokens >= posts, "{}: {posts} forms that change something, {tokens} form tokens", path.display());
    }
}

#[test]
fn every_setting_is_in_the_example() {
    let example = fs::read_to_string(root().join("deploy/env.example")).unwrap();
    let named: BTreeSet<&str> = example
        .lines()
        .filter_map(|line| line.trim_start_matches(['#', ' ']).split_once('=').map(|(name, _)| name))
        .filter(|name| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
        .collect();
    let read: BTreeSet<&str> = server::config::VARIABLES.iter().copied().collect();
    assert_eq!(named, read, "deploy/env.example and config.rs name the same variables");
}

#[test]
fn what_the_example_sets_is_accepted_and_what_it_calls_the_default_is() {
    let example = fs::read_to_string(root().join("deploy/env.example")).unwrap();
    let value = |name: &str| {
        let line = example.lines().find_map(|line| line.strip_prefix('#')?.strip_prefix(name)?.strip_prefix('='))?;
        Some(line.trim_matches('"').to_owned())
    };
    let set = server::config::Config::from_lookup(value).expect("every example can be used");
    let unset = server::config::Config::from_lookup(|_| None).unwrap();
    assert_eq!((set.listen, set.data_dir, set.mail.from, set.log), (unset.listen, unset.data_dir, unset.mail.from, unset.log));
}

#[test]
fn no_file_is_a_burden() {
    for folder in ["server/src", "inference/src", "digests/src", "tests/harness", "tests/journeys"] {
        for source in sources(folder) {
            let lines = source.text.lines().count();
            assert!(lines <= LINES_MAX, "{} has {lines} lines", source.path.display());
        }
    }
}
