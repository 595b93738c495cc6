//! Lines at the terminal and what they draw, with a real bot on serenity.

mod support;

use std::time::Duration;

use sandbox::{Discord, permissions::VIEW_CHANNEL, terminal::Terminal};
use serenity::all::GatewayIntents;
use support::Bot;

struct Scene {
    terminal: Terminal,
    discord: Discord,
    _bot: Bot,
}

async fn scene() -> Scene {
    let founded = "2026-03-01T12:00:00Z".parse().expect("a time");
    let discord = Discord::start_at(founded).await.expect("a port is free");
    let guild = discord.add_guild("Garden", "olga");
    guild.add_member("ada");
    guild.add_member("bob");
    let log = guild.add_channel("log");
    guild.set_overwrite(log, guild.id, 0, VIEW_CHANNEL);
    guild.set_overwrite(log, guild.member("ada").expect("she is in").id, VIEW_CHANNEL, 0);
    let bot = Bot::start(&discord, GatewayIntents::GUILDS).await;
    discord.ready_within(Duration::from_secs(10)).await.expect("the bot comes up");
    Scene { terminal: Terminal::new(&discord, &guild, 60, false), discord, _bot: bot }
}

/// A transcript: each line after `>`, then what it drew, noted or was refused for.
async fn transcript(terminal: &mut Terminal, lines: &[&str]) -> String {
    let mut transcript = Vec::new();
    for line in lines {
        transcript.push(format!("> {line}"));
        match terminal.carry_out(line).await {
            Ok(effect) => {
                transcript.extend(effect.seen);
                transcript.extend(effect.note.map(|note| format!("({note})")));
            }
            Err(why) => transcript.push(format!("({why})")),
        }
    }
    transcript.join("\n")
}

#[tokio::test]
async fn commands_buttons_menus_and_forms_are_answered_as_each_member_sees_it() {
    let Scene { mut terminal, discord, .. } = scene().await;
    let lines = [
        "ada: /hello greet member:bob times:3",
        "ada: types /hello greet member:bob words:ta",
        "ada: /secret",
        "ada: /slow",
        "ada: /panel",
        "bob: presses Next",
        "ada: presses Next",
        "ada: presses Next",
        "ada: /ask",
        "ada: submits Why=because",
        "ada: submits Why=tea",
        "ada: submits Why=tea",
        "ada: menu Look on bob",
        "ada: menu Quote on olga",
        "olga: says oh",
        "ada: menu Quote on olga",
        "ada: picks a in b",
        "ada: /admin",
    ];
    insta::assert_snapshot!(transcript(&mut terminal, &lines).await, @r#"
    > ada: /hello greet member:bob times:3
    ── everyone sees · #general · pings bob ────────────────────
       Bytekeeper  ↩ ada used /hello greet
       Hello @bob, @everyone!

    > ada: types /hello greet member:bob words:ta
    ── only ada sees · suggestions ─────────────────────────────
       ta!

    > ada: /secret
    ── only ada sees · #general ────────────────────────────────
       Bytekeeper  ↩ ada used /secret
       only you

    ── everyone sees · #general ────────────────────────────────
       Bytekeeper  ↩ ada used /secret
       to all

    > ada: /slow
    ── only ada sees · #general ────────────────────────────────
       Bytekeeper  ↩ ada used /slow
       done

    > ada: /panel
    ── only ada sees · #general ────────────────────────────────
       Bytekeeper  ↩ ada used /panel
       page 1
       [Next] [Later]

    > bob: presses Next
    (bob sees no button "Next".)
    > ada: presses Next
    ── only ada sees · #general · edited ───────────────────────
       Bytekeeper  ↩ ada used /panel
       page 2
       [Next (off)]

    > ada: presses Next
    (The button "Next" is disabled.)
    > ada: /ask
    ── only ada sees · a form ──────────────────────────────────
       ╭ Form
       ╰ Why (why)

    > ada: submits Why=because
    (The field "Why" takes 0 to 5 characters.)
    > ada: submits Why=tea
    ── everyone sees · #general ────────────────────────────────
       Bytekeeper
       heard tea

    > ada: submits Why=tea
    (ada has no form open.)
    > ada: menu Look on bob
    ── only ada sees · #general ────────────────────────────────
       Bytekeeper  ↩ ada used Look
       seen

    > ada: menu Quote on olga
    (ada sees no message of olga.)
    > olga: says oh
    ── everyone sees · #general ────────────────────────────────
       olga
       oh

    > ada: menu Quote on olga
    ── only ada sees · #general ────────────────────────────────
       Bytekeeper  ↩ ada used Quote
       seen

    > ada: picks a in b
    (ada sees no menu "b".)
    > ada: /admin
    (ada may not see the command /admin.)
    "#);
    assert!(discord.refused().is_empty(), "{:?}", discord.refused());
}

#[tokio::test]
async fn what_people_do_among_themselves_is_drawn_for_who_may_see_it() {
    let Scene { mut terminal, .. } = scene().await;
    let lines = [
        "bob: edits hm",
        "bob: says hello @ada and @everyone, see #log!",
        "ada: goes to #log",
        "ada: says only for olga, @bob",
        "ada: deletes",
        "ada: goes to #nowhere",
        "eve: joins",
        "eve: joins",
        "eve: says hi",
        "eve: leaves",
        "eve: says hi",
        "eve: joins",
        "bob: closes DMs",
        "time",
        "time +1d12h",
        "time 2026-03-01T12:00",
    ];
    insta::assert_snapshot!(transcript(&mut terminal, &lines).await, @r#"
    > bob: edits hm
    (bob has said nothing yet.)
    > bob: says hello @ada and @everyone, see #log!
    ── everyone sees · #general · pings everyone ───────────────
       bob
       hello @ada and @everyone, see #log!

    > ada: goes to #log
    (ada acts in #log from now on.)
    > ada: says only for olga, @bob
    ── olga and ada see · #log ─────────────────────────────────
       ada
       only for olga, @bob

    > ada: deletes
    ── olga and ada see ────────────────────────────────────────
       A message of ada is gone.

    > ada: goes to #nowhere
    (There is no channel #nowhere.)
    > eve: joins
    (eve is a member now.)
    > eve: joins
    (eve is a member already.)
    > eve: says hi
    ── everyone sees · #general ────────────────────────────────
       eve
       hi

    > eve: leaves
    > eve: says hi
    (There is no member "eve"; there are olga, ada and bob.)
    > eve: joins
    (eve is a member now.)
    > bob: closes DMs
    (bob takes no direct messages.)
    > time
    (It is Sunday, 1 March 2026 12:00 UTC.)
    > time +1d12h
    (It is Tuesday, 3 March 2026 00:00 UTC.)
    > time 2026-03-01T12:00
    (It is Sunday, 1 March 2026 12:00 UTC.)
    "#);
}

#[tokio::test]
async fn a_command_that_the_bot_leaves_unanswered_is_not_carried_out() {
    let Scene { mut terminal, .. } = scene().await;
    insta::assert_snapshot!(
        transcript(&mut terminal, &["ada: /never"]).await,
        @r#"
    > ada: /never
    (The bot gave no answer within 3 s; ada sees "The application did not respond".)
    "#
    );
}

#[tokio::test]
async fn a_time_that_can_not_be_set_is_refused_with_the_times_that_can() {
    let Scene { mut terminal, .. } = scene().await;
    let lines = [
        "time 2015-01-01T00:00",
        "time 2026-03-01T11:59",
        "time -1d",
        "time -999999999999w",
        "time 2084-01-01",
        "time +9999w",
        "time +999999999999w",
        "time 2083-12-31T23:59",
        "time +1h",
        "time 2026-03-01T12:00:00",
    ];
    insta::assert_snapshot!(transcript(&mut terminal, &lines).await, @"
    > time 2015-01-01T00:00
    (That is before the guild was founded; times from 2026-03-01T12:00:00 (UTC) on work.)
    > time 2026-03-01T11:59
    (That is before the guild was founded; times from 2026-03-01T12:00:00 (UTC) on work.)
    > time -1d
    (That is before the guild was founded; times from 2026-03-01T12:00:00 (UTC) on work.)
    > time -999999999999w
    (That is before the guild was founded; times from 2026-03-01T12:00:00 (UTC) on work.)
    > time 2084-01-01
    (That is beyond the end of Discord's ids; times before 2084-01-01 work.)
    > time +9999w
    (That is beyond the end of Discord's ids; times before 2084-01-01 work.)
    > time +999999999999w
    (That is beyond the end of Discord's ids; times before 2084-01-01 work.)
    > time 2083-12-31T23:59
    (It is Friday, 31 December 2083 23:59 UTC.)
    > time +1h
    (That is beyond the end of Discord's ids; times before 2084-01-01 work.)
    > time 2026-03-01T12:00:00
    (It is Sunday, 1 March 2026 12:00 UTC.)
    ");
}

#[tokio::test]
async fn what_a_terminal_would_obey_is_drawn_as_a_replacement() {
    let Scene { mut terminal, .. } = scene().await;
    let lines = [
        "e\x1bve: joins",
        "e\x1bve: joins",
        "e\x1bve: says \x1b[31mred\x07\ttea",
        "e\x1bve: edits \u{9b}31m",
        "e\x1bve: deletes",
        "bob: says hello @e\x1bve",
        "ada: /hello greet member:bob words:\x1b[2J",
        "ada: types /hello greet member:bob words:\x1b[2J",
        "ada: goes to #\x1bc",
        "\x1b[2J",
        "z\x1bed: says hi",
    ];
    let drawn = transcript(&mut terminal, &lines).await;
    let help = transcript(&mut terminal, &["help"]).await;
    let typed = |line: &str| line.starts_with("> ");
    let drawn: Vec<&str> = drawn.split('\n').filter(|line| !typed(line)).collect();
    let drawn = drawn.join("\n");
    assert!(help.contains("e\u{fffd}ve"), "{help}");
    for shown in [&drawn, &help] {
        assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
    }
    insta::assert_snapshot!(drawn, @r#"
    (e�ve is a member now.)
    (e�ve is a member already.)
    ── everyone sees · #general ────────────────────────────────
       e�ve
       �[31mred� tea

    ── everyone sees · #general · edited ───────────────────────
       e�ve
       �31m

    ── everyone sees ───────────────────────────────────────────
       A message of e�ve is gone.

    ── everyone sees · #general · pings e�ve ───────────────────
       bob
       hello @e�ve

    ── everyone sees · #general · pings bob ────────────────────
       Bytekeeper  ↩ ada used /hello greet
       Hello @bob, @everyone!

    ── only ada sees · suggestions ─────────────────────────────
       �[2J!

    (There is no channel #�c.)
    ("�[2J" is no line of this terminal; `help` lists them.)
    (There is no member "z�ed"; there are olga, ada, bob and e�ve.)
    "#);
}

#[tokio::test]
async fn who_is_there_is_said_in_words_when_few_or_none_are() {
    let Scene { mut terminal, .. } = scene().await;
    let lines = ["ada: leaves", "bob: leaves", "zed: says hi", "olga: leaves", "zed: says hi"];
    insta::assert_snapshot!(transcript(&mut terminal, &lines).await, @r#"
    > ada: leaves
    > bob: leaves
    > zed: says hi
    (There is no member "zed"; there is olga.)
    > olga: leaves
    > zed: says hi
    (There is no member "zed"; nobody is left.)
    "#);
}

#[tokio::test]
async fn help_lists_commands_menus_and_people() {
    let Scene { mut terminal, .. } = scene().await;
    let help = transcript(&mut terminal, &["help"]).await;
    let (commands, rest) = help.split_once("Lines").expect("a heading");
    insta::assert_snapshot!(commands, @r#"
    > help
    The bot's commands
      /hello greet member [times] [words]
                    Greet someone
      /secret       Do it
      /slow         Do it
      /late         Do it
      /never        Do it
      /twice        Do it
      /panel        Do it
      /ask          Do it
      /admin        Do it
      menu "Look"   in the menu of a member
      menu "Quote"  in the menu of a message
    "#);
    let people = rest.split_once("Members").expect("a heading").1;
    insta::assert_snapshot!(people, @"
      olga, ada, bob
    Channels #general, #log
    ");
}
