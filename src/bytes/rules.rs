//! What the economy allows. Pure: no clock, no database, and of Discord only how it shows text.
//!
//! The transfer and the daily decide inside Postgres, in the functions `bytes_transfer` and
//! `bytes_claim_daily`; [`check_transfer`] and [`check_daily`] are the same decisions, and a
//! property test holds the two together.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};

use crate::discord::text::{amount, grouped, relative};

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
    /// Least age of the Discord account in days, 0..=365.
    pub min_account_age_days: i32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            starting_balance: 100,
            daily_amount: 10,
            streak_bonuses: BTreeMap::from([(8, 2), (16, 4), (32, 8), (64, 16)]),
            max_transfer: 1_000,
            transfer_cooldown_hours: 0,
            min_account_age_days: 0,
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
    #[error("You can't send bytes to yourself. Pick another member.")]
    ToSelf,
    /// Bots have no account.
    #[error("Bots don't use bytes. Pick a member who is not a bot.")]
    ToBot,
    /// The receiver is not in the guild.
    #[error("That user is not in this server. Pick someone who is.")]
    NotAMember,
    /// The amount is below 1.
    #[error("The amount must be at least 1 byte.")]
    BelowOne,
    /// The Discord account is younger than the guild asks for.
    #[error("Your Discord account is too new for this server's bytes. You can do this {}.", relative(*until))]
    TooYoung {
        /// From when on it's old enough.
        until: DateTime<Utc>,
    },
    /// The amount is above the limit.
    #[error("You can send at most {} at once.", amount(*max))]
    AboveLimit {
        /// The most bytes of one transfer.
        max: i64,
    },
    /// The giver sent bytes too recently.
    #[error("You can send bytes again {}.", relative(*until))]
    OnCooldown {
        /// The first instant at which a transfer is allowed.
        until: DateTime<Utc>,
    },
    /// The balance is smaller than the amount.
    #[error("You have {}; sending {} needs {} more.", amount(*balance), grouped(*asked), grouped(asked - balance))]
    TooLittle {
        /// Bytes the giver has.
        balance: i64,
        /// Bytes asked for.
        asked: i64,
    },
    /// Some figure would leave 64 bits.
    #[error(
        "That is more than an account can hold (9,223,372,036,854,775,807 bytes). Nothing was moved."
    )]
    Overflow,
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
    /// A reward can't be set up so.
    #[error(transparent)]
    Reward(#[from] super::rewards::rules::Refusal),
}

/// Decides whether a member may send `asked` bytes now.
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
    asked: i64,
    account_created: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let until = settings.earliest(account_created);
    if now < until {
        return Err(Refusal::TooYoung { until });
    }
    if asked > settings.max_transfer {
        return Err(Refusal::AboveLimit { max: settings.max_transfer });
    }
    if let Some(last) = giver.last_transfer.filter(|_| settings.transfer_cooldown_hours > 0) {
        let until = last + TimeDelta::hours(settings.transfer_cooldown_hours.into());
        if now < until {
            return Err(Refusal::OnCooldown { until });
        }
    }
    if asked > giver.balance {
        return Err(Refusal::TooLittle { balance: giver.balance, asked });
    }
    let fits = [receiver.balance, receiver.total_received, giver.total_sent]
        .iter()
        .all(|figure| figure.checked_add(asked).is_some());
    if fits { Ok(()) } else { Err(Refusal::Overflow) }
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
