//! Roles that are earned: what was promised is done, whatever happens on the way.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use sandbox::{Discord, Fault, Id, Member, Request, intents, permissions};
use sqlx::{ConnectOptions, PgPool};

use crate::crash::Program;
use crate::stage::{Stage, ask, assert_refused, new_session, session_ids, start, typed, until};

const ROLES: &str = "/guilds/*/members/*/roles/*";
const UNKNOWN_MEMBER: u64 = 10_007;
const UNKNOWN_ROLE: u64 = 10_011;
const MISSING_PERMISSIONS: u64 = 50_013;

/// A stage with a role that the bot can give.
async fn open(pool: PgPool) -> (Stage, Id) {
    let stage = Stage::open(pool).await;
    let role = stage.guild.add_role("Reader", 0, 1);
    (stage, role)
}

/// Makes a role a reward, and waits until it has reached who passed it already.
async fn reward(stage: &Stage, role: Id, received: i64) -> String {
    let said = set_reward(stage, role, received).await;
    until_settled(stage).await;
    said
}

/// Makes a role a reward, as the owner types it.
async fn set_reward(stage: &Stage, role: Id, received: i64) -> String {
    let line = format!("/economy reward add role:{role} received:{received}");
    ask(&stage.olga, &line).await.text()
}

async fn until_has(stage: &Stage, member: &Member, role: Id, has: bool) {
    let what = format!("{} has the role: {has}", member.name);
    until(&what, async || stage.guild.roles_of(member).contains(&role) == has).await;
}

async fn until_settled(stage: &Stage) {
    let none = "select count(*) = 0 from outbox where failure is null and due_at < now() + interval '30 seconds'";
    until("the outbox is worked off", async || stage.is(none).await).await;
}

/// The requests that give or take roles.
fn role_requests(discord: &Discord) -> Vec<Request> {
    let mut requests = discord.requests();
    requests.retain(|request| request.path.contains("/roles/"));
    requests
}

/// The seconds between the `n`th of these requests and the next.
fn pause(requests: &[Request], n: usize) -> f64 {
    (requests[n + 1].at - requests[n].at).as_seconds_f64()
}

#[sqlx::test]
async fn who_receives_enough_gets_the_role_and_the_audit_log_says_why(pool: PgPool) {
    let (stage, role) = open(pool).await;
    let said = reward(&stage, role, 50).await;
    assert!(said.contains("is earned by receiving **50 bytes**."), "{said}");

    ask(&stage.ada, "/bytes send member:bob amount:49").await;
    until_settled(&stage).await;
    assert!(stage.guild.roles_of(&stage.bob).is_empty(), "one byte is missing");
    let asked = Instant::now();
    ask(&stage.ada, "/bytes send member:bob amount:1").await;
    until_has(&stage, &stage.bob, role, true).await;

    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    assert!(stage.guild.roles_of(&stage.ada).is_empty(), "who gives receives nothing");
    let requests = role_requests(&stage.discord);
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].reason.as_deref(), Some("Reached 50"));
    until_settled(&stage).await;
    stage.close().await;
}

#[sqlx::test]
async fn a_daily_earns_a_role_too(pool: PgPool) {
    let (stage, role) = open(pool).await;
    reward(&stage, role, 10).await;

    ask(&stage.ada, "/daily").await;

    until_has(&stage, &stage.ada, role, true).await;
    stage.close().await;
}

#[sqlx::test]
async fn a_reward_that_is_added_lowered_or_raised_reaches_who_passed_it_already(pool: PgPool) {
    let (stage, role) = open(pool).await;
    let cleo = stage.guild.add_member("cleo");
    for (member, bytes) in [(&stage.ada, 100), (&stage.bob, 500), (&cleo, 900)] {
        stage.grant(member, bytes).await;
    }
    let have = async |expected: [bool; 3]| {
        until_settled(&stage).await;
        let has = [&stage.ada, &stage.bob, &cleo]
            .map(|member| stage.guild.roles_of(member).contains(&role));
        assert_eq!(has, expected);
    };

    let said = reward(&stage, role, 500).await;
    assert!(said.contains("2 members have received that much already and get it"), "{said}");
    have([false, true, true]).await;
    let said = reward(&stage, role, 901).await;
    assert!(said.contains("no longer **500 bytes**. 2 members have received less"), "{said}");
    have([false, false, false]).await;
    let said = reward(&stage, role, 100).await;
    assert!(said.contains("3 members"), "{said}");
    have([true, true, true]).await;

    let before = role_requests(&stage.discord).len();
    let removed = ask(&stage.olga, &format!("/economy reward remove role:{role}")).await;
    assert!(removed.text().contains("Who has it keeps it"), "{}", removed.text());
    ask(&stage.ada, "/bytes send member:bob amount:1").await;
    have([true, true, true]).await;
    assert_eq!(role_requests(&stage.discord).len(), before);
    stage.close().await;
}

#[sqlx::test]
async fn who_earns_it_by_a_transfer_that_had_read_the_old_settings_gets_it_all_the_same(
    pool: PgPool,
) {
    let (stage, role) = open(pool.clone()).await;
    ask(&stage.ada, "/bytes balance").await;
    ask(&stage.bob, "/bytes balance").await;
    // The transfer has read the settings and waits for an account.
    let mut holder = pool.begin().await.expect("begins");
    sqlx::query("select 1 from bytes_balances for update")
        .execute(&mut *holder)
        .await
        .expect("locks");
    let gift = typed(&stage.ada, "/bytes send member:bob amount:60");
    until("the transfer waits", async || {
        stage.is("select count(*) > 0 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()").await
    })
    .await;
    // A reader of accounts doesn't wait for it.
    let said = reward(&stage, role, 50).await;
    assert!(said.contains("is earned by receiving **50 bytes**."), "{said}");
    // The sweep that comes at once waits for nobody who hasn't passed it.
    until("the first sweep is over", async || {
        stage.is("select count(*) = 1 from outbox where effect = 'reward_sweep'").await
    })
    .await;
    holder.rollback().await.expect("ends");
    gift.answer().await;
    until_settled(&stage).await;
    assert!(stage.guild.roles_of(&stage.bob).is_empty(), "nobody promised it yet");

    // A minute later.
    stage.sql("update outbox set due_at = now()").await;

    until_has(&stage, &stage.bob, role, true).await;
    stage.close().await;
}

#[sqlx::test]
async fn a_transfer_delivered_twice_promises_once(pool: PgPool) {
    let (stage, role) = open(pool).await;
    reward(&stage, role, 30).await;
    let gift = typed(&stage.ada, "/bytes send member:bob amount:30");
    gift.answer().await;
    for _ in 0..10 {
        stage.discord.replay(&gift);
    }
    until("each delivery is answered", async || gift.attempts() >= 11).await;

    until_has(&stage, &stage.bob, role, true).await;
    until_settled(&stage).await;

    assert_eq!(role_requests(&stage.discord).len(), 1);
    stage.close().await;
}

#[sqlx::test]
async fn discord_at_fault_is_asked_again_with_growing_pauses(pool: PgPool) {
    let (stage, role) = open(pool).await;
    reward(&stage, role, 10).await;
    stage.discord.fail("PUT", ROLES, Fault { times: Some(2), ..Fault::status(500) });

    ask(&stage.ada, "/bytes send member:bob amount:10").await;
    until_has(&stage, &stage.bob, role, true).await;

    let requests = role_requests(&stage.discord);
    let statuses: Vec<u16> = requests.iter().map(|request| request.status).collect();
    assert_eq!(statuses, [500, 500, 204]);
    assert!(pause(&requests, 0) >= 0.74 && pause(&requests, 1) >= 1.49, "{requests:#?}");
    stage.close().await;
}

#[sqlx::test]
async fn a_lost_answer_is_asked_for_again_and_does_no_harm(pool: PgPool) {
    let (stage, role) = open(pool).await;
    reward(&stage, role, 10).await;
    stage.discord.fail("PUT", ROLES, Fault::lost().once());

    ask(&stage.ada, "/bytes send member:bob amount:10").await;
    until_has(&stage, &stage.bob, role, true).await;
    until_settled(&stage).await;

    assert_eq!(role_requests(&stage.discord).len(), 2);
    assert!(stage.guild.roles_of(&stage.bob).contains(&role));
    stage.close().await;
}

#[sqlx::test]
async fn a_limit_is_waited_out_to_the_second(pool: PgPool) {
    let (stage, role) = open(pool).await;
    reward(&stage, role, 10).await;
    let path = format!("/guilds/{}/members/{}/roles/*", stage.guild.id, stage.bob.id);
    stage.discord.fail("PUT", &path, Fault::rate_limited(2.0, false).once());

    ask(&stage.ada, "/bytes send member:bob amount:10").await;
    until_has(&stage, &stage.bob, role, true).await;

    let requests = role_requests(&stage.discord);
    assert_eq!(requests.len(), 2);
    assert!((2.0..4.0).contains(&pause(&requests, 0)), "{requests:#?}");
    stage.close().await;
}

#[sqlx::test]
async fn a_global_limit_stops_everybody_everywhere_but_answers(pool: PgPool) {
    let (stage, role) = open(pool).await;
    let other = stage.discord.add_guild("Elsewhere", "otto");
    let (elsewhere, otto) = (other.add_role("Writer", 0, 1), other.owner());
    ask(&otto, &format!("/economy reward add role:{elsewhere} received:10")).await;
    reward(&stage, role, 10).await;
    let path = format!("/guilds/{}/members/{}/roles/*", stage.guild.id, stage.bob.id);
    stage.discord.fail("PUT", &path, Fault::rate_limited(3.0, true).once());

    ask(&stage.ada, "/bytes send member:bob amount:10").await;
    until("the limit was met", async || !role_requests(&stage.discord).is_empty()).await;
    let limited = Instant::now();
    ask(&otto, "/daily").await;
    let answered = limited.elapsed();
    until("it's given elsewhere", async || other.roles_of(&otto).contains(&elsewhere)).await;
    until_has(&stage, &stage.bob, role, true).await;

    assert!(answered < Duration::from_secs(1), "an answer never waits: {answered:?}");
    let requests = role_requests(&stage.discord);
    assert_eq!(requests.len(), 3);
    for request in &requests[1..] {
        let waited = (request.at - requests[0].at).as_seconds_f64();
        assert!((3.0..5.0).contains(&waited), "{requests:#?}");
    }
    stage.close().await;
}

#[sqlx::test]
async fn what_discord_refuses_is_told_to_a_manager_once_and_not_tried_again(pool: PgPool) {
    let (stage, role) = open(pool).await;
    reward(&stage, role, 10).await;
    // The role is moved above the bot's behind its back.
    stage.guild.move_bot_role(1);
    ask(&stage.ada, "/bytes send member:bob amount:10").await;
    until("the refusal stands", async || {
        stage.is("select count(*) = 1 from outbox where failure is not null").await
    })
    .await;
    stage.guild.move_bot_role(5);

    let told = ask(&stage.olga, "/economy repair").await.text();
    let words = format!(
        "<@&{role}> could not be given to <@{}>: I lack the Manage Roles permission, or the role is not below mine",
        stage.bob.id
    );
    assert!(told.contains(&words), "{told}");
    // The repair found what is missing, too.
    assert!(told.contains("**1 role** will be given and **0** taken."), "{told}");
    until_has(&stage, &stage.bob, role, true).await;
    let again = ask(&stage.olga, "/economy repair").await.text();
    assert!(again.contains("Nothing needs mending.") && !again.contains("could not"), "{again}");
    assert_eq!(role_requests(&stage.discord).len(), 2, "once in vain, once for the repair");
    stage.close_refused(&[MISSING_PERMISSIONS]).await;
}

#[sqlx::test]
async fn a_role_that_was_deleted_is_named_and_can_be_removed_by_its_id(pool: PgPool) {
    let (stage, role) = open(pool).await;
    reward(&stage, role, 10).await;
    stage.guild.delete_role(role);
    ask(&stage.ada, "/bytes send member:bob amount:10").await;
    until("the refusal stands", async || {
        stage.is("select count(*) = 1 from outbox where failure is not null").await
    })
    .await;

    let told = ask(&stage.olga, "/economy repair").await.text();
    assert!(told.contains(&format!("The role {role} no longer exists.")), "{told}");
    assert!(told.contains("the role no longer exists; remove it with"), "{told}");
    let offered = stage.olga.complete("/economy reward remove role:").await.expect("offers");
    assert_eq!(offered[0].name, format!("deleted role {role} (10 received)"));
    assert_eq!(offered[0].value, role.to_string());
    ask(&stage.olga, &format!("/economy reward remove role:{role}")).await;
    let left = stage.olga.complete("/economy reward remove role:").await.expect("offers");
    assert!(left.is_empty(), "{left:?}");
    let refused = ask(&stage.olga, &format!("/economy reward remove role:{role}")).await;
    assert_refused(&refused, "no reward here");
    stage.close_refused(&[UNKNOWN_ROLE]).await;
}

#[sqlx::test]
async fn a_late_give_behind_a_raised_threshold_takes_instead(pool: PgPool) {
    let (stage, role) = open(pool).await;
    reward(&stage, role, 10).await;
    // Done, but nobody heard of it, and the next tries fail for a while.
    stage.discord.fail("PUT", ROLES, Fault::lost().once());
    ask(&stage.ada, "/bytes send member:bob amount:10").await;
    until_has(&stage, &stage.bob, role, true).await;

    reward(&stage, role, 1_000).await;
    until_has(&stage, &stage.bob, role, false).await;
    until_settled(&stage).await;

    assert!(stage.guild.roles_of(&stage.bob).is_empty());
    let requests = role_requests(&stage.discord);
    let gives = requests.iter().filter(|request| request.method == "PUT").count();
    assert_eq!(gives, 1, "the late try gave nothing: {requests:#?}");
    assert_eq!(
        requests.last().and_then(|request| request.reason.clone()).as_deref(),
        Some("Has not reached 1,000")
    );
    stage.close().await;
}

#[sqlx::test]
async fn who_leaves_is_remembered_and_who_comes_back_gets_back_what_they_earned(pool: PgPool) {
    let (stage, role) = open(pool).await;
    reward(&stage, role, 10).await;
    ask(&stage.ada, "/bytes send member:bob amount:10").await;
    until_has(&stage, &stage.bob, role, true).await;
    let left = "select count(*) = 1 from bytes_balances where left_at is not null";

    stage.guild.remove_member(&stage.bob);
    until("it's noticed", async || stage.is(left).await).await;
    // An outage takes nobody out of the guild.
    stage.guild.set_unavailable(true);
    stage.guild.set_unavailable(false);
    ask(&stage.ada, "/bytes balance").await;
    assert!(stage.is(left).await);
    let bob = stage.guild.join(&stage.bob);
    until_has(&stage, &bob, role, true).await;

    assert!(!stage.is(left).await);
    stage.close().await;
}

#[sqlx::test]
async fn who_is_found_to_have_left_is_noted_and_a_manager_told(pool: PgPool) {
    let (stage, role) = open(pool).await;
    go_on_without_the_members_intent(&stage).await;
    reward(&stage, role, 10).await;
    stage.discord.fail("PUT", ROLES, Fault::status(500).once());
    ask(&stage.ada, "/bytes send member:bob amount:10").await;
    until("the first try failed", async || !role_requests(&stage.discord).is_empty()).await;
    stage.guild.remove_member(&stage.bob);
    until("the refusal stands", async || {
        stage.is("select count(*) = 1 from outbox where failure is not null").await
    })
    .await;

    assert!(stage.is("select count(*) = 1 from bytes_balances where left_at is not null").await);
    let told = ask(&stage.olga, "/economy repair").await.text();
    let words =
        format!("<@&{role}> could not be given to <@{}>: they are not here any more", stage.bob.id);
    assert!(told.contains(&words), "{told}");
    stage.close_refused(&[UNKNOWN_MEMBER]).await;
}

#[sqlx::test]
async fn a_repair_mends_what_differs_both_ways(pool: PgPool) {
    let (stage, role) = open(pool).await;
    let lost = stage.guild.add_role("Powerful", 0, 1);
    for received in [(role, 10), (lost, 20)] {
        reward(&stage, received.0, received.1).await;
    }
    ask(&stage.ada, "/bytes send member:bob amount:15").await;
    until_has(&stage, &stage.bob, role, true).await;
    // By hand, and behind the bot's back.
    stage.guild.take_role(&stage.bob, role);
    stage.guild.give_role(&stage.ada, role);
    stage.guild.set_role_permissions(lost, permissions::KICK_MEMBERS);
    until("the gateway told", async || {
        ask(&stage.ada, "/bytes balance").await;
        true
    })
    .await;

    let repair = typed(&stage.olga, "/economy repair");
    let said = repair.answer().await.text();
    assert!(said.contains("**1 role** will be given and **1** taken."), "{said}");
    assert!(said.contains("has Kick Members, and bytes must not buy"), "{said}");
    until_has(&stage, &stage.bob, role, true).await;
    until_has(&stage, &stage.ada, role, false).await;

    stage.discord.replay(&repair);
    until("the second delivery is answered", async || repair.attempts() == 2).await;
    let again = ask(&stage.olga, "/economy repair").await.text();
    assert!(again.contains("Nothing needs mending."), "{again}");
    stage.close().await;
}

#[sqlx::test]
async fn a_repair_that_may_not_list_the_members_looks_after_each_role_that_was_earned(
    pool: PgPool,
) {
    let (stage, role) = open(pool).await;
    stage.discord.configure_application(|settings| settings.guild_members_intent = false);
    reward(&stage, role, 10).await;
    ask(&stage.ada, "/bytes send member:bob amount:15").await;
    until_has(&stage, &stage.bob, role, true).await;
    stage.guild.take_role(&stage.bob, role);
    stage.guild.give_role(&stage.ada, role);

    let said = ask(&stage.olga, "/economy repair").await.text();

    assert!(said.contains("check 1 role that members have earned"), "{said}");
    until_has(&stage, &stage.bob, role, true).await;
    until_settled(&stage).await;
    assert!(stage.guild.roles_of(&stage.ada).contains(&role), "nobody loses one unseen");
    stage.close_refused(&[50_001]).await;
}

#[sqlx::test]
async fn only_a_role_that_bytes_may_buy_and_the_bot_can_give_becomes_a_reward(pool: PgPool) {
    let (stage, role) = open(pool).await;
    let (guild, olga) = (&stage.guild, &stage.olga);
    let powerful = guild.add_role("Mods", permissions::MANAGE_MESSAGES, 1);
    let above = guild.add_role("Council", 0, 9);
    let bots = guild.bot_role().expect("there");
    for (role, words) in [
        (guild.id, "Everybody has @everyone"),
        (bots, "belongs to a bot"),
        (powerful, "has Manage Messages, and bytes must not buy"),
        (above, "Drag my role above"),
    ] {
        let refused = ask(olga, &format!("/economy reward add role:{role} received:5")).await;
        assert_refused(&refused, words);
    }
    for n in 0..25 {
        let role = guild.add_role(&format!("role {n}"), 0, 1);
        set_reward(&stage, role, 1_000 + n).await;
    }
    let refused = ask(olga, &format!("/economy reward add role:{role} received:5")).await;
    assert_refused(&refused, "at most 25 reward roles");
    let offered = olga.complete("/economy reward remove role:role 2").await.expect("offers");
    assert_eq!(offered.len(), 6, "2 and 20 to 24: {offered:?}");
    guild.set_role_permissions(bots, 0);
    let refused = ask(olga, &format!("/economy reward add role:{role} received:5")).await;
    assert_refused(&refused, "I lack the Manage Roles permission");
    stage.close().await;
}

#[sqlx::test]
async fn who_does_not_manage_the_server_changes_and_sees_nothing_also_if_the_command_is_open(
    pool: PgPool,
) {
    let (stage, role) = open(pool).await;
    reward(&stage, role, 50).await;
    let add = format!("/economy reward add role:{role} received:5");
    assert!(stage.ada.slash(&add).is_err(), "Discord hides it");
    stage.guild.open_command("economy");

    for line in [add, format!("/economy reward remove role:{role}"), "/economy repair".to_owned()] {
        assert_refused(&ask(&stage.ada, &line).await, "Manage Server");
    }
    let offered = stage.ada.complete("/economy reward remove role:").await.expect("is asked");
    assert!(offered.is_empty(), "{offered:?}");
    stage.close().await;
}

#[sqlx::test]
async fn a_reward_added_twice_by_one_interaction_is_added_once(pool: PgPool) {
    let (stage, role) = open(pool).await;
    let add = typed(&stage.olga, &format!("/economy reward add role:{role} received:50"));
    let first = add.answer().await;
    reward(&stage, role, 70).await;
    stage.discord.replay(&add);
    until("it's answered again", async || add.attempts() == 2).await;

    assert!(
        stage.is("select bool_and(role_rewards::text like '%: 70}') from bytes_configs").await,
        "the late delivery set nothing back: {first:?}"
    );
    stage.close().await;
}

#[sqlx::test]
async fn the_gate_lets_thirty_a_second_through_and_answers_go_past_it(pool: PgPool) {
    let (stage, role) = open(pool).await;
    stage.discord.set_rate_limits(false);
    let crowd: Vec<Member> =
        (0..100).map(|n| stage.guild.add_member(&format!("reader{n}"))).collect();
    for reader in &crowd {
        stage.grant(reader, 10).await;
    }
    set_reward(&stage, role, 10).await;

    let mut slowest = Duration::ZERO;
    until("all have it", async || {
        let asked = Instant::now();
        ask(&stage.ada, "/bytes balance").await;
        slowest = slowest.max(asked.elapsed());
        crowd.iter().all(|reader| stage.guild.roles_of(reader).contains(&role))
    })
    .await;

    let requests = role_requests(&stage.discord);
    assert_eq!(requests.len(), 100);
    for (first, later) in requests.iter().zip(&requests[30..]) {
        let apart = (later.at - first.at).as_seconds_f64();
        // On the way a request may lose or win a little.
        assert!(apart >= 0.9, "31 within {apart} s");
    }
    let whole = (requests[99].at - requests[0].at).as_seconds_f64();
    assert!((3.0..6.0).contains(&whole), "no slower than it must be: {whole} s");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    stage.close().await;
}

#[sqlx::test]
async fn a_guild_whose_limit_is_used_up_is_not_asked_in_vain(pool: PgPool) {
    let (stage, role) = open(pool).await;
    let crowd: Vec<Member> =
        (0..25).map(|n| stage.guild.add_member(&format!("reader{n}"))).collect();
    for reader in &crowd {
        stage.grant(reader, 10).await;
    }
    let other = stage.discord.add_guild("Elsewhere", "otto");
    let elsewhere = other.add_role("Writer", 0, 1);
    let otto = other.owner();
    ask(&otto, &format!("/economy reward add role:{elsewhere} received:5")).await;
    set_reward(&stage, role, 10).await;
    // Ten in ten seconds are let through here, and others don't wait for it.
    until("the first ten have it", async || role_requests(&stage.discord).len() >= 10).await;
    let asked = Instant::now();
    ask(&otto, "/daily").await;
    until("it's given elsewhere", async || other.roles_of(&otto).contains(&elsewhere)).await;
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());

    let have = || crowd.iter().filter(|one| stage.guild.roles_of(one).contains(&role)).count();
    until("twenty have it", async || have() >= 20).await;
    let limited = role_requests(&stage.discord).iter().filter(|one| one.status == 429).count();
    assert!(limited <= 2, "{limited} requests were limited");
    stage.bot.stop().await;
}

#[sqlx::test]
async fn a_stop_lets_a_role_change_that_runs_end_and_leaves_no_claim(pool: PgPool) {
    let (stage, role) = open(pool.clone()).await;
    reward(&stage, role, 10).await;
    stage.discord.fail("PUT", ROLES, Fault::delay(Duration::from_millis(1_500)));
    ask(&stage.ada, "/bytes send member:bob amount:10").await;
    until("Discord is asked", async || !role_requests(&stage.discord).is_empty()).await;
    let Stage { discord, guild, bob, bot, .. } = stage;

    let asked = Instant::now();
    bot.stop().await;

    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    assert!(guild.roles_of(&bob).contains(&role), "it ended");
    assert_eq!(role_requests(&discord).len(), 1);
    let claimed: i64 = sqlx::query_scalar(
        "select count(*) from outbox where effect = 'reward_role' or claimed_by is not null",
    )
    .fetch_one(&pool)
    .await
    .expect("readable");
    assert_eq!(claimed, 0, "and is done with");
}

/// Switches the intent off in the portal, and lets the gateway tell the bot so.
async fn go_on_without_the_members_intent(stage: &Stage) {
    stage.discord.configure_application(|settings| settings.guild_members_intent = false);
    let before = session_ids(&stage.discord);
    stage.discord.close_gateway(4014);
    new_session(&stage.discord, &before).await;
}

#[sqlx::test]
async fn a_switch_that_is_switched_off_costs_what_needs_it_and_no_more(pool: PgPool) {
    let (stage, role) = open(pool).await;
    let granted = || {
        let sessions = stage.discord.sessions();
        sessions
            .iter()
            .rev()
            .find(|one| one.connected)
            .map(|one| one.intents & intents::GUILD_MEMBERS != 0)
    };
    assert_eq!(granted(), Some(true));

    go_on_without_the_members_intent(&stage).await;

    assert_eq!(granted(), Some(false));
    let said = reward(&stage, role, 10).await;
    assert!(said.contains("10 bytes"), "{said}");
    ask(&stage.ada, "/bytes send member:bob amount:10").await;
    until_has(&stage, &stage.bob, role, true).await;
    let said = ask(&stage.olga, "/economy repair").await.text();
    assert!(said.contains("Server Members Intent switched off"), "{said}");
    stage.close().await;
}

#[sqlx::test]
async fn a_switch_that_was_never_on_is_not_asked_for(pool: PgPool) {
    let url = pool.connect_options().to_url_lossy().to_string();
    let discord = Discord::start().await.expect("a port is free");
    let ada = discord.add_guild("The Reading Room", "olga").add_member("ada");
    let folder = tempfile::TempDir::new().expect("a folder");

    let bot = start(&discord, &folder, &[("DATABASE_URL", &url)]).await.expect("starts");

    let sessions = discord.sessions();
    assert_eq!(sessions.len(), 1, "no try that the gateway would refuse");
    assert_eq!(sessions[0].intents & intents::GUILD_MEMBERS, 0);
    assert!(ask(&ada, "/daily").await.text().contains("10 bytes"));
    bot.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_commit_and_role_it_ends_with_the_roles_that_the_database_says() {
    let program = Program::new().await;
    let guild = program.discord.add_guild("The Reading Room", "olga");
    let roles: Vec<Id> = (0..6).map(|n| guild.add_role(&format!("level {n}"), 0, 1)).collect();
    let (olga, ada, bob) = (guild.owner(), guild.add_member("ada"), guild.add_member("bob"));
    let mut bot = program.run();
    program.discord.ready().await.expect("ready");
    for (role, received) in roles.iter().zip([10, 20, 30, 40, 50, 60]) {
        let line = format!("/economy reward add role:{role} received:{received}");
        typed(&olga, &line).answer().await;
    }

    for round in 0..6 {
        // Discord takes its time over it, and the process is killed meanwhile.
        program.discord.fail("PUT", ROLES, Fault::delay(Duration::from_mins(1)));
        typed(&ada, "/bytes send member:bob amount:10").answer().await;
        if round % 2 == 0 {
            let asked = role_requests(&program.discord).len();
            until("Discord was asked", async || role_requests(&program.discord).len() > asked)
                .await;
        }
        bot.kill().expect("it ran");
        bot.wait().expect("ends");
        program.discord.heal();
        let before = session_ids(&program.discord);
        bot = program.run();
        new_session(&program.discord, &before).await;
        lapse(&program).await;
        let earned: BTreeSet<Id> = roles[..=round].iter().copied().collect();
        until("the roles are those earned", async || guild.roles_of(&bob) == earned).await;
    }

    crate::crash::terminate(&bot);
    tokio::task::spawn_blocking(move || bot.wait()).await.expect("no panic").expect("ends");
    let (code, audit, _) = program.output(&["audit"]).await;
    assert_eq!(code, Some(0), "{audit}");
}

/// Lets half a minute pass, as far as claims are concerned.
async fn lapse(program: &Program) {
    let data = program.folder.path().join("data");
    let running = embedded_postgres::Embedded::attach(&data).await.expect("readable");
    let pool =
        PgPool::connect_with(running.expect("it runs").connect_options()).await.expect("connects");
    sqlx::raw_sql("update outbox set claimed_until = now() where claimed_until is not null")
        .execute(&pool)
        .await
        .expect("valid");
    pool.close().await;
}
