//! What the bot needs from Discord: intents, permissions, and switches of the portal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use poise::serenity_prelude::{ApplicationFlags, ApplicationId, GatewayIntents, Permissions};

/// One part of the bot and what it needs in Discord.
#[derive(Debug, Clone, Copy)]
pub struct Need {
    /// The part, as a host knows it.
    pub part: &'static str,
    /// The bot's permissions in the guild.
    pub permissions: Permissions,
    /// The intents at the gateway.
    pub intents: GatewayIntents,
    /// What doesn't work without them.
    pub without: &'static str,
}

/// Every part of the bot. A part with new needs gets a line here; the invite link, the intents and
/// `check` follow.
pub const NEEDS: &[Need] = &[
    Need {
        part: "Bytes: /bytes, /daily, /leaderboard, /economy",
        permissions: Permissions::empty(),
        intents: GatewayIntents::GUILDS,
        without: "nothing: answers to commands need no permission and no privileged intent",
    },
    Need {
        part: "Role rewards: /economy reward",
        permissions: Permissions::MANAGE_ROLES,
        intents: GatewayIntents::empty(),
        without: "members don't get the roles that they earn",
    },
    Need {
        part: "Members who leave and join",
        permissions: Permissions::empty(),
        intents: GatewayIntents::GUILD_MEMBERS,
        without: "who left keeps a rank until it's noticed, who joins again isn't given back what they earned, and /economy repair can't see who has a role too much",
    },
];

/// The switches of the portal behind privileged intents, and the application's flags that stand
/// for them.
pub const SWITCHES: [(GatewayIntents, ApplicationFlags, &str); 2] = [
    (
        GatewayIntents::GUILD_MEMBERS,
        ApplicationFlags::GATEWAY_GUILD_MEMBERS
            .union(ApplicationFlags::GATEWAY_GUILD_MEMBERS_LIMITED),
        "Server Members Intent",
    ),
    (
        GatewayIntents::MESSAGE_CONTENT,
        ApplicationFlags::GATEWAY_MESSAGE_CONTENT
            .union(ApplicationFlags::GATEWAY_MESSAGE_CONTENT_LIMITED),
        "Message Content Intent",
    ),
];

/// All intents that some part needs.
#[must_use]
pub fn intents() -> GatewayIntents {
    NEEDS.iter().fold(GatewayIntents::empty(), |all, need| all | need.intents)
}

/// Those of them whose switches are on, by the application's flags.
#[must_use]
pub fn allowed_intents(flags: ApplicationFlags) -> GatewayIntents {
    let off = SWITCHES.iter().filter(|(_, flag, _)| !flags.intersects(*flag));
    off.fold(intents(), |all, (intent, ..)| all - *intent)
}

/// The switches that are missing for what `granted` lacks, each with what doesn't work without it.
#[must_use]
pub fn missing_switches(granted: GatewayIntents) -> Vec<(&'static str, &'static Need)> {
    let lacking = |need: &Need| (need.intents - granted) & GatewayIntents::privileged();
    NEEDS
        .iter()
        .flat_map(|need| {
            let switches =
                SWITCHES.iter().filter(move |(intent, ..)| lacking(need).contains(*intent));
            switches.map(move |(_, _, switch)| (*switch, need))
        })
        .collect()
}

/// The intents that the gateway granted, shared by who needs to know. They may become fewer.
#[derive(Debug, Clone)]
pub struct Intents(Arc<AtomicU64>);

impl Intents {
    /// Begins with these.
    #[must_use]
    pub fn new(granted: GatewayIntents) -> Self {
        Self(Arc::new(AtomicU64::new(granted.bits())))
    }

    /// What is granted now.
    #[must_use]
    pub fn granted(&self) -> GatewayIntents {
        GatewayIntents::from_bits_truncate(self.0.load(Ordering::Relaxed))
    }

    /// Whether these are granted now.
    #[must_use]
    pub fn contain(&self, wanted: GatewayIntents) -> bool {
        self.granted().contains(wanted)
    }

    pub(crate) fn set(&self, granted: GatewayIntents) {
        self.0.store(granted.bits(), Ordering::Relaxed);
    }
}

/// All permissions that some part needs.
#[must_use]
pub fn permissions() -> Permissions {
    NEEDS.iter().fold(Permissions::empty(), |all, need| all | need.permissions)
}

/// The link with which a guild's manager invites the bot, with exactly the permissions and scopes
/// that it needs.
#[must_use]
pub fn invite_link(application: ApplicationId) -> String {
    format!(
        "https://discord.com/oauth2/authorize?client_id={application}&scope=bot+applications.commands&permissions={}",
        permissions().bits()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intent_whose_switch_is_off_is_not_asked_for_and_its_part_is_named() {
        let on = ApplicationFlags::GATEWAY_GUILD_MEMBERS;
        let limited = ApplicationFlags::GATEWAY_GUILD_MEMBERS_LIMITED;
        let off = allowed_intents(ApplicationFlags::empty());

        assert_eq!((allowed_intents(on), allowed_intents(limited)), (intents(), intents()));
        assert_eq!(intents() - off, intents() & GatewayIntents::privileged());
        assert!(missing_switches(intents()).is_empty());
        let parts: Vec<_> =
            missing_switches(off).iter().map(|(switch, need)| (*switch, need.part)).collect();
        assert_eq!(parts, [("Server Members Intent", "Members who leave and join")]);
    }
}
