//! The pool and the migrations: how a process gets its database at start.

use std::pin::pin;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{Connection, Executor, PgConnection, PgPool, Postgres};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::embedded::{Embedded, EmbeddedError, Options};
use crate::config::DatabaseConfig;

/// How long start-up waits for a server that is out of reach or still starting.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// A connection that was idle longer than this is checked before use.
const TRUSTED_IDLE: Duration = Duration::from_secs(5);
/// Bounds what a stuck lock can hold up; an act is then rolled back and tried again.
const SESSION: &str = "set statement_timeout = '10s'; set lock_timeout = '8s'; \
                       set idle_in_transaction_session_timeout = '30s'; set timezone = 'UTC'";

/// Every migration, forward and back.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// Why there is no database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// The embedded server can't run.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// `DATABASE_URL`'s server didn't answer.
    #[error("DATABASE_URL: no connection: {0}")]
    Unreachable(#[source] sqlx::Error),
    /// Something between the bot and the server shares sessions.
    #[error(
        "DATABASE_URL: {0}; connect to Postgres directly or through a pooler in session mode, \
         not in transaction mode"
    )]
    Pooler(&'static str),
    /// The tables are those of a newer Bytekeeper, or of something else.
    #[error("the database doesn't fit this version of Bytekeeper: {0}")]
    Migrate(#[from] MigrateError),
    /// Another process holds the tables.
    #[error(
        "the tables are in use by something that doesn't end, such as another process's migration; gave up after 60 s"
    )]
    Locked,
    /// The tables are older than this version, or not there.
    #[error(
        "the tables are not those of this version; run `bytekeeper migrate` or start the bot first"
    )]
    NotMigrated,
    /// The server refused something that start-up needs.
    #[error("the database refused: {0}")]
    Refused(#[from] sqlx::Error),
}

/// Where the database runs.
#[derive(Debug)]
pub enum Server {
    /// A child of this process.
    Embedded(Box<Embedded>),
    /// Behind `DATABASE_URL`, or another process's embedded server.
    Elsewhere,
}

impl Server {
    /// Resolves with the reason when an embedded server ends by itself; never otherwise.
    pub async fn died(&self) -> String {
        match self {
            Self::Embedded(server) => server.died().await.to_string(),
            Self::Elsewhere => std::future::pending().await,
        }
    }

    /// Stops an embedded server: open transactions are rolled back, committed ones are on disk.
    pub async fn stop(self) {
        if let Self::Embedded(server) = self
            && let Err(error) = server.stop().await
        {
            tracing::error!(%error, "Could not stop the embedded Postgres");
        }
    }
}

/// Reaches the database: starts the embedded server, or waits for the one of `DATABASE_URL`, and
/// proves that it does what the bot needs.
///
/// # Errors
///
/// [`DatabaseError`], after at most 30 s of trying to reach a server, or 2 minutes of recovery of an
/// embedded one.
pub async fn connect(config: &DatabaseConfig) -> Result<(Server, PgPool), DatabaseError> {
    let Some(url) = &config.url else {
        let usual = Options::default();
        // Beside the pool's: for `audit`, for psql, and those that Postgres keeps for itself.
        let connections = u16::try_from(config.pool_size).unwrap_or(u16::MAX).saturating_add(20);
        let options = Options { max_connections: connections.max(usual.max_connections), ..usual };
        let server = Embedded::start(&config.data_dir, options).await?;
        let pool = pool(config, server.connect_options());
        return Ok((Server::Embedded(Box::new(server)), pool));
    };
    let options: PgConnectOptions = url.reveal().parse()?;
    wait_for(&options).await?;
    prove_sessions(url.reveal(), &options).await.map_err(|error| match error {
        DatabaseError::Refused(error) if is_of_another_session(&error) => {
            DatabaseError::Pooler("it answers with what belongs to other sessions")
        }
        error => error,
    })?;
    Ok((Server::Elsewhere, pool(config, options)))
}

/// Like [`connect`], but joins the embedded server of a bot that is running in the same folder.
///
/// # Errors
///
/// As [`connect`].
pub async fn join(config: &DatabaseConfig) -> Result<(Server, PgPool), DatabaseError> {
    if config.url.is_none()
        && let Some(running) = Embedded::attach(&config.data_dir).await?
    {
        return Ok((Server::Elsewhere, pool(config, running.connect_options())));
    }
    connect(config).await
}

fn pool(config: &DatabaseConfig, options: PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(config.pool_size)
        .acquire_timeout(config.acquire_timeout)
        // Its check costs each command a round trip: the one below spares a connection in use.
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(
                async move { Ok(meta.idle_for < TRUSTED_IDLE || connection.ping().await.is_ok()) },
            )
        })
        .after_connect(|connection, _| {
            Box::pin(async move { connection.execute(SESSION).await.map(drop) })
        })
        .connect_lazy_with(options.application_name("bytekeeper"))
}

/// Tries to connect until the server answers, for at most [`START_PATIENCE`].
async fn wait_for(options: &PgConnectOptions) -> Result<(), DatabaseError> {
    let deadline = Instant::now() + START_PATIENCE;
    let mut said = false;
    loop {
        let error = match timeout_at(deadline, PgConnection::connect_with(options)).await {
            Ok(Ok(connection)) => return Ok(connection.close().await?),
            Ok(Err(error)) => error,
            Err(_) => sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()),
        };
        // A server that is starting or full may come round; one that refuses the password won't.
        let refused = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code)
            .is_some_and(|code| !matches!(&*code, "57P03" | "53300"));
        if refused || Instant::now() >= deadline {
            return Err(DatabaseError::Unreachable(error));
        }
        if !said {
            tracing::warn!(%error, patience_s = START_PATIENCE.as_secs(), "Waiting for Postgres");
            said = true;
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// Proves that a session stays one session: LISTEN is heard and an advisory lock is held and freed
/// by who took it. A pooler in transaction mode breaks both silently.
async fn prove_sessions(url: &str, options: &PgConnectOptions) -> Result<(), DatabaseError> {
    let mut owner = PgConnection::connect_with(options).await?;
    let mut other = PgConnection::connect_with(options).await?;
    let key: i64 = sqlx::query_scalar("select pg_backend_pid()::bigint + (7::bigint << 40)")
        .fetch_one(&mut owner)
        .await?;
    let held = try_lock(&mut owner, key).await? && !try_lock(&mut other, key).await?;
    let freed: bool =
        sqlx::query_scalar("select pg_advisory_unlock($1)").bind(key).fetch_one(&mut owner).await?;
    if !held || !freed {
        return Err(DatabaseError::Pooler("advisory locks don't work through it"));
    }
    other.close().await?;
    let mut listener = PgListener::connect(url).await?;
    listener.listen("bytekeeper_start").await?;
    sqlx::query("select pg_notify('bytekeeper_start', '')").execute(&mut owner).await?;
    match timeout(Duration::from_secs(5), listener.recv()).await {
        Ok(heard) => drop(heard?),
        Err(_) => return Err(DatabaseError::Pooler("LISTEN/NOTIFY doesn't work through it")),
    }
    Ok(owner.close().await?)
}

/// Whether an error is what a pooler in transaction mode causes: a message for somebody else, or a
/// prepared statement that is in another session or there twice.
fn is_of_another_session(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Protocol(_) => true,
        sqlx::Error::Database(error) => matches!(error.code().as_deref(), Some("26000" | "42P05")),
        _ => false,
    }
}

async fn try_lock(connection: &mut PgConnection, key: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar("select pg_try_advisory_lock($1)").bind(key).fetch_one(connection).await
}

/// The version of the server, such as `15.18`.
///
/// # Errors
///
/// If the server can't be asked.
pub async fn version(pool: &PgPool) -> Result<String, DatabaseError> {
    let version: String = sqlx::query_scalar("show server_version").fetch_one(pool).await?;
    Ok(version.split(' ').next().unwrap_or_default().to_owned())
}

/// Brings the tables forward to this version, under a lock that other processes wait for.
///
/// # Errors
///
/// [`DatabaseError::Migrate`] if the tables are newer than this version, or were changed by hand;
/// [`DatabaseError::Locked`] if something holds them for 60 s.
pub async fn migrate(pool: &PgPool) -> Result<(), DatabaseError> {
    let mut connection = migrator(pool).await?;
    let ended = {
        let mut run = pin!(MIGRATOR.run(&mut *connection));
        if let Ok(ended) = timeout(Duration::from_secs(3), &mut run).await {
            ended
        } else {
            tracing::info!("Migrating, or waiting for another process that does");
            run.await
        }
    };
    ended.map_err(migration_error)?;
    connection.detach().close().await?;
    Ok(())
}

/// A connection on which a migration may take its time, but not wait for ever.
async fn migrator(pool: &PgPool) -> sqlx::Result<PoolConnection<Postgres>> {
    let mut connection = pool.acquire().await?;
    connection.execute("set statement_timeout = 0; set lock_timeout = '60s'").await?;
    Ok(connection)
}

fn migration_error(error: MigrateError) -> DatabaseError {
    let locked = |error: &sqlx::Error| {
        error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref()
            == Some("55P03")
    };
    match &error {
        MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _)
            if locked(cause) =>
        {
            DatabaseError::Locked
        }
        _ => DatabaseError::Migrate(error),
    }
}

/// Makes sure that the tables are those of this version.
///
/// # Errors
///
/// [`DatabaseError::NotMigrated`] if they are older.
pub async fn require_migrated(pool: &PgPool) -> Result<(), DatabaseError> {
    let applied = applied(pool.acquire().await?.as_mut()).await?;
    let newest = MIGRATOR.iter().map(|migration| migration.version).max();
    if applied.first().copied() >= newest { Ok(()) } else { Err(DatabaseError::NotMigrated) }
}

/// The versions of the migrations that were applied, newest first.
async fn applied(connection: &mut PgConnection) -> sqlx::Result<Vec<i64>> {
    let any: bool = sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null")
        .fetch_one(&mut *connection)
        .await?;
    if !any {
        return Ok(Vec::new());
    }
    sqlx::query_scalar("select version from _sqlx_migrations order by version desc")
        .fetch_all(connection)
        .await
}

/// Takes the newest `steps` migrations back; returns how many there were to take.
///
/// # Errors
///
/// As [`migrate`].
pub async fn migrate_down(pool: &PgPool, steps: usize) -> Result<usize, DatabaseError> {
    let mut connection = migrator(pool).await?;
    let applied = applied(&mut connection).await?;
    let taken = steps.min(applied.len());
    let target = applied.get(steps).copied().unwrap_or(0);
    if taken > 0 {
        MIGRATOR.undo(&mut *connection, target).await.map_err(migration_error)?;
    }
    connection.detach().close().await?;
    Ok(taken)
}
