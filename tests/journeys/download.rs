//! Fetching weights as the clients of the Hub do, and as a browser, curl and aria2 do.

use std::io::Read;
use std::time::{Duration as Wait, Instant};

use reqwest::Method;
use server::catalog::Gate;
use sqlx::PgPool;
use tests::{Installation, Offer, Page, Person, TestPortal};
use time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CONFIG: &[u8] = br#"{"model_type": "opt"}"#;

fn weights(size: usize) -> Vec<u8> {
    (0..size).map(|place| (place * 31 % 253) as u8).collect()
}

async fn tiny(portal: &TestPortal, gate: Gate) -> (Offer, Vec<u8>) {
    let weights = weights(100_003);
    let files: [(&str, &[u8]); 5] = [
        ("LICENSE.md", b"be good\n"),
        ("README.md", b"# tiny\n"),
        ("config.json", CONFIG),
        ("empty.txt", b""),
        ("sub/model.safetensors", &weights),
    ];
    (portal.offers("acme/tiny", gate, &files).await, weights)
}

async fn head(person: &Person, path: &str, headers: &[(&str, &str)]) -> Page {
    send(person, Method::HEAD, path, headers).await
}

async fn get(person: &Person, path: &str, headers: &[(&str, &str)]) -> Page {
    send(person, Method::GET, path, headers).await
}

async fn send(person: &Person, method: Method, path: &str, headers: &[(&str, &str)]) -> Page {
    let request = headers.iter().fold(person.request(method, path), |request, (name, value)| request.header(*name, *value));
    Page::of(request.send().await.unwrap()).await
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn head_tells_all_about_a_file_and_get_sends_it(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (offer, weights) = tiny(&portal, Gate::Open).await;
    let nobody = portal.visitor();
    let path = offer.url("sub/model.safetensors");
    let (told, sent) = (head(&nobody, &path, &[("range", "bytes=5-9")]).await, get(&nobody, &path, &[]).await);
    for page in [&told, &sent] {
        assert_eq!(page.status, 200);
        assert_eq!(page.header("content-length"), "100003");
        assert_eq!(page.header("x-linked-size"), "100003");
        assert_eq!(page.header("x-repo-commit"), offer.revision);
        assert_eq!(page.header("accept-ranges"), "bytes");
        assert_eq!(page.header("etag"), page.header("x-linked-etag"));
        assert_eq!(page.header("etag").len(), 66, "a SHA-256 in quotes");
        assert_eq!(page.header("content-type"), "application/octet-stream");
        assert_eq!(page.header("content-disposition"), "inline; filename*=UTF-8''model.safetensors; filename=\"model.safetensors\"");
        assert!(page.header("digest").starts_with("SHA-256=") && page.header("repr-digest").starts_with("sha-256=:"));
        assert!(page.header("content-encoding").is_empty() && page.header("x-xet-hash").is_empty());
    }
    assert!(told.bytes.is_empty());
    assert!(sent.bytes == weights);

    let small = head(&nobody, &offer.url("config.json"), &[]).await;
    assert_eq!((small.header("content-length"), small.header("etag").len()), ("21", 42), "small files are known by git's hash");
    let empty = head(&nobody, &offer.url("empty.txt"), &[]).await;
    assert_eq!((empty.status, empty.header("content-length")), (200, "0"));
    let saved = get(&nobody, &format!("{}?download=true", offer.url("config.json")), &[]).await;
    assert!(saved.header("content-disposition").starts_with("attachment; "));
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn every_range_is_answered_with_its_bytes(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (offer, weights) = tiny(&portal, Gate::Open).await;
    let (nobody, path) = (portal.visitor(), offer.url("sub/model.safetensors"));
    let etag = head(&nobody, &path, &[]).await.header("etag").to_owned();
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=0-", 0, 100_002),
        ("bytes=100-", 100, 100_002),
        ("bytes=99999-100003", 99_999, 100_002),
        ("bytes=-3", 100_000, 100_002),
        ("bytes=-900000", 0, 100_002),
    ] {
        for headers in [vec![("range", range)], vec![("range", range), ("if-range", etag.as_str())]] {
            let page = get(&nobody, &path, &headers).await;
            assert_eq!(page.status, 206, "{range}");
            assert_eq!(page.header("content-range"), format!("bytes {first}-{last}/100003"), "{range}");
            assert_eq!(page.header("content-length"), (last - first + 1).to_string(), "{range}");
            assert_eq!((page.header("etag"), page.header("x-repo-commit")), (etag.as_str(), offer.revision.as_str()));
            assert!(page.bytes == weights[first..=last], "{range}");
        }
    }
    for headers in [
        vec![("range", "bytes=7-3")],
        vec![("range", "bytes=0-1,5-6")],
        vec![("range", "lines=0-1")],
        vec![("range", "bytes=5-"), ("if-range", "\"stale\"")],
        vec![("range", "bytes=5-"), ("if-range", "Mon, 02 Mar 2026 09:00:00 GMT")],
    ] {
        let page = get(&nobody, &path, &headers).await;
        assert_eq!(page.status, 200, "{headers:?}");
        assert!(page.bytes == weights, "{headers:?}");
    }
    let beyond = get(&nobody, &path, &[("range", "bytes=100003-")]).await;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, "bytes */100003"));
    for method in [Method::GET, Method::HEAD] {
        let same = send(&nobody, method, &path, &[("if-none-match", &etag)]).await;
        assert_eq!((same.status, same.header("etag")), (304, etag.as_str()));
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_name_that_may_move_leads_to_the_commit_it_means_now(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (offer, _) = tiny(&portal, Gate::Open).await;
    let nobody = portal.visitor();
    for revision in ["main", "v1", &offer.revision[..7]] {
        for method in [Method::GET, Method::HEAD] {
            let page = send(&nobody, method, &format!("{}?download=true", offer.url_at(revision, "config.json")), &[]).await;
            assert_eq!(page.status, 307, "{revision}");
            assert_eq!(page.location(), format!("{}?download=true", offer.url("config.json")), "relative, or old clients do not follow");
            assert_eq!((page.header("x-repo-commit"), page.header("x-linked-size")), (offer.revision.as_str(), "21"));
        }
    }
    let other_case = get(&nobody, &format!("/Acme/TINY/resolve/{}/config.json", offer.revision), &[]).await;
    assert_eq!((other_case.status, other_case.location()), (307, offer.url("config.json").as_str()));
    let info = get(&nobody, "/api/models/ACME/tiny/tree/main?recursive=True", &[]).await;
    assert_eq!((info.status, info.location()), (307, "/api/models/acme/tiny/tree/main?recursive=True"));
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_is_not_there_is_said_in_the_hub_s_words(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (offer, _) = tiny(&portal, Gate::Open).await;
    let nobody = portal.visitor();
    let ada = portal.researcher("ada").await;
    let ada = ada.with_token(&ada.makes_token(&["download"]).await);
    let forged = portal.visitor().with_token("slc_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");

    for (who, path, status, code) in [
        (&ada, "/acme/none/resolve/main/config.json".into(), 404, "RepoNotFound"),
        (&ada, "/api/models/acme/none".into(), 404, "RepoNotFound"),
        (&ada, "/api/models/ac%00me/none".into(), 404, "RepoNotFound"),
        (&nobody, "/acme/none/resolve/main/config.json".into(), 401, "RepoNotFound"),
        (&ada, offer.url("none.json"), 404, "EntryNotFound"),
        (&ada, offer.url("sub"), 404, "EntryNotFound"),
        (&ada, offer.url("sub%2F..%2Fconfig.json"), 404, "EntryNotFound"),
        (&ada, offer.url("x%00y"), 404, "EntryNotFound"),
        (&ada, format!("/api/models/acme/tiny/tree/{}/nowhere", offer.revision), 404, "EntryNotFound"),
        (&ada, offer.url_at("v9", "config.json"), 404, "RevisionNotFound"),
        (&ada, offer.url_at("refs%2Fpr%2F1", "config.json"), 404, "RevisionNotFound"),
        (&ada, "/api/models/acme/tiny/revision/%00".into(), 404, "RevisionNotFound"),
        (&forged, offer.url("config.json"), 401, ""),
        (&forged, "/api/models/acme/tiny".into(), 401, ""),
        (&forged, "/api/whoami-v2".into(), 401, ""),
        (&nobody, "/api/whoami-v2".into(), 401, ""),
    ] {
        let page = get(who, &path, &[]).await;
        assert_eq!((page.status, page.header("x-error-code")), (status, code), "{path}");
        assert_eq!(page.json()["error"], page.header("x-error-message"), "{path}");
        assert_eq!(page.header("x-repo-commit").is_empty(), code != "EntryNotFound", "{path}");
        if path.contains("/resolve/") {
            let told = head(who, &path, &[]).await;
            assert_eq!((told.status, told.header("x-error-code")), (status, code), "HEAD {path}");
        }
    }
    let forged = get(&forged, &offer.url("config.json"), &[]).await;
    assert_eq!(forged.header("x-error-message"), "Invalid credentials in Authorization header");
    assert!(forged.header("x-hf-warning").contains("/account/tokens"));
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_gate_is_the_same_for_head_get_and_every_range(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (offer, weights) = tiny(&portal, Gate::Application).await;
    let path = offer.url("sub/model.safetensors");
    let nobody = portal.visitor();
    let browser = portal.researcher("ada").await;
    let ada = browser.with_token(&browser.makes_token(&["download"]).await);
    let for_text_only = browser.with_token(&browser.makes_token(&["api"]).await);

    let closed = async |who: &Person, status: u16, words: &str| {
        for (method, headers) in [(Method::HEAD, vec![]), (Method::GET, vec![]), (Method::GET, vec![("range", "bytes=0-0")])] {
            for path in [path.clone(), offer.url_at("main", "config.json"), offer.url("none")] {
                let page = send(who, method.clone(), &path, &headers).await;
                assert_eq!((page.status, page.header("x-error-code")), (status, "GatedRepo"), "{method} {path}");
                assert!(page.header("x-error-message").contains(words), "{}", page.header("x-error-message"));
                assert!(page.header("x-error-message").contains(&portal.base), "where to go next: {}", page.header("x-error-message"));
                assert!(page.header("x-hf-warning").starts_with("gated; "));
            }
        }
        assert_eq!(get(who, "/api/models/acme/tiny/auth-check", &[]).await.status, status);
    };
    closed(&nobody, 401, "Access to model acme/tiny is restricted.").await;
    closed(&ada, 403, "needs an approved application").await;
    closed(&for_text_only, 403, "does not carry the scope 'download'").await;

    // What describes the model is open; so are its card and licence.
    for who in [&nobody, &ada] {
        assert_eq!(get(who, "/api/models/acme/tiny", &[]).await.json()["gated"], "manual");
        assert_eq!(get(who, &offer.url("README.md"), &[]).await.text, "# tiny\n");
        assert_eq!(get(who, &offer.url("LICENSE.md"), &[]).await.text, "be good\n");
    }

    portal.grants(&offer, &browser.email, 20).await;
    let page = get(&ada, &path, &[]).await;
    assert!(page.bytes == weights && page.header("cache-control") == "no-store, no-transform" && page.header("x-hf-warning").is_empty());
    assert_eq!(get(&ada, "/api/models/acme/tiny/auth-check", &[]).await.text, "OK");
    assert!(get(&browser, &path, &[]).await.bytes == weights, "a signed-in browser needs no token");
    closed(&for_text_only, 403, "does not carry the scope 'download'").await;

    portal.wait(Duration::days(17));
    let warned = head(&ada, &path, &[]).await;
    assert_eq!(warned.status, 200);
    assert!(warned.header("x-hf-warning").contains("ends on 2026-03-22"), "{}", warned.header("x-hf-warning"));
    portal.wait(Duration::days(3));
    closed(&ada, 403, "ended on 22 March 2026").await;
    portal.revokes(&offer).await;
    closed(&ada, 403, "ended on 22 March 2026").await;
    portal.grants(&offer, &browser.email, 20).await;
    assert_eq!(head(&ada, &path, &[]).await.status, 200);
    portal.revokes(&offer).await;
    closed(&ada, 403, "was revoked").await;
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_person_at_a_closed_gate_gets_a_page_and_a_way_on(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (offer, _) = tiny(&portal, Gate::Application).await;
    let ada = portal.researcher("ada").await;
    let page = ada.get(&offer.url("config.json")).await;
    assert_eq!((page.status, page.header("x-error-code")), (403, ""));
    page.says("needs an approved application").says("href=\"/acme/tiny/apply\"");
    let signed_out = portal.visitor().get(&offer.url("config.json")).await;
    assert!(signed_out.location().starts_with("/sign-in?then=%2Facme%2Ftiny%2Fresolve"), "{}", signed_out.location());
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn listings_have_the_shapes_that_clients_parse(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (offer, weights) = tiny(&portal, Gate::Application).await;
    portal.offers("lab/open", Gate::Open, &[("config.json", CONFIG)]).await;
    let nobody = portal.visitor();
    let json = async |path: &str| {
        let page = get(&nobody, path, &[]).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text);
        page.json()
    };

    for path in ["/api/models/acme/tiny?blobs=True", &format!("/api/models/acme/tiny/revision/{}?blobs=1", offer.revision)] {
        let info = json(path).await;
        assert_eq!((&info["id"], &info["sha"]), (&"acme/tiny".into(), &offer.revision.clone().into()));
        assert_eq!(info["lastModified"], "2026-03-02T09:00:00.000Z");
        assert_eq!(info["siblings"][4]["rfilename"], "sub/model.safetensors");
        assert_eq!(info["siblings"][4]["lfs"]["size"], weights.len());
        assert_eq!(info["siblings"][4]["lfs"]["sha256"].as_str().unwrap().len(), 64);
        assert!(info["siblings"][2]["lfs"].is_null() && info["siblings"][2]["blobId"].as_str().unwrap().len() == 40);
    }
    assert!(json("/api/models/acme/tiny").await["siblings"][0]["size"].is_null());

    let paths = |entries: &serde_json::Value| -> Vec<String> {
        entries.as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap().to_owned()).collect()
    };
    let tree = json("/api/models/acme/tiny/tree/main?recursive=True&expand=true").await;
    assert_eq!(paths(&tree), ["LICENSE.md", "README.md", "config.json", "empty.txt", "sub", "sub/model.safetensors"]);
    assert_eq!(tree[4]["type"], "directory");
    assert_eq!(tree[5]["lfs"]["oid"].as_str().unwrap().len(), 64);
    assert_eq!(tree[5]["lastCommit"]["id"], offer.revision);
    assert_eq!(paths(&json("/api/models/acme/tiny/tree/main").await).len(), 5, "without what is in folders");
    assert_eq!(paths(&json("/api/models/acme/tiny/tree/main/sub?recursive=false").await), ["sub/model.safetensors"]);

    let mut listed = Vec::new();
    let mut next = "/api/models/acme/tiny/tree/main?recursive=true&limit=4".to_owned();
    while !next.is_empty() {
        let page = get(&nobody, &next, &[]).await;
        listed.extend(paths(&page.json()));
        let link = page.header("link");
        next = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).unwrap_or_default().to_owned();
        assert!(next.is_empty() || next.starts_with(&portal.base), "absolute: {link}");
        next = next.replace(&portal.base, "");
    }
    assert_eq!(listed, paths(&tree));

    let asked = nobody.request(Method::POST, "/api/models/acme/tiny/paths-info/main");
    let form = asked.form(&[("paths", "config.json"), ("paths", "sub"), ("paths", "none"), ("expand", "False")]);
    assert_eq!(paths(&Page::of(form.send().await.unwrap()).await.json()), ["config.json", "sub"]);
    let asked = nobody.request(Method::POST, "/api/models/acme/tiny/paths-info/main");
    let body = asked.json(&serde_json::json!({ "paths": ["empty.txt"], "expand": true }));
    assert_eq!(paths(&Page::of(body.send().await.unwrap()).await.json()), ["empty.txt"]);

    let refs = json("/api/models/acme/tiny/refs?include_prs=1").await;
    assert_eq!(refs["branches"][0]["targetCommit"], offer.revision);
    assert_eq!(refs["tags"][0]["ref"], "refs/tags/v1");
    assert_eq!((&refs["converts"], &refs["pullRequests"]), (&serde_json::json!([]), &serde_json::json!([])));
    assert_eq!(json("/api/models/acme/tiny/commits/main").await[0]["title"], "First");

    let ids = |models: &serde_json::Value| -> Vec<String> {
        models.as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
    };
    for (query, expected) in [
        ("", &["acme/tiny", "lab/open"][..]),
        ("?author=Lab", &["lab/open"]),
        ("?search=TIN", &["acme/tiny"]),
        ("?gated=True", &["acme/tiny"]),
        ("?filter=opt&filter=transformers", &["acme/tiny", "lab/open"]),
        ("?filter=bert", &[]),
        ("?limit=1&cursor=1", &["lab/open"]),
    ] {
        assert_eq!(ids(&json(&format!("/api/models{query}")).await), expected, "{query}");
    }
    assert_eq!(head(&nobody, "/api/telemetry/x/y", &[]).await.status, 204);
    assert!(json("/api/agent-harnesses").await["harnesses"].is_object());
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_ledger_says_who_fetched_what_and_how_much(db: PgPool) {
    let portal = TestPortal::start(db.clone()).await;
    let (offer, _) = tiny(&portal, Gate::Open).await;
    let browser = portal.researcher("ada").await;
    let ada = browser.with_token(&browser.makes_token(&["download"]).await);
    let path = offer.url("sub/model.safetensors");
    let rows = async || {
        portal.writes_the_ledger().await;
        server::downloads::page(&mut db.acquire().await.unwrap(), &Default::default(), None, 100).await.unwrap()
    };

    get(&ada, &path, &[("range", "bytes=0-9999"), ("user-agent", "curl/8")]).await;
    head(&ada, &path, &[]).await;
    get(&ada, &path, &[("range", "bytes=900000-")]).await;
    let part = rows().await;
    assert_eq!(part.len(), 1, "what sends no bytes is no download");
    assert_eq!((part[0].sent_bytes, part[0].requests, part[0].completed_at), (10_000, 1, None));
    assert_eq!((part[0].model_name.as_str(), part[0].client.as_str(), part[0].size_bytes), ("acme/tiny", "curl/8", 100_003));
    browser.get("/account/downloads").await.says("sub/model.safetensors").says("in part");

    get(&ada, &path, &[("range", "bytes=10000-59999")]).await;
    get(&ada, &path, &[("range", "bytes=60000-")]).await;
    let whole = rows().await;
    assert_eq!((whole.len(), whole[0].sent_bytes, whole[0].requests), (1, 100_003, 3));
    assert!(whole[0].completed_at.is_some());
    browser.get("/account/downloads").await.says("complete");

    get(&portal.visitor(), &offer.url("config.json"), &[]).await;
    get(&portal.visitor(), &offer.url("config.json"), &[]).await;
    portal.wait(Duration::days(1));
    get(&portal.visitor(), &offer.url("config.json"), &[]).await;
    let rows = rows().await;
    assert_eq!(rows.iter().map(|row| (row.account.is_some(), row.requests)).collect::<Vec<_>>(), [(false, 1), (false, 2), (true, 3)]);
    assert_eq!(get(&ada, "/api/models/acme/tiny", &[]).await.json()["downloads"], 2, "rows of config.json in 30 days");
    browser.get("/account/downloads").await.says("sub/model.safetensors");
    assert!(!browser.get("/account/downloads").await.text.contains("config.json"), "only one's own");
    browser.get("/account/downloads?before=nonsense").await.says("is the place the page before gave");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn who_fetches_is_written_before_the_first_byte_or_none_is_sent(db: PgPool) {
    let portal = TestPortal::start_impatient(&db).await;
    let (offer, _) = tiny(&portal, Gate::Open).await;
    let ada = portal.researcher("ada").await;
    let rows = async || server::downloads::page(&mut db.acquire().await.unwrap(), &Default::default(), None, 100).await.unwrap();
    let (weights, config) = (offer.url("sub/model.safetensors"), offer.url("config.json"));
    // Nothing is written every second here, as if the server were killed at once.
    get(&ada, &offer.url("sub/model.safetensors"), &[("range", "bytes=0-9")]).await;
    assert_eq!(
        rows().await.iter().map(|row| (row.path.as_str(), row.account.is_some())).collect::<Vec<_>>(),
        [("sub/model.safetensors", true)]
    );

    let mut busy = db.begin().await.unwrap();
    sqlx::query("lock table download in share mode").execute(&mut *busy).await.unwrap();
    let (known, refused) = tokio::join!(get(&ada, &weights, &[]), get(&ada, &config, &[]));
    assert_eq!(known.status, 200, "it is in the ledger already");
    assert_eq!((refused.status, refused.bytes == CONFIG), (503, false));
    busy.commit().await.unwrap();

    // Many at once are written together.
    let visitor = portal.visitor();
    let fetched = futures_util::future::join_all(
        [&weights, &config].into_iter().cycle().take(16).map(|path| get(&visitor, path, &[("range", "bytes=0-9")])),
    )
    .await;
    assert!(fetched.iter().all(|answer| answer.status == 206));
    assert_eq!(rows().await.len(), 3, "what was refused has left nothing");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_slow_client_holds_up_nobody_and_a_gone_one_leaves_nothing(db: PgPool) {
    let portal = TestPortal::start(db.clone()).await;
    let large = weights(32_000_000);
    let offer = portal.offers("acme/large", Gate::Open, &[("model.safetensors", &large), ("config.json", CONFIG)]).await;
    let mut slow = Vec::new();
    for _ in 0..8 {
        slow.push(begin_download(&portal.base, &offer.url("model.safetensors")).await);
    }
    assert_eq!(portal.ledger.running(), 8);
    let begun = Instant::now();
    assert!(get(&portal.visitor(), &offer.url("model.safetensors"), &[]).await.bytes == large);
    assert!(begun.elapsed() < Wait::from_secs(20), "eight idle clients on two threads must not hold up the ninth");

    drop(slow);
    portal.writes_the_ledger().await;
    let rows = server::downloads::page(&mut db.acquire().await.unwrap(), &Default::default(), None, 10).await.unwrap();
    assert_eq!((rows.len(), rows[0].requests), (1, 9));
    let partly = rows[0].sent_bytes - 32_000_000;
    assert!((0..8 * 32_000_000).contains(&partly), "what was not sent is not counted: {partly}");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_damaged_object_is_never_sent_as_if_it_were_whole(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (offer, _) = tiny(&portal, Gate::Open).await;
    let nobody = portal.visitor();
    let digest = head(&nobody, &offer.url("sub/model.safetensors"), &[]).await.header("etag").trim_matches('"').to_owned();
    let object = portal.portal.objects.on_disk(&server::storage::ObjectKey::file(&digest), 0).await.unwrap();
    std::fs::write(&object, b"short").unwrap();
    for method in [Method::HEAD, Method::GET] {
        assert_eq!(send(&nobody, method, &offer.url("sub/model.safetensors"), &[]).await.status, 500);
    }
    std::fs::remove_file(object).unwrap();
    assert_eq!(get(&nobody, &offer.url("sub/model.safetensors"), &[]).await.status, 500);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_rust_client_of_the_hub_downloads_what_its_token_may(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (offer, weights) = tiny(&portal, Gate::Application).await;
    let browser = portal.researcher("ada").await;
    let token = browser.makes_token(&["download"]).await;
    let cache = tempfile::tempdir().unwrap();
    let (folder, base) = (cache.path().to_owned(), portal.base.clone());
    let fetch = move || {
        let builder = hf_hub::api::sync::ApiBuilder::new().with_endpoint(base.clone()).with_cache_dir(folder.clone());
        let model = builder.with_token(Some(token.clone())).with_progress(false).build().unwrap().model("acme/tiny".into());
        assert_eq!(model.info().unwrap().siblings.len(), 5);
        model.get("sub/model.safetensors").map(|path| std::fs::read(path).unwrap()).map_err(|error| error.to_string())
    };
    let refused = tokio::task::spawn_blocking(fetch.clone()).await.unwrap();
    assert!(refused.as_ref().is_err_and(|error| error.contains("403")), "{refused:?}");
    portal.grants(&offer, &browser.email, 30).await;
    assert!(tokio::task::spawn_blocking(fetch).await.unwrap().unwrap() == weights);
}

#[tokio::test]
async fn a_download_survives_the_portal_s_end_and_is_remembered() {
    const WEIGHTS: &str = "model.safetensors";
    let published = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/demo/opt-verse-6m/model.safetensors")).unwrap();
    let installation = Installation::fresh();
    let serving = installation.serve().await;
    let ada = installation.person("ada@university.edu", "researcher").await;
    let moving = head(&ada, &format!("/sluice/opt-verse-6m/resolve/main/{WEIGHTS}"), &[]).await;
    let (path, etag) = (moving.location().to_owned(), moving.header("etag").to_owned());

    // Killed in the middle: what came is the beginning, and the rest comes from the portal that was started again.
    let mut answer = ada.request(Method::GET, &path).send().await.unwrap();
    let mut came = answer.chunk().await.unwrap().unwrap().to_vec();
    serving.kill();
    while let Ok(Some(chunk)) = answer.chunk().await {
        came.extend_from_slice(&chunk);
    }
    assert!(came.len() < published.len() && published.starts_with(&came));
    let serving = installation.serve().await;
    let rest = get(&ada, &path, &[("range", &format!("bytes={}-", came.len())), ("if-range", &etag)]).await;
    assert_eq!(rest.status, 206);
    assert!([came, rest.bytes.to_vec()].concat() == published);

    // Told to stop in the middle of another: it is cut, and what was sent of it stands in the ledger.
    let bob = installation.person("bob@university.edu", "researcher").await;
    let mut slow = bob.request(Method::GET, &path).send().await.unwrap();
    slow.chunk().await.unwrap();
    serving.stop();
    drop(slow);
    let _serving = installation.serve().await;
    ada.get("/account/downloads").await.says(WEIGHTS);
    bob.get("/account/downloads").await.says(WEIGHTS).says("in part");
}

/// Sends a request on a socket of its own, and reads one byte of the answer.
async fn begin_download(base: &str, path: &str) -> TcpStream {
    let mut client = TcpStream::connect(base.trim_start_matches("http://")).await.unwrap();
    client.write_all(format!("GET {path} HTTP/1.1\r\nHost: portal\r\n\r\n").as_bytes()).await.unwrap();
    client.read_exact(&mut [0; 1]).await.unwrap();
    client
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn text_is_compressed_for_whoever_takes_it_and_files_never_are(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (offer, _) = tiny(&portal, Gate::Open).await;
    let nobody = portal.visitor();
    let style = nobody.get("/").await.text.split('"').find(|part| part.ends_with("/style.css")).unwrap().to_owned();
    for path in ["/", &style, "/api/openapi.json"] {
        let plain = nobody.request(Method::GET, path).send().await.unwrap();
        let (coding, varies) = (plain.headers().get("content-encoding"), plain.headers()["vary"].to_str().unwrap());
        assert!(coding.is_none() && varies == "accept-encoding", "{path}: {coding:?} {varies}");
        let plain = plain.bytes().await.unwrap();
        for (accepted, is_packed) in [("gzip, deflate, br", true), ("gzip;q=0, identity", false), ("br", false)] {
            let answer = nobody.request(Method::GET, path).header("accept-encoding", accepted).send().await.unwrap();
            assert_eq!(answer.headers().contains_key("content-encoding"), is_packed, "{path}: {accepted}");
            let sent = answer.bytes().await.unwrap();
            if is_packed {
                let mut unpacked = Vec::new();
                flate2::read::GzDecoder::new(&sent[..]).read_to_end(&mut unpacked).unwrap();
                assert!(unpacked.len() == plain.len() && sent.len() < plain.len() / 2, "{path}: {} of {}", sent.len(), plain.len());
            }
        }
    }
    for file in ["sub/model.safetensors", "config.json"] {
        let answer = get(&nobody, &offer.url(file), &[("accept-encoding", "gzip")]).await;
        assert_eq!((answer.status, answer.header("content-encoding")), (200, ""), "{file}");
    }
}
