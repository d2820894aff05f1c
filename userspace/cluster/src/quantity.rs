//! Quantities: `100m`, `1.5Gi`, `12e6`, with the whole grammar of the Kubernetes API and without floating point.
//!
//! ```text
//! quantity = [sign] number [suffix]        number = digits | digits "." [digits] | "." digits
//! suffix   = "Ki" | "Mi" | "Gi" | "Ti" | "Pi" | "Ei" | "n" | "u" | "m" | "k" | "M" | "G" | "T" | "P" | "E"
//!          | ("e" | "E") [sign] digits
//! ```
//!
//! As in the API server (apimachinery, `resource.ParseQuantity`), what is finer than a billionth is rounded away from
//! zero, and what has a binary suffix ends at 2⁶³ − 1.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _, Visitor};

/// Billionths in a unit.
const NANO: i128 = 1_000_000_000;
/// Most that a quantity with a binary suffix can be, in units.
const BINARY_MOST: i128 = i64::MAX as i128;
/// The longest text that is read; what people and the API write has at most some twenty characters.
const LONGEST: usize = 128;

/// An exact amount: cores, bytes or pods, in billionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(i128);

/// A text that is no quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no quantity: expected a number with a suffix such as m, Ki, G or e3, or with none")]
pub struct NoQuantity(String);

impl Quantity {
    /// From billionths.
    pub const fn from_nanos(nanos: i128) -> Self {
        Self(nanos)
    }

    /// In billionths; what does not fit is the nearest that does.
    pub const fn nanos(self) -> i128 {
        self.0
    }

    /// In units, such as cores; the nearest number that there is.
    pub fn as_f64(self) -> f64 {
        // Apart, because billionths of large amounts have more digits than a float.
        (self.0 / NANO) as f64 + (self.0 % NANO) as f64 / NANO as f64
    }

    /// In whole units, such as bytes, rounded up as the API server does; `None` below zero.
    pub fn whole(self) -> Option<u64> {
        let units = self.0.checked_add(NANO - 1).unwrap_or(i128::MAX).div_euclid(NANO);
        (self.0 >= 0).then(|| u64::try_from(units).unwrap_or(u64::MAX))
    }
}

/// What a suffix multiplies by.
#[derive(Clone, Copy)]
enum Scale {
    /// A power of ten.
    Ten(i64),
    /// A power of two.
    Two(u32),
}

fn scale(suffix: &str) -> Option<Scale> {
    Some(match suffix {
        "n" => Scale::Ten(-9),
        "u" => Scale::Ten(-6),
        "m" => Scale::Ten(-3),
        "" => Scale::Ten(0),
        "k" => Scale::Ten(3),
        "M" => Scale::Ten(6),
        "G" => Scale::Ten(9),
        "T" => Scale::Ten(12),
        "P" => Scale::Ten(15),
        "E" => Scale::Ten(18),
        "Ki" => Scale::Two(10),
        "Mi" => Scale::Two(20),
        "Gi" => Scale::Two(30),
        "Ti" => Scale::Two(40),
        "Pi" => Scale::Two(50),
        "Ei" => Scale::Two(60),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            Scale::Ten(exponent.parse().ok().filter(|_| plain)?)
        }
    })
}

impl FromStr for Quantity {
    type Err = NoQuantity;

    fn from_str(text: &str) -> Result<Self, NoQuantity> {
        parse(text).ok_or_else(|| NoQuantity(text.chars().take(LONGEST).collect()))
    }
}

fn parse(text: &str) -> Option<Quantity> {
    if text.len() > LONGEST {
        return None;
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).map(|digit| digit - b'0').collect();
    let places = -(fraction.len() as i64);
    let size = match scale(suffix)? {
        Scale::Ten(exponent) => scaled(&digits, 1, exponent.saturating_add(places)),
        Scale::Two(bits) => scaled(&digits, 1 << bits, places).min(BINARY_MOST * NANO),
    };
    Some(Quantity(if text.starts_with('-') { -size } else { size }))
}

/// `digits` × `factor` × 10^`exponent` in billionths, rounded up; the largest number where that is too small for it.
fn scaled(digits: &[u8], factor: i128, exponent: i64) -> i128 {
    let exponent = exponent.saturating_add(9);
    // Digits behind the last billionth only round up, except that a factor of 2⁶⁰ lifts some of them above it.
    const LIFTED: usize = 20;
    let below = usize::try_from(-exponent).unwrap_or(0);
    let kept = digits.len().saturating_sub(below.saturating_sub(LIFTED));
    let (head, tail) = digits.split_at(kept);
    let mut rest = u128::from(tail.iter().any(|&digit| digit != 0));
    let read = head.iter().try_fold(0i128, |sum, &digit| sum.checked_mul(10)?.checked_add(i128::from(digit)));
    let Some(mut value) = read.and_then(|value| value.checked_mul(factor)) else { return i128::MAX };
    if exponent >= 0 {
        if value == 0 {
            return 0;
        }
        let power = u32::try_from(exponent).ok().and_then(|exponent| 10i128.checked_pow(exponent));
        return power.and_then(|power| value.checked_mul(power)).unwrap_or(i128::MAX);
    }
    for _ in 0..below.min(digits.len() + LIFTED) - tail.len() {
        rest |= (value % 10).unsigned_abs();
        value /= 10;
    }
    value + i128::from(rest != 0)
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_f64())
    }
}

impl<'de> Deserialize<'de> for Quantity {
    /// A text; or a number, which the API takes as well.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Quantity, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_i64<E: serde::de::Error>(self, units: i64) -> Result<Quantity, E> {
                Ok(Quantity(i128::from(units) * NANO))
            }

            fn visit_u64<E: serde::de::Error>(self, units: u64) -> Result<Quantity, E> {
                Ok(Quantity(i128::from(units) * NANO))
            }

            fn visit_f64<E: serde::de::Error>(self, units: f64) -> Result<Quantity, E> {
                units.to_string().parse().map_err(E::custom)
            }
        }
        from.deserialize_any(Text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
