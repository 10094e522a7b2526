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
    match pointer.as_bytes() {
        [] | [b'/', ..] => Ok(Tokens::of_checked(pointer)),
        _ => Err(PointerError::NoLeadingSlash),
    }
}

/// A pointer that was checked. Its tokens are decoded where they are asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pointer<'p> {
    text: &'p str,
    len: usize,
    /// Where the slash before the last token stands.
    last_slash: usize,
    is_escaped: bool,
}

impl<'p> Pointer<'p> {
    pub(super) fn parse(text: &'p str) -> Result<Pointer<'p>, PointerError> {
        let mut tokens = tokens(text)?;
        let mut pointer = Pointer {
            text,
            len: 0,
            last_slash: 0,
            is_escaped: false,
        };
        for (at, byte) in text.bytes().enumerate() {
            if byte == b'/' {
                pointer.len += 1;
                pointer.last_slash = at;
            }
            pointer.is_escaped |= byte == b'~';
        }
        if pointer.is_escaped {
            tokens.try_for_each(|token| token.map(drop))?;
        }
        Ok(pointer)
    }

    /// How many tokens.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn tokens(&self) -> impl Iterator<Item = Cow<'p, str>> {
        Tokens::of_checked(self.text).filter_map(Result::ok)
    }

    /// All tokens but the last.
    #[inline]
    pub(super) fn parents(&self) -> impl Iterator<Item = Cow<'p, str>> {
        Tokens::of_checked(&self.text[..self.last_slash]).filter_map(Result::ok)
    }

    /// The last token. The whole document has none.
    #[inline]
    pub(super) fn last(&self) -> Option<Cow<'p, str>> {
        let token = self.text.get(self.last_slash + 1..)?;
        if self.is_escaped {
            decode_token(token).ok().map(Cow::Owned)
        } else {
            Some(Cow::Borrowed(token))
        }
    }

    /// Whether the first tokens are all those of `other`.
    pub(super) fn starts_with(&self, other: &Pointer<'_>) -> bool {
        // A token can be spelled in one way only.
        self.text
            .strip_prefix(other.text)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

pub(super) struct Tokens<'p> {
    /// What follows the slash before the next token.
    left: Option<&'p str>,
}

impl<'p> Tokens<'p> {
    /// `pointer` is empty or starts with a slash.
    #[inline]
    fn of_checked(pointer: &'p str) -> Tokens<'p> {
        Tokens {
            left: pointer.get(1..),
        }
    }
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
