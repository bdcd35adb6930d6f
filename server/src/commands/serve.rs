//! `sluice serve`: the portal, its background work and the embedded engine, in one process.

use std::net::TcpListener;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::web::Data;
use sqlx::postgres::PgPoolOptions;
use tokio::signal::unix::{SignalKind, signal};

use super::greeting::{self, Greeting};
use super::{log, open, say};
use crate::accounts::{self, Email, Role};
use crate::config::Config;
use crate::downloads::Ledger;
use crate::error::Error;
use crate::portal::Portal;
use crate::storage::Problem;
use crate::workers::Workers;
use crate::{access, catalog, data_dir, playground, postgres, serve};

/// After the signal to stop, running generations have so long. Less than the answers they are part of have (`serve::SHUTDOWN_S`).
const GENERATIONS_WAIT: Duration = Duration::from_secs(8);

/// Serves until SIGTERM or Ctrl-C, then ends cleanly.
pub async fn run(config: Config) -> Result<(), Error> {
    tracing_subscriber::fmt().with_env_filter(&config.log).with_writer(log::lines).init();
    let _lock = data_dir::lock(&config.data_dir).await.map_err(|taken| Error::Conflict(taken.to_string().into()))?;
    let listener = TcpListener::bind(config.listen).map_err(|cause| {
        Error::Conflict(format!("cannot listen on {}: {cause}; choose another with SLUICE_LISTEN", config.listen).into())
    })?;
    if let Some(url) = config.database_url.clone() {
        let portal = open(config, url.parse().map_err(Error::internal)?).await?;
        return until_told(Data::new(portal), listener, "the PostgreSQL of DATABASE_URL".into(), std::future::pending::<()>()).await;
    }
    let settings = postgres::Settings { binaries: config.postgres_bin.clone(), ..Default::default() };
    let cluster = postgres::Cluster::start(&config.data_dir.join("postgres"), &settings)
        .await
        .map_err(|cause| Error::Unavailable(cause.to_string().into()))?;
    let done = match open(config, cluster.connect_options()).await {
        Ok(portal) => {
            let database = format!("a private PostgreSQL in {}", portal.config.data_dir.join("postgres").display());
            until_told(Data::new(portal), listener, database, cluster.exited()).await
        }
        Err(error) => Err(error),
    };
    cluster.stop().await.map_err(Error::internal)?;
    done
}

/// Runs server and workers until a signal comes or the database goes away.
async fn until_told<E>(
    portal: Data<Portal>,
    listener: TcpListener,
    database: String,
    database_gone: impl Future<Output = E>,
) -> Result<(), Error> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    portal.objects.check().await.map_err(Problem::for_operator)?;
    let admin_link = first_start(&portal).await?;
    let demos = catalog::publish_demo_if_empty(&portal).await?;
    let waiting = access::counts(&mut *portal.db.acquire().await?, portal.clock.now()).await?.applications_waiting;
    playground::close_interrupted(&mut *portal.db.acquire().await?, portal.clock.now()).await?;
    let ledger = Data::new(Ledger::new(portal.clock.clone()));
    let workers = Workers::start(&portal, &ledger);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let server = serve::server(portal.clone(), ledger.clone(), listener, threads)?;
    let handle = server.handle();
    let running = tokio::spawn(server);
    greeting::greet(&portal.config, &Greeting { database, mails_kept: portal.mailer.keeps_mails(), demos, admin_link, waiting });
    let lost = tokio::select! {
        _ = interrupt.recv() => false,
        _ = terminate.recv() => false,
        _ = database_gone => true,
    };
    say("Stopping: no new requests, running ones have 10 seconds.");
    stop(&portal, &handle).await?;
    running.await.map_err(Error::internal)??;
    workers.stop().await;
    // A pooled connection belongs to the thread that opened it, and those threads have ended: the last rows go over one of our own,
    // which waits as long as it must for what somebody has locked.
    let last = PgPoolOptions::new().max_connections(1).connect_with((*portal.db.connect_options()).clone()).await?;
    ledger.close(&last).await?;
    last.close().await;
    portal.db.close().await;
    if lost { Err(Error::Unavailable("the private PostgreSQL ended by itself; its log is under the data folder".into())) } else { Ok(()) }
}

/// Takes no new requests and waits for the running ones. Generations that take too long are broken off while their streams can still say so.
async fn stop(portal: &Data<Portal>, server: &ServerHandle) -> Result<(), Error> {
    let stopped = server.stop(true);
    tokio::pin!(stopped);
    tokio::select! {
        () = &mut stopped => return Ok(()),
        () = tokio::time::sleep(GENERATIONS_WAIT) => {}
    }
    let portal = portal.clone();
    tokio::task::spawn_blocking(move || portal.engine.shutdown()).await.map_err(Error::internal)?;
    stopped.await;
    Ok(())
}

/// Makes the first admin if there is none, and the link for as long as nobody has moved in.
async fn first_start(portal: &Portal) -> Result<Option<String>, Error> {
    let mut db = portal.db.acquire().await?;
    if !accounts::any_admin(&mut db).await? {
        let email = Email::parse(greeting::FIRST_ADMIN)?;
        accounts::add_account(portal, &email, "Admin", Role::Admin, None).await?;
    }
    match accounts::never_entered_admin(&mut db).await? {
        Some(admin) => Ok(Some(accounts::sign_in_link(portal, admin).await?)),
        None => Ok(None),
    }
}
