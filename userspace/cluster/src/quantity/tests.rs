//! The grammar's own examples, what a real cluster wrote, and every number against arithmetic on strings.

use proptest::prelude::*;

use super::*;

fn nanos(text: &str) -> i128 {
    text.parse::<Quantity>().unwrap_or_else(|error| panic!("{error}")).nanos()
}

#[test]
fn the_grammars_examples() {
    // The API reference of Quantity, and the tables of apimachinery's own test of it.
    for (text, expected) in [
        ("0", 0),
        ("0n", 0),
        ("0Ki", 0),
        ("1", NANO),
        ("+1", NANO),
        ("-1", -NANO),
        ("1.", NANO),
        (".5", NANO / 2),
        ("-.5Gi", -512 * 1024 * 1024 * NANO),
        ("001.500", 1_500_000_000),
        ("1n", 1),
        ("1u", 1000),
        ("100m", 100_000_000),
        ("1k", 1000 * NANO),
        ("1M", 1_000_000 * NANO),
        ("50G", 50_000_000_000 * NANO),
        ("1T", 10i128.pow(12) * NANO),
        ("1P", 10i128.pow(15) * NANO),
        ("1E", 10i128.pow(18) * NANO),
        ("1Ki", 1024 * NANO),
        ("7.5Mi", 7_864_320 * NANO),
        ("1.5Gi", 1_610_612_736 * NANO),
        ("1Ti", (1 << 40) * NANO),
        ("1Pi", (1 << 50) * NANO),
        ("1Ei", (1 << 60) * NANO),
        ("0.001Ki", 1_024_000_000),
        ("12e6", 12_000_000 * NANO),
        ("12E6", 12_000_000 * NANO),
        ("1e+3", 1000 * NANO),
        ("1.5e-1", 150_000_000),
        ("1E0", NANO),
    ] {
        assert_eq!(nanos(text), expected, "{text}");
    }
}

#[test]
fn what_is_finer_than_a_billionth_is_rounded_away_from_zero() {
    for (text, expected) in [
        ("0.1n", 1),
        ("1.1n", 2),
        ("-1.1n", -2),
        ("1e-10", 1),
        ("1e-999999", 1),
        ("0e-999999", 0),
        ("1.0000000000n", 1),
    ] {
        assert_eq!(nanos(text), expected, "{text}");
    }
}

#[test]
fn what_is_too_large_is_the_largest() {
    for text in ["8Ei", "9223372036854775808Ki", "99999999999999999999999999999999999999999999Ki"] {
        assert_eq!(nanos(text), BINARY_MOST * NANO, "{text}");
        assert_eq!(nanos(&format!("-{text}")), -BINARY_MOST * NANO, "{text}");
    }
    // Decimal amounts do not end there.
    assert_eq!(nanos("100E"), 100 * 10i128.pow(18) * NANO);
    for text in ["1e99", "1e99999999999999999", "9999999999999999999999999999999999999999"] {
        match text.parse::<Quantity>() {
            Ok(quantity) => assert_eq!(quantity.nanos(), i128::MAX, "{text}"),
            // An exponent beyond 64 bits is no number to the API server either.
            Err(_) => assert!(text.len() > 18 && text.contains('e'), "{text}"),
        }
    }
}

#[test]
fn other_texts_are_refused() {
    for text in [
        "", " ", "+", "-", ".", "m", "1 ", " 1", "1K", "1ki", "1mi", "1KiB", "1e", "1e+", "1e++1", "1e1.5", "1.2.3",
        "--1", "+-1", "0x1", "1,5", "Ki", "1m0s", "1i", "١", "1e1Ki", "NaN", "inf",
    ] {
        let error = text.parse::<Quantity>().unwrap_err();
        assert!(error.to_string().contains("is no quantity"), "{text}");
    }
    assert!("1".repeat(LONGEST + 1).parse::<Quantity>().is_err());
}

/// Answers of metrics-server, as they were recorded.
#[test]
fn recorded_quantities() {
    let parse = |text: &str| text.parse::<Quantity>().unwrap();
    assert_eq!(parse("1997794906n").as_f64(), 1.997_794_906);
    assert_eq!(parse("931420159n").nanos(), 931_420_159);
    assert_eq!(parse("5353160Ki").whole(), Some(5_353_160 * 1024));
    assert_eq!(parse("24684092Ki").whole(), Some(25_276_510_208));
    assert_eq!((parse("110").whole(), parse("0").whole()), (Some(110), Some(0)));
    assert_eq!((parse("1n").whole(), parse("1001m").whole(), parse("-1").whole()), (Some(1), Some(2), None));
}

#[test]
fn numbers_in_json_are_taken_too() {
    let read = |text: &str| serde_json::from_str::<Quantity>(text).map(Quantity::nanos).ok();
    assert_eq!(read("2"), Some(2 * NANO));
    assert_eq!(read("-2"), Some(-2 * NANO));
    assert_eq!(read("0.25"), Some(NANO / 4));
    assert_eq!(read("\"250m\""), Some(NANO / 4));
    assert_eq!(read("null").or(read("{}")).or(read("\"x\"")), None);
}

/// Shifts the point of a decimal number and rounds up: the same value by hand, on its digits alone.
fn by_hand(whole: &str, fraction: &str, exponent: i32) -> i128 {
    let mut digits = format!("{whole}{fraction}");
    let places = fraction.len() as i32 - exponent - 9;
    if places <= 0 {
        digits.push_str(&"0".repeat(-places as usize));
        return digits.parse().unwrap();
    }
    let digits = format!("{}{digits}", "0".repeat(places as usize));
    let (units, rest) = digits.split_at(digits.len() - places as usize);
    units.parse::<i128>().unwrap_or(0) + i128::from(rest.bytes().any(|digit| digit != b'0'))
}

proptest! {
    #[test]
    fn decimals_are_exact(whole in "[0-9]{1,12}", fraction in "[0-9]{0,15}", exponent in -12i32..=12) {
        let text = format!("{whole}.{fraction}e{exponent}");
        prop_assert_eq!(nanos(&text), by_hand(&whole, &fraction, exponent));
        prop_assert_eq!(nanos(&format!("-{text}")), -by_hand(&whole, &fraction, exponent));
    }

    #[test]
    fn binaries_are_exact(whole in 0u64..1_000_000_000, thousandths in 0u32..1000, power in 1usize..=3) {
        let text = format!("{whole}.{thousandths:03}{}", ["Ki", "Mi", "Gi"][power - 1]);
        let exact = (i128::from(whole) * 1000 + i128::from(thousandths)) * 1024i128.pow(power as u32) * 1_000_000;
        prop_assert_eq!(nanos(&text), exact.min(BINARY_MOST * NANO));
    }

    #[test]
    fn no_text_panics(text in ".{0,40}") {
        let _ = text.parse::<Quantity>();
    }

    #[test]
    fn nothing_like_a_quantity_panics(text in "[-+.0-9eEinumkKMGTP]{0,60}") {
        if let Ok(quantity) = text.parse::<Quantity>() {
            let _ = (quantity.as_f64(), quantity.whole());
        }
    }
}
