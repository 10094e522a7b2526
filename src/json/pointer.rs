//! JSON Pointers (RFC 6901).

use std::borrow::Cow;

use smallvec::SmallVec;

/// The decoded tokens of a pointer, outermost first.
pub type PointerTokens<'p> = SmallVec<[Cow<'p, str>; 8]>;

/// Why a text is no JSON Pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PointerError {
    #[error("a JSON Pointer is empty or starts with /")]
    NoLeadingSlash,
    #[error("~ in a JSON Pointer stands before 0 or 1 alone: ~0 for ~, ~1 for /")]
    BadEscape,
}

/// Splits a pointer into its tokens, `~0` and `~1` decoded. The empty pointer, the whole document, has none.
pub fn pointer_tokens(pointer: &str) -> Result<PointerTokens<'_>, PointerError> {
    tokens(pointer)?.collect()
}

/// A token as it stands in a pointer: `~0` for `~`, `~1` for `/`.
pub fn pointer_escaped(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

/// The tokens of [`pointer_tokens`], one by one.
pub(super) fn tokens(pointer: &str) -> Result<Tokens<'_>, PointerError> {
    match pointer.strip_prefix('/') {
        None if !pointer.is_empty() => Err(PointerError::NoLeadingSlash),
        left => Ok(Tokens { left }),
    }
}

pub(super) struct Tokens<'p> {
    /// What follows the slash before the next token.
    left: Option<&'p str>,
}

impl<'p> Iterator for Tokens<'p> {
    type Item = Result<Cow<'p, str>, PointerError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let left = self.left?;
        let mut is_escaped = false;
        // Tokens are short: a search made for long texts would cost more.
        let end = left.bytes().position(|byte| {
            is_escaped |= byte == b'~';
            byte == b'/'
        });
        let token = match end {
            Some(end) => {
                self.left = left.get(end + 1..);
                left.get(..end)?
            }
            None => {
                self.left = None;
                left
            }
        };
        Some(if is_escaped {
            decode_token(token).map(Cow::Owned)
        } else {
            Ok(Cow::Borrowed(token))
        })
    }
}

fn decode_token(token: &str) -> Result<String, PointerError> {
    let mut parts = token.split('~');
    let mut decoded = String::with_capacity(token.len());
    decoded.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (character, rest) = match part.as_bytes().first() {
            Some(b'0') => ('~', &part[1..]),
            Some(b'1') => ('/', &part[1..]),
            _ => return Err(PointerError::BadEscape),
        };
        decoded.push(character);
        decoded.push_str(rest);
    }
    Ok(decoded)
}

/// The position that a token names in an array: digits without a leading zero.
pub(super) fn array_position(token: &str) -> Option<usize> {
    let is_canonical = token == "0"
        || (!token.starts_with('0') && !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit()));
    if is_canonical { token.parse().ok() } else { None }
}
