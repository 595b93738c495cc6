//! What a leaderboard costs in a guild of a million members: the queries behind `/leaderboard`, as
//! `bytes/store.rs` sends them, beside the plain way on the same accounts (sort them, count who has
//! more), without and with an index on the balance; in turn, warm, on one durable server. Then what
//! the upkeep costs: accounts that `bytes_rank` ranks a second, in that guild and in one of ten
//! thousand. `cargo bench --bench leaderboard` prints both; the index is what each transfer would pay
//! for.
//!
//! Queries are timed at the server: `clock_timestamp()` around each, in one function, where it's
//! prepared as the bot's are. The upkeep is timed here, with the commit of every round of 500.
#![allow(clippy::print_stdout, reason = "a bench prints")]

use std::time::Instant;

use bytekeeper::db;
use embedded_postgres::{Embedded, Options};
use sqlx::{AssertSqlSafe, PgConnection, PgPool};

const ROUNDS: usize = 3;
/// Calls of a round: of ours, and of what may take a second each.
const CALLS: (i64, i64) = (200, 10);
const LARGE: (&str, i64) = ("1", 1_000_000);
const SMALL: (&str, i64) = ("2", 10_000);
/// Accounts that changed, and how many of them are ranked in one transaction.
const CHANGED: i64 = 10_000;
const ROUND: i32 = 500;
/// A third has 100, most have little, few have up to a million.
const FILL: &str = "
insert into bytes_balances (guild_id, user_id, balance, total_received, streak_count, last_daily, opened_at)
select 'GUILD', (175000000000000000 + n * 4194304::bigint)::text,
    case when n % 3 = 0 then 100 else 1 + floor(random() ^ 4 * 1000000) end,
    case when n % 3 = 0 then 100 else 1 + floor(random() ^ 4 * 1000000) end,
    1 + n % 50, current_date, now()
from generate_series(1, MEMBERS) n;
insert into bytes_rankings (guild_id, scope, user_id, place, ends_on)
select guild_id, s.scope, user_id, s.place, s.ends_on from bytes_balances,
    lateral (values
        ('balance'::bytes_scope, -balance, null::date), ('received', -total_received, null),
        ('streak', -streak_count, current_date + 2)
    ) s (scope, place, ends_on)
where guild_id = 'GUILD';
select bytes_rebuild_steps('GUILD', scope) from unnest(enum_range(null::bytes_scope)) scope;
";
const INDEXED: &str = "
create table indexed as select guild_id, user_id, balance from bytes_balances;
create index on indexed (guild_id, balance desc, user_id);
";
/// Times each call of one statement, in microseconds.
const TIMED: &str = "
create or replace function timed(offsets bigint[], amounts bigint[], users varchar[]) returns double precision[] language plpgsql as $$
declare
    v_guild varchar := '1';
    v_offset bigint;
    v_value bigint;
    v_user varchar;
    began timestamptz;
    took double precision[] := '{}';
begin
    for n in 1 .. cardinality(offsets) loop
        v_offset := offsets[n];
        v_value := amounts[n];
        v_user := users[n];
        began := clock_timestamp();
        perform * from (STATEMENT) as answer;
        took := took || extract(epoch from clock_timestamp() - began)::double precision * 1000000;
    end loop;
    return took;
end
$$;
";

/// A question to a leaderboard, and how it's asked: ours, and plainly of a table of accounts.
struct Question {
    ours: &'static str,
    plain: &'static str,
}

const PAGE: Question = Question {
    ours: "with page as materialized (
               select user_id, value from bytes_ranking_page(v_guild, 'balance', v_offset, 10)
           )
           select user_id, value, (select bytes_ranked_above(v_guild, 'balance', max(value)) from page)
           from page",
    plain: "select user_id, balance from ACCOUNTS where guild_id = v_guild
            order by balance desc, user_id limit 10 offset v_offset",
};
const RANK: Question = Question {
    ours: "select bytes_ranked_above(v_guild, 'balance', v_value) - (
               select count(*) from bytes_rankings
               where guild_id = v_guild and scope = 'balance' and user_id = v_user and place < -v_value
           )",
    plain: "select count(*) from ACCOUNTS where guild_id = v_guild and balance > v_value",
};
const RANKED: Question = Question {
    ours: "select coalesce(sum(members), 0)::bigint from bytes_ranking_steps
           where guild_id = v_guild and scope = 'balance'",
    plain: "select count(*) from ACCOUNTS where guild_id = v_guild and balance > 0",
};

#[tokio::main]
async fn main() {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    let folder = tempfile::Builder::new().permissions(mode).tempdir().expect("a folder");
    let server =
        Embedded::start(&folder.path().join("data"), Options::default()).await.expect("starts");
    let pool = PgPool::connect_with(server.connect_options()).await.expect("connects");
    db::migrate(&pool).await.expect("migrates");
    let mut connection = pool.acquire().await.expect("connects");
    for (guild, members) in [LARGE, SMALL] {
        let fill = FILL.replace("GUILD", guild).replace("MEMBERS", &members.to_string());
        run(&mut connection, fill).await;
    }
    run(&mut connection, INDEXED.to_owned()).await;
    run(&mut connection, "vacuum analyze".to_owned()).await;
    run(&mut connection, "checkpoint".to_owned()).await;

    questions(&mut connection).await;
    upkeep(&mut connection).await;
    drop(connection);
    pool.close().await;
    server.stop().await.expect("stops");
}

async fn run(connection: &mut PgConnection, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.expect("valid");
}

/// Microseconds at the median and the 99th percentile.
#[derive(Clone, Copy)]
struct Times {
    p50: f64,
    p99: f64,
}

async fn questions(connection: &mut PgConnection) {
    println!(
        "a guild of {} members         ms: p50    p99   plain p50   ratio   indexed p50  ratio",
        LARGE.1
    );
    for (name, question, offset) in [
        ("the top", &PAGE, 0),
        ("a page in the middle", &PAGE, 500_000),
        ("the last page", &PAGE, 999_990),
        ("own rank at the top", &RANK, 0),
        ("own rank in the middle", &RANK, 500_000),
        ("own rank among the tied", &RANK, 750_000),
        ("own rank at the bottom", &RANK, 999_800),
        ("how many are ranked", &RANKED, 0),
    ] {
        let ways = [
            (question.ours.to_owned(), CALLS.0),
            (question.plain.replace("ACCOUNTS", "bytes_balances"), CALLS.1),
            (question.plain.replace("ACCOUNTS", "indexed"), CALLS.1),
        ];
        let mut answers = Vec::new();
        for (statement, _) in &ways {
            answers.push(answer(connection, statement, offset).await);
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{name}: {answers:?}");
        let mut rounds = [const { Vec::new() }; 3];
        for round in 0..=ROUNDS {
            for ((statement, calls), taken) in ways.iter().zip(&mut rounds) {
                let times = time(connection, statement, *calls, offset).await;
                // The first warms up.
                if round > 0 {
                    taken.push(times);
                }
            }
        }
        let [ours, plain, indexed] = rounds.map(|rounds| Times {
            p50: median(rounds.iter().map(|times| times.p50).collect()),
            p99: median(rounds.iter().map(|times| times.p99).collect()),
        });
        println!(
            "{name:<33}  {:>6.3} {:>6.3}   {:>9.3}  {:>6.1}   {:>11.3} {:>6.2}",
            ours.p50 / 1e3,
            ours.p99 / 1e3,
            plain.p50 / 1e3,
            plain.p50 / ours.p50,
            indexed.p50 / 1e3,
            indexed.p50 / ours.p50,
        );
    }
}

/// What all ways must agree on: the members of the page, the rank, how many.
async fn answer(connection: &mut PgConnection, statement: &str, offset: i64) -> Vec<String> {
    let (user, value): (String, i64) = sqlx::query_as(
        "select user_id::text, -place from bytes_rankings where guild_id = '1' and scope = 'balance'
         order by guild_id, scope, place, id_length, user_id offset $1 limit 1",
    )
    .bind(offset)
    .fetch_one(&mut *connection)
    .await
    .expect("there is one");
    let statement = statement
        .replace("v_guild", "'1'")
        .replace("v_offset", &offset.to_string())
        .replace("v_value", &value.to_string())
        .replace("v_user", &format!("'{user}'"));
    let sql = format!("select array_agg(answer.it::text) from ({statement}) as answer (it)");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(connection).await.expect("valid")
}

/// Times so many calls: of one page, or for as many members from that place on.
async fn time(connection: &mut PgConnection, statement: &str, calls: i64, offset: i64) -> Times {
    run(connection, TIMED.replace("STATEMENT", statement)).await;
    let mut took: Vec<f64> = sqlx::query_scalar(
        "select timed(array_agg($1), array_agg(-place), array_agg(user_id::varchar))
         from (
             select place, user_id from bytes_rankings where guild_id = '1' and scope = 'balance'
             order by guild_id, scope, place, id_length, user_id
             offset least($1, 999800) limit $2
         ) as members",
    )
    .bind(offset)
    .bind(calls)
    .fetch_one(connection)
    .await
    .expect("valid");
    took.sort_by(f64::total_cmp);
    Times { p50: took[took.len() / 2], p99: took[took.len() * 99 / 100] }
}

/// What ranking changed accounts costs, beside how many a second that is.
async fn upkeep(connection: &mut PgConnection) {
    println!();
    println!("{CHANGED} changed accounts of   ranked/s   ms a round of {ROUND}: p50   most");
    for (guild, members) in [LARGE, SMALL] {
        let mut rates = Vec::new();
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            sqlx::query(
                "with changed as (
                     update bytes_balances
                     set balance = balance + 1 + floor(random() * 1000), total_received = total_received + 1
                     where guild_id = $1 and user_id in (
                         select (175000000000000000 + (n * ($2 / $3) - floor(random() * ($2 / $3))::bigint) * 4194304)::snowflake
                         from generate_series(1, $3) n
                     )
                     returning user_id
                 )
                 insert into bytes_unranked (guild_id, user_id) select $1, user_id from changed order by user_id",
            )
            .bind(guild)
            .bind(members)
            .bind(CHANGED)
            .execute(&mut *connection)
            .await
            .expect("valid");
            let (mut ranked, started) = (0, Instant::now());
            while ranked < CHANGED {
                let asked = Instant::now();
                let taken: i32 = sqlx::query_scalar("select bytes_rank($1, current_date, $2)")
                    .bind(guild)
                    .bind(ROUND)
                    .fetch_one(&mut *connection)
                    .await
                    .expect("valid");
                rounds.push(asked.elapsed().as_secs_f64() * 1e3);
                assert!(taken > 0, "{ranked} of {CHANGED} were ranked");
                ranked += i64::from(taken);
            }
            #[expect(clippy::cast_precision_loss, reason = "a count far below 2^52")]
            rates.push(ranked as f64 / started.elapsed().as_secs_f64());
        }
        let most = rounds.iter().copied().fold(0.0, f64::max);
        println!(
            "{members:>9} members          {:>8.0}   {:>23.1}  {most:>5.1}",
            median(rates),
            median(rounds)
        );
    }
    // What was measured must be what is right.
    let wrong: i64 = sqlx::query_scalar(
        "select count(*) from bytes_balances b
         left join bytes_rankings r on r.guild_id = b.guild_id and r.scope = 'balance' and r.user_id = b.user_id
         where r.place is distinct from -b.balance",
    )
    .fetch_one(&mut *connection)
    .await
    .expect("valid");
    let counted: i64 = sqlx::query_scalar("select sum(members)::bigint from bytes_ranking_steps")
        .fetch_one(&mut *connection)
        .await
        .expect("valid");
    println!(
        "{wrong} accounts ranked wrongly, {} counted too many or too few",
        counted - 3 * (LARGE.1 + SMALL.1)
    );
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
