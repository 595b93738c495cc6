//! The lines that a person types into the terminal.

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};

/// What a line asks for.
#[derive(Debug, PartialEq)]
pub(super) enum Line {
    /// A blank line or a comment.
    Nothing,
    Help,
    Quit,
    /// Tell or set the clock.
    Time(Option<When>),
    /// Someone does something.
    Act {
        who: String,
        deed: Deed,
    },
}

/// Where the clock is set to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum When {
    At(DateTime<Utc>),
    By(TimeDelta),
}

/// What a member does.
#[derive(Debug, PartialEq)]
pub(super) enum Deed {
    Slash(String),
    Types(String),
    Presses(String),
    Picks { values: Vec<String>, menu: String },
    Submits(Vec<(String, String)>),
    Menu { entry: String, on: String },
    Says(String),
    Edits(String),
    Deletes,
    GoesTo(String),
    Joins,
    Leaves,
    Dms { open: bool },
}

/// Reads one line; the error is a sentence about what is wrong with it.
pub(super) fn read(line: &str) -> Result<Line, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(Line::Nothing);
    }
    match line.split_once(char::is_whitespace).unwrap_or((line, "")) {
        ("help", "") => return Ok(Line::Help),
        ("quit" | "exit", "") => return Ok(Line::Quit),
        ("time", "") => return Ok(Line::Time(None)),
        ("time", when) => return Ok(Line::Time(Some(self::when(when.trim())?))),
        _ => {}
    }
    if line.starts_with('/') {
        return Err(format!("Who types that? Put a name before it, as in `ada: {line}`."));
    }
    match line.split_once(':') {
        Some((who, deed)) if !who.trim().is_empty() => {
            Ok(Line::Act { who: who.trim().to_owned(), deed: self::deed(deed.trim())? })
        }
        _ => Err(format!("\"{line}\" is no line of this terminal; `help` lists them.")),
    }
}

fn deed(deed: &str) -> Result<Deed, String> {
    if deed.starts_with('/') {
        return Ok(Deed::Slash(deed.to_owned()));
    }
    let (verb, rest) = deed.split_once(char::is_whitespace).unwrap_or((deed, ""));
    let rest = rest.trim();
    let needs = |what: &str| match rest {
        "" => Err(format!("`{verb}` needs {what}.")),
        rest => Ok(unquoted(rest).to_owned()),
    };
    Ok(match verb {
        "types" => Deed::Types(needs("a command, as in `types /bytes send`")?),
        "presses" => Deed::Presses(needs("a button's text")?),
        "says" => Deed::Says(needs("something to say")?),
        "edits" => Deed::Edits(needs("the new text of the last message")?),
        "deletes" if rest.is_empty() => Deed::Deletes,
        "joins" if rest.is_empty() => Deed::Joins,
        "leaves" if rest.is_empty() => Deed::Leaves,
        "closes" | "opens" if rest.eq_ignore_ascii_case("dms") => {
            Deed::Dms { open: verb == "opens" }
        }
        "goes" => match rest.strip_prefix("to ") {
            Some(place) => Deed::GoesTo(place.trim().trim_start_matches('#').to_owned()),
            None => return Err("`goes to` needs a channel, as in `goes to #bots`.".to_owned()),
        },
        "picks" => match rest.rsplit_once(" in ") {
            Some((values, menu)) => Deed::Picks {
                values: values.split(',').map(|value| unquoted(value.trim()).to_owned()).collect(),
                menu: unquoted(menu.trim()).to_owned(),
            },
            None => return Err("`picks` is written `picks Streak in Scope`.".to_owned()),
        },
        "menu" => match rest.rsplit_once(" on ") {
            Some((entry, on)) => Deed::Menu {
                entry: unquoted(entry.trim()).to_owned(),
                on: unquoted(on.trim()).to_owned(),
            },
            None => return Err("`menu` is written `menu \"Send bytes\" on bob`.".to_owned()),
        },
        "submits" => Deed::Submits(fields(rest)?),
        _ => return Err(format!("Nobody can do \"{deed}\" here; `help` lists what can be done.")),
    })
}

fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

/// `amount=5 reason="for tea"`
fn fields(mut rest: &str) -> Result<Vec<(String, String)>, String> {
    let wrong = || "`submits` is written `submits amount=5 reason=\"for tea\"`.".to_owned();
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or_else(wrong)?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or_else(wrong)?,
            None => after.split_once(char::is_whitespace).unwrap_or((after, "")),
        };
        fields.push((unquoted(name.trim()).to_owned(), value.to_owned()));
        rest = after.trim_start();
    }
    Ok(fields)
}

fn when(text: &str) -> Result<When, String> {
    let sign = match text.chars().next() {
        Some('+') => 1,
        Some('-') => -1,
        _ => 0,
    };
    let read = if sign == 0 {
        moment(text).map(When::At)
    } else {
        distance(&text[1..]).map(|distance| When::By(distance * sign))
    };
    read.ok_or_else(|| {
        format!("\"{text}\" is no time; write `time +1d12h` or `time 2026-03-01T12:00` (in UTC).")
    })
}

fn moment(text: &str) -> Option<DateTime<Utc>> {
    let local = |format| NaiveDateTime::parse_from_str(text, format).ok();
    let day = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
    let naive = local("%Y-%m-%dT%H:%M").or_else(|| local("%Y-%m-%dT%H:%M:%S")).or_else(day);
    naive.map(|at| at.and_utc()).or_else(|| text.parse().ok())
}

/// `1d12h`, `90m`; what is longer than can be told is as long as can be.
fn distance(mut text: &str) -> Option<TimeDelta> {
    let mut sum = None;
    while !text.is_empty() {
        let digits = text.find(|c: char| !c.is_ascii_digit()).filter(|digits| *digits > 0)?;
        let count: i64 = text[..digits].parse().unwrap_or(i64::MAX);
        let seconds = match text.as_bytes()[digits] {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return None,
        };
        sum = Some(sum.unwrap_or(0_i64).saturating_add(count.saturating_mul(seconds)));
        text = &text[digits + 1..];
    }
    Some(TimeDelta::try_seconds(sum?).unwrap_or(TimeDelta::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deed_of(line: &str) -> Deed {
        match read(line) {
            Ok(Line::Act { who, deed }) if who == "ada" => deed,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn comments_and_blank_lines_ask_for_nothing() {
        for line in ["", "   ", "# ada: /daily", "  # tea"] {
            assert_eq!(read(line), Ok(Line::Nothing));
        }
    }

    #[test]
    fn every_deed_is_read_with_what_belongs_to_it() {
        let text = str::to_owned;
        for (line, deed) in [
            (
                "ada: /bytes send member:bob reason:\"for: tea\"",
                Deed::Slash(text("/bytes send member:bob reason:\"for: tea\"")),
            ),
            ("  ada :types /squads join na", Deed::Types(text("/squads join na"))),
            ("ada: presses Next", Deed::Presses(text("Next"))),
            ("ada: presses \"Next page\"", Deed::Presses(text("Next page"))),
            ("ada: says hello: world", Deed::Says(text("hello: world"))),
            ("ada: edits hello  world", Deed::Edits(text("hello  world"))),
            ("ada: deletes", Deed::Deletes),
            (
                "ada: picks Bytes, \"In all\" in Scope",
                Deed::Picks { values: vec![text("Bytes"), text("In all")], menu: text("Scope") },
            ),
            (
                "ada: menu \"Send bytes\" on bob",
                Deed::Menu { entry: text("Send bytes"), on: text("bob") },
            ),
            (
                "ada: submits amount=5 reason=\"for tea\"",
                Deed::Submits(vec![(text("amount"), text("5")), (text("reason"), text("for tea"))]),
            ),
            ("ada: goes to #bots", Deed::GoesTo(text("bots"))),
            ("ada: closes DMs", Deed::Dms { open: false }),
            ("ada: opens dms", Deed::Dms { open: true }),
            ("ada: joins", Deed::Joins),
            ("ada: leaves", Deed::Leaves),
        ] {
            assert_eq!(deed_of(line), deed, "{line}");
        }
    }

    #[test]
    fn a_line_that_is_none_is_refused_with_a_hint() {
        for (line, hint) in [
            ("/daily", "Who types that? Put a name before it, as in `ada: /daily`."),
            ("hello", "\"hello\" is no line of this terminal; `help` lists them."),
            (": /daily", "\": /daily\" is no line of this terminal; `help` lists them."),
            ("ada: dances", "Nobody can do \"dances\" here; `help` lists what can be done."),
            ("ada: says", "`says` needs something to say."),
            ("ada: goes home", "`goes to` needs a channel, as in `goes to #bots`."),
            ("ada: picks Bytes", "`picks` is written `picks Streak in Scope`."),
            ("ada: submits 5", "`submits` is written `submits amount=5 reason=\"for tea\"`."),
        ] {
            assert_eq!(read(line), Err(hint.to_owned()), "{line}");
        }
    }

    #[test]
    fn the_clock_is_moved_by_a_distance_or_set_to_a_moment() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("a time");
        for (line, when) in [
            ("time", None),
            ("time +1d", Some(When::By(TimeDelta::days(1)))),
            ("time +999999999999999999999w1s", Some(When::By(TimeDelta::MAX))),
            ("time -90m", Some(When::By(TimeDelta::minutes(-90)))),
            ("time +1w2d3h4m5s", Some(When::By(TimeDelta::seconds(788_645)))),
            ("time 2026-03-01T12:00", Some(When::At(at("2026-03-01T12:00:00Z")))),
            ("time 2026-03-01T12:00:30", Some(When::At(at("2026-03-01T12:00:30Z")))),
            ("time 2026-03-01", Some(When::At(at("2026-03-01T00:00:00Z")))),
            ("time 2026-03-01T12:00:00+02:00", Some(When::At(at("2026-03-01T10:00:00Z")))),
        ] {
            assert_eq!(read(line), Ok(Line::Time(when)), "{line}");
        }
        for line in ["time tomorrow", "time +", "time +d", "time +1", "time +1y", "time 2026-02-30"]
        {
            assert!(read(line).is_err_and(|error| error.contains("is no time")), "{line}");
        }
    }
}
