//! Everything the sandbox sends is what serenity's models take.

mod support;

use futures_util::FutureExt;
use sandbox::{Discord, intents, permissions};
use serde_json::{Value, json};
use serenity::{
    all::{ChannelId, Event, GatewayEvent, GuildId, MessageId, RoleId, UserId},
    http::HttpBuilder,
};
use support::socket::{Came, Socket};

/// One command with each type of option, and both menus.
fn commands() -> Value {
    json!([
        { "name": "ping", "description": "Ping", "options": [
            { "type": 6, "name": "member", "description": "Who" },
            { "type": 7, "name": "channel", "description": "Where" },
            { "type": 8, "name": "role", "description": "Which" },
            { "type": 10, "name": "share", "description": "How much" },
            { "type": 5, "name": "sure", "description": "Sure" },
            { "type": 3, "name": "words", "description": "What", "autocomplete": true },
        ] },
        { "name": "Look", "type": 2 },
        { "name": "Quote", "type": 3 },
    ])
}

#[tokio::test]
async fn serenity_decodes_every_event() {
    let discord = Discord::start().await.expect("a port is free");
    discord.configure_application(|settings| {
        settings.guild_members_intent = true;
        settings.presence_intent = true;
        settings.message_content_intent = true;
    });
    let guild = discord.add_guild("Garden", "olga");
    let general = guild.channel("general").expect("it is there");
    let http = HttpBuilder::new(discord.token())
        .proxy(discord.url())
        .ratelimiter_disabled(true)
        .application_id(discord.application_id().into())
        .build();
    http.create_global_commands(&commands()).await.expect("they are valid");
    let (mut socket, _) = Socket::identified(&discord, intents::ALL).await;

    let ada = guild.add_member("ada");
    let role = guild.add_role("mods", permissions::KICK_MEMBERS, 1);
    guild.give_role(&ada, role);
    let side = guild.add_channel("side");
    guild.set_overwrite(side, role, permissions::VIEW_CHANNEL, 0);
    let said = ada.says_with("hello <@1> @everyone", &["cat.png"]);
    ada.edits(said, "hi").expect("it is hers");
    ada.in_dm().says("psst");
    let line = "/ping member:ada channel:#side role:mods share:0.5 sure:yes words:a b";
    ada.slash(line).expect("it fits");
    ada.user_menu("Look", &guild.owner()).expect("it is there");
    ada.message_menu("Quote", said).expect("it is there");
    let typing = ada.complete("/ping words:he");
    assert!(typing.now_or_never().is_none());
    let components = json!({ "content": "choose", "components": [
        { "type": 1, "components": [{ "type": 2, "style": 1, "label": "Go", "custom_id": "go" }] },
        { "type": 1, "components": [{ "type": 3, "custom_id": "pick", "options": [
            { "label": "One", "value": "1" }, { "label": "Two", "value": "2" },
        ] }] },
        { "type": 1, "components": [{ "type": 5, "custom_id": "who" }] },
    ] });
    let channel = ChannelId::new(general);
    http.send_message(channel, vec![], &components).await.expect("it is valid");
    ada.press("Go").expect("it is there");
    ada.select("pick", &["Two"]).expect("it is there");
    ada.select("who", &["ada"]).expect("it is there");
    assert!(ada.select("pick", &["Three"]).is_err());
    let owner = guild.owner();
    owner.times_out(&ada, Some(discord.now() + chrono::TimeDelta::hours(1)), None).expect("may");
    ada.set_nick(Some("Ada"));
    let second = owner.says("two");
    let third = owner.says("three");
    owner.deletes(said).expect("may");
    let both = json!({ "messages": [second.to_string(), third.to_string()] });
    http.delete_messages(channel, &both, Some("clean")).await.expect("the bot may");
    owner.bans(&ada, Some("spam"), chrono::TimeDelta::hours(1)).expect("may");
    owner.unbans(&ada, None).expect("may");
    guild.delete_role(role);
    guild.delete_channel(side);
    guild.set_unavailable(true);
    guild.set_unavailable(false);
    let chunk = json!({ "guild_id": guild.id.to_string(), "query": "", "limit": 0 });
    socket.send(&json!({ "op": 8, "d": chunk })).await;

    let mut kinds = std::collections::BTreeSet::new();
    while !kinds.contains("GUILD_MEMBERS_CHUNK") {
        let Came::Payload(payload) = socket.next().await else { panic!("the socket ended") };
        let kind = payload["t"].as_str().unwrap_or_default().to_owned();
        let decoded = serde_json::from_value::<GatewayEvent>(payload.clone());
        match decoded {
            Ok(GatewayEvent::Dispatch(_, Event::Unknown(_))) => panic!("unknown: {payload}"),
            Ok(_) => kinds.insert(kind),
            Err(error) => panic!("{error}: {payload}"),
        };
    }
    let expected = [
        "CHANNEL_CREATE",
        "CHANNEL_DELETE",
        "CHANNEL_UPDATE",
        "GUILD_AUDIT_LOG_ENTRY_CREATE",
        "GUILD_BAN_ADD",
        "GUILD_BAN_REMOVE",
        "GUILD_CREATE",
        "GUILD_DELETE",
        "GUILD_MEMBERS_CHUNK",
        "GUILD_MEMBER_ADD",
        "GUILD_MEMBER_REMOVE",
        "GUILD_MEMBER_UPDATE",
        "GUILD_ROLE_CREATE",
        "GUILD_ROLE_DELETE",
        "GUILD_ROLE_UPDATE",
        "INTERACTION_CREATE",
        "MESSAGE_CREATE",
        "MESSAGE_DELETE",
        "MESSAGE_DELETE_BULK",
        "MESSAGE_UPDATE",
    ];
    let missing: Vec<_> = expected.iter().filter(|kind| !kinds.contains(**kind)).collect();
    assert!(missing.is_empty(), "never came: {missing:?}");
    assert!(discord.refused().is_empty(), "{:?}", discord.refused());
}

#[tokio::test]
async fn serenity_decodes_what_rest_gives() {
    let discord = Discord::start().await.expect("a port is free");
    discord.configure_application(|settings| settings.guild_members_intent = true);
    let guild = discord.add_guild("Garden", "olga");
    let (ada, bob) = (guild.add_member("ada"), guild.add_member("bob"));
    guild.move_bot_role(9);
    let http = HttpBuilder::new(discord.token())
        .proxy(discord.url())
        .ratelimiter_disabled(true)
        .application_id(discord.application_id().into())
        .build();
    let (id, channel) =
        (GuildId::new(guild.id), ChannelId::new(guild.channel("general").expect("it is there")));
    let user = UserId::new(ada.id);
    assert!(http.get_current_application_info().await.expect("it decodes").bot_public);
    assert_eq!(http.get_bot_gateway().await.expect("it decodes").shards, 1);
    assert_eq!(http.get_guild(id).await.expect("it decodes").name, "Garden");
    assert_eq!(
        http.get_guild_with_counts(id).await.expect("it decodes").approximate_member_count,
        Some(4)
    );
    assert_eq!(http.get_channels(id).await.expect("it decodes").len(), 1);
    assert_eq!(http.get_channel(channel).await.expect("it decodes").id(), channel);
    assert_eq!(http.get_guild_members(id, Some(10), None).await.expect("it decodes").len(), 4);
    assert_eq!(http.get_member(id, user).await.expect("it decodes").user.name, "ada");
    assert_eq!(http.get_user(user).await.expect("it decodes").name, "ada");
    assert_eq!(http.get_guilds(None, None).await.expect("it decodes").len(), 1);
    let role = json!({ "name": "new", "permissions": "0", "mentionable": true });
    let role = http.create_role(id, &role, Some("für")).await.expect("it decodes");
    assert_eq!((role.name.as_str(), role.mentionable), ("new", true));
    assert_eq!(http.get_guild_roles(id).await.expect("it decodes").len(), 3);
    http.add_member_role(id, user, role.id, Some("Größe")).await.expect("the bot may");
    assert!(guild.roles_of(&ada).contains(&role.id.get()));
    http.remove_member_role(id, user, role.id, None).await.expect("the bot may");
    let colour = json!({ "color": 255, "hoist": true });
    let edited = http.edit_role(id, role.id, &colour, None).await.expect("it decodes");
    assert_eq!((edited.colour.0, edited.hoist), (255, true));
    http.delete_role(id, RoleId::new(role.id.get()), None).await.expect("the bot may");
    http.ban_user(id, UserId::new(bob.id), 1, Some("spam")).await.expect("the bot may");
    assert_eq!(http.get_bans(id, None, None).await.expect("it decodes")[0].user.id, bob.id);
    let banned = json!({ "user_ids": [ada.id.to_string()] });
    let banned = http.bulk_ban_users(id, &banned, None).await.expect("it decodes");
    assert_eq!(banned.banned_users, [user]);
    let log = http.get_audit_logs(id, None, None, None, Some(50)).await.expect("it decodes");
    assert_eq!(log.entries.len(), 7);
    assert_eq!(log.entries[1].reason.as_deref(), Some("spam"));
    let sent =
        http.send_message(channel, vec![], &json!({ "content": "hello" })).await.expect("ok");
    assert_eq!(http.get_message(channel, sent.id).await.expect("it decodes").content, "hello");
    let reply = json!({ "content": "yes", "message_reference": { "message_id": sent.id } });
    let reply = http.send_message(channel, vec![], &reply).await.expect("it decodes");
    assert_eq!(reply.referenced_message.expect("it replies").id, sent.id);
    assert_eq!(http.get_messages(channel, None, Some(5)).await.expect("it decodes").len(), 2);
    let unknown = http.get_message(channel, MessageId::new(1)).await.expect_err("there is none");
    assert!(unknown.to_string().contains("Unknown Message"), "{unknown}");
    assert_eq!(discord.refused().len(), 1, "{:?}", discord.refused());
}
