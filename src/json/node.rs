//! The values of a document.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use super::Kind;
use super::pointer::{array_position, tokens};
use super::string::unescape;
use super::tape::{
    CHILDREN_WITHOUT_INDEX, ELEMENTS_PER_INDEX_ENTRY, Tag, Word, after, array_index_len, index_hash,
};

/// One value inside a [`Document`](super::Document).
#[derive(Clone, Copy)]
pub struct Node<'a> {
    text: &'a str,
    words: &'a [Word],
    at: u32,
}

impl<'a> Node<'a> {
    /// `words` is a tape of `text`, and `at` a value on it.
    #[inline]
    pub(super) fn new(text: &'a str, words: &'a [Word], at: u32) -> Node<'a> {
        Node { text, words, at }
    }

    /// Whether this value stands on this very tape.
    pub(super) fn is_of(&self, words: &[Word]) -> bool {
        std::ptr::eq(self.words, words)
    }

    /// A string of its own, outside any document: `text` is its JSON and `words` has its one word.
    pub(super) fn of_string(text: &'a str, words: &'a [Word; 1]) -> Node<'a> {
        Node { text, words, at: 0 }
    }

    #[inline]
    pub(super) fn word(&self) -> Word {
        self.words[self.at as usize]
    }

    /// Tells this value from every other that is in memory now.
    #[inline]
    pub(super) fn address(&self) -> usize {
        std::ptr::from_ref(&self.words[self.at as usize]).addr()
    }

    /// The place of this value on the tape it shares with its document.
    #[inline]
    pub(super) fn position(&self) -> u32 {
        self.at
    }

    /// Another value of the same tape, by its [`Node::position`].
    #[inline]
    pub(super) fn sibling(&self, position: u32) -> Node<'a> {
        Node {
            at: position,
            ..*self
        }
    }

    /// The position of the value that follows this one, if this is not the last.
    pub(super) fn next_position(&self) -> u32 {
        after(self.words, self.at)
    }

    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    #[inline]
    pub fn kind(&self) -> Kind {
        match self.word().tag() {
            Tag::Null => Kind::Null,
            Tag::False | Tag::True => Kind::Boolean,
            Tag::Integer | Tag::Decimal => Kind::Number,
            Tag::PlainString | Tag::EscapedString => Kind::String,
            Tag::Array => Kind::Array,
            Tag::Object => Kind::Object,
        }
    }

    /// Where the value starts in the text that was parsed, in bytes.
    pub fn offset(&self) -> usize {
        self.word().start()
    }

    /// The bytes of this value as sent.
    #[inline]
    pub fn raw(&self) -> &'a str {
        let word = self.word();
        self.part(word.start(), word.end())
    }

    #[inline]
    fn part(&self, start: usize, end: usize) -> &'a str {
        debug_assert!(self.text.get(start..end).is_some(), "a word of another text");
        // SAFETY: `words` is a tape of `text`: the parser wrote its offsets where it had found the ends of tokens, which
        // are ASCII characters, and the quotes around strings.
        unsafe { self.text.get_unchecked(start..end) }
    }

    /// The characters of a string, decoded.
    #[inline]
    pub fn as_str(&self) -> Option<Cow<'a, str>> {
        let word = self.word();
        match word.tag() {
            Tag::PlainString => Some(Cow::Borrowed(self.between_quotes())),
            Tag::EscapedString => Some(Cow::Owned(unescape(self.between_quotes().as_bytes()))),
            _ => None,
        }
    }

    #[inline]
    fn between_quotes(&self) -> &'a str {
        let word = self.word();
        self.part(word.start() + 1, word.end() - 1)
    }

    #[inline]
    pub fn as_bool(&self) -> Option<bool> {
        match self.word().tag() {
            Tag::False => Some(false),
            Tag::True => Some(true),
            _ => None,
        }
    }

    /// A number that is spelled as an integer, without fraction and exponent, and fits.
    pub fn as_i64(&self) -> Option<i64> {
        if self.word().tag() == Tag::Integer {
            self.raw().parse().ok()
        } else {
            None
        }
    }

    /// Any number, rounded to the nearest double, always finite.
    pub fn as_f64(&self) -> Option<f64> {
        match self.word().tag() {
            Tag::Integer | Tag::Decimal => self.raw().parse().ok(),
            _ => None,
        }
    }

    /// The tape's word for the first child and how many children there are.
    #[inline]
    fn children(&self, container: Tag) -> (u32, u32) {
        if self.word().has_tag(container) {
            (self.at + 2, self.words[self.at as usize + 1].children())
        } else {
            (self.at, 0)
        }
    }

    /// Members of an object in the order sent; nothing for other kinds.
    #[inline]
    pub fn members(&self) -> Members<'a> {
        Members {
            names: self.member_nodes(),
        }
    }

    /// Members of an object, each name as the string that it is in the text.
    #[inline]
    pub(super) fn member_nodes(&self) -> MemberNodes<'a> {
        let (at, left) = self.children(Tag::Object);
        MemberNodes {
            node: self.sibling(at),
            left,
        }
    }

    /// Where the names and values of an object stand on the tape.
    pub(super) fn member_positions(&self) -> Range<u32> {
        let (start, members) = self.children(Tag::Object);
        let index = if members > CHILDREN_WITHOUT_INDEX {
            members
        } else {
            0
        };
        start..self.next_position() - index
    }

    /// Elements of an array in order; nothing for other kinds.
    #[inline]
    pub fn elements(&self) -> Elements<'a> {
        let (at, left) = self.children(Tag::Array);
        Elements {
            node: self.sibling(at),
            left,
        }
    }

    /// A member of an object by name.
    #[inline]
    pub fn get(&self, name: &str) -> Option<Node<'a>> {
        let (at, children) = self.children(Tag::Object);
        if children > CHILDREN_WITHOUT_INDEX {
            return self.get_by_index(name, children);
        }
        let plain = Word::plain_string_of(name.len());
        let mut left = self.words.get(at as usize..)?;
        for _ in 0..children {
            let [member, value, rest @ ..] = left else {
                return None;
            };
            let at = || (self.words.len() - left.len()) as u32;
            let is_named = if member.has_shape_of(plain) {
                self.part(member.start() + 1, member.end() - 1) == name
            } else {
                member.has_tag(Tag::EscapedString) && self.sibling(at()).is_string(name)
            };
            if is_named {
                return Some(self.sibling(at() + 1));
            }
            left = if value.is_container() {
                self.words.get(rest.first()?.next() as usize..)?
            } else {
                rest
            };
        }
        None
    }

    fn get_by_index(&self, name: &str, members: u32) -> Option<Node<'a>> {
        let hash = index_hash(name.as_bytes());
        let end = self.next_position() as usize;
        let index = &self.words[end - members as usize..end];
        let first = index.partition_point(|entry| entry.hash() < hash);
        index[first..]
            .iter()
            .take_while(|entry| entry.hash() == hash)
            .find(|entry| self.sibling(entry.word()).is_string(name))
            .map(|entry| self.sibling(entry.word() + 1))
    }

    /// Whether this is the string `text`.
    #[inline]
    pub(super) fn is_string(&self, text: &str) -> bool {
        let word = self.word();
        match word.tag() {
            // The length first: it settles most comparisons without a look at the text.
            Tag::PlainString => word.len() == text.len() + 2 && self.between_quotes() == text,
            Tag::EscapedString => {
                word.len() > text.len() + 2 && unescape(self.between_quotes().as_bytes()) == text
            }
            _ => false,
        }
    }

    /// An element of an array by position, counted from 0.
    pub fn element(&self, position: usize) -> Option<Node<'a>> {
        let (mut at, children) = self.children(Tag::Array);
        let mut left = u32::try_from(position)
            .ok()
            .filter(|&position| position < children)?;
        if children > CHILDREN_WITHOUT_INDEX {
            let index = self.next_position() - array_index_len(children);
            at = self.words[(index + left / ELEMENTS_PER_INDEX_ENTRY) as usize].word();
            left %= ELEMENTS_PER_INDEX_ENTRY;
        }
        for _ in 0..left {
            at = after(self.words, at);
        }
        Some(self.sibling(at))
    }

    /// The value at an RFC 6901 pointer that starts at this value.
    pub fn pointer(&self, pointer: &str) -> Option<Node<'a>> {
        tokens(pointer)
            .ok()?
            .try_fold(*self, |node, token| node.child(&token.ok()?))
    }

    /// The member or element that a pointer's token names.
    pub(super) fn child(&self, token: &str) -> Option<Node<'a>> {
        match self.word().tag() {
            Tag::Object => self.get(token),
            Tag::Array => self.element(array_position(token)?),
            _ => None,
        }
    }

    /// Members of an object or elements of an array; 0 for other kinds.
    #[inline]
    pub fn len(&self) -> usize {
        match self.word().tag() {
            Tag::Array | Tag::Object => self.words[self.at as usize + 1].children() as usize,
            _ => 0,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value as a tree. Numbers that neither `i64` nor `u64` holds become doubles.
    pub fn to_value(&self) -> serde_json::Value {
        use serde_json::Value;

        match self.kind() {
            Kind::Null => Value::Null,
            Kind::Boolean => Value::Bool(self.as_bool().unwrap_or_default()),
            Kind::Number => Value::Number(self.nearest_number()),
            Kind::String => Value::String(self.as_str().unwrap_or_default().into_owned()),
            Kind::Array => self.elements().map(|element| element.to_value()).collect(),
            Kind::Object => self
                .members()
                .map(|(name, value)| (name.into_owned(), value.to_value()))
                .collect(),
        }
    }

    /// The nearest number that `serde_json` holds; 0 for other kinds.
    pub(super) fn nearest_number(&self) -> serde_json::Number {
        let raw = self.raw();
        let integer = if self.word().tag() == Tag::Integer && raw != "-0" {
            raw.parse::<i64>()
                .map(Into::into)
                .or_else(|_| raw.parse::<u64>().map(Into::into))
                .ok()
        } else {
            None
        };
        integer
            .or_else(|| self.as_f64().and_then(serde_json::Number::from_f64))
            .unwrap_or_else(|| serde_json::Number::from(0))
    }

    /// Whether this is a number without fraction and exponent.
    pub(super) fn is_spelled_as_integer(&self) -> bool {
        self.word().tag() == Tag::Integer
    }
}

impl fmt::Debug for Node<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Node")
            .field("kind", &self.kind())
            .field("offset", &self.offset())
            .field("bytes", &self.raw().len())
            .finish()
    }
}

/// The members of an object, names decoded.
#[derive(Clone, Debug)]
pub struct Members<'a> {
    names: MemberNodes<'a>,
}

impl<'a> Iterator for Members<'a> {
    type Item = (Cow<'a, str>, Node<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.names
            .next()
            .map(|(name, value)| (name.as_str().unwrap_or_default(), value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.names.size_hint()
    }
}

impl ExactSizeIterator for Members<'_> {}

/// The members of an object, names as the strings in the text.
#[derive(Clone, Debug)]
pub(super) struct MemberNodes<'a> {
    node: Node<'a>,
    left: u32,
}

impl<'a> Iterator for MemberNodes<'a> {
    type Item = (Node<'a>, Node<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let name = self.node;
        let value = name.sibling(name.at + 1);
        self.node.at = value.next_position();
        Some((name, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

/// The elements of an array.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    node: Node<'a>,
    left: u32,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Node<'a>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let element = self.node;
        self.node.at = element.next_position();
        Some(element)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for Elements<'_> {}
