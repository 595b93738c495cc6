//! Bytes, the guild's currency: accounts, transfers, dailies and the leaderboard.
//!
//! `commands` speaks Discord, `rules` decides, `store` speaks SQL; the functions here join them.
//! Transfer and daily are one statement each, a function of the database that locks, decides,
//! moves and records; what they return is the state after it, also for a second delivery of the
//! same act.

mod clearing;
mod commands;
mod currency;
mod economy;
mod leaderboard;
mod managers;
pub mod rewards;
pub mod rules;
pub mod settings;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use commands::{commands, press, submit};
pub use currency::{Amount, Currency};
pub use leaderboard::{Board, Scope, Standing, keep_ranked, leaderboard};
pub use managers::{Adjusted, add_bonus, adjust, change_settings, remove_bonus};
pub use rewards::{member_joined, member_left};
pub use rules::{Account, Direction, Refusal, Settings};

use std::fmt;

use chrono::{DateTime, Utc};
use poise::serenity_prelude::UserId;
use serde_json::json;
use sqlx::{Connection, PgPool};

use self::store::Own;

use self::clearing::Quick;
use crate::act::{self, Act, Person};
use crate::db::Database;
use crate::discord::text::counted;
use crate::outbox::Outbox;
use crate::{Error, Result, discord};

/// What a member has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// Their account, if they have one yet.
    pub account: Option<Account>,
    /// What bytes are called.
    pub currency: Currency,
    /// Of one's own, where the Discord account is too new: from when on a command brings the
    /// starting balance.
    pub opens: Option<DateTime<Utc>>,
}

/// A transfer that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The giver's bytes after it.
    pub balance: i64,
    /// The receiver's bytes after it.
    pub receiver_balance: i64,
    /// What they are called.
    pub currency: Currency,
    /// Whether the receiver earned a role by it: the outbox's worker is to be woken.
    pub promised: bool,
}

/// A transfer that waits for its giver's word; nothing was moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// The giver's bytes as they are.
    pub balance: i64,
    /// What they are called.
    pub currency: Currency,
}

/// What became of a transfer that no rule forbade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sending {
    /// It was made.
    Sent(Sent),
    /// It waits for [`confirm`] or [`cancel`].
    Confirm(Preview),
}

/// What a giver was asked to confirm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Who gets it.
    pub receiver: Person,
    /// Bytes, at least 1.
    pub amount: i64,
    /// The giver's words.
    pub reason: Option<String>,
}

/// A daily that was paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Bytes it paid.
    pub reward: i64,
    /// Days of the streak with it.
    pub streak: i32,
    /// Bytes of the account after it.
    pub balance: i64,
    /// When the next one can be claimed.
    pub next: DateTime<Utc>,
    /// The next longer streak with a bonus and its multiplier, if there is one.
    pub next_bonus: Option<(i32, i32)>,
    /// What bytes are called.
    pub currency: Currency,
    /// Whether the member earned a role by it: the outbox's worker is to be woken.
    pub promised: bool,
}

/// What a change of a balance was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "bytes_transaction_kind", rename_all = "snake_case")]
pub enum Kind {
    /// The balance of a new account.
    Starting,
    /// A daily.
    Daily,
    /// From a member to another.
    Transfer,
    /// The price of joining a squad.
    SquadFee,
    /// A manager's correction.
    Adjustment,
}

/// A line of a member's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it was for.
    pub kind: Kind,
    /// Whether the member gave; else they received.
    pub gave: bool,
    /// The other side; the bot's own id where it wasn't a member.
    pub other: UserId,
    /// Bytes, at least 1.
    pub amount: i64,
    /// The giver's or the manager's words.
    pub reason: Option<String>,
    /// Of an adjustment: the manager who made it.
    pub manager: Option<UserId>,
    /// When it was asked for.
    pub at: DateTime<Utc>,
}

/// A page of a member's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Newest first, at most [`PAGE`].
    pub entries: Vec<Entry>,
    /// Which page it is, from 0.
    pub page: u32,
    /// Whether a later page has anything.
    pub more: bool,
    /// What bytes are called.
    pub currency: Currency,
}

/// Lines of a page.
pub const PAGE: u32 = 10;
/// The last page of a history: what it costs to read grows with the page.
pub const LAST_HISTORY_PAGE: u32 = 99;

/// Somebody's account, as the acting member may see it.
///
/// The acting member's own account is opened if this is their first own command, the other's is
/// not.
///
/// # Errors
///
/// As [`Database::settle`].
pub async fn account_of(db: &Database, act: &Act, member: UserId) -> Result<Holding> {
    db.settle(|mut connection| async move {
        if member == act.member.id {
            let Own { account, currency, opens } =
                store::open_account(&mut connection, act).await?;
            return Ok(Holding { account: Some(account), currency, opens });
        }
        let mut tx = connection.begin().await?;
        let Own { currency, .. } = store::open_account(&mut tx, act).await?;
        let account = store::find_account(&mut tx, act.guild, member).await?;
        tx.commit().await?;
        Ok(Holding { account, currency, opens: None })
    })
    .await
}

/// The acting member's own account, opened if this is their first own command.
async fn own_account(db: &Database, act: &Act) -> Result<Own> {
    db.settle(|mut connection| async move { store::open_account(&mut connection, act).await }).await
}

/// The account whose balance the acting member shows to everybody, once an act.
///
/// # Errors
///
/// [`Refusal::Shared`] if this act did so before; else as [`Database::settle`].
pub async fn share(db: &Database, act: &Act, member: UserId) -> Result<(Account, Currency)> {
    let Holding { account, currency, .. } = account_of(db, act, member).await?;
    if act::begin_once(db, act, "share").await? {
        Ok((account.unwrap_or_default(), currency))
    } else {
        Err(Refusal::Shared.into())
    }
}

/// Where the guilds' bytes are: the database, and what gathers transfers on their way to it. Cheap to
/// clone.
#[derive(Debug, Clone)]
pub struct Bank {
    db: Database,
    clearing: clearing::Clearing,
    looks: leaderboard::Looks,
    outbox: Outbox,
}

impl Bank {
    /// Opens on a database, within a tokio runtime; what transfers promise wakes the outbox.
    #[must_use]
    pub fn new(db: Database, outbox: Outbox) -> Self {
        let clearing = clearing::Clearing::new(&db);
        Self { db, clearing, looks: leaderboard::Looks::default(), outbox }
    }
}

/// Sends bytes from the acting member to another and records it in the ledger, once an act; what
/// the guild wants confirmed is only made ready for [`confirm`].
///
/// # Errors
///
/// [`Refusal`] if a rule forbids it, and the same again at each delivery of the act; else as
/// [`Database::settle`].
pub async fn send(
    bank: &Bank,
    act: &Act,
    receiver: &Person,
    amount: i64,
    reason: Option<&str>,
) -> Result<Sending> {
    transfer(bank, act, receiver, amount, reason, false).await
}

async fn transfer(
    bank: &Bank,
    act: &Act,
    receiver: &Person,
    amount: i64,
    reason: Option<&str>,
    confirmed: bool,
) -> Result<Sending> {
    let order = clearing::Transfer {
        act: act.clone(),
        id: act.row_id("transfer"),
        receiver: receiver.clone(),
        amount,
        reason: reason.map(str::to_owned),
        confirmed,
    };
    let quick = bank.clearing.make(order).await;
    if let Quick::Made(sent) = quick {
        bank.outbox.wake_if(sent.promised);
        return Ok(Sending::Sent(sent));
    }
    let sending = bank
        .db
        .settle_after(quick == Quick::Unknown, |mut connection| async move {
            store::transfer(&mut connection, act, receiver, amount, reason, confirmed).await
        })
        .await??;
    if let Sending::Sent(sent) = &sending {
        bank.outbox.wake_if(sent.promised);
    }
    Ok(sending)
}

/// What the act's first delivery sent, or asked about: a form may be sent off again with something
/// else in it, which is then neither. `None` if there is nothing, or it can't be known now.
async fn first_gift(bank: &Bank, act: &Act) -> Option<Pending> {
    let found = bank
        .db
        .settle(|mut connection| async move { store::find_first_gift(&mut connection, act).await });
    found.await.ok().flatten()
}

/// Makes the transfer that the act waited to have confirmed, once; every rule decides anew.
///
/// # Errors
///
/// [`Refusal`] if a rule forbids it by now or it was cancelled; [`discord::Refusal::Expired`] if
/// there is nothing to confirm; else as [`Database::settle`].
pub async fn confirm(bank: &Bank, act: &Act) -> Result<(Pending, Sent)> {
    let pending = bank
        .db
        .settle(|mut connection| async move { store::find_pending(&mut connection, act).await })
        .await?
        .ok_or(discord::Refusal::Expired)?;
    let Pending { receiver, amount, reason } = &pending;
    match transfer(bank, act, receiver, *amount, reason.as_deref(), true).await? {
        Sending::Sent(sent) => Ok((pending, sent)),
        Sending::Confirm(_) => Err(discord::Refusal::Outdated.into()),
    }
}

/// Whether a confirmed transfer is now to be told to everybody: `true` once an act.
///
/// Not what the transfer's own second delivery could tell: a first one whose answer from Postgres
/// was lost is repeated, and has told nobody.
///
/// # Errors
///
/// As [`Database::settle`].
pub async fn tell_once(db: &Database, act: &Act) -> Result<bool> {
    act::begin_once(db, act, "told").await
}

/// Gives up the transfer that the act waited to have confirmed; a later [`confirm`] is refused.
///
/// # Errors
///
/// [`Refusal::SentAlready`] if it was made by then; else as [`Database::settle`].
pub async fn cancel(db: &Database, act: &Act) -> Result<()> {
    let is_sent = db
        .settle(|mut connection| async move {
            let mut tx = connection.begin().await?;
            // Whoever makes the transfer holds this too.
            let (giver, _) = store::lock_account(&mut tx, act.guild, act.member.id).await?;
            let is_sent = store::is_sent(&mut tx, act).await?;
            if !is_sent && act::begin(&mut tx, act, "transfer").await?.is_none() {
                // As the transfer records its refusals.
                let refusal = json!({ "outcome": "cancelled", "balance": giver.balance });
                act::end(&mut tx, act, "transfer", &refusal).await?;
            }
            tx.commit().await?;
            Ok(is_sent)
        })
        .await?;
    if is_sent { Err(Refusal::SentAlready.into()) } else { Ok(()) }
}

/// Pays the acting member's daily, once a UTC day.
///
/// # Errors
///
/// [`Refusal`] if it was claimed already or a rule forbids it; else as [`Database::settle`].
pub async fn claim_daily(db: &Database, act: &Act) -> Result<Claim> {
    Ok(db
        .settle(|mut connection| async move { store::claim_daily(&mut connection, act).await })
        .await??)
}

/// A page of what a member gave and received; a page beyond the last is the last there can be.
///
/// # Errors
///
/// As [`Database::settle`].
pub async fn history(db: &Database, act: &Act, member: UserId, page: u32) -> Result<History> {
    let page = page.min(LAST_HISTORY_PAGE);
    let (mut entries, currency) = db
        .settle(|mut connection| async move {
            let mut tx = connection.begin().await?;
            let Own { currency, .. } = store::open_account(&mut tx, act).await?;
            let (limit, offset) = (i64::from(PAGE) + 1, i64::from(page) * i64::from(PAGE));
            let entries = store::list_history(&mut tx, act.guild, member, limit, offset).await?;
            tx.commit().await?;
            Ok((entries, currency))
        })
        .await?;
    let more = entries.len() > PAGE as usize && page < LAST_HISTORY_PAGE;
    entries.truncate(PAGE as usize);
    Ok(History { entries, page, more, currency })
}

/// How this guild's economy works.
///
/// # Errors
///
/// As [`Database::settle`].
pub async fn settings(db: &Database, act: &Act) -> Result<Settings> {
    db.settle(|mut connection| async move {
        let mut tx = connection.begin().await?;
        store::open_account(&mut tx, act).await?;
        let settings = store::find_settings(&mut tx, act.guild).await?;
        tx.commit().await?;
        Ok(settings)
    })
    .await
}

/// What the ledger says of the balances, over all guilds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Accounts there are.
    pub accounts: i64,
    /// Rows of the ledger.
    pub transactions: i64,
    /// Every account that differs.
    pub differences: Vec<Difference>,
    /// Accounts whose history isn't one chain of all their rows, or that got the starting balance
    /// twice.
    pub broken_histories: i64,
}

impl Audit {
    /// Whether every account is as the ledger says, and every history whole.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.differences.is_empty() && self.broken_histories == 0
    }
}

/// An account that differs from its ledger; figures as text, for a sum may leave 64 bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The guild's id.
    pub guild_id: String,
    /// The member's id.
    pub user_id: String,
    /// The balance; `None` if there is no account.
    pub balance: Option<String>,
    /// The balance that the ledger adds up to.
    pub ledger_balance: String,
    /// `total_received` of the account.
    pub total_received: Option<String>,
    /// `total_received` by the ledger.
    pub ledger_received: String,
    /// `total_sent` of the account.
    pub total_sent: Option<String>,
    /// `total_sent` by the ledger.
    pub ledger_sent: String,
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let differ = match self.differences.len() {
            0 => "none differs".to_owned(),
            1 => "1 differs".to_owned(),
            n => format!("{n} differ"),
        };
        let accounts = counted(self.accounts, "account");
        writeln!(f, "{accounts}, {}, {differ}", counted(self.transactions, "ledger row"))?;
        for difference in &self.differences {
            writeln!(f, "{difference}")?;
        }
        match self.broken_histories {
            0 => Ok(()),
            broken => writeln!(f, "broken histories: {}", counted(broken, "account")),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "guild {} member {}:", self.guild_id, self.user_id)?;
        let figures = [
            ("balance", &self.balance, &self.ledger_balance),
            ("total_received", &self.total_received, &self.ledger_received),
            ("total_sent", &self.total_sent, &self.ledger_sent),
        ];
        for (name, account, ledger) in figures {
            let account = account.as_deref().unwrap_or("no account");
            if account != ledger {
                write!(f, " {name} {account}, by the ledger {ledger};")?;
            }
        }
        Ok(())
    }
}

/// Proves every account against the ledger, in one snapshot of the database.
///
/// # Errors
///
/// If Postgres fails.
pub async fn audit(db: &PgPool) -> Result<Audit> {
    async {
        let mut connection = db.acquire().await?;
        let mut tx = connection
            .begin_with(
                "begin isolation level repeatable read, read only; set local statement_timeout = 0",
            )
            .await?;
        let (accounts, transactions) = store::count_ledger(&mut tx).await?;
        let differences = store::list_differences(&mut tx).await?;
        let broken_histories = store::count_broken_histories(&mut tx).await?;
        tx.commit().await?;
        Ok(Audit { accounts, transactions, differences, broken_histories })
    }
    .await
    .map_err(Error::Database)
}
