//! Writing JSON where a format has its own demands.

use bytes::Bytes;

/// A valid JSON text on one line: line ends, which can only be white space between tokens, become spaces. The same
/// bytes where there are none.
pub fn newline_free(text: &Bytes) -> Bytes {
    let Some(first) = memchr::memchr2(b'\n', b'\r', text) else {
        return text.clone();
    };
    let mut line = text.to_vec();
    for byte in &mut line[first..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    line.into()
}
