//! Who shares an engine: full lines, places, readers who leave.

use std::time::Duration;

use futures_util::StreamExt;
use inference::{Engine, Event, Generation, Prompt, Request};
use serde_json::{Value, json};
use server::catalog::Gate;
use sqlx::PgPool;
use tests::{Person, TestPortal};

use super::{VERSE, account_of, asks, completes, engine_is_idle, events, offers_verse, portal_with_verse, refused, until};

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_full_line_answers_at_once_and_holds_up_nobody_else(db: PgPool) {
    let (portal, ada, program) = portal_with_verse(db).await;
    let bob = portal.researcher("bob").await;
    let bobs = bob.with_token(&bob.makes_token(&["api"]).await);
    let ask = json!({ "model": VERSE, "prompt": "The sea was", "max_tokens": 4 });

    let line = &portal.portal.limits.generations;
    let key = account_of(&portal, &ada).await.to_string();
    let mut held = Vec::new();
    while let Ok(place) = line.enter(&key) {
        held.push(place);
    }
    assert_eq!(held.len(), 16, "four run, twelve wait");
    let answer = asks(&program, &ask).await;
    assert_eq!(answer.status(), 429);
    assert!(answer.headers()["retry-after"].to_str().unwrap().parse::<u32>().unwrap() > 0);
    let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(body["error"]["code"], "rate_limit_exceeded");
    assert_eq!(asks(&bobs, &ask).await.status(), 200, "bob has a line of his own");
    drop(held);
    assert_eq!(asks(&program, &ask).await.status(), 200);
}

/// The engine of the only model in memory, as the portal has loaded it.
pub(super) fn loaded(portal: &TestPortal) -> Engine {
    let engine = &portal.portal.engine;
    let key = engine.loaded().pop().unwrap().key;
    engine.get_or_load(&key, || panic!("it is in memory")).unwrap()
}

/// What somebody else asks of the engine: as many answers of 400 tokens as it has places.
fn long(account: &str) -> Request {
    Request { max_tokens: 400, ignore_eos: true, account: account.into(), ..Request::new(Prompt::Ids(vec![2, 5, 6])) }
}

/// Fills the engine's line with other accounts' requests.
pub(super) fn fill(engine: &Engine, held: &mut Vec<Vec<Generation>>) {
    loop {
        match engine.submit_choices(long(&format!("other {}", held.len())), 8) {
            Ok(generations) => held.push(generations),
            Err(inference::Error::Busy { .. }) => return,
            Err(problem) => panic!("{problem}"),
        }
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn an_engine_that_others_keep_busy_says_so_and_when_to_come_back(db: PgPool) {
    let (portal, ada, program) = portal_with_verse(db).await;
    let ask = json!({ "model": VERSE, "prompt": "The sea was", "max_tokens": 4 });
    assert_eq!(asks(&program, &ask).await.status(), 200);
    let (engine, mut held) = (loaded(&portal), Vec::new());
    // Should one of the others end in between, the line is filled again.
    let answer = loop {
        fill(&engine, &mut held);
        let answer = asks(&program, &ask).await;
        if answer.status() != 200 {
            break answer;
        }
    };
    assert_eq!(answer.status(), 503, "it is not for what this account has done");
    assert!(answer.headers()["retry-after"].to_str().unwrap().parse::<u32>().unwrap() > 0);
    assert!(!answer.headers().contains_key("x-should-retry"));
    let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!((&body["error"]["code"], &body["error"]["type"]), (&json!("engine_busy"), &json!("server_error")));
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.contains("32 requests are waiting") && !message.contains("account"), "{message}");

    // The page says the same, and so does its stream.
    for path in ["/playground", "/playground/complete"] {
        let page = loop {
            fill(&engine, &mut held);
            let page = ada.post(path, &[("model", VERSE), ("text", "The sea was"), ("max_tokens", "4")]).await;
            if page.status != 200 {
                break page;
            }
        };
        assert_eq!(page.status, 503, "{path}: {}", page.text);
        assert!(page.header("retry-after").parse::<u32>().unwrap() > 0);
        assert!(page.text.contains("32 requests are waiting"), "{path}: {}", page.text);
    }
    drop(held);
    assert_eq!(asks(&program, &ask).await.status(), 200, "the others have left");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_batch_whose_later_prompts_meet_a_full_line_waits_for_them(db: PgPool) {
    let (portal, _, program) = portal_with_verse(db).await;
    completes(&program, json!({ "prompt": "The sea was", "max_tokens": 4 })).await;
    let (engine, mut held) = (loaded(&portal), Vec::new());
    fill(&engine, &mut held);
    // Room for one more.
    held.pop();
    let batch =
        completes(&program, json!({ "prompt": ["The sea was", "The land was", "The sky was"], "max_tokens": 4, "ignore_eos": true }));
    let leave = async {
        // Until the first stands in the line and the others have been sent away; those of the others come by eights.
        for _ in 0..200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            if engine.stats().waiting % 8 != 0 {
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(held);
    };
    let (batch, ()) = futures_util::future::join(batch, leave).await;
    assert_eq!(batch["choices"].as_array().unwrap().len(), 3);
    assert_eq!(batch["usage"]["completion_tokens"], 12);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn no_account_takes_every_place_of_a_model_while_others_wait(db: PgPool) {
    let (portal, _, program) = portal_with_verse(db).await;
    completes(&program, json!({ "prompt": "The sea was", "max_tokens": 4 })).await;
    let engine = loaded(&portal);
    let mut held: Vec<Generation> = Vec::new();
    while let Ok(generation) = engine.submit(long("heavy")) {
        held.push(generation);
    }
    assert!((8..=14).contains(&held.len()), "as many run and wait as one account may: {}", held.len());
    let mut light = engine.submit(Request { max_tokens: 1, ..long("light") }).unwrap();
    while let Some(event) = light.next().await {
        assert!(!matches!(event, Event::Failed(_)), "{event:?}");
    }
    // The engine may not have counted yet that it is done.
    let stats = engine.stats();
    assert!(stats.running <= 7 && stats.running + stats.waiting >= held.len(), "it had a place before any other ended: {stats:?}");
    drop(held);

    // Alone it may: the best of eight takes eight places. And among others' single answers it gets them in time.
    let mut comes = 0;
    let mut others: Vec<Generation> = Vec::new();
    let best = completes(&program, json!({ "prompt": "The sea was", "max_tokens": 4, "n": 1, "best_of": 8 }));
    let stream = async {
        loop {
            if engine.stats().waiting > 8 {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
            comes += 1;
            others.push(engine.submit(Request { max_tokens: 5 + comes % 7, ..long(&format!("single {comes}")) }).unwrap());
        }
    };
    let best = tokio::select! {
        best = best => best,
        () = stream => unreachable!("it goes on"),
    };
    assert_eq!(best["usage"]["completion_tokens"].as_u64().unwrap() % 8, 0);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn who_waits_and_leaves_gives_the_place_back(db: PgPool) {
    let (portal, ada, program) = portal_with_verse(db).await;
    let line = &portal.portal.limits.generations;
    let key = account_of(&portal, &ada).await.to_string();
    let running = line.enter(&key).unwrap();
    let mut turns = Vec::new();
    for _ in 0..4 {
        turns.push(running.turn().await);
    }
    let ask = json!({ "model": VERSE, "prompt": "The sea was", "max_tokens": 4 });
    let waiting = tokio::spawn({
        let (program, ask) = (program.clone(), ask.clone());
        async move { asks(&program, &ask).await }
    });
    until("the request waits in line", || async { line.taken(&key) == 2 }).await;
    waiting.abort();
    until("its place is free again", || async { line.taken(&key) == 1 }).await;

    let waiting = tokio::spawn(async move { asks(&program, &ask).await });
    until("another waits", || async { line.taken(&key) == 2 }).await;
    turns.pop();
    assert_eq!(waiting.await.unwrap().status(), 200, "it ran when its turn came");
}

/// More than could be made before anybody notices that the reader has left.
fn a_long_ask() -> Value {
    json!({ "model": VERSE, "prompt": vec!["The sea was"; 32], "n": 4, "max_tokens": 480, "ignore_eos": true })
}

async fn last_generation(portal: &TestPortal) -> Option<(Option<String>, i32)> {
    let mut db = portal.portal.db.acquire().await.unwrap();
    let rows = server::playground::recent(&mut db, None, 1).await.unwrap();
    rows.into_iter().next().map(|row| (row.finish_reason, row.completion_tokens))
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn who_leaves_a_stream_stops_it_and_is_counted_what_was_made(db: PgPool) {
    let (portal, ada, program) = portal_with_verse(db).await;
    let mut ask = a_long_ask();
    ask["stream"] = json!(true);
    let mut stream = asks(&program, &ask).await.bytes_stream();
    assert!(stream.next().await.unwrap().unwrap().starts_with(b"data: {"));
    assert_eq!(last_generation(&portal).await.unwrap().0, None, "it is on the record while it runs");
    drop(stream);
    until("the engine stops", || async { engine_is_idle(&portal) }).await;
    until("it is settled", || async { last_generation(&portal).await.unwrap().0.is_some() }).await;
    let (reason, tokens) = last_generation(&portal).await.unwrap();
    assert_eq!(reason.unwrap(), "cancelled");
    assert!((1..32 * 4 * 480).contains(&tokens), "{tokens}");
    let key = account_of(&portal, &ada).await.to_string();
    assert_eq!(portal.portal.limits.generations.taken(&key), 0);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_large_batch_does_not_keep_out_its_owners_next_request(db: PgPool) {
    let (portal, _, program) = portal_with_verse(db).await;
    let mut ask = a_long_ask();
    ask["stream"] = json!(true);
    let mut batch = asks(&program, &ask).await.bytes_stream();
    assert!(batch.next().await.is_some());
    let answer = completes(&program, json!({ "prompt": "A rose", "max_tokens": 2 })).await;
    assert!(answer["usage"]["completion_tokens"].as_u64().unwrap() <= 2);
    let mut db = portal.portal.db.acquire().await.unwrap();
    let rows = server::playground::recent(&mut db, None, 2).await.unwrap();
    assert!(rows[0].finished_at.is_some() && rows[1].finished_at.is_none(), "the batch is still running");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn who_leaves_before_the_whole_answer_stops_it_too(db: PgPool) {
    let (portal, _, program) = portal_with_verse(db).await;
    let asking = tokio::spawn(async move { asks(&program, &a_long_ask()).await });
    until("it runs", || async { last_generation(&portal).await.is_some() }).await;
    asking.abort();
    until("it is settled", || async { last_generation(&portal).await.unwrap().0.is_some() }).await;
    assert_eq!(last_generation(&portal).await.unwrap().0.unwrap(), "cancelled");
    until("the engine stops", || async { engine_is_idle(&portal) }).await;
}

/// Keeps every row out of the ledger for as long as it is held.
async fn ledger_shut(portal: &TestPortal) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut shut = portal.portal.db.begin().await.unwrap();
    sqlx::query("lock table generation in exclusive mode").execute(&mut *shut).await.unwrap();
    shut
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn no_token_is_handed_out_before_it_is_on_the_record(db: PgPool) {
    let (portal, _, program) = portal_with_verse(db).await;
    completes(&program, json!({ "prompt": "The sea was", "max_tokens": 1 })).await;
    let (shut, engine) = (ledger_shut(&portal).await, loaded(&portal));
    until("what came first is counted", || async { engine_is_idle(&portal) }).await;
    let steps = engine.stats().steps;
    let ask = json!({ "model": VERSE, "prompt": "The land was", "max_tokens": 8, "ignore_eos": true, "stream": true });
    let asking = tokio::spawn(async move { asks(&program, &ask).await });
    until("the engine has answered", || async { engine_is_idle(&portal) && engine.stats().steps >= steps + 8 }).await;
    assert!(!asking.is_finished(), "nobody has heard of it");
    drop(shut);
    let text = asking.await.unwrap().text().await.unwrap();
    assert!(text.contains("text_completion") && text.ends_with("data: [DONE]\n\n"), "{text}");
    assert_eq!(last_generation(&portal).await.unwrap(), (Some("length".into()), 8));
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_cannot_be_written_down_is_not_answered(db: PgPool) {
    let (portal, _, program) = portal_with_verse(db).await;
    completes(&program, json!({ "prompt": "The sea was", "max_tokens": 1 })).await;
    let forbid = "alter table generation add constraint full_up check (prompt_tokens < 0) not valid";
    sqlx::query(forbid).execute(&portal.portal.db).await.unwrap();
    for stream in [false, true] {
        let mut ask = a_long_ask();
        ask["stream"] = json!(stream);
        let refused = asks(&program, &ask).await;
        assert_eq!(refused.status(), 500);
        let text = refused.text().await.unwrap();
        assert!(!text.contains("text_completion"), "{text}");
        until("the engine stops", || async { engine_is_idle(&portal) }).await;
    }
    let rows: i64 = sqlx::query_scalar("select count(*) from generation").fetch_one(&portal.portal.db).await.unwrap();
    assert_eq!(rows, 1, "what was refused leaves no row");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn who_leaves_while_the_row_is_written_leaves_none_open(db: PgPool) {
    let (portal, _, program) = portal_with_verse(db).await;
    completes(&program, json!({ "prompt": "The sea was", "max_tokens": 1 })).await;
    for times in 1..=8 {
        let shut = ledger_shut(&portal).await;
        let program = program.clone();
        let asking = tokio::spawn(async move { asks(&program, &a_long_ask()).await });
        until("its row waits", async || {
            let waiting = "select count(*) from pg_stat_activity
                           where datname = current_database() and wait_event_type = 'Lock' and query like 'insert into generation%'";
            sqlx::query_scalar(waiting).fetch_one(&portal.portal.db).await.is_ok_and(|count: i64| count == 1)
        })
        .await;
        asking.abort();
        until("the engine stops", || async { engine_is_idle(&portal) }).await;
        drop(shut);
        until("it is settled", async || {
            let cancelled = sqlx::query_scalar("select count(*) from generation where finish_reason = 'cancelled'");
            cancelled.fetch_one(&portal.portal.db).await.is_ok_and(|count: i64| count == times)
        })
        .await;
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_a_kill_left_open_is_closed_at_the_next_start(db: PgPool) {
    let (portal, _, program) = portal_with_verse(db).await;
    completes(&program, json!({ "prompt": "The sea was", "max_tokens": 3, "temperature": 0 })).await;
    assert_eq!(last_generation(&portal).await.unwrap(), (Some("length".into()), 3));
    sqlx::query("update generation set finished_at = null, finish_reason = null").execute(&portal.portal.db).await.unwrap();
    let mut db = portal.portal.db.acquire().await.unwrap();
    assert_eq!(server::playground::close_interrupted(&mut db, portal.portal.clock.now()).await.unwrap(), 1);
    assert_eq!(last_generation(&portal).await.unwrap().0.unwrap(), "interrupted");
}

/// A reviewer suspends the only grant that ada has.
async fn suspends(portal: &TestPortal, reviewer: &Person, holder: &Person) {
    let grant = crate::grants::grant_of(portal, holder).await;
    let done = reviewer.post(&format!("/admin/grants/{grant}/suspend"), &[("reason", "a token was seen in public")]).await;
    assert_eq!(done.status, 303, "{}", done.text);
}

/// The time after which a running generation has ended, with what is in flight.
const CUT_WITHIN: Duration = Duration::from_secs(5);

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_generation_that_runs_ends_when_access_is_taken_back_and_says_why(db: PgPool) {
    let (portal, ada, program) = portal_with_verse(db).await;
    let offer = offers_verse(&portal, "lab/gated-verse", Gate::Application).await;
    portal.grants(&offer, &ada.email, 30).await;
    let grace = portal.reviewer("grace").await;
    let mut ask = a_long_ask();
    ask["model"] = json!("lab/gated-verse");
    ask["stream"] = json!(true);
    let mut stream = asks(&program, &ask).await.bytes_stream();
    assert!(stream.next().await.unwrap().unwrap().starts_with(b"data: {"));
    suspends(&portal, &grace, &ada).await;
    let since = std::time::Instant::now();
    let mut last = Vec::new();
    while let Some(piece) = stream.next().await {
        last = piece.unwrap().to_vec();
    }
    assert!(since.elapsed() < CUT_WITHIN, "{:?}", since.elapsed());
    let last = String::from_utf8(last).unwrap();
    let error: Value = serde_json::from_str(&events(&last).pop().unwrap()).unwrap();
    assert_eq!((&error["error"]["code"], &error["error"]["type"]), (&json!("grant_suspended"), &json!("permission_error")));
    assert!(error["error"]["message"].as_str().unwrap().contains("a token was seen in public"), "{error}");
    let (reason, tokens) = last_generation(&portal).await.unwrap();
    assert_eq!(reason.unwrap(), "revoked");
    assert!((1..32 * 4 * 480).contains(&tokens), "{tokens}");
    until("the engine stops", || async { engine_is_idle(&portal) }).await;
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn who_waited_in_line_while_access_was_taken_back_gets_no_token(db: PgPool) {
    let (portal, ada, program) = portal_with_verse(db).await;
    let offer = offers_verse(&portal, "lab/gated-verse", Gate::Application).await;
    portal.grants(&offer, &ada.email, 30).await;
    let grace = portal.reviewer("grace").await;
    let line = &portal.portal.limits.generations;
    let key = account_of(&portal, &ada).await.to_string();
    let running = line.enter(&key).unwrap();
    let mut turns = Vec::new();
    for _ in 0..4 {
        turns.push(running.turn().await);
    }
    let ask = json!({ "model": "lab/gated-verse", "prompt": "The sea was", "max_tokens": 400, "ignore_eos": true });
    let by_program = tokio::spawn(async move { refused(&program, &ask).await });
    let by_page = tokio::spawn({
        let ada = ada.clone();
        async move { ada.post("/playground/complete", &[("model", "lab/gated-verse"), ("text", "The sea was"), ("max_tokens", "400")]).await }
    });
    until("both wait in line", || async { line.taken(&key) == 3 }).await;
    suspends(&portal, &grace, &ada).await;
    // As long as it takes until they are asked about again.
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    drop(turns);
    let (status, error) = by_program.await.unwrap();
    assert_eq!((status, &error["code"]), (403, &json!("grant_suspended")));
    let page = by_page.await.unwrap();
    assert_eq!(page.status, 403);
    page.says("a token was seen in public");
    assert_eq!(last_generation(&portal).await, None, "nothing was made");
}
