//! A release is stored before anybody may know of it, and goes on offer, or away, when an admin says so.

use clap::Parser;
use reqwest::Method;
use server::catalog::{self, Gate, Sweep};
use server::commands::release::{self, ReleaseCommand};
use server::ids::{GrantId, ModelId, ReleaseId};
use server::storage::ObjectKey;
use sqlx::PgPool;
use tests::{Page, Person, TestPortal, Weights};
use time::Duration;

const MODEL: &str = "lab/tiny";

/// Every address under which a model, or a release of it, could be seen. What is asked with POST is marked.
const ADDRESSES: &[&str] = &[
    "/{model}",
    "/{model}/files",
    "/{model}/files?revision={revision}",
    "/{model}/licence",
    "/{model}/apply",
    "/{model}/proof/{revision}/manifest.json",
    "/{model}/proof/{revision}/model.sig",
    "/{model}/proof/{revision}/tensors.json",
    "/{model}/proof/{revision}/SHA256SUMS",
    "/{model}/proof/{revision}/release.meta4",
    "/{model}/resolve/{revision}/config.json",
    "/{model}/resolve/{short}/config.json",
    "/{model}/resolve/{revision}/README.md",
    "/{model}/resolve/main/config.json",
    "/{model}/raw/{revision}/config.json",
    "/api/models/{model}",
    "/api/models/{model}/revision/{revision}",
    "/api/models/{model}/tree/{revision}",
    "/api/models/{model}/tree/main",
    "POST /api/models/{model}/paths-info/{revision}",
    "/api/models/{model}/refs",
    "/api/models/{model}/commits/{revision}",
    "/api/models/{model}/auth-check",
    "/v1/models/{model}",
    "/tokenizer_info?model={model}",
    "/playground?model={model}",
];

async fn asks(person: &Person, method: Method, path: &str) -> Page {
    Page::of(person.request(method, path).send().await.unwrap()).await
}

/// What a person is answered under every address, with the names taken out of it.
async fn answers(person: &Person, model: &str, revision: &str) -> Vec<(String, u16, String)> {
    let mut answers = Vec::new();
    for address in ADDRESSES {
        let (method, address) = address.strip_prefix("POST ").map_or((Method::GET, *address), |address| (Method::POST, address));
        let path = address.replace("{model}", model).replace("{revision}", revision).replace("{short}", &revision[..10]);
        let blank = |text: &str| text.replace(model, "{model}").replace(revision, "{revision}").replace(&revision[..10], "{short}");
        let page = asks(person, method.clone(), &path).await;
        let code = format!("{} {}", page.header("x-error-code"), page.header("x-error-message"));
        answers.push((format!("{method} {address}"), page.status, blank(&format!("{code} {}", without_form_token(&page.text)))));
        if method == Method::GET {
            let head = asks(person, Method::HEAD, &path).await;
            answers.push((format!("HEAD {address}"), head.status, blank(head.header("x-error-message"))));
        }
    }
    answers
}

/// A page's forms carry a token that differs each time for who has no session.
fn without_form_token(text: &str) -> String {
    let mut parts = text.split("name=\"csrf\" value=\"");
    let first = parts.next().unwrap_or_default().to_owned();
    first + &parts.map(|part| part.split_once('"').map_or(part, |(_, rest)| rest)).collect::<String>()
}

async fn id_of(portal: &TestPortal, revision: &str) -> (ModelId, ReleaseId) {
    let mut db = portal.portal.db.acquire().await.unwrap();
    let model = catalog::find_any_model(&mut db, "lab", "tiny").await.unwrap().unwrap().id;
    (model, catalog::draft_of(&mut db, model, revision).await.unwrap().unwrap().id)
}

/// Gives a person access to a model that they cannot have applied for.
async fn grants(portal: &TestPortal, model: ModelId, person: &Person) {
    let now = portal.portal.clock.now();
    sqlx::query(
        "insert into access_grant (id, account_id, model_id, reason, granted_at, expires_at)
         select $1, id, $2, 'arranged', $3, $4 from account where email = $5",
    )
    .bind(GrantId::fresh().uuid())
    .bind(model.uuid())
    .bind(now)
    .bind(now + Duration::days(90))
    .bind(&person.email)
    .execute(&portal.portal.db)
    .await
    .unwrap();
}

/// Ada, who has a grant: at her browser, and her terminal.
async fn ada(portal: &TestPortal, model: ModelId) -> [Person; 2] {
    let ada = portal.researcher("ada").await;
    grants(portal, model, &ada).await;
    let terminal = ada.with_token(&ada.makes_token(&["download", "api"]).await);
    [ada, terminal]
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_model_that_has_only_a_draft_does_not_exist_for_others_until_it_is_published(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let weights = Weights::of("preln-fp16-sharded");
    weights.write("README.md", "# Tiny\n\nA tiny model.").write("LICENSE.md", "# Terms\n\nBe kind.");
    let draft = portal.drafts(MODEL, &weights).await;
    assert!(draft.is_draft && draft.is_new);
    let (model, id) = id_of(&portal, &draft.revision).await;
    let [ada, terminal] = ada(&portal, model).await;
    let root = portal.admin("root").await;
    root.get("/account").await.says("You are signed in");

    for person in [&ada, &terminal, &portal.visitor(), &root] {
        let nothing = answers(person, "lab/none", &"12".repeat(20)).await;
        for (asked, none) in answers(person, MODEL, &draft.revision).await.into_iter().zip(nothing) {
            assert_eq!(asked, none, "as {}", person.email);
        }
        for list in ["/", "/models", "/models?q=tiny", "/api/models", "/api/models?search=tiny", "/playground", "/v1/models"] {
            assert!(!person.fetch(list).await.text.contains(MODEL), "{list}");
        }
    }
    root.get("/admin/models").await.says(MODEL);
    root.get(&format!("/admin/models/{model}")).await.says(">draft<").says(&draft.revision[..10]);
    root.get(&format!("/admin/releases/{id}")).await.says("Publish this draft").says("model.safetensors.index.json");
    root.get("/admin/audit?kind=release.drafted").await.says(&draft.revision);

    let refused = root.post(&format!("/admin/releases/{id}/publish"), &[("tag", "no tag")]).await;
    assert_eq!(refused.says("cannot be a tag").status, 422);
    let forged = root.request(Method::POST, &format!("/admin/releases/{id}/publish")).form(&[("tag", "")]).send().await.unwrap();
    assert_eq!(forged.status(), 409, "a form from elsewhere");
    assert_eq!(ada.get(&format!("/{MODEL}")).await.status, 404, "nothing of that published it");

    let done = root.post(&format!("/admin/releases/{id}/publish"), &[("tag", "v1")]).await;
    assert_eq!(done.status, 303, "{}", done.text);
    root.get("/admin/audit?kind=release.published").await.says("root@lab.example").says(&draft.revision);
    for path in ["/{model}", "/{model}/files?revision={revision}", "/{model}/licence", "/api/models/{model}/tree/{revision}"] {
        let path = path.replace("{model}", MODEL).replace("{revision}", &draft.revision);
        assert_eq!(portal.visitor().fetch(&path).await.status, 200, "{path}");
    }
    portal.visitor().get(&format!("/{MODEL}")).await.says("A tiny model.").says("Terms").says("v1");
    for person in [&ada, &terminal] {
        let file = person.fetch(&format!("/{MODEL}/resolve/{}/config.json", draft.revision)).await;
        assert_eq!((file.status, file.bytes.to_vec()), (200, weights.read("config.json")));
        assert_eq!(person.fetch(&format!("/{MODEL}/resolve/v1/config.json")).await.status, 307, "the tag names it");
    }
    assert_eq!(portal.visitor().fetch(&format!("/{MODEL}/resolve/{}/config.json", draft.revision)).await.status, 401, "it has a gate");
    for file in ["manifest.json", "model.sig", "documents.sig", "chunks.sig"] {
        assert_eq!(portal.visitor().fetch(&format!("/{MODEL}/proof/{}/{file}", draft.revision)).await.status, 200, "{file}");
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_draft_beside_a_release_changes_nothing_that_others_see(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let weights = Weights::of("preln-fp16-sharded");
    weights.write("README.md", "# Tiny\n\nThe first.");
    let first = portal.publishes(MODEL, Gate::Application, &weights).await;
    let mut db = portal.portal.db.acquire().await.unwrap();
    let model = catalog::find_model(&mut db, "lab", "tiny").await.unwrap().unwrap().id;
    let [ada, terminal] = ada(&portal, model).await;
    let unknown = "12".repeat(20);
    let before = answers(&terminal, MODEL, &unknown).await;

    portal.wait(Duration::days(1));
    weights.write("README.md", "# Tiny\n\nThe second.").write("LICENSE.md", "# New terms");
    let draft = portal.drafts(MODEL, &weights).await;
    let mut after = answers(&terminal, MODEL, &draft.revision).await;
    for ((address, status, text), (_, before, was)) in after.drain(..).zip(before) {
        assert_eq!((status, &text), (before, &was), "{address}");
    }
    for person in [&ada, &portal.visitor()] {
        let page = person.get(&format!("/{MODEL}")).await;
        assert!(page.text.contains("The first.") && !page.text.contains(&draft.revision[..10]), "{}", page.text);
        let commits = person.fetch(&format!("/api/models/{MODEL}/commits/main")).await.json();
        assert_eq!(commits.as_array().unwrap().len(), 1);
    }

    let (_, id) = id_of(&portal, &draft.revision).await;
    let root = portal.admin("root").await;
    assert_eq!(root.post(&format!("/admin/releases/{id}/publish"), &[("tag", "")]).await.status, 303);
    root.get(&format!("/admin/models/{model}")).await.says(">superseded<").says(">published<");
    let page = ada.get(&format!("/{MODEL}")).await;
    page.says("The second.").says("New terms").says(">superseded<").says(">published<");
    assert_eq!(ada.fetch(&format!("/{MODEL}/resolve/{}/config.json", first.revision)).await.status, 200, "by its revision");
    let listed: Vec<_> = catalog::releases(&mut db, model, 10).await.unwrap().into_iter().map(|named| named.release.revision).collect();
    assert_eq!(listed, [draft.revision, first.revision], "the newest is what was published last");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn of_two_admins_who_publish_at_once_one_does_and_one_is_told(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let weights = Weights::of("preln-fp16-sharded");
    let (anna, berta) = (portal.admin("anna").await, portal.admin("berta").await);
    for number in 0..4 {
        weights.write("README.md", format!("# Number {number}"));
        let draft = portal.drafts(MODEL, &weights).await;
        let (_, id) = id_of(&portal, &draft.revision).await;
        let (publish, discard) = (format!("/admin/releases/{id}/publish"), format!("/admin/releases/{id}/discard"));
        let second = if number % 2 == 0 { &publish } else { &discard };
        let (one, other) = tokio::join!(anna.post(&publish, &[("tag", "")]), berta.post(second, &[]));
        let told = if one.status == 303 { &other } else { &one };
        assert_ne!(one.status == 303, other.status == 303, "{} {}", one.text, other.text);
        match told.status {
            409 => drop(told.says("no draft any more")),
            gone => assert_eq!((gone, second), (404, &discard), "{}", told.text),
        }
        let recorded: i64 = sqlx::query_scalar("select count(*) from audit_event join audit_payload using (seq) where audit_payload.detail->>'revision' = $1 and kind = any($2)")
            .bind(&draft.revision)
            .bind(["release.published", "release.discarded"])
            .fetch_one(&portal.portal.db)
            .await
            .unwrap();
        assert_eq!(recorded, 1);
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_bytes_of_a_draft_published_again_are_that_draft_on_offer(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let weights = Weights::of("preln-fp16-sharded");
    let draft = portal.drafts(MODEL, &weights).await;
    let again = portal.drafts(MODEL, &weights).await;
    assert_eq!((again.revision.as_str(), again.is_new, again.is_draft, again.written_bytes), (draft.revision.as_str(), false, true, 0));

    let published = portal.publishes(MODEL, Gate::Open, &weights).await;
    assert_eq!((published.revision.as_str(), published.is_new, published.is_draft), (draft.revision.as_str(), true, false));
    assert_eq!((published.written_bytes, published.gate), (0, Gate::Open));
    assert_eq!(portal.visitor().fetch(&format!("/{MODEL}/resolve/{}/config.json", draft.revision)).await.status, 200);

    let late = portal.drafts(MODEL, &weights).await;
    assert_eq!((late.revision, late.is_new, late.is_draft), (draft.revision, false, false), "what is on offer stays so");
    let rows: i64 = sqlx::query_scalar("select count(*) from release").fetch_one(&portal.portal.db).await.unwrap();
    assert_eq!(rows, 1);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_discarded_draft_takes_with_it_what_was_its_alone(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let weights = Weights::of("preln-fp16-sharded");
    portal.publishes(MODEL, Gate::Open, &weights).await;
    let before = portal.objects().await;
    weights.write("README.md", "# Not to be");
    let draft = portal.drafts(MODEL, &weights).await;
    assert_eq!(portal.objects().await.len(), before.len() + 1);
    portal.wait(Duration::days(30));
    let sweep = Sweep { keep: Duration::days(7), delete: true, unrecorded: false };
    assert!(catalog::collect(&portal.portal, sweep).await.unwrap().is_empty(), "a draft needs its objects");

    operator(&portal, &["discard", MODEL, &draft.revision[..8]]).await.unwrap();
    let gone = operator(&portal, &["publish", MODEL, &draft.revision]).await.unwrap_err();
    assert!(gone.to_string().contains("names no draft"), "{gone}");
    assert_eq!(catalog::collect(&portal.portal, sweep).await.unwrap().len(), 1);
    assert_eq!(portal.objects().await, before);
    portal.stored(MODEL, "main").await;
    assert!(portal.drafts(MODEL, &weights).await.is_new, "it may come again");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_the_store_has_lost_is_not_put_on_offer_and_tags_stay_where_they_are(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let weights = Weights::of("preln-fp16-sharded");
    let first = portal.publishes(MODEL, Gate::Open, &weights).await;
    operator(&portal, &["publish", MODEL, &first.revision]).await.unwrap_err();
    weights.write("README.md", "# Second");
    let second = portal.drafts(MODEL, &weights).await;
    operator(&portal, &["publish", MODEL, &second.revision, "--tag", "v2", "--gate", "application"]).await.unwrap();

    weights.write("README.md", "# Third");
    let third = portal.drafts(MODEL, &weights).await;
    let taken = operator(&portal, &["publish", MODEL, &third.revision, "--tag", "v2"]).await.unwrap_err();
    assert!(taken.to_string().contains("tags do not move") && taken.to_string().contains(&second.revision), "{taken}");

    let (_, id) = id_of(&portal, &third.revision).await;
    let card = {
        let mut db = portal.portal.db.acquire().await.unwrap();
        catalog::file(&mut db, id, "README.md").await.unwrap().unwrap()
    };
    let key = ObjectKey::file(&card.sha256);
    portal.portal.objects.remove(&key).await.unwrap();
    let lost = operator(&portal, &["publish", MODEL, &third.revision]).await.unwrap_err();
    assert!(lost.to_string().contains("README.md is not in the store"), "{lost}");
    portal.wait(Duration::hours(1));
    catalog::scrub(&portal.portal, 0, |_, _, _| ()).await.unwrap();
    let spoilt = operator(&portal, &["publish", MODEL, &third.revision]).await.unwrap_err();
    assert!(spoilt.to_string().contains("README.md is missing"), "{spoilt}");
    let page = portal.visitor().fetch(&format!("/api/models/{MODEL}")).await.json();
    assert_eq!((page["sha"].as_str(), page["gated"].as_str()), (Some(second.revision.as_str()), Some("manual")));

    assert!(portal.drafts(MODEL, &weights).await.is_draft, "the folder stored again mends it");
    operator(&portal, &["publish", MODEL, &third.revision]).await.unwrap();
    assert_eq!(portal.stored(MODEL, "main").await["README.md"], b"# Third");
}

/// What an operator types behind `sluice release`.
async fn operator(portal: &TestPortal, words: &[&str]) -> Result<(), server::error::Error> {
    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        command: ReleaseCommand,
    }
    let line = Line::parse_from(["release"].iter().chain(words));
    release::run(&portal.portal, line.command).await
}
