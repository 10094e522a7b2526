//! Compressed bodies.

use std::io::Write;

use super::{Code, gzip, post, text};

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn raw_deflate(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::encode_all(plain, 3).unwrap()
}

type Compress = fn(&[u8]) -> Vec<u8>;
const ALL: [(&str, Compress); 5] = [
    ("gzip", gzip),
    ("X-GZip", gzip),
    ("deflate", zlib),
    ("deflate", raw_deflate),
    ("zstd", zstd),
];

#[test]
fn every_encoding_is_undone() {
    let numbers = (0..80_000_u32).map(|n| format!("{},", n.wrapping_mul(2_654_435_761)));
    let long = format!("[{}1]", numbers.collect::<String>());
    for plain in ["{\"a\":1}", &long] {
        for (name, compress) in ALL {
            let sent = post("/v1/events/a", JSON, compress(plain.as_bytes())).with("content-encoding", name);
            assert_eq!(text(&sent.event()), plain, "{name}");
        }
        let sent = post("/v1/events/a", JSON, plain).with("content-encoding", "identity");
        assert_eq!(text(&sent.event()), plain);
    }
}

#[test]
fn concatenated_streams_are_one_body() {
    for (name, compress) in [("gzip", gzip as Compress), ("zstd", zstd)] {
        let body = [compress(b"[1,"), compress(b""), compress(b"2]")].concat();
        let sent = post("/v1/events/a", JSON, body).with("content-encoding", name);
        assert_eq!(sent.data(), "[1,2]", "{name}");
    }
}

#[test]
fn more_than_one_layer_and_unknown_encodings_are_refused_before_the_body() {
    for value in ["br, br", "compress", "gzip, zstd", "gzip, gzip", "lzma"] {
        let refusal = post("/v1/events/a", JSON, "")
            .with("content-encoding", value)
            .head();
        assert_eq!(refusal.unwrap_err().code, Code::ContentEncodingUnknown, "{value}");
    }
    let twice = post("/v1/events/a", JSON, "")
        .with("content-encoding", "gzip")
        .with("content-encoding", "gzip");
    assert_eq!(twice.refused(), Code::ContentEncodingUnknown);
}

#[test]
fn what_comes_out_is_capped_to_the_byte() {
    let limit = 1 << 16;
    for (name, compress) in ALL {
        for (len, is_taken) in [(limit, true), (limit + 1, false), (limit * 200, false)] {
            let plain = [b"\"", "x".repeat(len - 2).as_bytes(), b"\""].concat();
            let sent = post("/v1/events/a", JSON, compress(&plain))
                .with("content-encoding", name)
                .limited(|limits| limits.body_bytes = "64KiB".parse().unwrap());
            match sent.batch() {
                Ok(_) => assert!(is_taken, "{name} {len}"),
                Err(problem) => {
                    assert_eq!(problem.code, Code::BodyTooLarge, "{name} {len}");
                    assert!(!is_taken, "{name} {len}");
                }
            }
        }
    }
}

#[test]
fn damaged_and_truncated_streams_are_refused() {
    let plain = format!("\"{}\"", "abc".repeat(1000));
    for (name, compress) in ALL {
        let whole = compress(plain.as_bytes());
        for body in [
            whole[..whole.len() - 1].to_vec(),
            whole[..whole.len() / 2].to_vec(),
            [&whole[..], b"garbage"].concat(),
            plain.clone().into_bytes(),
        ] {
            let sent = post("/v1/events/a", JSON, body).with("content-encoding", name);
            assert_eq!(sent.refused(), Code::BodyMalformed, "{name}");
        }
    }
    // After a failure the decompressor is as good as new.
    let sent = post("/v1/events/a", JSON, zstd(b"1")).with("content-encoding", "zstd");
    assert_eq!(sent.data(), "1");
}

#[test]
fn a_zstd_window_above_the_bound_is_refused() {
    let compressed = |window_log| {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(window_log).unwrap();
        encoder.write_all(b"[1,2,3]").unwrap();
        encoder.finish().unwrap()
    };
    let sent =
        |window_log| post("/v1/events/a", JSON, compressed(window_log)).with("content-encoding", "zstd");
    assert_eq!(sent(23).data(), "[1,2,3]");
    assert_eq!(sent(24).refused(), Code::BodyMalformed);
}

const BROTLI_PLAIN: &str = r#"{"a":1,"text":"the same the same the same the same"}"#;
const BROTLI: &str = "GzMA+J0Htpu0C9Ol4EUyp7EWocPbW2F0pdPXIiwxZVISYh4qBp65Q/qCJyI=";
/// 64 MiB of zeros in 51 bytes.
const BROTLI_BOMB: &str = "z///fwAkAOKxQHLv//n//w+ABEAcFoDu/T////8BkACIwwLQvf/P//9/ABIAcVgAuvf/";

fn from_base64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

#[test]
fn brotli_is_undone_whole_or_not_at_all() {
    let body = from_base64(BROTLI);
    let send = |body: &[u8]| post("/v1/events/a", JSON, body).with("content-encoding", "br");
    assert_eq!(send(&body).data(), BROTLI_PLAIN);
    for end in 1..body.len() {
        assert_eq!(send(&body[..end]).refused(), Code::BodyMalformed, "{end} bytes");
    }
    assert_eq!(send(&[&body[..], b"x"].concat()).refused(), Code::BodyMalformed);
    assert_eq!(send(b"{\"a\":1}").refused(), Code::BodyMalformed);
}

#[test]
fn a_brotli_bomb_is_refused_at_the_limit() {
    let sent = post("/v1/events/a", JSON, from_base64(BROTLI_BOMB))
        .with("content-encoding", "br")
        .limited(|limits| limits.body_bytes = "1MiB".parse().unwrap());
    assert_eq!(sent.refused(), Code::BodyTooLarge);
}

#[test]
fn a_brotli_window_is_as_large_as_what_may_come_out_or_four_mebibytes() {
    let sent = |first: u8, rest: &[u8]| {
        post("/v1/events/a", JSON, [&[first], rest].concat()).with("content-encoding", "br")
    };
    let body = from_base64(BROTLI);
    assert_eq!(body[0] & 0xf, 0xb, "it has a window of 4 MiB");
    for (bits, is_taken) in [(0xb, true), (0xd, false), (0xf, false)] {
        let sent = sent(body[0] & 0xf0 | bits, &body[1..]);
        if is_taken {
            assert_eq!(sent.data(), BROTLI_PLAIN);
        } else {
            assert_eq!(sent.refused(), Code::BodyTooLarge, "{bits}");
        }
    }
    // A hundred times as much as this may come out: what is wrong with it is something else.
    let large = sent(body[0] & 0xf0 | 0xf, &[0xff; 200_000]);
    assert_eq!(large.refused(), Code::BodyMalformed);
}

#[test]
fn a_body_grows_in_proportion_to_what_was_sent() {
    use crate::limits::{DECOMPRESSED_BYTES_FREE, DECOMPRESSION_RATIO};
    let free = usize::try_from(DECOMPRESSED_BYTES_FREE).unwrap();
    for (name, compress) in ALL {
        let plain = |len: usize| [b"\"", "x".repeat(len - 2).as_bytes(), b"\""].concat();
        let send = |body: Vec<u8>| {
            post("/v1/events/a", JSON, body)
                .with("content-encoding", name)
                .limited(|limits| limits.event_bytes = limits.body_bytes)
        };
        assert_eq!(
            send(compress(&plain(free))).event().data.root().raw().len(),
            free,
            "{name}"
        );
        let bomb = compress(&plain(8 * free));
        assert!(
            bomb.len() as u64 * DECOMPRESSION_RATIO < 8 * DECOMPRESSED_BYTES_FREE,
            "{name}"
        );
        assert_eq!(send(bomb).refused(), Code::BodyTooLarge, "{name}");
        // What compresses as data does passes at any size.
        let numbers: Vec<String> = (0..400_000_u32)
            .map(|n| n.wrapping_mul(2_654_435_761).to_string())
            .collect();
        let honest = format!("[{}]", numbers.join(","));
        assert_eq!(
            send(compress(honest.as_bytes())).event().data.root().raw().len(),
            honest.len(),
            "{name}"
        );
    }
    let brotli = post("/v1/events/a", JSON, from_base64(BROTLI_BOMB)).with("content-encoding", "br");
    assert_eq!(brotli.refused(), Code::BodyTooLarge);
}

#[test]
fn a_compressed_body_holds_a_thousand_events_or_as_many_as_it_has_bytes() {
    let lines = |count: usize| "1\n".repeat(count);
    let send = |name: &str, body: Vec<u8>| post("/v1/events/a", NDJSON, body).with("content-encoding", name);
    for (name, compress) in ALL {
        let fits = send(name, compress(lines(1000).as_bytes()));
        assert_eq!(fits.events().len(), 1000, "{name}");
        let over = send(name, compress(lines(1001).as_bytes()));
        assert_eq!(over.refused(), Code::TooManyEvents, "{name}");
        let list = format!("[{}1]", "1,".repeat(1000));
        let list = post("/v1/events", JSON, compress(list.as_bytes())).with("content-encoding", name);
        assert_eq!(list.refused(), Code::TooManyEvents, "{name}");
        let different: String = (0..3000_u32)
            .map(|n| format!("{}\n", n.wrapping_mul(2_654_435_761)))
            .collect();
        assert_eq!(
            send(name, compress(different.as_bytes())).events().len(),
            3000,
            "{name}"
        );
    }
    assert_eq!(post("/v1/events/a", NDJSON, lines(10_000)).events().len(), 10_000);
}
