//! Durations as Go writes them: `15.002s`, `1m0s`, `1h2m3s`, `250ms`.

use std::time::Duration;

/// Units and their length, ns, the micro sign in both of its forms; a unit that begins like another one stands before it.
const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// Reads a duration; `None` for what is none, or below zero.
pub fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut nanos = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(end);
        let (unit, length) = UNITS.iter().find(|(unit, _)| behind.starts_with(unit))?;
        nanos += number.parse::<f64>().ok()? * length;
        rest = &behind[unit.len()..];
    }
    (nanos < u64::MAX as f64).then(|| Duration::from_nanos(nanos.round() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_writes() {
        for (text, millis) in [
            ("15.002s", 15_002),
            ("29.607s", 29_607),
            ("1m0s", 60_000),
            ("1h2m3s", 3_723_000),
            ("1m0.5s", 60_500),
            ("250ms", 250),
            ("0s", 0),
            ("0", 0),
            (".5s", 500),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse("1.5µs"), Some(Duration::from_nanos(1500)));
    }

    #[test]
    fn refuses_other_texts() {
        for text in ["", "s", "15", "15 s", "-1s", "1d", "1s1", "1..2s", "1e3s", "99999999999999h"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
