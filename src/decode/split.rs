//! Where the parts of a body begin and end, without reading what is in them.

use std::ops::Range;

/// The lines of an NDJSON body that hold anything, without the white space around it. The last may lack its newline.
pub(super) fn lines(body: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        while let Some(rest) = body.get(start..).filter(|rest| !rest.is_empty()) {
            let len = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let line = start..start + len;
            start += len + 1;
            let line = trimmed(body, line);
            if !line.is_empty() {
                return Some(line);
            }
        }
        None
    })
}

/// The elements of the one JSON array in `text`, by its brackets and strings alone; none where these do not match up.
/// Stops after `most`.
pub(super) fn elements(text: &[u8], most: usize) -> Option<Vec<Range<usize>>> {
    let whole = trimmed(text, 0..text.len());
    if whole.len() < 2 || text.get(whole.start) != Some(&b'[') || text.get(whole.end - 1) != Some(&b']') {
        return None;
    }
    let inside = whole.start + 1..whole.end - 1;
    let mut found = Vec::new();
    let mut start = inside.start;
    let mut at = inside.start;
    let mut depth = 0_usize;
    while at < inside.end {
        match text.get(at)? {
            b'"' => at = string_end(text, at + 1, inside.end)?,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => {
                found.push(element(text, start..at)?);
                if found.len() >= most {
                    return Some(found);
                }
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    if depth > 0 {
        return None;
    }
    found.push(element(text, start..inside.end)?);
    Some(found)
}

fn element(text: &[u8], range: Range<usize>) -> Option<Range<usize>> {
    Some(trimmed(text, range)).filter(|range| !range.is_empty())
}

/// The closing quote of the string that begins at `at`, behind its opening quote.
fn string_end(text: &[u8], mut at: usize, end: usize) -> Option<usize> {
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..end)?)?;
        if text.get(at) == Some(&b'"') {
            return Some(at);
        }
        at += 2;
    }
}

/// `range` without JSON's white space at both ends.
fn trimmed(text: &[u8], range: Range<usize>) -> Range<usize> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let part = text.get(range.clone()).unwrap_or_default();
    let before = part.iter().take_while(|byte| is_space(byte)).count();
    let after = part.iter().rev().take_while(|byte| is_space(byte)).count();
    range.start + before..(range.end - after).max(range.start + before)
}
