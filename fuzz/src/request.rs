//! Requests as text, so that seeds can be read and written by hand.

use bytes::Bytes;
use http::request::Parts;

/// `METHOD URI`, lines `name: value`, an empty line, and the body.
pub struct Request {
    pub head: Parts,
    pub body: Bytes,
}

impl Request {
    /// None where HTTP has no such request.
    pub fn parse(text: &[u8]) -> Option<Request> {
        let end = text.windows(2).position(|pair| pair == b"\n\n");
        let (head, body) = match end {
            Some(end) => (text.get(..end)?, text.get(end + 2..)?),
            None => (text, text.get(text.len()..)?),
        };
        let mut lines = head.split(|byte| *byte == b'\n');
        let (method, uri) = std::str::from_utf8(lines.next()?).ok()?.split_once(' ')?;
        let mut request = http::Request::builder().method(method).uri(uri);
        for line in lines.filter(|line| !line.is_empty()) {
            let at = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = (line.get(..at)?, line.get(at + 1..)?);
            request = request.header(name, value.trim_ascii());
        }
        Some(Request {
            head: request.body(()).ok()?.into_parts().0,
            body: Bytes::copy_from_slice(body),
        })
    }
}
