//! Discord's timestamps as a client set to English and UTC shows them.

use chrono::{DateTime, Utc};

/// What stands for `<t:…>`: `when` is the seconds and, after a colon, the style.
pub(super) fn shown(when: &str, now: DateTime<Utc>) -> Option<String> {
    let (seconds, style) = when.split_once(':').unwrap_or((when, "f"));
    let at = DateTime::from_timestamp(seconds.parse().ok()?, 0)?;
    let format = match style {
        "R" => return Some(relative(at, now)),
        "t" => "%H:%M",
        "T" => "%H:%M:%S",
        "d" => "%d/%m/%Y",
        "D" => "%-d %B %Y",
        "f" => "%-d %B %Y %H:%M",
        "F" => "%A, %-d %B %Y %H:%M",
        _ => return None,
    };
    Some(at.format(format).to_string())
}

/// The distance of a time: "in 3 hours", "a day ago"; each unit rounded, as Discord does.
#[must_use]
pub fn relative(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let seconds = (at - now).as_seconds_f64().round();
    let units = [
        ("second", 1.0, 60.0),
        ("minute", 60.0, 60.0),
        ("hour", 3600.0, 24.0),
        ("day", 86_400.0, 30.0),
        ("month", 2_629_800.0, 12.0),
        ("year", 31_557_600.0, f64::INFINITY),
    ];
    let distance = seconds.abs();
    let (unit, count) = units
        .into_iter()
        .map(|(unit, length, most)| (unit, (distance / length).round(), most))
        .find(|&(_, count, most)| count < most)
        .map_or(("second", 0.0), |(unit, count, _)| (unit, count));
    let phrase = match (unit, count) {
        (_, 0.0) => return "now".to_owned(),
        ("hour", 1.0) => "an hour".to_owned(),
        (unit, 1.0) => format!("a {unit}"),
        (unit, count) => format!("{count} {unit}s"),
    };
    if seconds > 0.0 { format!("in {phrase}") } else { format!("{phrase} ago") }
}
