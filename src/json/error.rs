//! Why a text or an edit is refused.

/// Why a text is not taken as JSON, and where (byte offset into the text).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct ParseError {
    pub kind: ParseErrorKind,
    pub offset: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseErrorKind {
    #[error("{0}")]
    Syntax(&'static str),
    #[error("member {0:?} stands twice in one object")]
    DuplicateMember(String),
    /// `pointer`: the JSON Pointer of the first value that is too deep.
    #[error("more than {levels} nested arrays and objects, at {}", shortened(pointer))]
    TooDeep { levels: u32, pointer: String },
    #[error("number beyond the range of a double")]
    NumberOutOfRange,
    #[error("lone surrogate in a string")]
    LoneSurrogate,
    #[error("invalid UTF-8")]
    InvalidUtf8,
}

impl ParseError {
    /// The place of the error in `text`, the text that was parsed: line and column, both from 1, columns in characters.
    pub fn line_and_column(&self, text: &[u8]) -> (usize, usize) {
        let before = &text[..self.offset.min(text.len())];
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
        let line = memchr::memchr_iter(b'\n', before).count() + 1;
        (
            line,
            String::from_utf8_lossy(&before[line_start..]).chars().count() + 1,
        )
    }
}

/// Names may be as long as texts are: the first part of a pointer tells where to look.
pub fn shortened(pointer: &str) -> String {
    const CHARACTERS: usize = 160;
    match pointer.char_indices().nth(CHARACTERS) {
        Some((end, _)) => format!("{:?}…", &pointer[..end]),
        None => format!("{pointer:?}"),
    }
}

/// Why an edit was refused. The document is as it was before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pointer:?}: {reason}")]
pub struct EditError {
    pub pointer: String,
    pub reason: String,
}
