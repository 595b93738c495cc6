//! Messages drawn as text, as a member's client would show them.
//!
//! Mentions stand by name, timestamps relative to the look's clock, markdown as the terminal's
//! own styles (or as nothing, without colour), an embed behind a bar, buttons as `[Next]`.

mod markdown;
mod time;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

pub(crate) use self::markdown::harmless;
use self::markdown::{Line, Style, lines};
pub use self::time::relative;
use crate::{Id, Seen};

/// How to draw: for which width and clock, and by which names.
#[derive(Clone, Debug)]
pub struct Look {
    /// Columns of the terminal.
    pub width: usize,
    /// Whether it takes escape sequences for colour and weight.
    pub color: bool,
    /// What "in 3 hours" counts from.
    pub now: DateTime<Utc>,
    /// What mentions are called.
    pub names: Names,
}

/// The names that stand for ids in mentions.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Members, without `@`.
    pub members: HashMap<Id, String>,
    /// Roles, without `@`.
    pub roles: HashMap<Id, String>,
    /// Channels, without `#`.
    pub channels: HashMap<Id, String>,
}

/// Draws what a message holds: text, embeds, files, buttons.
#[must_use]
pub fn message(seen: &Seen, look: &Look) -> Vec<String> {
    if seen.thinking {
        return vec![Line::new("is thinking …", Style::DIM).paint(look.color)];
    }
    let mut painted: Vec<String> = lines(&seen.content, Style::PLAIN, look, look.width)
        .iter()
        .map(|line| line.paint(look.color))
        .collect();
    for embed in &seen.embeds {
        let bar = bar(&embed["color"], look.color);
        painted.extend(embed_lines(embed, look, look.width - 2).iter().map(|line| {
            let line = line.paint(look.color);
            format!("{bar} {line}").trim_end().to_owned()
        }));
    }
    let mut drawn = Vec::new();
    for file in &seen.attachments {
        drawn.push(Line::new(&format!("[file: {}]", text(&file["filename"])), Style::DIM));
    }
    for component in &seen.components {
        component_lines(component, look, &mut drawn);
    }
    painted.extend(drawn.iter().map(|line| line.paint(look.color)));
    painted
}

/// Draws a modal: its title and what it asks for, by the names that fill it in.
#[must_use]
pub fn modal(modal: &Value, look: &Look) -> Vec<String> {
    let mut drawn = vec![Line::new(text(&modal["title"]), Style::BOLD)];
    for input in inputs(modal) {
        let mut line = Line::new(text(&input["label"]), Style::PLAIN);
        line.push(&format!(" ({})", text(&input["custom_id"])), Style::DIM);
        if input["required"] == false {
            line.push(" optional", Style::DIM);
        }
        if let Some(value) = input["value"].as_str().filter(|value| !value.is_empty()) {
            line.push(&format!(": {value}"), Style::PLAIN);
        } else if let Some(hint) = input["placeholder"].as_str() {
            line.push(&format!(": {hint}"), Style::DIM);
        }
        drawn.push(line);
    }
    let last = drawn.len() - 1;
    let corner = |at| match at {
        0 => '╭',
        at if at == last => '╰',
        _ => '│',
    };
    let framed = |(at, line): (usize, &Line)| format!("{} {}", corner(at), line.paint(look.color));
    drawn.iter().enumerate().map(framed).collect()
}

/// The text inputs of a modal, in rows or in labels; a label's text is its input's.
fn inputs(modal: &Value) -> Vec<Value> {
    let of_row = |row: &Value| {
        let mut input = row["component"].clone();
        if input.is_null() {
            return row["components"].as_array().cloned().unwrap_or_default();
        }
        input["label"] = row["label"].clone();
        vec![input]
    };
    modal["components"].as_array().into_iter().flatten().flat_map(of_row).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The bar on an embed's left, in its own colour.
fn bar(color: &Value, paint: bool) -> String {
    match color.as_u64() {
        Some(rgb) if paint => {
            let [red, green, blue] = [rgb >> 16 & 0xff, rgb >> 8 & 0xff, rgb & 0xff];
            format!("\x1b[38;2;{red};{green};{blue}m┃\x1b[0m")
        }
        _ => "┃".to_owned(),
    }
}

fn embed_lines(embed: &Value, look: &Look, width: usize) -> Vec<Line> {
    let mut drawn = Vec::new();
    drawn.extend(lines(text(&embed["author"]["name"]), Style::DIM, look, width));
    drawn.extend(lines(text(&embed["title"]), Style::BOLD, look, width));
    drawn.extend(lines(text(&embed["description"]), Style::PLAIN, look, width));
    let fields = embed["fields"].as_array().map(Vec::as_slice).unwrap_or_default();
    // As many inline fields as come one after the other share a row, but at most three.
    for run in fields.chunk_by(|a, b| a["inline"] == true && b["inline"] == true) {
        for row in run.chunks(3) {
            if !drawn.is_empty() {
                drawn.push(Line::default());
            }
            drawn.extend(field_row(row, look, width));
        }
    }
    for part in ["image", "thumbnail"] {
        if let Some(url) = embed[part]["url"].as_str() {
            drawn.push(Line::new(&format!("[{part}: {url}]"), Style::DIM));
        }
    }
    let footer = text(&embed["footer"]["text"]).to_owned();
    let at = DateTime::parse_from_rfc3339(text(&embed["timestamp"])).ok();
    let at = at.map(|at| at.to_utc().format("%-d %B %Y %H:%M").to_string());
    let footer: Vec<String> =
        [Some(footer), at].into_iter().flatten().filter(|part| !part.is_empty()).collect();
    if !footer.is_empty() {
        drawn.push(Line::default());
        drawn.push(Line::new(&footer.join(" · "), Style::DIM));
    }
    drawn
}

/// Fields side by side, each as wide as it needs, if that fits.
fn field_row(fields: &[Value], look: &Look, width: usize) -> Vec<Line> {
    const GAP: usize = 3;
    let most = width / fields.len();
    let cells: Vec<Vec<Line>> = fields
        .iter()
        .map(|field| {
            let gap = if fields.len() > 1 { GAP } else { 0 };
            let mut cell = lines(text(&field["name"]), Style::BOLD, look, most - gap);
            cell.extend(lines(text(&field["value"]), Style::PLAIN, look, most - gap));
            cell
        })
        .collect();
    let height = cells.iter().map(Vec::len).max().unwrap_or(0);
    (0..height)
        .map(|at| {
            let mut line = Line::default();
            for cell in &cells {
                let width = cell.iter().map(Line::width).max().unwrap_or(0);
                let mut part = cell.get(at).cloned().unwrap_or_default();
                part.pad(width + GAP);
                line.append(part);
            }
            line
        })
        .collect()
}

/// A row of buttons or a menu; of the newer layout components the text in them.
fn component_lines(component: &Value, look: &Look, drawn: &mut Vec<Line>) {
    let inner = || component["components"].as_array().into_iter().flatten();
    match component["type"].as_u64() {
        Some(1) => {
            let mut row = Line::default();
            for part in inner() {
                let label = control(part);
                if row.width() > 0 && row.width() + label.width() + 1 > look.width {
                    drawn.push(std::mem::take(&mut row));
                }
                if row.width() > 0 {
                    row.push(" ", Style::PLAIN);
                }
                row.append(label);
            }
            drawn.push(row);
        }
        Some(9 | 17) => {
            inner().for_each(|part| component_lines(part, look, drawn));
            component_lines(&component["accessory"], look, drawn);
        }
        Some(10) => {
            drawn.extend(lines(text(&component["content"]), Style::PLAIN, look, look.width));
        }
        Some(14) => drawn.push(Line::new("───", Style::DIM)),
        Some(2) => drawn.push(control(component)),
        _ => {}
    }
}

/// `[Next]`, `[Next (off)]`, `[Site: https://…]` or `[Scope ▾ Bytes | Streak]`.
fn control(component: &Value) -> Line {
    let mut parts: Vec<String> = Vec::new();
    parts.extend(component["emoji"]["name"].as_str().map(str::to_owned));
    if component["type"] == 2 {
        parts.extend(component["label"].as_str().map(str::to_owned));
        if let Some(url) = component["url"].as_str() {
            parts.push(format!("↗ {url}"));
        }
    } else {
        parts.push(component["placeholder"].as_str().unwrap_or("Make a selection").to_owned());
        parts.push("▾".to_owned());
        let options = component["options"].as_array().into_iter().flatten().map(|option| {
            let chosen = if option["default"] == true { "✓" } else { "" };
            format!("{chosen}{}", text(&option["label"]))
        });
        parts.push(options.collect::<Vec<_>>().join(" | "));
    }
    let off = component["disabled"] == true;
    if off {
        parts.push("(off)".to_owned());
    }
    let label = parts.join(" ");
    Line::new(&format!("[{}]", label.trim_end()), if off { Style::DIM } else { Style::BOLD })
}

#[cfg(test)]
mod tests;
