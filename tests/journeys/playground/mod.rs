//! Trying a model: by page and by program, with the demo model through the real engine.

mod company;
mod trial;

use std::path::Path;
use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::{Value, json};
use server::accounts::{self, Email};
use server::catalog::Gate;
use server::ids::AccountId;
use sqlx::PgPool;
use tests::{Offer, Page, Person, TestPortal};

const VERSE: &str = "sluice/opt-verse-6m";
/// The demo model's context.
const CONTEXT_TOKENS: usize = 512;

async fn offers_verse(portal: &TestPortal, full_name: &str, gate: Gate) -> Offer {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/demo/opt-verse-6m");
    let names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
    let files: Vec<Vec<u8>> = names.iter().map(|name| std::fs::read(folder.join(name)).unwrap()).collect();
    let files: Vec<(&str, &[u8])> = names.iter().copied().zip(files.iter().map(Vec::as_slice)).collect();
    portal.offers(full_name, gate, &files).await
}

/// A portal with the demo model open to all, somebody with an account, and their program.
async fn portal_with_verse(db: PgPool) -> (TestPortal, Person, Person) {
    let portal = TestPortal::start(db).await;
    offers_verse(&portal, VERSE, Gate::Open).await;
    let ada = portal.researcher("ada").await;
    let program = ada.with_token(&ada.makes_token(&["api"]).await);
    (portal, ada, program)
}

async fn asks(program: &Person, body: &Value) -> Response {
    program.request(Method::POST, "/v1/completions").header("content-type", "application/json").body(body.to_string()).send().await.unwrap()
}

async fn completes(program: &Person, mut body: Value) -> Value {
    body["model"] = json!(VERSE);
    let answer = asks(program, &body).await;
    let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// The status and the `error` of a request that is refused.
async fn refused(program: &Person, body: &Value) -> (u16, Value) {
    let answer = asks(program, body).await;
    let status = answer.status().as_u16();
    let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    (status, body["error"].clone())
}

/// The data of every event of a stream.
fn events(text: &str) -> Vec<String> {
    text.split("\n\n").filter_map(|block| block.strip_prefix("data: ")).map(str::to_owned).collect()
}

async fn account_of(portal: &TestPortal, person: &Person) -> AccountId {
    let mut db = portal.portal.db.acquire().await.unwrap();
    accounts::find_by_email(&mut db, &Email::parse(&person.email).unwrap()).await.unwrap().unwrap().id
}

/// Looks again and again until it is so; fails when it never becomes so.
async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let looking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), looking).await.unwrap_or_else(|_| panic!("never: {what}"));
}

fn engine_is_idle(portal: &TestPortal) -> bool {
    portal.portal.engine.loaded().iter().all(|model| model.stats.running == 0 && model.stats.waiting == 0)
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_same_seed_gives_the_same_text_whole_streamed_or_in_company(db: PgPool) {
    let (_portal, _, program) = portal_with_verse(db).await;
    let ask = json!({ "prompt": "The sea was", "max_tokens": 40, "temperature": 0.9, "top_p": 0.95, "top_k": 50, "seed": 11 });
    let whole = completes(&program, ask.clone()).await;
    let text = whole["choices"][0]["text"].as_str().unwrap();
    assert!(text.len() > 20, "{text:?}");
    assert_eq!(whole["usage"]["completion_tokens"], 40);
    assert_eq!(whole["choices"][0]["finish_reason"], "length");

    let mut streamed = ask.clone();
    streamed["model"] = json!(VERSE);
    streamed["stream"] = json!(true);
    streamed["stream_options"] = json!({ "include_usage": true });
    let answer = asks(&program, &streamed).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream; charset=utf-8");
    let events = events(&answer.text().await.unwrap());
    let (done, chunks) = events.split_last().unwrap();
    assert_eq!(done, "[DONE]");
    let chunks: Vec<Value> = chunks.iter().map(|chunk| serde_json::from_str(chunk).unwrap()).collect();
    let (usage, chunks) = chunks.split_last().unwrap();
    assert_eq!((&usage["choices"], &usage["usage"]), (&json!([]), &whole["usage"]));
    let joined: String = chunks.iter().map(|chunk| chunk["choices"][0]["text"].as_str().unwrap()).collect();
    assert_eq!(joined, text);
    let reasons: Vec<&Value> = chunks.iter().map(|chunk| &chunk["choices"][0]["finish_reason"]).collect();
    assert!(reasons[..reasons.len() - 1].iter().all(|reason| reason.is_null()) && *reasons[reasons.len() - 1] == "length");
    assert!(chunks.len() > 5, "it came in {} pieces", chunks.len());

    let mut company = ask;
    company["prompt"] = json!(["A quite different beginning", "The sea was"]);
    company["n"] = json!(2);
    let company = completes(&program, company).await;
    let texts: Vec<&str> = company["choices"].as_array().unwrap().iter().map(|choice| choice["text"].as_str().unwrap()).collect();
    assert_eq!(texts[2], text, "choice 0 of prompt 1 is what it is alone");
    assert_ne!(texts[3], text, "the second choice is another");
    assert_eq!(company["usage"]["completion_tokens"], 160);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_stop_text_ends_the_answer_and_is_not_part_of_it(db: PgPool) {
    let (_portal, _, program) = portal_with_verse(db).await;
    let free = completes(&program, json!({ "prompt": "The sea was", "max_tokens": 60, "temperature": 0, "ignore_eos": true })).await;
    let text = free["choices"][0]["text"].as_str().unwrap();
    // A stop text from the middle of what comes anyway, likely across tokens.
    let middle = text.char_indices().nth(text.chars().count() / 2).unwrap().0;
    let stop: String = text[middle..].chars().take(6).collect();
    let stopped = completes(
        &program,
        json!({ "prompt": "The sea was", "max_tokens": 60, "temperature": 0, "ignore_eos": true, "stop": ["never this", stop] }),
    )
    .await;
    assert_eq!(stopped["choices"][0]["text"], text[..text.find(&stop).unwrap()]);
    assert_eq!(stopped["choices"][0]["finish_reason"], "stop");
    assert!(stopped["usage"]["completion_tokens"].as_u64().unwrap() < 60);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_text_is_scored_with_echo_and_no_tokens(db: PgPool) {
    let (_portal, _, program) = portal_with_verse(db).await;
    let answer =
        completes(&program, json!({ "prompt": "Shall I compare thee", "max_tokens": 0, "echo": true, "logprobs": 2, "temperature": 0 }))
            .await;
    let choice = &answer["choices"][0];
    assert_eq!(choice["text"], "Shall I compare thee");
    let logprobs = &choice["logprobs"];
    let tokens = logprobs["tokens"].as_array().unwrap();
    assert_eq!(tokens[0], "</s>");
    assert!(logprobs["token_logprobs"][0].is_null() && logprobs["top_logprobs"][0].is_null(), "nothing is known of the first");
    for place in 1..tokens.len() {
        let own = logprobs["token_logprobs"][place].as_f64().unwrap();
        let top = logprobs["top_logprobs"][place].as_object().unwrap();
        assert!(own <= 0.0);
        assert_eq!(top[tokens[place].as_str().unwrap()].as_f64().unwrap(), own, "the same number, to the last bit");
        assert!((2..=3).contains(&top.len()));
    }
    let joined: String = tokens[1..].iter().map(|token| token.as_str().unwrap()).collect();
    assert_eq!(joined, "Shall I compare thee");
    let offsets: Vec<u64> = logprobs["text_offset"].as_array().unwrap().iter().map(|offset| offset.as_u64().unwrap()).collect();
    assert_eq!(offsets[..2], [0, 0]);
    assert_eq!(offsets[2], tokens[1].as_str().unwrap().chars().count() as u64);
    assert_eq!(answer["usage"]["completion_tokens"], 0);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_best_of_several_is_the_likeliest(db: PgPool) {
    let (_portal, _, program) = portal_with_verse(db).await;
    let ask = |best_of: u64, n: u64| json!({ "prompt": "The sea was", "max_tokens": 12, "seed": 5, "n": n, "best_of": best_of, "logprobs": 0, "ignore_eos": true });
    let mean = |choice: &Value| {
        let logprobs: Vec<f64> = choice["logprobs"]["token_logprobs"].as_array().unwrap().iter().map(|p| p.as_f64().unwrap()).collect();
        logprobs.iter().sum::<f64>() / logprobs.len() as f64
    };
    let all = completes(&program, ask(4, 4)).await;
    let best = completes(&program, ask(4, 1)).await;
    let likeliest = all["choices"].as_array().unwrap().iter().max_by(|a, b| mean(a).total_cmp(&mean(b))).unwrap();
    assert_eq!(best["choices"].as_array().unwrap().len(), 1);
    assert_eq!(best["choices"][0]["text"], likeliest["text"]);
    assert_eq!(best["usage"]["completion_tokens"], 48, "those not chosen were made too");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_an_account_has_had_read_is_not_read_again_and_nobody_else_learns_of_it(db: PgPool) {
    let (portal, _, ada) = portal_with_verse(db).await;
    let bob = portal.researcher("bob").await;
    let bob = bob.with_token(&bob.makes_token(&["api"]).await);
    let ids: Vec<u32> = (0..100).map(|place| 10 + place % 50).collect();
    let ask = || json!({ "prompt": ids, "max_tokens": 8, "temperature": 0.9, "seed": 3, "logprobs": 2, "n": 2 });
    let cached = |answer: &Value| answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();

    let cold = completes(&ada, ask()).await;
    let warm = completes(&ada, ask()).await;
    let others = completes(&bob, ask()).await;
    assert_eq!((cached(&cold), cached(&warm), cached(&others)), (0, 96, 0), "whole blocks of 32, of one's own");
    assert_eq!(cold["choices"], warm["choices"], "to the last digit of every probability");
    assert_eq!(cold["choices"], others["choices"]);
    assert_eq!(cold["usage"]["prompt_tokens"], 100, "a prompt with several answers counts once");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_answers_to_one_prompt_are_those_one_gets_again(db: PgPool) {
    let (_portal, _, program) = portal_with_verse(db).await;
    let ask = |n: u64| json!({ "prompt": "The sea was", "max_tokens": 12, "seed": 5, "n": n, "ignore_eos": true });
    let (one, four) = (completes(&program, ask(1)).await, completes(&program, ask(4)).await);
    assert_eq!(one["choices"][0]["text"], four["choices"][0]["text"], "the first is the one that comes alone");
    let texts: std::collections::BTreeSet<&str> = four["choices"].as_array().unwrap().iter().map(|c| c["text"].as_str().unwrap()).collect();
    assert_eq!(texts.len(), 4, "the others differ: {texts:?}");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn every_refusal_has_its_code_and_says_what_to_do(db: PgPool) {
    let (portal, ada, program) = portal_with_verse(db).await;
    offers_verse(&portal, "sluice/gated", Gate::Application).await;
    let ask = |model: &str| json!({ "model": model, "prompt": "The sea was", "max_tokens": 4 });

    let (status, error) = refused(&program, &ask("sluice/nothing")).await;
    assert_eq!((status, &error["code"], &error["param"]), (404, &json!("model_not_found"), &json!("model")));
    let (status, error) = refused(&program, &ask("sluice/gated")).await;
    assert_eq!((status, &error["code"]), (403, &json!("no_application")));
    assert!(error["message"].as_str().unwrap().contains(&format!("{}/sluice/gated/apply", portal.base)), "{error}");

    let stranger = portal.visitor();
    let bad = stranger.with_token("slc_notatoken");
    for nobody in [&stranger, &bad, &ada] {
        let (status, error) = refused(nobody, &ask(VERSE)).await;
        assert_eq!((status, &error["code"]), (401, &json!("invalid_api_key")), "a session's cookie counts for nothing here");
        let nonsense = nobody.request(Method::POST, "/v1/completions").body("{").send().await.unwrap();
        assert_eq!(nonsense.status(), 401, "who is nobody is told that, whatever they send");
    }
    let downloader = ada.with_token(&ada.makes_token(&["download"]).await);
    let (status, error) = refused(&downloader, &ask(VERSE)).await;
    assert_eq!((status, &error["code"]), (403, &json!("token_scope")));

    let mut long = ask(VERSE);
    long["max_tokens"] = json!(CONTEXT_TOKENS);
    let (status, error) = refused(&program, &long).await;
    assert_eq!((status, &error["code"], &error["param"]), (400, &json!("context_length_exceeded"), &json!("prompt")));
    long["prompt"] = json!("word ".repeat(2_000));
    long["max_tokens"] = Value::Null;
    assert_eq!(refused(&program, &long).await.1["code"], "context_length_exceeded");

    let mut wrong = ask(VERSE);
    wrong["temperature"] = json!(3);
    wrong["logit_bias"] = json!({ "5": 200 });
    let (status, error) = refused(&program, &wrong).await;
    assert_eq!((status, &error["param"], &error["type"]), (400, &json!("temperature"), &json!("invalid_request_error")));
    assert!(error["message"].as_str().unwrap().contains("logit_bias"), "all faults at once: {error}");
    let (status, error) = refused(&program, &json!({ "model": VERSE, "prompt": [999_999] })).await;
    assert_eq!((status, &error["param"]), (400, &json!("prompt")));
    let answer = program.request(Method::POST, "/v1/completions").body("{").send().await.unwrap();
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.headers()["x-should-retry"], "false");

    let mut unknown = ask(VERSE);
    unknown["top_n"] = json!(0.1);
    let answer = asks(&program, &unknown).await;
    assert_eq!(answer.status(), 200);
    assert!(answer.headers()["x-sluice-warning"].to_str().unwrap().contains("top_n"));
    until("nothing that was refused holds a place", || async {
        portal.portal.limits.generations.taken(&account_of(&portal, &ada).await.to_string()) == 0
    })
    .await;
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn one_lists_the_models_one_may_use(db: PgPool) {
    let (portal, ada, program) = portal_with_verse(db).await;
    let gated = offers_verse(&portal, "sluice/gated", Gate::Application).await;
    let listed = async || -> Vec<String> {
        let list = program.fetch("/v1/models").await.json();
        list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(listed().await, [VERSE]);
    assert_eq!(program.fetch("/v1/models/sluice/gated").await.status, 403);
    portal.grants(&gated, &ada.email, 30).await;
    assert_eq!(listed().await, ["sluice/gated", VERSE]);
    assert_eq!(program.fetch("/v1/models/sluice/gated").await.json()["owned_by"], "sluice");
    assert_eq!(program.fetch("/v1/models/sluice%2Fgated").await.json()["id"], "sluice/gated", "as the openai package writes it");
    assert_eq!(program.fetch("/v1/models/nothing").await.json()["error"]["code"], "model_not_found");
    portal.revokes(&gated).await;
    assert_eq!(listed().await, [VERSE]);
    assert_eq!(portal.visitor().fetch("/v1/models").await.status, 401);
    let downloader = ada.with_token(&ada.makes_token(&["download"]).await);
    assert_eq!(downloader.fetch("/v1/models").await.json()["error"]["code"], "token_scope");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn tokens_become_text_and_text_tokens(db: PgPool) {
    let (portal, _, program) = portal_with_verse(db).await;
    let post = async |path: &str, body: Value| -> Value {
        let answer = program.request(Method::POST, path).body(body.to_string()).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    };
    let text = "Größer 😀 than";
    let whole = post("/tokenize", json!({ "prompt": text })).await;
    let bare = post("/tokenize", json!({ "prompt": text, "add_special_tokens": false })).await;
    assert_eq!(whole["tokens"].as_array().unwrap()[1..], bare["tokens"].as_array().unwrap()[..]);
    assert_eq!((&whole["tokens"][0], &whole["max_model_len"]), (&json!(2), &json!(CONTEXT_TOKENS)));
    assert_eq!(post("/detokenize", json!({ "tokens": bare["tokens"], "model": VERSE })).await["prompt"], text);
    assert_eq!(program.fetch("/tokenizer_info").await.json()["eos_token"], "</s>");
    let ids = completes(&program, json!({ "prompt": whole["tokens"], "max_tokens": 8, "temperature": 0 })).await;
    let texts = completes(&program, json!({ "prompt": text, "max_tokens": 8, "temperature": 0 })).await;
    assert_eq!(ids["choices"], texts["choices"], "ids are taken as they are, texts get the leading token");

    offers_verse(&portal, "sluice/same", Gate::Open).await;
    assert_eq!(program.fetch("/tokenizer_info").await.status, 200, "two models with one tokenizer");
    portal.offers("sluice/other", Gate::Open, &[("config.json", b"{}"), ("tokenizer.json", b"{}")]).await;
    assert_eq!(program.fetch("/tokenizer_info").await.json()["error"]["param"], "model");
    assert_eq!(program.fetch(&format!("/tokenizer_info?model={VERSE}")).await.status, 200);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_model_that_cannot_run_says_why_and_is_not_asked_again(db: PgPool) {
    let (portal, _, program) = portal_with_verse(db).await;
    portal.offers("sluice/strange", Gate::Open, &[("config.json", br#"{"model_type": "llama"}"#)]).await;
    let answer = asks(&program, &json!({ "model": "sluice/strange", "prompt": "x" })).await;
    assert_eq!((answer.status().as_u16(), answer.headers()["x-should-retry"].to_str().unwrap()), (503, "false"));
    assert!(answer.text().await.unwrap().contains("model_type"));
}

/// What stands in the page's text area.
fn text_of(page: &Page) -> String {
    let (_, rest) = page.text.split_once("name=\"text\"").unwrap();
    let text = rest.split_once(">\n").unwrap().1.split_once("</textarea>").unwrap().0;
    text.replace("&#39;", "'").replace("&#34;", "\"").replace("&quot;", "\"").replace("&amp;", "&")
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn without_script_the_page_comes_back_with_the_text_continued(db: PgPool) {
    let (portal, ada, _) = portal_with_verse(db).await;
    portal.visitor().get("/playground").await.says("needs an account").says("/sign-in?then=%2Fplayground");
    ada.get("/playground").await.says(VERSE).says("they continue text; they do not chat");

    let fields = [("model", VERSE), ("text", "The sea\r\nwas"), ("max_tokens", "20"), ("temperature", "0,7"), ("seed", "3")];
    let page = ada.post("/playground", &fields).await;
    assert_eq!(page.status, 200);
    let text = text_of(&page);
    assert!(text.starts_with("The sea\nwas") && text.len() > "The sea\nwas".len() + 10, "{text:?}");
    page.says("tokens added").says("<mark>").says("of 512 tokens");
    assert_eq!(text_of(&ada.post("/playground", &fields).await), text, "the same seed, the same text");
    let page = ada.post("/playground", &[("model", VERSE), ("text", &text), ("max_tokens", "5")]).await;
    assert!(text_of(&page).starts_with(&text), "it goes on from where it was");
    let program = ada.with_token(&ada.makes_token(&["api"]).await);
    let by_program =
        completes(&program, json!({ "prompt": "The sea\nwas", "max_tokens": 20, "temperature": 0.7, "top_p": 0.95, "seed": 3 })).await;
    assert_eq!(format!("The sea\nwas{}", by_program["choices"][0]["text"].as_str().unwrap()), text, "\"The same by program\" is true");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn whatever_is_wrong_the_text_comes_back(db: PgPool) {
    let (portal, ada, _) = portal_with_verse(db).await;
    let gated = offers_verse(&portal, "sluice/gated", Gate::Application).await;
    let page = ada.post("/playground", &[("model", VERSE), ("text", "Precious words"), ("temperature", "9"), ("max_tokens", "lots")]).await;
    assert_eq!(page.status, 422);
    page.says("temperature-fault").says("max_tokens-fault").says("aria-invalid");
    assert_eq!(text_of(&page), "Precious words");

    let page = ada.post("/playground", &[("model", &gated.full_name), ("text", "Precious words")]).await;
    assert_eq!((page.status, text_of(&page)), (422, "Precious words".into()));
    page.says("needs an approved application").says("/sluice/gated/apply");

    let long = "word ".repeat(1_000);
    let page = ada.post("/playground", &[("model", VERSE), ("text", &long)]).await;
    assert_eq!((page.status, text_of(&page)), (422, long));
    page.says("the model holds 512");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_pages_stream_needs_the_pages_form_token(db: PgPool) {
    let (_portal, ada, _) = portal_with_verse(db).await;
    let csrf = ada.csrf().await;
    let send = async |csrf: &str| {
        let fields = [("csrf", csrf), ("model", VERSE), ("text", "The sea was"), ("max_tokens", "12"), ("seed", "4")];
        ada.request(Method::POST, "/playground/complete").header("accept", "text/event-stream").form(&fields).send().await.unwrap()
    };
    assert_eq!(send("forged").await.status(), 409);
    let answer = send(&csrf).await;
    assert_eq!(answer.status(), 200);
    let events: Vec<Value> = events(&answer.text().await.unwrap()).iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    assert_eq!((&events[0]["kind"], &events[0]["seed"], &events[0]["context_tokens_max"]), (&json!("started"), &json!(4), &json!(512)));
    let last = events.last().unwrap();
    assert_eq!((&last["kind"], &last["tokens"]), (&json!("finished"), &json!(12)));
    let text: String = events[1..].iter().map(|event| event["text"].as_str().unwrap()).collect();
    assert!(!text.is_empty());
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn more_log_probabilities_than_one_answer_holds_are_refused(db: PgPool) {
    let (_portal, _ada, program) = portal_with_verse(db).await;
    let ask =
        |prompts: usize| json!({ "model": VERSE, "prompt": vec![vec![4; 500]; prompts], "max_tokens": 0, "echo": true, "logprobs": 5 });
    let (status, error) = refused(&program, &ask(100)).await;
    assert_eq!((status, error["param"].as_str()), (400, Some("logprobs")), "{error}");
    assert_eq!(asks(&program, &ask(2)).await.status(), 200);
}
