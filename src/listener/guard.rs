//! Follows the framing of one HTTP/1 connection, and says where it stops being what every server on the way would read
//! alike. The HTTP machinery behind it is lenient where leniency lets requests be smuggled: a length beside chunks, two
//! lengths, line ends without a carriage return.
//!
//! It keeps no bytes but the beginning of a line that a read has cut, and passes bodies over without looking at them.

use smallvec::SmallVec;

/// The header fields that decide on framing are shorter than this.
const LINE_KEPT_BYTES: usize = 64;
/// A chunk's size with its extensions, of which nobody makes use.
const CHUNK_LINE_BYTES: usize = 256;
/// Digits of a chunk's size: 4 GiB, far above any body that is taken.
const CHUNK_DIGITS: usize = 8;
const LENGTH_DIGITS: usize = 18;

/// Where the bytes stopped being well-formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// So many bytes of those that were fed belong to what came before and may be read.
    pub(super) pass: usize,
    pub(super) fault: &'static str,
    /// In a body: the request that it belongs to is already being read.
    pub(super) is_in_body: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before a request line; empty lines are passed over.
    Start,
    Head,
    Sized(u64),
    ChunkSize,
    ChunkData(u64),
    /// The line end behind a chunk's data.
    ChunkEnd,
    Trailers,
}

#[derive(Debug)]
pub(super) struct Guard {
    state: State,
    /// Heads that have come whole, wrapping.
    heads: u32,
    length: Option<u64>,
    is_chunked: bool,
    /// The beginning of a line whose end has not come.
    line: SmallVec<[u8; LINE_KEPT_BYTES]>,
    /// Bytes of that line, kept or not.
    line_bytes: usize,
    /// The last byte of that line.
    last: u8,
}

type Step = Result<(), &'static str>;

impl Guard {
    pub(super) fn new() -> Guard {
        Guard {
            state: State::Start,
            heads: 0,
            length: None,
            is_chunked: false,
            line: SmallVec::new(),
            line_bytes: 0,
            last: 0,
        }
    }

    /// How many requests were handed on so far, wrapping.
    pub(super) fn heads(&self) -> u32 {
        self.heads
    }

    /// Follows the next bytes of the connection.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), Cut> {
        let mut at = 0;
        // Where the request that is being read begins, as far as it is in these bytes.
        let mut begun = 0;
        while at < bytes.len() {
            let rest = bytes.get(at..).unwrap_or_default();
            match self.state {
                State::Sized(left) | State::ChunkData(left) => {
                    let passed = left.min(rest.len() as u64);
                    at += usize::try_from(passed).unwrap_or(rest.len());
                    self.state = match self.state {
                        State::Sized(_) if passed == left => State::Start,
                        State::Sized(_) => State::Sized(left - passed),
                        _ if passed == left => State::ChunkEnd,
                        _ => State::ChunkData(left - passed),
                    };
                }
                state => {
                    if state == State::Start && self.line_bytes == 0 {
                        begun = at;
                    }
                    let end = memchr::memchr(b'\n', rest);
                    let part = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
                    let is_in_body = matches!(state, State::ChunkSize | State::ChunkEnd | State::Trailers);
                    self.line(part, end.is_some()).map_err(|fault| Cut {
                        pass: if is_in_body { at } else { begun },
                        fault,
                        is_in_body,
                    })?;
                    at += part.len() + usize::from(end.is_some());
                }
            }
        }
        Ok(())
    }

    /// A part of a line, without its newline.
    fn line(&mut self, part: &[u8], ends: bool) -> Step {
        if !ends {
            let room = LINE_KEPT_BYTES - self.line.len();
            self.line
                .extend_from_slice(part.get(..part.len().min(room)).unwrap_or_default());
            self.line_bytes += part.len();
            self.last = part.last().copied().unwrap_or(self.last);
            return self.check_unfinished();
        }
        if self.line_bytes == 0 {
            return self.whole_line(part, part.len());
        }
        let bytes = self.line_bytes + part.len();
        let last = part.last().copied().unwrap_or(self.last);
        let mut line = std::mem::take(&mut self.line);
        let room = LINE_KEPT_BYTES - line.len();
        line.extend_from_slice(part.get(..part.len().min(room)).unwrap_or_default());
        if bytes > line.len() {
            // What was not kept ends in what the line ends in.
            line.pop();
            line.push(last);
        }
        self.line_bytes = 0;
        self.whole_line(&line, bytes)
    }

    /// A line that does not end must not go on for ever where nothing else bounds it.
    fn check_unfinished(&self) -> Step {
        match self.state {
            State::ChunkSize if self.line_bytes > CHUNK_LINE_BYTES => Err("a chunk's size does not end"),
            State::ChunkEnd if self.line_bytes > 1 => Err("a chunk is longer than its size says"),
            _ => Ok(()),
        }
    }

    /// `line` without its newline; where the line has more than `LINE_KEPT_BYTES` it may be cut in its middle.
    fn whole_line(&mut self, line: &[u8], bytes: usize) -> Step {
        let Some(line) = line.strip_suffix(b"\r") else {
            return Err("a line ends without a carriage return");
        };
        match self.state {
            State::Start if line.is_empty() => Ok(()),
            State::Start => {
                self.state = State::Head;
                self.length = None;
                self.is_chunked = false;
                Ok(())
            }
            State::Head if line.is_empty() => {
                self.heads = self.heads.wrapping_add(1);
                self.state = match self.length {
                    _ if self.is_chunked => State::ChunkSize,
                    None | Some(0) => State::Start,
                    Some(length) => State::Sized(length),
                };
                Ok(())
            }
            State::Head => self.field(line, bytes),
            State::ChunkSize => self.chunk_size(line, bytes),
            State::ChunkEnd if line.is_empty() => {
                self.state = State::ChunkSize;
                Ok(())
            }
            State::ChunkEnd => Err("a chunk is longer than its size says"),
            State::Trailers => {
                if line.is_empty() {
                    self.state = State::Start;
                }
                Ok(())
            }
            State::Sized(_) | State::ChunkData(_) => Ok(()),
        }
    }

    fn field(&mut self, line: &[u8], bytes: usize) -> Step {
        let first = line.first().copied().unwrap_or_default();
        if matches!(first, b' ' | b'\t') {
            return Err("a header field is folded over several lines");
        }
        // Most names begin with neither letter.
        if !matches!(first, b'c' | b'C' | b't' | b'T') {
            return Ok(());
        }
        let Some(colon) = memchr::memchr(b':', line) else {
            return Ok(());
        };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let is_cut = bytes > LINE_KEPT_BYTES;
        if name.trim_ascii().eq_ignore_ascii_case(b"content-length") {
            let is_number =
                !value.is_empty() && value.len() <= LENGTH_DIGITS && value.iter().all(u8::is_ascii_digit);
            if self.length.is_some() {
                return Err("the request has two lengths");
            }
            if is_cut || !is_number {
                return Err("the request's length is no number");
            }
            let length = value
                .iter()
                .fold(0, |sum: u64, digit| sum * 10 + u64::from(digit - b'0'));
            self.length = Some(length);
        } else if name.trim_ascii().eq_ignore_ascii_case(b"transfer-encoding") {
            if self.is_chunked || is_cut || !value.eq_ignore_ascii_case(b"chunked") {
                return Err("the only transfer coding is chunked, once");
            }
            self.is_chunked = true;
        }
        if self.is_chunked && self.length.is_some() {
            return Err("the request has a length beside its chunks");
        }
        Ok(())
    }

    fn chunk_size(&mut self, line: &[u8], bytes: usize) -> Step {
        if bytes > CHUNK_LINE_BYTES {
            return Err("a chunk's size does not end");
        }
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (size, rest) = line.split_at(digits);
        if size.is_empty() || size.len() > CHUNK_DIGITS {
            return Err("a chunk's size is no hexadecimal number below 4 GiB");
        }
        if !matches!(rest.trim_ascii_start().first(), None | Some(b';')) {
            return Err("something stands behind a chunk's size");
        }
        let size = size.iter().fold(0, |sum: u64, digit| {
            sum * 16 + u64::from((*digit as char).to_digit(16).unwrap_or_default())
        });
        self.state = if size == 0 {
            State::Trailers
        } else {
            State::ChunkData(size)
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn feed(text: &str) -> Result<(), Cut> {
        Guard::new().feed(text.as_bytes())
    }

    const HOST: &str = "POST / HTTP/1.1\r\nHost: x\r\n";

    #[test]
    fn what_every_server_reads_alike_passes() {
        let long = "x".repeat(500);
        for text in [
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            "\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            format!("{HOST}Content-Length: 3\r\n\r\na\nbGET / HTTP/1.1\r\n\r\n"),
            format!("{HOST}content-length:3\r\nTE: trailers\r\nCookie: {long}\r\n\r\n\r\n\r"),
            format!(
                "{HOST}Transfer-Encoding: Chunked\r\n\r\n3;x=y\r\na\nb\r\n0\r\nT: x\r\n\r\nGET / HTTP/1.1\r\n\r\n"
            ),
        ] {
            assert_eq!(feed(&text), Ok(()), "{text:?}");
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table, a request a line")]
    fn what_servers_read_differently_is_cut_off() {
        for (text, pass, is_in_body) in [
            ("GET / HTTP/1.1\nHost: x\r\n\r\n".to_owned(), 0, false),
            (format!("{HOST}A: b\n\r\n"), 0, false),
            (format!("{HOST} folded\r\n\r\n"), 0, false),
            (
                format!("{HOST}Content-Length: 1\r\nContent-Length: 1\r\n\r\nx"),
                0,
                false,
            ),
            (format!("{HOST}Content-Length: 1, 1\r\n\r\nx"), 0, false),
            (format!("{HOST}Content-Length: +1\r\n\r\nx"), 0, false),
            (format!("{HOST}Content-Length: 0x1\r\n\r\nx"), 0, false),
            (
                format!("{HOST}Content-Length: 9999999999999999999\r\n\r\nx"),
                0,
                false,
            ),
            (
                format!("{HOST}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
                0,
                false,
            ),
            (
                format!("{HOST}Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n"),
                0,
                false,
            ),
            (
                format!("{HOST}Transfer-Encoding : chunked\r\nContent-Length: 1\r\n\r\n"),
                0,
                false,
            ),
            (
                format!("{HOST}Transfer-Encoding: chunked, chunked\r\n\r\n"),
                0,
                false,
            ),
            (format!("{HOST}Transfer-Encoding: gzip\r\n\r\n"), 0, false),
            (
                format!("{HOST}Transfer-Encoding: {}chunked\r\n\r\n", " ".repeat(100)),
                0,
                false,
            ),
            (
                "GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\nA: b\r\n\r\n".to_owned(),
                18,
                false,
            ),
            (
                format!("{HOST}Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n"),
                56,
                true,
            ),
            (
                format!("{HOST}Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n"),
                62,
                true,
            ),
            (
                format!("{HOST}Transfer-Encoding: chunked\r\n\r\nfffffffff\r\n"),
                56,
                true,
            ),
            (
                format!("{HOST}Transfer-Encoding: chunked\r\n\r\n-1\r\n"),
                56,
                true,
            ),
            (
                format!("{HOST}Transfer-Encoding: chunked\r\n\r\n1 2\r\n"),
                56,
                true,
            ),
            (
                format!(
                    "{HOST}Transfer-Encoding: chunked\r\n\r\n1;{}\r\n",
                    "x".repeat(300)
                ),
                56,
                true,
            ),
        ] {
            let cut = feed(&text).expect_err(&text);
            assert_eq!(
                (cut.pass, cut.is_in_body),
                (pass, is_in_body),
                "{text:?}: {}",
                cut.fault
            );
        }
    }

    proptest! {
        /// However the bytes are cut into reads, the same is found; what passes before is never more.
        #[test]
        fn reads_make_no_difference(
            lines in proptest::collection::vec(
                proptest::sample::select(vec![
                    "GET / HTTP/1.1\r\n", "Host: x\r\n", "\r\n", "Content-Length: 4\r\n", "Content-Length: 0\r\n",
                    "Transfer-Encoding: chunked\r\n", "4\r\n", "0\r\n", "abcd", "\n", "a: b\n", " x\r\n", "5;a=b\r\n", "ab\ncd\r\n",
                ]),
                0..12,
            ),
            cuts in proptest::collection::vec(1_usize..9, 1..30),
        ) {
            let text = lines.concat();
            let whole = Guard::new().feed(text.as_bytes()).map_err(|cut| cut.is_in_body);
            let mut guard = Guard::new();
            let mut rest = text.as_bytes();
            let mut pieces = Ok(());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at(rest.len().min(*cut));
                rest = after;
                pieces = guard.feed(piece).map_err(|cut| cut.is_in_body);
                if pieces.is_err() {
                    break;
                }
            }
            prop_assert_eq!(whole, pieces);
        }
    }
}
