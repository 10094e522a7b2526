//! One request and its answer, whatever that is.

use std::io;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

pub struct Answer {
    pub status: u16,
    /// The gateway takes no other request on this connection.
    pub is_last: bool,
}

/// Sends a request and reads its answer, body included.
///
/// # Errors
///
/// The connection ended before.
pub async fn exchange(stream: &mut TcpStream, request: &[u8]) -> io::Result<Answer> {
    stream.write_all(request).await?;
    let mut answer = Vec::with_capacity(2048);
    loop {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(answer) = whole(&answer) {
            return Ok(answer);
        }
    }
}

fn whole(answer: &[u8]) -> Option<Answer> {
    let end = memchr::memmem::find(answer, b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).expect("a head is text");
    let field = |wanted: &str| {
        let mut fields = head.lines().filter_map(|line| line.split_once(':'));
        fields
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.trim())
    };
    let length: usize = field("content-length")
        .and_then(|length| length.parse().ok())
        .expect("the answer says how long it is");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (answer.len() >= end + 4 + length).then(|| Answer {
        status: status.expect("an answer has a status"),
        is_last: field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")),
    })
}
