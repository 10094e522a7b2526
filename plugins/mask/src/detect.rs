//! Personal data by its form.

use std::ops::Range;

use regex_lite::Regex;

/// The fewest digits of a card's number.
const CARD_DIGITS_MIN: usize = 13;
const CARD: &str = r"\b\d(?:[ -]?\d){12,18}\b";
const EMAIL: &str = r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}";
/// International, or national with its parts set apart: other runs of digits are order numbers as often.
const PHONE: &str = r"(?:\+|\b00)[1-9](?:[ .()-]{0,2}\d){7,14}\b|\b0\d{1,4}[ .-]\d{3,4}[ .-]\d{4}\b";

/// Finds one kind of personal data in texts.
pub struct Detector {
    pattern: Regex,
    /// Where the data stands in what the pattern has found.
    locate: fn(&str) -> Option<Range<usize>>,
}

impl Detector {
    pub fn card() -> Detector {
        Detector::new(CARD, card_number)
    }

    pub fn email() -> Detector {
        Detector::new(EMAIL, whole)
    }

    pub fn phone() -> Detector {
        Detector::new(PHONE, whole)
    }

    fn new(pattern: &str, locate: fn(&str) -> Option<Range<usize>>) -> Detector {
        Detector {
            pattern: Regex::new(pattern).expect("the pattern is written here"),
            locate,
        }
    }

    pub fn find(&self, text: &str) -> Vec<Range<usize>> {
        self.pattern
            .find_iter(text)
            .filter_map(|found| {
                let within = (self.locate)(found.as_str())?;
                Some(found.start() + within.start..found.start() + within.end)
            })
            .collect()
    }
}

fn whole(found: &str) -> Option<Range<usize>> {
    Some(0..found.len())
}

/// The longest card's number in a run of digits: a date or a code may stand before or behind it.
fn card_number(run: &str) -> Option<Range<usize>> {
    let separators: Vec<usize> = run.match_indices([' ', '-']).map(|(at, _)| at).collect();
    let starts = std::iter::once(0).chain(separators.iter().map(|at| at + 1));
    let ranges = starts.flat_map(|start| {
        let ends = separators.iter().copied().chain([run.len()]);
        ends.map(move |end| start..end)
    });
    ranges
        .filter(|range| run.get(range.clone()).is_some_and(is_card))
        .max_by_key(ExactSizeIterator::len)
}

fn is_card(text: &str) -> bool {
    text.chars().filter(char::is_ascii_digit).count() >= CARD_DIGITS_MIN && is_luhn(text)
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
            "4111 1111 1111 1111 12/29",
            "4111 1111 1111 1111 123",
            "12 4111 1111 1111 1111",
        ] {
            assert_eq!(found(&card, text), ["4111 1111 1111 1111"], "{text}");
        }
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
