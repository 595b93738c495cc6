//! Interactions from the member's line to what members see, with a real bot on serenity.

mod support;

use std::time::Duration;

use sandbox::{Discord, Guild, Member};
use serenity::all::GatewayIntents;
use support::Bot;

struct Scene {
    discord: Discord,
    guild: Guild,
    ada: Member,
    bob: Member,
    _bot: Bot,
}

async fn scene() -> Scene {
    let discord = Discord::start().await.expect("a port is free");
    let guild = discord.add_guild("Garden", "olga");
    let (ada, bob) = (guild.add_member("ada"), guild.add_member("bob"));
    let bot = Bot::start(&discord, GatewayIntents::GUILDS).await;
    discord.ready_within(Duration::from_secs(10)).await.expect("the bot comes up");
    Scene { discord, guild, ada, bob, _bot: bot }
}

#[tokio::test]
async fn a_greeting_pings_whom_allowed_mentions_name_and_nobody_else() {
    let Scene { discord, ada, bob, guild, .. } = scene().await;
    let answer = ada.slash("/hello greet member:bob times:3").expect("it fits").answer().await;
    assert_eq!(answer.content, format!("Hello <@{}>, @everyone!", bob.id));
    assert!(!answer.ephemeral && !answer.pings);
    assert_eq!(answer.pinged, [bob.id]);
    let seen = bob.sees().pop().expect("it is public");
    assert!(seen.pings);
    assert!(!guild.owner().sees().pop().expect("it is public").pings);
    assert!(discord.refused().is_empty(), "{:?}", discord.refused());
}

#[tokio::test]
async fn an_ephemeral_answer_is_seen_by_the_member_only_and_its_public_follow_up_by_all() {
    let Scene { ada, bob, .. } = scene().await;
    let act = ada.slash("/secret").expect("it fits");
    assert_eq!(act.followup(0).await.content, "to all");
    let texts = |member: &Member| -> Vec<String> {
        member.sees().into_iter().map(|seen| seen.content).collect()
    };
    assert_eq!(texts(&ada), ["only you", "to all"]);
    assert_eq!(texts(&bob), ["to all"]);
    assert!(act.answer().await.ephemeral);
}

#[tokio::test]
async fn a_deferred_answer_thinks_until_it_is_edited() {
    let Scene { ada, .. } = scene().await;
    let act = ada.slash("/slow").expect("it fits");
    let first = act.acknowledged().await;
    assert_eq!((first.kind, first.ephemeral), (5, true));
    assert!(act.messages()[0].thinking);
    let answer = act.answer().await;
    assert_eq!(answer.content, "done");
    assert!(answer.ephemeral && !answer.edited);
}

#[tokio::test]
async fn a_first_answer_after_three_seconds_is_an_unknown_interaction() {
    let Scene { discord, ada, .. } = scene().await;
    let act = ada.slash("/late").expect("it fits");
    assert!(act.try_answer(Duration::from_secs(4)).await.is_none());
    let refused = discord.refused();
    assert_eq!(refused.len(), 1);
    assert_eq!(
        (refused[0].status, &refused[0].error.as_ref().expect("it says why")["code"]),
        (404, &10062.into())
    );
}

#[tokio::test]
async fn a_second_first_answer_is_refused_and_so_is_one_to_a_redelivery() {
    let Scene { discord, ada, .. } = scene().await;
    let act = ada.slash("/twice").expect("it fits");
    assert_eq!(act.answer().await.content, "once");
    discord.replay(&act);
    while act.attempts() < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let codes: Vec<_> = discord
        .refused()
        .iter()
        .map(|one| one.error.clone().expect("it says why")["code"].clone())
        .collect();
    assert_eq!(codes, vec![serde_json::json!(40060); codes.len()]);
    assert_eq!(act.messages().len(), 1);
}

#[tokio::test]
async fn a_button_updates_the_ephemeral_message_it_sits_on() {
    let Scene { ada, bob, .. } = scene().await;
    let panel = ada.slash("/panel").expect("it fits").answer().await;
    assert_eq!(
        panel.buttons().iter().map(|one| &*one.label).collect::<Vec<_>>(),
        ["Next", "Later"]
    );
    assert!(bob.press("Next").is_err());
    let later = ada.press("Later").expect("it is there").answer().await;
    assert_eq!((later.id, &*later.content), (panel.id, "later"));
    let next = ada.press_on(panel.id, "next").expect("it is there").answer().await;
    assert_eq!((next.id, &*next.content, next.ephemeral), (panel.id, "page 2", true));
    let refused = ada.press("Next").expect_err("it is disabled now");
    assert_eq!(refused.to_string(), "The button \"Next\" is disabled.");
}

#[tokio::test]
async fn a_modal_is_filled_in_and_submitted() {
    let Scene { ada, bob, .. } = scene().await;
    let ask = ada.slash("/ask").expect("it fits");
    assert_eq!(ask.acknowledged().await.kind, 9);
    assert!(ada.submit(&ask, &[("Why", "too long")]).is_err());
    assert!(ada.submit(&ask, &[]).is_err());
    let answer = ada.submit(&ask, &[("Why", "tea")]).expect("it fits").answer().await;
    assert_eq!(answer.content, "heard tea");
    assert_eq!(bob.sees().len(), 1);
}

#[tokio::test]
async fn autocomplete_offers_choices_and_menus_reach_the_bot() {
    let Scene { ada, bob, .. } = scene().await;
    let choices = ada.complete("/hello greet member:bob words:he").await.expect("it is offered");
    assert_eq!((choices[0].name.as_str(), &choices[0].value), ("he!", &"he".into()));
    assert_eq!(ada.user_menu("Look", &bob).expect("it is there").answer().await.content, "seen");
    let said = bob.says("hello");
    assert_eq!(
        ada.message_menu("Quote", said).expect("it is there").answer().await.content,
        "seen"
    );
}

#[tokio::test]
async fn the_client_refuses_what_does_not_fit_the_registered_command() {
    let Scene { ada, guild, .. } = scene().await;
    let refused = |line: &str| match ada.slash(line) {
        Ok(_) => panic!("{line} was sent"),
        Err(refused) => refused.to_string(),
    };
    assert_eq!(refused("/nothing"), "There is no command /nothing.");
    assert_eq!(refused("/hello"), "/hello goes on with one of: greet; not \"\".");
    assert_eq!(refused("/hello greet"), "/hello greet misses the option `member`.");
    assert_eq!(refused("/hello greet member:zed"), "There is no member \"zed\" here.");
    assert_eq!(refused("/hello greet member:bob times:11"), "`times` is 11, above 10.");
    assert_eq!(refused("/hello greet member:bob times:x"), "`times` is not a whole number: x.");
    assert_eq!(refused("/admin"), "ada may not see the command /admin.");
    assert!(guild.owner().slash("/admin").is_ok());
}

#[tokio::test]
async fn news_are_told_once_and_only_to_who_may_see_them() {
    let Scene { ada, bob, .. } = scene().await;
    ada.slash("/secret").expect("it fits").followup(0).await;
    assert_eq!((ada.news().len(), bob.news().len()), (2, 1));
    assert_eq!((ada.news().len(), bob.news().len()), (0, 0));
}
