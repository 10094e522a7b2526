//! Strings, numbers and the three words.

use super::super::string::plain_run;
use super::super::tape::{Tag, Word};
use super::super::{ParseError, ParseErrorKind};
use super::{Parser, Refusal, syntax};

impl Parser<'_> {
    /// Reads a string from its opening to behind its closing quote.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Word, Refusal> {
        let start = self.at;
        let end = plain_run(self.text, start + 1);
        if self.text.get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(Word::value(Tag::PlainString, start, self.at));
        }
        self.escaped_string(start, end)
    }

    /// Reads on at `at`, where a string that starts at `start` has something else than plain text.
    fn escaped_string(&mut self, start: usize, mut at: usize) -> Result<Word, Refusal> {
        loop {
            match self.text.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(Word::value(Tag::EscapedString, start, self.at));
                }
                Some(b'\\') => at = plain_run(self.text, self.escape(at)?),
                Some(_) => return Err(syntax(at, "control character in a string, which must be escaped")),
                None => return Err(syntax(at, "unexpected end of the text within a string")),
            }
        }
    }

    /// Checks the escape that starts at `at` and returns the place behind it.
    fn escape(&self, at: usize) -> Result<usize, Refusal> {
        match self.text.get(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
            Some(b'u') => match self.hex4(at)? {
                0xd800..=0xdbff => {
                    let low_follows = self.text[at + 6..].starts_with(b"\\u")
                        && (0xdc00..=0xdfff).contains(&self.hex4(at + 6)?);
                    if low_follows {
                        Ok(at + 12)
                    } else {
                        Err(lone_surrogate(at))
                    }
                }
                0xdc00..=0xdfff => Err(lone_surrogate(at)),
                _ => Ok(at + 6),
            },
            Some(_) => Err(syntax(at, "unknown escape in a string")),
            None => Err(syntax(at + 1, "unexpected end of the text within a string")),
        }
    }

    /// The four digits of the `\u` escape at `at`.
    fn hex4(&self, at: usize) -> Result<u16, Refusal> {
        self.text
            .get(at + 2..at + 6)
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u16::from_str_radix(digits, 16).ok())
            .ok_or_else(|| syntax(at, "\\u without four hexadecimal digits"))
    }

    pub(super) fn literal(&mut self, literal: &'static [u8], tag: Tag) -> Result<bool, Refusal> {
        let start = self.at;
        if !self.text[start..].starts_with(literal) {
            return Err(self.unexpected("expected a value"));
        }
        self.at += literal.len();
        self.words.push(Word::value(tag, start, self.at));
        Ok(false)
    }

    #[inline]
    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        self.at - start
    }

    #[inline]
    pub(super) fn number(&mut self) -> Result<(), Refusal> {
        /// A double holds every number with fewer digits before its point.
        const WHOLE_DIGITS_SAFE: usize = 308;

        let start = self.at;
        if self.text[start] == b'-' {
            self.at += 1;
        }
        let leading_zero = self.text.get(self.at) == Some(&b'0');
        let whole_digits = self.digits();
        if whole_digits == 0 {
            return Err(self.unexpected("expected a digit"));
        }
        if leading_zero && whole_digits > 1 {
            return Err(syntax(start, "number with a leading zero"));
        }
        let mut tag = Tag::Integer;
        if self.text.get(self.at) == Some(&b'.') {
            tag = Tag::Decimal;
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.unexpected("expected a digit"));
            }
        }
        let has_exponent = matches!(self.text.get(self.at), Some(b'e' | b'E'));
        if has_exponent {
            tag = Tag::Decimal;
            self.at += 1;
            if matches!(self.text.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(self.unexpected("expected a digit"));
            }
        }
        if (has_exponent || whole_digits > WHOLE_DIGITS_SAFE) && !is_finite(&self.text[start..self.at]) {
            return Err(Box::new(ParseError {
                kind: ParseErrorKind::NumberOutOfRange,
                offset: start,
            }));
        }
        self.words.push(Word::value(tag, start, self.at));
        Ok(())
    }
}

#[cold]
fn lone_surrogate(offset: usize) -> Refusal {
    Box::new(ParseError {
        kind: ParseErrorKind::LoneSurrogate,
        offset,
    })
}

fn is_finite(number: &[u8]) -> bool {
    std::str::from_utf8(number)
        .ok()
        .and_then(|text| text.parse::<f64>().ok())
        .is_some_and(f64::is_finite)
}
