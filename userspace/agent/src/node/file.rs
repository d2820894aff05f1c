//! Files of /proc: kept open where they are wanted again and again, and the forms they share.
//!
//! Texts are bytes: names of network interfaces and of file systems may be anything but UTF-8.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags, open};

/// A file that goes on beyond this is none of the kernel's.
const LARGEST: usize = 4 << 20;

/// A file that is read from its beginning again and again, open meanwhile.
#[derive(Debug)]
pub(super) struct Kept {
    path: PathBuf,
    open: Option<OwnedFd>,
}

impl Kept {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, open: None }
    }

    /// The whole text. A file that cannot be read is opened anew the next time.
    pub(super) fn read<'a>(&mut self, buffer: &'a mut Vec<u8>) -> rustix::io::Result<&'a [u8]> {
        let file = match self.open.take() {
            Some(file) => file,
            None => open(&self.path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?,
        };
        let length = whole(&file, buffer)?;
        self.open = Some(file);
        Ok(&buffer[..length])
    }
}

/// Reads a file from its beginning to its end and returns its length.
///
/// The kernel gives such a file a page at a time: only a read of nothing is the end.
pub(super) fn whole(file: impl AsFd, buffer: &mut Vec<u8>) -> rustix::io::Result<usize> {
    let mut length = 0;
    loop {
        if length == buffer.len() {
            if length >= LARGEST {
                return Err(rustix::io::Errno::FBIG);
            }
            buffer.resize((2 * length).max(16 << 10), 0);
        }
        let read = rustix::io::retry_on_intr(|| rustix::io::pread(&file, &mut buffer[length..], length as u64))?;
        length += read;
        if read == 0 {
            return Ok(length);
        }
    }
}

/// The lines of a text that are whole: one that does not end has been cut, and a cut number is another number.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|&byte| byte == b'\n').filter_map(|line| line.strip_suffix(b"\n"))
}

/// What stands between blanks.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// A number as the kernel writes it: digits alone.
pub(super) fn number(word: &[u8]) -> Option<u64> {
    if word.is_empty() {
        return None;
    }
    word.iter().try_fold(0u64, |value, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// The first numbers of a line, 0 where it has fewer; none where one of its words is not a number.
pub(super) fn numbers<'a, const N: usize>(words: impl Iterator<Item = &'a [u8]>) -> Option<[u64; N]> {
    let mut values = [0; N];
    for (value, word) in values.iter_mut().zip(words) {
        *value = number(word)?;
    }
    Some(values)
}

/// The numbers behind `keys` in a file of lines `key number …`, with or without a colon behind the key.
pub(super) fn keyed<const N: usize>(text: &[u8], keys: [&str; N]) -> [Option<u64>; N] {
    let mut found = [None; N];
    for line in lines(text) {
        let mut words = words(line);
        let Some(key) = words.next() else { continue };
        let key = key.strip_suffix(b":").unwrap_or(key);
        if let Some(at) = keys.iter().position(|wanted| wanted.as_bytes() == key) {
            found[at] = words.next().and_then(number);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_alone() {
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        for word in [&b""[..], b"-1", b"+1", b"1x", b"18446744073709551616"] {
            assert_eq!(number(word), None, "{word:?}");
        }
        assert_eq!(numbers::<3>(words(b" 1  2")), Some([1, 2, 0]));
        assert_eq!(numbers::<3>(words(b"1 x")), None);
    }

    #[test]
    fn keys_are_whole_words_of_whole_lines() {
        let text = b"pgfault 3\nMemTotal:  16 kB\nuser x\nsystem 45";
        assert_eq!(
            keyed(text, ["pgfault", "MemTotal", "user", "system", "none"]),
            [Some(3), Some(16), None, None, None]
        );
    }

    #[test]
    fn a_kept_file_is_read_anew_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let (mut kept, mut buffer) = (Kept::new(path.clone()), Vec::new());
        assert!(kept.read(&mut buffer).is_err());
        let long = "x".repeat(40_000);
        for text in ["one\n", "", &long, "two\n"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(kept.read(&mut buffer).unwrap(), text.as_bytes());
        }
    }
}
