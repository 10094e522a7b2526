//! The first line of a connection for lines: a key, or no first line at all.

use http::HeaderValue;

const GREETING: &[u8] = b"AUTH ";
/// The first line, where it holds a key.
const GREETING_BYTES: usize = 512;

/// What a connection begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// It could be a key yet: more has to be read.
    Begun,
    /// Something else, of which nothing is taken.
    Absent,
    /// A line that holds nothing that could be a key.
    Malformed,
    /// As the header `Authorization` would hold it, and the bytes of its line.
    Key(HeaderValue, usize),
}

/// What `read` says, all that came so far; nothing more comes where `is_at_end`.
pub fn greeting(read: &[u8], is_at_end: bool) -> Greeting {
    let compared = read.len().min(GREETING.len());
    if read.get(..compared) != GREETING.get(..compared) {
        return Greeting::Absent;
    }
    let line = read.get(..GREETING_BYTES).unwrap_or(read);
    let end = match memchr::memchr(b'\n', line) {
        Some(at) => at + 1,
        None if read.len() >= GREETING_BYTES => return Greeting::Malformed,
        None if is_at_end => read.len(),
        None => return Greeting::Begun,
    };
    let key = line.get(GREETING.len()..end).unwrap_or_default().trim_ascii();
    match HeaderValue::from_bytes(&[b"Bearer ", key].concat()) {
        Ok(bearer) => Greeting::Key(bearer, end),
        Err(_) => Greeting::Malformed,
    }
}
