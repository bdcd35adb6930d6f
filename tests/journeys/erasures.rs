//! What had to be forgotten is missing from the record, on the record, and nothing else may be.

use server::audit::{self, LogKey};
use server::ids::AccountId;
use sqlx::PgPool;
use tests::TestPortal;

use crate::record::{eventful, integrate, verdict};

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_has_to_be_forgotten_goes_and_every_proof_still_holds(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (ada, application) = eventful(&portal).await;
    let root = portal.admin("root").await;
    integrate(&portal).await;
    let db = &portal.portal.db;
    let (seq, place, account): (i64, i64, AccountId) =
        sqlx::query_as("select seq, index, actor_id from audit_event join audit_leaf using (seq) where kind = 'application.submitted'")
            .fetch_one(db)
            .await
            .unwrap();
    let mut tx = db.begin().await.unwrap();
    let now = portal.portal.clock.now();
    audit::forget(&mut tx, now, None, account, std::slice::from_ref(&application)).await.unwrap();
    tx.commit().await.unwrap();
    assert!(sqlx::query("update audit_payload set detail = '{}'").execute(db).await.is_err(), "it goes or stays, and is never another");
    let before = verdict(&portal).await;
    assert!(before.fault.is_none() && before.erased > 1, "also while the erasure waits for its own place: {before:?}");
    integrate(&portal).await;
    let erased = verdict(&portal).await;
    assert_eq!((erased.fault, erased.erased), (None, before.erased));
    let told = root.get("/admin/audit?kind=record.details_erased").await;
    told.says(&account.to_string()).says(&seq.to_string());

    // Only what the record says was erased may be missing, and what says so may not.
    let made: i64 =
        sqlx::query_scalar("select index from audit_leaf where seq = (select min(seq) from audit_payload)").fetch_one(db).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    sqlx::query("delete from audit_payload where seq = (select min(seq) from audit_payload)").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let fault = verdict(&portal).await.fault.unwrap();
    assert_eq!(fault.index, Some(made.unsigned_abs()));
    assert!(fault.what.contains("no erasure on the record"), "{}", fault.what);
    assert!(made < place);
    let key = LogKey::parse(&ada.fetch("/audit/key").await.text).unwrap();
    let proven = audit::check(&ada.get(&format!("/audit/receipt/{seq}")).await.text, &key).unwrap();
    assert!(proven.entry.contains(&application) && proven.detail.is_none());
    root.get("/admin/audit?kind=application.submitted").await.says("erased, to forget somebody");
}

/// Details were erased before erasures were on the record: the update says which, once.
#[sqlx::test(migrations = false)]
async fn what_was_erased_before_is_told_by_the_update_and_nothing_after_it(db: PgPool) {
    let mut conn = db.acquire().await.unwrap();
    let steps = async |conn: &mut sqlx::PgConnection, from: i64, to: i64| {
        for step in server::MIGRATOR.iter().filter(|step| (from..to).contains(&step.version)) {
            sqlx::raw_sql(step.sql.clone()).execute(&mut *conn).await.unwrap_or_else(|cause| panic!("{}: {cause}", step.version));
        }
    };
    steps(&mut conn, 0, 95).await;
    sqlx::raw_sql(
        "insert into audit_event (at, kind, subject, detail) select now(), 'account.made', 'acct_' || n, '{}' from generate_series(1, 450) n;
         delete from audit_payload where seq <> 7",
    )
    .execute(&mut *conn)
    .await
    .unwrap();
    steps(&mut conn, 95, i64::MAX).await;
    drop(conn);
    let folder = tempfile::tempdir().unwrap();
    let log = audit::Log::open(folder.path(), &"https://weights.example.org".parse().unwrap()).unwrap();
    assert_eq!(log.integrate(&db).await.unwrap(), 453, "three more");
    let verdict = audit::verify(&db, &log, &[]).await.unwrap();
    assert_eq!((verdict.fault, verdict.entries, verdict.erased), (None, 453, 449));
    sqlx::query("delete from audit_payload where seq = 7").execute(&db).await.unwrap();
    let fault = audit::verify(&db, &log, &[]).await.unwrap().fault.unwrap();
    assert!(fault.index == Some(6) && fault.what.contains("detail of event 7"), "{fault:?}");
}
