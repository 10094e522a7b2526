//! The tape: what the parser found, a word of 64 bits for each value.
//!
//! A word holds the offset of its value in the text (32 bits), its length (28 bits) and what it is (4 bits). An array
//! or object is followed by an extent word (32 bits: where the tape goes on after it, 32 bits: how many children), then
//! by its children, then, with more than [`CHILDREN_WITHOUT_INDEX`] of them, by an index that keeps access by name or
//! position from walking all of them. Each member is two: its name, a string like any other, and its value.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

/// What a word stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Tag {
    Null,
    False,
    True,
    /// A number without fraction and exponent.
    Integer,
    /// A number with a fraction or an exponent.
    Decimal,
    /// A string whose bytes are its characters.
    PlainString,
    /// A string with at least one escape.
    EscapedString,
    Array,
    Object,
}

const TAGS: [Tag; 9] = [
    Tag::Null,
    Tag::False,
    Tag::True,
    Tag::Integer,
    Tag::Decimal,
    Tag::PlainString,
    Tag::EscapedString,
    Tag::Array,
    Tag::Object,
];

const TAG_BITS: u32 = 4;
const LENGTH_BITS: u32 = 28;

/// The longest text whose offsets and lengths a word can hold.
pub(super) const TEXT_BYTES_MAX: usize = (1 << LENGTH_BITS) - 1;

/// Arrays and objects with more children carry an index.
pub(super) const CHILDREN_WITHOUT_INDEX: u32 = 64;

/// In the index of an array stands each element whose position this divides.
pub(super) const ELEMENTS_PER_INDEX_ENTRY: u32 = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(u64);

impl Word {
    /// `start` and `end` are offsets of at most [`TEXT_BYTES_MAX`].
    #[inline]
    pub(super) fn value(tag: Tag, start: usize, end: usize) -> Word {
        Word(((start as u64) << (LENGTH_BITS + TAG_BITS)) | (((end - start) as u64) << TAG_BITS) | tag as u64)
    }

    /// The word, but for where it starts, of a string without escapes that is so many bytes long.
    #[inline]
    pub(super) fn plain_string_of(bytes: usize) -> Word {
        Word::value(Tag::PlainString, 0, bytes.saturating_add(2).min(TEXT_BYTES_MAX))
    }

    /// Whether length and kind are those of `other`.
    #[inline]
    pub(super) fn has_shape_of(self, other: Word) -> bool {
        self.0 as u32 == other.0 as u32
    }

    #[inline]
    pub(super) fn extent(next: usize, children: u32) -> Word {
        Word(((next as u64) << 32) | u64::from(children))
    }

    #[inline]
    pub(super) fn index_entry(hash: u32, word: u32) -> Word {
        Word((u64::from(hash) << 32) | u64::from(word))
    }

    #[inline]
    pub(super) fn tag(self) -> Tag {
        TAGS[(self.0 & ((1 << TAG_BITS) - 1)) as usize]
    }

    /// Cheaper than a comparison with [`Word::tag`].
    #[inline]
    pub(super) fn has_tag(self, tag: Tag) -> bool {
        (self.0 & ((1 << TAG_BITS) - 1)) == tag as u64
    }

    #[inline]
    pub(super) fn start(self) -> usize {
        (self.0 >> (LENGTH_BITS + TAG_BITS)) as usize
    }

    #[inline]
    pub(super) fn len(self) -> usize {
        (self.0 as usize >> TAG_BITS) & TEXT_BYTES_MAX
    }

    #[inline]
    pub(super) fn end(self) -> usize {
        self.start() + self.len()
    }

    #[inline]
    pub(super) fn is_container(self) -> bool {
        (self.0 & ((1 << TAG_BITS) - 1)) >= Tag::Array as u64
    }

    /// Of an extent word: the word after the container.
    #[inline]
    pub(super) fn next(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Of an extent word: how many members or elements.
    #[inline]
    pub(super) fn children(self) -> u32 {
        self.0 as u32
    }

    /// Of an index entry.
    #[inline]
    pub(super) fn hash(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Of an index entry.
    #[inline]
    pub(super) fn word(self) -> u32 {
        self.0 as u32
    }
}

/// The word after the value at `at`, which is the next sibling if there is one.
#[inline]
pub(super) fn after(words: &[Word], at: u32) -> u32 {
    if words[at as usize].is_container() {
        words[at as usize + 1].next()
    } else {
        at + 1
    }
}

/// The hash by which the index of a large object is sorted. Its key is drawn at start, so that no sender can make
/// names that collide.
pub(super) fn index_hash(name: &[u8]) -> u32 {
    static KEYED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    KEYED.hash_one(name) as u32
}

/// How many words the index of an array takes.
#[inline]
pub(super) fn array_index_len(children: u32) -> u32 {
    if children > CHILDREN_WITHOUT_INDEX {
        children.div_ceil(ELEMENTS_PER_INDEX_ENTRY)
    } else {
        0
    }
}
