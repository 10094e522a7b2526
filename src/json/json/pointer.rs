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
    if pointer.is_empty() {
        return Ok(SmallVec::new());
    }
    let tokens = pointer.strip_prefix('/').ok_or(PointerError::NoLeadingSlash)?;
    tokens.split('/').map(decode_token).collect()
}

fn decode_token(token: &str) -> Result<Cow<'_, str>, PointerError> {
    let mut parts = token.split('~');
    let head = parts.next().unwrap_or_default();
    if head.len() == token.len() {
        return Ok(Cow::Borrowed(token));
    }
    let mut decoded = String::with_capacity(token.len());
    decoded.push_str(head);
    for part in parts {
        let (character, rest) = match part.as_bytes().first() {
            Some(b'0') => ('~', &part[1..]),
            Some(b'1') => ('/', &part[1..]),
            _ => return Err(PointerError::BadEscape),
        };
        decoded.push(character);
        decoded.push_str(rest);
    }
    Ok(Cow::Owned(decoded))
}

/// The position that a token names in an array: digits without a leading zero.
pub(super) fn array_position(token: &str) -> Option<usize> {
    let is_canonical = token == "0"
        || (!token.starts_with('0') && !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit()));
    if is_canonical { token.parse().ok() } else { None }
}
