//! What the gateway brings beside commands, a line each.

use poise::serenity_prelude as serenity;
use serenity::{ComponentInteraction, FullEvent, Interaction, Permissions};

use super::answer::Asked;
use super::button::Button;
use super::reply::{Place, Reply};
use super::{App, Refusal};
use crate::act::{Act, Person};
use crate::{Error, Result, bytes};

pub(super) async fn handle(context: poise::FrameworkContext<'_, App, Error>, event: &FullEvent) {
    match event {
        FullEvent::Ready { data_about_bot } => {
            tracing::info!(
                guilds = data_about_bot.guilds.len(),
                "Ready as {}",
                data_about_bot.user.name
            );
        }
        FullEvent::Resume { .. } => tracing::info!("Resumed the gateway session"),
        FullEvent::InteractionCreate { interaction: Interaction::Component(press) } => {
            pressed(context, press).await;
        }
        _ => {}
    }
}

/// A press of one of the bot's buttons.
#[derive(Debug)]
pub(crate) struct Press {
    /// The act that it belongs to; its member is who pressed.
    pub(crate) act: Act,
    /// What was pressed.
    pub(crate) button: Button,
    /// What the member who pressed may do in this channel, now.
    pub(crate) permissions: Permissions,
}

async fn pressed(context: poise::FrameworkContext<'_, App, Error>, press: &ComponentInteraction) {
    let app = context.user_data;
    let button = Button::parse(&press.data.custom_id);
    let what = button.as_ref().map(|button| format!("{}:{}", button.feature, button.action));
    let mut asked = Asked {
        http: &context.serenity_context.http,
        app,
        id: press.id,
        token: &press.token,
        what: what.as_deref().unwrap_or("a button"),
        place: Place::New,
    };
    let Some((button, guild)) = button.zip(press.guild_id) else {
        asked.answer(async { Err(Refusal::Outdated.into()) }).await;
        return;
    };
    if *press.id.created_at() >= button.expires() {
        asked.expire().await;
        return;
    }
    // Somebody else's message stays as it is: they get their own.
    if button.owner == press.user.id {
        asked.place = Place::OnMessage;
    }
    let member = Person::new(press.user.id, &press.user.name);
    let act = Act { guild, member, bot: app.bot.clone(), key: button.key };
    let permissions =
        press.member.as_ref().and_then(|member| member.permissions).unwrap_or_default();
    asked.answer(route(app, Press { act, button, permissions })).await;
}

/// Which feature serves a button.
async fn route(app: &App, press: Press) -> Result<Reply> {
    match press.button.feature.as_str() {
        "bytes" => bytes::press(&app.bank, press).await,
        _ => Err(Refusal::Outdated.into()),
    }
}
