//! Personal data by its form.

use std::ops::Range;

use regex_lite::Regex;

const CARD: &str = r"\b\d(?:[ -]?\d){12,18}\b";
const EMAIL: &str = r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}";
/// International, or national with its parts set apart: other runs of digits are order numbers as often.
const PHONE: &str = r"(?:\+|\b00)[1-9](?:[ .()-]{0,2}\d){7,14}\b|\b0\d{1,4}[ .-]\d{3,4}[ .-]\d{4}\b";

/// Finds one kind of personal data in texts.
pub struct Detector {
    pattern: Regex,
    check: fn(&str) -> bool,
}

impl Detector {
    pub fn card() -> Detector {
        Detector::new(CARD, is_luhn)
    }

    pub fn email() -> Detector {
        Detector::new(EMAIL, |_| true)
    }

    pub fn phone() -> Detector {
        Detector::new(PHONE, |_| true)
    }

    fn new(pattern: &str, check: fn(&str) -> bool) -> Detector {
        Detector {
            pattern: Regex::new(pattern).expect("the pattern is written here"),
            check,
        }
    }

    pub fn find(&self, text: &str) -> Vec<Range<usize>> {
        self.pattern
            .find_iter(text)
            .filter(|found| (self.check)(found.as_str()))
            .map(|found| found.range())
            .collect()
    }
}

/// The check digit of card numbers.
fn is_luhn(text: &str) -> bool {
    let digits = text.chars().rev().filter_map(|character| character.to_digit(10));
    let sum: u32 = digits
        .enumerate()
        .map(|(place, digit)| match (place % 2, digit * 2) {
            (0, _) => digit,
            (_, doubled) if doubled > 9 => doubled - 9,
            (_, doubled) => doubled,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::Detector;

    fn found<'t>(detector: &Detector, text: &'t str) -> Vec<&'t str> {
        detector
            .find(text)
            .into_iter()
            .map(|range| &text[range])
            .collect()
    }

    #[test]
    fn cards_have_a_right_check_digit() {
        let card = Detector::card();
        assert_eq!(
            found(&card, "paid with 4111 1111 1111 1111, thanks"),
            ["4111 1111 1111 1111"]
        );
        assert_eq!(found(&card, "5500-0000-0000-0004"), ["5500-0000-0000-0004"]);
        for text in [
            "4111111111111112",
            "order 12345678901234567890123",
            "411111111111",
        ] {
            assert!(found(&card, text).is_empty(), "{text}");
        }
    }

    #[test]
    fn addresses_of_mail() {
        let email = Detector::email();
        assert_eq!(
            found(&email, "to anna.b+shop@mail.example.com."),
            ["anna.b+shop@mail.example.com"]
        );
        for text in ["@handle", "a@b", "5 @ 3.50"] {
            assert!(found(&email, text).is_empty(), "{text}");
        }
    }

    #[test]
    fn numbers_of_telephones() {
        let phone = Detector::phone();
        assert_eq!(
            found(&phone, "call +82 10-0000-4821 or 010-0000-4822"),
            ["+82 10-0000-4821", "010-0000-4822"]
        );
        assert_eq!(found(&phone, "0049 30 1234567"), ["0049 30 1234567"]);
        for text in ["2026-11-02", "order 0000481234", "+7", "1.0.2"] {
            assert!(found(&phone, text).is_empty(), "{text}");
        }
    }
}
