//! Numbers as they are spelled.

/// A finite number's spelling taken apart: its value is `digits × 10^exponent`.
struct Spelling {
    /// Without zeros at either end; empty for zero.
    digits: Vec<u8>,
    exponent: i64,
}

fn take_apart(number: &str) -> Spelling {
    let (mantissa, exponent) = match number.find(['e', 'E']) {
        Some(at) => (&number[..at], saturating_exponent(&number[at + 1..])),
        None => (number, 0),
    };
    let fraction_digits = mantissa.find('.').map_or(0, |point| mantissa.len() - point - 1);
    let mut digits: Vec<u8> = mantissa
        .bytes()
        .filter(u8::is_ascii_digit)
        .skip_while(|&digit| digit == b'0')
        .collect();
    let significant = digits
        .iter()
        .rposition(|&digit| digit != b'0')
        .map_or(0, |last| last + 1);
    let trailing_zeros = digits.len() - significant;
    digits.truncate(significant);
    let exponent = if digits.is_empty() {
        0
    } else {
        exponent
            .saturating_add(trailing_zeros as i64)
            .saturating_sub(fraction_digits as i64)
    };
    Spelling { digits, exponent }
}

/// Far past anything that the digits of a text in memory could even out.
const EXPONENT_MAX: i64 = 1 << 40;

fn saturating_exponent(text: &str) -> i64 {
    let magnitude = text
        .bytes()
        .filter(u8::is_ascii_digit)
        .fold(0, |value: i64, digit| {
            (value * 10 + i64::from(digit - b'0')).min(EXPONENT_MAX)
        });
    if text.starts_with('-') {
        -magnitude
    } else {
        magnitude
    }
}

/// Whether the number has no fraction: `1.0`, `15e-1`, `1e2`.
pub(super) fn is_whole(number: &str) -> bool {
    take_apart(number).exponent >= 0
}

/// The double that stands for exactly this number: the shortest decimal that reads as the double is the number.
pub(super) fn exact_f64(number: &str) -> Option<f64> {
    /// Decimals of so many digits each have a double of their own, where doubles are normal.
    const DIGITS_SAFE: usize = 15;

    let value: f64 = number.parse().ok().filter(|value: &f64| value.is_finite())?;
    if number.len() <= DIGITS_SAFE && value.is_normal() {
        return Some(value);
    }
    let spelled = take_apart(number);
    let shortest = take_apart(&format!("{value:e}"));
    (spelled.digits == shortest.digits && spelled.exponent == shortest.exponent).then_some(value)
}
