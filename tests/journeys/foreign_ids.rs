//! Ids of others, on every route × role × state: nobody reads a word of what is not theirs to read, and nobody changes a row of it.
//! The routes are those that are served and registered; what a role may see by its office stands in one small table by path.

use futures_util::stream::{self, StreamExt};
use tests::{Page, TestPortal};

use crate::apply_and_review::case_of;
use crate::every_state::{Both, INTERNAL, KINDS, Route, Thing, UNSENT, everything, kind, place, posts, routes};
use crate::gated::applies_for;
use crate::privacy::CANARY;

/// So many requests are on their way at once.
const AT_ONCE: usize = 8;

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

fn office(pattern: &str) -> Option<&'static [Asker]> {
    let under = OFFICES.iter().filter(|(prefix, _)| place(pattern).starts_with(prefix));
    under.max_by_key(|(prefix, _)| prefix.len()).map(|(_, who)| *who)
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
    let portal = TestPortal::start_narrow(db).await;
    let (things, grace) = everything(&portal).await;
    let other = portal.researcher("bob").await;
    let own = case_of(&applies_for(&other, "/demo/kept").await);
    posts(&grace, &format!("{own}/approve"), &[("until", "2026-05-15"), ("note", "")]).await;
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
