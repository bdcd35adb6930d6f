//! What is counted: a year for whoever runs the portal, and what of it everybody may know without finding anybody in it.

use server::access::DeclineReason;
use server::ids::{AccountId, ApplicationId, GenerationId, GrantId, ModelId};
use sqlx::PgPool;
use tests::TestPortal;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use crate::gated::{applies_for, gated, open_model};

/// An application that was sent, and decided some days later.
struct Case {
    model: ModelId,
    sent: OffsetDateTime,
    days: i64,
    declined: Option<DeclineReason>,
}

impl Case {
    async fn happened(&self, db: &PgPool, applicant: AccountId, reviewer: AccountId) {
        sqlx::query(
            "insert into application (id, account_id, model_id, answers, state, created_at, updated_at, submitted_at, due_at, closed_at, decided_by, decline_code, decision_text)
             values ($1, $2, $3, '{}', $4, $5, $6, $5, $5 + interval '7 days', $6, $7, $8, '')",
        )
        .bind(ApplicationId::fresh().uuid())
        .bind(applicant.uuid())
        .bind(self.model.uuid())
        .bind(if self.declined.is_some() { "declined" } else { "approved" })
        .bind(self.sent)
        .bind(self.sent + Duration::days(self.days))
        .bind(reviewer.uuid())
        .bind(self.declined.map(DeclineReason::as_str))
        .execute(db)
        .await
        .unwrap();
    }
}

async fn id_of(portal: &TestPortal, email: &str) -> AccountId {
    let id: sqlx::types::Uuid =
        sqlx::query_scalar("select id from account where email = $1").bind(email).fetch_one(&portal.portal.db).await.unwrap();
    AccountId::from(id)
}

/// Twenty decisions in January, most after 2 days and some after 10, eight of them declines; three in February.
async fn a_winter(portal: &TestPortal) -> ModelId {
    let model = gated(portal, "opt").await;
    portal.researcher("ada").await;
    portal.reviewer("grace").await;
    let (ada, grace) = (id_of(portal, "ada@university.edu").await, id_of(portal, "grace@lab.example").await);
    let january = datetime!(2026-01-05 12:00 UTC);
    for number in 0..20 {
        let declined = match number {
            0..5 => Some(DeclineReason::CommercialUse),
            5..7 => Some(DeclineReason::PurposeUnclear),
            7 => Some(DeclineReason::Duplicate),
            _ => None,
        };
        let days = if number % 4 == 0 { 10 } else { 2 };
        Case { model, sent: january + Duration::hours(number), days, declined }.happened(&portal.portal.db, ada, grace).await;
    }
    for _ in 0..3 {
        Case { model, sent: datetime!(2026-02-03 12:00 UTC), days: 1, declined: None }.happened(&portal.portal.db, ada, grace).await;
    }
    model
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_decline_that_was_appealed_counts_as_what_it_was(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "opt").await;
    let (root, ada) = (portal.admin("root").await, portal.researcher("ada").await);
    let (grace, barbara) = (portal.reviewer("grace").await, portal.reviewer("barbara").await);
    let application = applies_for(&ada, "/demo/opt").await;
    let case = application.replace("/applications/", "/review/");
    assert_eq!(grace.post(&format!("{case}/decline"), &[("reason", "duplicate"), ("text", "See the other.")]).await.status, 303);
    let csv = async |name: &str| root.get(&format!("/admin/statistics/{name}.csv")).await.text;
    for appealed in [false, true] {
        if appealed {
            portal.wait(Duration::DAY);
            assert_eq!(ada.post(&format!("{application}/appeal"), &[("text", "There is no other.")]).await.status, 303);
        }
        assert!(csv("outcomes").await.contains("\"2026-03-01\",0,1,0,0\r\n"), "{appealed}: {}", csv("outcomes").await);
        assert!(csv("reviewers").await.contains("\"grace\",\"grace@lab.example\",0,1,0\r\n"), "{appealed}");
        assert!(csv("reasons").await.contains("for the same project\",1\r\n"), "{appealed}: {}", csv("reasons").await);
    }
    assert_eq!(barbara.post(&format!("{case}/approve"), &[("until", "2026-06-01")]).await.status, 303);
    assert!(csv("outcomes").await.contains("\"2026-03-01\",1,1,0,0\r\n"), "{}", csv("outcomes").await);
    assert!(csv("reviewers").await.contains("\"barbara\",\"barbara@lab.example\",1,0,0\r\n"));
    assert!(csv("waits").await.contains("\"2026-03-01\",1,"), "how long it took until the decision that stands");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_year_is_drawn_and_stands_in_tables_and_files(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let root = portal.admin("root").await;
    root.get("/admin/statistics").await.says("<svg").says("Applications sent").says("The numbers");
    let model = a_winter(&portal).await;
    let other = gated(&portal, "other").await;
    let (db, ada) = (&portal.portal.db, id_of(&portal, "ada@university.edu").await);
    let release: sqlx::types::Uuid =
        sqlx::query_scalar("select id from release where model_id = $1").bind(model.uuid()).fetch_one(db).await.unwrap();
    sqlx::query(
        "insert into generation (id, account_id, model_id, release_id, via, prompt_tokens, completion_tokens, started_at, finished_at, finish_reason)
         values ($1, $2, $3, $4, 'api', 300, 40, '2026-02-10', '2026-02-10', 'length')",
    )
    .bind(GenerationId::fresh().uuid())
    .bind(ada.uuid())
    .bind(model.uuid())
    .bind(release)
    .execute(db)
    .await
    .unwrap();
    sqlx::query(
        "insert into download (id, account_id, model_id, model_name, release_id, revision, path, day, size_bytes, sent_bytes, requests, started_at, last_at, completed_at)
         values ($1, $2, $3, 'demo/opt', $4, 'x', 'model.safetensors', '2026-02-11', 5000, 5000, 1, '2026-02-11', '2026-02-11', '2026-02-11')",
    )
    .bind(server::ids::DownloadId::fresh().uuid())
    .bind(ada.uuid())
    .bind(model.uuid())
    .bind(release)
    .execute(db)
    .await
    .unwrap();
    for (name, granted, expires) in [(model, "2024-01-01", "2026-02-15"), (other, "2026-01-20", "2026-12-31")] {
        sqlx::query(
            "insert into access_grant (id, account_id, model_id, reason, granted_at, expires_at)
             values ($1, $2, $3, 'a test', $4::text::timestamptz, $5::text::timestamptz)",
        )
        .bind(GrantId::fresh().uuid())
        .bind(ada.uuid())
        .bind(name.uuid())
        .bind(granted)
        .bind(expires)
        .execute(db)
        .await
        .unwrap();
    }

    let page = root.get("/admin/statistics").await;
    page.says("grace").says("The project is commercial: 5").says("Jan ’26: 8 declined").says("Jan ’26: 12 approved");
    assert!(!page.text.contains("<script") && !page.text.contains("NaN"));
    let csv = async |name: &str| root.get(&format!("/admin/statistics/{name}")).await.text;
    assert!(csv("sent.csv").await.contains("\"2026-01-01\",20\r\n"));
    assert!(csv("outcomes.csv").await.starts_with(
        "from,approved,declined,withdrawn,lapsed\r\n\"2026-03-01\",0,0,0,0\r\n\"2026-02-01\",3,0,0,0\r\n\"2026-01-01\",12,8,0,0\r\n"
    ));
    assert!(csv("reasons.csv").await.contains("\"purpose_unclear\",\"The purpose is not clear\",2\r\n"));
    assert!(csv("waits.csv").await.contains("\"2026-01-01\",20,2,10,15\r\n"));
    assert!(csv("reviewers.csv").await.contains("\"grace\",\"grace@lab.example\",15,8,0\r\n"));
    let made = csv("generations.jsonl").await;
    let made: serde_json::Value = serde_json::from_str(made.lines().find(|line| line.contains("2026-02-01")).unwrap()).unwrap();
    assert_eq!(made, serde_json::json!({ "from": "2026-02-01", "generations": 1, "prompt_tokens": 300, "completion_tokens": 40 }));
    assert!(csv("downloads.csv").await.contains("\"2026-02-01\",1,1,5000\r\n"));
    let grants = csv("grants.csv").await;
    for line in ["\"2026-03-01\",1", "\"2026-02-01\",1", "\"2026-01-01\",2", "\"2025-12-01\",1"] {
        assert!(grants.contains(line), "{line}: {grants}");
    }
    assert!(csv(&format!("sent.csv?by=week&model={other}")).await.contains("\"2026-01-05\",0\r\n"));
    assert!(csv("sent.csv?by=week").await.contains("\"2026-01-05\",20\r\n"));
    assert_eq!(root.get("/admin/statistics/nothing.csv").await.status, 404);
    assert_eq!(root.get("/admin/statistics/sent.xml").await.status, 404);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn everybody_may_know_how_long_it_takes_and_nobody_is_found_in_it(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let visitor = portal.visitor();
    visitor.get("/turnaround").await.says("too few decisions to show");
    a_winter(&portal).await;
    visitor.get("/demo/opt").await.says("/turnaround#demo/opt");
    let page = visitor.get("/turnaround").await;
    page.says("demo/opt").says("January 2026").says(">20<").says("2 days").says("75 %").says(">12<").says(">8<");
    page.says("fewer than 5").says("February 2026");
    let february = page.text.split("February 2026").nth(1).unwrap().split("</tr>").next().unwrap();
    assert!(!february.contains(">3<") && !february.contains("1 day"), "{february}");
    // The quarter is not over, and what the months do not tell is not told by a sum.
    assert!(!page.text.contains("commercial") && !page.text.contains(">23<"), "{}", page.text);
    let csv = visitor.get("/turnaround.csv").await.text;
    assert!(csv.contains("\"demo/opt\",\"2026-01-01\",20,2,10,\"75 %\",12,8\r\n"), "{csv}");
    assert!(csv.contains("\"demo/opt\",\"2026-02-01\",\"fewer than 5\",,,,,\r\n"), "{csv}");
    assert_eq!(visitor.get("/turnaround.xml").await.status, 404);
    let api = "/api/v1/models/demo/opt/turnaround";
    let told = visitor.fetch(api).await.json();
    let january = serde_json::json!({ "month": "2026-01-01", "decided": 20, "median_days": 2.0, "p90_days": 10.0, "in_time": "75 %",
        "approved": 12, "declined": 8 });
    assert_eq!(
        (&told["months"][1], &told["months"][0]["decided"], &told["quarters"]),
        (&january, &serde_json::Value::Null, &serde_json::json!([]))
    );
    open_model(&portal, "open").await;
    assert_eq!(visitor.fetch("/api/v1/models/demo/open/turnaround").await.status, 404, "nobody applies for it");

    portal.wait(Duration::days(31));
    let quarters = visitor.fetch(api).await.json()["quarters"].clone();
    assert_eq!(quarters, serde_json::json!([{ "quarter": "2026-01-01", "reasons": {}, "others": 8 }]));
    let page = visitor.get("/turnaround").await;
    page.says("January 2026 to March 2026").says("All reasons together: 8");
    assert!(!page.text.contains("The project is commercial"), "5 would leave 3");
}
