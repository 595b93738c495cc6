//! What a guild calls its bytes.

use std::fmt;

use crate::discord::text::{escaped, grouped};

/// The name and emoji of a guild's currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Currency {
    /// 1..=32 characters, as the manager wrote it.
    pub name: String,
    /// A unicode emoji, or a custom one of the guild in Discord's form `<:name:id>`.
    pub emoji: Option<String>,
}

/// The name of the currency where nobody chose one: the only one whose singular is known.
pub(super) const DEFAULT_NAME: &str = "bytes";

impl Default for Currency {
    fn default() -> Self {
        Self { name: DEFAULT_NAME.to_owned(), emoji: None }
    }
}

impl Currency {
    /// So many of it, as members read it.
    #[must_use]
    pub fn amount(&self, number: i64) -> Amount<'_> {
        Amount { number, currency: self }
    }
}

/// The name with its emoji, escaped: `🪙 gems`.
impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(emoji) = &self.emoji {
            write!(f, "{emoji} ")?;
        }
        f.write_str(&escaped(&self.name))
    }
}

/// A number of a guild's currency: `1 byte`, `1,234 bytes`, `🪙 1,234 gems`; with `{:+}` a positive
/// one has its sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount<'a> {
    number: i64,
    currency: &'a Currency,
}

impl fmt::Display for Amount<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(emoji) = &self.currency.emoji {
            write!(f, "{emoji} ")?;
        }
        let name = match self.currency.name.as_str() {
            DEFAULT_NAME if self.number.unsigned_abs() == 1 => "byte".to_owned(),
            name => escaped(name),
        };
        let sign = if f.sign_plus() && self.number > 0 { "+" } else { "" };
        write!(f, "{sign}{} {name}", grouped(self.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_grouped_and_named_as_the_guild_names_it() {
        let default = Currency::default();
        let gems = Currency { name: "gems".into(), emoji: Some("🪙".into()) };
        let custom = Currency { name: "*@here*".into(), emoji: Some("<:coin:12>".into()) };

        let amounts = [
            default.amount(1),
            default.amount(0),
            default.amount(1_234),
            gems.amount(1),
            gems.amount(-1_234),
            custom.amount(5),
        ];
        assert_eq!(
            amounts.map(|amount| amount.to_string()),
            [
                "1 byte",
                "0 bytes",
                "1,234 bytes",
                "🪙 1 gems",
                "🪙 -1,234 gems",
                "<:coin:12> 5 \\*@\u{200b}here\\*",
            ]
        );
        assert_eq!(gems.to_string(), "🪙 gems");
        assert_eq!(format!("{:+}", gems.amount(5)), "🪙 +5 gems");
        assert_eq!(format!("{:+}", default.amount(-1)), "-1 byte");
    }
}
