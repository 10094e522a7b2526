//! The strict parser: one pass over the text, no recursion, no copy.

use smallvec::SmallVec;

use super::string::{decode_name, plain_run, short_hash};
use super::tape::{
    CHILDREN_WITHOUT_INDEX, ELEMENTS_PER_INDEX_ENTRY, TEXT_BYTES_MAX, Tag, Word, after, index_hash,
};
use super::{ParseError, ParseErrorKind};

/// Boxed, so that the results of the parser's parts fit a register.
type Refusal = Box<ParseError>;

/// Checks `text` and writes its tape.
pub(super) fn parse(text: &[u8], depth_max: u32) -> Result<Vec<Word>, ParseError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(*syntax(
            TEXT_BYTES_MAX,
            "longer than the longest text taken, 256 MiB",
        ));
    }
    if simdutf8::basic::from_utf8(text).is_err() {
        let offset = simdutf8::compat::from_utf8(text).map_or_else(|error| error.valid_up_to(), str::len);
        return Err(ParseError {
            kind: ParseErrorKind::InvalidUtf8,
            offset,
        });
    }
    let mut parser = Parser {
        text,
        at: 0,
        words: Vec::with_capacity(text.len() / 8 + 8),
        open: Open::top(),
        parents: SmallVec::new(),
        name_hashes: SmallVec::new(),
        depth_max,
    };
    parser.text().map_err(|refusal| *refusal)?;
    Ok(parser.words)
}

fn syntax(offset: usize, message: &'static str) -> Refusal {
    Box::new(ParseError {
        kind: ParseErrorKind::Syntax(message),
        offset,
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Text,
    Array,
    Object,
}

/// An array or object whose end has not been read yet.
#[derive(Clone, Copy)]
struct Open {
    within: Within,
    /// Its word on the tape.
    word: u32,
    children: u32,
    /// Where its names start in `Parser::name_hashes`.
    names: u32,
    /// One bit for each hash seen, so that most names are known to be new without a search.
    seen: u64,
    /// Names are compared when the object is closed, because there are many or their short hashes collide.
    compare_at_end: bool,
}

impl Open {
    fn top() -> Open {
        Open {
            within: Within::Text,
            word: 0,
            children: 0,
            names: 0,
            seen: 0,
            compare_at_end: false,
        }
    }
}

struct Parser<'t> {
    text: &'t [u8],
    at: usize,
    words: Vec<Word>,
    open: Open,
    parents: SmallVec<[Open; 8]>,
    name_hashes: SmallVec<[u32; 64]>,
    depth_max: u32,
}

impl Parser<'_> {
    fn text(&mut self) -> Result<(), Refusal> {
        if self.text.starts_with(b"\xef\xbb\xbf") {
            return Err(syntax(0, "byte order mark before the text"));
        }
        loop {
            let value_follows = match self.skip_space() {
                b'"' => {
                    let word = self.string()?;
                    self.words.push(word);
                    false
                }
                b'{' => self.open_object()?,
                b'[' => self.open_array()?,
                b'-' | b'0'..=b'9' => {
                    self.number()?;
                    false
                }
                b't' => self.literal(b"true", Tag::True)?,
                b'f' => self.literal(b"false", Tag::False)?,
                b'n' => self.literal(b"null", Tag::Null)?,
                _ => return Err(self.unexpected("expected a value")),
            };
            if !value_follows && self.after_value()? {
                break;
            }
        }
        self.skip_space();
        if self.at < self.text.len() {
            Err(syntax(self.at, "text after the value"))
        } else {
            Ok(())
        }
    }

    /// Reads on after a value, up to the next value (false) or the end of the outermost one (true).
    #[inline]
    fn after_value(&mut self) -> Result<bool, Refusal> {
        loop {
            match self.open.within {
                Within::Object => {
                    self.open.children += 1;
                    match self.skip_space() {
                        b',' => {
                            self.at += 1;
                            self.name()?;
                            return Ok(false);
                        }
                        b'}' => self.close_object()?,
                        _ => return Err(self.unexpected("expected , or }")),
                    }
                }
                Within::Array => {
                    self.open.children += 1;
                    match self.skip_space() {
                        b',' => {
                            self.at += 1;
                            return Ok(false);
                        }
                        b']' => self.close_array(),
                        _ => return Err(self.unexpected("expected , or ]")),
                    }
                }
                Within::Text => return Ok(true),
            }
        }
    }

    /// The byte at the next place that is not white space; 0, which no JSON has outside strings, at the end.
    #[inline]
    fn skip_space(&mut self) -> u8 {
        while let Some(&byte) = self.text.get(self.at) {
            if byte > b' ' || !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return byte;
            }
            self.at += 1;
        }
        0
    }

    #[cold]
    fn unexpected(&self, message: &'static str) -> Refusal {
        syntax(
            self.at,
            if self.at < self.text.len() {
                message
            } else {
                "unexpected end of the text"
            },
        )
    }

    fn open(&mut self, within: Within) -> Result<(), Refusal> {
        // `parents` holds the text itself too, so its length is the number of arrays and objects already open.
        if self.parents.len() >= self.depth_max as usize {
            return Err(Box::new(ParseError {
                kind: ParseErrorKind::TooDeep(self.depth_max),
                offset: self.at,
            }));
        }
        let opened = Open {
            within,
            word: self.words.len() as u32,
            names: self.name_hashes.len() as u32,
            ..Open::top()
        };
        self.parents.push(std::mem::replace(&mut self.open, opened));
        let tag = if within == Within::Object {
            Tag::Object
        } else {
            Tag::Array
        };
        self.words.push(Word::value(tag, self.at, self.at));
        self.words.push(Word::extent(0, 0));
        self.at += 1;
        Ok(())
    }

    /// True where a member's value follows, false where the object is empty and closed.
    fn open_object(&mut self) -> Result<bool, Refusal> {
        self.open(Within::Object)?;
        if self.skip_space() == b'}' {
            self.close_object()?;
            return Ok(false);
        }
        self.name()?;
        Ok(true)
    }

    /// True where an element follows, false where the array is empty and closed.
    fn open_array(&mut self) -> Result<bool, Refusal> {
        self.open(Within::Array)?;
        if self.skip_space() == b']' {
            self.close_array();
            return Ok(false);
        }
        Ok(true)
    }

    fn close(&mut self) {
        self.at += 1;
        let word = self.open.word as usize;
        let tag = if self.open.within == Within::Object {
            Tag::Object
        } else {
            Tag::Array
        };
        self.words[word] = Word::value(tag, self.words[word].start(), self.at);
        self.words[word + 1] = Word::extent(self.words.len(), self.open.children);
        self.open = self.parents.pop().unwrap_or_else(Open::top);
    }

    fn close_array(&mut self) {
        if self.open.children > CHILDREN_WITHOUT_INDEX {
            let mut element = self.open.word + 2;
            for position in 0..self.open.children {
                if position % ELEMENTS_PER_INDEX_ENTRY == 0 {
                    self.words.push(Word::index_entry(0, element));
                }
                element = after(&self.words, element);
            }
        }
        self.close();
    }

    fn close_object(&mut self) -> Result<(), Refusal> {
        if self.open.compare_at_end {
            let index = self.name_index()?;
            if self.open.children > CHILDREN_WITHOUT_INDEX {
                self.words.extend_from_slice(&index);
            }
        }
        self.name_hashes.truncate(self.open.names as usize);
        self.close();
        Ok(())
    }

    /// The names of the open object sorted by hash, or the first name that stands twice.
    #[cold]
    fn name_index(&self) -> Result<Vec<Word>, Refusal> {
        let mut entries = Vec::with_capacity(self.open.children as usize);
        let mut name = self.open.word + 2;
        for _ in 0..self.open.children {
            let hash = index_hash(decode_name(self.text, self.words[name as usize]).as_bytes());
            entries.push((hash, name));
            name = after(&self.words, name + 1);
        }
        entries.sort_unstable();
        let mut second: Option<u32> = None;
        for same_hash in entries.chunk_by(|left, right| left.0 == right.0) {
            let mut distinct: SmallVec<[u32; 2]> = SmallVec::new();
            for &(_, name) in same_hash {
                if distinct.iter().any(|&other| self.is_same_name(other, name)) {
                    second = Some(second.map_or(name, |known| known.min(name)));
                } else {
                    distinct.push(name);
                }
            }
        }
        match second {
            Some(name) => Err(self.duplicate(self.words[name as usize])),
            None => Ok(entries
                .into_iter()
                .map(|(hash, name)| Word::index_entry(hash, name))
                .collect()),
        }
    }

    fn is_same_name(&self, left: u32, right: u32) -> bool {
        decode_name(self.text, self.words[left as usize])
            == decode_name(self.text, self.words[right as usize])
    }

    #[cold]
    fn duplicate(&self, name: Word) -> Refusal {
        let member = decode_name(self.text, name).into_owned();
        Box::new(ParseError {
            kind: ParseErrorKind::DuplicateMember(member),
            offset: name.start(),
        })
    }

    /// Reads a member's name and its colon.
    #[inline]
    fn name(&mut self) -> Result<(), Refusal> {
        if self.skip_space() != b'"' {
            return Err(self.unexpected("expected a member name"));
        }
        let word = self.string()?;
        if !self.open.compare_at_end {
            self.remember_name(word)?;
        }
        self.words.push(word);
        if self.skip_space() != b':' {
            return Err(self.unexpected("expected :"));
        }
        self.at += 1;
        Ok(())
    }

    #[inline]
    fn remember_name(&mut self, name: Word) -> Result<(), Refusal> {
        let hash = if name.tag() == Tag::PlainString {
            short_hash(&self.text[name.start() + 1..name.end() - 1])
        } else {
            short_hash(decode_name(self.text, name).as_bytes())
        };
        let bit = 1 << (hash % 64);
        if self.open.seen & bit != 0 && self.name_hashes[self.open.names as usize..].contains(&hash) {
            self.compare_with_earlier_names(name)?;
        }
        self.open.seen |= bit;
        self.name_hashes.push(hash);
        self.open.compare_at_end |= self.open.children >= CHILDREN_WITHOUT_INDEX;
        Ok(())
    }

    /// Finds out whether equal short hashes mean equal names. Where they do not, the object may be made to collide, so
    /// the rest is left to [`Parser::name_index`].
    #[cold]
    fn compare_with_earlier_names(&mut self, name: Word) -> Result<(), Refusal> {
        let text = decode_name(self.text, name);
        let mut earlier = self.open.word + 2;
        for _ in 0..self.open.children {
            if decode_name(self.text, self.words[earlier as usize]) == text {
                return Err(self.duplicate(name));
            }
            earlier = after(&self.words, earlier + 1);
        }
        self.open.compare_at_end = true;
        Ok(())
    }

    /// Reads a string from its opening to behind its closing quote.
    #[inline]
    fn string(&mut self) -> Result<Word, Refusal> {
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

    fn literal(&mut self, literal: &'static [u8], tag: Tag) -> Result<bool, Refusal> {
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
    fn number(&mut self) -> Result<(), Refusal> {
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
