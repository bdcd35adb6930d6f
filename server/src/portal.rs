//! What every request may use.

use sqlx::PgPool;

use crate::clock::Clock;
use crate::config::Config;
use crate::error::Error;
use crate::http::limits::Limit;
use crate::http::places::Places;
use crate::mail::Mailer;
use crate::storage::Folder;

/// The portal's parts, made once at start and shared by every request and worker.
pub struct Portal {
    /// The database.
    pub db: PgPool,
    /// The weights.
    pub objects: Folder,
    /// The models in memory, and the engines that run them.
    pub engine: inference::ModelPool,
    /// The way mails leave.
    pub mailer: Mailer,
    /// The only source of now.
    pub clock: Clock,
    /// The settings.
    pub config: Config,
    /// How often somebody may try.
    pub limits: Limits,
}

/// The limits on what is worth attacking. Each is a number of tries at once and the time until one comes back.
pub struct Limits {
    /// Passwords tried for one account from one network address: a guesser is slowed down, and its owner elsewhere is not.
    pub sign_in_account: Limit,
    /// Passwords tried for one account from everywhere together: far above what people mistype, far below what guessing needs.
    pub sign_in_everywhere: Limit,
    /// Signing in, by network address.
    pub sign_in_client: Limit,
    /// Signing up and asking for links, by network address.
    pub sign_up_client: Limit,
    /// Mails with links, by the address they go to.
    pub link_address: Limit,
    /// Generations, by account: so many run at once, so many more requests wait.
    pub generations: Places,
}

impl Default for Limits {
    fn default() -> Self {
        let minute = std::time::Duration::from_secs(60);
        Self {
            sign_in_account: Limit::new(10, minute / 2),
            sign_in_everywhere: Limit::new(200, minute / 6),
            sign_in_client: Limit::new(30, minute / 6),
            sign_up_client: Limit::new(10, minute),
            link_address: Limit::new(4, minute * 5),
            generations: Places::new(4, 12),
        }
    }
}

impl Limits {
    /// Forgets who has all tries again.
    pub fn sweep(&self) {
        for limit in [&self.sign_in_account, &self.sign_in_everywhere, &self.sign_in_client, &self.sign_up_client, &self.link_address] {
            limit.sweep();
        }
    }
}

impl Portal {
    /// A portal on this database with these settings; opens the store and the way mails leave.
    pub fn open(db: PgPool, config: Config, clock: Clock) -> Result<Self, Error> {
        let objects = Folder::open(&config.objects_dir)?;
        let mailer = Mailer::new(&config.mail, &config.data_dir.join("mail"))?;
        let engine = inference::ModelPool::new(config.engine.memory_bytes, inference::LoadOptions::default());
        Ok(Self { db, objects, engine, mailer, clock, config, limits: Limits::default() })
    }

    /// Whether database and store answer. Errors: `Unavailable`, saying which does not.
    pub async fn ready(&self) -> Result<(), Error> {
        sqlx::Connection::ping(&mut *self.db.acquire().await.map_err(|_| Error::Unavailable("the database does not answer".into()))?)
            .await
            .map_err(|_| Error::Unavailable("the database does not answer".into()))?;
        self.objects.writable().map_err(|cause| Error::Unavailable(format!("the object store cannot be written: {cause}").into()))
    }
}
