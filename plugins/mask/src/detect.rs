//! Personal data by its form.

use std::ops::{Range, RangeInclusive};

use regex_lite::Regex;

/// Digits of a card's number.
const CARD_DIGITS: RangeInclusive<usize> = 13..=19;
const EMAIL: &str = r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}";
/// International, or national with its parts set apart: other runs of digits are order numbers as often.
const PHONE: &str = r"(?:\+|\b00)[1-9](?:[ .()-]{0,2}\d){7,14}\b|\b0\d{1,4}[ .-]\d{3,4}[ .-]\d{4}\b";

/// Finds one kind of personal data in texts.
pub enum Detector {
    Card,
    Pattern(Regex),
}

impl Detector {
    pub fn card() -> Detector {
        Detector::Card
    }

    pub fn email() -> Detector {
        Detector::pattern(EMAIL)
    }

    pub fn phone() -> Detector {
        Detector::pattern(PHONE)
    }

    fn pattern(pattern: &str) -> Detector {
        Detector::Pattern(Regex::new(pattern).expect("the pattern is written here"))
    }

    /// Apart from one another, in order.
    pub fn find(&self, text: &str) -> Vec<Range<usize>> {
        match self {
            Detector::Card => cards(text),
            Detector::Pattern(pattern) => pattern.find_iter(text).map(|found| found.range()).collect(),
        }
    }
}

/// Cards' numbers are groups of digits, with a space or a hyphen between them. A date or another number may stand before
/// or behind one in the same way: every group may begin one and every group may end one. Where two that could be one share
/// digits, both go, since one of them is.
fn cards(text: &str) -> Vec<Range<usize>> {
    let groups = groups(text);
    let mut found: Vec<Range<usize>> = Vec::new();
    for first in 0..groups.len() {
        let Some(card) = longest_card(text, &groups[first..]) else {
            continue;
        };
        match found.last_mut() {
            Some(before) if card.start < before.end => before.end = before.end.max(card.end),
            _ => found.push(card),
        }
    }
    found
}

/// Digits that are no part of a word, in order.
fn groups(text: &str) -> Vec<Range<usize>> {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let bytes = text.as_bytes();
    let mut groups = Vec::new();
    let mut at = 0;
    for run in bytes.chunk_by(|left, right| is_word(left) && is_word(right)) {
        if run.iter().all(u8::is_ascii_digit) {
            groups.push(at..at + run.len());
        }
        at += run.len();
    }
    groups
}

/// The longest card's number that begins with the first group. Looks at no more groups than such a number has digits.
fn longest_card(text: &str, groups: &[Range<usize>]) -> Option<Range<usize>> {
    let begin = groups.first()?.start;
    let mut digits = Vec::with_capacity(*CARD_DIGITS.end());
    let mut end = None;
    let mut last = begin;
    for group in groups {
        let is_joined = digits.is_empty() || matches!(text.get(last..group.start), Some(" " | "-"));
        if !is_joined || digits.len() + group.len() > *CARD_DIGITS.end() {
            break;
        }
        digits.extend_from_slice(&text.as_bytes()[group.clone()]);
        last = group.end;
        if CARD_DIGITS.contains(&digits.len()) && is_luhn(&digits) {
            end = Some(group.end);
        }
    }
    end.map(|end| begin..end)
}

/// The check digit of card numbers.
fn is_luhn(digits: &[u8]) -> bool {
    let digits = digits.iter().rev().map(|digit| u32::from(digit - b'0'));
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
            "2026-11-02 4111 1111 1111 1111",
            "10482-4111 1111 1111 1111",
            "1234567890123456789 4111 1111 1111 1111",
            "12345678901234567890123 4111 1111 1111 1111 2026-11-02",
            "a1 4111 1111 1111 1111 2b",
        ] {
            assert_eq!(found(&card, text), ["4111 1111 1111 1111"], "{text}");
        }
        for text in [
            "4111111111111112",
            "order 12345678901234567890123",
            "411111111111",
            "a4111 1111 1111 1111",
            "4111 1111 1111 1111_",
            "4111  1111 1111 1111",
            "20261103 104829 1234567890123",
        ] {
            assert!(found(&card, text).is_empty(), "{text}");
        }
    }

    #[test]
    fn every_card_of_a_run_is_found() {
        let card = Detector::card();
        assert_eq!(
            found(&card, "4111 1111 1111 1111 5500 0000 0000 0004"),
            ["4111 1111 1111 1111", "5500 0000 0000 0004"]
        );
        assert_eq!(
            found(&card, "2026-11-02 09 4111 1111 1111 1111 77 2026-11-02"),
            ["2026-11-02 09 4111 1111 1111 1111 77"],
            "three that could be one share digits"
        );
    }

    #[test]
    fn a_run_of_any_length_costs_its_length() {
        let before = "123 ".repeat(200_000);
        let text = format!("{before}4111 1111 1111 1111");
        assert_eq!(found(&Detector::card(), &text), ["4111 1111 1111 1111"]);
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
