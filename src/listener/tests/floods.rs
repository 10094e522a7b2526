//! HTTP/2 in bad faith, frame by frame.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Client, Gateway, post, settings};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `GET http / ` of the host `x`, in HPACK's static table.
const GET: &[u8] = &[0x82, 0x86, 0x84, 0x01, 0x01, b'x'];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("a short frame");
    let mut frame = len.to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

async fn open(gateway: &Gateway) -> Client {
    let mut client = gateway.connect().await;
    client
        .write([PREFACE, &frame(SETTINGS, 0, 0, b"")].concat())
        .await;
    client
}

/// Sends until the gateway has had enough; then it must still serve others.
async fn is_cut_off(gateway: &Gateway, mut flood: impl FnMut(u32) -> Vec<u8>) {
    let client = open(gateway).await;
    let (mut read, mut write) = client.stream.into_split();
    let began = Instant::now();
    let reading = tokio::spawn(async move {
        let mut scrap = [0; 4096];
        while read.read(&mut scrap).await.is_ok_and(|read| read > 0) {}
    });
    let mut number = 0;
    while !reading.is_finished() {
        assert!(began.elapsed() < Duration::from_secs(15), "the flood goes on");
        number += 1;
        if write.write_all(&flood(number)).await.is_err() {
            break;
        }
    }
    assert!(number < 100_000, "{number} frames were taken");
    assert_eq!(gateway.post("/one", "accepted").await.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_reset_as_fast_as_they_are_opened_end_the_connection() {
    let gateway = Gateway::start(settings());
    is_cut_off(&gateway, |number| {
        let stream = number * 2 - 1;
        [
            frame(HEADERS, END_STREAM | END_HEADERS, stream, GET),
            frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()),
        ]
        .concat()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_section_without_end_ends_the_connection() {
    let gateway = Gateway::start(settings());
    // A literal field of its own name, 100 bytes long.
    let field = [&[0x00, 0x01, b'a', 100][..], &[b'x'; 100]].concat();
    is_cut_off(&gateway, |number| match number {
        1 => frame(HEADERS, END_STREAM, 1, GET),
        _ => frame(CONTINUATION, 0, 1, &field),
    })
    .await;
    assert_eq!(gateway.requests(), 1, "only the request after the flood");
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_streams_that_never_were_end_the_connection() {
    let gateway = Gateway::start(settings());
    is_cut_off(&gateway, |number| {
        frame(RST_STREAM, 0, number * 2 + 1, &8_u32.to_be_bytes())
    })
    .await;
}

/// Whoever reads no answers is read no further: what the gateway holds for it stays small.
#[tokio::test(flavor = "multi_thread")]
async fn pings_and_settings_without_end_are_read_no_faster_than_they_are_answered() {
    let gateway = Gateway::start(settings());
    for flood in [frame(PING, 0, 0, b"12345678"), frame(SETTINGS, 0, 0, b"")] {
        let mut client = open(&gateway).await;
        let many = flood.repeat(10_000);
        let mut written = 0;
        // As much as the kernel's buffers of both ends hold, or the end of the connection.
        while let Ok(Ok(())) =
            tokio::time::timeout(Duration::from_secs(1), client.stream.write_all(&many)).await
        {
            written += many.len();
            assert!(written < 64 << 20, "it is read and read");
        }
        assert_eq!(gateway.send(&post("/one", "accepted")).await.status, 202);
    }
}
