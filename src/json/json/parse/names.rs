//! Members that stand twice in one object.

use smallvec::SmallVec;

use super::super::string::{decode_name, short_hash};
use super::super::tape::{CHILDREN_WITHOUT_INDEX, Tag, Word, after, index_hash};
use super::super::{ParseError, ParseErrorKind};
use super::{Parser, Refusal};

impl Parser<'_> {
    /// The names of the open object sorted by hash, or the first name that stands twice.
    #[cold]
    pub(super) fn name_index(&self) -> Result<Vec<Word>, Refusal> {
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

    #[inline]
    pub(super) fn remember_name(&mut self, name: Word) -> Result<(), Refusal> {
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
}
