//! `TestPortal::start(db)`: the portal as it is served, on a port of its own.

use std::net::TcpListener;
use std::time::{Duration as Wait, Instant};

use actix_web::dev::ServerHandle;
use actix_web::web::Data;
use server::accounts::{self, Email, Role};
use server::clock::Clock;
use server::config::Config;
use server::downloads::Ledger;
use server::ids::AccountId;
use server::mail;
use server::portal::Portal;
use sqlx::PgPool;
use time::Duration;
use time::macros::datetime;

use crate::Person;

/// A running portal. It ends with the test.
pub struct TestPortal {
    pub portal: Data<Portal>,
    pub ledger: Data<Ledger>,
    /// `http://127.0.0.1:port`
    pub base: String,
    handle: ServerHandle,
    _data: tempfile::TempDir,
}

impl TestPortal {
    /// Starts the portal on this database, with nobody and nothing in it, on a Monday morning.
    pub async fn start(db: PgPool) -> Self {
        Self::start_with(db, &[]).await
    }

    /// The same with one connection to the database: a request that takes a second one while it holds the first waits for itself, and fails.
    pub async fn start_narrow(db: PgPool) -> Self {
        Self::start(server::database::pool().max_connections(1).connect_with((*db.connect_options()).clone()).await.unwrap()).await
    }

    /// The same on connections as a served portal has, which wait five seconds for what somebody has locked.
    pub async fn start_impatient(db: &PgPool) -> Self {
        Self::start(server::database::pool().connect_with((*db.connect_options()).clone()).await.unwrap()).await
    }

    /// The same with settings of its own.
    pub async fn start_with(db: PgPool, settings: &[(&str, String)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let config = Config::from_lookup(|variable| match variable {
            "SLUICE_DATA_DIR" => Some(data.path().to_str().unwrap().to_owned()),
            "SLUICE_PUBLIC_URL" => Some(base.clone()),
            "SLUICE_ENGINE_MEMORY_BYTES" => Some("500000000".into()),
            other => settings.iter().find(|(name, _)| *name == other).map(|(_, value)| value.clone()),
        })
        .unwrap();
        let portal =
            Data::new(Portal::open(db, config, Clock::held(datetime!(2026-03-02 09:00 UTC)), server::access::follow_address).unwrap());
        let ledger = Data::new(Ledger::new(portal.clock.clone()));
        let server = server::serve::server(portal.clone(), ledger.clone(), listener, 2).unwrap();
        let handle = server.handle();
        tokio::spawn(server);
        Self { portal, ledger, base, handle, _data: data }
    }

    /// Lets time pass.
    pub fn wait(&self, time: Duration) {
        self.portal.clock.advance(time);
    }

    /// Waits until no download runs, at most ten seconds: a reader has the last byte before the server has counted it.
    pub async fn downloads_end(&self) {
        let begun = Instant::now();
        while self.ledger.running() > 0 {
            assert!(begun.elapsed() < Wait::from_secs(10), "a download still runs");
            tokio::time::sleep(Wait::from_millis(5)).await;
        }
    }

    /// Writes the ledger, with all that was read until now.
    pub async fn writes_the_ledger(&self) {
        self.downloads_end().await;
        self.ledger.write(&self.portal.db).await.unwrap();
    }

    /// Somebody who has not signed in.
    pub fn visitor(&self) -> Person {
        Person::new(&self.base, "")
    }

    /// Somebody who signed up through the pages and confirmed the address: `name@university.edu`.
    pub async fn researcher(&self, name: &str) -> Person {
        let email = format!("{name}@university.edu");
        let person = Person::new(&self.base, &email);
        let page = person.post("/sign-up", &[("name", name), ("email", &email)]).await;
        assert_eq!(page.status, 200, "{}", page.text);
        let key = self.key_mailed_to(&email, "verify_address").await;
        let page = person.post("/verify", &[("key", &key), ("password", Person::PASSWORD)]).await;
        assert_eq!(page.status, 303, "{}", page.text);
        person
    }

    /// A reviewer the operator made, signed in by the printed link.
    pub async fn reviewer(&self, name: &str) -> Person {
        self.staff(name, Role::Reviewer).await
    }

    /// An admin the operator made, signed in by the printed link.
    pub async fn admin(&self, name: &str) -> Person {
        self.staff(name, Role::Admin).await
    }

    async fn staff(&self, name: &str, role: Role) -> Person {
        self.somebody(&format!("{name}@lab.example"), name, role).await
    }

    /// An account the operator made, signed in by the printed link: for stories with more people than may sign up in a minute.
    pub async fn somebody(&self, email: &str, name: &str, role: Role) -> Person {
        let account = accounts::add_account(&self.portal, &Email::parse(email).unwrap(), name, role, None).await.unwrap();
        self.by_link(email, account.id).await
    }

    /// Somebody signed in anew, by the link that the operator's command prints.
    pub async fn by_link(&self, email: &str, account: AccountId) -> Person {
        let link = accounts::sign_in_link(&self.portal, account).await.unwrap();
        let person = Person::new(&self.base, email);
        let page = person.post("/sign-in/link", &[("key", key_of(&link))]).await;
        assert_eq!(page.status, 303, "{}", page.text);
        person
    }

    /// The bodies of the mails of one kind to one address, newest first.
    pub async fn mails_to(&self, email: &str, kind: &str) -> Vec<String> {
        let mut db = self.portal.db.acquire().await.unwrap();
        let mails = mail::page(&mut db, &mail::Filter::default(), 1_000).await.unwrap();
        mails.into_iter().filter(|mail| mail.recipient == email && mail.kind == kind).map(|mail| mail.body.unwrap_or_default()).collect()
    }

    /// The key in the link of the newest mail of one kind to one address.
    pub async fn key_mailed_to(&self, email: &str, kind: &str) -> String {
        let mails = self.mails_to(email, kind).await;
        let body = mails.first().unwrap_or_else(|| panic!("no mail {kind} to {email}"));
        let link = body.lines().find(|line| line.contains("?key=")).unwrap();
        key_of(link).to_owned()
    }
}

impl Drop for TestPortal {
    fn drop(&mut self) {
        // Not awaited: the listener closes now, and the threads end with it.
        drop(self.handle.stop(false));
    }
}

fn key_of(link: &str) -> &str {
    link.split_once("?key=").unwrap().1.trim()
}
