//! One request and its answer, whatever that is.

use std::io;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::client;

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
        if let Some(answer) = client::complete(&answer) {
            let has_length =
                answer.field("content-length").is_some() || answer.field("transfer-encoding").is_some();
            assert!(has_length, "an answer says how long it is");
            let connection = answer.field("connection");
            return Ok(Answer {
                status: answer.status,
                is_last: connection.is_some_and(|value| value.eq_ignore_ascii_case("close")),
            });
        }
    }
}
