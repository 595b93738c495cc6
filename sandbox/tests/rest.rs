//! What the bot does over REST: messages, members, roles, bans, the audit log; who may, and what
//! is refused how.

mod support;

use std::time::Duration;

use sandbox::{Discord, Fault, Guild, Id, Member, intents, permissions};
use serde_json::{Value, json};
use support::{rest::Rest, socket::Socket};

struct Scene {
    discord: Discord,
    guild: Guild,
    general: Id,
    ada: Member,
    rest: Rest,
}

async fn scene() -> Scene {
    let discord = Discord::start().await.expect("a port is free");
    discord.configure_application(|settings| settings.guild_members_intent = true);
    let guild = discord.add_guild("Garden", "olga");
    let general = guild.channel("general").expect("it is made with the guild");
    let (ada, rest) = (guild.add_member("ada"), Rest::of(&discord));
    Scene { discord, guild, general, ada, rest }
}

fn text(id: Id) -> String {
    id.to_string()
}

#[tokio::test]
async fn a_wrong_token_is_unauthorized_everywhere_but_at_the_gateways_address() {
    let Scene { discord, rest, .. } = scene().await;
    let bare = |path: &str| reqwest::get(format!("{}/api/v10{path}", discord.url()));
    let refused = bare("/users/@me").await.expect("it answers");
    assert_eq!(refused.status(), 401);
    let body: Value = refused.json().await.expect("it is JSON");
    assert_eq!(body, json!({ "message": "401: Unauthorized", "code": 0 }));
    assert_eq!(bare("/gateway").await.expect("it answers").status(), 200);
    assert_eq!(rest.call("GET", "/users/@me", Value::Null).await.1["bot"], true);
    assert_eq!(rest.code("GET", "/no/such/route", Value::Null).await, (404, 0));
}

#[tokio::test]
async fn a_message_is_posted_edited_read_and_deleted() {
    let Scene { rest, general, ada, .. } = scene().await;
    let messages = format!("/channels/{general}/messages");
    let (status, posted) = rest.call("POST", &messages, json!({ "content": "hello" })).await;
    assert_eq!((status, &posted["content"]), (200, &json!("hello")));
    let one = format!("{messages}/{}", posted["id"].as_str().expect("an id"));
    let embed = json!({ "embeds": [{ "title": "T", "fields": [{ "name": "n", "value": "v" }] }] });
    let (_, edited) = rest.call("PATCH", &one, embed).await;
    assert_eq!(
        (&edited["content"], &edited["embeds"][0]["type"]),
        (&json!("hello"), &json!("rich"))
    );
    let seen = ada.sees().pop().expect("it is public");
    assert_eq!((seen.text().as_str(), seen.edited), ("hello\nT\nn\nv", true));
    ada.says("second");
    let (_, list) = rest.call("GET", &format!("{messages}?limit=2"), Value::Null).await;
    assert_eq!(list[0]["author"]["username"], "ada");
    // Without the content intent in the portal, REST is silent as well.
    assert_eq!((&list[0]["content"], &list[1]["content"]), (&json!(""), &json!("hello")));
    assert_eq!(rest.call("DELETE", &one, Value::Null).await.0, 204);
    assert_eq!(rest.code("GET", &one, Value::Null).await, (404, 10008));
    assert_eq!(rest.code("PATCH", &one, json!({ "content": "x" })).await, (404, 10008));
}

#[tokio::test]
async fn messages_that_discord_refuses_are_refused_with_its_codes() {
    let Scene { rest, general, discord, .. } = scene().await;
    discord.set_rate_limits(false);
    let messages = format!("/channels/{general}/messages");
    let button =
        |custom_id: &str| json!({ "type": 2, "style": 1, "label": "x", "custom_id": custom_id });
    let row = |buttons: Vec<Value>| json!({ "content": "x", "components": [{ "type": 1, "components": buttons }] });
    let field = |size| json!({ "name": "n", "value": "v".repeat(size) });
    let cases = [
        (json!({}), 50006, ""),
        (json!({ "content": "   " }), 50006, ""),
        (json!({ "contents": "misspelt" }), 50035, "/errors/contents"),
        (json!({ "content": "x".repeat(2001) }), 50035, "/errors/content"),
        (json!({ "embeds": [{}] }), 50035, "/errors/embeds/0/description"),
        (
            json!({ "embeds": [{ "fields": vec![field(1000); 7] }] }),
            50035,
            "/errors/embeds/_errors",
        ),
        (row(vec![button("a"), button("a")]), 50035, "/errors/components/0/components/1/custom_id"),
        (row(vec![button("a"); 6]), 50035, "/errors/components/0/components"),
        (
            json!({ "content": "x", "allowed_mentions": { "parse": ["users"], "users": ["1"] } }),
            50035,
            "/errors/allowed_mentions",
        ),
        (json!({ "content": "x", "nonce": "n".repeat(26) }), 50035, "/errors/nonce"),
    ];
    for (body, code, path) in cases {
        let (status, answer) = rest.call("POST", &messages, body.clone()).await;
        assert_eq!((status, &answer["code"]), (400, &json!(code)), "{body} {answer}");
        assert!(answer.pointer(path).is_some(), "{body} {answer}");
    }
    let missing = format!("/channels/{}/messages", discord.bot_id());
    assert_eq!(rest.code("POST", &missing, json!({ "content": "x" })).await, (404, 10003));
    assert_eq!(discord.refused().len(), 11);
}

#[tokio::test]
async fn mentions_are_filtered_and_only_the_mentionable_pings() {
    let Scene { rest, general, ada, guild, discord } = scene().await;
    let role = guild.add_role("mods", 0, 1);
    guild.give_role(&ada, role);
    let bob = guild.add_member("bob");
    let content = format!("<@{}> <@&{role}> @everyone", bob.id);
    let ping = async |allowed: Value| {
        let body = json!({ "content": content, "allowed_mentions": allowed });
        rest.call("POST", &format!("/channels/{general}/messages"), body).await;
        ada.sees().pop().expect("it is public").pinged
    };
    assert!(ping(json!({ "parse": [] })).await.is_empty());
    assert_eq!(ping(json!({ "parse": ["users"] })).await, [bob.id]);
    assert!(ping(json!({ "users": [text(ada.id)] })).await.is_empty());
    // The role is not mentionable, but the bot may mention everyone: so it may mention any role.
    assert_eq!(ping(json!({ "roles": [text(role)] })).await, [ada.id]);
    let here = guild.members().iter().filter(|one| one.id != discord.bot_id()).count();
    assert_eq!(ping(json!({ "parse": ["everyone"] })).await.len(), here);
}

#[tokio::test]
async fn a_nonce_is_enforced_for_a_few_minutes() {
    let Scene { rest, general, discord, ada, .. } = scene().await;
    let body = json!({ "content": "once", "nonce": "case:1", "enforce_nonce": true });
    let path = format!("/channels/{general}/messages");
    let (_, first) = rest.call("POST", &path, body.clone()).await;
    let (_, second) = rest.call("POST", &path, body.clone()).await;
    assert_eq!(first["id"], second["id"]);
    discord.advance(chrono::TimeDelta::minutes(10));
    let (_, third) = rest.call("POST", &path, body).await;
    assert_ne!(first["id"], third["id"]);
    assert_eq!(ada.sees().len(), 2);
}

#[tokio::test]
async fn closed_dms_refuse_and_open_ones_are_read_by_the_member_only() {
    let Scene { rest, ada, guild, .. } = scene().await;
    let open = json!({ "recipient_id": text(ada.id) });
    let (_, dm) = rest.call("POST", "/users/@me/channels", open).await;
    let path = format!("/channels/{}/messages", dm["id"].as_str().expect("an id"));
    ada.close_dms();
    assert_eq!(rest.code("POST", &path, json!({ "content": "hi" })).await, (403, 50007));
    ada.open_dms();
    assert_eq!(rest.call("POST", &path, json!({ "content": "hi" })).await.0, 200);
    assert!(ada.sees()[0].dm);
    assert!(guild.owner().sees().is_empty());
}

#[tokio::test]
async fn channels_that_the_bot_may_not_see_or_write_refuse_differently() {
    let Scene { rest, general, guild, discord, .. } = scene().await;
    let path = format!("/channels/{general}/messages");
    let hello = json!({ "content": "hello" });
    guild.set_overwrite(general, discord.bot_id(), 0, permissions::SEND_MESSAGES);
    assert_eq!(rest.code("POST", &path, hello.clone()).await, (403, 50013));
    guild.set_overwrite(general, discord.bot_id(), 0, permissions::VIEW_CHANNEL);
    assert_eq!(rest.code("POST", &path, hello).await, (403, 50001));
}

#[tokio::test]
async fn roles_are_given_below_the_bots_own_and_the_audit_log_has_the_reason() {
    let Scene { rest, guild, ada, .. } = scene().await;
    let low = guild.add_role("low", 0, 1);
    let high = guild.add_role("high", 0, 9);
    let path = |role| format!("/guilds/{}/members/{}/roles/{role}", guild.id, ada.id);
    let reason = "für Größe & 100%";
    let encoded = "f%C3%BCr%20Gr%C3%B6%C3%9Fe%20%26%20100%25";
    let put = rest.request("PUT", &path(low)).header("x-audit-log-reason", encoded);
    assert_eq!(put.send().await.expect("it answers").status(), 204);
    assert!(guild.roles_of(&ada).contains(&low));
    assert_eq!(rest.code("PUT", &path(high), Value::Null).await, (403, 50013));
    let bots = guild.bot_role().expect("it has one");
    assert_eq!(rest.code("PUT", &path(bots), Value::Null).await, (403, 50013));
    assert_eq!(rest.code("PUT", &path(1), Value::Null).await, (404, 10011));
    guild.move_bot_role(9);
    assert_eq!(rest.call("PUT", &path(high), Value::Null).await.0, 204);
    guild.remove_member(&ada);
    assert_eq!(rest.code("PUT", &path(low), Value::Null).await, (404, 10007));
    let log = format!("/guilds/{}/audit-logs?action_type=25", guild.id);
    let (_, log) = rest.call("GET", &log, Value::Null).await;
    let entries = log["audit_log_entries"].as_array().expect("a list");
    assert_eq!(entries.len(), 2);
    assert_eq!(
        (&entries[1]["reason"], &entries[1]["target_id"]),
        (&json!(reason), &json!(text(ada.id)))
    );
    assert_eq!(entries[1]["changes"][0]["key"], "$add");
}

#[tokio::test]
async fn reasons_that_are_too_long_or_not_encoded_are_refused() {
    let Scene { rest, guild, ada, discord, .. } = scene().await;
    let status = async |reason: &[u8]| {
        let path = format!("/guilds/{}/bans/{}", guild.id, ada.id);
        let put = rest.request("PUT", &path).header("x-audit-log-reason", reason);
        put.json(&json!({})).send().await.expect("it answers").status().as_u16()
    };
    assert_eq!(status("%C3%A4".repeat(513).as_bytes()).await, 400);
    assert_eq!(status("ä".as_bytes()).await, 400);
    assert!(guild.banned().is_empty());
    assert_eq!(discord.refused().len(), 2);
    guild.move_bot_role(9);
    assert_eq!(status("%C3%A4".repeat(512).as_bytes()).await, 204);
    assert!(guild.banned().contains(&ada.id));
}

#[tokio::test]
async fn kicks_bans_and_timeouts_follow_the_hierarchy() {
    let Scene { rest, guild, ada, discord, .. } = scene().await;
    let member = |id| format!("/guilds/{}/members/{id}", guild.id);
    let (owner, boss) = (guild.owner(), guild.add_member("boss"));
    let high = guild.add_role("high", 0, 9);
    guild.give_role(&boss, high);
    for target in [owner.id, boss.id, discord.bot_id()] {
        assert_eq!(rest.code("DELETE", &member(target), Value::Null).await, (403, 50013));
        let until = json!({ "communication_disabled_until": discord.now().to_rfc3339() });
        assert_eq!(rest.code("PATCH", &member(target), until).await, (403, 50013));
    }
    let until = |days| {
        let until = discord.now() + chrono::TimeDelta::days(days);
        json!({ "communication_disabled_until": until.to_rfc3339() })
    };
    assert_eq!(rest.code("PATCH", &member(ada.id), until(29)).await, (400, 50035));
    assert_eq!(rest.call("PATCH", &member(ada.id), until(1)).await.0, 200);
    assert!(ada.timed_out_until().is_some());
    assert!(ada.try_say("hello", &[]).is_err());
    discord.advance(chrono::TimeDelta::days(2));
    assert!(ada.timed_out_until().is_none() && ada.try_say("hello", &[]).is_ok());
    assert_eq!(rest.call("DELETE", &member(ada.id), Value::Null).await.0, 204);
    assert_eq!(rest.code("DELETE", &member(ada.id), Value::Null).await, (404, 10007));
    let kick = guild.audit_log().pop().expect("it is logged");
    assert_eq!(
        (&kick["action_type"], &kick["user_id"]),
        (&json!(20), &json!(text(discord.bot_id())))
    );
}

#[tokio::test]
async fn a_ban_deletes_recent_messages_and_an_unban_needs_one() {
    let Scene { rest, guild, ada, discord, general } = scene().await;
    ada.says("old");
    discord.advance(chrono::TimeDelta::hours(2));
    ada.says("new");
    let wanted = intents::GUILD_MODERATION | intents::GUILD_MEMBERS | intents::GUILD_MESSAGES;
    let (mut socket, _) = Socket::identified(&discord, wanted).await;
    let path = format!("/guilds/{}/bans/{}", guild.id, ada.id);
    assert_eq!(rest.call("PUT", &path, json!({ "delete_message_seconds": 3600 })).await.0, 204);
    assert_eq!(
        socket.events().await,
        [
            "GUILD_MEMBER_REMOVE",
            "GUILD_BAN_ADD",
            "GUILD_AUDIT_LOG_ENTRY_CREATE",
            "MESSAGE_DELETE_BULK"
        ]
    );
    let seen = guild.owner().in_channel(general).sees();
    assert_eq!(seen.iter().map(|one| &*one.content).collect::<Vec<_>>(), ["old"]);
    assert_eq!(rest.call("GET", &path, Value::Null).await.1["user"]["id"], text(ada.id));
    assert_eq!(rest.call("DELETE", &path, Value::Null).await.0, 204);
    assert_eq!(rest.code("DELETE", &path, Value::Null).await, (404, 10026));
    assert_eq!(socket.events().await, ["GUILD_BAN_REMOVE", "GUILD_AUDIT_LOG_ENTRY_CREATE"]);
}

#[tokio::test]
async fn a_bulk_ban_tells_who_failed_and_errs_when_all_do() {
    let Scene { rest, guild, ada, .. } = scene().await;
    let path = format!("/guilds/{}/bulk-ban", guild.id);
    let owner = text(guild.owner().id);
    let (_, done) = rest.call("POST", &path, json!({ "user_ids": [text(ada.id), owner] })).await;
    assert_eq!(done, json!({ "banned_users": [text(ada.id)], "failed_users": [owner] }));
    assert_eq!(rest.code("POST", &path, json!({ "user_ids": [owner] })).await, (400, 500_000));
}

#[tokio::test]
async fn moderators_act_in_discords_menus_and_the_log_names_them() {
    let Scene { guild, ada, .. } = scene().await;
    let mods = guild.add_role("mods", permissions::KICK_MEMBERS | permissions::BAN_MEMBERS, 5);
    let (moderator, bob) = (guild.add_member("mo"), guild.add_member("bob"));
    assert!(ada.kicks(&bob, None).is_err());
    guild.give_role(&moderator, mods);
    moderator.bans(&bob, Some("spam"), chrono::TimeDelta::zero()).expect("mo may");
    moderator.unbans(&bob, None).expect("mo may");
    assert_eq!(
        moderator.kicks(&guild.owner(), None).expect_err("never").to_string(),
        "Missing Permissions"
    );
    let log = guild.audit_log();
    assert_eq!(
        (&log[0]["user_id"], &log[0]["reason"]),
        (&json!(text(moderator.id)), &json!("spam"))
    );
}

#[tokio::test]
async fn bulk_delete_takes_2_to_100_messages_of_the_last_14_days() {
    let Scene { rest, general, ada, discord, .. } = scene().await;
    discord.set_rate_limits(false);
    let path = format!("/channels/{general}/messages/bulk-delete");
    let old = ada.says("old");
    discord.advance(chrono::TimeDelta::days(15));
    let (one, two) = (ada.says("one"), ada.says("two"));
    let body =
        |ids: &[Id]| json!({ "messages": ids.iter().copied().map(text).collect::<Vec<_>>() });
    assert_eq!(rest.code("POST", &path, body(&[one])).await.0, 400);
    assert_eq!(rest.code("POST", &path, body(&[old, one])).await, (400, 50034));
    assert_eq!(rest.call("POST", &path, body(&[one, two])).await.0, 204);
    assert_eq!(ada.sees().len(), 1);
}

#[tokio::test]
async fn a_full_bucket_is_429_with_its_headers_and_opens_again() {
    let Scene { rest, general, discord, .. } = scene().await;
    let path = format!("/channels/{general}/messages");
    let hello = json!({ "content": "hello" });
    for left in (0..5).rev() {
        let response = rest.send("POST", &path, &hello).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["x-ratelimit-limit"], "5");
        assert_eq!(response.headers()["x-ratelimit-remaining"], left.to_string());
    }
    let response = rest.send("POST", &path, &hello).await;
    assert_eq!(response.status(), 429);
    assert!(response.headers().contains_key("retry-after"));
    assert!(response.headers().contains_key("x-ratelimit-reset-after"));
    let body: Value = response.json().await.expect("it is JSON");
    assert!(body["retry_after"].as_f64().is_some_and(|wait| wait > 0.0 && wait <= 5.0), "{body}");
    discord.set_rate_limits(false);
    assert_eq!(rest.send("POST", &path, &hello).await.status(), 200);
}

#[tokio::test]
async fn planned_faults_meet_their_route_and_may_come_after_the_work() {
    let Scene { rest, general, discord, ada, .. } = scene().await;
    let path = format!("/channels/{general}/messages");
    let hello = json!({ "content": "hello" });
    discord.fail("POST", "/channels/*/messages", Fault::status(503).once());
    assert_eq!(rest.call("POST", &path, hello.clone()).await.0, 503);
    assert!(ada.sees().is_empty());
    discord.fail("POST", "/channels/**", Fault::status(502).after().once());
    assert_eq!(rest.call("POST", &path, hello.clone()).await.0, 502);
    assert_eq!(ada.sees().len(), 1);
    discord.fail("POST", "/channels/**", Fault::lost().once());
    assert!(rest.request("POST", &path).json(&hello).send().await.is_err());
    assert_eq!(ada.sees().len(), 2);
    discord.fail("*", "**", Fault::rate_limited(1.5, true));
    let limited = rest.send("POST", &path, &hello).await;
    assert_eq!(
        (limited.status().as_u16(), &limited.headers()["retry-after"]),
        (429, &"2".parse().expect("a value"))
    );
    discord.heal();
    discord.fail("POST", "**", Fault::delay(Duration::from_millis(200)));
    let begun = std::time::Instant::now();
    assert_eq!(rest.call("POST", &path, hello).await.0, 200);
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert!(discord.refused().is_empty());
}

#[tokio::test]
async fn an_interactions_token_dies_after_15_minutes_by_the_clock() {
    let Scene { rest, discord, ada, .. } = scene().await;
    let app = discord.application_id();
    let command = json!([{ "name": "ping", "description": "Ping" }]);
    rest.call("PUT", &format!("/applications/{app}/commands"), command).await;
    let act = ada.slash("/ping").expect("it is registered");
    let webhook = format!("/webhooks/{app}/{}", act.token);
    let more = json!({ "content": "more" });
    assert_eq!(rest.code("POST", &webhook, more.clone()).await, (404, 10015));
    let callback = format!("/interactions/{}/{}/callback?with_response=true", act.id, act.token);
    let (status, answer) =
        rest.call("POST", &callback, json!({ "type": 4, "data": { "content": "pong" } })).await;
    assert_eq!((status, &answer["resource"]["message"]["content"]), (200, &json!("pong")));
    assert_eq!(rest.call("POST", &webhook, more.clone()).await.0, 200);
    let original = format!("{webhook}/messages/@original");
    assert_eq!(rest.call("GET", &original, Value::Null).await.1["content"], "pong");
    assert_eq!(rest.call("DELETE", &original, Value::Null).await.0, 204);
    assert_eq!(rest.code("GET", &original, Value::Null).await, (404, 10008));
    discord.advance(chrono::TimeDelta::minutes(16));
    assert_eq!(rest.code("POST", &webhook, more).await, (401, 50027));
}

#[tokio::test]
async fn files_come_as_multipart_with_payload_json() {
    let Scene { rest, general, ada, .. } = scene().await;
    let path = format!("/channels/{general}/messages");
    let send = async || {
        let part = reqwest::multipart::Part::bytes(vec![0; 10]).file_name("cat.png");
        let form = reqwest::multipart::Form::new()
            .text("payload_json", json!({ "content": "look" }).to_string())
            .part("files[0]", part);
        let request = rest.request("POST", &path).multipart(form);
        request.send().await.expect("it answers").status().as_u16()
    };
    let everyone = ada.guild.id;
    ada.guild.set_overwrite(general, everyone, 0, permissions::ATTACH_FILES);
    assert_eq!(send().await, 403);
    ada.guild.set_overwrite(general, everyone, permissions::ATTACH_FILES, 0);
    assert_eq!(send().await, 200);
    let seen = ada.sees().pop().expect("it is public");
    assert_eq!(
        (&seen.attachments[0]["filename"], &seen.attachments[0]["size"]),
        (&json!("cat.png"), &json!(10))
    );
}

#[tokio::test]
async fn a_guild_that_the_bot_left_is_out_of_reach_until_it_is_added_again() {
    let Scene { rest, guild, discord, general, .. } = scene().await;
    let (mut socket, _) = Socket::identified(&discord, intents::GUILDS).await;
    socket.event("GUILD_CREATE").await;
    guild.remove();
    assert_eq!(socket.event("GUILD_DELETE").await, json!({ "id": text(guild.id) }));
    let path = format!("/guilds/{}", guild.id);
    assert_eq!(rest.code("GET", &path, Value::Null).await, (403, 50001));
    let channel = format!("/channels/{general}");
    assert_eq!(rest.code("GET", &channel, Value::Null).await, (403, 50001));
    assert_eq!(rest.code("GET", "/guilds/1", Value::Null).await, (404, 10004));
    guild.add_bot();
    assert_eq!(socket.event("GUILD_CREATE").await["name"], "Garden");
    assert_eq!(rest.call("GET", &path, Value::Null).await.0, 200);
}

#[tokio::test]
async fn an_admin_can_open_a_command_and_a_dm_has_only_what_works_there() {
    let Scene { rest, guild, discord, ada, .. } = scene().await;
    let commands = json!([
        { "name": "rule", "description": "Rule", "default_member_permissions": "32" },
        { "name": "here", "description": "Here", "contexts": [0] },
    ]);
    let path = format!("/applications/{}/commands", discord.application_id());
    rest.call("PUT", &path, commands).await;
    assert!(ada.slash("/rule").is_err());
    guild.open_command("rule");
    assert!(ada.slash("/rule").is_ok());
    let dm = ada.in_dm();
    assert!(dm.slash("/here").is_err());
    let (mut socket, _) = Socket::identified(&discord, 0).await;
    assert!(dm.slash("/rule").is_ok());
    let came = socket.event("INTERACTION_CREATE").await;
    assert_eq!((&came["user"]["username"], &came["member"]), (&json!("ada"), &Value::Null));
}
