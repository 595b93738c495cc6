//! Rate limits: a window per route and major parameter, and the global one.

use std::{collections::HashMap, time::Instant};

/// The windows that are running.
pub(crate) struct RateLimits {
    pub(crate) on: bool,
    windows: HashMap<String, Window>,
}

struct Window {
    opened: Instant,
    used: u32,
}

/// What the headers of an answer say.
pub(crate) struct Standing {
    pub(crate) bucket: &'static str,
    pub(crate) limit: u32,
    pub(crate) remaining: u32,
    /// Seconds until the window ends.
    pub(crate) reset_after: f64,
    pub(crate) exceeded: bool,
    pub(crate) global: bool,
}

/// Requests a second for the whole bot.
const GLOBAL: u32 = 50;
/// How many windows there are before those that ended are forgotten.
const KEPT_WINDOWS: usize = 1_000;
/// The seconds of the longest window.
const LONGEST: u64 = 60;

/// Bucket, requests and seconds of a route. Discord publishes none of these: they are of the size
/// its headers show.
fn bucket(method: &str, segments: &[&str]) -> (&'static str, u32, f64) {
    match (method, segments) {
        ("POST", ["channels", _, "messages"]) => ("message-create", 5, 5.0),
        ("PATCH", ["channels", _, "messages", _]) => ("message-edit", 5, 5.0),
        ("DELETE", ["channels", _, "messages", _]) => ("message-delete", 5, 1.0),
        ("POST", ["channels", _, "messages", "bulk-delete"]) => ("bulk-delete", 1, 3.0),
        ("PUT" | "DELETE", ["guilds", _, "members", _, "roles", _]) => ("member-roles", 10, 10.0),
        ("PATCH" | "DELETE", ["guilds", _, "members", _]) => ("member", 10, 10.0),
        ("PUT" | "DELETE", ["guilds", _, "bans", _]) => ("ban", 30, 60.0),
        ("PUT", ["applications", ..]) => ("commands", 10, 60.0),
        ("POST" | "PATCH" | "DELETE", ["webhooks", ..]) => ("webhook", 5, 2.0),
        ("POST", ["users", "@me", "channels"]) => ("dm", 10, 10.0),
        _ => ("other", 50, 1.0),
    }
}

impl RateLimits {
    pub(crate) fn new() -> Self {
        Self { on: true, windows: HashMap::new() }
    }

    /// Counts a request. Interaction callbacks have no limits; webhooks with a token stand outside
    /// the global one.
    pub(crate) fn count(&mut self, method: &str, segments: &[&str]) -> Option<Standing> {
        if !self.on || segments.first() == Some(&"interactions") {
            return None;
        }
        let (name, limit, seconds) = bucket(method, segments);
        // A bucket counts by the route's major parameter: channel, guild or webhook with token.
        let majors = if segments[0] == "webhooks" { 3 } else { 2 };
        let major = segments[1..segments.len().min(majors)].join("/");
        let standing = self.take(format!("{name}/{major}"), name, limit, seconds);
        if segments[0] == "webhooks" || standing.exceeded {
            return Some(standing);
        }
        let global = self.take("global".into(), "global", GLOBAL, 1.0);
        Some(if global.exceeded { Standing { global: true, ..global } } else { standing })
    }

    fn take(&mut self, key: String, bucket: &'static str, limit: u32, seconds: f64) -> Standing {
        if self.windows.len() > KEPT_WINDOWS {
            self.windows.retain(|_, window| window.opened.elapsed().as_secs() < LONGEST);
        }
        let fresh = || Window { opened: Instant::now(), used: 0 };
        let window = self.windows.entry(key).or_insert_with(fresh);
        if window.opened.elapsed().as_secs_f64() >= seconds {
            *window = fresh();
        }
        let exceeded = window.used >= limit;
        window.used = (window.used + 1).min(limit);
        Standing {
            bucket,
            limit,
            remaining: limit - window.used,
            reset_after: (seconds - window.opened.elapsed().as_secs_f64()).max(0.001),
            exceeded,
            global: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixth_message_in_a_channel_waits_and_other_channels_do_not() {
        let mut limits = RateLimits::new();
        let mut post = |channel| {
            limits.count("POST", &["channels", channel, "messages"]).expect("it is limited")
        };
        for left in (0..5).rev() {
            let standing = post("1");
            assert_eq!((standing.exceeded, standing.remaining), (false, left));
        }
        assert!(post("1").exceeded);
        assert!(!post("2").exceeded);
    }

    #[test]
    fn the_global_limit_counts_all_routes_but_interactions() {
        let mut limits = RateLimits::new();
        for guild in 0..GLOBAL {
            let guild = guild.to_string();
            assert!(!limits.count("GET", &["guilds", &guild]).expect("it is limited").exceeded);
        }
        let over = limits.count("GET", &["guilds", "x"]).expect("it is limited");
        assert!(over.exceeded && over.global);
        assert!(limits.count("POST", &["interactions", "1", "t", "callback"]).is_none());
        assert!(!limits.count("POST", &["webhooks", "1", "t"]).expect("it is limited").exceeded);
    }
}
