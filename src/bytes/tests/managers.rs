//! What managers do, on a real Postgres. The locks were taken out once each, and seen to matter.

use std::collections::BTreeSet;

use sqlx::PgPool;

use super::super::settings::{Change, Setting, Wishes};
use super::super::{
    Adjusted, Currency, Direction, Kind, Refusal, add_bonus, adjust, change_settings, history,
    managers, remove_bonus,
};
use super::races;
use super::{
    GUILD, account, act, assert_clean, balance, configure, database, ledger_rows, noon,
    own_account, person, refusal, send, sent,
};
use crate::db::Database;
use crate::{Error, Result};

/// The manager.
const OLGA: u64 = 9;

async fn grant(db: &Database, n: u64, member: u64, amount: i64) -> Result<Adjusted> {
    let act = act(OLGA, noon(1), n);
    adjust(db, &act, &person(member), Direction::Grant, amount, Some("won")).await
}

async fn take(db: &Database, n: u64, member: u64, amount: i64) -> Result<Adjusted> {
    adjust(db, &act(OLGA, noon(1), n), &person(member), Direction::Take, amount, None).await
}

#[sqlx::test]
async fn a_grant_counts_as_received_and_leaves_the_starting_balance_to_come(pool: PgPool) {
    let db = database(&pool);

    let granted = grant(&db, 0, 1, 50).await.expect("allowed");

    let currency = Currency::default();
    assert_eq!(granted, Adjusted { balance: 50, currency, promised: false });
    let before = account(&pool, 1).await.expect("there");
    assert_eq!((before.total_received, before.total_sent, before.opened), (50, 0, None));
    assert_eq!(own_account(&db, &act(1, noon(1), 1)).await.expect("opened").balance, 150);
    assert_eq!(account(&pool, OLGA).await, None, "a manager's act is none of their account's");
    assert_clean(&pool).await;
}

#[sqlx::test]
async fn a_take_counts_in_neither_total(pool: PgPool) {
    let db = database(&pool);
    own_account(&db, &act(1, noon(1), 0)).await.expect("opened");

    assert_eq!(take(&db, 1, 1, 100).await.expect("allowed").balance, 0);

    let after = account(&pool, 1).await.expect("there");
    assert_eq!((after.total_received, after.total_sent, after.last_transfer), (0, 0, None));
    assert_clean(&pool).await;
}

#[sqlx::test]
async fn more_than_there_is_can_not_be_taken_and_the_same_act_stays_refused(pool: PgPool) {
    let db = database(&pool);
    let (member, currency) = (person(1).id, Currency::default());
    let refused =
        |balance| Refusal::TakesTooMuch { member, balance, asked: 101, currency: currency.clone() };

    assert_eq!(refusal(take(&db, 0, 1, 101).await), refused(0));
    assert_eq!(account(&pool, 1).await, None, "a refusal opens no account");
    own_account(&db, &act(1, noon(1), 1)).await.expect("opened");
    assert_eq!(refusal(take(&db, 2, 1, 101).await), refused(100));
    grant(&db, 3, 1, 1).await.expect("allowed");

    let again = refusal(take(&db, 2, 1, 101).await);
    assert_eq!(again, Refusal::Again(refused(100).to_string()));
    let again = refusal(take(&db, 0, 1, 101).await);
    assert_eq!(again, Refusal::Again(refused(0).to_string()));
    assert_eq!(balance(&pool, 1).await, 101);
    assert_eq!(take(&db, 4, 1, 101).await.expect("all there is").balance, 0);
    assert_clean(&pool).await;
}

#[sqlx::test]
async fn a_grant_beyond_64_bits_is_refused_with_the_figures(pool: PgPool) {
    let db = database(&pool);
    own_account(&db, &act(1, noon(1), 0)).await.expect("opened");
    grant(&db, 1, 1, i64::MAX - 100).await.expect("fits to the last");
    take(&db, 2, 1, i64::MAX).await.expect("all of it");
    let refused = |balance, asked| Refusal::GrantsTooMuch {
        member: person(1).id,
        balance,
        received: i64::MAX - 100,
        asked,
        currency: Currency::default(),
    };

    assert_eq!(refusal(grant(&db, 3, 1, 101).await), refused(0, 101));
    assert_eq!(grant(&db, 4, 1, 100).await.expect("fits").balance, 100);
    own_account(&db, &act(2, noon(1), 5)).await.expect("opened");
    let other = refusal(grant(&db, 6, 2, i64::MAX).await);
    assert!(matches!(other, Refusal::GrantsTooMuch { balance: 100, received: 0, .. }), "{other:?}");
    assert_clean(&pool).await;
}

#[sqlx::test]
async fn an_adjustment_delivered_again_gets_the_first_answer(pool: PgPool) {
    let db = database(&pool);
    let first = grant(&db, 0, 1, 50).await.expect("allowed");
    take(&db, 1, 1, 20).await.expect("allowed");

    assert_eq!(grant(&db, 0, 1, 50).await.expect("done before"), first);
    assert_eq!(take(&db, 1, 1, 20).await.expect("done before").balance, 30);
    assert_eq!((balance(&pool, 1).await, ledger_rows(&pool).await), (30, 2));
}

#[sqlx::test]
async fn a_history_names_the_manager_and_goes_on_behind_an_adjustment(pool: PgPool) {
    let db = database(&pool);
    sent(&db, &act(1, noon(1), 0), 2, 10).await;
    grant(&db, 1, 1, 50).await.expect("allowed");
    take(&db, 2, 1, 20).await.expect("allowed");
    sent(&db, &act(1, noon(1), 3), 2, 5).await;

    let history = history(&db, &act(1, noon(2), 0), person(1).id, 0).await.expect("readable");

    let lines: Vec<_> = history
        .entries
        .iter()
        .map(|entry| (entry.kind, entry.gave, entry.amount, entry.reason.as_deref(), entry.manager))
        .collect();
    let olga = Some(person(OLGA).id);
    assert_eq!(
        lines,
        [
            (Kind::Transfer, true, 5, None, None),
            (Kind::Adjustment, true, 20, None, olga),
            (Kind::Adjustment, false, 50, Some("won"), olga),
            (Kind::Transfer, true, 10, None, None),
            (Kind::Starting, false, 100, None, None),
        ]
    );
    assert_clean(&pool).await;
}

#[sqlx::test]
async fn a_grant_that_reaches_a_threshold_promises_the_role_once(pool: PgPool) {
    configure(&pool, "role_rewards = '{\"70\": 50, \"71\": 51}'").await;
    let db = database(&pool);

    assert!(!grant(&db, 0, 1, 49).await.expect("allowed").promised);
    assert!(grant(&db, 1, 1, 1).await.expect("allowed").promised);
    grant(&db, 1, 1, 1).await.expect("done before");
    take(&db, 2, 1, 50).await.expect("allowed");

    let sql = "select target || ' ' || effect || ' ' || (detail ->> 'role') from outbox";
    let promised: Vec<String> = sqlx::query_scalar(sql).fetch_all(&pool).await.expect("readable");
    assert_eq!(promised, [format!("member:{} reward_role 70", person(1).id)]);
}

#[sqlx::test]
async fn twenty_deliveries_of_a_grant_grant_once(pool: PgPool) {
    own_account(&database(&pool), &act(1, noon(1), 0)).await.expect("opened");

    let granted = races::piled_up(&pool, races::account_of(1), 20, |db, _| async move {
        grant(&db, 1, 1, 50).await
    })
    .await;

    assert!(granted.iter().all(|one| matches!(one, Ok(one) if one.balance == 150)), "{granted:?}");
    assert_eq!(balance(&pool, 1).await, 150);
    assert_clean(&pool).await;
}

#[sqlx::test]
async fn grants_takes_and_transfers_at_once_add_up(pool: PgPool) {
    let db = database(&pool);
    for member in 1..=3 {
        own_account(&db, &act(member, noon(1), member)).await.expect("opened");
    }

    let done = races::piled_up(&pool, races::account_of(1), 60, |db, i| async move {
        let (n, other) = (100 + i, 2 + i % 2);
        let (giver, receiver) = if i % 4 == 2 { (1, other) } else { (other, 1) };
        Ok(match i % 4 {
            0 => ("take", take(&db, n, 1, 30).await.map(drop)),
            1 => ("grant", grant(&db, n, 1, 10).await.map(drop)),
            _ => (
                "send",
                send(&db, &act(giver, noon(1), n), &person(receiver), 7, None).await.map(drop),
            ),
        })
    })
    .await;

    let done: Vec<_> = done.into_iter().map(|done| done.expect("ended")).collect();
    let failed: Vec<_> =
        done.iter().filter(|(_, end)| !matches!(end, Ok(()) | Err(Error::Bytes(_)))).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let count = |wanted| done.iter().filter(|(what, end)| *what == wanted && end.is_ok()).count();
    assert_eq!(count("grant"), 15);
    let taken = count("take");
    let sum = balance(&pool, 1).await + balance(&pool, 2).await + balance(&pool, 3).await;
    assert_eq!(sum, 300 + 150 - 30 * i64::try_from(taken).expect("small"));
    assert_clean(&pool).await;
    // Each history leads through all of a member's rows.
    for member in 1..=3 {
        let rows: i64 = sqlx::query_scalar(
            "select count(*) from bytes_transactions where $1 in (giver_id, receiver_id)",
        )
        .bind(person(member).id.to_string())
        .fetch_one(&pool)
        .await
        .expect("readable");
        let mut listed = 0;
        for page in 0..10 {
            let reader = act(member, noon(2), page.into());
            let page = history(&db, &reader, person(member).id, page).await.expect("readable");
            listed += page.entries.len();
        }
        assert_eq!(i64::try_from(listed).expect("small"), rows, "member {member}");
    }
}

fn changed(changes: &[Change]) -> Vec<String> {
    let line = |Change { setting, old, new }: &Change| format!("{setting}: {old} -> {new}");
    changes.iter().map(line).collect()
}

#[sqlx::test]
async fn settings_change_for_the_next_command_and_the_rest_stays(pool: PgPool) {
    let db = database(&pool);
    let wishes = Wishes { daily_amount: Some(25), confirm_from: Some(0), ..Wishes::default() };

    let first = change_settings(&db, &act(OLGA, noon(1), 0), &wishes).await.expect("allowed");
    assert_eq!(
        changed(&first),
        ["daily_amount: 10 bytes -> 25 bytes", "confirm_from: 100 bytes -> never"]
    );
    let emoji = Wishes {
        currency_name: Some("gems".into()),
        currency_emoji: Some(Some("🪙".into())),
        ..Wishes::default()
    };
    let second = change_settings(&db, &act(OLGA, noon(1), 1), &emoji).await.expect("allowed");
    assert_eq!(changed(&second), ["currency_name: bytes -> gems", "currency_emoji: none -> 🪙"]);

    let settings = managers::settings(&db, GUILD).await.expect("readable");
    assert_eq!(
        (settings.daily_amount, settings.confirm_from, settings.max_transfer),
        (25, 0, 1_000)
    );
    let claim = super::super::claim_daily(&db, &act(1, noon(1), 2)).await.expect("first");
    assert_eq!((claim.reward, claim.currency.to_string()), (25, "🪙 gems".to_owned()));
    // Delivered again, after somebody changed it anew.
    let anew = Wishes { daily_amount: Some(30), ..Wishes::default() };
    change_settings(&db, &act(OLGA, noon(1), 3), &anew).await.expect("allowed");
    let again = change_settings(&db, &act(OLGA, noon(1), 0), &wishes).await.expect("done before");
    assert_eq!(again, first);
    assert_eq!(managers::settings(&db, GUILD).await.expect("readable").daily_amount, 30);
}

#[sqlx::test]
async fn a_value_out_of_range_is_refused_and_stays_so(pool: PgPool) {
    let db = database(&pool);
    let wishes = Wishes { daily_amount: Some(1_001), max_transfer: Some(5), ..Wishes::default() };
    let act = act(OLGA, noon(1), 0);
    let set = || change_settings(&db, &act, &wishes);

    let refused = Refusal::OutOfRange { setting: Setting::DailyAmount, value: 1_001 };
    assert_eq!(refusal(set().await), refused);
    assert_eq!(refusal(set().await), Refusal::Again(refused.to_string()));
    let settings = managers::settings(&db, GUILD).await.expect("readable");
    assert_eq!(settings, crate::bytes::Settings::default(), "all or nothing");
}

#[sqlx::test]
async fn a_streaks_bonus_is_added_replaced_and_removed(pool: PgPool) {
    let db = database(&pool);
    let act = |n| act(OLGA, noon(1), n);

    let added = add_bonus(&db, &act(0), 2, 5).await.expect("allowed");
    assert_eq!(changed(&added), ["streak of 2 days: none -> x5"]);
    let replaced = add_bonus(&db, &act(1), 8, 3).await.expect("allowed");
    assert_eq!(changed(&replaced), ["streak of 8 days: x2 -> x3"]);
    let removed = remove_bonus(&db, &act(2), 2).await.expect("there");
    assert_eq!(changed(&removed), ["streak of 2 days: x5 -> none"]);
    assert_eq!(remove_bonus(&db, &act(2), 2).await.expect("done before"), removed);
    assert_eq!(refusal(remove_bonus(&db, &act(3), 2).await), Refusal::NoSuchBonus { length: 2 });
    for (n, length, multiplier) in [(4, 0, 2), (5, 100_000, 2), (6, 9, 0), (7, 9, 257)] {
        let refused = refusal(add_bonus(&db, &act(n), length, multiplier).await);
        assert!(matches!(refused, Refusal::OutOfRange { .. }), "{refused:?}");
    }
    let settings = managers::settings(&db, GUILD).await.expect("readable");
    assert_eq!(settings.streak_bonuses, [(8, 3), (16, 4), (32, 8), (64, 16)].into());
}

#[sqlx::test]
async fn changes_at_once_lose_nothing_and_never_pass_twenty_bonuses(pool: PgPool) {
    configure(&pool, "daily_amount = 10").await;
    let lock = format!("select 1 from bytes_configs where guild_id = '{GUILD}' for update");

    // Four bonuses are there by default.
    let added = races::piled_up(&pool, lock, 30, |db, i| async move {
        let length = 100 + i32::try_from(i).expect("small");
        let wishes = Wishes { daily_amount: Some(20), ..Wishes::default() };
        match i {
            0 => change_settings(&db, &act(OLGA, noon(1), i), &wishes).await,
            _ => add_bonus(&db, &act(OLGA, noon(1), i), length, 2).await,
        }
    })
    .await;

    let refused =
        |result: &&Result<_>| matches!(result, Err(Error::Bytes(Refusal::TooManyBonuses)));
    assert_eq!(added.iter().filter(refused).count(), 13, "{added:?}");
    assert_eq!(added.iter().filter(|result| result.is_ok()).count(), 17, "{added:?}");
    let settings = managers::settings(&database(&pool), GUILD).await.expect("readable");
    assert_eq!((settings.streak_bonuses.len(), settings.daily_amount), (20, 20));
    let lengths: BTreeSet<i32> = settings.streak_bonuses.keys().copied().collect();
    assert!(lengths.is_superset(&[8, 16, 32, 64].into()), "{lengths:?}");
}

#[sqlx::test]
async fn twenty_deliveries_of_a_change_say_the_same(pool: PgPool) {
    configure(&pool, "daily_amount = 10").await;

    // The first to get through changes it, the others would find it changed already.
    let said = races::at_once(&pool, 20, |db, _| async move {
        let wishes = Wishes { daily_amount: Some(20), ..Wishes::default() };
        change_settings(&db, &act(OLGA, noon(1), 0), &wishes).await
    })
    .await;

    let said: Vec<_> = said.into_iter().map(|said| changed(&said.expect("allowed"))).collect();
    assert!(said.iter().all(|said| *said == ["daily_amount: 10 bytes -> 20 bytes"]), "{said:?}");
}

#[sqlx::test]
async fn the_database_takes_each_setting_in_the_same_range(pool: PgPool) {
    configure(&pool, "daily_amount = 10").await;
    for setting in [
        Setting::StartingBalance,
        Setting::DailyAmount,
        Setting::MaxTransfer,
        Setting::TransferCooldownHours,
        Setting::ConfirmFrom,
        Setting::MinAccountAgeDays,
    ] {
        let (least, most) = setting.range().into_inner();
        for value in [least - 1, least, most, most + 1] {
            let sql = format!("update bytes_configs set {setting} = {value}");
            let taken = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&pool).await.is_ok();
            assert_eq!(taken, setting.check(value).is_ok(), "{setting} {value}");
        }
    }
    for (length, multiplier) in [(1, 1), (99_999, 256), (0, 1), (100_000, 1), (1, 0), (1, 257)] {
        let sql =
            format!(r#"update bytes_configs set streak_bonuses = '{{"{length}": {multiplier}}}'"#);
        let taken = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&pool).await.is_ok();
        let allowed = Setting::BonusLength.check(length).is_ok()
            && Setting::BonusMultiplier.check(multiplier).is_ok();
        assert_eq!(taken, allowed, "{length} {multiplier}");
    }
}
