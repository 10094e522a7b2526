//! The strict parser: one pass over the text, no recursion, no copy.

mod names;
mod scalars;

use smallvec::SmallVec;

use super::pointer::pointer_escaped;
use super::string::decode_name;
use super::tape::{CHILDREN_WITHOUT_INDEX, ELEMENTS_PER_INDEX_ENTRY, TEXT_BYTES_MAX, Tag, Word, after};
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
                kind: ParseErrorKind::TooDeep {
                    levels: self.depth_max,
                    pointer: self.pointer(),
                },
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

    /// The JSON Pointer of the value that starts here.
    #[cold]
    fn pointer(&self) -> String {
        let open: Vec<&Open> = self.parents.iter().chain([&self.open]).collect();
        let mut pointer = String::new();
        for (position, container) in open.iter().enumerate() {
            let value = open
                .get(position + 1)
                .map_or(self.words.len(), |next| next.word as usize);
            match container.within {
                Within::Text => {}
                Within::Array => pointer.push_str(&format!("/{}", container.children)),
                Within::Object => {
                    let name = decode_name(self.text, self.words[value - 1]);
                    pointer.push('/');
                    pointer.push_str(&pointer_escaped(&name));
                }
            }
        }
        pointer
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
}
