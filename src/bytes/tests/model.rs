//! The whole economy against a plain model of it: random commands of six members, over random days.
//!
//! A command is done alone, or several at once; delivered once, or several times in parallel, or
//! again much later; and by a process that lives, or by one that dies in the middle of it, so that
//! another one gets the same acts anew. Whatever happens, the answers and the tables are those of the
//! model in some order of the acts, and what `docs/product.md` calls invariants holds.
//!
//! `BYTEKEEPER_MODEL_CASES=2000 cargo test --lib model` tries as many sequences, for a long run.
//! Seen to fail with the second look at an act, an overflow, a link of a history and a queueing for
//! the leaderboard taken out, in each of the three ways that a transfer can go.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::iter;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Days, NaiveTime, TimeDelta, Utc};
use poise::serenity_prelude::{GuildId, InteractionId, UserId};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestError, TestRunner};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use sqlx::types::Uuid;
use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinSet, yield_now};
use tokio::time::Instant;

use super::super::rules::{
    Gift, Verdict, check_adjustment, check_bonus, check_daily, check_transfer,
};
use super::super::settings::{Change, Wishes};
use super::super::{
    Account, Adjusted, Bank, Board, Claim, Direction, Entry, History, Holding, Kind, PAGE, Pending,
    Preview, Refusal, Scope, Sending, Sent, Settings, Standing, account_of, add_bonus, adjust,
    audit, cancel, change_settings, claim_daily, confirm, history, leaderboard, member_joined,
    member_left, send, store,
};
use super::{bank, database, noon, person, snowflake};
use crate::act::{Act, Person};
use crate::db::Database;
use crate::{Error, discord};

/// The ids of the members: of each length that there is, one of an account that is days old, and
/// one whose account seems to be of a time to come.
const MEMBERS: [u64; 6] = [
    80_351_110_224_678_912,
    175_928_847_299_117_063,
    999_999_999_999_999_999,
    1_000_000_000_000_000_001,
    1_476_000_000_000_000_000,
    10_000_000_000_000_000_000,
];

fn member(n: usize) -> Person {
    Person::new(UserId::new(MEMBERS[n]), &format!("member{n}"))
}

fn bot() -> Person {
    person(0)
}

fn manager() -> Person {
    person(9)
}

/// What somebody asks for.
#[derive(Debug, Clone)]
enum Deed {
    Send { to: usize, amount: i64 },
    Confirm,
    Cancel,
    Claim,
    Open,
    Look { at: usize },
    Read { whose: usize, page: u32 },
    Rank(Scope),
    Adjust { whose: usize, direction: Direction, amount: i64 },
    Set(Box<Wishes>),
    Bonus { length: i32, multiplier: i32 },
    Leave,
    Join,
}

/// A part of a command, as it's made up.
#[derive(Debug, Clone)]
enum Step {
    /// A new act, so many minutes behind the last one; a negative number is one that comes late.
    New { by: usize, minutes: i64, deed: Deed },
    /// An act of before, delivered again.
    Again(Index),
    /// A press of a button of a transfer of before.
    Press { confirms: bool, of: Index },
}

/// What happens at one time.
#[derive(Debug, Clone)]
struct Command {
    steps: Vec<Step>,
    /// How often each is delivered.
    deliveries: usize,
    /// After how many microseconds the process dies that got it first.
    killed: Option<u64>,
}

/// An act that is delivered.
#[derive(Debug, Clone)]
struct Delivery {
    act: Act,
    deed: Deed,
}

/// What is said to it.
#[derive(Debug, Clone, PartialEq)]
enum Answer {
    Sending(Sending),
    Confirmed(Pending, Sent),
    Claim(Claim),
    Holding(Holding),
    History(History),
    Board(Board),
    Adjusted(Adjusted),
    Changes(Vec<Change>),
    Done,
    /// In the words that the member reads.
    Refused(String),
}

fn amount() -> impl Strategy<Value = i64> {
    prop_oneof![20 => 1..=160_i64, 2 => 1..=3_000_i64, 1 => Just(i64::MAX)]
}

fn adjustment() -> impl Strategy<Value = i64> {
    prop_oneof![6 => 1..=300_i64, 1 => (i64::MAX - 500)..=i64::MAX]
}

fn one() -> impl Strategy<Value = usize> {
    0..MEMBERS.len()
}

fn wishes() -> impl Strategy<Value = Wishes> {
    let some = |range| prop::option::weighted(0.3, range);
    (
        some(-1..=150_i64),
        some(0..=40_i64),
        some(0..=400_i64),
        prop::option::weighted(0.3, prop_oneof![1 => Just(0), 1 => 0..=48_i32]),
        prop::option::weighted(0.3, prop_oneof![1 => Just(0), 2 => 1..=150_i64]),
        prop::option::weighted(0.3, prop_oneof![1 => Just(0), 1 => 0..=12_i32]),
    )
        .prop_map(|(starting, daily, most, hours, from, days)| Wishes {
            starting_balance: starting,
            daily_amount: daily,
            max_transfer: most,
            transfer_cooldown_hours: hours,
            confirm_from: from,
            min_account_age_days: days,
            currency_name: None,
            currency_emoji: None,
        })
}

/// What takes one transaction, so that acts at once are as if in turn.
fn short_deed() -> impl Strategy<Value = Deed> {
    let adjust = (one(), any::<bool>(), adjustment()).prop_map(|(whose, grants, amount)| {
        let direction = if grants { Direction::Grant } else { Direction::Take };
        Deed::Adjust { whose, direction, amount }
    });
    prop_oneof![
        8 => (one(), amount()).prop_map(|(to, amount)| Deed::Send { to, amount }),
        4 => Just(Deed::Claim),
        2 => Just(Deed::Open),
        3 => adjust,
        1 => Just(Deed::Leave),
        1 => Just(Deed::Join),
    ]
}

fn deed() -> impl Strategy<Value = Deed> {
    let scope = prop_oneof![Just(Scope::Balance), Just(Scope::Received), Just(Scope::Streak)];
    prop_oneof![
        8 => short_deed(),
        1 => one().prop_map(|at| Deed::Look { at }),
        1 => (one(), 0..=2_u32).prop_map(|(whose, page)| Deed::Read { whose, page }),
        2 => scope.prop_map(Deed::Rank),
        2 => wishes().prop_map(|wishes| Deed::Set(Box::new(wishes))),
        1 => (0..=4_i32, 1..=5_i32).prop_map(|(length, multiplier)| Deed::Bonus { length, multiplier }),
    ]
}

fn step(deed: impl Strategy<Value = Deed>) -> impl Strategy<Value = Step> {
    let minutes = prop_oneof![4 => 0..=300_i64, 2 => 300..=2_000_i64, 1 => -900..=0_i64];
    prop_oneof![
        8 => (one(), minutes, deed).prop_map(|(by, minutes, deed)| Step::New { by, minutes, deed }),
        2 => any::<Index>().prop_map(Step::Again),
        3 => (prop::bool::weighted(0.7), any::<Index>())
            .prop_map(|(confirms, of)| Step::Press { confirms, of }),
    ]
}

/// Transfers of different members in the same minute, as a batch takes them.
fn sends() -> impl Strategy<Value = Vec<Step>> {
    let transfer = (one(), one(), 1..=90_i64).prop_map(|(by, to, amount)| Step::New {
        by,
        minutes: 0,
        deed: Deed::Send { to, amount },
    });
    prop::collection::vec(transfer, 2..=5)
}

/// What one member does with several hands.
fn rush() -> impl Strategy<Value = Vec<Step>> {
    (one(), prop::collection::vec(short_deed(), 2..=4)).prop_map(|(by, deeds)| {
        deeds.into_iter().map(|deed| Step::New { by, minutes: 0, deed }).collect()
    })
}

fn command() -> impl Strategy<Value = Command> {
    let killed = || prop::option::weighted(0.3, 0..=25_000_u64);
    let alone = (step(deed()), 1..=3_usize, killed())
        .prop_map(|(step, deliveries, killed)| Command { steps: vec![step], deliveries, killed });
    let few = (prop::collection::vec(step(short_deed()), 2..=3), killed())
        .prop_map(|(steps, killed)| Command { steps, deliveries: 1, killed });
    let several = prop_oneof![sends(), rush(), prop::collection::vec(step(short_deed()), 2..=5)]
        .prop_map(|steps| Command { steps, deliveries: 1, killed: None });
    let twice = prop::collection::vec(step(short_deed()), 2..=2).prop_map(|steps| Command {
        steps,
        deliveries: 2,
        killed: None,
    });
    prop_oneof![10 => alone, 2 => few, 6 => several, 1 => twice]
}

/// A line of a member's history, and the balance behind it.
#[derive(Debug, Clone, PartialEq)]
struct Line {
    entry: Entry,
    balance: i64,
}

/// An account and its history, oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
struct Book {
    account: Account,
    lines: Vec<Line>,
}

impl Book {
    fn write(&mut self, act: &Act, kind: Kind, gave: bool, other: UserId, amount: i64) {
        self.account.balance += if gave { -amount } else { amount };
        let manager = (kind == Kind::Adjustment).then_some(act.member.id);
        let entry = Entry { kind, gave, other, amount, reason: None, manager, at: act.now() };
        self.lines.push(Line { entry, balance: self.account.balance });
    }
}

/// Accounts of a guild, by the ids of their members.
type Books = BTreeMap<UserId, Book>;

/// A line an account, and one for each of its history.
fn listed(books: &Books) -> String {
    let lines = books.iter().flat_map(|(member, book)| {
        let head = format!("{member} {:?}", book.account);
        iter::once(head).chain(book.lines.iter().map(|line| format!("  {line:?}")))
    });
    lines.collect::<Vec<_>>().join("\n  ")
}

/// The economy of a guild.
#[derive(Debug, Clone, Default)]
struct Model {
    settings: Settings,
    books: Books,
    /// What waits to be confirmed.
    questions: BTreeMap<InteractionId, Pending>,
    /// What was said for good, by act and part.
    said: BTreeMap<(InteractionId, &'static str), Answer>,
}

impl Model {
    fn book(&mut self, member: UserId) -> &mut Book {
        self.books.entry(member).or_default()
    }

    fn account(&self, member: UserId) -> Account {
        self.books.get(&member).map(|book| book.account.clone()).unwrap_or_default()
    }

    fn earliest(&self, act: &Act) -> DateTime<Utc> {
        self.settings.earliest(*act.member.id.created_at())
    }

    fn pay_starting(&mut self, act: &Act) {
        let (starting, old_enough) =
            (self.settings.starting_balance, act.now() >= self.earliest(act));
        let book = self.book(act.member.id);
        let fits = book.account.balance.checked_add(starting).is_some();
        if book.account.opened.is_none() && old_enough && fits {
            if starting > 0 {
                book.write(act, Kind::Starting, false, bot().id, starting);
            }
            book.account.opened = Some(act.now());
        }
    }

    /// An own command that does nothing else.
    fn open(&mut self, act: &Act) -> Account {
        self.book(act.member.id).account.left = None;
        self.pay_starting(act);
        self.account(act.member.id)
    }

    fn once(
        &mut self,
        act: &Act,
        part: &'static str,
        decide: impl FnOnce(&mut Self) -> Result<Answer, Refusal>,
    ) -> Answer {
        if let Some(said) = self.said.get(&(act.key, part)) {
            return said.clone();
        }
        let answer = decide(self).unwrap_or_else(|refusal| Answer::Refused(refusal.to_string()));
        // A question is none's last word.
        if !matches!(answer, Answer::Sending(Sending::Confirm(_))) {
            self.said.insert((act.key, part), answer.clone());
        }
        answer
    }

    fn send(&mut self, act: &Act, to: &Person, amount: i64, confirmed: bool) -> Answer {
        let giver = act.member.id;
        self.book(giver);
        self.once(act, "transfer", |model| {
            model.pay_starting(act);
            let account_created = *giver.created_at();
            let gift = Gift { amount, confirmed, account_created, now: act.now() };
            let receiver = model.account(to.id);
            // Who was asked is asked again, whatever the settings say by now.
            let verdict = if !confirmed && model.questions.contains_key(&act.key) {
                Ok(Verdict::Confirm)
            } else {
                check_transfer(&model.settings, &model.account(giver), &receiver, gift)
            };
            // A command shows that who asks is there, and whom they name.
            model.book(giver).account.left = None;
            if let (true, Some(book)) = (verdict.is_ok(), model.books.get_mut(&to.id)) {
                book.account.left = None;
            }
            let currency = model.settings.currency.clone();
            if verdict? == Verdict::Confirm {
                let pending = Pending { receiver: to.clone(), amount, reason: None };
                model.questions.entry(act.key).or_insert(pending);
                let balance = model.account(giver).balance;
                return Ok(Answer::Sending(Sending::Confirm(Preview { balance, currency })));
            }
            let book = model.book(giver);
            book.write(act, Kind::Transfer, true, to.id, amount);
            book.account.total_sent += amount;
            book.account.last_transfer = book.account.last_transfer.max(Some(act.now()));
            let balance = book.account.balance;
            let book = model.book(to.id);
            book.write(act, Kind::Transfer, false, giver, amount);
            book.account.total_received += amount;
            let receiver_balance = book.account.balance;
            let sent = Sent { balance, receiver_balance, currency, promised: false };
            Ok(Answer::Sending(Sending::Sent(sent)))
        })
    }

    fn confirm(&mut self, act: &Act) -> Answer {
        let Some(pending) = self.questions.get(&act.key).cloned() else {
            return Answer::Refused(discord::Refusal::Expired.to_string());
        };
        match self.send(act, &pending.receiver, pending.amount, true) {
            Answer::Sending(Sending::Sent(sent)) => Answer::Confirmed(pending, sent),
            other => other,
        }
    }

    fn cancel(&mut self, act: &Act) -> Answer {
        self.book(act.member.id);
        match self.once(act, "transfer", |_| Err(Refusal::Cancelled)) {
            Answer::Sending(_) => Answer::Refused(Refusal::SentAlready.to_string()),
            _ => Answer::Done,
        }
    }

    fn claim(&mut self, act: &Act) -> Answer {
        let member = act.member.id;
        self.book(member);
        let answer = self.once(act, "daily", |model| {
            model.pay_starting(act);
            model.book(member).account.left = None;
            let account = model.account(member);
            let (reward, streak) =
                check_daily(&model.settings, &account, *member.created_at(), act.now())?;
            let today = act.now().date_naive();
            let book = model.book(member);
            book.write(act, Kind::Daily, false, bot().id, reward);
            book.account.total_received += reward;
            book.account.last_daily = Some(today);
            book.account.streak = streak;
            Ok(Answer::Claim(Claim {
                reward,
                streak,
                balance: book.account.balance,
                next: (today + Days::new(1)).and_time(NaiveTime::MIN).and_utc(),
                next_bonus: None,
                currency: model.settings.currency.clone(),
                promised: false,
            }))
        });
        match answer {
            Answer::Claim(claim) => {
                let longer = self.settings.streak_bonuses.range(claim.streak + 1..).next();
                let next_bonus = longer.map(|(&length, &multiplier)| (length, multiplier));
                Answer::Claim(Claim { next_bonus, ..claim })
            }
            other => other,
        }
    }

    fn look(&mut self, act: &Act, at: UserId) -> Answer {
        let own = self.open(act);
        let currency = self.settings.currency.clone();
        let holding = if at == act.member.id {
            let earliest = self.earliest(act);
            let opens = (own.opened.is_none() && act.now() < earliest).then_some(earliest);
            Holding { account: Some(own), currency, opens }
        } else {
            let account = self.books.get(&at).map(|book| book.account.clone());
            Holding { account, currency, opens: None }
        };
        Answer::Holding(holding)
    }

    fn read(&mut self, act: &Act, whose: UserId, page: u32) -> Answer {
        self.open(act);
        let lines = self.books.get(&whose).map(|book| book.lines.clone()).unwrap_or_default();
        let mut entries = lines.into_iter().rev().map(|line| line.entry);
        let entries: Vec<Entry> = entries.by_ref().skip((page * PAGE) as usize).collect();
        let more = entries.len() > PAGE as usize;
        let entries = entries.into_iter().take(PAGE as usize).collect();
        Answer::History(History { entries, page, more, currency: self.settings.currency.clone() })
    }

    fn rank(&mut self, act: &Act, scope: Scope) -> Answer {
        self.open(act);
        let today = act.now().date_naive();
        let value = |account: &Account| match scope {
            Scope::Balance => account.balance,
            Scope::Received => account.total_received,
            Scope::Streak => account.streak_on(today).into(),
        };
        let present = self.books.iter().filter(|(_, book)| book.account.left.is_none());
        let mut ranked: Vec<(UserId, i64)> =
            present.map(|(&member, book)| (member, value(&book.account))).collect();
        // Ids are in their order already.
        ranked.sort_by_key(|&(_, value)| std::cmp::Reverse(value));
        let standing = |&(member, value): &(UserId, i64)| {
            let above = ranked.iter().filter(|(_, other)| *other > value).count();
            Standing { rank: i64::try_from(above).expect("few") + 1, member, value }
        };
        let own = (act.member.id, value(&self.account(act.member.id)));
        Answer::Board(Board {
            scope,
            standings: ranked.iter().filter(|(_, value)| *value > 0).map(standing).collect(),
            page: 0,
            pages: 1,
            own: standing(&own),
            currency: self.settings.currency.clone(),
        })
    }

    fn adjust(&mut self, act: &Act, whose: UserId, direction: Direction, amount: i64) -> Answer {
        self.once(act, "adjustment", |model| {
            let currency = model.settings.currency.clone();
            let account = model.account(whose);
            let (balance, received) =
                check_adjustment(&currency, whose, &account, direction, amount)?;
            let book = model.book(whose);
            book.write(act, Kind::Adjustment, direction == Direction::Take, bot().id, amount);
            book.account.total_received = received;
            Ok(Answer::Adjusted(Adjusted { balance, currency, promised: false }))
        })
    }

    fn set(&mut self, act: &Act, new: Result<Settings, Refusal>) -> Answer {
        self.once(act, "settings", |model| {
            let new = new?;
            let changes = new.changes_since(&model.settings);
            model.settings = new;
            Ok(Answer::Changes(changes))
        })
    }

    fn apply(&mut self, delivery: &Delivery) -> Answer {
        let Delivery { act, deed } = delivery;
        match deed {
            Deed::Send { to, amount } => self.send(act, &member(*to), *amount, false),
            Deed::Confirm => self.confirm(act),
            Deed::Cancel => self.cancel(act),
            Deed::Claim => self.claim(act),
            Deed::Open => self.look(act, act.member.id),
            Deed::Look { at } => self.look(act, member(*at).id),
            Deed::Read { whose, page } => self.read(act, member(*whose).id, *page),
            Deed::Rank(scope) => self.rank(act, *scope),
            Deed::Adjust { whose, direction, amount } => {
                self.adjust(act, member(*whose).id, *direction, *amount)
            }
            Deed::Set(wishes) => self.set(act, wishes.apply(&self.settings)),
            Deed::Bonus { length, multiplier } => {
                let mut new = self.settings.clone();
                let allowed = check_bonus(&new.streak_bonuses, *length, *multiplier);
                new.streak_bonuses.insert(*length, *multiplier);
                self.set(act, allowed.map(|()| new))
            }
            Deed::Leave | Deed::Join => {
                if let Some(book) = self.books.get_mut(&act.member.id) {
                    book.account.left = matches!(deed, Deed::Leave).then_some(LEFT);
                }
                Answer::Done
            }
        }
    }

    /// The model after some order of these that gives each the answer it got, and leads to these
    /// books; who has no answer may have done nothing.
    fn after(&self, deliveries: &[(Delivery, Option<Answer>)], books: &Books) -> Option<Self> {
        let is_done = deliveries.iter().all(|(_, answer)| answer.is_none());
        if is_done && self.books == *books {
            return Some(self.clone());
        }
        (0..deliveries.len()).find_map(|next| {
            let (delivery, answer) = &deliveries[next];
            let mut model = self.clone();
            let said = model.apply(delivery);
            if answer.as_ref().is_some_and(|answer| *answer != said) {
                return None;
            }
            let others = [&deliveries[..next], &deliveries[next + 1..]].concat();
            model.after(&others, books)
        })
    }
}

/// When somebody left is the database's clock to say.
const LEFT: DateTime<Utc> = DateTime::<Utc>::MIN_UTC;

fn without_clock(mut account: Account) -> Account {
    account.left = account.left.map(|_| LEFT);
    account
}

async fn look(db: &Database, act: &Act, at: UserId) -> crate::Result<Holding> {
    let holding = account_of(db, act, at).await?;
    Ok(Holding { account: holding.account.map(without_clock), ..holding })
}

/// Does what is asked for.
async fn perform(bank: &Bank, delivery: &Delivery) -> crate::Result<Answer> {
    let Delivery { act, deed } = delivery;
    let (db, member_id) = (&bank.db, act.member.id);
    Ok(match deed {
        Deed::Send { to, amount } => {
            Answer::Sending(send(bank, act, &member(*to), *amount, None).await?)
        }
        Deed::Confirm => {
            let (pending, sent) = confirm(bank, act).await?;
            Answer::Confirmed(pending, sent)
        }
        Deed::Cancel => cancel(db, act).await.map(|()| Answer::Done)?,
        Deed::Claim => Answer::Claim(claim_daily(db, act).await?),
        Deed::Open => Answer::Holding(look(db, act, member_id).await?),
        Deed::Look { at } => Answer::Holding(look(db, act, member(*at).id).await?),
        Deed::Read { whose, page } => {
            Answer::History(history(db, act, member(*whose).id, *page).await?)
        }
        Deed::Rank(scope) => {
            queue_ended_streaks(db, act).await;
            Answer::Board(leaderboard(bank, act, *scope, 0).await?)
        }
        Deed::Adjust { whose, direction, amount } => {
            let whose = member(*whose);
            Answer::Adjusted(adjust(db, act, &whose, *direction, *amount, None).await?)
        }
        Deed::Set(wishes) => Answer::Changes(change_settings(db, act, wishes).await?),
        Deed::Bonus { length, multiplier } => {
            Answer::Changes(add_bonus(db, act, *length, *multiplier).await?)
        }
        Deed::Leave => member_left(db, act.guild, member_id).await.map(|()| Answer::Done)?,
        Deed::Join => member_joined(db, act.guild, member_id).await.map(|_| Answer::Done)?,
    })
}

/// As [`store::queue_ended_streaks`] does by the clock, on the day of an act.
async fn queue_ended_streaks(db: &Database, act: &Act) {
    sqlx::query(
        "insert into bytes_unranked (guild_id, user_id) \
         select guild_id, user_id from bytes_rankings where guild_id = $1 and ends_on <= $2 \
         on conflict do nothing",
    )
    .bind(act.guild.to_string())
    .bind(act.now().date_naive())
    .execute(db.pool())
    .await
    .expect("valid");
}

/// Does all of these at once, through one bank; the answers in their order.
async fn perform_all(bank: Bank, deliveries: Vec<Delivery>) -> Result<Vec<Answer>, TestCaseError> {
    let mut tasks = JoinSet::new();
    for (n, delivery) in deliveries.into_iter().enumerate() {
        let bank = bank.clone();
        tasks.spawn(async move { (n, perform(&bank, &delivery).await) });
    }
    let mut answers = tasks.join_all().await;
    answers.sort_by_key(|(n, _)| *n);
    let said = |(_, answer)| match answer {
        Ok(answer) => Ok(answer),
        Err(Error::Bytes(refusal)) => Ok(Answer::Refused(refusal.to_string())),
        Err(Error::Interaction(refusal)) => Ok(Answer::Refused(refusal.to_string())),
        Err(error) => Err(TestCaseError::fail(error.to_string())),
    };
    answers.into_iter().map(said).collect()
}

/// Does these in a process that dies after so many microseconds; its connections, to be closed when
/// all is done that they may still be doing.
async fn perform_and_die(pool: &PgPool, deliveries: Vec<Delivery>, after: u64) -> PgPool {
    let options = (*pool.connect_options()).clone();
    let pool = PgPoolOptions::new().max_connections(3).connect_with(options).await.expect("there");
    let work = tokio::spawn(perform_all(bank(&database(&pool)), deliveries));
    let death = Instant::now() + Duration::from_micros(after);
    // A sleep is a whole millisecond at least.
    while Instant::now() < death {
        yield_now().await;
    }
    work.abort();
    drop(work.await);
    pool
}

/// A guild, with the model of what should be in it.
struct World {
    pool: PgPool,
    bank: Bank,
    guild: GuildId,
    now: DateTime<Utc>,
    /// Acts so far.
    acts: Vec<Delivery>,
    keys: u64,
    model: Model,
}

impl World {
    fn new(pool: &PgPool) -> Self {
        static GUILDS: AtomicU64 = AtomicU64::new(1);
        Self {
            pool: pool.clone(),
            bank: bank(&database(pool)),
            guild: GuildId::new(GUILDS.fetch_add(1, Ordering::Relaxed)),
            now: noon(1),
            acts: Vec::new(),
            keys: 0,
            model: Model::default(),
        }
    }

    fn new_act(&mut self, by: Person, minutes: i64) -> Act {
        let at = self.now + TimeDelta::minutes(minutes);
        self.now = self.now.max(at);
        self.keys += 1;
        let key = InteractionId::new(snowflake(at, self.keys));
        Act { guild: self.guild, member: by, bot: bot(), key }
    }

    /// What a step delivers; `None` if there is nothing yet that it could be about.
    fn delivery(&mut self, step: Step) -> Option<Delivery> {
        match step {
            Step::New { deed: Deed::Send { to, .. }, by, .. } if to == by => None,
            Step::New { by, minutes, deed } => {
                // A leaderboard is of today.
                let is_board = matches!(deed, Deed::Rank(_));
                let minutes = if is_board { minutes.max(0) } else { minutes };
                let manages =
                    matches!(deed, Deed::Adjust { .. } | Deed::Set(_) | Deed::Bonus { .. });
                let by = if manages { manager() } else { member(by) };
                let delivery = Delivery { act: self.new_act(by, minutes), deed };
                if !is_board {
                    self.acts.push(delivery.clone());
                }
                Some(delivery)
            }
            Step::Again(_) if self.acts.is_empty() => None,
            Step::Again(of) => Some(of.get(&self.acts).clone()),
            Step::Press { confirms, of } => {
                let is_send = |delivery: &&Delivery| matches!(delivery.deed, Deed::Send { .. });
                let sends: Vec<&Delivery> = self.acts.iter().filter(is_send).collect();
                // Those that were asked about, or any.
                let asked =
                    |delivery: &&&Delivery| self.model.questions.contains_key(&delivery.act.key);
                let asked: Vec<&Delivery> = sends.iter().filter(asked).copied().collect();
                let sends = if asked.is_empty() { sends } else { asked };
                if sends.is_empty() {
                    return None;
                }
                let deed = if confirms { Deed::Confirm } else { Deed::Cancel };
                Some(Delivery { act: of.get(&sends).act.clone(), deed })
            }
        }
    }

    async fn obey(&mut self, command: Command) -> Result<(), TestCaseError> {
        let Command { steps, mut deliveries, mut killed } = command;
        let acts: Vec<Delivery> =
            steps.into_iter().filter_map(|step| self.delivery(step)).collect();
        // Of two leaderboards at once one leaves the other the work, and may lag.
        if acts.iter().any(|delivery| matches!(delivery.deed, Deed::Rank(_))) {
            (deliveries, killed) = (1, None);
        }
        let all = vec![acts.clone(); deliveries].concat();
        let dead = match killed {
            Some(after) => Some(perform_and_die(&self.pool, acts.clone(), after).await),
            None => None,
        };
        let answers = perform_all(self.bank.clone(), all.clone()).await?;
        let mut seen: Vec<_> = all.into_iter().zip(answers.into_iter().map(Some)).collect();
        if let Some(dead) = dead {
            seen.extend(acts.into_iter().map(|act| (act, None)));
            dead.close().await;
            // As after a start: what it had moved and not yet queued for the leaderboard.
            let mut connection = self.pool.acquire().await.expect("there");
            store::queue_differing(&mut connection).await.expect("valid");
        }
        let books = self.books().await?;
        let Some(model) = self.model.after(&seen, &books) else {
            let mut report = String::from("no order of these");
            for (Delivery { act, deed }, answer) in seen {
                let (key, by) = (act.key, act.member.username);
                write!(report, "\n  {key} {by} {deed:?} -> {answer:?}").expect("a string");
            }
            for (name, books) in [("from", &self.model.books), ("leads to", &books)] {
                write!(report, "\n{name} {}", listed(books)).expect("a string");
            }
            return Err(TestCaseError::fail(report));
        };
        self.model = model;
        Ok(())
    }

    /// What the tables say, each history along its chain; and what must hold of them whatever was
    /// asked for.
    async fn books(&self) -> Result<Books, TestCaseError> {
        let ledger = list_ledger(&self.pool, self.guild).await;
        let mut books = Books::new();
        for (member, head, account) in list_accounts(&self.pool, self.guild).await {
            prop_assert!(account.balance >= 0, "{member} has {}", account.balance);
            let mut lines = Vec::new();
            let mut next = head;
            while let Some(row) = next.and_then(|id| ledger.get(&id)) {
                let line = row.line(member);
                prop_assert!(lines.len() < ledger.len(), "the history of {member} is a circle");
                next = if line.entry.gave { row.giver.previous } else { row.receiver.previous };
                lines.push(line);
            }
            prop_assert_eq!(
                next,
                None,
                "the history of {} ends at a row that is not there",
                member
            );
            lines.reverse();
            books.insert(member, Book { account, lines });
        }
        let figure = |balance: i64| i128::from(balance);
        let held: i128 = books.values().map(|book| figure(book.account.balance)).sum();
        let (mut made, mut starting) = (0, BTreeMap::new());
        for row in ledger.values() {
            for side in
                [&row.giver, &row.receiver].into_iter().filter(|side| side.balance.is_some())
            {
                let listed = |line: &Line| line.entry == row.line(side.member).entry;
                let book = books.get(&side.member);
                prop_assert!(
                    book.is_some_and(|book| book.lines.iter().any(listed)),
                    "{row:?} is in no history"
                );
            }
            made += match (row.kind, row.giver.balance) {
                (Kind::Transfer, _) => 0,
                (_, None) => figure(row.amount),
                (_, Some(_)) => -figure(row.amount),
            };
            if row.kind == Kind::Starting {
                *starting.entry(row.receiver.member).or_insert(0) += 1;
            }
        }
        prop_assert_eq!(held, made, "bytes out of nothing");
        prop_assert!(starting.values().all(|&times| times == 1), "{starting:?} starting balances");
        Ok(books)
    }

    /// Reads everything as members do, and audits it.
    async fn read_all(&mut self) -> Result<(), TestCaseError> {
        let mut ways: Vec<(usize, Deed)> = (0..MEMBERS.len())
            .flat_map(|whose| {
                let pages =
                    self.model.books.get(&member(whose).id).map_or(0, |b| b.lines.len() / 10);
                let pages = 0..=u32::try_from(pages).expect("few");
                pages.map(move |page| (whose, Deed::Read { whose, page }))
            })
            .collect();
        let scopes = [Scope::Balance, Scope::Received, Scope::Streak];
        ways.extend(scopes.into_iter().enumerate().map(|(by, scope)| (by, Deed::Rank(scope))));
        for (by, deed) in ways {
            let delivery = Delivery { act: self.new_act(member(by), 0), deed };
            let answers = perform_all(self.bank.clone(), vec![delivery.clone()]).await?;
            prop_assert_eq!(answers, vec![self.model.apply(&delivery)], "{:?}", delivery);
        }
        let differences = audit(&self.pool).await.expect("readable").differences;
        let guild = self.guild.to_string();
        let own: Vec<_> = differences.iter().filter(|d| d.guild_id == guild).collect();
        prop_assert!(own.is_empty(), "{own:?}");
        Ok(())
    }
}

/// One side of a row of the ledger.
#[derive(Debug)]
struct Side {
    member: UserId,
    balance: Option<i64>,
    previous: Option<Uuid>,
}

/// A row of the ledger.
#[derive(Debug)]
struct Row {
    kind: Kind,
    giver: Side,
    receiver: Side,
    amount: i64,
    manager: Option<UserId>,
    at: DateTime<Utc>,
}

impl Row {
    /// The row as a line of one side's history.
    fn line(&self, member: UserId) -> Line {
        let gave = member == self.giver.member;
        let (own, other) =
            if gave { (&self.giver, &self.receiver) } else { (&self.receiver, &self.giver) };
        let Self { kind, amount, manager, at, .. } = *self;
        let entry = Entry { kind, gave, other: other.member, amount, reason: None, manager, at };
        Line { entry, balance: own.balance.unwrap_or(-1) }
    }
}

fn user(id: &str) -> UserId {
    UserId::new(id.parse().expect("digits"))
}

async fn list_ledger(pool: &PgPool, guild: GuildId) -> BTreeMap<Uuid, Row> {
    type Columns = (
        Uuid,
        Kind,
        (String, Option<i64>, Option<Uuid>),
        (String, Option<i64>, Option<Uuid>),
        i64,
        Option<String>,
        DateTime<Utc>,
    );
    let rows: Vec<Columns> = sqlx::query_as(
        "select id, kind, (giver_id::text, giver_balance, giver_previous_id), \
         (receiver_id::text, receiver_balance, receiver_previous_id), amount, manager_id::text, created_at \
         from bytes_transactions where guild_id = $1",
    )
    .bind(guild.to_string())
    .fetch_all(pool)
    .await
    .expect("readable");
    let side =
        |(id, balance, previous): (String, _, _)| Side { member: user(&id), balance, previous };
    rows.into_iter()
        .map(|(id, kind, giver, receiver, amount, manager, at)| {
            let manager = manager.as_deref().map(user);
            (id, Row { kind, giver: side(giver), receiver: side(receiver), amount, manager, at })
        })
        .collect()
}

/// Every account with the newest row of its history.
async fn list_accounts(pool: &PgPool, guild: GuildId) -> Vec<(UserId, Option<Uuid>, Account)> {
    let heads: Vec<(String, Option<Uuid>)> = sqlx::query_as(
        "select user_id::text, last_transaction_id from bytes_balances where guild_id = $1",
    )
    .bind(guild.to_string())
    .fetch_all(pool)
    .await
    .expect("readable");
    let mut connection = pool.acquire().await.expect("there");
    let mut accounts = Vec::new();
    for (id, head) in heads {
        let account = store::find_account(&mut connection, guild, user(&id)).await;
        let account = without_clock(account.expect("readable").expect("there"));
        accounts.push((user(&id), head, account));
    }
    accounts
}

async fn live(pool: PgPool, commands: Vec<Command>) -> Result<(), TestCaseError> {
    let mut world = World::new(&pool);
    for command in commands {
        world.obey(command).await?;
    }
    world.read_all().await
}

#[sqlx::test]
async fn whatever_members_do_the_economy_is_that_of_the_model(pool: PgPool) {
    let cases = std::env::var("BYTEKEEPER_MODEL_CASES").ok().and_then(|cases| cases.parse().ok());
    let config = Config {
        cases: cases.unwrap_or(32),
        failure_persistence: None,
        max_shrink_iters: 400,
        ..Config::default()
    };
    let handle = Handle::current();
    let in_pool = pool.clone();
    let run = move || {
        let lived =
            TestRunner::new(config).run(&prop::collection::vec(command(), 1..40), |commands| {
                let task = handle.spawn(live(in_pool.clone(), commands));
                let fail = |panic: JoinError| Err(TestCaseError::fail(panic.to_string()));
                handle.block_on(task).unwrap_or_else(fail)
            });
        if let Err(TestError::Fail(reason, commands)) = lived {
            let lines: Vec<_> = commands.iter().map(|command| format!("{command:?}")).collect();
            panic!("{reason}\nafter\n{}", lines.join("\n"));
        }
        lived.expect("a run");
    };
    tokio::task::spawn_blocking(run).await.expect("as the model");

    super::assert_clean(&pool).await;
    let deadlocks: i64 = sqlx::query_scalar(
        "select deadlocks from pg_stat_database where datname = current_database()",
    )
    .fetch_one(&pool)
    .await
    .expect("readable");
    assert_eq!(deadlocks, 0, "who locks in the order of ids never meets another");
}
