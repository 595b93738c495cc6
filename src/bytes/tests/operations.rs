use chrono::{Days, TimeDelta};
use sqlx::PgPool;

use super::super::{
    Account, Currency, Kind, Refusal, Scope, Sent, Standing, account_of, audit, claim_daily,
    history, leaderboard, share,
};
use super::{
    account, act, assert_clean, balance, bank, configure, database, ledger_rows, noon, own_account,
    person, refusal, send, sent, snowflake,
};

#[sqlx::test]
async fn the_first_own_command_opens_the_account_with_the_starting_balance_once(pool: PgPool) {
    let db = database(&pool);

    let first = own_account(&db, &act(1, noon(1), 0)).await.expect("opened");
    let second = own_account(&db, &act(1, noon(2), 0)).await.expect("there");

    let opened = Account { balance: 100, opened: Some(noon(1)), ..Account::default() };
    assert_eq!((first, second), (opened.clone(), opened));
    assert_eq!(ledger_rows(&pool).await, 1);
    assert_clean(&pool).await;
}

#[sqlx::test]
async fn received_bytes_open_an_account_with_nothing_and_the_starting_balance_still_comes(
    pool: PgPool,
) {
    let db = database(&pool);

    send(&db, &act(1, noon(1), 0), &person(2), 30, None).await.expect("allowed");
    assert_eq!(balance(&pool, 2).await, 30);
    let own = own_account(&db, &act(2, noon(1), 1)).await.expect("opened");

    assert_eq!((own.balance, own.total_received), (130, 30));
    assert_clean(&pool).await;
}

#[sqlx::test]
async fn looking_at_somebody_opens_ones_own_account_and_not_theirs(pool: PgPool) {
    let seen =
        account_of(&database(&pool), &act(1, noon(1), 0), person(2).id).await.expect("readable");

    assert_eq!(seen.account, None);
    assert_eq!((balance(&pool, 1).await, account(&pool, 2).await), (100, None));
}

#[sqlx::test]
async fn a_starting_balance_of_nothing_leaves_no_ledger_row_and_comes_once(pool: PgPool) {
    configure(&pool, "starting_balance = 0").await;
    let db = database(&pool);

    own_account(&db, &act(1, noon(1), 0)).await.expect("opened");
    configure(&pool, "starting_balance = 50").await;

    assert_eq!(own_account(&db, &act(1, noon(2), 0)).await.expect("there").balance, 0);
    assert_eq!(ledger_rows(&pool).await, 0);
}

#[sqlx::test]
async fn a_transfer_moves_bytes_and_counts_on_both_sides(pool: PgPool) {
    configure(&pool, "currency_name = 'gems', currency_emoji = '🪙'").await;

    let sent = sent(&database(&pool), &act(1, noon(1), 0), 2, 60).await;

    let currency = Currency { name: "gems".into(), emoji: Some("🪙".into()) };
    assert_eq!(sent, Sent { balance: 40, receiver_balance: 60, currency, promised: false });
    let (giver, receiver) =
        (account(&pool, 1).await.expect("there"), account(&pool, 2).await.expect("there"));
    assert_eq!((giver.total_sent, giver.total_received), (60, 0));
    assert_eq!((receiver.total_sent, receiver.total_received), (0, 60));
    assert_clean(&pool).await;
}

#[sqlx::test]
async fn a_second_delivery_gets_the_first_ones_answer_and_changes_nothing(pool: PgPool) {
    let db = database(&pool);
    let first = sent(&db, &act(1, noon(1), 0), 2, 60).await;
    send(&db, &act(1, noon(1), 1), &person(2), 10, None).await.expect("allowed");

    let again = sent(&db, &act(1, noon(1), 0), 2, 60).await;

    assert_eq!(again, first);
    assert_eq!(balance(&pool, 1).await, 30);
    assert_clean(&pool).await;
}

#[sqlx::test]
async fn what_was_refused_once_stays_refused_when_it_is_delivered_again(pool: PgPool) {
    let db = database(&pool);
    let too_much = act(1, noon(1), 0);
    let first = refusal(send(&db, &too_much, &person(2), 160, None).await);
    assert_eq!(
        first,
        Refusal::TooLittle { balance: 100, asked: 160, currency: Currency::default() }
    );
    assert_eq!(account(&pool, 2).await, None, "a refused gift opens no account");
    send(&db, &act(3, noon(1), 1), &person(1), 80, None).await.expect("allowed");

    let again = refusal(send(&db, &too_much, &person(2), 160, None).await);

    assert_eq!(again, first);
    assert_eq!((balance(&pool, 1).await, account(&pool, 2).await), (180, None));
    assert_clean(&pool).await;
}

#[sqlx::test]
async fn more_than_there_is_and_more_than_is_allowed_are_refused(pool: PgPool) {
    let db = database(&pool);
    let asked =
        async |amount, n| refusal(send(&db, &act(1, noon(1), n), &person(2), amount, None).await);

    assert_eq!(
        asked(101, 0).await,
        Refusal::TooLittle { balance: 100, asked: 101, currency: Currency::default() }
    );
    assert_eq!(
        asked(1_001, 1).await,
        Refusal::AboveLimit { max: 1_000, currency: Currency::default() }
    );
    assert_eq!(
        asked(i64::MAX, 2).await,
        Refusal::AboveLimit { max: 1_000, currency: Currency::default() }
    );
    assert_eq!(balance(&pool, 1).await, 100);
    assert_clean(&pool).await;
}

#[sqlx::test]
async fn the_cooldown_counts_only_what_the_member_sent(pool: PgPool) {
    configure(&pool, "transfer_cooldown_hours = 2").await;
    let db = database(&pool);
    let late = noon(1) + TimeDelta::hours(2);
    claim_daily(&db, &act(1, noon(1), 0)).await.expect("first");
    send(&db, &act(2, noon(1), 0), &person(1), 5, None).await.expect("allowed");
    send(&db, &act(1, noon(1), 1), &person(2), 5, None)
        .await
        .expect("dailies and gifts don't count");

    let early = late - TimeDelta::milliseconds(1);
    let refused = refusal(send(&db, &act(1, early, 0), &person(2), 5, None).await);

    assert_eq!(refused, Refusal::OnCooldown { until: late });
    send(&db, &act(1, late, 0), &person(2), 5, None).await.expect("the cooldown is over");
    assert_clean(&pool).await;
}

#[sqlx::test]
async fn an_older_act_that_arrives_later_does_not_shorten_the_cooldown(pool: PgPool) {
    let db = database(&pool);
    send(&db, &act(1, noon(2), 0), &person(2), 5, None).await.expect("allowed");
    send(&db, &act(1, noon(1), 0), &person(2), 5, None).await.expect("allowed without a cooldown");

    assert_eq!(account(&pool, 1).await.expect("there").last_transfer, Some(noon(2)));
}

#[sqlx::test]
async fn a_young_discord_account_gets_and_gives_nothing_until_it_is_old_enough(pool: PgPool) {
    configure(&pool, "min_account_age_days = 30").await;
    let db = database(&pool);
    let mut young = act(1, noon(20), 0);
    young.member.id = snowflake(noon(1), 7).into();
    let until = noon(1) + Days::new(30);

    assert_eq!(refusal(claim_daily(&db, &young).await), Refusal::TooYoung { until });
    assert_eq!(refusal(send(&db, &young, &person(2), 1, None).await), Refusal::TooYoung { until });
    let own = account_of(&db, &young, young.member.id).await.expect("readable");
    assert_eq!((own.account.expect("there").balance, own.opens), (0, Some(until)));
    young.key = snowflake(until, 0).into();
    assert_eq!(claim_daily(&db, &young).await.expect("old enough").balance, 110);
    assert_clean(&pool).await;
}

#[sqlx::test]
async fn a_figure_beyond_64_bits_is_refused(pool: PgPool) {
    let db = database(&pool);
    own_account(&db, &act(2, noon(1), 0)).await.expect("opened");
    for column in ["balance", "total_received"] {
        let sql = format!(
            "update bytes_balances set {column} = 9223372036854775800 where user_id = '{}'",
            person(2).id
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&pool).await.expect("valid");
        let n = u64::from(column == "balance");

        assert_eq!(
            refusal(send(&db, &act(1, noon(1), n), &person(2), 8, None).await),
            Refusal::Overflow
        );
        assert_eq!(refusal(claim_daily(&db, &act(2, noon(1), 10 + n)).await), Refusal::Overflow);
        sqlx::query("update bytes_balances set balance = 0, total_received = 0")
            .execute(&pool)
            .await
            .expect("valid");
        sqlx::query("update bytes_balances set balance = 100 where opened_at is not null")
            .execute(&pool)
            .await
            .expect("valid");
    }
}

#[sqlx::test]
async fn a_daily_is_paid_once_a_utc_day(pool: PgPool) {
    let db = database(&pool);
    let midnight = noon(2) - TimeDelta::hours(12);
    let last_moment = midnight - TimeDelta::milliseconds(1);
    let first = claim_daily(&db, &act(1, noon(1), 0)).await.expect("first");
    assert_eq!((first.reward, first.streak, first.balance, first.next), (10, 1, 110, midnight));
    assert_eq!(first.next_bonus, Some((8, 2)));

    let refused = refusal(claim_daily(&db, &act(1, last_moment, 0)).await);

    assert_eq!(refused, Refusal::Claimed { until: midnight });
    assert_eq!(claim_daily(&db, &act(1, midnight, 0)).await.expect("a new day").streak, 2);
    let again = claim_daily(&db, &act(1, noon(1), 0)).await.expect("done before");
    assert_eq!((again.reward, again.streak, again.balance), (10, 1, 110));
    assert_clean(&pool).await;
}

#[sqlx::test]
async fn a_streak_of_seventy_days_pays_each_bonus_and_a_missed_day_ends_it(pool: PgPool) {
    let db = database(&pool);
    let mut rewards = Vec::new();
    for day in 0..70 {
        rewards.push(
            claim_daily(&db, &act(1, noon(1) + Days::new(day), 0)).await.expect("a new day").reward,
        );
    }
    let expected: Vec<i64> = (1..=70)
        .map(|streak| match streak {
            ..8 => 10,
            8..16 => 20,
            16..32 => 40,
            32..64 => 80,
            _ => 160,
        })
        .collect();
    assert_eq!(rewards, expected);

    let after_a_gap =
        claim_daily(&db, &act(1, noon(1) + Days::new(71), 0)).await.expect("a new day");

    assert_eq!((after_a_gap.streak, after_a_gap.reward), (1, 10));
    assert_clean(&pool).await;
}

#[sqlx::test]
async fn a_last_daily_in_the_future_is_refused_and_nothing_changes(pool: PgPool) {
    let db = database(&pool);
    claim_daily(&db, &act(1, noon(9), 0)).await.expect("first");
    let before = account(&pool, 1).await;

    let refused = refusal(claim_daily(&db, &act(1, noon(3), 0)).await);

    assert_eq!(refused, Refusal::Claimed { until: noon(10) - TimeDelta::hours(12) });
    assert_eq!(account(&pool, 1).await, before);
}

#[sqlx::test]
async fn a_balance_is_shared_once_an_act(pool: PgPool) {
    let db = database(&pool);
    let shown = act(1, noon(1), 0);

    let first = share(&db, &shown, person(1).id).await.expect("readable");
    let second = refusal(share(&db, &shown, person(1).id).await);

    assert_eq!(first.0.balance, 100);
    assert_eq!(second, Refusal::Shared);
}

#[sqlx::test]
async fn acts_older_than_a_day_are_forgotten(pool: PgPool) {
    let db = database(&pool);
    for n in 0..2 {
        share(&db, &act(1, noon(1), n), person(1).id).await.expect("readable");
    }
    let sql = "update processed_interactions set created_at = now() - interval '25 hours' where interaction_id = $1";
    sqlx::query(sql).bind(act(1, noon(1), 0).key.to_string()).execute(&pool).await.expect("valid");

    assert_eq!(crate::act::forget_old(&db).await.expect("deletable"), 1);
    assert_eq!(refusal(share(&db, &act(1, noon(1), 1), person(1).id).await), Refusal::Shared);
}

#[sqlx::test]
async fn a_history_tells_both_sides_newest_first(pool: PgPool) {
    let db = database(&pool);
    send(&db, &act(1, noon(1), 0), &person(2), 60, Some("for tea")).await.expect("allowed");
    send(&db, &act(2, noon(2), 0), &person(1), 5, None).await.expect("allowed");
    claim_daily(&db, &act(1, noon(3), 0)).await.expect("first");

    let history = history(&db, &act(1, noon(4), 0), person(1).id, 0).await.expect("readable");

    let lines: Vec<_> = history
        .entries
        .iter()
        .map(|entry| (entry.kind, entry.gave, entry.amount, entry.reason.as_deref()))
        .collect();
    assert_eq!(
        lines,
        [
            (Kind::Daily, false, 10, None),
            (Kind::Transfer, false, 5, None),
            (Kind::Transfer, true, 60, Some("for tea")),
            (Kind::Starting, false, 100, None),
        ]
    );
    assert_eq!(history.entries[1].other, person(2).id);
    assert!(!history.more);
}

#[sqlx::test]
async fn a_history_has_pages(pool: PgPool) {
    let db = database(&pool);
    for n in 0..24 {
        send(&db, &act(1, noon(1) + TimeDelta::minutes(n), 0), &person(2), 1, None)
            .await
            .expect("allowed");
    }
    let page =
        async |page| history(&db, &act(1, noon(2), 0), person(1).id, page).await.expect("readable");

    let pages = [page(0).await, page(1).await, page(2).await, page(3).await];

    assert_eq!(
        pages.each_ref().map(|page| (page.entries.len(), page.more)),
        [(10, true), (10, true), (5, false), (0, false)]
    );
    assert_eq!(pages[2].entries[4].kind, Kind::Starting);
}

#[sqlx::test]
async fn equal_balances_share_a_rank_and_ones_own_is_known_from_any_page(pool: PgPool) {
    let db = database(&pool);
    for member in 1..=25 {
        own_account(&db, &act(member, noon(1), member)).await.expect("opened");
    }
    send(&db, &act(25, noon(1), 100), &person(7), 50, None).await.expect("allowed");

    let first =
        leaderboard(&bank(&db), &act(25, noon(2), 0), Scope::Balance, 0).await.expect("readable");
    let last =
        leaderboard(&bank(&db), &act(25, noon(2), 1), Scope::Balance, 99).await.expect("readable");

    let own = Standing { rank: 25, member: person(25).id, value: 50 };
    assert_eq!((first.page, first.pages, first.own), (0, 3, own));
    assert_eq!((last.page, last.own, last.standings.len()), (2, own, 5));
    let ranks: Vec<_> =
        first.standings.iter().map(|standing| (standing.rank, standing.member)).collect();
    assert_eq!(ranks[..3], [(1, person(7).id), (2, person(1).id), (2, person(2).id)]);
    assert_eq!(last.standings[4], own);
}

#[sqlx::test]
async fn equal_balances_stand_in_the_order_of_ids_as_numbers(pool: PgPool) {
    let db = database(&pool);
    let mut long = act(1, noon(1), 0);
    long.member.id = 10_000_000_000_000_000_000.into();
    let mut short = act(1, noon(1), 1);
    short.member.id = 9_999_999_999_999_999_999.into();
    own_account(&db, &long).await.expect("opened");

    let board = leaderboard(&bank(&db), &short, Scope::Balance, 0).await.expect("readable");

    assert_eq!(board.standings[0].member, short.member.id);
}

#[sqlx::test]
async fn the_audit_names_each_account_that_differs(pool: PgPool) {
    let db = database(&pool);
    send(&db, &act(1, noon(1), 0), &person(2), 60, None).await.expect("allowed");
    own_account(&db, &act(3, noon(1), 1)).await.expect("opened");
    let clean = audit(&pool).await.expect("readable");
    assert_eq!((clean.accounts, clean.transactions, clean.differences.len()), (3, 3, 0));

    for sql in [
        format!(
            "update bytes_balances set balance = balance + 1 where user_id = '{}'",
            person(1).id
        ),
        format!("update bytes_balances set total_received = 0 where user_id = '{}'", person(2).id),
        format!("delete from bytes_balances where user_id = '{}'", person(3).id),
        "update bytes_transactions set giver_previous_id = null where kind = 'transfer'".to_owned(),
    ] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&pool).await.expect("valid");
    }
    let audit = audit(&pool).await.expect("readable").to_string();

    insta::assert_snapshot!(audit);
}
