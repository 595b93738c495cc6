//! The sandbox's clock and the snowflakes minted from it.

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

use crate::Id;

/// Discord's epoch: the first millisecond of 2015.
const EPOCH: i64 = 1_420_070_400_000;
/// The bits of a snowflake below its milliseconds.
const LOW_BITS: u32 = 22;

/// A clock that runs on from wherever it was set.
pub(crate) struct Clock {
    base: DateTime<Utc>,
    /// When it was started at `base`; none while it stands still.
    since: Option<Instant>,
    count: u64,
    /// The millisecond of the newest id: the next is of no earlier one.
    floor: u64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { since: Some(Instant::now()), ..Self::standing(Utc::now()) }
    }

    /// A clock that stands still until it is set: what is minted meanwhile is the same each time.
    pub(crate) fn standing(at: DateTime<Utc>) -> Self {
        Self { base: at, since: None, count: 0, floor: 0 }
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        let run = self.since.map(|since| since.elapsed()).unwrap_or_default();
        self.base + TimeDelta::from_std(run).expect("a process is younger than this")
    }

    pub(crate) fn set(&mut self, at: DateTime<Utc>) {
        if at < self.now() {
            self.floor = 0;
        }
        self.base = at;
        self.since = Some(Instant::now());
    }

    /// A snowflake of this moment. Ids are unique over the clock's life, and grow as long as it
    /// is not set back.
    pub(crate) fn mint(&mut self) -> Id {
        let now = millis(self.now());
        self.mint_not_before(now)
    }

    /// Even `now` that lies before the last one: on some machines an `Instant` can, as its page says.
    fn mint_not_before(&mut self, now: u64) -> Id {
        let count = self.counted();
        self.floor = self.floor.max(now);
        (self.floor << LOW_BITS) | count
    }

    /// A snowflake whose time is `at`: of an account older than the sandbox.
    pub(crate) fn mint_at(&mut self, at: DateTime<Utc>) -> Id {
        let count = self.counted();
        (millis(at) << LOW_BITS) | count
    }

    fn counted(&mut self) -> u64 {
        self.count = (self.count + 1) & ((1 << LOW_BITS) - 1);
        if self.count == 0 {
            // The counter begins anew: so must the millisecond, or the next id would be a smaller
            // one.
            self.floor += 1;
        }
        self.count
    }
}

fn millis(at: DateTime<Utc>) -> u64 {
    u64::try_from(at.timestamp_millis() - EPOCH).unwrap_or(0)
}

/// When a snowflake was minted.
///
/// # Panics
/// Never: 42 bits of milliseconds are a date.
#[must_use]
pub fn created_at(id: Id) -> DateTime<Utc> {
    let millis = i64::try_from(id >> LOW_BITS).expect("42 bits fit") + EPOCH;
    DateTime::from_timestamp_millis(millis).expect("42 bits of milliseconds are a date")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_carry_the_time_that_was_set_and_stay_unique() {
        let mut clock = Clock::new();
        let day = "2031-03-04T05:06:07Z".parse::<DateTime<Utc>>().expect("a date");
        clock.set(day);
        let first = clock.mint();
        assert!((created_at(first) - day).num_seconds().abs() < 5);
        let mut last = first;
        for _ in 0..5_000 {
            let next = clock.mint();
            assert!(next > last);
            last = next;
        }
        clock.set(day);
        assert_ne!(clock.mint(), first);
    }

    #[test]
    fn a_clock_that_stands_mints_the_same_ids_each_time_and_runs_once_it_is_set() {
        let day = "2031-03-04T05:06:07Z".parse::<DateTime<Utc>>().expect("a date");
        let ids = || {
            let mut clock = Clock::standing(day);
            let first = clock.mint();
            std::thread::sleep(std::time::Duration::from_millis(3));
            [first, clock.mint(), clock.mint_at(day - TimeDelta::days(1))]
        };
        assert_eq!(ids(), ids());
        let mut clock = Clock::standing(day);
        clock.set(day);
        std::thread::sleep(std::time::Duration::from_millis(3));
        assert!(clock.now() > day);
    }

    #[test]
    fn ids_grow_where_the_counter_wraps_within_a_millisecond() {
        let mut clock = Clock::new();
        clock.count = (1 << LOW_BITS) - 2;
        let ids = [clock.mint(), clock.mint(), clock.mint(), clock.mint()];
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    }

    #[test]
    fn ids_grow_where_the_machines_clock_steps_back() {
        let mut clock = Clock::standing(Utc::now());
        clock.count = (1 << LOW_BITS) - 3;
        let ids = [5_000, 4_999, 4_990, 5_000, 5_001].map(|now| clock.mint_not_before(now));
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    }

    #[test]
    fn ids_grow_where_an_old_accounts_id_wraps_the_counter() {
        let mut clock = Clock::standing(Utc::now());
        clock.count = (1 << LOW_BITS) - 2;
        let before = clock.mint();
        clock.mint_at(clock.now() - TimeDelta::days(30));
        assert!(clock.mint() > before);
    }

    #[test]
    fn ids_grow_where_the_clock_is_set_to_now_just_after_the_counter_wrapped() {
        let mut clock = Clock::standing(Utc::now());
        clock.count = (1 << LOW_BITS) - 2;
        clock.mint();
        let before = clock.mint();
        clock.set(clock.now());
        assert!(clock.mint() > before);
    }
}
