//! Protobuf written from the back to the front.
//!
//! A nested message is preceded by its length. Written backwards, its bytes already stand there when the length is
//! due, so nothing is measured beforehand and nothing patched afterwards. Fields are therefore written in descending
//! order of their tags, and elements of a repeated field last one first.

/// Wire type of varints.
const VARINT: u32 = 0;
/// Wire type of eight bytes, little-endian.
const FIXED64: u32 = 1;
/// Wire type of a length and as many bytes.
const LENGTH: u32 = 2;

/// A buffer that fills from its end.
#[derive(Debug, Default)]
pub(super) struct Writer {
    buffer: Vec<u8>,
    /// Where the written bytes begin in `buffer`; they reach to its end.
    start: usize,
}

impl Writer {
    /// What was written so far.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// How many bytes that is.
    pub(super) fn len(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Forgets everything; the memory is kept.
    pub(super) fn clear(&mut self) {
        self.start = self.buffer.len();
    }

    /// Takes back what was written since `len` was [`Writer::len`].
    pub(super) fn rewind(&mut self, len: usize) {
        self.start = self.buffer.len().saturating_sub(len).max(self.start);
    }

    /// Puts bytes, finished fields for instance, in front.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        if self.start < bytes.len() {
            self.grow(bytes.len());
        }
        let end = self.start;
        self.start -= bytes.len();
        self.buffer[self.start..end].copy_from_slice(bytes);
    }

    /// A varint without a tag.
    pub(super) fn varint(&mut self, mut value: u64) {
        let mut bytes = [0; 10];
        let mut used = 0;
        while value >= 0x80 {
            bytes[used] = value as u8 | 0x80;
            value >>= 7;
            used += 1;
        }
        bytes[used] = value as u8;
        self.put(&bytes[..=used]);
    }

    /// An `int64`, `uint32`, `bool` or enum field; left out when zero, as proto3 does.
    pub(super) fn number(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.number_of_oneof(field, value);
        }
    }

    /// The same as a member of a `oneof`, where zero is a value.
    pub(super) fn number_of_oneof(&mut self, field: u32, value: u64) {
        self.varint(value);
        self.tag(field, VARINT);
    }

    /// A `sint32` field; left out when zero.
    pub(super) fn sint32(&mut self, field: u32, value: i32) {
        self.number(field, u64::from((value.wrapping_shl(1) ^ (value >> 31)) as u32));
    }

    /// A `fixed64` field; left out when zero.
    pub(super) fn fixed64(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.eight(field, value.to_le_bytes());
        }
    }

    /// Eight bytes as they are, written even when zero: `double` and `sfixed64` where presence counts.
    pub(super) fn eight(&mut self, field: u32, bytes: [u8; 8]) {
        self.put(&bytes);
        self.tag(field, FIXED64);
    }

    /// A `string` or `bytes` field, or a message that is already encoded; written even when empty.
    pub(super) fn bytes_field(&mut self, field: u32, bytes: &[u8]) {
        self.put(bytes);
        self.varint(bytes.len() as u64);
        self.tag(field, LENGTH);
    }

    /// A `string` field; left out when empty.
    pub(super) fn string(&mut self, field: u32, text: &str) {
        if !text.is_empty() {
            self.bytes_field(field, text.as_bytes());
        }
    }

    /// A nested message (or packed repeated field), of which `write` writes the content. Passes on what `write` returns.
    pub(super) fn message<T>(&mut self, field: u32, write: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.len();
        let out = write(self);
        self.varint((self.len() - before) as u64);
        self.tag(field, LENGTH);
        out
    }

    fn tag(&mut self, field: u32, wire_type: u32) {
        self.varint(u64::from(field << 3 | wire_type));
    }

    /// Makes room for at least `more` bytes; doubles, so that writing stays linear.
    #[cold]
    fn grow(&mut self, more: usize) {
        let used = self.len();
        let mut buffer = vec![0; (used + more).next_power_of_two().max(4096) * 2];
        let start = buffer.len() - used;
        buffer[start..].copy_from_slice(self.bytes());
        *self = Self { buffer, start };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer::default();
        write(&mut writer);
        writer.bytes().to_vec()
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct Every {
        #[prost(int64, tag = "1")]
        number: i64,
        #[prost(sint32, tag = "2")]
        signed: i32,
        #[prost(fixed64, tag = "3")]
        fixed: u64,
        #[prost(double, optional, tag = "4")]
        double: Option<f64>,
        #[prost(string, tag = "5")]
        text: String,
        #[prost(message, optional, boxed, tag = "16")]
        nested: Option<Box<Every>>,
        #[prost(uint64, repeated, tag = "17")]
        packed: Vec<u64>,
    }

    fn write_every(w: &mut Writer, every: &Every) {
        if !every.packed.is_empty() {
            w.message(17, |w| every.packed.iter().rev().for_each(|&n| w.varint(n)));
        }
        if let Some(nested) = &every.nested {
            w.message(16, |w| write_every(w, nested));
        }
        w.string(5, &every.text);
        if let Some(double) = every.double {
            w.eight(4, double.to_le_bytes());
        }
        w.fixed64(3, every.fixed);
        w.sint32(2, every.signed);
        w.number(1, every.number as u64);
    }

    fn every() -> impl Strategy<Value = Every> {
        let leaf = (any::<i64>(), any::<i32>(), any::<u64>(), any::<Option<f64>>(), ".{0,200}", any::<Vec<u64>>())
            .prop_map(|(number, signed, fixed, double, text, packed)| Every {
                number,
                signed,
                fixed,
                double,
                text,
                nested: None,
                packed,
            });
        leaf.prop_recursive(4, 8, 1, |inner| {
            (inner, any::<i64>()).prop_map(|(nested, number)| Every {
                nested: Some(Box::new(nested)),
                number,
                ..Every::default()
            })
        })
    }

    proptest! {
        #[test]
        fn writes_what_prost_writes(every in every()) {
            prop_assert_eq!(written(|w| write_every(w, &every)), prost::Message::encode_to_vec(&every));
        }
    }

    #[test]
    fn rewinding_takes_back_the_last_words_only() {
        let mut w = Writer::default();
        w.put(b"kept");
        let mark = w.len();
        w.put(&[b'x'; 10_000]);
        w.rewind(mark);
        assert_eq!(w.bytes(), b"kept");
        w.rewind(mark + 5);
        assert_eq!(w.bytes(), b"kept", "rewinding never brings anything back");
        w.clear();
        assert_eq!(w.bytes(), b"");
    }
}
