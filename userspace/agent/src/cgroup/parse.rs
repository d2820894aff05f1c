//! The forms that cgroup files share. Every function takes a file's whole text and gives nothing where it is not
//! what the kernel writes: a line that does not end has been cut, and a cut number is another number.

/// A file of one number.
pub(super) fn value(text: &str) -> Option<u64> {
    number(text.strip_suffix('\n')?)
}

/// A file of one number, or of a word or a number beyond all memory that means "no limit".
pub(super) fn limit(text: &str) -> Option<u64> {
    // Version 1 writes the largest page count times the page size, which depends on the architecture.
    value(text).filter(|&bytes| bytes < 1 << 62)
}

/// The values of `keys` in a file of lines `key value`.
pub(super) fn keyed<const N: usize>(text: &str, keys: [&str; N]) -> [Option<u64>; N] {
    let mut values = [None; N];
    for (key, value) in lines(text).filter_map(|line| line.split_once(' ')) {
        if let Some(at) = keys.iter().position(|&k| k == key) {
            values[at] = number(value);
        }
    }
    values
}

/// A block device's `major:minor`.
pub(super) fn device(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((u32::try_from(number(major)?).ok()?, u32::try_from(number(minor)?).ok()?))
}

/// The lines of a text that are whole.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'))
}

/// A number as the kernel writes it: digits alone.
pub(super) fn number(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// CPUs' worth of time that a quota per period allows.
pub(super) fn cores(quota: u64, period: u64) -> Option<f64> {
    (period > 0).then(|| quota as f64 / period as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_digits_up_to_the_end_of_its_line() {
        assert_eq!(value("403416501309\n"), Some(403_416_501_309));
        assert_eq!(value("18446744073709551615\n"), Some(u64::MAX));
        for text in ["", "\n", "4034", "-1\n", "+1\n", "1 \n", "1\n\n", "18446744073709551616\n", "max\n"] {
            assert_eq!(value(text), None, "{text:?}");
        }
    }

    #[test]
    fn no_limit_has_several_spellings() {
        assert_eq!(limit("67108864\n"), Some(64 << 20));
        // Version 2, and version 1 with pages of 4 and 64 KiB.
        for text in ["max\n", "9223372036854771712\n", "9223372036854710272\n"] {
            assert_eq!(limit(text), None, "{text:?}");
        }
    }

    #[test]
    fn keys_are_whole_words_of_whole_lines() {
        let text = "total_pgfault 12\npgfault 3\nuser x\nsystem 45";
        assert_eq!(keyed(text, ["pgfault", "user", "system", "none"]), [Some(3), None, None, None]);
    }

    #[test]
    fn cores_need_a_period() {
        assert_eq!((cores(50_000, 100_000), cores(1, 0)), (Some(0.5), None));
    }
}
