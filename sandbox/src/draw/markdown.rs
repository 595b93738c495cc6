//! Discord's markdown as lines of styled characters.

use std::{iter::repeat_n, ops::BitOr};

use unicode_width::UnicodeWidthChar;

use super::{Look, time};

/// How a character looks; several at once by `|`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Style(u8);

impl Style {
    pub(crate) const PLAIN: Self = Self(0);
    pub(crate) const BOLD: Self = Self(1);
    pub(crate) const DIM: Self = Self(2);
    pub(crate) const ITALIC: Self = Self(4);
    pub(crate) const UNDERLINE: Self = Self(8);
    pub(crate) const STRIKE: Self = Self(16);
    pub(crate) const MENTION: Self = Self(32);
    pub(crate) const CODE: Self = Self(64);

    /// The SGR parameters of a terminal.
    fn codes(self) -> Vec<&'static str> {
        [
            (Self::BOLD, "1"),
            (Self::DIM, "2"),
            (Self::ITALIC, "3"),
            (Self::UNDERLINE, "4"),
            (Self::STRIKE, "9"),
            (Self::MENTION, "94"),
            (Self::CODE, "33"),
        ]
        .into_iter()
        .filter_map(|(style, code)| (self.0 & style.0 != 0).then_some(code))
        .collect()
    }
}

impl BitOr for Style {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A character as it may go to a terminal: control characters, which could move its cursor or
/// colour what follows, are replaced; what turns text round is left out.
fn harmless_char(c: char) -> Option<char> {
    match c {
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => None,
        c if !c.is_control() => Some(c),
        c if c.is_whitespace() => Some(' '),
        _ => Some(char::REPLACEMENT_CHARACTER),
    }
}

/// Text on one line, without what a terminal would obey.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().filter_map(harmless_char).collect()
}

/// One line of a drawing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line(Vec<(char, Style)>);

impl Line {
    pub(crate) fn new(text: &str, style: Style) -> Self {
        let mut line = Self::default();
        line.push(text, style);
        line
    }

    pub(crate) fn push(&mut self, text: &str, style: Style) {
        self.0.extend(text.chars().filter_map(harmless_char).map(|c| (c, style)));
    }

    pub(crate) fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// How many columns it takes.
    pub(crate) fn width(&self) -> usize {
        self.0.iter().map(|&(c, _)| c.width().unwrap_or(0)).sum()
    }

    /// Fills up with spaces.
    pub(crate) fn pad(&mut self, width: usize) {
        let missing = width.saturating_sub(self.width());
        self.0.extend(repeat_n((' ', Style::PLAIN), missing));
    }

    /// As text, with escape sequences only if the terminal has colour.
    pub(crate) fn paint(&self, color: bool) -> String {
        let end = self.0.iter().rposition(|(c, _)| *c != ' ').map_or(0, |last| last + 1);
        let shown = &self.0[..end];
        if !color {
            return shown.iter().map(|(c, _)| c).collect();
        }
        let mut painted = String::new();
        for run in shown.chunk_by(|a, b| a.1 == b.1) {
            let codes = run[0].1.codes().join(";");
            let text = run.iter().map(|(c, _)| c);
            if codes.is_empty() {
                painted.extend(text);
            } else {
                painted.extend(["\x1b[", &codes, "m"]);
                painted.extend(text);
                painted.push_str("\x1b[0m");
            }
        }
        painted
    }

    /// In lines of at most `width` columns, broken at spaces where there are any.
    fn wrap(self, width: usize) -> Vec<Self> {
        let mut lines = Vec::new();
        let mut rest = self.0;
        loop {
            let mut columns = 0;
            let fits = rest.iter().take_while(|(c, _)| {
                columns += c.width().unwrap_or(0);
                columns <= width
            });
            let fits = fits.count();
            if fits == rest.len() {
                lines.push(Self(rest));
                return lines;
            }
            let space = rest[..=fits].iter().rposition(|(c, _)| *c == ' ').filter(|at| *at > 0);
            let after = rest.split_off(space.map_or(fits.max(1), |at| at + 1));
            lines.push(Self(rest));
            rest = after;
        }
    }
}

/// A message's text as Discord shows it, in at most `width` columns.
pub(crate) fn lines(text: &str, style: Style, look: &Look, width: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut in_code_block = false;
    for raw in text.lines() {
        if raw.trim_start().starts_with("```") {
            in_code_block = !in_code_block;
            continue;
        }
        if in_code_block {
            lines.extend(Line::new(raw, style | Style::CODE).wrap(width));
            continue;
        }
        let (mark, rest, line_style) = block(raw);
        let mut line = Line::default();
        inline(rest, style | line_style, look, &mut line);
        let indent = mark.chars().count();
        for (at, wrapped) in line.wrap(width.saturating_sub(indent).max(1)).into_iter().enumerate()
        {
            let continues = mark == "• " && at > 0;
            let mut line = Line::new(if continues { "  " } else { mark }, Style::DIM);
            line.append(wrapped);
            lines.push(line);
        }
    }
    lines
}

/// What stands before a line, the line without its markdown mark, and its style.
fn block(raw: &str) -> (&'static str, &str, Style) {
    for (mark, shown, style) in [
        ("> ", "▏ ", Style::PLAIN),
        ("-# ", "", Style::DIM),
        ("### ", "", Style::BOLD),
        ("## ", "", Style::BOLD),
        ("# ", "", Style::BOLD | Style::UNDERLINE),
        ("- ", "• ", Style::PLAIN),
        ("* ", "• ", Style::PLAIN),
    ] {
        if let Some(rest) = raw.strip_prefix(mark) {
            return (shown, rest, style);
        }
    }
    ("", raw, Style::PLAIN)
}

/// The marks around text, the longer ones first.
const MARKS: [(&str, Style); 7] = [
    ("**", Style::BOLD),
    ("__", Style::UNDERLINE),
    ("~~", Style::STRIKE),
    ("||", Style::DIM),
    ("`", Style::CODE),
    ("*", Style::ITALIC),
    ("_", Style::ITALIC),
];

fn inline(text: &str, style: Style, look: &Look, line: &mut Line) {
    let mut rest = text;
    let mut before = ' ';
    while let Some(c) = rest.chars().next() {
        let taken = escape(rest, style, line)
            .or_else(|| reference(rest, style, look, line))
            .or_else(|| link(rest, style, look, line))
            .or_else(|| marked(rest, before, style, look, line));
        let taken = taken.unwrap_or_else(|| {
            line.push(&rest[..c.len_utf8()], style);
            c.len_utf8()
        });
        before = rest[..taken].chars().next_back().unwrap_or(' ');
        rest = &rest[taken..];
    }
}

/// `\*` is `*`. Returns how many bytes were read.
fn escape(text: &str, style: Style, line: &mut Line) -> Option<usize> {
    let escaped = text.strip_prefix('\\')?.chars().next()?;
    if !escaped.is_ascii_punctuation() {
        return None;
    }
    line.push(&text[1..2], style);
    Some(2)
}

/// `<@1>`, `<#1>`, `<@&1>`, `<t:1:R>`, `<:emoji:1>`, `</command:1>` and `<https://…>`.
fn reference(text: &str, style: Style, look: &Look, line: &mut Line) -> Option<usize> {
    let inner = text.strip_prefix('<')?.split_once('>')?.0;
    let id = |inner: &str| inner.parse().ok();
    let name = |name: Option<&String>, sigil: char| {
        name.map_or_else(|| format!("{sigil}unknown"), |name| format!("{sigil}{name}"))
    };
    let mut mention = style | Style::MENTION;
    let shown = if let Some(role) = inner.strip_prefix("@&") {
        name(look.names.roles.get(&id(role)?), '@')
    } else if let Some(member) = inner.strip_prefix('@') {
        name(look.names.members.get(&id(member.trim_start_matches('!'))?), '@')
    } else if let Some(channel) = inner.strip_prefix('#') {
        name(look.names.channels.get(&id(channel)?), '#')
    } else if let Some(when) = inner.strip_prefix("t:") {
        mention = style;
        time::shown(when, look.now)?
    } else if let Some(command) = inner.strip_prefix('/') {
        format!("/{}", command.rsplit_once(':')?.0)
    } else if inner.starts_with("https://") || inner.starts_with("http://") {
        mention = style | Style::UNDERLINE;
        inner.to_owned()
    } else {
        let emoji = inner.strip_prefix('a').unwrap_or(inner).strip_prefix(':')?;
        mention = style;
        format!(":{}:", emoji.split_once(':')?.0)
    };
    line.push(&shown, mention);
    Some(inner.len() + 2)
}

/// `[text](address)`.
fn link(text: &str, style: Style, look: &Look, line: &mut Line) -> Option<usize> {
    let (label, rest) = text.strip_prefix('[')?.split_once("](")?;
    let address = rest.split_once(')')?.0;
    if !address.starts_with("http") || label.contains(['[', '\\']) {
        return None;
    }
    inline(label, style | Style::UNDERLINE, look, line);
    line.push(&format!(" ({address})"), style | Style::DIM);
    Some(label.len() + address.len() + 4)
}

/// `**bold**` and its like.
fn marked(text: &str, before: char, style: Style, look: &Look, line: &mut Line) -> Option<usize> {
    let (mark, mark_style) = MARKS.into_iter().find(|(mark, _)| text.starts_with(mark))?;
    if mark == "_" && before.is_alphanumeric() {
        return None;
    }
    let inner = &text[mark.len()..];
    let end = closing(inner, mark)?;
    let inner = &inner[..end];
    if mark == "`" {
        line.push(inner, style | mark_style);
    } else {
        inline(inner, style | mark_style, look, line);
    }
    Some(end + 2 * mark.len())
}

/// Where the closing mark begins: not escaped, and not at once.
fn closing(inner: &str, mark: &str) -> Option<usize> {
    let mut at = 0;
    while let Some(c) = inner[at..].chars().next() {
        let rest = &inner[at..];
        if c == '\\' && mark != "`" {
            at += 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
            continue;
        }
        // In `*a **b***` the inner marks are passed over in pairs.
        if mark.len() == 1 && mark != "`" && rest.starts_with(&mark.repeat(2)) {
            at += 2;
            continue;
        }
        let word_goes_on = || rest[1..].starts_with(char::is_alphanumeric);
        if rest.starts_with(mark) && at > 0 && !(mark == "_" && word_goes_on()) {
            // In `**a *b***` the last two of three close.
            let extra = mark.len() == 2 && rest[2..].starts_with(&mark[..1]);
            return Some(at + usize::from(extra));
        }
        at += c.len_utf8();
    }
    None
}
