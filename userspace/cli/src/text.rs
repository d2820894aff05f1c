//! Text on a terminal: foreign text made harmless, figures made short.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Deserializer};
use unicode_width::UnicodeWidthChar as _;

/// The most characters of one foreign text that are kept.
const LONGEST: usize = 512;

/// A text that came from outside: short, and each of its characters takes one or two columns.
///
/// It is cleaned when it is read, so nothing that is shown later can move the cursor or change the terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(String);

impl Text {
    /// Cleans a text: what takes no column of its own (control and format characters, combining marks) becomes `�`,
    /// and what is longer than 512 characters is cut.
    pub fn new(raw: &str) -> Self {
        let mut text: String = raw.chars().take(LONGEST).map(harmless).collect();
        if raw.chars().nth(LONGEST).is_some() {
            text.push('…');
        }
        Self(text)
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|raw| Self::new(&raw))
    }
}

fn harmless(c: char) -> char {
    // Line and paragraph separators and the soft hyphen count as one column, but terminals do not agree.
    let doubtful = matches!(c, '\u{2028}' | '\u{2029}' | '\u{ad}');
    match c.width() {
        Some(1 | 2) if !doubtful => c,
        _ => char::REPLACEMENT_CHARACTER,
    }
}

/// Columns that a text takes.
pub fn width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// A text cut to at most `columns`; the cut is marked by `…`.
pub fn fit(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let Some(room) = columns.checked_sub(1) else { return String::new() };
    let mut used = 0;
    let kept = text.chars().take_while(|c| {
        used += c.width().unwrap_or(0);
        used <= room
    });
    kept.chain(['…']).collect()
}

/// CPU cores: `0`, `340m`, `1.25`, `128`.
pub fn cores(cores: f64) -> String {
    match cores {
        c if c < 0.0005 => "0".into(),
        c if c < 0.9995 => format!("{:.0}m", c * 1000.0),
        c if c < 99.995 => format!("{c:.2}"),
        c => scaled(c, 1000.0, &COUNTS),
    }
}

/// Bytes in binary units with at most three digits: `512`, `1.2Gi`, `340Mi`.
pub fn bytes(bytes: u64) -> String {
    scaled(bytes as f64, 1024.0, &["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"])
}

/// Events, or events per second, with at most three digits: `0`, `0.4`, `12`, `1.2k`.
pub fn count(count: f64) -> String {
    match count {
        c if c < 0.05 => "0".into(),
        c if c < 9.95 => brief(c),
        c => scaled(c, 1000.0, &COUNTS),
    }
}

const COUNTS: [&str; 5] = ["", "k", "M", "G", "T"];

fn scaled(mut value: f64, base: f64, units: &[&str]) -> String {
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && value < 9.95);
    // What no unit makes short is no figure that a node can have; it must not fill the line.
    format!("{:.digits$}{}", value.min(9999.0), units[unit])
}

/// A span of time in seconds: `6.1ms`, `12.3s`, `5m03s`, `3h12m`, `4d03h`.
pub fn span(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match seconds {
        s if s < 0.0005 => "0".into(),
        s if s < 0.00995 => format!("{}ms", brief(s * 1000.0)),
        s if s < 0.9995 => format!("{:.0}ms", s * 1000.0),
        s if s < 59.95 => format!("{}s", brief(s)),
        _ if whole < 3_600 => format!("{}m{:02}s", whole / 60, whole % 60),
        _ if whole < 86_400 => format!("{}h{:02}m", whole / 3_600, whole / 60 % 60),
        _ if whole < 8_640_000 => format!("{}d{:02}h", whole / 86_400, whole / 3_600 % 24),
        s => format!("{}d", count(s / 86_400.0)),
    }
}

/// With one digit after the point, unless that is 0.
fn brief(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// Time of day of a moment in ms since the Unix epoch: `14:03:22`, UTC.
pub fn clock(time_ms: u64) -> String {
    let seconds = time_ms / 1000 % 86_400;
    format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// A number and its noun: `1 pod`, `2 pods`.
pub fn counted(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ if noun.ends_with('s') => format!("{number} {noun}es"),
        _ => format!("{number} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ratatui::text::Span;

    use super::*;

    #[test]
    fn escape_sequences_and_direction_marks_are_defused() {
        assert_eq!(&*Text::new("a\x1b[2Jb\r\n\u{9b}31m\u{202e}\u{200b}e\u{301}"), "a�[2Jb���31m��e�");
        assert_eq!(&*Text::new("日本 naïve"), "日本 naïve");
    }

    #[test]
    fn long_texts_are_cut() {
        let text = Text::new(&"x".repeat(4096));
        assert_eq!(text.chars().count(), LONGEST + 1);
        assert!(text.ends_with('…'));
    }

    #[test]
    fn wide_characters_are_never_halved() {
        assert_eq!(fit("日本語", 6), "日本語");
        assert_eq!(fit("日本語", 5), "日本…");
        assert_eq!(fit("日本語", 4), "日…");
        assert_eq!(fit("日本語", 1), "…");
        assert_eq!(fit("日本語", 0), "");
    }

    #[test]
    fn figures_are_short() {
        assert_eq!([0.0, 0.0004, 0.34, 0.9996, 1.25, 128.4].map(cores), ["0", "0", "340m", "1.00", "1.25", "128"]);
        assert_eq!([0, 512, 1023, 1_288_490_189, 357_564_416].map(bytes), ["0", "512", "1.0Ki", "1.2Gi", "341Mi"]);
        assert_eq!(bytes(u64::MAX), "16Ei");
        assert_eq!(
            [0.0, 0.4, 1.0, 12.0, 999.4, 999.6, 1234.0].map(count),
            ["0", "0.4", "1", "12", "999", "1.0k", "1.2k"]
        );
        assert_eq!(
            [0.0, 0.0061, 0.34, 2.0, 12.34, 303.0, 11_520.0, 356_400.0, 1e9].map(span),
            ["0", "6.1ms", "340ms", "2s", "12.3s", "5m03s", "3h12m", "4d03h", "12kd"]
        );
        assert_eq!(clock(1_795_170_549_760), "10:29:09");
        assert_eq!(
            [counted(1, "process"), counted(2, "process"), counted(0, "pod")],
            ["1 process", "2 processes", "0 pods"]
        );
    }

    proptest! {
        #[test]
        fn cleaned_text_takes_the_columns_it_says(raw in any::<String>(), columns in 0_usize..40) {
            let text = Text::new(&raw);
            prop_assert!(text.chars().all(|c| matches!(c.width(), Some(1 | 2))));
            // The terminal library measures whole clusters, which may be narrower than their parts, never wider.
            prop_assert!(Span::raw(&*text).width() <= width(&text));
            prop_assert!(width(&fit(&text, columns)) <= columns);
        }

        #[test]
        fn figures_fit_their_columns(value in prop::num::f64::ANY, size in any::<u64>()) {
            prop_assert!(cores(value).len() <= 6);
            prop_assert!(count(value).len() <= 6);
            prop_assert!(bytes(size).len() <= 6);
            prop_assert!(span(value).len() <= 7);
        }
    }
}
