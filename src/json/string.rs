//! Strings as they stand in a text: where they end, what they say, how they are written.

use std::borrow::Cow;

use super::tape::{Tag, Word};

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// The high bit of each byte of `chunk` that is a quote, a backslash or a control character. Bits above the lowest one
/// set may be wrong.
#[inline]
fn special_bytes(chunk: u64) -> u64 {
    let quote = (chunk ^ (ONES * u64::from(b'"'))).wrapping_sub(ONES);
    let backslash = (chunk ^ (ONES * u64::from(b'\\'))).wrapping_sub(ONES);
    let control = chunk.wrapping_sub(ONES * 0x20);
    (quote | backslash | control) & !chunk & HIGH_BITS
}

/// The first place from `at` on with a quote, a backslash or a control character; the end where there is none.
#[inline]
pub(super) fn plain_run(text: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let special = special_bytes(u64::from_le_bytes(*chunk));
        if special != 0 {
            return at + (special.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while text
        .get(at)
        .is_some_and(|&byte| byte >= 0x20 && byte != b'"' && byte != b'\\')
    {
        at += 1;
    }
    at.min(text.len())
}

/// A hash that costs two multiplications, for telling few names apart. It can be made to collide.
#[inline]
pub(super) fn short_hash(name: &[u8]) -> u32 {
    const FIRST: u64 = 0x9e37_79b9_7f4a_7c15;
    const SECOND: u64 = 0xd6e8_feb8_6659_fd93;

    let (head, tail) = if let (Some(head), Some(tail)) = (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        let middle = name
            .get(name.len() / 2 - 4..)
            .and_then(|rest| rest.first_chunk::<8>())
            .unwrap_or(head);
        (
            u64::from_le_bytes(*head),
            u64::from_le_bytes(*tail) ^ u64::from_le_bytes(*middle).rotate_left(29),
        )
    } else if let (Some(head), Some(tail)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        (
            u64::from(u32::from_le_bytes(*head)),
            u64::from(u32::from_le_bytes(*tail)),
        )
    } else {
        let head = name.iter().fold(0, |head, &byte| (head << 8) | u64::from(byte));
        (head, 0)
    };
    let mixed = (head ^ (name.len() as u64)).wrapping_mul(FIRST);
    ((mixed ^ (mixed >> 32) ^ tail).wrapping_mul(SECOND) >> 32) as u32
}

/// The name that a string word of `text` stands for.
pub(super) fn decode_name(text: &[u8], word: Word) -> Cow<'_, str> {
    let inner = &text[word.start() + 1..word.end() - 1];
    if word.tag() == Tag::EscapedString {
        Cow::Owned(unescape(inner))
    } else {
        String::from_utf8_lossy(inner)
    }
}

/// What a checked string says; `inner` stands between its quotes.
pub(super) fn unescape(inner: &[u8]) -> String {
    let mut decoded = Vec::with_capacity(inner.len());
    let mut at = 0;
    while at < inner.len() {
        let run = memchr::memchr(b'\\', &inner[at..]).map_or(inner.len(), |offset| at + offset);
        decoded.extend_from_slice(&inner[at..run]);
        at = run;
        if at < inner.len() {
            at = unescape_one(inner, at, &mut decoded);
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Decodes the escape at `at` and returns the place behind it.
fn unescape_one(inner: &[u8], at: usize, decoded: &mut Vec<u8>) -> usize {
    let byte = match inner.get(at + 1) {
        Some(b'b') => 0x08,
        Some(b'f') => 0x0c,
        Some(b'n') => b'\n',
        Some(b'r') => b'\r',
        Some(b't') => b'\t',
        Some(b'u') => {
            let first = hex4(inner, at + 2);
            let (code, next) = if (0xd800..0xdc00).contains(&first) {
                let second = hex4(inner, at + 8);
                (
                    0x10000 + ((first - 0xd800) << 10) + second.saturating_sub(0xdc00),
                    at + 12,
                )
            } else {
                (first, at + 6)
            };
            let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
            decoded.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            return next;
        }
        Some(&other) => other,
        None => b'\\',
    };
    decoded.push(byte);
    at + 2
}

fn hex4(inner: &[u8], at: usize) -> u32 {
    inner
        .get(at..at + 4)
        .unwrap_or_default()
        .iter()
        .fold(0, |code, &digit| {
            (code << 4) | char::from(digit).to_digit(16).unwrap_or(0)
        })
}

/// Appends `text` as a JSON string, quotes included.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";

    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let mut at = 0;
    loop {
        let run = plain_run(bytes, at);
        out.extend_from_slice(&bytes[at..run]);
        let Some(&byte) = bytes.get(run) else { break };
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
        at = run + 1;
    }
    out.push(b'"');
}
