//! The settings of a guild's economy, by the names that managers type.

use std::fmt;
use std::ops::RangeInclusive;

use super::currency::DEFAULT_NAME;
use super::{Currency, Refusal, Settings};
use crate::discord::text::{counted, escaped};

/// A setting with a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// What a new account has.
    StartingBalance,
    /// What a daily pays without a bonus.
    DailyAmount,
    /// The most of one transfer.
    MaxTransfer,
    /// Hours between a member's transfers.
    TransferCooldownHours,
    /// From what amount on a transfer is confirmed; 0 is never.
    ConfirmFrom,
    /// Least age of the Discord account in days.
    MinAccountAgeDays,
    /// Days of a streak that earns a bonus.
    BonusLength,
    /// How many times as much a daily pays then.
    BonusMultiplier,
}

impl Setting {
    /// The values that it takes.
    #[must_use]
    pub fn range(self) -> RangeInclusive<i64> {
        match self {
            Self::StartingBalance => 0..=10_000,
            Self::DailyAmount => 1..=1_000,
            Self::MaxTransfer => 1..=100_000,
            Self::TransferCooldownHours => 0..=168,
            Self::ConfirmFrom => 0..=100_000,
            Self::MinAccountAgeDays => 0..=365,
            Self::BonusLength => 1..=99_999,
            Self::BonusMultiplier => 1..=256,
        }
    }

    /// Gives a value back if it's in the range.
    ///
    /// # Errors
    ///
    /// [`Refusal::OutOfRange`].
    pub fn check(self, value: i64) -> Result<i64, Refusal> {
        if self.range().contains(&value) {
            Ok(value)
        } else {
            Err(Refusal::OutOfRange { setting: self, value })
        }
    }
}

/// The name that managers type.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StartingBalance => "starting_balance",
            Self::DailyAmount => "daily_amount",
            Self::MaxTransfer => "max_transfer",
            Self::TransferCooldownHours => "transfer_cooldown_hours",
            Self::ConfirmFrom => "confirm_from",
            Self::MinAccountAgeDays => "min_account_age_days",
            Self::BonusLength => "length",
            Self::BonusMultiplier => "multiplier",
        })
    }
}

/// What a manager wants changed; `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// See [`Settings::starting_balance`].
    pub starting_balance: Option<i64>,
    /// See [`Settings::daily_amount`].
    pub daily_amount: Option<i64>,
    /// See [`Settings::max_transfer`].
    pub max_transfer: Option<i64>,
    /// See [`Settings::transfer_cooldown_hours`].
    pub transfer_cooldown_hours: Option<i32>,
    /// See [`Settings::confirm_from`].
    pub confirm_from: Option<i64>,
    /// See [`Settings::min_account_age_days`].
    pub min_account_age_days: Option<i32>,
    /// See [`Currency::name`].
    pub currency_name: Option<String>,
    /// See [`Currency::emoji`]; `Some(None)` removes it. Whether the bot can use a custom one is
    /// the caller's to know.
    pub currency_emoji: Option<Option<String>>,
}

impl Wishes {
    /// The settings with the wishes granted.
    ///
    /// # Errors
    ///
    /// [`Refusal::NothingToSet`], [`Refusal::OutOfRange`] or [`Refusal::BadName`].
    pub fn apply(&self, settings: &Settings) -> Result<Settings, Refusal> {
        if *self == Self::default() {
            return Err(Refusal::NothingToSet);
        }
        let number = |setting: Setting, wish: Option<i64>, now: i64| {
            wish.map_or(Ok(now), |value| setting.check(value))
        };
        let small = |setting: Setting, wish: Option<i32>, now: i32| {
            wish.map_or(Ok(now), |value| setting.check(value.into()).map(|_| value))
        };
        let name = match &self.currency_name {
            None => settings.currency.name.clone(),
            Some(name) => check_name(name)?,
        };
        let emoji = self.currency_emoji.clone().unwrap_or_else(|| settings.currency.emoji.clone());
        Ok(Settings {
            starting_balance: number(
                Setting::StartingBalance,
                self.starting_balance,
                settings.starting_balance,
            )?,
            daily_amount: number(Setting::DailyAmount, self.daily_amount, settings.daily_amount)?,
            max_transfer: number(Setting::MaxTransfer, self.max_transfer, settings.max_transfer)?,
            transfer_cooldown_hours: small(
                Setting::TransferCooldownHours,
                self.transfer_cooldown_hours,
                settings.transfer_cooldown_hours,
            )?,
            confirm_from: number(Setting::ConfirmFrom, self.confirm_from, settings.confirm_from)?,
            min_account_age_days: small(
                Setting::MinAccountAgeDays,
                self.min_account_age_days,
                settings.min_account_age_days,
            )?,
            currency: Currency { name, emoji },
            ..settings.clone()
        })
    }
}

/// The name as it's kept: trimmed, without what Postgres can't hold.
fn check_name(name: &str) -> Result<String, Refusal> {
    let name = name.replace(char::is_control, " ").trim().to_owned();
    // What shows as nothing at all would leave bare numbers.
    let is_seen = escaped(&name).chars().any(|c| !c.is_whitespace() && !is_invisible(c));
    if is_seen && (1..=32).contains(&name.chars().count()) {
        Ok(name)
    } else {
        Err(Refusal::BadName)
    }
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{3164}' | '\u{115f}' | '\u{1160}')
}

/// An emoji that somebody wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Emoji {
    /// One of Unicode's.
    Unicode(String),
    /// A server's own, by its id.
    Custom(u64),
}

/// Reads an emoji: one of Unicode's, or a custom one in Discord's form `<:name:id>`.
///
/// # Errors
///
/// [`Refusal::NotAnEmoji`].
pub fn parse_emoji(text: &str) -> Result<Emoji, Refusal> {
    let text = text.trim();
    if let Some(emoji) = emojis::get(text) {
        return Ok(Emoji::Unicode(emoji.as_str().to_owned()));
    }
    custom_emoji(text).map(Emoji::Custom).ok_or(Refusal::NotAnEmoji)
}

fn custom_emoji(text: &str) -> Option<u64> {
    let inner = text.strip_prefix('<')?.strip_suffix('>')?;
    let inner = inner.strip_prefix('a').unwrap_or(inner).strip_prefix(':')?;
    let (name, id) = inner.split_once(':')?;
    let is_name = (2..=32).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    id.parse().ok().filter(|&id| is_name && id > 0)
}

/// A change of a setting, as managers read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The setting's name: `daily_amount`, `streak bonus at 8 days`.
    pub setting: String,
    /// What it was.
    pub old: String,
    /// What it is.
    pub new: String,
}

impl Settings {
    /// Every setting with one value: its name and the value as members read it.
    #[must_use]
    pub fn values(&self) -> [(&'static str, String); 8] {
        let amount = |number| self.currency.amount(number).to_string();
        let or_none = |number: i32, unit| match number {
            0 => "none".to_owned(),
            number => counted(number.into(), unit),
        };
        let confirm =
            if self.confirm_from == 0 { "never".to_owned() } else { amount(self.confirm_from) };
        let emoji = self.currency.emoji.clone().unwrap_or_else(|| "none".to_owned());
        [
            ("starting_balance", amount(self.starting_balance)),
            ("daily_amount", amount(self.daily_amount)),
            ("max_transfer", amount(self.max_transfer)),
            ("transfer_cooldown_hours", or_none(self.transfer_cooldown_hours, "hour")),
            ("confirm_from", confirm),
            ("min_account_age_days", or_none(self.min_account_age_days, "day")),
            ("currency_name", escaped(&self.currency.name)),
            ("currency_emoji", emoji),
        ]
    }

    /// The names of the settings of [`values`](Self::values) that stand at their defaults.
    #[must_use]
    pub fn at_default(&self) -> Vec<&'static str> {
        let default = Self::default();
        let is_default = [
            self.starting_balance == default.starting_balance,
            self.daily_amount == default.daily_amount,
            self.max_transfer == default.max_transfer,
            self.transfer_cooldown_hours == default.transfer_cooldown_hours,
            self.confirm_from == default.confirm_from,
            self.min_account_age_days == default.min_account_age_days,
            self.currency.name == DEFAULT_NAME,
            self.currency.emoji.is_none(),
        ];
        let values = self.values();
        values.iter().zip(is_default).filter(|(_, is)| *is).map(|((name, _), _)| *name).collect()
    }

    /// What is different from `old`, the streak's bonuses included.
    #[must_use]
    pub fn changes_since(&self, old: &Self) -> Vec<Change> {
        // Amounts of both sides are in the currency that is now in force, or a new name would
        // show as a change of every amount.
        let renamed = Self { currency: self.currency.clone(), ..old.clone() };
        let named = old.values().into_iter().skip(6);
        let before = renamed.values().into_iter().take(6).chain(named);
        let mut changes: Vec<Change> = before
            .zip(self.values())
            .filter(|((_, old), (_, new))| old != new)
            .map(|((setting, old), (_, new))| Change { setting: setting.to_owned(), old, new })
            .collect();
        let lengths = old.streak_bonuses.keys().chain(self.streak_bonuses.keys());
        let lengths: std::collections::BTreeSet<i32> = lengths.copied().collect();
        for length in lengths {
            let bonus = |settings: &Self| {
                let multiplier = settings.streak_bonuses.get(&length);
                multiplier.map_or_else(|| "none".to_owned(), |multiplier| format!("x{multiplier}"))
            };
            let (old, new) = (bonus(old), bonus(self));
            if old != new {
                let setting = format!("streak of {}", counted(length.into(), "day"));
                changes.push(Change { setting, old, new });
            }
        }
        changes
    }
}
