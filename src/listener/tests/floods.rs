//! HTTP/2 in bad faith, frame by frame.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Client, Code, Gateway, Settings, post, settings};
use crate::limits::HTTP2_FRAMES_BETWEEN_REQUESTS;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const UNKNOWN: u8 = 0x42;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `GET http / ` of the host `x`, in HPACK's static table.
const GET: &[u8] = &[0x82, 0x86, 0x84, 0x01, 0x01, b'x'];
/// `POST http /` likewise.
const POST: &[u8] = &[0x83, 0x86, 0x84, 0x01, 0x01, b'x'];

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

#[tokio::test(flavor = "multi_thread")]
async fn frames_without_a_request_among_them_end_the_connection() {
    let gateway = Gateway::start(settings());
    let window = 1_u32.to_be_bytes();
    for flood in [
        frame(PING, 0, 0, b"12345678"),
        frame(PING, ACK, 0, b"12345678"),
        frame(SETTINGS, 0, 0, b""),
        frame(WINDOW_UPDATE, 0, 0, &window),
        frame(UNKNOWN, 0, 0, b""),
    ] {
        is_cut_off(&gateway, |_| flood.clone()).await;
    }
    assert_eq!(gateway.requests(), 5, "only the requests after the floods");
}

/// A request that never ends is no leave to send anything else beside it.
#[tokio::test(flavor = "multi_thread")]
async fn frames_beside_a_request_that_does_not_end_end_the_connection() {
    let gateway = Gateway::start(settings());
    for flood in [frame(PING, 0, 0, b"12345678"), frame(DATA, 0, 1, b"")] {
        is_cut_off(&gateway, |number| match number {
            1 => frame(HEADERS, END_HEADERS, 1, POST),
            _ => flood.clone(),
        })
        .await;
    }
}

/// Whoever reads no answers either.
#[tokio::test(flavor = "multi_thread")]
async fn frames_of_a_client_that_does_not_read_end_the_connection() {
    let gateway = Gateway::start(settings());
    for flood in [frame(PING, 0, 0, b"12345678"), frame(SETTINGS, 0, 0, b"")] {
        let mut client = open(&gateway).await;
        let many = flood.repeat(10_000);
        let began = Instant::now();
        while client.stream.write_all(&many).await.is_ok() {
            assert!(began.elapsed() < Duration::from_secs(15), "the flood goes on");
        }
        assert_eq!(gateway.send(&post("/one", "accepted")).await.status, 202);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_between_requests_are_no_flood() {
    let gateway = Gateway::start(settings());
    let mut client = open(&gateway).await;
    let pings = frame(PING, 0, 0, b"12345678").repeat(HTTP2_FRAMES_BETWEEN_REQUESTS as usize - 2);
    for number in 0..4 {
        client.write(&pings).await;
        client
            .write(frame(HEADERS, END_STREAM | END_HEADERS, number * 2 + 1, GET))
            .await;
        while gateway.requests() <= number as usize {
            assert!(
                client.fill().await,
                "the connection ended after {number} requests"
            );
        }
    }
}

/// A request that 200,000 results answer, each listed, in about 10 MB.
async fn ask_for_much(client: &mut Client, stream: u32) {
    const FRAME_BYTES: usize = 16 << 10;
    // The streams' windows count from when the gateway's settings are acknowledged, the connection's from its update.
    assert_eq!(receive(client).await.kind, SETTINGS);
    client.write(frame(SETTINGS, ACK, 0, b"")).await;
    while receive(client).await.kind != WINDOW_UPDATE {}
    let prefer = [&[0x00, 6][..], b"prefer", &[1, b'x']].concat();
    client
        .write(frame(HEADERS, END_HEADERS, stream, &[POST, &prefer].concat()))
        .await;
    for piece in [b' '; 200_000].chunks(FRAME_BYTES) {
        client.write(frame(DATA, 0, stream, piece)).await;
    }
    client.write(frame(DATA, END_STREAM, stream, b"")).await;
}

struct Received {
    kind: u8,
    is_last: bool,
    bytes: usize,
}

async fn receive(client: &mut Client) -> Received {
    loop {
        if let [high, middle, low, kind, flags, ..] = client.read[..] {
            let bytes = u32::from_be_bytes([0, high, middle, low]) as usize;
            if client.read.len() >= 9 + bytes {
                client.read.drain(..9 + bytes);
                return Received {
                    kind,
                    is_last: kind == DATA && flags & END_STREAM != 0,
                    bytes,
                };
            }
        }
        assert!(client.fill().await, "the connection ended");
    }
}

/// The next piece of an answer.
async fn receive_data(client: &mut Client) -> Received {
    loop {
        let received = receive(client).await;
        if received.kind == DATA {
            return received;
        }
    }
}

fn open_windows(stream: u32, bytes: usize) -> Vec<u8> {
    let bytes = u32::try_from(bytes).expect("a window").to_be_bytes();
    [
        frame(WINDOW_UPDATE, 0, 0, &bytes),
        frame(WINDOW_UPDATE, 0, stream, &bytes),
    ]
    .concat()
}

/// As Go's client does: large windows, and both opened again for every 4 KiB that are read.
#[tokio::test(flavor = "multi_thread")]
async fn windows_opened_for_a_large_answer_are_no_flood() {
    const STREAM_WINDOW_BYTES: u32 = 4 << 20;
    const READ_BYTES: usize = 4 << 10;
    let gateway = Gateway::start(settings());
    let mut client = gateway.connect().await;
    let window = [&[0, 4][..], &STREAM_WINDOW_BYTES.to_be_bytes()].concat();
    client
        .write([PREFACE, &frame(SETTINGS, 0, 0, &window)].concat())
        .await;
    client
        .write(frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes()))
        .await;
    ask_for_much(&mut client, 1).await;
    let (mut whole, mut unread) = (0, 0);
    loop {
        let received = receive_data(&mut client).await;
        whole += received.bytes;
        unread += received.bytes;
        while unread >= READ_BYTES {
            unread -= READ_BYTES;
            client.write(open_windows(1, READ_BYTES)).await;
        }
        if received.is_last {
            break;
        }
    }
    assert!(whole > 8 << 20, "{whole} bytes");
    client
        .write(frame(HEADERS, END_STREAM | END_HEADERS, 3, GET))
        .await;
    while !receive(&mut client).await.is_last {}
    assert_eq!(gateway.requests(), 2);
}

#[tokio::test]
async fn an_answer_that_is_read_slowly_keeps_its_connection() {
    const WINDOW_BYTES: usize = 65_535;
    let mut settings = settings();
    settings.keep_alive = Duration::from_secs(1);
    let gateway = Gateway::start(settings);
    let mut client = open(&gateway).await;
    ask_for_much(&mut client, 1).await;
    let began = Instant::now();
    let (mut whole, mut unread) = (0, 0);
    loop {
        let received = receive_data(&mut client).await;
        whole += received.bytes;
        unread += received.bytes;
        if received.is_last {
            break;
        }
        if unread >= WINDOW_BYTES / 2 {
            if began.elapsed() < Duration::from_secs(3) {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            client.write(open_windows(1, unread)).await;
            unread = 0;
        }
    }
    assert!(whole > 8 << 20, "{whole} bytes");
}

/// Its first frame came before the time between requests was over, its last one after it.
#[tokio::test]
async fn a_request_at_the_end_of_the_time_between_requests_is_answered() {
    let mut settings = settings();
    settings.keep_alive = Duration::from_millis(300);
    let gateway = Gateway::start(settings);
    let mut client = open(&gateway).await;
    let first = frame(HEADERS, END_STREAM | END_HEADERS, 1, GET);
    client
        .write([first, frame(HEADERS, END_STREAM, 3, GET)].concat())
        .await;
    while !receive(&mut client).await.is_last {}
    tokio::time::sleep(Duration::from_millis(900)).await;
    client.write(frame(CONTINUATION, END_HEADERS, 3, b"")).await;
    while !receive(&mut client).await.is_last {}
    assert_eq!(gateway.requests(), 2);
}

fn impatient() -> Settings {
    let mut settings = settings();
    settings.limits.header_time_s = 1;
    settings
}

/// Reads until the gateway closes.
async fn is_closed_soon(mut client: Client, what: &str) {
    let began = Instant::now();
    while client.fill().await {}
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{what}: {:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_slow_beginning_is_cut() {
    let gateway = Gateway::start(impatient());
    let begun = frame(HEADERS, END_STREAM, 1, GET);
    let cut = frame(HEADERS, END_STREAM | END_HEADERS, 1, GET);
    let settings = frame(SETTINGS, 0, 0, b"");
    for (what, sent) in [
        ("a part of the method", PREFACE[..3].to_vec()),
        ("the method", PREFACE[..4].to_vec()),
        (
            "all of the preface but a byte",
            PREFACE[..PREFACE.len() - 1].to_vec(),
        ),
        ("the preface", PREFACE.to_vec()),
        ("no header section", [PREFACE, &settings].concat()),
        (
            "a header section without end",
            [PREFACE, &settings, &begun].concat(),
        ),
        (
            "half a frame",
            [PREFACE, &settings, &cut[..cut.len() - 1]].concat(),
        ),
    ] {
        let mut client = gateway.connect().await;
        client.write(sent).await;
        is_closed_soon(client, what).await;
    }
    assert_eq!(gateway.requests(), 0);
}

#[tokio::test]
async fn a_slow_header_section_is_cut_beside_requests_and_after_them() {
    let gateway = Gateway::start(impatient());
    for (number, body) in ["sleep 60000", "accepted"].into_iter().enumerate() {
        let mut client = open(&gateway).await;
        client.write(frame(HEADERS, END_HEADERS, 1, POST)).await;
        client.write(frame(DATA, END_STREAM, 1, body.as_bytes())).await;
        while gateway.requests() <= number {
            tokio::task::yield_now().await;
        }
        client.write(frame(HEADERS, END_STREAM, 3, GET)).await;
        is_closed_soon(client, body).await;
    }
}

#[tokio::test]
async fn what_only_begins_like_http2_is_refused() {
    let gateway = Gateway::start(settings());
    for request in [
        "PRI /one HTTP/1.1\r\nHost: x\r\n\r\n",
        "PRI * HTTP/1.1\r\nHost: x\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\n",
        "PRI * HTTP/2.0\r\n\r\nPOST /one HTTP/1.1\nHost: x\r\n\r\n",
    ] {
        for split in [3, 5, 19] {
            let (first, second) = request.split_at(split);
            let mut client = gateway.connect().await;
            client.write(first).await;
            tokio::task::yield_now().await;
            client.try_write(second).await;
            client.response().await.is_problem(Code::HttpMalformed);
            assert!(client.is_closed().await, "{request}");
        }
    }
    assert_eq!(gateway.requests(), 0);
    // A method of its own that begins likewise.
    let response = gateway.send("PRINT /one HTTP/1.1\r\nHost: x\r\n\r\n").await;
    response.is_problem(Code::MethodNotAllowed);
}
