//! What the gateway brings beside commands, a line each.

use std::sync::Arc;

use poise::serenity_prelude as serenity;
use serenity::{
    ActionRowComponent, Cache, ComponentInteraction, FullEvent, GuildId, GuildMemberAddEvent,
    GuildMemberRemoveEvent, Http, Interaction, Member, ModalInteraction, Permissions, UserId,
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
        FullEvent::GuildMemberRemoval { guild_id, user, .. } => {
            member_left(context.user_data, *guild_id, user.id).await;
        }
        FullEvent::GuildMemberAddition { new_member } => {
            let cache = &context.serenity_context.cache;
            forget(cache, context.user_data.bot.id, new_member);
            member_joined(context.user_data, new_member.guild_id, new_member.user.id).await;
        }
        FullEvent::GuildMembersChunk { chunk } => {
            let cache = &context.serenity_context.cache;
            for member in chunk.members.values() {
                forget(cache, context.user_data.bot.id, member);
            }
            for id in &chunk.not_found {
                member_left(context.user_data, chunk.guild_id, id.get().into()).await;
            }
        }
        FullEvent::GuildMemberUpdate { new: Some(member), .. } => {
            let cache = &context.serenity_context.cache;
            forget(cache, context.user_data.bot.id, member);
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
        shard: &context.serenity_context.shard,
        guild: press.guild_id,
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
        shard: &context.serenity_context.shard,
        guild: form.guild_id,
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
                "bytes" => bytes::submit(&app.bank, submission).await,
                _ => Err(Refusal::Outdated.into()),
            }
        })
        .await;
}

/// Takes a member out of serenity's cache, which keeps whoever joins or changes: 2 kB each that
/// nothing reads. The bot's own member stays, for its roles.
fn forget(cache: &Cache, bot: UserId, member: &Member) {
    if member.user.id == bot {
        return;
    }
    let user = serde_json::json!({ "guild_id": member.guild_id, "user": member.user });
    let joined = serde_json::to_value(member).and_then(serde_json::from_value);
    let left = serde_json::from_value(user);
    // Only events change the cache; and it counts the guild's members by them, so both are needed.
    if let (Ok::<GuildMemberAddEvent, _>(mut joined), Ok::<GuildMemberRemoveEvent, _>(mut left)) =
        (joined, left)
    {
        cache.update(&mut joined);
        cache.update(&mut left);
    }
}

/// A member who left. An outage of the guild brings no such event.
async fn member_left(app: &App, guild: GuildId, member: UserId) {
    let _running = app.running();
    if let Err(error) = bytes::member_left(&app.db, guild, member).await {
        tracing::warn!(guild.id = %guild, user.id = %member, %error, "Could not note that a member left");
    }
}

/// A member who joined, perhaps again.
async fn member_joined(app: &App, guild: GuildId, member: UserId) {
    let _running = app.running();
    match bytes::member_joined(&app.db, guild, member).await {
        Ok(true) => app.outbox.wake(),
        Ok(false) => {}
        Err(error) => {
            tracing::warn!(guild.id = %guild, user.id = %member, %error, "Could not note that a member joined");
        }
    }
}

/// Which feature serves a button.
async fn route(app: &App, press: Press) -> Result<Reply> {
    match press.button.feature.as_str() {
        "bytes" => bytes::press(&app.bank, press).await,
        _ => Err(Refusal::Outdated.into()),
    }
}

#[cfg(test)]
mod tests {
    use poise::serenity_prelude::{GuildCreateEvent, GuildMemberUpdateEvent};
    use serde_json::json;

    use super::*;

    const GUILD: GuildId = GuildId::new(1);
    const BOT: UserId = UserId::new(2);

    fn member(id: UserId) -> serde_json::Value {
        json!({
            "guild_id": GUILD, "roles": [], "joined_at": "2026-01-01T00:00:00Z", "deaf": false, "mute": false,
            "flags": 0, "pending": false,
            "user": { "id": id, "username": "x", "discriminator": "0", "avatar": null },
        })
    }

    #[test]
    fn who_joins_or_changes_does_not_stay_in_the_cache_and_the_bot_does() {
        let cache = Cache::new();
        let mut guild: GuildCreateEvent = serde_json::from_value(json!({
            "id": GUILD, "name": "x", "icon": null, "splash": null, "discovery_splash": null, "owner_id": "5",
            "afk_channel_id": null, "afk_timeout": 60, "verification_level": 0, "default_message_notifications": 0,
            "explicit_content_filter": 0, "roles": [], "emojis": [], "features": [], "mfa_level": 0,
            "application_id": null, "system_channel_id": null, "system_channel_flags": 0, "rules_channel_id": null,
            "vanity_url_code": null, "description": null, "banner": null, "premium_tier": 0, "preferred_locale": "en-US",
            "public_updates_channel_id": null, "nsfw_level": 0, "premium_progress_bar_enabled": false,
            "joined_at": "2026-01-01T00:00:00Z", "large": false, "unavailable": false, "member_count": 2,
            "voice_states": [], "members": [member(BOT)], "channels": [], "threads": [], "presences": [],
            "stage_instances": [], "guild_scheduled_events": [], "stickers": [], "safety_alerts_channel_id": null,
        }))
        .expect("readable");
        cache.update(&mut guild);
        let cached = || {
            let guild = cache.guild(GUILD).expect("cached");
            let members: Vec<UserId> = guild.members.keys().copied().collect();
            (members, guild.member_count)
        };

        let ada = UserId::new(3);
        let joined = member(ada);
        cache.update(
            &mut serde_json::from_value::<GuildMemberAddEvent>(joined.clone()).expect("readable"),
        );
        assert_eq!(cached().0.len(), 2, "the cache keeps who joins");
        forget(&cache, BOT, &serde_json::from_value(joined).expect("readable"));
        assert_eq!(cached(), (vec![BOT], 3));
        for _ in 0..5 {
            cache.update(
                &mut serde_json::from_value::<GuildMemberUpdateEvent>(member(ada))
                    .expect("readable"),
            );
            assert_eq!(cached().0.len(), 2, "and who changes");
            forget(&cache, BOT, &serde_json::from_value(member(ada)).expect("readable"));
        }
        forget(&cache, BOT, &serde_json::from_value(member(BOT)).expect("readable"));
        assert_eq!(cached(), (vec![BOT], 3));
    }
}
