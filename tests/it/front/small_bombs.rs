//! What is small as it is sent, and made to cost much: each a thousand times, held against a thousand ordinary requests.

use std::sync::Arc;

use flate2::Compression;
use serde_json::json;

use super::hostile::{AMPLIFICATION, BROTLI_BOMB, cost, gzip_as, members, with_any, zlib_as};
use crate::harness::gateway::{Answer, Gateway};

const TIMES: usize = 1000;
const SENDERS: usize = 4;
/// What the allocator keeps of what was freed.
const KEPT_BYTES: u64 = 16 << 20;
/// A brotli stream's window, of the largest size that is taken of anybody, and the buffer around it.
const WINDOW_BYTES: u64 = 8 << 20;

struct Bomb {
    name: &'static str,
    method: &'static str,
    partner: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    status: u16,
    code: Option<&'static str>,
    /// Held while it is under way, however small it is.
    held_bytes: u64,
}

impl Bomb {
    fn new(name: &'static str, path: impl Into<String>, body: impl Into<Vec<u8>>) -> Bomb {
        Bomb {
            name,
            method: "POST",
            partner: "p",
            path: path.into(),
            headers: Vec::new(),
            body: body.into(),
            status: 202,
            code: None,
            held_bytes: 0,
        }
    }

    fn holds(self, held_bytes: u64) -> Bomb {
        Bomb { held_bytes, ..self }
    }

    fn with(mut self, name: &str, value: impl Into<String>) -> Bomb {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    fn of(self, partner: &'static str) -> Bomb {
        Bomb { partner, ..self }
    }

    fn refused(self, status: u16, code: &'static str) -> Bomb {
        Bomb {
            status,
            code: Some(code),
            ..self
        }
    }

    /// About what goes over the wire.
    fn bytes(&self) -> u64 {
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len() + 4)
            .sum();
        (self.path.len() + headers + self.body.len() + 150) as u64
    }

    async fn send(&self, gateway: &Gateway) -> Answer {
        let method = self.method;
        let mut request = gateway.send(method, &self.path, self.partner);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if method == "POST" {
            request = request.body(self.body.clone());
        }
        Answer::read(request.send().await.expect("answered")).await
    }
}

const DATA: &str = "/v1/events/t";

fn gzip(plain: impl AsRef<[u8]>) -> Vec<u8> {
    gzip_as(Compression::best(), plain.as_ref())
}

fn zlib(plain: &[u8]) -> Vec<u8> {
    zlib_as(Compression::best(), plain)
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::encode_all(plain, 19).expect("memory takes all")
}

/// As much as may come out of however little; what is wrong with it stands at its end.
fn in_codings() -> Vec<Bomb> {
    let arrays = format!("[{}", "[],".repeat(21_000));
    let past = vec![b'1'; 10 << 20];
    let of = |name, coding: &str, body| Bomb::new(name, DATA, body).with("content-encoding", coding);
    let brotli = hex::decode(BROTLI_BOMB).expect("hexadecimal");
    // The same with the largest window that is taken of anybody.
    let mut windowed = brotli.clone();
    windowed[0] = 0xcb;
    vec![
        of("gzip", "gzip", gzip(&arrays)).refused(400, "json-malformed"),
        of("deflate", "deflate", zlib(arrays.as_bytes())).refused(400, "json-malformed"),
        of("zstd", "zstd", zstd(arrays.as_bytes())).refused(400, "json-malformed"),
        of("gzip past the bound", "gzip", gzip(&past)).refused(413, "body-too-large"),
        of("deflate past the bound", "deflate", zlib(&past)).refused(413, "body-too-large"),
        of("zstd past the bound", "zstd", zstd(&past)).refused(413, "body-too-large"),
        of("br with a window of 4 MiB", "br", windowed)
            .refused(413, "body-too-large")
            .holds(WINDOW_BYTES),
        of("br with a window of 16 MiB", "br", brotli).refused(413, "body-too-large"),
        of("many lines in gzip", "gzip", gzip("{\n".repeat(1000)))
            .with("content-type", "application/x-ndjson")
            .refused(422, "all-rejected"),
        of("more lines than bytes in gzip", "gzip", gzip("{\n".repeat(9_999)))
            .with("content-type", "application/x-ndjson")
            .refused(413, "too-many-events"),
        of("a gzip of many members", "gzip", gzip(b"1").repeat(400)).refused(400, "json-number-out-of-range"),
    ]
}

fn in_json() -> Vec<Bomb> {
    let nested = format!("{}1{}", "{\"a\":[".repeat(32), "]}".repeat(32));
    vec![
        Bomb::new("depth", DATA, "[".repeat(8000)).refused(400, "json-too-deep"),
        Bomb::new("depth that is allowed", DATA, nested),
        Bomb::new("width", DATA, format!("[{}1]", "[],".repeat(2600))),
        Bomb::new("duplicates", DATA, members(1000, |_| "a".to_owned()))
            .refused(400, "json-duplicate-member"),
        Bomb::new("members", DATA, members(900, |index| format!("m{index}"))),
        Bomb::new("digits", DATA, format!("0.{}1", "0".repeat(8000))),
        Bomb::new("escapes", DATA, format!("\"{}\"", "\\u0041".repeat(1300))),
    ]
}

fn in_heads() -> Vec<Bomb> {
    let mut many = Bomb::new("many headers", DATA, "1");
    for number in 0..80 {
        many = many.with(&format!("x-{number}"), "y");
    }
    let query = |name, query: String| Bomb {
        method: "GET",
        ..Bomb::new(name, format!("{DATA}?{query}"), "")
    };
    let each = |count: usize, text: &dyn Fn(usize) -> String| -> String {
        (0..count).map(text).collect::<Vec<String>>().join("&")
    };
    vec![
        many,
        Bomb::new("a large header", DATA, "1").with("x-large", "x".repeat(30_000)),
        Bomb::new("codings that are none", DATA, "1")
            .with("content-encoding", "identity,".repeat(3000) + "identity"),
        Bomb::new("preferences", DATA, "1").with("prefer", "a=b,".repeat(7000) + "c"),
        Bomb::new("baggage", DATA, "1").with("x-forwarded-for", "1.2.3.4,".repeat(3000) + "1.2.3.4"),
        query("members of a query", each(900, &|number| format!("m{number}=1"))),
        query("elements of a query", each(900, &|_| "a[]=1".to_owned())),
        query("depth of a query", format!("a{}=1", "[b]".repeat(60))),
        query("too deep a query", format!("a{}=1", "[b]".repeat(2000))).refused(400, "query-malformed"),
        query("too wide a query", each(2000, &|_| "a[]".to_owned())).refused(400, "query-malformed"),
        query("escapes of a query", format!("a={}", "%41".repeat(2500))),
    ]
}

fn in_envelopes() -> Vec<Bomb> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let track = |name, events: &str| {
        let body = format!("data={}", STANDARD.encode(events).replace('+', "%2B"));
        Bomb::new(name, "/track", body)
            .with("content-type", "application/x-www-form-urlencoded")
            .of("mixpanel")
    };
    let batch = |name, body: Vec<u8>| Bomb::new(name, "/v1/batch", body).of("segment");
    vec![
        batch(
            "an envelope in a gzip that nobody announced",
            gzip(format!("{{\"batch\":[{}", "[],".repeat(21_000))),
        )
        .refused(400, "json-malformed"),
        batch(
            "more events than bytes in such",
            gzip(format!("{{\"batch\":[{}1]}}", "1,".repeat(9_990))),
        )
        .refused(413, "too-many-events"),
        batch("an envelope past the bound", gzip(vec![b'1'; 10 << 20])).refused(413, "body-too-large"),
        batch(
            "depth in an envelope",
            ["{\"batch\":", &"[".repeat(8000)].concat().into_bytes(),
        )
        .refused(400, "json-too-deep"),
        batch(
            "empty events in an envelope",
            format!("{{\"batch\":[{}{{}}]}}", "{},".repeat(990)).into_bytes(),
        )
        .refused(422, "all-rejected"),
        track("depth in base64", &"[".repeat(6000)).refused(400, "json-too-deep"),
        track("numbers in base64", &format!("[{}1]", "1,".repeat(990))).refused(422, "all-rejected"),
        Bomb::new("a form of empty fields", "/track", "&".repeat(8000))
            .with("content-type", "application/x-www-form-urlencoded")
            .of("mixpanel")
            .refused(400, "body-malformed"),
        Bomb::new(
            "a form that escapes all of it",
            "/track",
            format!("%64%61%74%61={}", "%5B".repeat(2600)),
        )
        .with("content-type", "application/x-www-form-urlencoded")
        .of("mixpanel")
        .refused(400, "json-too-deep"),
    ]
}

/// CPU time of all of them, and the memory that they added to what was held, as much as was held at one time.
async fn sent(gateway: &Arc<Gateway>, bomb: Bomb) -> (u64, u64) {
    let bomb = Arc::new(bomb);
    let before = cost(gateway);
    let senders = (0..SENDERS).map(|_| {
        let (gateway, bomb) = (Arc::clone(gateway), Arc::clone(&bomb));
        tokio::spawn(async move {
            for _ in 0..TIMES / SENDERS {
                let answer = bomb.send(&gateway).await;
                let found = serde_json::from_str::<serde_json::Value>(&answer.text).unwrap_or_default();
                assert_eq!(
                    (answer.status, found["code"].as_str()),
                    (bomb.status, bomb.code),
                    "{}: {:.300}",
                    bomb.name,
                    answer.text
                );
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.expect("sent");
    }
    let after = cost(gateway);
    (
        after.cpu_ms - before.cpu_ms,
        after.peak_bytes.saturating_sub(before.peak_bytes),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_small_bombs_cost_less_than_a_hundred_times_what_is_ordinary() {
    let mut gateway = with_any("").await;
    for envelope in ["segment", "mixpanel"] {
        gateway.partner(envelope, json!({"envelope": envelope})).await;
    }
    let gateway = Arc::new(gateway);
    let ordinary = || {
        Bomb::new(
            "ordinary",
            DATA,
            format!("{{\"name\":\"{}\",\"n\":[1,2,3]}}", "x".repeat(300)),
        )
    };
    let ordinary_bytes = ordinary().bytes();
    // Once for what is made at first use.
    sent(&gateway, ordinary()).await;
    let (ordinary_ms, _) = sent(&gateway, ordinary()).await;
    for bomb in [in_codings(), in_json(), in_heads(), in_envelopes()]
        .into_iter()
        .flatten()
    {
        let (name, bytes, held_bytes) = (bomb.name, bomb.bytes(), bomb.held_bytes);
        assert!(bytes < 40_000, "{name} is not small: {bytes}");
        let (cpu_ms, grown) = sent(&gateway, bomb).await;
        println!(
            "{name}: {bytes} bytes, {cpu_ms} ms of {ordinary_ms}, {} KiB",
            grown >> 10
        );
        let times = bytes.div_ceil(ordinary_bytes);
        assert!(
            cpu_ms < AMPLIFICATION * ordinary_ms.max(10) * times,
            "{name}: {cpu_ms} ms, where {TIMES} ordinary requests take {ordinary_ms} ms"
        );
        let allowed = (AMPLIFICATION * bytes + held_bytes) * SENDERS as u64 + KEPT_BYTES;
        assert!(
            grown < allowed,
            "{name}: {grown} bytes held, {allowed} are allowed"
        );
    }
}
