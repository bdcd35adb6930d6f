//! What every request may use.

use futures_util::future::BoxFuture;
use inference::{Card, DeviceChoice, LoadOptions, ModelPool, PackedCache};
use sqlx::{PgConnection, PgPool};

use crate::audit;
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, DownloadLimits};
use crate::error::Error;
use crate::http::allowance::Allowance;
use crate::http::limits::Limit;
use crate::http::places::Places;
use crate::http::presence::Presence;
use crate::ids::{AccountId, ApplicationId};
use crate::integrity::{AddressKey, Keyring};
use crate::jobs::Jobs;
use crate::mail::Mailer;
use crate::storage::Objects;

/// What is done in the transaction in which an account proves its address. Accounts know nothing of access, which stands above them, so it is
/// handed down.
pub type WhenProved = for<'a> fn(&'a Portal, &'a mut PgConnection, AccountId) -> BoxFuture<'a, Result<(), Error>>;

/// The portal's parts, made once at start and shared by every request and worker.
pub struct Portal {
    /// The database.
    pub db: PgPool,
    /// The weights.
    pub objects: Objects,
    /// The models in memory, and the engines that run them.
    pub engine: ModelPool,
    /// The keys that sign releases.
    pub keys: Keyring,
    /// The key by which an address is known again that was forgotten.
    pub address_key: AddressKey,
    /// What access does when somebody proves an address.
    pub when_proved: WhenProved,
    /// The log that the record is integrated into.
    pub audit: audit::Log,
    /// The way mails leave.
    pub mailer: Mailer,
    /// The only source of now.
    pub clock: Clock,
    /// The settings.
    pub config: Config,
    /// How often somebody may try.
    pub limits: Limits,
    /// Who has which case on the screen.
    pub cases_seen: Presence<ApplicationId, AccountId>,
    /// What works in the background.
    pub jobs: Jobs,
}

/// The limits on what is worth attacking. Each is a number of tries at once and the time until one comes back.
pub struct Limits {
    /// Passwords tried for one account from one network address, or with one browser that the account knows: a guesser is slowed down, and
    /// its owner elsewhere is not.
    pub sign_in_account: Limit,
    /// Passwords tried for one account from everywhere together, but for browsers that it knows: far above what people mistype, far below what guessing needs.
    pub sign_in_everywhere: Limit,
    /// Signing in, by network address.
    pub sign_in_client: Limit,
    /// Signing up and asking for links, by network address.
    pub sign_up_client: Limit,
    /// Mails with links, by the address they go to.
    pub link_address: Limit,
    /// Codes asked for by programs that want to be signed in, by network address: a class of students behind one of them is let through.
    pub device_client: Limit,
    /// Reports of leaked tokens, by network address: a scanner sends a hundred at once.
    pub leaked_client: Limit,
    /// Codes typed that nobody waits with, by account: there are 2.5e10 of them, so guessing one is hopeless well above this.
    pub device_code: Limit,
    /// Applications sent, by account: each mails every reviewer, and can be withdrawn and sent again. 6 at once, then 6 a day.
    pub applications: Limit,
    /// Applications begun, by account: what is discarded unsent leaves a row. 20 at once, then one an hour.
    pub drafts: Limit,
    /// Renewals asked for, by account: each mails every reviewer, and can be withdrawn and asked for again. 6 at once, then 6 a day.
    pub renewals: Limit,
    /// Comments of applicants, by account: each is a mail to reviewers. 20 at once, then one in two minutes.
    pub comments: Limit,
    /// Bytes a day and downloads at once, by account.
    pub downloads: Allowance,
    /// Downloads at once of those without an account, by network address.
    pub nameless_downloads: Allowance,
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
            device_client: Limit::new(40, minute / 6),
            leaked_client: Limit::new(40, minute / 6),
            device_code: Limit::new(20, minute / 4),
            applications: Limit::new(6, minute * 60 * 4),
            drafts: Limit::new(20, minute * 60),
            renewals: Limit::new(6, minute * 60 * 4),
            comments: Limit::new(20, minute * 2),
            downloads: Allowance::new(None, usize::MAX),
            nameless_downloads: Allowance::new(None, usize::MAX),
            generations: Places::new(4, 12),
        }
    }
}

impl Limits {
    /// Those of these settings.
    fn new(config: &Config) -> Self {
        let DownloadLimits { bytes_a_day, at_once } = config.downloads;
        let downloads = Allowance::new(bytes_a_day, at_once);
        Self { downloads, nameless_downloads: Allowance::new(None, at_once), ..Self::default() }
    }

    /// Forgets who has all tries again.
    pub fn sweep(&self, now: Timestamp) {
        self.downloads.sweep(now);
        self.nameless_downloads.sweep(now);
        for limit in [
            &self.sign_in_account,
            &self.sign_in_everywhere,
            &self.sign_in_client,
            &self.sign_up_client,
            &self.link_address,
            &self.device_client,
            &self.leaked_client,
            &self.device_code,
            &self.applications,
            &self.drafts,
            &self.renewals,
            &self.comments,
        ] {
            limit.sweep();
        }
    }
}

/// How the parts of a portal are.
pub struct Readiness {
    /// Whether it answers.
    pub database: Part,
    /// Whether it can be written.
    pub store: Part,
    /// Whether it can run models.
    pub engine: Part,
}

/// How one part is. The words go to whoever asks; causes go to the log alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// It does its work.
    Ok,
    /// It does its work, and something went wrong that mends itself.
    Mending(&'static str),
    /// It cannot do its work.
    Failed(&'static str),
}

impl Part {
    fn failed(part: &'static str, words: &'static str, cause: &dyn std::error::Error) -> Self {
        tracing::error!(part, error = %cause, "not ready");
        Part::Failed(words)
    }

    /// In a few words.
    pub fn words(self) -> &'static str {
        match self {
            Part::Ok => "ok",
            Part::Mending(words) | Part::Failed(words) => words,
        }
    }
}

impl Readiness {
    /// Whether every part does its work.
    pub fn is_ready(&self) -> bool {
        [self.database, self.store, self.engine].iter().all(|part| !matches!(part, Part::Failed(_)))
    }
}

/// Where weights are kept as the engine reads them: on the disk twice what the memory may hold, so that models that take turns in memory
/// all find theirs.
pub fn packed_cache(config: &Config) -> PackedCache {
    PackedCache { folder: config.data_dir.join("packed"), bytes_max: config.engine.memory_bytes.saturating_mul(2) }
}

/// Of the eight places and the line of 32 of a model, as many as one account may take up while others wait; a request for eight answers
/// still runs where nothing else of its account does.
const ACCOUNT_RUNNING_MAX: usize = 6;
const ACCOUNT_WAITING_MAX: usize = 8;
/// Where there is a card, it makes so many answers at once and reads so many tokens in a step, for nearly the price of few; an account has
/// the same part of it.
const CARD_RUNNING_MAX: usize = 64;
const CARD_STEP_TOKENS_MAX: usize = 2048;
const CARD_ACCOUNT_RUNNING_MAX: usize = 48;

/// How models are loaded.
fn load_options(config: &Config) -> LoadOptions {
    let default = LoadOptions::default();
    let has_card = config.engine.device != DeviceChoice::Cpu && inference::cards().all().iter().any(Card::is_able);
    let (running_max, step_tokens_max, account_running_max) = match has_card {
        true => (CARD_RUNNING_MAX, CARD_STEP_TOKENS_MAX, CARD_ACCOUNT_RUNNING_MAX),
        false => (default.running_max, default.step_tokens_max, ACCOUNT_RUNNING_MAX),
    };
    LoadOptions {
        running_max,
        step_tokens_max,
        account_running_max,
        account_waiting_max: ACCOUNT_WAITING_MAX,
        precision: config.engine.precision,
        device: config.engine.device,
        cache: Some(packed_cache(config)),
        ..default
    }
}

impl Portal {
    /// A portal on this database with these settings; opens the store (a bucket is not asked yet) and the way mails leave.
    pub fn open(db: PgPool, config: Config, clock: Clock, when_proved: WhenProved) -> Result<Self, Error> {
        let objects = Objects::open(&config)?;
        let mailer = Mailer::new(&config.mail, config.url_of(""), &config.data_dir.join("mail"))?;
        let keys = Keyring::open(&config.data_dir.join("keys"), clock.now())?;
        let address_key = AddressKey::open(&config.data_dir.join("keys"))?;
        let audit = audit::Log::open(&config.data_dir.join("audit"), &config.public_url)?;
        let engine = ModelPool::new(config.engine.memory_bytes, load_options(&config));
        let limits = Limits::new(&config);
        let (cases_seen, jobs) = (Presence::default(), Jobs::default());
        Ok(Self { db, objects, engine, keys, address_key, when_proved, audit, mailer, clock, config, limits, cases_seen, jobs })
    }

    /// How the parts are, each asked now.
    pub async fn readiness(&self) -> Readiness {
        Readiness { database: self.ask_database().await, store: self.ask_store().await, engine: self.ask_engine() }
    }

    async fn ask_database(&self) -> Part {
        let answer = match self.db.acquire().await {
            Ok(mut db) => sqlx::Connection::ping(&mut *db).await,
            Err(cause) => Err(cause),
        };
        match answer {
            Ok(()) => Part::Ok,
            Err(cause) => Part::failed("database", "does not answer", &cause),
        }
    }

    async fn ask_store(&self) -> Part {
        match self.objects.check().await {
            Ok(()) => Part::Ok,
            Err(problem) => Part::failed("store", problem.words(), &problem),
        }
    }

    /// Loading takes threads, so one is started; a model whose own has died does no lasting harm.
    fn ask_engine(&self) -> Part {
        match std::thread::Builder::new().name("sluice-engine-check".into()).spawn(|| ()) {
            Err(cause) => Part::failed("engine", "cannot start a thread", &cause),
            Ok(_) if self.engine.dead().is_empty() => Part::Ok,
            Ok(_) => Part::Mending("a model's thread has died; it is loaded again when next asked for"),
        }
    }
}
