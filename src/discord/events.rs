//! What the gateway brings beside commands, a line each.

use std::sync::Arc;

use poise::serenity_prelude as serenity;
use serenity::{
    ActionRowComponent, ComponentInteraction, FullEvent, Http, Interaction, ModalInteraction,
    Permissions,
};

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
        FullEvent::InteractionCreate { interaction: Interaction::Modal(form) } => {
            submitted(context, form).await;
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

/// A form that was sent off.
#[derive(Debug)]
pub(crate) struct Submission {
    /// The act that it belongs to.
    pub(crate) act: Act,
    /// What stands in its `custom_id`.
    pub(crate) form: Button,
    /// What was filled in, by the field's `custom_id`.
    fields: Vec<(String, String)>,
    /// To ask Discord what a form's interaction doesn't say.
    pub(crate) http: Arc<Http>,
}

impl Submission {
    /// What was filled into a field; empty if there is no such field.
    pub(crate) fn field(&self, name: &str) -> &str {
        let field = self.fields.iter().find(|(field, _)| field == name);
        field.map(|(_, text)| text.as_str()).unwrap_or_default()
    }
}

async fn submitted(context: poise::FrameworkContext<'_, App, Error>, form: &ModalInteraction) {
    let app = context.user_data;
    let button = Button::parse(&form.data.custom_id);
    let what = button.as_ref().map(|button| format!("{}:{}", button.feature, button.action));
    let asked = Asked {
        http: &context.serenity_context.http,
        app,
        id: form.id,
        token: &form.token,
        what: what.as_deref().unwrap_or("a form"),
        place: Place::New,
    };
    asked
        .answer(async {
            let (button, guild) = button.zip(form.guild_id).ok_or(Refusal::Outdated)?;
            if *form.id.created_at() >= button.expires() {
                return Err(Refusal::FormExpired.into());
            }
            if button.owner != form.user.id {
                return Err(Refusal::NotYours.into());
            }
            let member = Person::new(form.user.id, &form.user.name);
            let act = Act { guild, member, bot: app.bot.clone(), key: button.key };
            let parts = form.data.components.iter().flat_map(|row| &row.components);
            let fields = parts.filter_map(|part| match part {
                ActionRowComponent::InputText(text) => {
                    Some((text.custom_id.clone(), text.value.clone().unwrap_or_default()))
                }
                _ => None,
            });
            let http = Arc::clone(&context.serenity_context.http);
            let submission = Submission { act, form: button, fields: fields.collect(), http };
            match submission.form.feature.as_str() {
                "bytes" => bytes::submit(&app.db, submission).await,
                _ => Err(Refusal::Outdated.into()),
            }
        })
        .await;
}

/// Which feature serves a button.
async fn route(app: &App, press: Press) -> Result<Reply> {
    match press.button.feature.as_str() {
        "bytes" => bytes::press(&app.db, press).await,
        _ => Err(Refusal::Outdated.into()),
    }
}
