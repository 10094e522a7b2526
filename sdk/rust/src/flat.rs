//! What passes between plugin and gateway as one list of bytes: the contract's interface `flat` (`wit/plugin.wit`).

use crate::{Value, value::Seen};

/// In the place of a text's length.
const ABSENT: u32 = u32::MAX;

/// Changes that are not yet made, as the gateway reads them.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    bytes: Vec<u8>,
    count: u32,
}

impl Edits {
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn set(&mut self, pointer: &str, value: Value) {
        self.begin(0, pointer);
        match value {
            Value::Null => self.bytes.push(0),
            Value::Boolean(value) => self.bytes.push(1 + u8::from(value)),
            Value::Integer(value) => {
                self.bytes.push(3);
                self.bytes.extend_from_slice(&value.to_le_bytes());
            }
            Value::Number(value) => {
                self.bytes.push(4);
                self.bytes.extend_from_slice(&value.to_le_bytes());
            }
            Value::Text(text) => {
                self.bytes.push(5);
                self.text(&text);
            }
            Value::Json(text) => {
                self.bytes.push(6);
                self.text(&text);
            }
        }
    }

    pub(crate) fn remove(&mut self, pointer: &str) {
        self.begin(1, pointer);
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        self.begin(2, from);
        self.text(to);
    }

    fn begin(&mut self, kind: u8, pointer: &str) {
        if self.count == 0 {
            // Room for a few, and for their number.
            self.bytes.reserve(256);
            self.bytes.extend_from_slice(&[0; 4]);
        }
        self.count += 1;
        self.bytes.push(kind);
        self.text(pointer);
    }

    fn text(&mut self, text: &str) {
        // No text has 4 GiB where addresses have 32 bits.
        let bytes = u32::try_from(text.len()).unwrap_or(ABSENT);
        self.bytes.extend_from_slice(&bytes.to_le_bytes());
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// The whole request.
    pub(crate) fn request(mut self, pointers: &[&str]) -> Vec<u8> {
        // At once: to grow step by step costs an allocation and a copy each time.
        let bytes: usize = pointers.iter().map(|pointer| 4 + pointer.len()).sum();
        self.bytes.reserve(4 + bytes);
        match self.bytes.first_chunk_mut() {
            Some(count) => *count = self.count.to_le_bytes(),
            None => self.bytes.extend_from_slice(&[0; 4]),
        }
        for pointer in pointers {
            self.text(pointer);
        }
        self.bytes
    }
}

/// What was read.
#[derive(Debug)]
pub(crate) struct Answer(Vec<u8>);

impl Answer {
    pub(crate) fn new(bytes: Vec<u8>) -> Answer {
        Answer(bytes)
    }

    /// For each pointer what is there, in their order.
    pub(crate) fn values(&self) -> impl Iterator<Item = Option<Seen<'_>>> {
        let mut reader = Reader::new(&self.0);
        std::iter::from_fn(move || (!reader.rest.is_empty()).then(|| reader.value()))
    }
}

/// Reads what the gateway wrote.
pub(crate) struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Reader<'b> {
        Reader { rest: bytes }
    }

    /// Bytes that were not read yet.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    /// # Panics
    ///
    /// Where the gateway does not keep to the contract.
    pub(crate) fn text_or_none(&mut self) -> Option<&'b str> {
        let bytes = u32::from_le_bytes(self.number());
        if bytes == ABSENT {
            return None;
        }
        let bytes = usize::try_from(bytes).expect("a length fits");
        let (text, rest) = self.rest.split_at_checked(bytes).expect("a whole text");
        self.rest = rest;
        // SAFETY: the gateway writes UTF-8, here as for every other text of the contract.
        Some(unsafe { std::str::from_utf8_unchecked(text) })
    }

    fn text(&mut self) -> &'b str {
        self.text_or_none().unwrap_or_default()
    }

    fn value(&mut self) -> Option<Seen<'b>> {
        let [kind] = self.number();
        Some(match kind {
            0 => Seen::Null,
            1 => Seen::Boolean(false),
            2 => Seen::Boolean(true),
            3 => Seen::Integer(i64::from_le_bytes(self.number())),
            4 => Seen::Number(f64::from_le_bytes(self.number())),
            5 => Seen::Text(self.text()),
            6 => Seen::Json(self.text()),
            7 => return None,
            other => unreachable!("the contract has no value of kind {other}"),
        })
    }

    fn number<const BYTES: usize>(&mut self) -> [u8; BYTES] {
        let (number, rest) = self.rest.split_first_chunk().expect("a whole number");
        self.rest = rest;
        *number
    }
}
