//! The worker: claims what is due, has it carried out, and records how it ended.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use poise::futures_util::FutureExt;
use sqlx::PgPool;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use uuid::Uuid;

use super::{Outbox, Promise, Trouble, store};
use crate::db::Database;

/// How many promises one process carries out at once, each for another target.
const AT_ONCE: usize = 8;
/// How often the outbox is looked into unasked: for what other processes left.
const LOOK: Duration = Duration::from_secs(1);
/// How long a claim holds, by the database's clock.
const CLAIM: Duration = Duration::from_secs(30);
/// How long carrying out may take, and recording how it ended, both counted from the claim: nobody
/// else must begin meanwhile.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(28));
/// The pauses after failed attempts: doubling from the first to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(10));
/// The pauses between looks while the database is away.
const AWAY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// How long one look may take.
const LOOK_PATIENCE: Duration = Duration::from_secs(12);

/// Works the outbox off until `stop` says so; what runs then is finished first.
///
/// `carry_out` does what a promise says, at least once; `paused_until` is until when nothing at all
/// is to be begun.
pub(crate) async fn run<F>(
    db: Database,
    outbox: Outbox,
    carry_out: impl Fn(Promise) -> F,
    paused_until: impl Fn() -> Option<Instant>,
    mut stop: watch::Receiver<bool>,
) where
    F: Future<Output = Result<(), Trouble>> + Send + 'static,
{
    let owner = Uuid::new_v4();
    let mut running = JoinSet::new();
    let mut agenda = Agenda::default();
    let mut away = Away::default();
    let mut troubled = false;
    loop {
        let now = Instant::now();
        let free = AT_ONCE - running.len();
        let next = if free == 0 {
            now + CLAIM
        } else if let Some(until) = paused_until() {
            until
        } else {
            match look(db.pool(), owner, free, &agenda.held(now)).await {
                Ok(promises) => {
                    away.ended();
                    for promise in promises {
                        let work = AssertUnwindSafe(carry_out(promise.clone())).catch_unwind();
                        running.spawn(finish(db.clone(), owner, promise, work, now));
                    }
                    agenda.next(now)
                }
                Err(error) => away.next(&error),
            }
        };
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            () = outbox.promised.notified(), if away.since.is_none() => {}
            Some(ended) = running.join_next() => match ended {
                Ok(ended) => {
                    tell_change(&mut troubled, &ended);
                    agenda.note(ended);
                }
                Err(error) => tracing::error!(%error, "The outbox lost track of a promise"),
            },
            () = sleep_until(next) => {}
        }
    }
    while running.join_next().await.is_some() {}
}

async fn look(
    pool: &PgPool,
    owner: Uuid,
    free: usize,
    held: &[String],
) -> sqlx::Result<Vec<Promise>> {
    let limit = i64::try_from(free).unwrap_or(1);
    let looking = async {
        let mut connection = pool.acquire().await?;
        store::claim(&mut connection, owner, CLAIM, limit, held).await
    };
    match timeout(LOOK_PATIENCE, Box::pin(looking)).await {
        Ok(looked) => looked,
        Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
    }
}

/// How a promise ended, as far as the worker's next looks are concerned.
struct Ended {
    /// When it's to be tried again.
    again: Option<Instant>,
    /// What is not to be claimed before then.
    held: Option<String>,
    /// Whether it was done; why not yet, where it was tried.
    done: Result<(), Option<String>>,
}

/// Says once that what is promised can't be done, however much of it there is, and once that it can.
fn tell_change(troubled: &mut bool, ended: &Ended) {
    match &ended.done {
        Ok(()) if *troubled => {
            tracing::info!("What was promised is done again");
            *troubled = false;
        }
        Err(Some(error)) if !*troubled => {
            tracing::warn!(error, "Could not do what was promised, trying again");
            *troubled = true;
        }
        _ => {}
    }
}

/// Carries one promise out, which was claimed `at`, and records how it ended.
async fn finish(
    db: Database,
    owner: Uuid,
    promise: Promise,
    work: impl Future<Output = std::thread::Result<Result<(), Trouble>>>,
    at: Instant,
) -> Ended {
    let result = match timeout_at(at + PATIENCE.0, Box::pin(work)).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(Trouble::Passing("a panic".to_owned())),
        Err(_) => Err(Trouble::Passing(format!("no end within {} s", PATIENCE.0.as_secs()))),
    };
    let (again, attempts) = match &result {
        Ok(()) => (None, 0),
        Err(Trouble::Held(after)) => (Some(*after), promise.attempts),
        Err(Trouble::Later(after)) => (Some(*after), promise.attempts.saturating_add(1)),
        Err(Trouble::Passing(error)) => {
            let after = backoff(promise.attempts);
            tracing::debug!(
                guild.id = %promise.guild, effect = promise.effect, target = promise.target,
                attempts = promise.attempts, after_ms = after.as_millis(), error,
                "Could not do what was promised"
            );
            (Some(after), promise.attempts.saturating_add(1))
        }
        Err(Trouble::Refused(failure)) => {
            tracing::warn!(
                guild.id = %promise.guild, effect = promise.effect, target = promise.target, failure,
                "What was promised can't be done"
            );
            (None, 0)
        }
    };
    let recording = db.settle(|mut connection| {
        let (promise, result) = (&promise, &result);
        async move {
            match (result, again) {
                (Err(Trouble::Refused(failure)), _) => {
                    store::record_failure(&mut connection, promise, owner, failure).await
                }
                (_, Some(after)) => {
                    store::postpone(&mut connection, promise, owner, after, attempts).await
                }
                (_, None) => store::delete_done(&mut connection, promise, owner).await,
            }
        }
    });
    // What isn't recorded is done again when the claim has lapsed.
    match timeout_at(at + PATIENCE.1, Box::pin(recording)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, number = promise.number, "Could not record how a promise ended");
        }
        Err(_) => {
            tracing::warn!(number = promise.number, "Could not record in time how a promise ended");
        }
    }
    let again = again.map(|after| Instant::now() + after);
    let limited = matches!(result, Err(Trouble::Held(_) | Trouble::Later(_)));
    let done = match result {
        Err(Trouble::Passing(error)) => Err(Some(error)),
        Err(Trouble::Held(_) | Trouble::Later(_)) => Err(None),
        Ok(()) | Err(Trouble::Refused(_)) => Ok(()),
    };
    Ended { again, held: limited.then(|| promise.kind()), done }
}

/// The pause after so many failed attempts and one more, a quarter shorter or longer.
fn backoff(attempts: i32) -> Duration {
    let doublings = u32::try_from(attempts).unwrap_or(0).min(16);
    let pause = (BACKOFF.0 * (1 << doublings)).min(BACKOFF.1);
    // So that what failed together isn't tried together.
    let dice = u32::from(Uuid::new_v4().as_bytes()[0]);
    pause * (192 + dice / 2) / 256
}

/// When to look next, and what not to claim meanwhile.
#[derive(Default)]
struct Agenda {
    again: Vec<Instant>,
    held: HashMap<String, Instant>,
}

impl Agenda {
    fn note(&mut self, ended: Ended) {
        if let Some(again) = ended.again {
            self.again.push(again);
            if let Some(kind) = ended.held {
                self.held.insert(kind, again);
            }
        }
    }

    fn held(&mut self, now: Instant) -> Vec<String> {
        self.held.retain(|_, until| *until > now);
        self.held.keys().cloned().collect()
    }

    /// What comes first: something that is to be tried again, or the next look.
    fn next(&mut self, now: Instant) -> Instant {
        self.again.retain(|again| *again > now);
        self.again.iter().min().map_or(now + LOOK, |again| (*again).min(now + LOOK))
    }
}

/// Whether the database is away: said once, and once when it's back.
#[derive(Default)]
struct Away {
    since: Option<Instant>,
    pause: Duration,
}

impl Away {
    fn next(&mut self, error: &sqlx::Error) -> Instant {
        if self.since.is_none() {
            tracing::warn!(%error, "The outbox can't be read; what was promised waits");
        }
        self.pause = (self.pause * 2).clamp(AWAY.0, AWAY.1);
        let now = Instant::now();
        self.since.get_or_insert(now);
        now + self.pause
    }

    fn ended(&mut self) {
        if let Some(since) = self.since.take() {
            let away_s = since.elapsed().as_secs();
            tracing::info!(away_s, "The outbox can be read again");
        }
        self.pause = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_ten_minutes_and_differ() {
        for (attempts, seconds) in [(0, 1.0), (1, 2.0), (5, 32.0), (10, 600.0), (i32::MAX, 600.0)] {
            let pause = backoff(attempts).as_secs_f64();
            assert!((seconds * 0.75..seconds * 1.25).contains(&pause), "{attempts}: {pause}");
        }
        let pauses: std::collections::HashSet<_> = (0..50).map(|_| backoff(3)).collect();
        assert!(pauses.len() > 10, "{pauses:?}");
    }

    #[tokio::test]
    async fn a_database_that_is_away_is_looked_for_ever_more_seldom() {
        let mut away = Away::default();
        let mut pauses = || {
            let next = away.next(&sqlx::Error::PoolTimedOut);
            next.saturating_duration_since(Instant::now()).as_millis().div_ceil(1_000)
        };

        assert_eq!([(); 6].map(|()| pauses()), [1, 2, 4, 8, 15, 15]);
        away.ended();
        assert!(away.since.is_none() && away.pause.is_zero());
    }
}
