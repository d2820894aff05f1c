//! The run-queue wait histogram: OTLP exponential buckets of scale 3, in seconds.
//!
//! Source: OpenTelemetry metrics data model, "ExponentialHistogram": bucket `i` holds values in
//! `(base^i, base^(i+1)]` with `base = 2^(2^-scale)`. With scale 3 an octave has eight buckets and a
//! value read back from its bucket's middle is at most 4.4 % off.

use bytemuck::{Pod, Zeroable};

/// Buckets per octave (scale 3).
pub const PER_OCTAVE: usize = 8;
/// The lowest octave that has buckets: values up to 2^FIRST_OCTAVE s (about 0.95 µs) count as zero.
pub const FIRST_OCTAVE: i32 = -20;
/// One past the highest octave: values above 2^END_OCTAVE s (64 s) count as over.
pub const END_OCTAVE: i32 = 6;
/// Number of buckets.
pub const BUCKETS: usize = (END_OCTAVE - FIRST_OCTAVE) as usize * PER_OCTAVE;
/// OTLP index of the first bucket.
pub const FIRST_INDEX: i32 = FIRST_OCTAVE * PER_OCTAVE as i32;

/// Nanoseconds of a second.
const NS_PER_S: u64 = 1_000_000_000;
/// Exponent of the unit that nanoseconds are scaled to: 2^-30 s.
const UNIT: i32 = -30;

/// One histogram; other CPUs add to it as well, so it is read without a promise that its fields agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Histogram {
    /// Values in `(2^(FIRST_OCTAVE + k/8), 2^(FIRST_OCTAVE + (k+1)/8)]` seconds.
    pub buckets: [u64; BUCKETS],
    /// Values up to 2^FIRST_OCTAVE s.
    pub zero: u64,
    /// Values above 2^END_OCTAVE s.
    pub over: u64,
    /// Sum of all values, ns.
    pub sum_ns: u64,
}
const _: () = assert!(size_of::<Histogram>() == (BUCKETS + 3) * 8);

impl Histogram {
    /// No values.
    pub const EMPTY: Self = Self { buckets: [0; BUCKETS], zero: 0, over: 0, sum_ns: 0 };
}

/// Where a value belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At or below the lowest bound.
    Zero,
    /// Bucket by index.
    Bucket(usize),
    /// Above the highest bound.
    Over,
}

/// `2^(k/8)` for k = 1..=7 in units of 2^-35, rounded down: as the highest octave has them.
const STEPS: [u64; 7] =
    [37_469_560_382, 40_860_845_336, 44_559_067_803, 48_592_007_999, 52_989_960_469, 57_785_961_645, 63_016_038_013];

/// Finds the place of a duration.
///
/// `ns`: nanoseconds.
#[inline(always)]
pub fn place(ns: u64) -> Place {
    if ns > NS_PER_S << END_OCTAVE {
        return Place::Over;
    }
    // 2^30/10^9 = 1.073741824; the fraction in units of 2^-20, so that the product stays in 64 bits.
    let scaled = ns + ((ns * 77_324) >> 20);
    if scaled <= 1 << (FIRST_OCTAVE - UNIT) {
        return Place::Zero;
    }
    // Upper bounds belong to the bucket below, so the octave and the mantissa are those of `scaled − 1`. The target
    // has no instruction that finds the highest bit: it is moved to the top by halving.
    let (mut mantissa, mut octave) = (scaled - 1, BUCKETS / PER_OCTAVE - 1);
    let mut shift = 16;
    while shift > 0 {
        if mantissa < 1 << (END_OCTAVE - UNIT - shift) {
            mantissa <<= shift;
            octave -= shift as usize;
        }
        shift /= 2;
    }
    let mut sub = 0;
    let mut k = 0;
    while k < STEPS.len() {
        if mantissa >= STEPS[k] {
            sub = k + 1;
        }
        k += 1;
    }
    Place::Bucket(octave * PER_OCTAVE + sub)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    /// The data model's own definition, in floating point.
    fn expected(seconds: f64) -> i32 {
        ((seconds.log2() * PER_OCTAVE as f64).ceil() as i32 - 1) - FIRST_INDEX
    }

    #[test]
    fn agrees_with_the_data_model() {
        let mut ns = 960u64;
        while ns < 64_000_000_000 {
            let Place::Bucket(got) = place(ns) else { panic!("{ns} has no bucket") };
            let want = expected(ns as f64 / 1e9);
            // At a bucket's very edge integer rounding may pick the neighbour.
            let edge = 2f64.powf((FIRST_INDEX + want) as f64 / 8.0) * 1e9;
            let off_edge = ((ns as f64 - edge) / edge).abs();
            assert!(
                got as i32 == want || ((got as i32 - want).abs() == 1 && !(2e-3..=0.0885).contains(&off_edge)),
                "{ns} ns: bucket {got}, expected {want}"
            );
            ns += 1 + ns / 997;
        }
    }

    #[test]
    fn a_value_read_back_is_at_most_4_4_percent_off() {
        let mut ns = 1_000u64;
        while ns < 60_000_000_000 {
            let Place::Bucket(k) = place(ns) else { panic!("{ns} has no bucket") };
            let low = 2f64.powf((FIRST_INDEX + k as i32) as f64 / 8.0) * 1e9;
            let middle = low * 2f64.powf(1.0 / 16.0);
            assert!((middle / ns as f64 - 1.0).abs() < 0.0445, "{ns} ns read back as {middle}");
            ns += 1 + ns / 503;
        }
    }

    #[test]
    fn the_ends_are_kept_apart() {
        assert_eq!(place(0), Place::Zero);
        assert_eq!(place(900), Place::Zero);
        assert_eq!(place(1_000), Place::Bucket(0));
        assert_eq!(place(65_000_000_000), Place::Over);
        assert_eq!(place(u64::MAX), Place::Over);
    }
}
