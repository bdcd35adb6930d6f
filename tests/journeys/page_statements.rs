//! What a page costs the database: at most six statements, whoever looks at it and whatever state its things are in.

use std::collections::BTreeMap;

use server::access::Form;
use server::catalog::Gate;
use server::ids::ModelId;
use sqlx::PgPool;
use tests::{Page, Person, Statements, TestPortal};
use time::Duration;

use crate::every_state::{Both, Route, Thing, everything, posts, routes};
use crate::forms;
use crate::gated::relicense;

/// The statements that a page may take; the first of them says who is signed in.
const STATEMENTS_MAX: usize = 6;

/// Pages with more on them than their address says.
const ASKED: [&str; 12] = [
    "/demo/full",
    "/demo/full/files",
    "/models?q=kept",
    "/playground?model=demo/full",
    "/review?view=decided&q=quetzalcoatl",
    "/admin/people?q=quetzalcoatl",
    "/admin/audit?kind=application_submitted",
    "/admin/statistics?by=week",
    "/admin/statistics/reviewers",
    "/admin/usage?model=demo/full",
    "/account/downloads?model=demo/full",
    "/admin/mail?state=sent",
];

/// Fills the pages that list something: a release that was fetched, a form that was published and the draft of another, a licence that changed.
async fn fills(portal: &TestPortal, things: &[Thing], admin: &Person) {
    let full = portal.offers("demo/full", Gate::Open, &[("README.md", b"# Full"), ("config.json", b"{}")]).await;
    for person in things.iter().map(|thing| &thing.owner.browser).chain([admin]) {
        assert_eq!(person.get(&full.url("config.json")).await.status, 200);
    }
    let of = |state: &str| &things.iter().find(|thing| thing.state == state).unwrap().ids;
    let (kept, two) = (&of("submitted")["model"], &of("proposed for revocation")["model"]);
    let question = [("section", "project"), ("label", "Size of your group"), ("kind", "line"), ("chars_max", "20"), ("need", "optional")];
    for model in [kept, two] {
        let base = format!("/admin/models/{model}/form");
        posts(admin, &format!("{base}/start"), &[("version", "0")]).await;
        forms::done(&forms::edits(admin, &base, "new/questions", &question).await);
        forms::done(&forms::edits(admin, &base, "publish", &[]).await);
    }
    posts(admin, &format!("/admin/models/{kept}/form/start"), &[("version", "1")]).await;
    a_draft_is_on_a_form_of_long_ago(portal, kept).await;
    let changed = relicense(portal, Some(kept.parse().unwrap()), "Another licence.", portal.portal.clock.now()).await;
    portal.wait(Duration::MINUTE);
    let announced = [("grace_days", "30"), ("licence_shown", changed.as_str())];
    posts(admin, &format!("/admin/models/{kept}/licence-change"), &announced).await;
}

/// On neither the form that the model asks now nor the built-in one. It is put there, so that the portal has never read it, as after a start.
async fn a_draft_is_on_a_form_of_long_ago(portal: &TestPortal, model: &str) {
    let (db, model) = (&portal.portal.db, model.parse::<ModelId>().unwrap());
    let newest = "select body::text from form join model_form on form_sha256 = sha256 where model_id = $1 order by version desc limit 1";
    let newest: String = sqlx::query_scalar(newest).bind(model.uuid()).fetch_one(db).await.unwrap();
    let before = newest.replace("Size of your group", "How many you are");
    let form = Form::from_json(&before).unwrap();
    let sql = "insert into form (sha256, body, made_at) values ($1, $2::jsonb, now())";
    sqlx::query(sql).bind(form.sha256()).bind(&before).execute(db).await.unwrap();
    let sql = "update application set answers = answers || jsonb_build_object('form_shown', $1::text) where state = 'draft'";
    assert_eq!(sqlx::query(sql).bind(form.sha256()).execute(db).await.unwrap().rows_affected(), 1);
}

fn is_page(page: &Page) -> bool {
    page.status == 200 && page.header("content-type").starts_with("text/html")
}

/// The dearest view of each page: of what, for whom, and the statements that it took.
type Dearest = BTreeMap<String, (String, Vec<String>)>;

/// Opens a page and keeps what it took, if it is the dearest so far. What is no page for this person is none here.
async fn counts(dearest: &mut Dearest, statements: &Statements, route: &Route, path: &str, (who, person): (&str, &Both)) {
    statements.take();
    let page = person.asks(route, path).await;
    let taken = statements.take();
    assert_ne!(page.status, 500, "{path} for {who}: {taken:#?}");
    if is_page(&page) && dearest.get(&route.pattern).is_none_or(|(_, most)| most.len() < taken.len()) {
        dearest.insert(route.pattern.clone(), (format!("{path} for {who}"), taken));
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn no_page_takes_more_than_six_statements(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (things, reviewer) = everything(&portal).await;
    let admin = portal.admin("root").await;
    fills(&portal, &things, &admin).await;
    let office = [
        ("nobody", Both::visitor(&portal).await),
        ("a reviewer", Both::of(&portal, reviewer).await),
        ("an admin", Both::of(&portal, admin).await),
    ];
    portal.portal.audit.integrate(&portal.portal.db).await.unwrap();
    let routes = routes(&portal).await;
    // The first request of a minute notes that the session was used.
    for person in office.iter().map(|(_, person)| person).chain(things.iter().map(|thing| &thing.owner)) {
        person.browser.get("/").await;
    }

    let statements = Statements::listen();
    let mut dearest = Dearest::new();
    // Before any other page reads the form that it was written on.
    let (apply, draft) = (Route::page("/demo/kept/apply"), things.iter().find(|thing| thing.state == "draft").unwrap());
    counts(&mut dearest, &statements, &apply, &apply.pattern, ("its owner (draft)", &draft.owner)).await;
    for route in routes.iter().filter(|route| route.method == "GET" && !route.pattern.starts_with("/api/")) {
        for (who, person) in &office {
            for (path, _) in route.paths(&things) {
                counts(&mut dearest, &statements, route, &path, (who, person)).await;
            }
        }
        for thing in &things {
            for (path, _) in route.paths(std::slice::from_ref(thing)) {
                counts(&mut dearest, &statements, route, &path, (&format!("its owner ({})", thing.state), &thing.owner)).await;
            }
        }
    }
    for path in ASKED {
        let route = Route::page(path);
        for (who, person) in &office {
            counts(&mut dearest, &statements, &route, path, (who, person)).await;
        }
        assert!(dearest.contains_key(path), "{path} is no page");
    }

    // Else the instrument heard nothing.
    assert!(dearest.len() > 60, "{:?}", dearest.keys());
    for page in ["/review", "/review/{id}", "/applications/{id}", "/admin/statistics", "/admin/models/{id}/form/compare"] {
        assert!(dearest[page].1.len() > 1, "{page}: {:?}", dearest[page]);
    }
    let too_dear = dearest.values().filter(|(_, taken)| taken.len() > STATEMENTS_MAX);
    let told: Vec<String> = too_dear.map(|(what, taken)| format!("{what}: {}\n  {}", taken.len(), taken.join("\n  "))).collect();
    assert!(told.is_empty(), "{} pages take more than {STATEMENTS_MAX} statements:\n{}", told.len(), told.join("\n"));
}
