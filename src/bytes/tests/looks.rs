//! What members see.

use std::collections::BTreeMap;

use super::super::rules::check_gift;
use super::super::{Refusal, Settings, commands};
use super::noon;

#[test]
fn every_refusal_says_what_was_wrong_and_what_would_work() {
    let refusals = [
        Refusal::ToSelf,
        Refusal::ToBot,
        Refusal::NotAMember,
        Refusal::BelowOne,
        Refusal::TooYoung { until: noon(1) },
        Refusal::AboveLimit { max: 1_000 },
        Refusal::OnCooldown { until: noon(1) },
        Refusal::TooLittle { balance: 40, asked: 60 },
        Refusal::Overflow,
        Refusal::Claimed { until: noon(2) },
        Refusal::Shared,
        Refusal::OthersHistory,
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
fn the_info_of_a_guild_that_changed_everything() {
    let settings = Settings {
        starting_balance: 0,
        daily_amount: 1,
        streak_bonuses: BTreeMap::new(),
        max_transfer: 100_000,
        transfer_cooldown_hours: 1,
        min_account_age_days: 30,
    };

    insta::assert_json_snapshot!(commands::info_embed(&settings));
}
