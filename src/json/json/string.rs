//! Strings as they stand in a text: where they end, what they say, how they are written.

use std::borrow::Cow;

use super::tape::{Tag, Word};

/// The first place from `at` on with a quote, a backslash or a control character; the end where there is none.
#[inline]
pub(super) fn plain_run(text: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = text.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
        if let Some(offset) = first_special(*chunk) {
            return at + offset;
        }
        at += 16;
    }
    while text
        .get(at)
        .is_some_and(|&byte| byte >= 0x20 && byte != b'"' && byte != b'\\')
    {
        at += 1;
    }
    at.min(text.len())
}

/// The place in `chunk` of the first quote, backslash or control character.
#[cfg(target_arch = "x86_64")]
#[inline]
fn first_special(chunk: [u8; 16]) -> Option<usize> {
    // SAFETY: every x86-64 processor has SSE2.
    let special = unsafe { special_bits(chunk) };
    (special != 0).then(|| special.trailing_zeros() as usize)
}

/// A bit for each byte of `chunk` that is a quote, a backslash or a control character.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse2")]
fn special_bits(chunk: [u8; 16]) -> i32 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8,
    };

    let halves = u128::from_le_bytes(chunk);
    let bytes = _mm_set_epi64x((halves >> 64) as i64, halves as i64);
    let quotes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
    let backslashes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
    let controls = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
    _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quotes, backslashes), controls))
}

/// The place in `chunk` of the first quote, backslash or control character.
#[cfg(any(not(target_arch = "x86_64"), test))]
pub(super) fn first_special_portable(chunk: [u8; 16]) -> Option<usize> {
    const ONES: u128 = u128::from_ne_bytes([1; 16]);

    // In each byte: the high bit is set where the subtraction borrows, which the first special byte does exactly.
    let chunk = u128::from_le_bytes(chunk);
    let quote = (chunk ^ (ONES * b'"' as u128)).wrapping_sub(ONES);
    let backslash = (chunk ^ (ONES * b'\\' as u128)).wrapping_sub(ONES);
    let control = chunk.wrapping_sub(ONES * 0x20);
    let special = (quote | backslash | control) & !chunk & (ONES << 7);
    (special != 0).then(|| (special.trailing_zeros() / 8) as usize)
}

#[cfg(not(target_arch = "x86_64"))]
use first_special_portable as first_special;

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
