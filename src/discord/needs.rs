//! What the bot needs from Discord: intents, permissions, and switches of the portal.

use poise::serenity_prelude::{ApplicationId, GatewayIntents, Permissions};

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
pub const NEEDS: &[Need] = &[Need {
    part: "Bytes: /bytes, /daily, /leaderboard, /economy",
    permissions: Permissions::empty(),
    intents: GatewayIntents::GUILDS,
    without: "nothing: answers to commands need no permission and no privileged intent",
}];

/// All intents that some part needs.
#[must_use]
pub fn intents() -> GatewayIntents {
    NEEDS.iter().fold(GatewayIntents::empty(), |all, need| all | need.intents)
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
