//! The gate that every REST request passes, but for answers to interactions: so many a second, one
//! pause for all when Discord asks for it, and no request into a window that is used up.
//!
//! Discord's limits: <https://discord.com/developers/docs/topics/rate-limits>.

use std::collections::{HashMap, VecDeque};
use std::mem::Discriminant;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use poise::serenity_prelude as serenity;
use serenity::{LightMethod, RatelimitingBucket, Request};
use tokio::time::{Instant, sleep_until};

/// How many windows are remembered before those that ended are forgotten.
const KEPT_WINDOWS: usize = 1_000;

/// What Discord counts together: a method on a route, in one guild or channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key(Discriminant<LightMethod>, RatelimitingBucket);

impl Key {
    pub(super) fn of(request: &Request<'_>) -> Self {
        let bucket = request.route_ref().ratelimiting_bucket();
        Self(std::mem::discriminant(request.method_ref()), bucket)
    }
}

/// A request that may not be made before then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) until: Instant,
}

/// The gate of one process.
#[derive(Debug)]
pub(super) struct Gate {
    a_second: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When the last requests were let through, or will be: at most as many as may go in a second.
    passed: VecDeque<Instant>,
    paused_until: Option<Instant>,
    windows: HashMap<Key, Window>,
}

/// What is left of a route's limit, as Discord said last.
#[derive(Debug)]
struct Window {
    remaining: u32,
    until: Instant,
}

impl Gate {
    pub(super) fn new(a_second: u32) -> Self {
        let a_second = usize::try_from(a_second.max(1)).unwrap_or(usize::MAX);
        Self { a_second, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it's held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a request's turn: in each second no more than so many pass, in the order in which
    /// they came.
    ///
    /// A pause, or a window that is used up, isn't waited for.
    pub(super) async fn pass(&self, key: Key) -> Result<(), Held> {
        let turn = {
            let mut state = self.state();
            let now = Instant::now();
            state.check_pause(now)?;
            state.check_window(key, now)?;
            state.take_turn(self.a_second, now)
        };
        sleep_until(turn).await;
        self.state().check_pause(Instant::now())
    }

    /// Lets nobody through for so long.
    pub(super) fn pause(&self, length: Duration) {
        let until = Instant::now() + length;
        let mut state = self.state();
        state.paused_until = state.paused_until.max(Some(until));
    }

    /// Until when nobody is let through.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        self.state().paused_until.filter(|&until| until > Instant::now())
    }

    /// Takes note of what is left of a route's limit, for so long.
    pub(super) fn note(&self, key: Key, remaining: u32, length: Duration) {
        let now = Instant::now();
        let mut state = self.state();
        if state.windows.len() >= KEPT_WINDOWS {
            state.windows.retain(|_, window| window.until > now);
        }
        let mut window = Window { remaining, until: now + length };
        if let Some(running) = state.windows.get(&key).filter(|window| window.until > now) {
            // Who is on the way isn't in Discord's figure yet.
            window.remaining = window.remaining.min(running.remaining);
            window.until = window.until.max(running.until);
        }
        state.windows.insert(key, window);
    }
}

impl State {
    fn check_pause(&self, now: Instant) -> Result<(), Held> {
        match self.paused_until {
            Some(until) if until > now => Err(Held { until }),
            _ => Ok(()),
        }
    }

    fn check_window(&mut self, key: Key, now: Instant) -> Result<(), Held> {
        match self.windows.get_mut(&key) {
            Some(window) if window.until > now => {
                window.remaining =
                    window.remaining.checked_sub(1).ok_or(Held { until: window.until })?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// When the next request may go: a second after the one that many before it.
    fn take_turn(&mut self, a_second: usize, now: Instant) -> Instant {
        let mut turn = now;
        if self.passed.len() >= a_second
            && let Some(first) = self.passed.pop_front()
        {
            turn = turn.max(first + Duration::from_secs(1));
        }
        self.passed.push_back(turn);
        turn
    }
}

#[cfg(test)]
mod tests {
    use poise::serenity_prelude::{GuildId, Route};

    use super::*;

    fn key(guild: u64) -> Key {
        let route = Route::GuildMembers { guild_id: GuildId::new(guild) };
        Key::of(&Request::new(route, LightMethod::Get))
    }

    #[tokio::test]
    async fn in_no_second_more_pass_than_may() {
        let gate = std::sync::Arc::new(Gate::new(10));
        let mut passing = tokio::task::JoinSet::new();
        for guild in 1..=25 {
            let gate = std::sync::Arc::clone(&gate);
            passing.spawn(async move {
                gate.pass(key(guild)).await.expect("nothing is paused");
                Instant::now()
            });
        }
        let mut passed = passing.join_all().await;
        passed.sort();

        for (first, eleventh) in passed.iter().zip(&passed[10..]) {
            let apart = *eleventh - *first;
            assert!(apart >= Duration::from_millis(990), "{apart:?}");
        }
        let whole = passed[24] - passed[0];
        assert!(whole < Duration::from_millis(2_900), "no slower than it must be: {whole:?}");
    }

    #[tokio::test]
    async fn a_pause_holds_everybody_also_who_waits_for_a_turn() {
        let gate = Gate::new(1);
        gate.pass(key(1)).await.expect("nothing is paused");
        let waiting = gate.pass(key(2));
        let pausing = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            gate.pause(Duration::from_secs(5));
            gate.pause(Duration::from_secs(1));
        };

        let (held, ()) = tokio::join!(waiting, pausing);

        let until = held.expect_err("paused by then").until;
        assert_eq!(gate.paused_until(), Some(until), "a shorter pause doesn't end a longer one");
        assert_eq!(gate.pass(key(3)).await, Err(Held { until }));
    }

    #[tokio::test]
    async fn a_window_that_is_used_up_holds_its_route_alone() {
        let gate = Gate::new(50);
        gate.note(key(1), 2, Duration::from_millis(200));
        gate.pass(key(1)).await.expect("two are left");
        // An answer to what was asked before both.
        gate.note(key(1), 2, Duration::from_millis(200));
        gate.pass(key(1)).await.expect("one is left");

        let held = gate.pass(key(1)).await.expect_err("none is left");
        gate.pass(key(2)).await.expect("another guild");
        sleep_until(held.until).await;
        gate.pass(key(1)).await.expect("a new window");
    }
}
