//! What the framework refuses before a command runs. A command's own errors become words in
//! [`answer`](mod@super::answer).

use poise::FrameworkError;

use super::answer::Asked;
use super::{App, Refusal};
use crate::Error;

pub(super) async fn on_error(error: FrameworkError<'_, App, Error>) {
    let (context, interaction, why): (_, _, Error) = match error {
        FrameworkError::UnknownInteraction { framework, interaction, .. } => {
            (framework, interaction, Refusal::Outdated.into())
        }
        FrameworkError::CommandStructureMismatch { ctx, description, .. } => {
            tracing::warn!(description, "A command came in another form than it was registered");
            (ctx.framework, ctx.interaction, Refusal::Outdated.into())
        }
        other => {
            let Some(poise::Context::Application(ctx)) = other.ctx() else {
                tracing::error!(error = %other, "The framework failed");
                return;
            };
            let why = match other {
                FrameworkError::Command { error, .. } => error,
                FrameworkError::GuildOnly { .. } => Refusal::GuildOnly.into(),
                FrameworkError::MissingUserPermissions { .. } => Refusal::Forbidden.into(),
                FrameworkError::CommandPanic { payload, .. } => {
                    Error::Panic(payload.unwrap_or_default())
                }
                other => {
                    tracing::warn!(error = %other, "A command was not run");
                    Refusal::Outdated.into()
                }
            };
            (ctx.framework, ctx.interaction, why)
        }
    };
    let what = format!("/{}", interaction.data.name);
    Asked::by_command(context, interaction, &what).answer(async { Err(why) }).await;
}
