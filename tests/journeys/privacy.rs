//! What is kept of a person: given to them whole, and forgotten when they ask, while everybody else's proofs go on to hold.

use std::path::Path;

use reqwest::Method;
use serde_json::Value;
use server::accounts::{self, Account, Email};
use server::catalog::Gate;
use server::privacy::{Archive, Asker, Erased, erase};
use server::{access, audit, catalog, mail};
use sqlx::PgPool;
use tests::{Page, Person, TestPortal};
use time::Duration;

use crate::apply_and_review::case_of;
use crate::gated::{answers, gated};

/// What stands in everything that somebody put in, and nowhere else.
pub const CANARY: &str = "quetzalcoatl";

async fn account_of(portal: &TestPortal, email: &str) -> Account {
    let email = Email::parse(email).unwrap();
    accounts::find_by_email(&mut portal.portal.db.acquire().await.unwrap(), &email).await.unwrap().unwrap()
}

/// The columns that may hold words: text, lists of text, JSON and bytes, as `table.column`.
async fn columns_of_words(db: &PgPool) -> Vec<String> {
    let columns: Vec<String> = sqlx::query_scalar(
        "select c.table_name || '.' || c.column_name
         from information_schema.columns c join information_schema.tables t using (table_schema, table_name)
         where c.table_schema = 'public' and t.table_type = 'BASE TABLE'
           and c.data_type not in ('uuid', 'boolean', 'bigint', 'integer', 'smallint', 'date', 'timestamp with time zone')
           and not c.table_name like '\\_%'
         order by 1",
    )
    .fetch_all(db)
    .await
    .unwrap();
    assert!(columns.len() > 60, "{columns:?}");
    columns
}

/// The columns in which the canary sits: every row of every one is looked at.
async fn where_the_canary_sits(db: &PgPool) -> Vec<String> {
    let mut found = Vec::new();
    for column in columns_of_words(db).await {
        let (table, name) = column.split_once('.').unwrap();
        let rows = format!("select count(*) from \"{table}\" t where strpos(lower(to_jsonb(t.\"{name}\")::text), '{CANARY}') > 0");
        let rows: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(rows)).fetch_one(db).await.unwrap();
        if rows > 0 {
            found.push(column);
        }
    }
    found
}

/// The files below `folder` in which the canary sits.
fn files_with_the_canary(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with_the_canary(&path));
        } else if String::from_utf8_lossy(&std::fs::read(&path).unwrap()).to_lowercase().contains(CANARY) {
            found.push(path.display().to_string());
        }
    }
    found
}

async fn mails_leave(portal: &TestPortal) {
    while mail::send_next(&portal.portal.db, &portal.portal.mailer, &portal.portal.clock).await.unwrap() {}
}

async fn posts(person: &Person, path: &str, fields: &[(&str, &str)]) -> Page {
    let page = person.post(path, fields).await;
    assert_eq!(page.status, 303, "{path}: {}", page.text);
    page
}

/// The complete form, with the canary in whatever takes words.
pub async fn canary_answers(person: &Person, path: &str) -> Vec<(String, String)> {
    let mut fields = answers(person, path).await;
    let words = ["organisation", "title", "summary", "lay_summary", "areas", "storage_location"];
    for (name, value) in &mut fields {
        if words.contains(&name.as_str()) {
            value.push_str(" Quetzalcoatl");
        }
    }
    fields.retain(|(name, _)| name != "security_contact");
    let more = [
        ("security_contact", "quetzalcoatl@unito.it"),
        ("department", "Quetzalcoatl department"),
        ("profile_url", "https://uni.example/quetzalcoatl"),
        ("funding", "Quetzalcoatl fund"),
        ("publication_plan", "A paper on Quetzalcoatl."),
        ("ethics", "Quetzalcoatl board"),
        ("controls_text", "A Quetzalcoatl lock."),
    ];
    fields.extend(more.map(|(name, value)| (name.to_owned(), value.to_owned())));
    fields
}

async fn sends_form(person: &Person, path: &str) -> Page {
    let fields = canary_answers(person, path).await;
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    posts(person, &format!("{path}/apply"), &fields).await
}

async fn model_named(portal: &TestPortal, name: &str) -> catalog::Model {
    catalog::find_any_model(&mut portal.portal.db.acquire().await.unwrap(), "demo", name).await.unwrap().unwrap()
}

/// Somebody who put the canary into everything there is to put something into.
async fn busy_person(portal: &TestPortal) -> (Person, String) {
    gated(portal, "opt").await;
    gated(portal, "opt-two").await;
    let open = portal.offers("lab/open", Gate::Open, &[("config.json", b"{}")]).await;
    let (grace, barbara) = (portal.reviewer("grace").await, portal.reviewer("barbara").await);
    let ada = portal.researcher(CANARY).await;
    posts(&ada, "/account/name", &[("name", "Ada Quetzalcoatl")]).await;

    // A browser, a token and a program that say who they are.
    let sign_in = portal.visitor();
    let token = sign_in.csrf().await;
    let fields = [("email", ada.email.as_str()), ("password", Person::PASSWORD), ("csrf", token.as_str())];
    let page = sign_in.request(Method::POST, "/sign-in").header("user-agent", "Quetzalcoatl/1").form(&fields).send().await.unwrap();
    assert_eq!(page.status(), 303);
    let made = ada.post("/account/tokens", &[("name", "Quetzalcoatl laptop"), ("days", "30"), ("download", "on")]).await;
    let start = made.says("slc_").text.find("slc_").unwrap();
    let secret: String = made.text[start..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    let url = open.url("config.json");
    let got = ada.with_token(&secret).request(Method::GET, &url).header("user-agent", "quetzalcoatl-get/2").send().await.unwrap();
    assert_eq!(got.bytes().await.unwrap().len(), 2);
    portal.writes_the_ledger().await;
    let asked = [("client_id", "26be6b09-91c5-47da-9861-d2d2bb7a7e36"), ("scope", "")];
    let program = portal.visitor().request(Method::POST, "/oauth/device").header("user-agent", "Quetzalcoatl shell").form(&asked);
    let codes: Value = serde_json::from_str(&program.send().await.unwrap().text().await.unwrap()).unwrap();
    posts(&ada, "/device/approve", &[("user_code", codes["user_code"].as_str().unwrap())]).await;

    // Sent, sent back, sent again, talked about, declined, appealed, approved.
    let application = sends_form(&ada, "/demo/opt").await.location().to_owned();
    let case = case_of(&application);
    posts(&grace, &format!("{case}/changes"), &[("text", "Dear Quetzalcoatl, why so long?"), ("field_months", "on")]).await;
    posts(&ada, "/demo/opt/apply/draft", &[("title", "Half a Quetzalcoatl")]).await;
    sends_form(&ada, "/demo/opt").await;
    posts(&ada, &format!("{application}/comment"), &[("text", "I am Quetzalcoatl."), ("body", "I am Quetzalcoatl.")]).await;
    let words = "This Quetzalcoatl is known to us.";
    posts(&grace, &format!("{case}/comment"), &[("text", words), ("body", words), ("lane", "internal")]).await;
    posts(&grace, &format!("{case}/decline"), &[("reason", "other"), ("text", "Quetzalcoatl is a god.")]).await;
    portal.wait(Duration::minutes(11));
    mails_leave(portal).await;
    posts(&ada, &format!("{application}/appeal"), &[("appeal", "Quetzalcoatl is also a name."), ("text", "Quetzalcoatl is also a name.")])
        .await;
    posts(
        &barbara,
        &format!("{case}/approve"),
        &[("until", "2026-06-30"), ("note", "Welcome, Quetzalcoatl."), ("text", "Welcome, Quetzalcoatl.")],
    )
    .await;
    posts(&ada, "/demo/opt-two/apply/draft", &[("title", "A Quetzalcoatl draft")]).await;

    // A grant of the operator's, and one that was taken back.
    let account = account_of(portal, &ada.email).await;
    for name in ["third", "fourth"] {
        gated(portal, name).await;
        let model = model_named(portal, name).await;
        let grant = access::give(&portal.portal, None, &account, &model, "Quetzalcoatl asked nicely", 30).await.unwrap();
        if name == "third" {
            let asked = [
                ("summary", "We found Quetzalcoatl in it, and in every copy of it, too."),
                ("publications", "Quetzalcoatl et al."),
                ("months", "3"),
            ];
            posts(&ada, &format!("/grants/{}/renew", grant.id), &asked).await;
        }
        if name == "fourth" {
            access::revoke(&portal.portal, None, grant.id, "Quetzalcoatl moved on").await.unwrap();
        }
    }
    // One that is suspended, another that one reviewer wants to revoke, and a block, each for a reason.
    let grant =
        access::give(&portal.portal, None, &account, &model_named(portal, "opt-two").await, "Quetzalcoatl again", 30).await.unwrap();
    let wheel = portal.admin("wheel").await;
    let (reason, until) = ("Quetzalcoatl is looked into", "2026-12-31");
    posts(&wheel, &format!("/admin/grants/{}/suspend", grant.id), &[("reason", reason)]).await;
    let rules = [("answer_days", "7"), ("reapply_days", "14"), ("trial_tokens", "0"), ("revoke_needs_two", "on")];
    posts(&wheel, &format!("/admin/models/{}/policy", model_named(portal, "opt-two").await.id), &rules).await;
    posts(&wheel, &format!("/admin/grants/{}/revoke", grant.id), &[("reason", reason)]).await;
    posts(&wheel, &format!("/admin/people/{}/block", account.id), &[("reason", reason), ("until", until), ("model", "")]).await;
    assert_eq!(portal.visitor().post("/sign-in", &[("email", &ada.email), ("password", "wrong")]).await.status, 422);
    portal.portal.audit.integrate(&portal.portal.db).await.unwrap();
    (ada, application)
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_person_takes_everything_along_that_is_kept_of_them(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (ada, application) = busy_person(&portal).await;
    ada.get("/account/data").await.says("Download my data").says("Erase my account");
    let page = ada.fetch("/account/data.json").await;
    assert!(page.header("content-disposition").contains("my-data.json"));
    let data = page.json();
    assert_eq!((data["account"]["email"].as_str(), data["account"]["has_password"].as_bool()), (Some(ada.email.as_str()), Some(true)));
    let rows = |name: &str| data[name].as_array().unwrap_or_else(|| panic!("{name}: {data}")).clone();
    let apps = rows("applications");
    let sent = apps.iter().find(|app| application.ends_with(app["id"].as_str().unwrap())).unwrap();
    assert_eq!((sent["sendings"].as_array().unwrap().len(), sent["state"].as_str()), (2, Some("approved")));
    assert!(sent["attestations"].as_array().unwrap().len() > 5 && sent["thread"].as_array().unwrap().len() >= 3, "{sent}");
    assert_eq!((apps.len(), rows("grants").len(), rows("downloads").len(), rows("tokens").len()), (2, 4, 1, 1));
    assert_eq!(rows("downloads")[0]["client"], "quetzalcoatl-get/2");
    assert!(rows("sessions").iter().any(|session| session["user_agent"] == "Quetzalcoatl/1"));
    assert!(rows("mails").iter().any(|mail| mail["kind"] == "verify_address"));
    assert!(rows("record").iter().any(|event| event["kind"] == "application.approved"));
    for secret in ["secret_hash", "password_hash", "device_hash", "user_code_hash", "slc_", "argon2", "is known to us"] {
        assert!(!page.text.contains(secret), "{secret} is in the archive");
    }
    // The operator's command prints the same.
    let (mut archive, mut printed) = (Archive::of(account_of(&portal, &ada.email).await.id), String::new());
    while let Some(part) = archive.next(&portal.portal).await.unwrap() {
        printed += &part;
    }
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(printed["applications"], data["applications"]);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn nothing_is_left_of_somebody_who_asked_to_be_forgotten_and_every_proof_holds(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (ada, application) = busy_person(&portal).await;
    let bob = portal.researcher("bob").await;
    let other = crate::gated::applies_for(&bob, "/demo/opt").await;
    let db = &portal.portal.db;
    let sits = where_the_canary_sits(db).await;
    for column in WORDS {
        assert!(sits.contains(&(*column).to_owned()), "the canary was never put into {column}, so that this test says nothing of it");
    }
    let folder = &portal.portal.config.data_dir;
    assert!(!files_with_the_canary(folder).is_empty(), "mails lie on disk");

    ada.get("/account/erase").await.says("What goes").says("What stays").says("cannot be undone");
    let understood = ("understood", "on");
    for wrong in [vec![understood, ("password", "guess guess guess")], vec![("password", Person::PASSWORD)]] {
        assert_eq!(ada.post("/account/erase", &wrong).await.status, 422);
    }
    let id = account_of(&portal, &ada.email).await.id;
    assert_eq!(ada.post("/account/erase", &[understood, ("password", Person::PASSWORD)]).await.location(), "/");

    assert_eq!(where_the_canary_sits(db).await, Vec::<String>::new());
    assert_eq!(files_with_the_canary(folder), Vec::<String>::new());
    portal.portal.audit.integrate(db).await.unwrap();
    let verdict = audit::verify(db, &portal.portal.audit, &[]).await.unwrap();
    assert_eq!(verdict.fault, None);
    assert!(verdict.erased > 10 && verdict.waiting == 0, "{verdict:?}");

    // They are out, and nothing of theirs counts any more.
    assert_eq!(ada.get("/account").await.status, 303);
    assert_ne!(ada.signs_in().await.status, 303);
    let open: i64 = sqlx::query_scalar("select count(*) from access_grant where revoked_at is null").fetch_one(db).await.unwrap();
    assert_eq!(open, 0);
    // What was decided is still told, of nobody.
    let root = portal.admin("root").await;
    root.get(&case_of(&application)).await.says("Erased account");
    root.get(&format!("/admin/people/{id}")).await.says("data was erased");
    root.get("/admin/audit?kind=account.erased").await.says("themselves");
    root.get("/admin/audit?kind=application").await.says("erased, to forget somebody");
    assert_eq!(root.post(&format!("/admin/people/{id}/reopen"), &[]).await.status, 409);
    // Everybody else is untouched, and the address is free.
    bob.get(&other).await.says("University of Turin");
    assert_eq!(erase(&portal.portal, id, Asker::Operator).await.unwrap(), Erased::Before, "again does nothing");
    assert_eq!(audit::verify(db, &portal.portal.audit, &[]).await.unwrap().fault, None);
    let again = portal.researcher(CANARY).await;
    again.get("/applications").await.says("/models");
    assert_eq!(Email::parse(&format!("{id}@erased.invalid")).ok(), None, "nobody takes the pseudonym's address");
}

/// What a person put in, or others wrote about them: cleared or removed when they are forgotten. The canary is put into each of them.
const WORDS: &[&str] = &[
    "access_grant.reason",
    "access_grant.revocation_reason",
    "access_grant.revoke_reason",
    "access_grant.suspend_reason",
    "account.email",
    "account.name",
    "application.answers",
    "application.decision_text",
    "application.appeal_text",
    "application_comment.body",
    "application_sending.answers",
    "audit_payload.detail",
    "block.reason",
    "device_sign_in.user_agent",
    "download.client",
    "mail.body",
    "mail.recipient",
    "renewal.publications",
    "renewal.summary",
    "session.user_agent",
    "token.name",
];

/// What else goes, and why the canary is not put into it.
const GOES_TOO: &[(&str, &str)] = &[
    ("access_grant.attestation", "a sentence of ours, which is cleared all the same"),
    ("account.found_by", "made of name and address, and goes with them"),
    ("account.password_hash", "cleared"),
    ("application.changes_text", "cleared; it is gone when the application is sent again, and then stands in the thread"),
    ("application.found_by", "the answers once more, to be searched; cleared"),
    ("application.checked", "names of our checklist, cleared"),
    ("audit_payload.salt", "goes with its detail"),
    ("device_sign_in.address", "goes with its row"),
    ("device_sign_in.device_hash", "goes with its row"),
    ("device_sign_in.program", "goes with its row"),
    ("device_sign_in.scopes", "goes with its row"),
    ("device_sign_in.state", "goes with its row"),
    ("device_sign_in.user_code_hash", "goes with its row"),
    ("known_browser.secret_hash", "goes with its row"),
    ("mail.bounce", "goes with its row"),
    ("mail.held_for", "goes with its row"),
    ("mail.kind", "goes with its row"),
    ("mail.last_error", "goes with its row"),
    ("mail.state", "goes with its row"),
    ("mail.subject", "goes with its row"),
    ("mail_digest.recipient", "goes with its row"),
    ("mail_preference.pace", "goes with its row"),
    ("mail_preference.recipient", "goes with its row"),
    ("mail_preference.topic", "goes with its row"),
    ("one_time_link.purpose", "goes with its row"),
    ("one_time_link.secret_hash", "goes with its row"),
    ("renewal.decision_text", "cleared"),
    ("session.secret_hash", "goes with its row"),
    ("token.hint", "goes with its row"),
    ("token.scopes", "goes with its row"),
    ("token.secret_hash", "goes with its row"),
];

/// What stays when somebody is forgotten, each for its reason.
const STAYS: &[(&str, &str)] = &[
    ("access_grant.scopes", "one of our words: what access was for"),
    ("account.role", "one of our words, the lowest afterwards"),
    ("application.changes_fields", "names of questions"),
    ("application.decline_code", "one of our words: decisions are counted by reason"),
    ("application.form_sha256", "which form was answered"),
    ("application.licence_sha256", "which text was agreed to"),
    ("application.state", "one of our words: decisions stand"),
    ("application_comment.fields", "names of questions"),
    ("application_comment.kind", "one of our words"),
    ("application_comment.lane", "one of our words"),
    ("attestation.clause", "names of clauses: what was promised stays promised"),
    ("attestation.licence_sha256", "which text was agreed to"),
    ("attestation.wording", "the words of the form, not of the person"),
    ("audit_event.commitment", "a salted digest, whose salt goes"),
    ("audit_event.detail", "always empty, by constraint"),
    ("audit_event.kind", "one of our words: a leaf of the log"),
    ("audit_event.subject", "a printed id: a leaf of the log"),
    ("audit_leaf.hash", "a leaf of the log"),
    ("consent.clause", "names of clauses"),
    ("consent.form_sha256", "which clauses were agreed to"),
    ("consent.licence_sha256", "which text was agreed to"),
    ("consent.wording", "the words of the portal, not of the person"),
    ("download.model_name", "of the model"),
    ("download.path", "of the model"),
    ("download.revision", "of the model"),
    ("form.body", "of the model: what is asked"),
    ("form.sha256", "of the model"),
    ("form_draft.body", "of the model: what may be asked"),
    ("generation.finish_reason", "one of our words"),
    ("generation.via", "one of our words"),
    ("kept_bar.address_hash", "a keyed hash, until what keeps them out ends"),
    ("kept_bar.why", "one of our words"),
    ("licence.body", "of the model"),
    ("licence.name", "of the model"),
    ("licence.sha256", "of the model"),
    ("licence_change.form_sha256", "of the model"),
    ("licence_change.licence_sha256", "of the model"),
    ("model.gate", "of the model"),
    ("model.licence_sha256", "of the model"),
    ("model.name", "of the model"),
    ("model.org", "of the model"),
    ("model.summary", "of the model"),
    ("model_form.form_sha256", "of the model"),
    ("object.blake3", "of a file of a model"),
    ("object.fault", "what is wrong with a file of a model"),
    ("object.git_sha1", "of a file of a model"),
    ("object.sha256", "of a file of a model"),
    ("object_chunks.digests", "of a file of a model"),
    ("object_chunks.object_sha256", "of a file of a model"),
    ("release.config_json", "of the model"),
    ("release.notes", "of the model: written by whoever publishes"),
    ("release.revision", "of the model"),
    ("release.yank_reason", "of the model: everybody who fetched it was told"),
    ("release_file.object_sha256", "of the model"),
    ("release_file.path", "of the model"),
    ("release_name.kind", "of the model"),
    ("release_name.name", "of the model"),
    ("release_proof.chunks_sig", "of the model"),
    ("release_proof.documents_sig", "of the model"),
    ("release_proof.key_id", "of the portal"),
    ("release_proof.model_sig", "of the model"),
    ("release_report.tensors_json", "of the model"),
    ("renewal.state", "one of our words: decisions stand"),
];

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn of_every_column_that_may_hold_words_it_is_said_whether_it_goes(db: PgPool) {
    let told = GOES_TOO.iter().chain(STAYS).map(|(column, reason)| {
        assert!(!reason.is_empty());
        *column
    });
    let mut told: Vec<&str> = WORDS.iter().copied().chain(told).collect();
    told.sort_unstable();
    assert!(told.windows(2).all(|pair| pair[0] != pair[1]), "a column is told of twice");
    let columns = columns_of_words(&db).await;
    let untold: Vec<&String> = columns.iter().filter(|column| !told.contains(&column.as_str())).collect();
    assert!(
        untold.is_empty(),
        "say of each in this file whether it goes when somebody is forgotten (and let it go in server/src/privacy/erase.rs) or why it stays: {untold:?}"
    );
    let gone: Vec<&&str> = told.iter().filter(|column| !columns.iter().any(|known| known == *column)).collect();
    assert!(gone.is_empty(), "these are no columns any more: {gone:?}");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_mail_to_others_about_somebody_who_is_forgotten_goes_and_one_about_others_stays(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "opt").await;
    let (ada, bob, grace) = (portal.researcher("ada").await, portal.researcher("bob").await, portal.reviewer("grace").await);
    for person in [&ada, &bob] {
        crate::gated::applies_for(person, "/demo/opt").await;
    }
    assert_eq!(portal.mails_to(&grace.email, "application_to_review").await.len(), 2);
    // A digest names everybody who waits.
    posts(&grace, "/account/mail", &[("reviews", "daily"), ("comments", "each"), ("tokens", "each"), ("releases", "each")]).await;
    portal.wait(Duration::hours(24));
    access::send_digests(&portal.portal).await.unwrap();
    mails_leave(&portal).await;
    let about = |mails: &[String], name: &str| mails.iter().filter(|mail| mail.contains(name)).count();
    let digests = portal.mails_to(&grace.email, "review_digest").await;
    assert_eq!((digests.len(), about(&digests, "ada"), about(&digests, "bob")), (1, 1, 1));

    erase(&portal.portal, account_of(&portal, &ada.email).await.id, Asker::Operator).await.unwrap();
    let left = portal.mails_to(&grace.email, "application_to_review").await;
    assert_eq!((left.len(), about(&left, "ada"), about(&left, "bob")), (1, 0, 1));
    assert!(portal.mails_to(&grace.email, "review_digest").await.is_empty(), "it named her, too");
    let folder = portal.portal.config.data_dir.join("mail");
    let on_disk: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default()).collect();
    assert_eq!(about(&on_disk, "ada@university.edu"), 0);
    assert!(about(&on_disk, "bob@university.edu") > 0);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_comes_in_behind_an_erasure_is_cleared_soon_after(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (ada, _) = busy_person(&portal).await;
    let account = account_of(&portal, &ada.email).await;
    erase(&portal.portal, account.id, Asker::Operator).await.unwrap();
    sqlx::query("update download set client = 'late quetzalcoatl' where account_id = $1")
        .bind(account.id.uuid())
        .execute(&portal.portal.db)
        .await
        .unwrap();
    server::privacy::forget_late(&portal.portal).await.unwrap();
    assert_eq!(where_the_canary_sits(&portal.portal.db).await, Vec::<String>::new());
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn an_admin_erases_whoever_asks_for_it_and_the_last_admin_stays(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (root, ada) = (portal.admin("root").await, portal.researcher("ada").await);
    let (root_id, ada_id) = (account_of(&portal, &root.email).await.id, account_of(&portal, &ada.email).await.id);
    root.get("/admin/people").await.says(&format!("/admin/people/{ada_id}"));
    let path = format!("/admin/people/{ada_id}");
    root.get(&path).await.says("ada@university.edu").says("Erase this person");
    root.get(&format!("{path}/erase")).await.says("Erase ada").says("What stays");
    assert_eq!(root.post(&format!("{path}/erase"), &[("email", "bob@university.edu")]).await.status, 422);
    assert_eq!(root.post(&format!("{path}/erase"), &[("email", "Ada@University.edu")]).await.status, 303);
    root.get("/admin/people").await.says("Erased").says("Erased account");
    root.get("/admin/audit?kind=account.erased").await.says("root@lab.example").says("asked by");

    assert_eq!(root.post(&format!("/admin/people/{root_id}/erase"), &[("email", &root.email)]).await.status, 409);
    let refused = erase(&portal.portal, root_id, Asker::Operator).await.unwrap_err();
    assert!(refused.to_string().contains("the only account that runs the portal"), "{refused}");
    assert_eq!(root.post("/account/password", &[("password", Person::PASSWORD)]).await.status, 303);
    let me = [("understood", "on"), ("password", Person::PASSWORD)];
    assert_eq!(root.post("/account/erase", &me).await.status, 409);
    portal.admin("second").await;
    assert_eq!(root.post("/account/erase", &me).await.status, 303);
}
