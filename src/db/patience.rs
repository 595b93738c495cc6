//! Acts that end known: what happens when Postgres is slow, away, or lost in mid-act.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Connection, PgConnection, PgPool, Postgres};
use tokio::time::{Instant, sleep, timeout};

use crate::{Error, Result};

/// How long an act is tried again before the member is told that it can't be done now.
const PATIENCE: Duration = Duration::from_secs(45);
/// How long one try may take before its connection counts as lost. Longer than the server's own
/// `statement_timeout` (see [`super::pool`]), so that a slow statement ends with an answer.
const TRY: Duration = Duration::from_secs(15);
/// The pauses between tries: doubling from the first to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// The pool, with the patience that every act deserves.
#[derive(Debug, Clone)]
pub struct Database {
    pool: PgPool,
    patience: Duration,
}

impl Database {
    /// Wraps a pool.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self { pool, patience: PATIENCE }
    }

    /// The same with another patience, for tests of what follows when it's over.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The pool itself, for start-up, audit and tests.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// A connection for work that is tried once, and then another way.
    ///
    /// # Errors
    ///
    /// If there is none within the pool's patience.
    pub async fn hold(&self) -> sqlx::Result<Held> {
        let connection = Box::pin(self.pool.acquire()).await?;
        Ok(Held { connection: Some(connection), abandoned: Arc::default() })
    }

    /// Whether every connection is in use, so that somebody may wait for one.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.pool.num_idle() == 0 && self.pool.size() >= self.pool.options().get_max_connections()
    }

    /// Asks for a sign of life, once.
    ///
    /// # Errors
    ///
    /// If there is none within the pool's patience.
    pub async fn ping(&self) -> sqlx::Result<()> {
        self.pool.acquire().await?.ping().await
    }

    /// Does an act, again if Postgres was out of reach or lost on the way, until it's known how it
    /// ended.
    ///
    /// The act must be idempotent: asking again is how it's found out whether the first try was
    /// committed. It's handed a connection at each try.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] if Postgres refused (rolled back); [`Error::Unreachable`] if no try
    /// reached Postgres, or each met a lock or a time-out there (rolled back); [`Error::Unknown`]
    /// if the answer to a try was lost, and no later one could tell how it ended, within 45 s or
    /// until the pool was closed.
    pub async fn settle<T, F>(&self, act: impl Fn(Held) -> F) -> Result<T>
    where
        F: Future<Output = sqlx::Result<T>>,
    {
        self.settle_after(false, act).await
    }

    /// The same where the answer to an earlier try, made another way, may be `lost`.
    ///
    /// # Errors
    ///
    /// As [`settle`](Self::settle).
    pub async fn settle_after<T, F>(&self, mut lost: bool, act: impl Fn(Held) -> F) -> Result<T>
    where
        F: Future<Output = sqlx::Result<T>>,
    {
        let deadline = Instant::now() + self.patience;
        let mut pause = PAUSE.0;
        loop {
            let error = match self.try_once(&act).await {
                Ok(value) => return Ok(value),
                Err((Fate::RolledBack, error)) if !lost => return Err(Error::Database(error)),
                Err((Fate::RolledBack | Fate::Unreadable, error)) => {
                    return Err(Error::Unknown(error));
                }
                Err((Fate::RolledBackByChance, error)) => error,
                Err((Fate::Lost, error)) => {
                    lost = true;
                    error
                }
            };
            if Instant::now() + pause >= deadline || self.pool.is_closed() {
                return Err(if lost { Error::Unknown(error) } else { Error::Unreachable(error) });
            }
            tracing::debug!(%error, lost, "Postgres didn't answer, trying again");
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    // The futures of sqlx are large: on the heap, they don't swell those of every command.
    async fn try_once<T, F>(&self, act: &impl Fn(Held) -> F) -> Result<T, (Fate, sqlx::Error)>
    where
        F: Future<Output = sqlx::Result<T>>,
    {
        let connection = Box::pin(self.pool.acquire()).await;
        let connection = connection.map_err(|error| (Fate::RolledBackByChance, error))?;
        let abandoned = Arc::new(AtomicBool::new(false));
        let held = Held { connection: Some(connection), abandoned: Arc::clone(&abandoned) };
        // Not moved into what waits for it: it must live until `abandoned` is set.
        let mut work = Box::pin(act(held));
        let ended = tokio::select! {
            ended = timeout(TRY, &mut work) => ended.ok(),
            () = self.pool.close_event() => None,
        };
        if let Some(result) = ended {
            return result.map_err(|error| (fate(&error), error));
        }
        abandoned.store(true, Ordering::Relaxed);
        Err((Fate::Lost, sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
    }
}

/// A connection of the pool for one try of an act.
#[derive(Debug)]
pub struct Held {
    connection: Option<PoolConnection<Postgres>>,
    abandoned: Arc<AtomicBool>,
}

impl Held {
    /// Cuts a connection whose answer never came.
    pub fn abandon(self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }
}

impl Deref for Held {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.connection.as_ref().expect("taken only by drop")
    }
}

impl DerefMut for Held {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("taken only by drop")
    }
}

impl Drop for Held {
    /// A connection whose answer never came is cut: given back, it would hold its place in the
    /// pool until the network noticed.
    fn drop(&mut self) {
        if self.abandoned.load(Ordering::Relaxed)
            && let Some(connection) = self.connection.take()
        {
            drop(connection.detach());
        }
    }
}

/// Whether an error may stand behind a transaction that was committed all the same.
#[must_use]
pub fn is_in_doubt(error: &sqlx::Error) -> bool {
    matches!(fate(error), Fate::Lost | Fate::Unreadable)
}

/// What an error says about the transaction in which it came up.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// The same would happen again.
    RolledBack,
    /// Another try may succeed: a deadlock, a time-out, a server that is just starting or full.
    RolledBackByChance,
    /// The connection broke; the commit may have been on its way.
    Lost,
    /// Postgres answered, so it may have committed, and the answer can't be read.
    Unreadable,
}

fn fate(error: &sqlx::Error) -> Fate {
    match error {
        // https://www.postgresql.org/docs/15/errcodes-appendix.html
        sqlx::Error::Database(error) => match error.code().as_deref() {
            // Serialization failure, deadlock, lock time-out, statement time-out, starting up.
            Some("40001" | "40P01" | "55P03" | "57014" | "57P03") => Fate::RolledBackByChance,
            // Out of connections, memory, disk.
            Some(code) if code.starts_with("53") => Fate::RolledBackByChance,
            // Unknown by name; a backend that was told to end, perhaps just behind its commit; and
            // what a pooler says when its own connection broke.
            Some("40003" | "57P01" | "57P02") => Fate::Lost,
            Some(code) if code.starts_with("08") => Fate::Lost,
            _ => Fate::RolledBack,
        },
        sqlx::Error::Io(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::WorkerCrashed => Fate::Lost,
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => Fate::RolledBackByChance,
        _ => Fate::Unreadable,
    }
}
