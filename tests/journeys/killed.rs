//! `kill -9` of the portal in the middle of things: after the restart nothing is half done and nothing is lost.
//! (A publish that is killed has its story in `publish.rs`: publishing is a command of its own.)

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::Method;
use serde_json::json;
use server::postgres::Cluster;
use sqlx::{Connection, PgConnection};
use tests::{Installation, Person};

use crate::gated::applies_for;

const GATED: &str = "sluice/opt-verse-6m-gated";
const OPEN: &str = "sluice/opt-verse-6m";

pub async fn database(place: &Installation) -> PgConnection {
    let options = Cluster::running(&place.data().join("postgres")).expect("the portal runs its database");
    PgConnection::connect_with(&options).await.unwrap()
}

#[tokio::test]
async fn an_approval_is_whole_or_not_at_all() {
    let place = Installation::fresh();
    let mut portal = place.serve().await;
    let grace = place.person("grace@lab.example", "reviewer").await;
    let (mut approved, mut open) = (0, 0);
    for (round, delay_ms) in [2, 6, 12, 25].into_iter().enumerate() {
        let mut cases = Vec::new();
        for number in 0..4 {
            let applicant = place.person(&format!("ada{round}{number}@university.edu"), "researcher").await;
            cases.push(applies_for(&applicant, &format!("/{GATED}")).await.replace("/applications/", "/review/"));
        }
        let token = grace.csrf().await;
        let decisions = cases.iter().map(|case| {
            #[expect(clippy::disallowed_methods, reason = "the real program beside us lives by the machine's clock")]
            let until = (time::UtcDateTime::now() + time::Duration::days(30)).date().to_string();
            grace
                .request(Method::POST, &format!("{case}/approve"))
                .form(&[("until", until.as_str()), ("note", ""), ("csrf", &token)])
                .send()
        });
        let decisions = tokio::spawn(futures_util::future::join_all(decisions.collect::<Vec<_>>()));
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        portal.kill();
        let _ = decisions.await.unwrap();

        portal = place.serve().await;
        let mut db = database(&place).await;
        let torn: i64 = sqlx::query_scalar(
            "select count(*) from application a
             where (a.state = 'approved') is distinct from (1 = (select count(*) from access_grant g where g.application_id = a.id))
                or (a.state = 'approved') is distinct from (exists (select 1 from audit_event e
                    where e.kind = 'application.approved' and e.at = a.closed_at
                      and exists (select 1 from audit_payload o where o.seq = e.seq and o.detail->>'grant' is not null)
                      and exists (select 1 from access_grant g where g.application_id = a.id and g.granted_at = e.at and g.account_id = a.account_id)))
                or (a.state = 'approved') is distinct from (1 = (select count(*) from mail m join account p on p.email = m.recipient
                    where p.id = a.account_id and m.kind = 'access_granted'))",
        )
        .fetch_one(&mut db)
        .await
        .unwrap();
        assert_eq!(torn, 0, "after {delay_ms} ms");
        (approved, open) = sqlx::query_as(
            "select count(*) filter (where state = 'approved'), count(*) filter (where state = 'submitted') from application",
        )
        .fetch_one(&mut db)
        .await
        .unwrap();
        assert_eq!(approved + open, 4 * (i64::try_from(round).unwrap() + 1), "no application is lost");
    }
    // What stayed open can still be decided.
    if open > 0 {
        grace.get("/review").await.says("/review/app_");
    }
    println!("{approved} were approved before the kill, {open} stayed open");
}

#[tokio::test]
async fn a_download_goes_on_where_it_was() {
    let place = Installation::fresh();
    let portal = place.serve().await;
    let path = format!("/{OPEN}/resolve/main/model.safetensors");
    let stranger = Person::new(&portal.base, "");
    let at_commit = stranger.fetch(&path).await.location().to_owned();
    let mut stream = stranger.request(Method::GET, &at_commit).send().await.unwrap().bytes_stream();
    let mut bytes = Vec::new();
    while bytes.len() < 1_000_000 {
        bytes.extend_from_slice(&stream.next().await.unwrap().unwrap());
    }
    portal.kill();
    while let Some(Ok(more)) = stream.next().await {
        bytes.extend_from_slice(&more);
    }

    let _portal = place.serve().await;
    let rest = stranger.request(Method::GET, &at_commit).header("range", format!("bytes={}-", bytes.len())).send().await.unwrap();
    let complete = bytes.len();
    if rest.status() == 206 {
        bytes.extend_from_slice(&rest.bytes().await.unwrap());
    } else {
        assert_eq!(rest.status(), 416, "all of it had arrived ({complete} bytes)");
    }
    let published = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/demo/opt-verse-6m/model.safetensors")).unwrap();
    assert!(bytes == published, "{} bytes, {} published", bytes.len(), published.len());
}

#[tokio::test]
async fn a_generation_is_closed_at_the_restart_and_the_next_one_runs() {
    let place = Installation::fresh();
    let portal = place.serve().await;
    place.person("ada@university.edu", "researcher").await;
    let ada =
        Person::new(&portal.base, "ada@university.edu").with_token(&place.run(&["token", "add", "ada@university.edu", "--scope", "api"]));
    let ask = |tokens: u32| json!({ "model": OPEN, "prompt": "In the beginning", "max_tokens": tokens, "ignore_eos": true, "stream": true, "seed": 1 });
    let answer = ada.request(Method::POST, "/v1/completions").json(&ask(500)).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut stream = answer.bytes_stream();
    stream.next().await.unwrap().unwrap();
    portal.kill();
    drop(stream);

    let _portal = place.serve().await;
    let reason: Option<String> =
        sqlx::query_scalar("select finish_reason from generation").fetch_one(&mut database(&place).await).await.unwrap();
    assert_eq!(reason.as_deref(), Some("interrupted"));
    let answer = ada.request(Method::POST, "/v1/completions").json(&ask(5)).send().await.unwrap();
    assert!(answer.text().await.unwrap().ends_with("data: [DONE]\n\n"));
}
