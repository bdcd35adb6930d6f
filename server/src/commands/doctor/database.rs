//! The database, and the audit log that belongs to it.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::migrate::{Migrate, MigrateError};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};

use super::{Finding, Report};
use crate::config::Config;
use crate::{MIGRATOR, audit, postgres};

/// A database that takes longer to let us in is away.
const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// What PostgreSQL says where a table is not there.
const NO_SUCH_TABLE: &str = "42P01";

/// Connects, or starts the private cluster for as long as this takes, and looks at the schema and the log.
pub(super) async fn examine(config: &Config, report: &mut Report) {
    if let Some(url) = &config.database_url {
        let options = match url.parse::<PgConnectOptions>() {
            Ok(options) => options,
            Err(fault) => {
                report.add(Finding::failed(
                    "database",
                    format!("DATABASE_URL is not understood: {fault}"),
                    "write it as deploy/env.example does",
                ));
                return report.add(Finding::skipped("audit log", "needs the database"));
            }
        };
        let advice = format!("start it, or correct DATABASE_URL (it names {}, port {})", options.get_host(), options.get_port());
        return connected("the PostgreSQL of DATABASE_URL", options, &advice, config, report).await;
    }
    let settings = postgres::Settings { binaries: config.postgres_bin.clone(), ..Default::default() };
    let folder = config.data_dir.join("postgres");
    let cluster = match postgres::attach(&folder, &settings).await {
        Ok(cluster) => cluster,
        Err(fault) => {
            let advice =
                format!("what is above, or what its log in {} tells; or use a database of your own with DATABASE_URL", folder.display());
            report.add(Finding::failed("database", fault.to_string(), advice));
            return report.add(Finding::skipped("audit log", "needs the database"));
        }
    };
    let advice = format!("look into its log in {}", folder.display());
    connected("the private PostgreSQL", cluster.connect_options(), &advice, config, report).await;
    if let Err(fault) = cluster.release().await {
        report.add(Finding::failed("database", format!("it does not end in order: {fault}"), advice));
    }
}

async fn connected(which: &str, options: PgConnectOptions, advice: &str, config: &Config, report: &mut Report) {
    let fault = match tokio::time::timeout(CONNECT_WAIT, options.application_name("sluice doctor").connect()).await {
        Ok(Ok(mut db)) => {
            let schema = schema(which, &mut db).await;
            let is_filled = schema.as_ref().is_ok_and(|schema| schema.is_filled);
            report
                .add(schema.map_or_else(|fault| Finding::failed("database", format!("{which}: {fault}"), advice), |schema| schema.finding));
            report.add(if is_filled {
                log(config, &mut db).await
            } else {
                Finding::skipped("audit log", "needs a database that is filled")
            });
            // It answered all that was asked; a server that is gone now is found by the next who asks.
            let _ = db.close().await;
            return;
        }
        Ok(Err(fault)) => fault.to_string(),
        Err(_) => format!("no answer in {} s", CONNECT_WAIT.as_secs()),
    };
    report.add(Finding::failed("database", format!("{which} cannot be reached: {fault}"), advice));
    report.add(Finding::skipped("audit log", "needs the database"));
}

struct Schema {
    finding: Finding,
    /// Whether a portal has worked on it.
    is_filled: bool,
}

/// Compares the steps that the database has gone with ours. Goes none: that is for a start.
async fn schema(which: &str, db: &mut PgConnection) -> Result<Schema, MigrateError> {
    db.ping().await?;
    let version = db.server_version_num().map_or_else(String::new, |number| format!(" {}.{}", number / 10_000, number % 10_000));
    let gone = match db.list_applied_migrations(&MIGRATOR.table_name).await {
        Err(fault) if is_of_no_table(&fault) => Vec::new(),
        gone => gone?,
    };
    let gone: HashMap<i64, Vec<u8>> = gone.into_iter().map(|step| (step.version, step.checksum.into_owned())).collect();
    let ours = || MIGRATOR.iter().filter(|step| step.migration_type.is_up_migration());
    let waiting = ours().filter(|step| !gone.contains_key(&step.version)).count();
    let changed = ours().find(|step| gone.get(&step.version).is_some_and(|checksum| checksum[..] != step.checksum[..]));
    let beyond = gone.keys().filter(|version| !MIGRATOR.version_exists(**version)).max();
    let name = format!("{which}{version}");
    let finding = match (beyond, changed) {
        (Some(beyond), _) => Finding::failed(
            "database",
            format!("{name}: a newer Sluice has worked on it (step {beyond} of its schema is unknown here)"),
            "run that version, or restore a backup from before",
        ),
        (None, Some(step)) => Finding::failed(
            "database",
            format!("{name}: step {} of its schema is not the one of this version", step.version),
            "run the version that made it; no released step is ever changed",
        ),
        (None, None) if gone.is_empty() => {
            Finding::note("database", format!("{name} answers, and is empty"), "nothing: the first start fills it")
        }
        (None, None) if waiting > 0 => Finding::note(
            "database",
            format!("{name} answers; its schema waits for {waiting} of {} steps", ours().count()),
            "take a backup; the next start brings it up to date, and so does any other command",
        ),
        (None, None) => Finding::right("database", format!("{name} answers, with its schema up to date ({} steps)", gone.len())),
    };
    Ok(Schema { finding, is_filled: !gone.is_empty() && waiting == 0 && beyond.is_none() })
}

fn is_of_no_table(fault: &MigrateError) -> bool {
    let MigrateError::Execute(sqlx::Error::Database(fault)) = fault else { return false };
    fault.code().as_deref() == Some(NO_SUCH_TABLE)
}

/// Whether what was signed last still holds.
async fn log(config: &Config, db: &mut PgConnection) -> Finding {
    let (part, folder) = ("audit log", config.data_dir.join("audit"));
    if !folder.exists() {
        return Finding::note(
            part,
            format!("{} is not there", folder.display()),
            "nothing, if no portal has run yet; else restore it from the backup",
        );
    }
    let log = match audit::Log::open(&folder, &config.public_url) {
        Ok(log) => log,
        Err(fault) => {
            return Finding::failed(
                part,
                fault.to_string(),
                format!("restore {} from the backup that the database is from", folder.display()),
            );
        }
    };
    match log.check_end(db).await {
        Ok(Ok(0)) => Finding::right(part, "nothing is signed yet"),
        Ok(Ok(signed)) => Finding::right(
            part,
            format!("{signed} entries are signed, and the last of them is what it was; `sluice audit verify` looks at all"),
        ),
        Ok(Err(fault)) => {
            Finding::failed(part, fault, "keep the data as it is; `sluice audit verify` names the first entry that is not what it was")
        }
        Err(fault) => Finding::failed(part, fault.to_string(), format!("see that {} can be read by this user", folder.display())),
    }
}
