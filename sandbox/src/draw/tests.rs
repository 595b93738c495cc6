use chrono::{TimeDelta, TimeZone};
use serde_json::json;

use super::*;

fn look() -> Look {
    let names = |names: &[(Id, &str)]| {
        names.iter().map(|&(id, name)| (id, name.to_owned())).collect::<HashMap<_, _>>()
    };
    Look {
        width: 60,
        color: false,
        now: Utc.with_ymd_and_hms(2026, 3, 1, 12, 0, 0).single().expect("a time"),
        names: Names {
            members: names(&[(1, "ada"), (2, "bob"), (3, "@everyone **x** <@1>")]),
            roles: names(&[(7, "North")]),
            channels: names(&[(9, "general")]),
        },
    }
}

fn seen(content: &str) -> Seen {
    Seen {
        id: 100,
        channel: 9,
        author: "Bytekeeper".to_owned(),
        author_id: 50,
        content: content.to_owned(),
        embeds: Vec::new(),
        components: Vec::new(),
        attachments: Vec::new(),
        ephemeral: false,
        thinking: false,
        edited: false,
        dm: false,
        pings: false,
        pinged: Vec::new(),
        interaction: None,
    }
}

fn drawn(seen: &Seen) -> String {
    message(seen, &look()).join("\n")
}

/// The drawing of a text alone.
fn said(content: &str) -> String {
    drawn(&seen(content))
}

#[test]
fn mentions_stand_by_name() {
    insta::assert_snapshot!(
        said("<@1> and <@!2> of <@&7> in <#9>: </bytes send:12>, <:coin:5>, <https://a.example/x>"),
        @"
        @ada and @bob of @North in #general: /bytes send, :coin:,
        https://a.example/x
        "
    );
    assert_eq!(
        said("<@4> <@&4> <#4> <@x> <nobody> a < b > c"),
        "@unknown @unknown #unknown <@x> <nobody> a < b > c"
    );
}

#[test]
fn a_name_is_shown_as_it_is_whatever_it_looks_like() {
    assert_eq!(said("<@3>"), "@@everyone **x** <@1>");
    assert_eq!(
        said("\\*\\*x\\*\\* \\<\\@1\\> \\[a\\]\\(http\\:\\/\\/b\\)"),
        "**x** <@1> [a](http://b)"
    );
    assert_eq!(said("a\u{1b}[31mred\u{202e}dlrow\t\u{7}"), "a\u{fffd}[31mreddlrow \u{fffd}");
}

#[test]
fn a_timestamp_is_shown_relative_to_the_clock_or_in_utc() {
    insta::assert_snapshot!(
        said("<t:1772377200:R> <t:1772355600:R>\n<t:1772366400> <t:1772366400:F>\n<t:1772366400:t> <t:1772366400:T> <t:1772366400:d> <t:1772366400:D>"),
        @"
        in 3 hours 3 hours ago
        1 March 2026 12:00 Sunday, 1 March 2026 12:00
        12:00 12:00:00 01/03/2026 1 March 2026
        "
    );
}

#[test]
fn a_distance_in_time_is_rounded_to_its_unit() {
    let now = look().now;
    for (seconds, shown) in [
        (0, "now"),
        (1, "in a second"),
        (-59, "59 seconds ago"),
        (60, "in a minute"),
        (89 * 60, "in an hour"),
        (-5400, "2 hours ago"),
        (86_399, "in a day"),
        (13 * 3600 + 1700, "in 13 hours"),
        (-40 * 86_400, "a month ago"),
        (800 * 86_400, "in 2 years"),
    ] {
        assert_eq!(relative(now + TimeDelta::seconds(seconds), now), shown);
    }
}

#[test]
fn markdown_leaves_its_marks_out_and_keeps_what_is_no_markdown() {
    for (text, shown) in [
        ("**a** *b* _c_ __d__ ~~e~~ `f`", "a b c d e f"),
        ("***a*** **a *b*** *a **b***", "a a b a b"),
        ("snake_case_name 2*3*4 ** a", "snake_case_name 234 ** a"),
        ("a_b_ c", "a_b_ c"),
        ("`**a** \\*`", "**a** \\*"),
        ("**`#1` <@1> 40 bytes**", "#1 @ada 40 bytes"),
        ("**open \\** closed**", "open ** closed"),
        ("||spoiler|| [site](https://a.example/)", "spoiler site (https://a.example/)"),
        ("# Big\n-# small\n> said\n- one\n* two", "Big\nsmall\n▏ said\n• one\n• two"),
        ("```rust\n**a**\n```\nb", "**a**\nb"),
        ("_ * ` ** __ <", "_ * ` ** __ <"),
        ("", ""),
    ] {
        assert_eq!(said(text), shown, "{text}");
    }
}

#[test]
fn a_line_is_broken_at_spaces_by_the_width_of_what_is_shown() {
    insta::assert_snapshot!(
        said("> **Bytes** are claimed once a day and given to whom you like, with a reason that all can read.\n- 漢字は二桁の幅を取ります、だから六十桁は三十文字です。それより長い行は折り返されます。"),
        @"
        ▏ Bytes are claimed once a day and given to whom you like,
        ▏ with a reason that all can read.
        • 漢字は二桁の幅を取ります、だから六十桁は三十文字です。それ
          より長い行は折り返されます。
        "
    );
    assert_eq!(said(&"x".repeat(130)).lines().map(str::len).collect::<Vec<_>>(), [60, 60, 10]);
}

#[test]
fn a_reply_is_drawn_with_its_embed_and_buttons() {
    let embed = json!({
        "color": 0x57_F2_87,
        "author": {"name": "Bytekeeper"},
        "title": "Balance",
        "description": "<@1> has **1,240 bytes**.\n> for tea",
        "fields": [
            {"name": "Received", "value": "60", "inline": true},
            {"name": "Sent", "value": "20 to <@2>", "inline": true},
            {"name": "Next daily", "value": "<t:1772377200:R>\nat midnight", "inline": true},
            {"name": "Streak", "value": "3 days", "inline": true},
            {"name": "Next bonus", "value": "x2 at a streak of 8 days (5 more days)", "inline": false},
        ],
        "footer": {"text": "Page 1 of 2"},
        "timestamp": "2026-03-01T11:00:00+00:00",
    });
    let rows = [
        json!({"type": 1, "components": [
            {"type": 2, "style": 2, "label": "Previous", "custom_id": "a", "disabled": true},
            {"type": 2, "style": 2, "label": "Next", "custom_id": "b"},
            {"type": 2, "style": 5, "label": "Help", "url": "https://a.example/help", "emoji": {"name": "💡"}},
        ]}),
        json!({"type": 1, "components": [{"type": 3, "custom_id": "m", "placeholder": "Scope", "options": [
            {"label": "Bytes", "value": "b", "default": true}, {"label": "Streak", "value": "s"},
        ]}]}),
    ];
    insta::assert_snapshot!(drawn(&Seen { embeds: vec![embed], components: rows.into(), ..seen("<@2>") }), @"
        @bob
        ┃ Bytekeeper
        ┃ Balance
        ┃ @ada has 1,240 bytes.
        ┃ ▏ for tea
        ┃
        ┃ Received   Sent         Next daily
        ┃ 60         20 to @bob   in 3 hours
        ┃                         at midnight
        ┃
        ┃ Streak
        ┃ 3 days
        ┃
        ┃ Next bonus
        ┃ x2 at a streak of 8 days (5 more days)
        ┃
        ┃ Page 1 of 2 · 1 March 2026 11:00
        [Previous (off)] [Next] [💡 Help ↗ https://a.example/help]
        [Scope ▾ ✓Bytes | Streak]
        ");
}

#[test]
fn a_deferred_reply_is_thinking_and_files_are_named() {
    assert_eq!(drawn(&Seen { thinking: true, ..seen("") }), "is thinking …");
    let file = json!({"id": "1", "filename": "cases.csv"});
    assert_eq!(drawn(&Seen { attachments: vec![file], ..seen("here") }), "here\n[file: cases.csv]");
}

#[test]
fn colour_is_escape_sequences_around_the_same_text() {
    let look = Look { color: true, ..look() };
    let embed = json!({"color": 0xFE_E7_5C, "description": "**no** `x`"});
    insta::assert_snapshot!(message(&Seen { embeds: vec![embed], ..seen("<@1>") }, &look).join("\n").escape_debug(), @r"\u{1b}[94m@ada\u{1b}[0m\n\u{1b}[38;2;254;231;92m┃\u{1b}[0m \u{1b}[1mno\u{1b}[0m \u{1b}[33mx\u{1b}[0m");
}

#[test]
fn a_modal_is_drawn_with_what_it_asks_for() {
    let asked = json!({"title": "Send bytes", "custom_id": "send", "components": [
        {"type": 1, "components": [{"type": 4, "custom_id": "amount", "label": "How many", "style": 1, "placeholder": "1 to 1000"}]},
        {"type": 18, "label": "What for", "component": {"type": 4, "custom_id": "reason", "style": 2, "required": false, "value": "tea"}},
    ]});
    insta::assert_snapshot!(modal(&asked, &look()).join("\n"), @"
        ╭ Send bytes
        │ How many (amount): 1 to 1000
        ╰ What for (reason) optional: tea
        ");
}
