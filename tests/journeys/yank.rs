//! A release is taken off offer with a reason, those who have it are told, and it may come back.

use server::catalog::{self, Gate, Outcome};
use server::downloads;
use server::error::Error;
use server::ids::ReleaseId;
use sqlx::PgPool;
use tests::{Person, TestPortal, Weights};
use time::Duration;

const MODEL: &str = "lab/tiny";

/// A model with two releases of one set of weights, and their revisions, the older first.
async fn two_releases(portal: &TestPortal) -> (Weights, String, String) {
    let weights = Weights::of("preln-fp16-sharded");
    weights.write("README.md", "# Tiny\n\nOne.");
    let first = portal.publishes(MODEL, Gate::Open, &weights).await.revision;
    portal.wait(Duration::days(1));
    weights.write("README.md", "# Tiny\n\nTwo.");
    let second = portal.publishes(MODEL, Gate::Open, &weights).await.revision;
    (weights, first, second)
}

async fn id_of(portal: &TestPortal, revision: &str) -> ReleaseId {
    let mut db = portal.portal.db.acquire().await.unwrap();
    let model = catalog::find_model(&mut db, "lab", "tiny").await.unwrap().unwrap();
    catalog::resolve(&mut db, model.id, revision).await.unwrap().unwrap().id
}

async fn main_of(portal: &TestPortal) -> String {
    let page = portal.visitor().fetch(&format!("/api/models/{MODEL}")).await;
    let info: serde_json::Value = serde_json::from_str(&page.text).unwrap();
    info["sha"].as_str().unwrap().to_owned()
}

fn config(revision: &str) -> String {
    format!("/{MODEL}/resolve/{revision}/config.json")
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_yanked_release_is_refused_with_the_reason_and_its_fetchers_are_told_once(db: PgPool) {
    let portal = TestPortal::start_impatient(&db).await;
    let (_, first, second) = two_releases(&portal).await;
    let (ada, bob, root) = (portal.researcher("ada").await, portal.researcher("bob").await, portal.admin("root").await);
    for path in [config(&second), format!("/{MODEL}/resolve/{second}/README.md")] {
        assert_eq!(ada.fetch(&path).await.status, 200);
    }
    assert_eq!(bob.fetch(&config(&first)).await.status, 200);
    portal.writes_the_ledger().await;

    let id = id_of(&portal, &second).await;
    root.get(&format!("/admin/releases/{id}")).await.says("1 account");
    let refused = root.post(&format!("/admin/releases/{id}/yank"), &[("reason", " ")]).await;
    assert_eq!(refused.status, 422);
    // Nor does it wait for ever for what somebody has locked, and nothing of it is done then.
    let mut lunch = db.begin().await.unwrap();
    sqlx::query("lock table mail in share mode").execute(&mut *lunch).await.unwrap();
    assert_eq!(root.post(&format!("/admin/releases/{id}/yank"), &[("reason", "one shard was corrupt")]).await.status, 503);
    lunch.rollback().await.unwrap();
    let done = root.post(&format!("/admin/releases/{id}/yank"), &[("reason", "one shard was corrupt")]).await;
    assert_eq!(done.status, 303, "{}", done.text);
    assert_eq!(root.post(&format!("/admin/releases/{id}/yank"), &[("reason", "again")]).await.status, 409);

    let page = ada.request(reqwest::Method::HEAD, &config(&second)).send().await.unwrap();
    assert_eq!((page.status().as_u16(), page.headers()["x-error-code"].to_str().unwrap()), (403, "GatedRepo"));
    let message = page.headers()["x-error-message"].to_str().unwrap().to_owned();
    assert!(message.contains("was yanked on 2026-03-03") && message.contains("one shard was corrupt"), "{message}");
    assert_eq!(portal.visitor().fetch(&config(&second)).await.status, 403, "nobody gets it, and nobody is asked to sign in");
    assert_eq!(ada.fetch(&format!("/{MODEL}/resolve/{second}/README.md")).await.status, 200, "the card stays readable");
    assert_eq!(ada.fetch(&format!("/api/models/{MODEL}/tree/{second}")).await.status, 200, "so does the list of files");
    ada.get(&format!("/{MODEL}/files?revision={second}")).await.says("one shard was corrupt");
    ada.get(&format!("/{MODEL}")).await.says("yanked").says("one shard was corrupt");

    assert_eq!(main_of(&portal).await, first, "main goes back to the newest good release");
    assert_eq!(ada.fetch(&config(&first)).await.status, 200);
    let [mail] = &portal.mails_to("ada@university.edu", "release_yanked").await[..] else { panic!("one mail for two files") };
    assert!(mail.contains(&second) && mail.contains("one shard was corrupt") && mail.contains(&first), "{mail}");
    assert!(portal.mails_to("bob@university.edu", "release_yanked").await.is_empty(), "bob has the other release");
    root.get("/admin/audit?kind=release.yanked").await.says("one shard was corrupt");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn who_downloaded_a_model_hears_of_its_new_release_once_it_has_settled(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (weights, first, second) = two_releases(&portal).await;
    let (ada, bob, eve) = (portal.researcher("ada").await, portal.researcher("bob").await, portal.researcher("eve").await);
    for (person, revision) in [(&ada, &first), (&bob, &first), (&bob, &second), (&eve, &first)] {
        assert_eq!(person.fetch(&config(revision)).await.status, 200);
    }
    assert_eq!(eve.post("/account/mail", &[("comments", "each"), ("tokens", "each"), ("releases", "never")]).await.status, 303);
    portal.writes_the_ledger().await;
    let told = async |person: &Person| {
        let (one, other) = tokio::join!(downloads::sweep(&portal.portal), downloads::sweep(&portal.portal));
        one.and(other).unwrap();
        portal.mails_to(&person.email, "release_superseded").await
    };
    assert!(told(&ada).await.is_empty(), "it was published this minute");
    portal.wait(Duration::minutes(10));
    let [mail] = &told(&ada).await[..] else { panic!("one mail") };
    assert!(mail.contains(&second) && !mail.contains(&first), "{mail}");
    for (person, why) in [(&bob, "bob has it"), (&eve, "eve does not want to know")] {
        assert!(told(person).await.is_empty(), "{why}");
    }

    // One that is yanked before it has settled is news to nobody.
    weights.write("README.md", "# Tiny\n\nThree, by mistake.");
    let third = portal.publishes(MODEL, Gate::Open, &weights).await.revision;
    downloads::yank(&portal.portal, None, id_of(&portal, &third).await, "the wrong folder").await.unwrap();
    portal.wait(Duration::days(1));
    assert_eq!((told(&ada).await.len(), told(&bob).await.len()), (1, 0));
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn who_was_still_fetching_is_told_later_and_nobody_twice(db: PgPool) {
    let portal = TestPortal::start(db.clone()).await;
    let (_, _, second) = two_releases(&portal).await;
    let (ada, bob) = (portal.researcher("ada").await, portal.researcher("bob").await);
    ada.fetch(&config(&second)).await;
    portal.writes_the_ledger().await;
    // Bob may have it still, but is not in the ledger yet when it is yanked.
    let mut busy = db.begin().await.unwrap();
    sqlx::query("lock table download in share mode").execute(&mut *busy).await.unwrap();
    let id = id_of(&portal, &second).await;
    let at = config(&second);
    let (_, yanked) = tokio::join!(bob.fetch(&at), async {
        let waiting = "select count(*) from pg_locks where not granted and database = (select oid from pg_database where datname = current_database())";
        while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&db).await.unwrap() == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let yanked = downloads::yank(&portal.portal, None, id, "wrong file").await.unwrap();
        busy.commit().await.unwrap();
        yanked
    });
    assert_eq!(yanked.told, 1);
    for _ in 0..2 {
        downloads::sweep(&portal.portal).await.unwrap();
    }
    for address in [&ada.email, &bob.email] {
        assert_eq!(portal.mails_to(address, "release_yanked").await.len(), 1, "{address}");
    }
    assert_eq!(downloads::restore(&portal.portal, None, id).await.unwrap().told, 2);
    assert_eq!(portal.mails_to(&bob.email, "release_restored").await.len(), 1);
    assert_eq!(downloads::yank(&portal.portal, None, id, "wrong file after all").await.unwrap().told, 2, "it is news again");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn main_follows_yanks_and_restorations_but_not_against_a_publication(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (weights, first, second) = two_releases(&portal).await;
    let (one, two) = (id_of(&portal, &first).await, id_of(&portal, &second).await);
    let (yank, restore) = (
        async |id| downloads::yank(&portal.portal, None, id, "because").await.unwrap().changed.main,
        async |id| downloads::restore(&portal.portal, None, id).await.unwrap().changed.main,
    );
    assert_eq!(yank(two).await, first);
    assert_eq!(yank(one).await, first, "with no good release it stays where it is");
    let refused = portal.visitor().fetch(&config("main")).await;
    assert_eq!(refused.status, 403, "and says so");
    portal.visitor().get(&format!("/{MODEL}")).await.says("There is no good release");
    assert_eq!(restore(two).await, second);
    assert_eq!(restore(one).await, second);

    // Published again, the first content is what main names by somebody's wish.
    weights.write("README.md", "# Tiny\n\nOne.");
    assert_eq!(portal.publishes(MODEL, Gate::Open, &weights).await.revision, first);
    assert_eq!(yank(two).await, first);
    assert_eq!(restore(two).await, first, "nobody moved it by a yank");

    // What is yanked does not come back by being published again.
    yank(one).await;
    match portal.tries_to_publish(MODEL, Some(Gate::Open), None, &weights).await {
        Err(Error::Conflict(why)) => assert!(why.contains("because") && why.contains("sluice release restore"), "{why}"),
        Ok(Outcome::Published(_) | Outcome::Unfit(_)) | Err(_) => panic!("it has to be refused with the reason"),
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_playground_does_not_run_what_was_yanked(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (_, first, second) = two_releases(&portal).await;
    let ada = portal.researcher("ada").await;
    for revision in [&second, &first] {
        downloads::yank(&portal.portal, None, id_of(&portal, revision).await, "it leaks").await.unwrap();
    }
    let terminal = ada.with_token(&ada.makes_token(&["api"]).await);
    let body = serde_json::json!({ "model": MODEL, "prompt": [4], "max_tokens": 1 });
    let answer = terminal.request(reqwest::Method::POST, "/v1/completions").json(&body).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 403);
    let text = answer.text().await.unwrap();
    assert!(text.contains("it leaks") && text.contains("release_yanked"), "{text}");
    ada.post("/playground", &[("model", MODEL), ("text", "a"), ("max_tokens", "1")]).await.says("it leaks");
}
