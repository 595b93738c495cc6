//! Text as Discord shows it: amounts, times, and what users wrote.

use chrono::{DateTime, Utc};

/// A number with its thousands grouped: `1,234`.
#[must_use]
pub fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if number < 0 {
        text.push('-');
    }
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count of something: `1 day`, `2 days`.
#[must_use]
pub fn counted(number: i64, unit: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {unit}{plural}", grouped(number))
}

/// A time that is over, as each reader's client words it: "2 days ago".
#[must_use]
pub fn ago(at: DateTime<Utc>) -> String {
    format!("<t:{}:R>", at.timestamp())
}

/// A time to come, as each reader's client words it: "in 3 hours".
#[must_use]
pub fn relative(at: DateTime<Utc>) -> String {
    // Rounded up: what opens at this second must not be refused when the client says it's open.
    let seconds = at.timestamp() + i64::from(at.timestamp_subsec_nanos() > 0);
    format!("<t:{seconds}:R>")
}

/// A user's own text in one line, such that Discord formats and links nothing in it.
///
/// Markdown is escaped, mentions and emoji are broken, control and direction characters and line
/// breaks become spaces.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.trim().chars() {
        match c {
            '\\' | '*' | '_' | '~' | '`' | '|' | '>' | '<' | '#' | '-' | '+' | '[' | ']' | '('
            | ')' | ':' => {
                escaped.push('\\');
                escaped.push(c);
            }
            // A zero-width space: Discord has no escape for @everyone and @here.
            '@' => escaped.push_str("@\u{200b}"),
            c if c.is_control() => escaped.push(' '),
            // Overrides and isolates would turn round the text behind them.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' => {
                escaped.push(' ');
            }
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn thousands_are_grouped() {
        let all = [0, 7, 999, 1_000, 65_536, 1_000_000, i64::MAX, i64::MIN, -1_000].map(grouped);

        assert_eq!(
            all.join(" "),
            "0 7 999 1,000 65,536 1,000,000 9,223,372,036,854,775,807 -9,223,372,036,854,775,808 -1,000"
        );
    }

    #[test]
    fn one_is_singular() {
        assert_eq!((counted(1, "day"), counted(64, "day")), ("1 day".into(), "64 days".into()));
    }

    #[test]
    fn a_time_to_come_is_rounded_up_and_one_that_is_over_down() {
        let whole = DateTime::from_timestamp(1_000, 0).expect("in range");

        assert_eq!(relative(whole), "<t:1000:R>");
        assert_eq!(relative(whole + TimeDelta::milliseconds(1)), "<t:1001:R>");
        assert_eq!(ago(whole + TimeDelta::milliseconds(999)), "<t:1000:R>");
    }

    #[test]
    fn what_users_write_neither_formats_nor_pings() {
        assert_eq!(
            escaped("@everyone **x** <@1> [a](http://b) `c`\n# d \u{202e}e"),
            "@\u{200b}everyone \\*\\*x\\*\\* \\<@\u{200b}1\\> \\[a\\]\\(http\\://b\\) \\`c\\` \\# d  e"
        );
    }
}
