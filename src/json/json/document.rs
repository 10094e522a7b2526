//! The parsed document.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::ParseError;
use super::node::Node;
use super::parse::parse;
use super::tape::Word;

/// A parsed JSON value that shares its text and tape with the document it was cut from. Cheap to clone.
#[derive(Clone)]
pub struct Document {
    parsed: Arc<Parsed>,
    /// The word of this document's value.
    at: u32,
}

struct Parsed {
    /// The whole text: valid UTF-8.
    text: Bytes,
    words: Vec<Word>,
}

impl Document {
    /// Parses one JSON text. `depth_max` bounds nested arrays and objects.
    pub fn parse(text: Bytes, depth_max: u32) -> Result<Document, ParseError> {
        let words = parse(&text, depth_max)?;
        Ok(Document {
            parsed: Arc::new(Parsed { text, words }),
            at: 0,
        })
    }

    /// The document of a value that is already a tree. An error means that it is longer than the longest text taken.
    pub fn from_value(value: &serde_json::Value) -> Result<Document, ParseError> {
        Document::parse(value.to_string().into(), u32::MAX)
    }

    #[inline]
    pub fn root(&self) -> Node<'_> {
        // SAFETY: `text` is private, never changes, and became a `Document` only after `parse` had checked all of it
        // to be UTF-8.
        let text = unsafe { std::str::from_utf8_unchecked(&self.parsed.text) };
        Node::new(text, &self.parsed.words, self.at)
    }

    /// The bytes as they came in, shared, not copied. Of a document that was parsed these are all of its text, white
    /// space around the value included; of a [`Document::subdocument`] those of the value.
    pub fn bytes(&self) -> Bytes {
        if self.is_whole_text() {
            self.parsed.text.clone()
        } else {
            self.value_bytes()
        }
    }

    /// The bytes of the value, shared, without white space around it.
    pub(super) fn value_bytes(&self) -> Bytes {
        let word = self.root().word();
        self.parsed.text.slice(word.start()..word.end())
    }

    /// What stands before and after the value in [`Document::bytes`]: white space.
    pub(super) fn surroundings(&self) -> (&[u8], &[u8]) {
        if !self.is_whole_text() {
            return (&[], &[]);
        }
        let word = self.root().word();
        (&self.parsed.text[..word.start()], &self.parsed.text[word.end()..])
    }

    fn is_whole_text(&self) -> bool {
        self.at == 0
    }

    /// The value at an RFC 6901 pointer.
    pub fn pointer(&self, pointer: &str) -> Option<Node<'_>> {
        self.root().pointer(pointer)
    }

    /// The same value as a document of its own, sharing text and tape.
    ///
    /// # Panics
    ///
    /// Where `node` is of a document with another tape.
    pub fn subdocument(&self, node: Node<'_>) -> Document {
        assert!(node.is_of(&self.parsed.words), "a node of another document");
        Document {
            at: node.position(),
            ..self.clone()
        }
    }
}

/// Says what the document is, not what stands in it: events are not for logs.
impl fmt::Debug for Document {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = self.root();
        formatter
            .debug_struct("Document")
            .field("kind", &root.kind())
            .field("bytes", &root.raw().len())
            .finish()
    }
}
