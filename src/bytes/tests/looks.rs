//! What members see.

use std::collections::BTreeMap;

use poise::serenity_prelude::{GuildId, RoleId, UserId};
use serde_json::Value;

use super::super::rules::{Gift, Verdict, check_gift, check_transfer, parse_amount};
use super::super::settings::{Change, Emoji, Setting, Wishes, parse_emoji};
use super::super::{
    Account, Adjusted, Board, Claim, Currency, Direction, Entry, History, Holding, Kind, Pending,
    Preview, Refusal, Scope, Sent, Settings, Standing, commands, economy,
};
use super::noon;
use crate::act::{Act, Person};
use crate::discord::reply::{Audience, Reply};

#[test]
fn every_refusal_says_what_was_wrong_and_what_would_work() {
    let currency = || Currency { name: "gems".into(), emoji: Some("🪙".into()) };
    let member = UserId::new(7);
    let refusals = [
        Refusal::ToSelf,
        Refusal::ToBot,
        Refusal::NotAMember,
        Refusal::BelowOne,
        Refusal::NotANumber,
        Refusal::TooYoung { until: noon(1) },
        Refusal::AboveLimit { max: 1_000, currency: currency() },
        Refusal::OnCooldown { until: noon(1) },
        Refusal::TooLittle { balance: 40, asked: 60, currency: Currency::default() },
        Refusal::Overflow,
        Refusal::Cancelled,
        Refusal::SentAlready,
        Refusal::Claimed { until: noon(2) },
        Refusal::Shared,
        Refusal::OthersHistory,
        Refusal::NotAManager,
        Refusal::NothingToSet,
        Refusal::OutOfRange { setting: Setting::StartingBalance, value: 10_001 },
        Refusal::BadName,
        Refusal::NotAnEmoji,
        Refusal::ForeignEmoji,
        Refusal::LockedEmoji,
        Refusal::TooManyBonuses,
        Refusal::NoSuchBonus { length: 9 },
        Refusal::TakesTooMuch { member, balance: 40, asked: 60, currency: currency() },
        Refusal::GrantsTooMuch {
            member,
            balance: i64::MAX,
            received: 40,
            asked: 60,
            currency: Currency::default(),
        },
        Refusal::Again("As before.".into()),
    ];

    insta::assert_snapshot!(refusals.map(|refusal| refusal.to_string()).join("\n"));
}

#[test]
fn gifts_are_refused_in_the_order_of_what_helps_most() {
    assert_eq!(check_gift(true, true, false, 0), Err(Refusal::ToSelf));
    assert_eq!(check_gift(false, true, false, 0), Err(Refusal::ToBot));
    assert_eq!(check_gift(false, false, false, 0), Err(Refusal::NotAMember));
    assert_eq!(check_gift(false, false, true, 0), Err(Refusal::BelowOne));
    assert_eq!(check_gift(false, false, true, -1), Err(Refusal::BelowOne));
    assert_eq!(check_gift(false, false, true, 1), Ok(()));
}

#[test]
fn a_gift_is_asked_about_from_the_guilds_amount_on_unless_it_never_is_or_was() {
    let settings = |confirm_from| Settings { confirm_from, ..Settings::default() };
    let rich = Account { balance: 1_000, ..Account::default() };
    let decide = |confirm_from, amount, confirmed| {
        let gift = Gift { amount, confirmed, account_created: noon(1), now: noon(1) };
        check_transfer(&settings(confirm_from), &rich, &Account::default(), gift)
    };

    assert_eq!(decide(60, 59, false), Ok(Verdict::Move));
    assert_eq!(decide(60, 60, false), Ok(Verdict::Confirm));
    assert_eq!(decide(60, 60, true), Ok(Verdict::Move));
    assert_eq!(decide(0, 1_000, false), Ok(Verdict::Move));
    assert_eq!(decide(1, 1, false), Ok(Verdict::Confirm));
}

/// A guild that changed everything.
fn settings() -> Settings {
    Settings {
        starting_balance: 0,
        daily_amount: 1,
        streak_bonuses: BTreeMap::new(),
        max_transfer: 100_000,
        transfer_cooldown_hours: 1,
        role_rewards: BTreeMap::from([(RoleId::new(1), 5_000), (RoleId::new(2), 1)]),
        confirm_from: 0,
        min_account_age_days: 30,
        currency: Currency { name: "*gems*".into(), emoji: Some("🪙".into()) },
    }
}

#[test]
fn the_info_of_a_guild_that_changed_everything_and_of_one_that_changed_nothing() {
    insta::assert_json_snapshot!([
        commands::info_embed(&settings()),
        commands::info_embed(&Settings::default())
    ]);
}

#[test]
fn the_settings_of_a_guild_that_changed_everything_and_of_one_that_changed_nothing() {
    insta::assert_json_snapshot!([
        economy::settings_embed(&settings()),
        economy::settings_embed(&Settings::default())
    ]);
}

#[test]
fn what_a_manager_changed_reads_old_then_new() {
    let mut new = settings();
    new.streak_bonuses = BTreeMap::from([(8, 3), (365, 100)]);
    let lines: Vec<String> = new
        .changes_since(&Settings::default())
        .into_iter()
        .map(|Change { setting, old, new }| format!("{setting}: {old} -> {new}"))
        .collect();

    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn a_field_lists_what_fits_and_counts_the_rest() {
    let mut settings = settings();
    settings.role_rewards = (0..250).map(|n| (RoleId::new(u64::MAX - n), i64::MAX)).collect();

    let shown = commands::rewards(&settings);

    assert!(shown.chars().count() <= 1_024, "{}", shown.chars().count());
    let lines = shown.lines().count();
    assert!(shown.ends_with(&format!("and {} more", 250 - (lines - 1))), "{shown}");
}

#[test]
fn an_amount_is_read_with_any_one_separator_of_thousands() {
    for (text, amount) in [
        ("7", 7),
        ("1234", 1_234),
        (" 1,234 ", 1_234),
        ("1 234 567", 1_234_567),
        ("1\u{202f}234", 1_234),
        ("12'345", 12_345),
        ("007", 7),
        ("9223372036854775807", i64::MAX),
    ] {
        assert_eq!(parse_amount(text), Ok(amount), "{text}");
    }
    for text in [
        "",
        " ",
        "x",
        "1.5",
        "1.234",
        "1,23",
        "1,234 567",
        ",123",
        "1,,234",
        "1234,567",
        "-5",
        "+5",
        "5 gems",
        "٣",
    ] {
        assert_eq!(parse_amount(text), Err(Refusal::NotANumber), "{text:?}");
    }
    assert_eq!(parse_amount("9223372036854775808"), Err(Refusal::Overflow));
}

#[test]
fn each_setting_is_refused_just_outside_of_its_range() {
    type Wish = fn(&mut Wishes, i64);
    let numbers: [(Setting, Wish); 6] = [
        (Setting::StartingBalance, |wishes, n| wishes.starting_balance = Some(n)),
        (Setting::DailyAmount, |wishes, n| wishes.daily_amount = Some(n)),
        (Setting::MaxTransfer, |wishes, n| wishes.max_transfer = Some(n)),
        (Setting::TransferCooldownHours, |wishes, n| {
            wishes.transfer_cooldown_hours = i32::try_from(n).ok();
        }),
        (Setting::ConfirmFrom, |wishes, n| wishes.confirm_from = Some(n)),
        (Setting::MinAccountAgeDays, |wishes, n| {
            wishes.min_account_age_days = i32::try_from(n).ok();
        }),
    ];
    for (setting, wish) in numbers {
        let apply = |value| {
            let mut wishes = Wishes::default();
            wish(&mut wishes, value);
            wishes.apply(&Settings::default())
        };
        let (least, most) = setting.range().into_inner();
        for value in [least, most] {
            assert!(apply(value).is_ok(), "{setting} {value}");
        }
        for value in [least - 1, most + 1] {
            assert_eq!(apply(value), Err(Refusal::OutOfRange { setting, value }));
        }
    }
}

#[test]
fn a_name_has_1_to_32_characters_that_can_be_seen() {
    let name = |name: &str| {
        let wishes = Wishes { currency_name: Some(name.into()), ..Wishes::default() };
        wishes.apply(&Settings::default()).map(|settings| settings.currency.name)
    };

    assert_eq!(name(" g\0ems\n"), Ok("g ems".into()));
    assert_eq!(name(&"ö".repeat(32)), Ok("ö".repeat(32)));
    for bad in ["", "  ", "\u{200b}\u{3164}", &"x".repeat(33)] {
        assert_eq!(name(bad), Err(Refusal::BadName), "{bad:?}");
    }
    assert_eq!(Wishes::default().apply(&Settings::default()), Err(Refusal::NothingToSet));
}

#[test]
fn an_emoji_is_one_of_unicodes_or_a_custom_one() {
    for text in ["🪙", "☺", "☺️", "👩‍🚀", "🇺🇦", "1️⃣", "👍🏽", " 🪙 "]
    {
        assert!(matches!(parse_emoji(text), Ok(Emoji::Unicode(_))), "{text}");
    }
    assert_eq!(parse_emoji("<:coin:12>"), Ok(Emoji::Custom(12)));
    assert_eq!(parse_emoji("<a:spin_1:18446744073709551615>"), Ok(Emoji::Custom(u64::MAX)));
    for text in [
        "",
        "1",
        "a",
        "coin",
        ":coin:",
        "🪙🪙",
        "🪙 gems",
        "<:coin:0>",
        "<:c:12>",
        "<:a b:12>",
        "<@12>",
        "<:coin:12>>",
        "<::12>",
        "<t:12:R>",
    ] {
        assert_eq!(parse_emoji(text), Err(Refusal::NotAnEmoji), "{text:?}");
    }
}

/// A reply in a few lines: who sees it, its text, fields and buttons.
fn drawn(reply: &Reply) -> String {
    let json = reply.json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let embed = &json["embeds"][0];
    let seen = if reply.audience() == Audience::Everyone { "everyone" } else { "only you" };
    let mut lines = vec![format!("-- {seen} {}", text(&json["content"])).trim_end().to_owned()];
    lines.extend(["title", "description"].map(|key| text(&embed[key])));
    for field in embed["fields"].as_array().into_iter().flatten() {
        lines.push(format!("[{}] {}", text(&field["name"]), text(&field["value"])));
    }
    lines.push(text(&embed["footer"]["text"]));
    for button in json["components"][0]["components"].as_array().into_iter().flatten() {
        let off = if button["disabled"] == true { " (off)" } else { "" };
        lines.push(format!("({}{off}) {}", text(&button["label"]), text(&button["custom_id"])));
    }
    lines.retain(|line| !line.is_empty());
    lines.join("\n")
}

#[test]
fn every_reply_of_the_economy() {
    let currency = || Currency { name: "gems".into(), emoji: Some("🪙".into()) };
    let act = Act {
        guild: GuildId::new(1),
        member: Person::new(UserId::new(2), "ada"),
        bot: Person::new(UserId::new(3), "bot"),
        key: super::act(1, noon(1), 0).key,
    };
    let bob = Person::new(UserId::new(4), "bob");
    let gift = Pending { receiver: bob.clone(), amount: 1_234, reason: Some("for *tea*".into()) };
    let account = Account { balance: 40, total_received: 1, streak: 3, ..Account::default() };
    let holding = Holding { account: Some(account), currency: currency(), opens: None };
    let young = Holding {
        account: Some(Account::default()),
        currency: Currency::default(),
        opens: Some(noon(2)),
    };
    let nobody = Holding { account: None, ..young.clone() };
    let claim = Claim {
        reward: 20,
        streak: 8,
        balance: 1_120,
        next: noon(2),
        next_bonus: Some((16, 4)),
        currency: currency(),
        promised: false,
    };
    let standing = |rank, member, value| Standing { rank, member: UserId::new(member), value };
    let board = Board {
        scope: Scope::Balance,
        standings: vec![
            standing(1, 4, 1_000_000),
            standing(2, 5, 300),
            standing(2, 6, 300),
            standing(4, 2, 1),
        ],
        page: 0,
        pages: 2,
        own: standing(4, 2, 1),
        currency: currency(),
    };
    let entry = |kind, gave, amount, reason: Option<&str>| Entry {
        kind,
        gave,
        other: bob.id,
        amount,
        reason: reason.map(str::to_owned),
        manager: (kind == Kind::Adjustment).then_some(UserId::new(9)),
        at: noon(1),
    };
    let history = History {
        entries: vec![
            entry(Kind::Transfer, true, 1_234, Some("for *tea*")),
            entry(Kind::Transfer, false, 5, None),
            entry(Kind::Adjustment, false, 50, Some("won")),
            entry(Kind::Adjustment, true, 20, None),
            entry(Kind::SquadFee, true, 50, None),
            entry(Kind::Daily, false, 10, None),
            entry(Kind::Starting, false, 100, None),
        ],
        page: 1,
        more: true,
        currency: currency(),
    };
    let none = History { entries: Vec::new(), page: 0, more: false, currency: Currency::default() };
    let sent =
        Sent { balance: 766, receiver_balance: 1_234, currency: currency(), promised: false };
    let adjusted = Adjusted { balance: 1, currency: Currency::default(), promised: false };
    let replies = [
        commands::balance_reply(&act, act.member.id, &holding),
        commands::balance_reply(&act, act.member.id, &young),
        commands::balance_reply(&act, bob.id, &nobody),
        commands::confirm_reply(&act, &gift, &Preview { balance: 2_000, currency: currency() }),
        commands::sent_reply(&act, &gift, &sent),
        Reply::public(commands::daily_embed(act.member.id, &claim)),
        Reply::public(commands::daily_embed(act.member.id, &Claim { next_bonus: None, ..claim })),
        commands::board_reply(&act, &board),
        commands::history_reply(&act, act.member.id, &history),
        commands::history_reply(&act, act.member.id, &none),
        Reply::private(economy::adjusted_embed(&bob, Direction::Grant, 1, Some("won"), &adjusted)),
        Reply::private(economy::adjusted_embed(&bob, Direction::Take, 99, None, &adjusted)),
        economy::changes_reply(&settings().changes_since(&Settings::default())[..2]),
        economy::changes_reply(&[]),
    ];

    insta::assert_snapshot!(replies.each_ref().map(drawn).join("\n\n"));
}
