//! Texts that others have written, made harmless: names of executables, processes, containers and pods, labels, what
//! runtimes and receivers say.
//!
//! Whoever runs a container chooses its names. A line feed would forge a line of the log, an escape sequence would
//! steer the terminal that shows it, and two names that look alike in the end would share a series. So each such
//! character is written out, and different names stay different.

use std::fmt::Write as _;

/// Executable names that mean something else: the rest of a container, and a name that could not be read.
const RESERVED: [&str; 2] = ["_other", "_unknown"];

/// A text with every byte that is no UTF-8 and every character that is not to be shown written as `\xff` or
/// `\u{202e}`, and a backslash as two. Different texts stay different.
pub fn visible(raw: &[u8]) -> String {
    let mut text = String::with_capacity(raw.len());
    for chunk in raw.utf8_chunks() {
        for c in chunk.valid().chars() {
            // Writing to a String cannot fail.
            let _ = match c {
                '\\' => text.write_str("\\\\"),
                c if c.is_ascii_control() => write!(text, "\\x{:02x}", u32::from(c)),
                c if is_unseen(c) => write!(text, "\\u{{{:x}}}", u32::from(c)),
                c => text.write_char(c),
            };
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// The same for the name of an executable: one that pretends to be a name of ours has a backslash in front.
pub fn executable(raw: &[u8]) -> String {
    let text = visible(raw);
    if RESERVED.contains(&text.as_str()) { format!("\\{text}") } else { text }
}

/// The beginning of what another program said, as one line that can be shown.
pub fn line(text: &str, most: usize) -> String {
    let shown = |c: char| if c.is_control() || is_unseen(c) { ' ' } else { c };
    let line: String = text.chars().take(most).map(shown).collect();
    line.trim().to_owned()
}

/// Control characters of C1, line and paragraph separators, and what turns the direction of writing.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}')
        || matches!(c, '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_names_stay_as_they_are() {
        for name in ["bash", "kworker", "日本 naïve", "a-b_c.d+e", "QEMU 9.2 (x86)", "_others", ""] {
            assert_eq!(executable(name.as_bytes()), name);
        }
    }

    #[test]
    fn what_steers_terminals_and_breaks_lines_is_written_out() {
        assert_eq!(visible(b"a\nb\r\x1b[2J\x07\0"), r"a\x0ab\x0d\x1b[2J\x07\x00");
        assert_eq!(visible("\u{9b}31m\u{202e}\u{2028}".as_bytes()), r"\u{9b}31m\u{202e}\u{2028}");
        assert_eq!(visible(b"\xff\xfe \xe6\x97"), r"\xff\xfe \xe6\x97");
        assert_eq!(visible(br"\x1b"), r"\\x1b");
        assert_eq!([executable(b"_other"), executable(b"_unknown")], [r"\_other", r"\_unknown"]);
    }

    #[test]
    fn lines_are_cut_and_shown() {
        assert_eq!(line(" too\n old\u{1b}[2J ", 100), "too  old [2J");
        assert_eq!(line(&"ä".repeat(500), 10), "ä".repeat(10));
    }

    /// Bytes that are likely to be mistaken for each other.
    fn names() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"\\".to_vec()),
            Just(b"_other".to_vec()),
            Just(b"x1b".to_vec()),
            Just(b"u{9b}".to_vec()),
            Just("\u{9b}".as_bytes().to_vec()),
            any::<Vec<u8>>()
        ];
        prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn nothing_unseen_is_left(raw in names()) {
            prop_assert!(!executable(&raw).chars().any(is_unseen));
            prop_assert!(!line(&String::from_utf8_lossy(&raw), 50).chars().any(is_unseen));
        }

        #[test]
        fn different_names_stay_different(a in names(), b in names()) {
            prop_assert_eq!(a == b, executable(&a) == executable(&b));
        }
    }
}
