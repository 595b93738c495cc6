//! Whether those whom a reply shows are still in the guild: asked of the gateway, by their ids.
//!
//! Who left while nobody listened is noticed so, and the next reply is without them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use poise::serenity_prelude::{ChunkGuildFilter, GuildId, ShardMessenger, UserId};
use tokio::time::Instant;

/// How often the gateway is asked within [`WINDOW`]; Discord closes it above 120 frames of all kinds:
/// <https://discord.com/developers/docs/events/gateway#rate-limiting>.
const MOST: usize = 60;
const WINDOW: Duration = Duration::from_mins(1);

/// When the gateway was asked lately.
#[derive(Debug, Clone, Default)]
pub(super) struct Asks(Arc<Mutex<VecDeque<Instant>>>);

impl Asks {
    /// Asks for members by id, at most 100; those who left come back as not found. Asks nothing
    /// where it was asked too often.
    pub(super) fn ask(&self, shard: &ShardMessenger, guild: GuildId, members: Vec<UserId>) {
        if !members.is_empty() && self.admits(Instant::now()) {
            shard.chunk_guild(guild, None, false, ChunkGuildFilter::UserIds(members), None);
        }
    }

    fn admits(&self, now: Instant) -> bool {
        let mut asks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while asks.front().is_some_and(|first| now - *first >= WINDOW) {
            asks.pop_front();
        }
        let admits = asks.len() < MOST;
        if admits {
            asks.push_back(now);
        }
        admits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_is_asked_sixty_times_a_minute_at_most() {
        let asks = Asks::default();
        let now = Instant::now();

        assert_eq!((0..100).filter(|_| asks.admits(now)).count(), MOST);
        assert!(!asks.admits(now + WINDOW - Duration::from_millis(1)));
        assert!(asks.admits(now + WINDOW));
    }
}
