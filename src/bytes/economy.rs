//! `/economy`, for those who manage the server.

use super::rewards::commands::{repair, reward};
use crate::Result;
use crate::discord::Context;

/// Set up this server's economy
#[poise::command(
    slash_command,
    guild_only,
    subcommand_required,
    default_member_permissions = "MANAGE_GUILD",
    subcommands("reward", "repair")
)]
pub(super) async fn economy(_: Context<'_>) -> Result<()> {
    Ok(())
}
