//! What the economy allows. Pure: no clock, no database, and of Discord only how it shows text.
//!
//! The transfer and the daily decide inside Postgres, in the functions `bytes_transfer` and
//! `bytes_claim_daily`; [`check_transfer`] and [`check_daily`] are the same decisions, and a
//! property test holds the two together.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use poise::serenity_prelude::{RoleId, UserId};

use super::Currency;
use super::settings::Setting;
use crate::discord::text::{counted, grouped, relative};

/// How a guild's economy works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of a new account, 0..=10 000.
    pub starting_balance: i64,
    /// Bytes of a daily without a bonus, 1..=1 000.
    pub daily_amount: i64,
    /// Streak length in days -> multiplier of the daily, 1..=256.
    pub streak_bonuses: BTreeMap<i32, i32>,
    /// The most bytes of one transfer, 1..=100 000.
    pub max_transfer: i64,
    /// Hours between a member's transfers, 0..=168.
    pub transfer_cooldown_hours: i32,
    /// Role -> the least `total_received` that earns it.
    pub role_rewards: BTreeMap<RoleId, i64>,
    /// From this amount on the giver confirms a transfer, 0 (never)..=100 000.
    pub confirm_from: i64,
    /// Least age of the Discord account in days, 0..=365.
    pub min_account_age_days: i32,
    /// What the currency is called.
    pub currency: Currency,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            starting_balance: 100,
            daily_amount: 10,
            streak_bonuses: BTreeMap::from([(8, 2), (16, 4), (32, 8), (64, 16)]),
            max_transfer: 1_000,
            transfer_cooldown_hours: 0,
            role_rewards: BTreeMap::new(),
            confirm_from: 100,
            min_account_age_days: 0,
            currency: Currency::default(),
        }
    }
}

impl Settings {
    /// From when on a Discord account takes part; the beginning of time where any age will do.
    #[must_use]
    pub fn earliest(&self, account_created: DateTime<Utc>) -> DateTime<Utc> {
        match self.min_account_age_days {
            0 => DateTime::<Utc>::MIN_UTC,
            days => account_created + TimeDelta::days(days.into()),
        }
    }

    /// Bytes of a daily at a streak of that many days.
    #[must_use]
    pub fn daily_reward(&self, streak: i32) -> i64 {
        let reached = self.streak_bonuses.range(..=streak).map(|(_, &multiplier)| multiplier);
        self.daily_amount * i64::from(reached.max().unwrap_or(1))
    }
}

/// One member's account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Bytes there are.
    pub balance: i64,
    /// Transfers, dailies and positive adjustments so far.
    pub total_received: i64,
    /// Transfers so far.
    pub total_sent: i64,
    /// The UTC day of the last daily.
    pub last_daily: Option<NaiveDate>,
    /// Days of the streak that [`last_daily`](Self::last_daily) belongs to.
    pub streak: i32,
    /// When the member last sent a transfer.
    pub last_transfer: Option<DateTime<Utc>>,
    /// When the starting balance was settled; `None` while the account has only received.
    pub opened: Option<DateTime<Utc>>,
    /// When the member was seen to have left the guild; `None` while they are in it.
    pub left: Option<DateTime<Utc>>,
}

impl Account {
    /// The streak as it stands on `today`: 0 once a whole day was missed.
    #[must_use]
    pub fn streak_on(&self, today: NaiveDate) -> i32 {
        match self.last_daily {
            Some(last) if last + Days::new(1) >= today => self.streak,
            _ => 0,
        }
    }
}

/// Why the economy said no. The text is shown to the member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Giver and receiver are the same member.
    #[error("You can't send anything to yourself. Pick another member.")]
    ToSelf,
    /// Bots have no account, nor have webhooks, which write as if they were.
    #[error("Bots and webhooks have no account. Pick a member who is not a bot.")]
    ToBot,
    /// The receiver is not in the guild.
    #[error("That user is not in this server. Pick someone who is.")]
    NotAMember,
    /// The amount is below 1.
    #[error("The amount must be at least 1.")]
    BelowOne,
    /// What should be an amount is something else.
    #[error("The amount must be a whole number, such as `60` or `1,234`.")]
    NotANumber,
    /// The Discord account is younger than the guild asks for.
    #[error(
        "Your Discord account is too new to take part in this server's economy. You can do this {}.",
        relative(*until)
    )]
    TooYoung {
        /// From when on it's old enough.
        until: DateTime<Utc>,
    },
    /// The amount is above the limit.
    #[error("You can send at most {} at once.", currency.amount(*max))]
    AboveLimit {
        /// The most of one transfer.
        max: i64,
        /// The guild's.
        currency: Currency,
    },
    /// The giver sent something too recently.
    #[error("You can send again {}.", relative(*until))]
    OnCooldown {
        /// The first instant at which a transfer is allowed.
        until: DateTime<Utc>,
    },
    /// The balance is smaller than the amount.
    #[error(
        "You have {}; sending {} needs {} more.",
        currency.amount(*balance), grouped(*asked), grouped(asked - balance)
    )]
    TooLittle {
        /// What the giver has.
        balance: i64,
        /// What was asked for.
        asked: i64,
        /// The guild's.
        currency: Currency,
    },
    /// Some figure would leave 64 bits.
    #[error("That is more than an account can hold ({}). Nothing was moved.", grouped(i64::MAX))]
    Overflow,
    /// The giver thought better of it.
    #[error("Cancelled. Nothing was sent.")]
    Cancelled,
    /// The giver cancels what was sent by then.
    #[error("This was sent already, so it can't be cancelled.")]
    SentAlready,
    /// The daily of this day was claimed.
    #[error("You have claimed your daily already. The next one is ready {}.", relative(*until))]
    Claimed {
        /// The start of the next day.
        until: DateTime<Utc>,
    },
    /// This act showed the balance to everybody already.
    #[error("You have shared this already. Use `/bytes balance` again to share it anew.")]
    Shared,
    /// Somebody else's history is for managers.
    #[error(
        "Only members with the Manage Server permission can see somebody else's history. Leave out `member` to see yours."
    )]
    OthersHistory,
    /// The economy is run by managers.
    #[error("Only members with the Manage Server permission can do this.")]
    NotAManager,
    /// No setting was named.
    #[error(
        "Name at least one setting to change, such as `daily_amount`. `/economy show` lists them all."
    )]
    NothingToSet,
    /// A number outside of what a setting takes.
    #[error("`{setting}` takes {} to {}, not {}.", grouped(*setting.range().start()), grouped(*setting.range().end()), grouped(*value))]
    OutOfRange {
        /// Which setting.
        setting: Setting,
        /// What was asked for.
        value: i64,
    },
    /// A name for the currency that is too short or too long.
    #[error("`currency_name` takes 1 to 32 characters.")]
    BadName,
    /// What should be an emoji is something else.
    #[error(
        "`currency_emoji` takes one emoji, such as \u{1fa99}, one of this server's own, or `none`."
    )]
    NotAnEmoji,
    /// A custom emoji that isn't the guild's.
    #[error(
        "That emoji is not one of this server's own, so I can't use it. Pick one of this server's, or any emoji of Discord's standard set."
    )]
    ForeignEmoji,
    /// A custom emoji of the guild that the bot may not use.
    #[error("That emoji is kept for some roles or can't be used at the moment. Pick another one.")]
    LockedEmoji,
    /// There is no room for another bonus.
    #[error(
        "There are {MAX_BONUSES} streak bonuses already, which is the most there can be. Remove one with `/economy streak remove` first."
    )]
    TooManyBonuses,
    /// There is no bonus at that length.
    #[error("There is no bonus at a streak of {}. `/economy show` lists those there are.", counted(i64::from(*length), "day"))]
    NoSuchBonus {
        /// Days.
        length: i32,
    },
    /// A manager takes more than there is.
    #[error("{} has {}; taking {} is {} too many.", mention(*member), currency.amount(*balance), grouped(*asked), grouped(asked - balance))]
    TakesTooMuch {
        /// Whose account.
        member: UserId,
        /// What they have.
        balance: i64,
        /// What was asked for.
        asked: i64,
        /// The guild's.
        currency: Currency,
    },
    /// A manager grants more than an account can hold.
    #[error(
        "{} has {} and received {} so far; {} more is above what an account can hold ({}). Nothing was moved.",
        mention(*member), currency.amount(*balance), grouped(*received), grouped(*asked), grouped(i64::MAX)
    )]
    GrantsTooMuch {
        /// Whose account.
        member: UserId,
        /// What they have.
        balance: i64,
        /// What they received so far.
        received: i64,
        /// What was asked for.
        asked: i64,
        /// The guild's.
        currency: Currency,
    },
    /// What an earlier delivery of the act was told.
    #[error("{0}")]
    Again(String),
    /// A reward can't be set up so.
    #[error(transparent)]
    Reward(#[from] super::rewards::rules::Refusal),
}

/// A member as Discord shows them.
fn mention(member: UserId) -> String {
    format!("<@{member}>")
}

/// What is asked for in a transfer.
#[derive(Debug, Clone, Copy)]
pub struct Gift {
    /// At least 1.
    pub amount: i64,
    /// Whether the giver has pressed the button.
    pub confirmed: bool,
    /// When the giver's Discord account was made.
    pub account_created: DateTime<Utc>,
    /// When it was asked for.
    pub now: DateTime<Utc>,
}

/// What becomes of a transfer that no rule forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It's made.
    Move,
    /// The giver is asked first.
    Confirm,
}

/// Decides a transfer.
///
/// `giver` is the account after its opening. What needs no account (oneself, bots, strangers,
/// amounts below 1) is refused by [`check_gift`].
///
/// # Errors
///
/// The first rule, in the order of this function, that forbids it.
pub fn check_transfer(
    settings: &Settings,
    giver: &Account,
    receiver: &Account,
    gift: Gift,
) -> Result<Verdict, Refusal> {
    let Gift { amount, confirmed, account_created, now } = gift;
    let currency = || settings.currency.clone();
    let until = settings.earliest(account_created);
    if now < until {
        return Err(Refusal::TooYoung { until });
    }
    if amount > settings.max_transfer {
        return Err(Refusal::AboveLimit { max: settings.max_transfer, currency: currency() });
    }
    if let Some(last) = giver.last_transfer.filter(|_| settings.transfer_cooldown_hours > 0) {
        let until = last + TimeDelta::hours(settings.transfer_cooldown_hours.into());
        if now < until {
            return Err(Refusal::OnCooldown { until });
        }
    }
    if amount > giver.balance {
        let balance = giver.balance;
        return Err(Refusal::TooLittle { balance, asked: amount, currency: currency() });
    }
    let fits = [receiver.balance, receiver.total_received, giver.total_sent]
        .iter()
        .all(|figure| figure.checked_add(amount).is_some());
    if !fits {
        return Err(Refusal::Overflow);
    }
    // Until it's confirmed, the command itself shows that the receiver is there.
    if confirmed && receiver.left.is_some() {
        return Err(Refusal::NotAMember);
    }
    let asks = !confirmed && settings.confirm_from > 0 && amount >= settings.confirm_from;
    Ok(if asks { Verdict::Confirm } else { Verdict::Move })
}

/// Refuses a gift for what needs no account to be known.
///
/// # Errors
///
/// The first of: to oneself, to a bot, to a stranger, below 1.
pub fn check_gift(to_self: bool, to_bot: bool, is_member: bool, asked: i64) -> Result<(), Refusal> {
    if to_self {
        Err(Refusal::ToSelf)
    } else if to_bot {
        Err(Refusal::ToBot)
    } else if !is_member {
        Err(Refusal::NotAMember)
    } else if asked < 1 {
        Err(Refusal::BelowOne)
    } else {
        Ok(())
    }
}

/// Reads an amount that somebody wrote: digits, perhaps with their thousands set apart by commas,
/// spaces, apostrophes or underscores (one kind throughout).
///
/// # Errors
///
/// [`Refusal::NotANumber`], or [`Refusal::Overflow`] beyond 64 bits. A point is refused: it's a
/// separator in some countries and a decimal point in others.
pub fn parse_amount(text: &str) -> Result<i64, Refusal> {
    const SEPARATORS: [char; 7] = [',', ' ', '\u{a0}', '\u{202f}', '\'', '\u{2019}', '_'];
    let text = text.trim();
    let separator = text.chars().find(|c| SEPARATORS.contains(c));
    let groups: Vec<&str> = match separator {
        Some(separator) => text.split(separator).collect(),
        None => vec![text],
    };
    let is_number = |(at, group): (usize, &&str)| {
        let length = match (separator, at) {
            (None, _) => 1..=usize::MAX,
            (Some(_), 0) => 1..=3,
            (Some(_), _) => 3..=3,
        };
        length.contains(&group.len()) && group.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !groups.iter().enumerate().all(is_number) {
        return Err(Refusal::NotANumber);
    }
    // Digits alone fail to parse only by being too many.
    groups.concat().parse().map_err(|_| Refusal::Overflow)
}

/// The most streak bonuses of a guild: what one message can list.
pub const MAX_BONUSES: usize = 20;

/// Decides whether a guild with these bonuses may have another at `length`.
///
/// # Errors
///
/// [`Refusal::OutOfRange`] or [`Refusal::TooManyBonuses`].
pub fn check_bonus(
    bonuses: &BTreeMap<i32, i32>,
    length: i32,
    multiplier: i32,
) -> Result<(), Refusal> {
    Setting::BonusLength.check(length.into())?;
    Setting::BonusMultiplier.check(multiplier.into())?;
    let fits = bonuses.contains_key(&length) || bonuses.len() < MAX_BONUSES;
    if fits { Ok(()) } else { Err(Refusal::TooManyBonuses) }
}

/// Which way a manager's adjustment goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the member.
    Grant,
    /// From the member.
    Take,
}

/// Decides an adjustment: the member's balance and `total_received` after it.
///
/// # Errors
///
/// [`Refusal::TakesTooMuch`] or [`Refusal::GrantsTooMuch`].
pub fn check_adjustment(
    currency: &Currency,
    member: UserId,
    account: &Account,
    direction: Direction,
    asked: i64,
) -> Result<(i64, i64), Refusal> {
    let (balance, received, currency) = (account.balance, account.total_received, currency.clone());
    match direction {
        Direction::Grant => balance
            .checked_add(asked)
            .zip(received.checked_add(asked))
            .ok_or(Refusal::GrantsTooMuch { member, balance, received, asked, currency }),
        Direction::Take if asked > balance => {
            Err(Refusal::TakesTooMuch { member, balance, asked, currency })
        }
        Direction::Take => Ok((balance - asked, received)),
    }
}

/// Decides a daily: the reward in bytes and the new streak in days.
///
/// `account` is the account after its opening.
///
/// # Errors
///
/// The first rule, in the order of this function, that forbids it.
pub fn check_daily(
    settings: &Settings,
    account: &Account,
    account_created: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(i64, i32), Refusal> {
    let until = settings.earliest(account_created);
    if now < until {
        return Err(Refusal::TooYoung { until });
    }
    let today = now.date_naive();
    if let Some(last) = account.last_daily.filter(|&last| last >= today) {
        return Err(Refusal::Claimed { until: day_after(last) });
    }
    let continues = account.last_daily.is_some_and(|last| last + Days::new(1) == today);
    let streak = if continues { account.streak.saturating_add(1) } else { 1 };
    let reward = settings.daily_reward(streak);
    let fits = [account.balance, account.total_received]
        .iter()
        .all(|figure| figure.checked_add(reward).is_some());
    if fits { Ok((reward, streak)) } else { Err(Refusal::Overflow) }
}

/// The first instant of the day after `day`.
fn day_after(day: NaiveDate) -> DateTime<Utc> {
    (day + Days::new(1)).and_time(NaiveTime::MIN).and_utc()
}
