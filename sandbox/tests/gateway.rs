//! The gateway: sessions, close codes, RESUME, intents; with serenity, and with a client that
//! misbehaves.

mod support;

use std::time::Duration;

use sandbox::{Discord, intents};
use serde_json::json;
use serenity::all::GatewayIntents;
use support::{
    Bot,
    socket::{Came, Socket},
};

async fn discord() -> Discord {
    Discord::start().await.expect("a port is free")
}

#[tokio::test]
async fn ready_lists_guilds_as_unavailable_and_guild_create_brings_them_without_members() {
    let discord = discord().await;
    let guild = discord.add_guild("Garden", "olga");
    guild.add_member("ada");
    let (mut socket, ready) = Socket::identified(&discord, intents::GUILDS).await;
    assert_eq!(ready["v"], 10);
    assert_eq!(ready["guilds"], json!([{ "id": guild.id.to_string(), "unavailable": true }]));
    assert_eq!(ready["user"]["id"], discord.bot_id().to_string());
    let created = socket.event("GUILD_CREATE").await;
    assert_eq!(created["member_count"], 3);
    assert_eq!(created["members"].as_array().expect("a list").len(), 1);
    assert_eq!(created["members"][0]["user"]["id"], discord.bot_id().to_string());
    assert_eq!(created["channels"][0]["name"], "general");
}

#[tokio::test]
async fn serenity_reads_guilds_and_survives_a_dropped_socket_by_resuming() {
    let discord = discord().await;
    let guild = discord.add_guild("Garden", "olga");
    let ada = guild.add_member("ada");
    let intents = GatewayIntents::GUILDS | GatewayIntents::GUILD_MESSAGES;
    let _bot = Bot::start(&discord, intents).await;
    discord.ready().await.expect("the bot comes up");
    discord.sessions_until(|all| all.iter().any(|one| one.heartbeats > 0 || one.seq >= 2)).await;
    discord.drop_gateway();
    discord.sessions_until(|all| all.iter().all(|one| !one.connected)).await;
    let missed = ada.slash("/hello greet member:olga").expect("it fits");
    let resumed = discord.sessions_until(|all| all.iter().any(|one| one.resumed == 1)).await;
    assert_eq!(resumed.len(), 1);
    assert!(missed.answer().await.content.starts_with("Hello"));
}

#[tokio::test]
async fn serenity_identifies_anew_after_an_invalid_session_and_resumes_after_op_7() {
    let discord = discord().await;
    discord.add_guild("Garden", "olga");
    let bot = Bot::start(&discord, GatewayIntents::GUILDS).await;
    discord.ready().await.expect("the bot comes up");
    discord.request_reconnect();
    discord.sessions_until(|all| all.iter().any(|one| one.connected && one.resumed == 1)).await;
    let old = discord.sessions()[0].id.clone();
    discord.invalidate_session(false);
    let new =
        discord.sessions_until(|all| all.iter().any(|one| one.connected && one.id != old)).await;
    assert!(new.iter().all(|one| one.id != old));
    discord.close_gateway(4014);
    let ended = tokio::time::timeout(Duration::from_secs(5), bot.ended()).await;
    let error = ended.expect("it gives up").expect_err("its intents are denied");
    assert!(format!("{error:?}").contains("DisallowedGatewayIntents"), "{error:?}");
}

#[tokio::test]
async fn intents_that_the_portal_does_not_grant_close_with_4014() {
    let discord = discord().await;
    for intent in [intents::GUILD_MEMBERS, intents::GUILD_PRESENCES, intents::MESSAGE_CONTENT] {
        let mut socket = Socket::open(&discord).await;
        socket.identify(&discord.token(), intent).await;
        assert_eq!(socket.next().await, Came::Closed(4014));
    }
    discord.configure_application(|settings| settings.guild_members_intent = true);
    Socket::identified(&discord, intents::GUILD_MEMBERS).await;
}

#[tokio::test]
async fn each_misbehaviour_has_its_close_code() {
    let discord = discord().await;
    let closed = async |text: &str| {
        let mut socket = Socket::open(&discord).await;
        socket.send_text(text).await;
        socket.next().await
    };
    let identify = |token: &str, intents: u64| {
        json!({ "op": 2, "d": { "token": token, "intents": intents } }).to_string()
    };
    assert_eq!(closed(&identify("nonsense", 1)).await, Came::Closed(4004));
    assert_eq!(closed(&identify(&discord.token(), 1 << 40)).await, Came::Closed(4013));
    assert_eq!(closed("{").await, Came::Closed(4002));
    assert_eq!(closed(r#"{"op":99,"d":null}"#).await, Came::Closed(4001));
    assert_eq!(closed(r#"{"op":3,"d":{}}"#).await, Came::Closed(4003));
    let (mut socket, _) = Socket::identified(&discord, 1).await;
    socket.identify(&discord.token(), 1).await;
    assert_eq!(socket.next().await, Came::Closed(4005));
}

#[tokio::test]
async fn a_resume_replays_what_was_missed_in_order() {
    let discord = discord().await;
    let guild = discord.add_guild("Garden", "olga");
    let (mut socket, ready) = Socket::identified(&discord, intents::GUILDS).await;
    socket.event("GUILD_CREATE").await;
    discord.drop_gateway();
    assert_eq!(socket.next().await, Came::Cut);
    guild.add_channel("one");
    guild.add_channel("two");
    let mut socket = Socket::open(&discord).await;
    socket.resume(&discord, &ready["session_id"], 2).await;
    let [one, two, resumed] =
        [socket.payload().await, socket.payload().await, socket.payload().await];
    assert_eq!((&one["s"], &one["d"]["name"]), (&json!(3), &json!("one")));
    assert_eq!((&two["s"], &two["d"]["name"]), (&json!(4), &json!("two")));
    assert_eq!(resumed["t"], "RESUMED");
}

#[tokio::test]
async fn a_resume_of_nothing_is_op_9_and_one_from_the_future_is_4007() {
    let discord = discord().await;
    let mut socket = Socket::open(&discord).await;
    socket.resume(&discord, &json!("unknown"), 1).await;
    assert_eq!(socket.payload().await, json!({ "op": 9, "d": false, "s": null, "t": null }));
    socket.identify(&discord.token(), 1).await;
    let ready = socket.event("READY").await;
    let mut second = Socket::open(&discord).await;
    second.resume(&discord, &ready["session_id"], 99).await;
    assert_eq!(second.next().await, Came::Closed(4007));
}

#[tokio::test]
async fn heartbeats_are_answered_asked_for_and_missed() {
    let discord = discord().await;
    discord.set_heartbeat_interval(200);
    let (mut socket, _) = Socket::identified(&discord, 1).await;
    discord.request_heartbeat();
    assert_eq!(socket.payload().await["op"], 1);
    socket.send(&json!({ "op": 1, "d": 1 })).await;
    assert_eq!(socket.payload().await["op"], 11);
    assert_eq!(discord.sessions()[0].acknowledged, Some(1));
    assert_eq!(socket.next().await, Came::Closed(4009));
}

#[tokio::test]
async fn only_message_content_shows_what_others_say_but_mentions_and_own_messages_are_open() {
    let discord = discord().await;
    discord.configure_application(|settings| settings.message_content_intent = true);
    let guild = discord.add_guild("Garden", "olga");
    let ada = guild.add_member("ada");
    let (mut closed, _) = Socket::identified(&discord, intents::GUILD_MESSAGES).await;
    let with = intents::GUILD_MESSAGES | intents::MESSAGE_CONTENT;
    let (mut open, _) = Socket::identified(&discord, with).await;
    let (mut deaf, _) = Socket::identified(&discord, intents::GUILDS).await;
    deaf.event("GUILD_CREATE").await;
    ada.says_with("hello", &["cat.png"]);
    let seen = closed.event("MESSAGE_CREATE").await;
    assert_eq!((&seen["content"], &seen["attachments"]), (&json!(""), &json!([])));
    assert_eq!(seen["author"]["username"], "ada");
    assert!(seen["member"]["roles"].is_array());
    let seen = open.event("MESSAGE_CREATE").await;
    assert_eq!(
        (&seen["content"], &seen["attachments"][0]["filename"]),
        (&json!("hello"), &json!("cat.png"))
    );
    let said = ada.says(&format!("<@{}> hi", discord.bot_id()));
    assert!(
        closed.event("MESSAGE_CREATE").await["content"].as_str().expect("text").ends_with("hi")
    );
    ada.edits(said, "changed").expect("it is hers");
    let edit = closed.event("MESSAGE_UPDATE").await;
    assert!(edit["edited_timestamp"].is_string());
    ada.deletes(said).expect("it is hers");
    assert_eq!(closed.event("MESSAGE_DELETE").await["id"], said.to_string());
    assert_eq!(deaf.events().await, Vec::<String>::new());
}

#[tokio::test]
async fn member_events_go_only_to_who_asked_for_them() {
    let discord = discord().await;
    discord.configure_application(|settings| settings.guild_members_intent = true);
    let guild = discord.add_guild("Garden", "olga");
    let (mut with, _) = Socket::identified(&discord, intents::GUILD_MEMBERS).await;
    let (mut without, _) = Socket::identified(&discord, intents::GUILDS).await;
    without.event("GUILD_CREATE").await;
    let ada = guild.add_member("ada");
    let role = guild.add_role("mods", 0, 1);
    guild.give_role(&ada, role);
    ada.set_nick(Some("Ada L."));
    guild.remove_member(&ada);
    assert_eq!(
        with.events().await,
        ["GUILD_MEMBER_ADD", "GUILD_MEMBER_UPDATE", "GUILD_MEMBER_UPDATE", "GUILD_MEMBER_REMOVE"]
    );
    let seen = without.events().await;
    assert!(seen.iter().all(|name| name.starts_with("GUILD_ROLE_")), "{seen:?}");
}

#[tokio::test]
async fn a_shard_gets_its_own_guilds_only() {
    let discord = discord().await;
    let guilds: Vec<_> = (0..6).map(|n| discord.add_guild(&format!("G{n}"), "olga").id).collect();
    let mut served = 0;
    for shard in 0..2 {
        let mut socket = Socket::open(&discord).await;
        let d = json!({ "token": discord.token(), "intents": 1, "shard": [shard, 2] });
        socket.send(&json!({ "op": 2, "d": d })).await;
        let ready = socket.event("READY").await;
        let mine = guilds.iter().filter(|id| (*id >> 22) % 2 == shard).count();
        assert_eq!(ready["guilds"].as_array().expect("a list").len(), mine);
        served += mine;
    }
    assert_eq!(served, guilds.len());
}

#[tokio::test]
async fn the_server_stops_with_its_last_handle() {
    let discord = discord().await;
    let (mut socket, _) = Socket::identified(&discord, 1).await;
    drop(discord);
    assert_eq!(socket.next().await, Came::Cut);
}
