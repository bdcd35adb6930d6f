//! A metered trial: an applicant uses the playground while the application waits, if the model's rules allow it.

use futures_util::StreamExt;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use server::catalog::Gate;
use sqlx::PgPool;
use tests::{Page, Person, TestPortal};

use super::company::{fill, loaded};
use super::{account_of, offers_verse, refused, until};

/// A gated model whose rules let applicants try it, somebody whose application waits, and a reviewer.
async fn with_trial(db: PgPool, tokens: &str) -> (TestPortal, Person, Person, String) {
    let portal = TestPortal::start(db).await;
    let offer = offers_verse(&portal, "lab/gated-verse", Gate::Application).await;
    let (root, grace, ada) = (portal.admin("root").await, portal.reviewer("grace").await, portal.researcher("ada").await);
    let rules = [("answer_days", "7"), ("reapply_days", "14"), ("trial_tokens", tokens)];
    assert_eq!(root.post(&format!("/admin/models/{}/policy", offer.model), &rules).await.status, 303);
    ada.get("/playground").await.says("no model that you may use yet");
    let application = crate::gated::applies_for(&ada, "/lab/gated-verse").await;
    (portal, ada, grace, application)
}

async fn tries(person: &Person, tokens: &str) -> Page {
    let fields = [("model", "lab/gated-verse"), ("text", "The sea was"), ("max_tokens", tokens), ("temperature", "0")];
    person.post("/playground", &fields).await
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn an_applicant_tries_the_model_with_as_many_tokens_as_its_rules_allow(db: PgPool) {
    let (portal, ada, grace, application) = with_trial(db, "30").await;
    ada.get("/lab/gated-verse").await.says("you may try it in the playground, with 30 tokens");
    ada.get("/playground").await.says(">30 more tokens</span>, your text included");
    // Not by a program, and not the weights.
    let program = ada.with_token(&ada.makes_token(&["api", "download"]).await);
    let (status, error) = refused(&program, &json!({ "model": "lab/gated-verse", "prompt": "The sea was", "max_tokens": 1 })).await;
    assert_eq!((status, &error["code"]), (403, &json!("application_pending")));
    assert_eq!(program.fetch("/lab/gated-verse/resolve/v1/model.safetensors").await.status, 403);

    // The text is four tokens.
    assert_eq!(tries(&ada, "10").await.status, 200);
    ada.get("/playground").await.says(">16 more tokens</span>");
    tries(&ada, "400").await.says("12 tokens added");
    let used = tries(&ada, "1").await;
    assert_eq!(used.status, 422);
    used.says("You have used the tokens that you may try it with until then");
    ada.get("/lab/gated-verse").await.says("is waiting for a reviewer");

    // Withdrawing and applying again brings no more, and a decision ends it.
    ada.post(&format!("{application}/withdraw"), &[]).await;
    assert_eq!(tries(&ada, "1").await.status, 422);
    let again = crate::gated::applies_for(&ada, "/lab/gated-verse").await;
    assert_eq!(tries(&ada, "1").await.status, 422);
    let case = again.replace("/applications/", "/review/");
    assert_eq!(grace.post(&format!("{case}/approve"), &[("until", "2026-08-31"), ("note", "")]).await.status, 303);
    assert_eq!(tries(&ada, "1").await.status, 200);
    drop(portal);
}

/// How many tokens the ledger says were read and made, and for how many generations.
async fn used(portal: &TestPortal) -> (i64, i64) {
    let sums = "select coalesce(sum(prompt_tokens + completion_tokens), 0)::bigint, count(*) from generation";
    sqlx::query_as(sums).fetch_one(&portal.portal.db).await.unwrap()
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn texts_of_one_moment_share_what_is_left_of_a_trial(db: PgPool) {
    let (portal, ada, _, _) = with_trial(db, "60").await;
    // The engine is loaded, so that nothing keeps them apart.
    assert_eq!(tries(&ada, "1").await.status, 200);
    for allowed in [60, 90, 120] {
        sqlx::query("update access_policy set trial_tokens = $1").bind(allowed).execute(&portal.portal.db).await.unwrap();
        let pages = join_all((0..8).map(|_| tries(&ada, "9"))).await;
        assert!(pages.iter().all(|page| page.status == 200 || page.status == 422));
        let refused = pages.iter().filter(|page| page.status == 422).count();
        assert!(refused > 0 && refused < 8, "{refused} of 8");
        let (tokens, _) = used(&portal).await;
        assert!(tokens <= allowed, "{tokens} of {allowed} tokens");
    }
    let counted: i64 = sqlx::query_scalar("select count(*) from generation where finished_at is null or reserved_tokens = 0")
        .fetch_one(&portal.portal.db)
        .await
        .unwrap();
    assert_eq!(counted, 0, "each has ended, and had set aside what it might take");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_runs_has_its_tokens_set_aside_and_gives_back_what_it_did_not_take(db: PgPool) {
    let (portal, ada, _, _) = with_trial(db, "30").await;
    assert_eq!(tries(&ada, "1").await.status, 200);
    let set_aside = async |tokens: i32| {
        let open = "update generation set finished_at = null, finish_reason = null, reserved_tokens = $1";
        sqlx::query(open).bind(tokens).execute(&portal.portal.db).await.unwrap();
    };
    // Of 30 the text and its one token took 5; 19 are set aside, the next text takes 4.
    set_aside(19).await;
    tries(&ada, "400").await.says("2 tokens added");
    sqlx::query("delete from generation where reserved_tokens <> 19").execute(&portal.portal.db).await.unwrap();
    set_aside(25).await;
    let busy = tries(&ada, "1").await;
    assert_eq!(busy.status, 422);
    busy.says("set aside for another text of yours").says("25 tokens").says("The sea was");
    assert_eq!(used(&portal).await, (5, 1), "what is refused leaves no row");
    sqlx::query("update generation set finished_at = started_at, finish_reason = 'stop'").execute(&portal.portal.db).await.unwrap();
    tries(&ada, "400").await.says("21 tokens added");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_the_engine_refuses_takes_nothing_of_a_trial(db: PgPool) {
    let (portal, ada, _, _) = with_trial(db, "30").await;
    assert_eq!(tries(&ada, "1").await.status, 200);
    let (engine, mut held) = (loaded(&portal), Vec::new());
    // Should one of the others end in between, the line is filled again.
    loop {
        fill(&engine, &mut held);
        let before = used(&portal).await;
        if tries(&ada, "1").await.status == 503 {
            assert_eq!(used(&portal).await, before, "no row, and nothing set aside");
            break;
        }
    }
    drop(held);
    tries(&ada, "400").await.says("tokens added");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn who_leaves_a_trial_early_keeps_the_rest(db: PgPool) {
    let (portal, ada, _, _) = with_trial(db, "500").await;
    let csrf = ada.csrf().await;
    let fields = [("model", "lab/gated-verse"), ("text", "The sea was"), ("max_tokens", "480"), ("csrf", &csrf)];
    let answer = ada.request(Method::POST, "/playground/complete").form(&fields).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut stream = answer.bytes_stream();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    until("it is settled", async || {
        let open = sqlx::query_scalar("select count(*) from generation where finished_at is null");
        open.fetch_one(&portal.portal.db).await.is_ok_and(|open: i64| open == 0)
    })
    .await;
    let (tokens, count) = used(&portal).await;
    assert!(count == 1 && tokens < 484, "{tokens} tokens in {count}");
    assert_eq!(tries(&ada, "5").await.status, 200);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_trial_ends_with_the_decision(db: PgPool) {
    let (portal, ada, grace, application) = with_trial(db, "1000").await;
    let line = &portal.portal.limits.generations;
    let key = account_of(&portal, &ada).await.to_string();
    assert_eq!(tries(&ada, "1").await.status, 200);
    assert_eq!(line.taken(&key), 0);
    let case = application.replace("/applications/", "/review/");
    let declined = [("reason", "purpose_unclear"), ("text", "Which data?")];
    assert_eq!(grace.post(&format!("{case}/decline"), &declined).await.status, 303);
    let over = tries(&ada, "1").await;
    assert_eq!(over.status, 422);
    over.says("was declined");
}
