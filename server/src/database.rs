//! The connections to the database.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, PgPool};

use crate::error::Error;

/// The database's schema, as steps; applied at start and by every test.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../migrations");

/// Connections of one process.
const CONNECTIONS_MAX: u32 = 24;
/// How long a request waits for one.
const CONNECTION_WAIT: Duration = Duration::from_secs(5);

/// Connects, and brings the schema up to date. Errors: what stands in the way, for the operator.
pub async fn open(way: PgConnectOptions) -> Result<PgPool, Error> {
    let way = way.application_name("sluice");
    let unreachable = |cause| Error::internal(format!("the database cannot be reached: {cause}"));
    // A connection of its own, which waits as long as it must for another portal that does the same.
    let mut one = way.connect().await.map_err(unreachable)?;
    let outdated = |cause| Error::internal(format!("the database's schema cannot be brought up to date: {cause}"));
    MIGRATOR.run(&mut one).await.map_err(outdated)?;
    sqlx::Connection::close(one).await.map_err(unreachable)?;
    pool().connect_with(way).await.map_err(unreachable)
}

/// What every pool of the portal is like: nobody waits for a connection for long, nor for what somebody else has locked.
pub fn pool() -> PgPoolOptions {
    PgPoolOptions::new().max_connections(CONNECTIONS_MAX).acquire_timeout(CONNECTION_WAIT).after_connect(|connection, _| {
        // Not by the options of the start, which poolers refuse.
        Box::pin(async { sqlx::raw_sql("set lock_timeout = '5s'").execute(connection).await.map(drop) })
    })
}
