//! The record as a log: everybody can follow it, nobody can change it unseen, and whom it concerns can prove it without us.

use std::fs;
use std::time::Duration;

use data_encoding::BASE64;
use serde_json::Value;
use server::audit::{self, Checkpoint, Event, LogKey};
use server::ids::AccountId;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use tests::{Installation, Person, TestPortal};

use crate::gated::{applies_for, gated};

type Hash = [u8; 32];

/// A portal where something has happened: an application was sent and approved. Returns the applicant and the application's id.
pub async fn eventful(portal: &TestPortal) -> (Person, String) {
    gated(portal, "opt").await;
    let (ada, grace) = (portal.researcher("ada").await, portal.reviewer("grace").await);
    let application = applies_for(&ada, "/demo/opt").await;
    let page =
        grace.post(&format!("{}/approve", application.replace("/applications", "/review")), &[("until", "2026-06-30"), ("note", "")]).await;
    assert_eq!(page.status, 303, "{}", page.text);
    integrate(portal).await;
    (ada, application.rsplit('/').next().unwrap().to_owned())
}

pub async fn integrate(portal: &TestPortal) -> usize {
    portal.portal.audit.integrate(&portal.portal.db).await.unwrap()
}

/// What `sluice audit verify` would say.
pub async fn verdict(portal: &TestPortal) -> audit::Verdict {
    audit::verify(&portal.portal.db, &portal.portal.audit, &[]).await.unwrap()
}

fn hash(parts: &[&[u8]]) -> Hash {
    parts.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part)).finalize().into()
}

/// The tree hash as RFC 6962 defines it.
fn root(leaves: &[Hash]) -> Hash {
    if let [only] = leaves {
        return *only;
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    hash(&[&[1], &root(left), &root(right)])
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn anybody_can_follow_the_log_and_admins_can_read_it(db: PgPool) {
    let portal = TestPortal::start(db).await;
    assert_eq!(portal.visitor().get("/audit/checkpoint").await.status, 404, "nothing has happened yet");
    let (ada, application) = eventful(&portal).await;
    let root_admin = portal.admin("root").await;
    let db = &portal.portal.db;
    for n in 0..300 {
        let account = AccountId::fresh();
        let event = if n % 2 == 0 { Event::SignedIn { account } } else { Event::SignInFailed { account: Some(account) } };
        audit::record(&mut db.acquire().await.unwrap(), portal.portal.clock.now(), Some(account), &event).await.unwrap();
    }
    integrate(&portal).await;

    let key = LogKey::parse(&ada.fetch("/audit/key").await.text).unwrap();
    let note = ada.fetch("/audit/checkpoint").await.text;
    let checkpoint = Checkpoint::open(&note, &key).unwrap();
    assert!(checkpoint.origin.ends_with("/audit") && checkpoint.size > 300, "{checkpoint:?}");

    // Two tiles: a full one and one in part. They lead to the root that was signed.
    let rest = checkpoint.size - 256;
    let full = ada.fetch("/audit/tile/0/000").await;
    assert!(full.header("cache-control").contains("immutable"));
    let part = ada.fetch(&format!("/audit/tile/0/001.p/{rest}")).await;
    let leaves: Vec<Hash> = [&full.bytes[..], &part.bytes[..]].concat().as_chunks::<32>().0.to_vec();
    assert_eq!((leaves.len() as u64, root(&leaves)), (checkpoint.size, checkpoint.root));
    assert_eq!(ada.fetch("/audit/tile/1/000.p/1").await.bytes[..], root(&leaves[..256]));
    for beyond in [format!("0/001.p/{}", rest + 1), "0/001".into(), "1/000.p/2".into(), "9/000".into(), "0/../../log.key".into()] {
        assert_eq!(ada.fetch(&format!("/audit/tile/{beyond}")).await.status, 404, "{beyond}");
    }

    // What the hashes are of is for admins.
    assert_eq!(ada.fetch("/audit/tile/entries/000").await.status, 404);
    let bundle = root_admin.fetch("/audit/tile/entries/000").await.bytes;
    let (mut at, mut entries) = (0, Vec::new());
    while at < bundle.len() {
        let length = usize::from(u16::from_be_bytes([bundle[at], bundle[at + 1]]));
        entries.push(&bundle[at + 2..at + 2 + length]);
        at += 2 + length;
    }
    let hashes: Vec<Hash> = entries.iter().map(|entry| hash(&[&[0], entry])).collect();
    assert_eq!(hashes, leaves[..256]);
    let sent =
        entries.iter().map(|entry| serde_json::from_slice::<Value>(entry).unwrap()).find(|e| e["kind"] == "application.submitted").unwrap();
    assert_eq!(sent["subject"], application);
    assert!(!bundle.windows(4).any(|bytes| bytes == b"ada@"), "nobody's address is in the log");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn whatever_is_changed_behind_its_back_is_found_with_its_place(db: PgPool) {
    let portal = TestPortal::start(db).await;
    eventful(&portal).await;
    let db = &portal.portal.db;
    // One detail had to be forgotten; which, is told by the entry behind it.
    let stranger = AccountId::fresh();
    let mut tx = db.begin().await.unwrap();
    audit::record(&mut tx, portal.portal.clock.now(), None, &Event::SignedIn { account: stranger }).await.unwrap();
    audit::forget(&mut tx, portal.portal.clock.now(), None, stranger, &[stranger.to_string()]).await.unwrap();
    audit::record(&mut tx, portal.portal.clock.now(), None, &Event::SignedIn { account: stranger }).await.unwrap();
    tx.commit().await.unwrap();
    integrate(&portal).await;
    let whole = verdict(&portal).await;
    assert_eq!((whole.fault, whole.entries, whole.waiting, whole.erased), (None, whole.signed, 0, 1));
    assert!(whole.entries > 5);

    // Somebody with all rights in the database, who knows how to keep triggers from firing.
    let (place, last): (i64, i64) = sqlx::query_as(
        "select (select index from audit_leaf join audit_event using (seq) where kind = 'application.approved'), max(index) from audit_leaf",
    )
    .fetch_one(db)
    .await
    .unwrap();
    let of = |index: i64| format!("(select seq from audit_leaf where index = {index})");
    let (approved, next, first) = (of(place), of(place + 1), of(0));
    let kept = ["audit_event", "audit_payload", "audit_leaf", "audit_pending"];
    for table in kept {
        sqlx::query(sqlx::AssertSqlSafe(format!("create table kept_{table} as table {table}"))).execute(db).await.unwrap();
    }
    let tampered: Vec<(String, Option<i64>)> = vec![
        (format!("update audit_event set kind = 'application.declined' where seq = {approved}"), Some(place)),
        (format!("update audit_event set actor_id = gen_random_uuid() where seq = {approved}"), Some(place)),
        (format!("update audit_event set at = at - interval '1 microsecond' where seq = {approved}"), Some(place)),
        (format!("update audit_payload set detail = '{{}}' where seq = {approved}"), Some(place)),
        (format!("update audit_payload set salt = salt || ''::bytea, detail = detail || '{{\"x\": 1}}' where seq = {first}"), Some(0)),
        (format!("delete from audit_payload where seq = {approved}"), Some(place)),
        // The detail that tells of the erasure: then the erased one is missing for no reason.
        (format!("delete from audit_payload where seq = {}", of(last - 1)), Some(last - 2)),
        (format!("update audit_payload set detail = '{{\"events\": [1, 2, 3]}}' where seq = {}", of(last - 1)), Some(last - 2)),
        (format!("delete from audit_event where seq = {approved}"), Some(place)),
        (format!("delete from audit_leaf where index = {place}"), Some(place)),
        (format!("delete from audit_event where seq = {0}; delete from audit_leaf where index = {last}", of(last)), Some(last)),
        (format!("update audit_leaf set hash = sha256(hash) where index = {place}"), Some(place)),
        // Two events change places.
        (
            format!(
                "update audit_leaf set seq = seq + 1000000 where index in ({place}, {place} + 1);
                 update audit_leaf l set seq = k.seq from kept_audit_leaf k where l.index + k.index = 2 * {place} + 1 and l.seq > 1000000"
            ),
            Some(place),
        ),
        (format!("update audit_event set kind = (select kind from kept_audit_event where seq = {next}) where seq = {approved}"), Some(place)),
        // An event that nobody did.
        (
            "insert into audit_event (seq, at, kind, subject, commitment) overriding system value values (-5, now(), 'grant.made', 'x', '')".into(),
            None,
        ),
    ];
    for (statement, index) in &tampered {
        let mut tx = db.begin().await.unwrap();
        let script = format!("set local session_replication_role = replica; {statement}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(script)).execute(&mut *tx).await.unwrap_or_else(|cause| panic!("{statement}: {cause}"));
        tx.commit().await.unwrap();
        let fault = verdict(&portal).await.fault.unwrap_or_else(|| panic!("not found: {statement}"));
        assert_eq!(fault.index, index.map(i64::unsigned_abs), "{statement}: {}", fault.what);

        let mut back = "set local session_replication_role = replica;".to_owned();
        for table in kept {
            back += &format!("delete from {table}; insert into {table} overriding system value select * from kept_{table};");
        }
        let mut tx = db.begin().await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(back)).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(verdict(&portal).await.fault, None, "put back after {statement}");
    }

    // And what lies in the folder.
    let folder = portal.portal.config.data_dir.join("audit");
    for (file, at) in [("tile/0/000", 32 * place as usize + 3), ("checkpoint", 3), ("checkpoint", 40)] {
        let path = folder.join(file);
        let whole = fs::read(&path).unwrap();
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&path, changed).unwrap();
        let fault = verdict(&portal).await.fault.unwrap_or_else(|| panic!("not found: {file}"));
        assert_eq!(fault.index, file.starts_with("tile").then_some(place.unsigned_abs()), "{}", fault.what);
        fs::write(&path, whole).unwrap();
    }
    assert_eq!(verdict(&portal).await.fault, None);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn an_older_copy_of_the_database_is_found_and_nothing_new_is_signed_on_it(db: PgPool) {
    let portal = TestPortal::start(db).await;
    eventful(&portal).await;
    let db = &portal.portal.db;
    let root = portal.admin("root").await;
    sqlx::raw_sql("create table kept_event as table audit_event; create table kept_leaf as table audit_leaf").execute(db).await.unwrap();
    let before = verdict(&portal).await.signed;
    let ada = portal.researcher("eve").await;
    integrate(&portal).await;
    let note = portal.portal.audit.note().unwrap().unwrap();

    let restore = "set session_replication_role = replica;
         create table new_event as table audit_event; create table new_leaf as table audit_leaf;
         delete from audit_event where seq not in (select seq from kept_event); delete from audit_leaf where seq not in (select seq from kept_leaf);
         set session_replication_role = default";
    sqlx::raw_sql(restore).execute(&mut *db.acquire().await.unwrap()).await.unwrap();
    let fault = verdict(&portal).await.fault.unwrap();
    assert_eq!(fault.index, Some(before));
    assert!(fault.what.contains("older copy"), "{}", fault.what);

    // A portal that starts on it records on, and signs nothing that would contradict what it has signed.
    let reopened = audit::Log::open(&portal.portal.config.data_dir.join("audit"), &portal.portal.config.public_url).unwrap();
    ada.signs_in().await;
    assert_eq!(reopened.integrate(db).await.unwrap(), 0);
    assert!(reopened.standing().fault.unwrap().contains("older copy"));
    assert_eq!(reopened.note().unwrap().unwrap(), note);
    // The right copy is put back, and it goes on.
    let again = "set session_replication_role = replica;
         insert into audit_event overriding system value select * from new_event where seq not in (select seq from audit_event);
         insert into audit_leaf select * from new_leaf where seq not in (select seq from audit_leaf);
         set session_replication_role = default";
    sqlx::raw_sql(again).execute(&mut *db.acquire().await.unwrap()).await.unwrap();
    assert!(reopened.integrate(db).await.unwrap() > 0);
    assert_eq!(reopened.standing().fault, None);
    let page = root.get("/admin/audit").await;
    page.says("entries are signed in the");
}

/// It has the tree in memory, and looks at the database all the same.
#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_running_portal_signs_nothing_over_rows_that_were_removed_or_changed(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (ada, _) = eventful(&portal).await;
    let root = portal.admin("root").await;
    integrate(&portal).await;
    let db = &portal.portal.db;
    let note = portal.portal.audit.note().unwrap().unwrap();
    let signed = verdict(&portal).await.signed;
    let unseen = async |script: &str| {
        let script = format!("set local session_replication_role = replica; {script}");
        let mut tx = db.begin().await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(script)).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    };
    unseen("create table kept_event as table audit_event; create table kept_leaf as table audit_leaf").await;
    let put_back = "delete from audit_leaf l where exists (select from kept_leaf k where k.index = l.index);
        insert into audit_leaf select * from kept_leaf;
        insert into audit_event overriding system value select * from kept_event k where not exists (select from audit_event e where e.seq = k.seq)";
    let tampered = [
        (
            "delete from audit_event where seq in (select seq from audit_leaf order by index desc limit 5);
             delete from audit_leaf where index in (select index from audit_leaf order by index desc limit 5)",
            "rows were removed",
        ),
        ("update audit_leaf set hash = sha256(hash) where index = (select max(index) from audit_leaf)", "rows were changed"),
        ("insert into audit_leaf select max(index) + 1, -1, sha256('') from audit_leaf", "rows came in behind its back"),
    ];
    for (script, told) in tampered {
        unseen(script).await;
        // The event is kept, and waits.
        ada.signs_in().await;
        for _ in 0..3 {
            assert_eq!(integrate(&portal).await, 0, "{script}");
            let fault = portal.portal.audit.standing().fault.unwrap_or_else(|| panic!("not seen: {script}"));
            assert!(fault.contains(told) || fault.contains("does not fit an event"), "{fault}");
        }
        assert_eq!(portal.portal.audit.note().unwrap().unwrap(), note, "nothing was signed over it: {script}");
        root.fetch("/metrics").await.says("sluice_audit_fault 1");
        unseen(&format!("delete from audit_leaf where seq = -1; {put_back}")).await;
    }
    // What is missing is seen before anybody does anything.
    unseen(tampered[0].0).await;
    assert_eq!(integrate(&portal).await, 0);
    assert!(portal.portal.audit.standing().fault.unwrap().contains("rows were removed"));
    unseen(put_back).await;
    assert!(integrate(&portal).await > 0, "the rows are back, and it goes on");
    assert_eq!(portal.portal.audit.standing().fault, None);
    let whole = verdict(&portal).await;
    assert!(whole.fault.is_none() && whole.signed > signed, "{whole:?}");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_log_that_stands_still_is_told_to_admins_and_monitors(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let root = portal.admin("root").await;
    integrate(&portal).await;
    root.fetch("/metrics").await.says("sluice_audit_fault 0").says("sluice_audit_waiting_events 0");
    let folder = portal.portal.config.data_dir.join("audit");
    let reopen = || audit::Log::open(&folder, &portal.portal.config.public_url).unwrap();
    // The tiles are lost.
    fs::rename(folder.join("tile"), folder.join("kept")).unwrap();
    let reopened = reopen();
    assert_eq!(reopened.integrate(&portal.portal.db).await.unwrap(), 0);
    assert!(reopened.standing().fault.unwrap().contains("missing"), "{:?}", reopened.standing());
    fs::remove_dir_all(folder.join("tile")).unwrap();
    fs::rename(folder.join("kept"), folder.join("tile")).unwrap();
    // The checkpoint is not ours.
    fs::write(folder.join("checkpoint"), "not a checkpoint").unwrap();
    let reopened = reopen();
    assert_eq!(reopened.integrate(&portal.portal.db).await.unwrap(), 0, "and that is no failure to be tried again and logged each time");
    assert!(reopened.standing().fault.unwrap().contains("checkpoint"), "{:?}", reopened.standing());
    root.get("/admin/audit").await.says("The log has stopped").says("sluice audit verify");
    root.fetch("/metrics").await.says("sluice_audit_fault 1");
}

/// A portal and commands beside it, all of them the first: they agree on one key.
#[test]
fn many_first_ones_make_one_key() {
    let folder = tempfile::tempdir().unwrap();
    let url = "https://weights.example.org".parse().unwrap();
    let keys: Vec<LogKey> = std::thread::scope(|scope| {
        let openers: Vec<_> = (0..16).map(|_| scope.spawn(|| audit::Log::open(folder.path(), &url).unwrap().key().clone())).collect();
        openers.into_iter().map(|opener| opener.join().unwrap()).collect()
    });
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    assert_eq!(keys[0].name, "weights.example.org/audit");
}

/// An update finds a record from before there was a log: every event gets its place, with its detail.
#[sqlx::test(migrations = false)]
async fn what_was_recorded_before_the_log_is_taken_along(db: PgPool) {
    let before = |version: i64| server::MIGRATOR.iter().filter(move |step| step.version < version);
    let mut conn = db.acquire().await.unwrap();
    for step in before(20) {
        sqlx::raw_sql(step.sql.clone()).execute(&mut *conn).await.unwrap_or_else(|cause| panic!("{}: {cause}", step.version));
    }
    sqlx::raw_sql(
        "insert into audit_event (at, actor_id, kind, subject, detail) values
             (now(), gen_random_uuid(), 'account.made', 'acct_1', '{\"role\": \"admin\"}'), (now(), null, 'grant.made', 'grant_1', '{}')",
    )
    .execute(&mut *conn)
    .await
    .unwrap();
    for step in server::MIGRATOR.iter().filter(|step| step.version >= 20) {
        sqlx::raw_sql(step.sql.clone()).execute(&mut *conn).await.unwrap_or_else(|cause| panic!("{}: {cause}", step.version));
    }
    drop(conn);
    let folder = tempfile::tempdir().unwrap();
    let log = audit::Log::open(folder.path(), &"https://weights.example.org".parse().unwrap()).unwrap();
    assert_eq!(log.integrate(&db).await.unwrap(), 2);
    let verdict = audit::verify(&db, &log, &[]).await.unwrap();
    assert_eq!((verdict.fault, verdict.entries, verdict.erased), (None, 2, 0));
    let rows = audit::page(&mut db.acquire().await.unwrap(), &audit::Filter::default(), 10).await.unwrap();
    assert_eq!(rows[1].detail, Some(serde_json::json!({ "role": "admin" })));
    assert!(sqlx::query("update audit_event set kind = 'x'").execute(&db).await.is_err(), "the trigger is back");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_reviewers_say_among_themselves_is_on_the_record_and_not_the_applicants(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (ada, application) = eventful(&portal).await;
    let (grace, db) = (portal.reviewer("barbara").await, &portal.portal.db);
    for lane in ["internal", "shared"] {
        let page = grace.post(&format!("/review/{application}/comment"), &[("lane", lane), ("text", "Looks thin.")]).await;
        assert_eq!(page.status, if lane == "internal" { 303 } else { 409 }, "the case is closed for the applicant");
    }
    // As such words were recorded before they had a kind of their own, and as those for the applicant were.
    let account = crate::grants::account_of(&portal, &grace).await;
    for lane in ["internal", "shared"] {
        sqlx::query(
            "insert into audit_event (at, actor_id, kind, subject, detail)
             values (now(), $1, 'application.comment_written', $2, jsonb_build_object('lane', $3::text))",
        )
        .bind(account.uuid())
        .bind(&application)
        .bind(lane)
        .execute(db)
        .await
        .unwrap();
    }
    integrate(&portal).await;
    let (hidden, told): (Vec<i64>, Vec<i64>) = sqlx::query_as(
        "select array_agg(seq) filter (where kind = 'application.note_written' or detail->>'lane' = 'internal'),
                array_agg(seq) filter (where detail->>'lane' = 'shared')
         from (select e.seq, e.kind, p.detail from audit_event e join audit_payload p using (seq)) events",
    )
    .fetch_one(db)
    .await
    .unwrap();
    assert_eq!((hidden.len(), told.len()), (2, 1));
    let (program, other) = (ada.with_token(&ada.makes_token(&["apply"]).await), grace.with_token(&grace.makes_token(&["apply"]).await));
    let record = ada.fetch("/account/data.json").await.json()["record"].as_array().unwrap().clone();
    let in_archive = |seq: &i64| record.iter().any(|event| event["seq"] == *seq);
    for seq in &hidden {
        assert_eq!(ada.get(&format!("/audit/receipt/{seq}")).await.status, 404);
        assert_eq!(program.fetch(&format!("/api/v1/receipts/{seq}")).await.status, 404);
        assert_eq!(other.fetch(&format!("/api/v1/receipts/{seq}")).await.status, 200, "whoever wrote it has its receipt");
        assert!(!in_archive(seq));
    }
    assert_eq!(program.fetch(&format!("/api/v1/receipts/{}", told[0])).await.status, 200);
    assert!(in_archive(&told[0]) && record.iter().any(|event| event["kind"] == "application.approved"));
    assert!(!program.fetch("/api/v1/me/data").await.text.contains("note_written"));
    for page in
        [ada.get(&format!("/applications/{application}")).await, program.fetch(&format!("/api/v1/applications/{application}")).await]
    {
        assert!(!page.text.contains("ote written") && !page.text.contains("note_written"), "{}", page.text);
    }
    let own = grace.fetch("/account/data.json").await.json();
    assert!(own["record"].as_array().unwrap().iter().any(|event| event["kind"] == "application.note_written"), "hers has it");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn whom_it_concerns_can_prove_it_without_us_and_nobody_else_gets_the_proof(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (ada, application) = eventful(&portal).await;
    let bob = portal.researcher("bob").await;
    let page = ada.get(&format!("/applications/{application}")).await;
    page.says("On the record").says("Application sent").says("Application approved");
    let receipts: Vec<&str> =
        page.text.split("href=\"").filter(|rest| rest.starts_with("/audit/receipt/")).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(receipts.len() >= 2, "{receipts:?}");

    let key = LogKey::parse(&ada.fetch("/audit/key").await.text).unwrap();
    let mut kinds = Vec::new();
    for path in &receipts {
        assert_eq!(bob.get(path).await.status, 404, "not his");
        assert_eq!(portal.visitor().get(path).await.status, 303, "nobody's");
        let receipt = ada.get(path).await;
        assert!(receipt.header("content-disposition").ends_with(".tlog-proof\""), "{}", receipt.header("content-disposition"));
        let proven = audit::check(&receipt.text, &key).unwrap();
        let entry: Value = serde_json::from_str(&proven.entry).unwrap();
        kinds.push(entry["kind"].as_str().unwrap().to_owned());
        // Whatever is changed in it, it proves nothing any more, or still the same.
        for at in 0..receipt.bytes.len() {
            let mut changed = receipt.bytes.to_vec();
            changed[at] ^= 1;
            if let Ok(changed) = String::from_utf8(changed)
                && let Ok(still) = audit::check(&changed, &key)
            {
                assert_eq!(still, proven, "byte {at}");
            }
        }
        // The detail is bound, too.
        let extra = receipt.text.lines().nth(1).unwrap().strip_prefix("extra ").unwrap();
        let mut opened: Value = serde_json::from_slice(&BASE64.decode(extra.as_bytes()).unwrap()).unwrap();
        opened["detail"] = Value::String("{}".into());
        let forged = receipt.text.replace(extra, &BASE64.encode(opened.to_string().as_bytes()));
        assert!(
            audit::check(&forged, &key).is_err_and(|fault| fault.to_string().contains("detail")) || proven.detail.as_deref() == Some("{}")
        );
    }
    assert!(kinds.contains(&"application.submitted".to_owned()) && kinds.contains(&"application.approved".to_owned()), "{kinds:?}");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn admins_search_the_record_and_take_it_with_them(db: PgPool) {
    let portal = TestPortal::start(db).await;
    eventful(&portal).await;
    let root = portal.admin("root").await;
    let mut conn = portal.portal.db.acquire().await.unwrap();
    let model = server::ids::ModelId::fresh();
    let reason = "=HYPERLINK(\"http://evil.example\")\r\nnew line".to_owned();
    let event = Event::ReleaseYanked { model, revision: "f".repeat(40), reason };
    audit::record(&mut conn, portal.portal.clock.now(), None, &event).await.unwrap();
    drop(conn);

    let by_grace = root.get("/admin/audit?by=grace%40lab.example&kind=application").await;
    by_grace.says("application.approved").says("grace@lab.example");
    assert!(!by_grace.text.contains("application.submitted</a>"), "ada did that");
    root.get("/admin/audit?by=nobody%40nowhere.example").await.says("Nothing on record matches");
    root.get("/admin/audit?from=2026-03-02&to=2026-03-02").await.says("account.made");
    root.get("/admin/audit?to=2026-03-01").await.says("Nothing on record matches");

    let all: i64 = sqlx::query_scalar("select count(*) from audit_event").fetch_one(&portal.portal.db).await.unwrap();
    let lines = root.fetch("/admin/audit.jsonl").await;
    let rows: Vec<Value> = lines.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len() as i64, all);
    assert!(rows.is_sorted_by(|a, b| a["seq"].as_i64() > b["seq"].as_i64()), "newest first");
    let csv = root.fetch("/admin/audit.csv?kind=release").await;
    csv.says("seq,at,actor,kind,subject,detail").says("\"release.yanked\"").says("=HYPERLINK(\\\"\"http");
    assert!(csv.text.lines().all(|line| line.split(',').all(|cell| !cell.starts_with(['=', '+', '-', '@']))), "{}", csv.text);
    assert!(!csv.text.contains("application."), "only what was asked for");
}

/// Transactions that commit late, out of order, or not at all, while the log grows.
#[sqlx::test(migrator = "server::MIGRATOR")]
async fn each_event_gets_one_place_however_many_write_at_once(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let writers: Vec<_> = (0..8_u64)
        .map(|writer| {
            let portal = portal.portal.clone();
            tokio::spawn(async move {
                for n in 0..60_u64 {
                    let account = AccountId::fresh();
                    let mut tx = portal.db.begin().await.unwrap();
                    audit::record(&mut tx, portal.clock.now(), Some(account), &Event::SignedIn { account }).await.unwrap();
                    tokio::time::sleep(Duration::from_millis((n * 7 + writer * 3) % 11)).await;
                    if (n + writer) % 5 == 0 { tx.rollback().await.unwrap() } else { tx.commit().await.unwrap() }
                }
            })
        })
        .collect();
    let mut integrated = 0;
    while writers.iter().any(|writer| !writer.is_finished()) {
        integrated += integrate(&portal).await;
        let seen = verdict(&portal).await;
        assert_eq!(seen.fault, None);
    }
    for writer in writers {
        writer.await.unwrap();
    }
    integrated += integrate(&portal).await;
    let verdict = verdict(&portal).await;
    assert_eq!((verdict.fault, verdict.entries, verdict.signed, verdict.waiting), (None, 384, 384, 0));
    assert_eq!(integrated, 384);
}

#[tokio::test]
async fn a_killed_portal_goes_on_and_the_commands_tell_right_from_wrong() {
    let place = Installation::fresh();
    let portal = place.serve().await;
    place.person("root@lab.example", "admin").await;
    let checkpoint = || fs::read_to_string(place.data().join("audit/checkpoint")).unwrap();
    let size = |note: &str| note.lines().nth(1).unwrap().parse::<u64>().unwrap();
    let signed = async |more: u64| {
        let begun = std::time::Instant::now();
        while size(&checkpoint()) < more {
            assert!(begun.elapsed() < Duration::from_secs(10), "an event has its place within a second: {}", checkpoint());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    signed(2).await;
    let (early, kept) = (checkpoint(), place.data().join("kept"));
    fs::write(&kept, &early).unwrap();
    // As it is after a kill between the database's commit and the log's: the folder is behind.
    let behind = place.data().join("behind");
    copy_folder(&place.data().join("audit"), &behind);
    place.person("ada@university.edu", "researcher").await;
    signed(size(&early) + 1).await;
    portal.kill();
    fs::remove_dir_all(place.data().join("audit")).unwrap();
    fs::rename(&behind, place.data().join("audit")).unwrap();

    let whole = place.run(&["audit", "verify"]);
    assert!(whole.contains("entries are whole"), "{whole}");
    let portal = place.serve().await;
    signed(size(&early) + 1).await;
    // What the start itself recorded is signed a moment later.
    let begun = std::time::Instant::now();
    loop {
        let told = place.run(&["audit", "verify", "--json", "--against", kept.to_str().unwrap()]);
        let told: Value = serde_json::from_str(&told).unwrap();
        assert!(told["fault"].is_null(), "{told}");
        if told["entries"] == told["signed"] && told["waiting"] == 0 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{told}");
    }

    // A receipt on the command line.
    let root = Person::new(&portal.base, "root@lab.example");
    root.signs_in().await;
    signed(size(&early) + 2).await;
    let (receipt, key) = (place.data().join("one.tlog-proof"), place.data().join("audit/log.vkey"));
    let text = root.get("/audit/receipt/1").await.text;
    fs::write(&receipt, &text).unwrap();
    let check = |arguments: &[&str]| place.output(&[&["audit", "check", receipt.to_str().unwrap()], arguments].concat());
    let proven = check(&["--key", key.to_str().unwrap()]);
    assert!(proven.status.success() && String::from_utf8_lossy(&proven.stdout).contains("account.made"), "{proven:?}");
    assert!(check(&["--key", fs::read_to_string(&key).unwrap().trim(), "--json"]).status.success());
    assert_eq!(check(&["--key", "nonsense"]).status.code(), Some(2));
    fs::write(&receipt, text.replace("index 0", "index 1")).unwrap();
    assert_eq!(check(&["--key", key.to_str().unwrap()]).status.code(), Some(3));

    // The same log, forked after all data was replaced: only who kept a checkpoint sees it.
    let forged = kept.with_extension("forged");
    fs::write(&forged, early.replace('\n', "\n ")).unwrap();
    assert_eq!(place.output(&["audit", "verify", "--against", forged.to_str().unwrap()]).status.code(), Some(2));
    let mut db = crate::killed::database(&place).await;
    let forget = "set session_replication_role = replica; delete from audit_event where seq = 2";
    sqlx::raw_sql(forget).execute(&mut db).await.unwrap();
    let found = place.output(&["audit", "verify"]);
    assert_eq!(found.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&found.stdout).starts_with("entry 1: event 2 was removed"), "{found:?}");
    portal.stop();
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}
