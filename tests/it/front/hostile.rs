//! Bodies that are made to harm: each gets its answer, and costs in proportion to what was sent. Time is the CPU time of
//! the gateway's process, memory the highest that it held.

use std::io::{Read as _, Write as _};

use serde_json::{Value, json};

use crate::harness::{
    gateway::{Answer, Gateway, Options},
    long,
};

/// Promised: what is hostile costs less than so many times what is ordinary, byte by byte.
pub(super) const AMPLIFICATION: u64 = 100;
/// Memory that is held whatever comes: worker threads' buffers, arenas of the allocator.
const MEMORY_FLOOR_BYTES: u64 = 64 << 20;
/// CPU time below this says nothing in a build that is not optimized.
const CPU_FLOOR_MS: u64 = 1500;

pub(super) async fn with_any(configuration: &str) -> Gateway {
    let mut gateway = Gateway::start_with(Options {
        configuration: configuration.to_owned(),
        ..Options::default()
    })
    .await;
    gateway.partner("p", json!({})).await;
    gateway.put("/v1/schemas/t/1.0.0", json!({})).await;
    let route = json!({"match": {"type": "*"}, "to": [{"destination": "files", "topic": "t"}]});
    gateway.put("/v1/routes/t", route).await;
    gateway
}

struct Sent {
    path: &'static str,
    content_type: &'static str,
    encoding: Option<&'static str>,
    body: Vec<u8>,
}

impl Sent {
    fn data(body: impl Into<Vec<u8>>) -> Sent {
        Sent {
            path: "/v1/events/t",
            content_type: "application/json",
            encoding: None,
            body: body.into(),
        }
    }

    fn lines(body: impl Into<Vec<u8>>) -> Sent {
        Sent {
            content_type: "application/x-ndjson",
            ..Sent::data(body)
        }
    }

    fn events(body: impl Into<Vec<u8>>) -> Sent {
        Sent {
            path: "/v1/events",
            ..Sent::data(body)
        }
    }

    fn encoded(encoding: &'static str, body: Vec<u8>) -> Sent {
        Sent {
            encoding: Some(encoding),
            ..Sent::data(body)
        }
    }

    async fn to(self, gateway: &Gateway) -> Answer {
        let mut request = gateway
            .send("POST", self.path, "p")
            .header("content-type", self.content_type)
            .body(self.body);
        if let Some(encoding) = self.encoding {
            request = request.header("content-encoding", encoding);
        }
        Answer::read(request.send().await.expect("answered")).await
    }
}

/// 64 MiB of zeros.
pub(super) const BROTLI_BOMB: &str =
    "cfffff7f002400e2b14072effff9ffff0f8004401c1680eefd3fffffff01900088c302d0bdffcfffff7f001200715800baf7ff";

fn zeros(compress: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
    compress(&vec![b'0'; 100 << 20])
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    gzip_as(flate2::Compression::fast(), plain)
}

pub(super) fn gzip_as(level: flate2::Compression, plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
    encoder.write_all(plain).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

fn zlib(plain: &[u8]) -> Vec<u8> {
    zlib_as(flate2::Compression::fast(), plain)
}

pub(super) fn zlib_as(level: flate2::Compression, plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
    encoder.write_all(plain).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

pub(super) fn members(count: usize, name: impl Fn(usize) -> String) -> String {
    let members: Vec<String> = (0..count).map(|index| format!("\"{}\":1", name(index))).collect();
    format!("{{{}}}", members.join(","))
}

fn form(text: &str) -> Sent {
    Sent {
        content_type: "application/x-www-form-urlencoded",
        ..Sent::data(text)
    }
}

/// What is sent, and the status and code that it is answered with.
#[expect(clippy::too_many_lines, reason = "a table")]
fn hostile() -> Vec<(&'static str, Sent, u16, &'static str)> {
    let brotli = hex::decode(BROTLI_BOMB).expect("hexadecimal");
    let mut depth_in_lines = "[".repeat(1_000_000);
    depth_in_lines.push('\n');
    vec![
        (
            "gzip bomb",
            Sent::encoded("gzip", zeros(gzip)),
            413,
            "body-too-large",
        ),
        (
            "deflate bomb",
            Sent::encoded("deflate", zeros(zlib)),
            413,
            "body-too-large",
        ),
        ("br bomb", Sent::encoded("br", brotli), 413, "body-too-large"),
        (
            "zstd bomb",
            Sent::encoded(
                "zstd",
                zeros(|plain| zstd::encode_all(plain, 1).expect("memory takes all")),
            ),
            413,
            "body-too-large",
        ),
        ("depth", Sent::data("[".repeat(4_000_000)), 400, "json-too-deep"),
        (
            "depth of objects",
            Sent::data("{\"a\":".repeat(1_000_000)),
            400,
            "json-too-deep",
        ),
        (
            "depth in a line",
            Sent::lines(depth_in_lines),
            422,
            "all-rejected",
        ),
        (
            "width",
            Sent::data(format!("[{}1]", "1,".repeat(4_000_000))),
            413,
            "event-too-large",
        ),
        (
            "empty arrays",
            Sent::data(format!("[{}1]", "[],".repeat(3_000_000))),
            413,
            "event-too-large",
        ),
        (
            "many members",
            Sent::data(members(1_000_000, |index| format!("m{index}"))),
            413,
            "event-too-large",
        ),
        (
            "a million duplicates",
            Sent::data(members(1_000_000, |_| "a".to_owned())),
            400,
            "json-duplicate-member",
        ),
        (
            "duplicates at the end",
            Sent::data(members(1_000_000, |index| format!("m{}", index.min(999_998)))),
            400,
            "json-duplicate-member",
        ),
        (
            "a number of 10 MB",
            Sent::data("1".repeat(10_000_000)),
            400,
            "json-number-out-of-range",
        ),
        (
            "a fraction of 10 MB",
            Sent::data(format!("0.{}1", "0".repeat(10_000_000))),
            413,
            "event-too-large",
        ),
        (
            "an exponent of 10 MB",
            Sent::data(format!("1e{}", "9".repeat(10_000_000))),
            400,
            "json-number-out-of-range",
        ),
        (
            "escapes",
            Sent::data(format!("\"{}\"", "\\u0041".repeat(2_000_000))),
            413,
            "event-too-large",
        ),
        (
            "invalid UTF-8",
            Sent::data(*b"{\"a\":\"\xff\xfe\"}"),
            400,
            "utf8-invalid",
        ),
        (
            "overlong UTF-8",
            Sent::data(*b"\"\xc0\xaf\""),
            400,
            "utf8-invalid",
        ),
        ("a NUL", Sent::data(*b"{\"a\":\0}"), 400, "json-malformed"),
        ("a NUL in a string", Sent::data(*b"\"\0\""), 400, "json-malformed"),
        (
            "a byte order mark",
            Sent::data(*b"\xef\xbb\xbf{}"),
            400,
            "json-malformed",
        ),
        (
            "a lone surrogate",
            Sent::data("\"\\ud800\""),
            400,
            "json-lone-surrogate",
        ),
        ("UTF-16", Sent::data(*b"\xff\xfe{\0}\0"), 400, "utf8-invalid"),
        ("lines of CR alone", Sent::lines("1\r2\r3\r"), 422, "all-rejected"),
        (
            "empty lines",
            Sent::lines("\n".repeat(8_000_000)),
            400,
            "no-events",
        ),
        (
            "lines of spaces",
            Sent::lines(" \t\r\n".repeat(2_000_000)),
            400,
            "no-events",
        ),
        (
            "more lines than events",
            Sent::lines("1\n".repeat(1_000_000)),
            413,
            "too-many-events",
        ),
        (
            "more elements than events",
            Sent::events(format!("[{}1]", "1,".repeat(1_000_000))),
            413,
            "too-many-events",
        ),
        (
            "elements that are no events",
            Sent::events(format!("[{}1]", "1,".repeat(9_999))),
            422,
            "all-rejected",
        ),
        ("nothing", Sent::data(" "), 400, "no-events"),
        ("NULs", Sent::data(vec![0; 4_000_000]), 400, "json-malformed"),
        (
            "lines of NULs",
            Sent::lines(b"\0\n".repeat(9_999)),
            422,
            "all-rejected",
        ),
        ("CR alone", Sent::lines("\r".repeat(8_000_000)), 400, "no-events"),
        (
            "a byte order mark before lines",
            Sent::lines(*b"\xef\xbb\xbf1\n"),
            422,
            "all-rejected",
        ),
        (
            "a million duplicates in a line",
            Sent::lines(members(1_000_000, |_| "a".to_owned()) + "\n"),
            422,
            "all-rejected",
        ),
        (
            "a number of 10 MB in a line",
            Sent::lines("1".repeat(10_000_000) + "\n"),
            422,
            "all-rejected",
        ),
        (
            "a number of 10 MB in a list",
            Sent::events(format!(
                "[{{\"type\":\"t\",\"data\":{}}}]",
                "1".repeat(10_000_000)
            )),
            422,
            "all-rejected",
        ),
        (
            "a form of a million members",
            form(&"a=1&".repeat(1_000_000)),
            400,
            "query-malformed",
        ),
        (
            "a form of brackets",
            form(&format!("a{}=1", "[b]".repeat(1_000_000))),
            400,
            "query-malformed",
        ),
        (
            "a form of 10 MB in one value",
            form(&format!("a={}", "1".repeat(10_000_000))),
            413,
            "event-too-large",
        ),
        (
            "a form of NULs",
            form(&"%00".repeat(1_000_000)),
            413,
            "event-too-large",
        ),
        (
            "a form that is no UTF-8",
            form("a=%ff%fe"),
            400,
            "query-malformed",
        ),
    ]
}

pub(super) struct Cost {
    pub(super) cpu_ms: u64,
    pub(super) peak_bytes: u64,
}

/// CPU time so far, and the highest memory since the last call.
pub(super) fn cost(gateway: &Gateway) -> Cost {
    let pid = gateway.pid();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("readable");
    let (_, fields) = stat.rsplit_once(") ").expect("a name in brackets");
    let field = |index: usize| {
        fields
            .split(' ')
            .nth(index)
            .and_then(|text| text.parse::<u64>().ok())
    };
    // Ticks of 10 ms.
    let cpu_ms = 10 * (field(11).expect("utime") + field(12).expect("stime"));
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("readable");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("the mark can be reset");
    Cost {
        cpu_ms,
        peak_bytes: peak.expect("VmHWM") << 10,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_to_harm_is_answered_and_costs_little() {
    let gateway = with_any("").await;
    // An ordinary batch says what a byte costs.
    let ordinary = format!("{{\"name\":\"{}\",\"n\":[1,2,3],\"ok\":true}}\n", "x".repeat(400)).repeat(2_000);
    let ordinary_bytes = ordinary.len() as u64;
    assert_eq!(Sent::lines(ordinary.clone()).to(&gateway).await.status, 202);
    let before = cost(&gateway);
    assert_eq!(Sent::lines(ordinary).to(&gateway).await.status, 202);
    let after = cost(&gateway);
    let ordinary_ms = (after.cpu_ms - before.cpu_ms).max(10);
    for (name, sent, status, code) in hostile() {
        let sent_bytes = sent.body.len() as u64;
        let before = cost(&gateway);
        let answer = sent.to(&gateway).await;
        let after = cost(&gateway);
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (status, Some(code)),
            "{name}: {}",
            answer.text
        );
        let cpu_ms = after.cpu_ms - before.cpu_ms;
        let cpu_allowed = (AMPLIFICATION * ordinary_ms * sent_bytes / ordinary_bytes).max(CPU_FLOOR_MS);
        assert!(
            cpu_ms <= cpu_allowed,
            "{name}: {cpu_ms} ms for {sent_bytes} bytes, {cpu_allowed} are allowed"
        );
        let grown = after.peak_bytes.saturating_sub(before.peak_bytes);
        let allowed = (AMPLIFICATION * sent_bytes).min(512 << 20) + MEMORY_FLOOR_BYTES;
        assert!(
            grown <= allowed,
            "{name}: {grown} bytes held for {sent_bytes} sent, {allowed} are allowed"
        );
        assert!(
            answer.text.len() as u64 <= AMPLIFICATION * sent_bytes + 4096,
            "{name}: an answer of {} bytes",
            answer.text.len()
        );
    }
    // The gateway is as good as before.
    assert_eq!(Sent::data("1").to(&gateway).await.status, 202);
}

/// The largest body that a gateway takes that nobody has set up, delivered for good.
#[tokio::test(flavor = "multi_thread")]
async fn one_bad_line_in_the_largest_body_is_named() {
    const LINES: usize = 10_000;
    const BODY_BYTES: usize = 16 << 20;
    let gateway = with_any("").await;
    let line_bytes = BODY_BYTES / LINES;
    let frame = "{\"n\":\"\"}\n".len();
    let mut body = String::with_capacity(BODY_BYTES);
    let mut offset = 0;
    for index in 0..LINES {
        if index == LINES / 2 {
            offset = body.len();
            body.push_str("{\"n\":}\n");
        } else {
            body.push_str(&format!("{{\"n\":\"{}\"}}\n", "x".repeat(line_bytes - frame)));
        }
    }
    body.push_str(&" ".repeat(BODY_BYTES - body.len()));
    let answer = Sent::lines(body).to(&gateway).await.expect(207);
    assert_eq!(
        (&answer["accepted"], &answer["rejected"]),
        (&json!(LINES - 1), &json!(1))
    );
    let results = answer["results"].as_array().expect("a list");
    assert_eq!(results.len(), 1);
    assert_eq!(results[0]["index"], LINES / 2);
    assert_eq!(results[0]["code"], "json-malformed");
    let detail = results[0]["detail"].as_str().expect("a text");
    let place = format!("at line {}, column 6 (byte {})", LINES / 2 + 1, offset + 5);
    assert!(detail.contains(&place), "{detail}: not {place}");
    gateway.wait_for_records("t", LINES - 1).await;
    // One byte more is too much; that is said before any of it has come.
    let answer = answer_to_head(&gateway, BODY_BYTES + 1);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("\"code\":\"body-too-large\""), "{answer}");
}

/// The answer to a request whose body is announced and never sent.
fn answer_to_head(gateway: &Gateway, length: usize) -> String {
    let mut stream = std::net::TcpStream::connect(gateway.data_address()).expect("it listens");
    write!(
        stream,
        "POST /v1/events/t HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {}\r\n\
         content-type: application/x-ndjson\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n",
        gateway.key("p")
    )
    .expect("it is sent");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .expect("it is answered and closed");
    answer
}

/// One bad line in the middle of many: its index, and where it stands in the body.
#[tokio::test(flavor = "multi_thread")]
async fn one_bad_line_among_many_is_named() {
    let count = if long() { 1_000_000 } else { 40_000 };
    let limits = "[limits]\nevents_per_request = 2000000\nbody_bytes = \"64MiB\"\n";
    let gateway = with_any(limits).await;
    let mut body = String::new();
    let mut offset = 0;
    for index in 0..count {
        if index == count / 2 {
            offset = body.len();
            body.push_str("{\"n\":}\n");
        } else {
            body.push_str("{\"n\":1}\n");
        }
    }
    let sent = Sent {
        path: "/v1/events/t?dry_run=true",
        ..Sent::lines(body)
    };
    let answer = sent.to(&gateway).await.expect(200);
    assert_eq!(answer["accepted"], count - 1, "{}", answer["rejected"]);
    let results = answer["results"].as_array().expect("a list");
    assert_eq!(results.len(), 1);
    assert_eq!(results[0]["index"], count / 2);
    assert_eq!(results[0]["code"], "json-malformed");
    let detail = results[0]["detail"].as_str().expect("a text");
    let place = format!("at line {}, column 6 (byte {})", count / 2 + 1, offset + 5);
    assert!(detail.contains(&place), "{detail}: not {place}");
}

#[tokio::test(flavor = "multi_thread")]
async fn good_and_bad_are_told_apart_in_every_form() {
    let gateway = with_any("").await;
    let event = |data: &[u8]| [b"{\"type\":\"t\",\"data\":", data, b"}"].concat();
    let deep = format!("{}{}", "[".repeat(80), "]".repeat(80));
    let duplicates = members(50_000, |_| "a".to_owned());
    let large = "1".repeat(5_000_000);
    let bad: [(&[u8], &str); 11] = [
        (b"{\"a\":1,\"a\":2}", "json-duplicate-member"),
        (duplicates.as_bytes(), "json-duplicate-member"),
        (b"1e999", "json-number-out-of-range"),
        (large.as_bytes(), "json-number-out-of-range"),
        (b"\"\\udc00\"", "json-lone-surrogate"),
        (b"\"\xff\"", "utf8-invalid"),
        (b"\"\xc0\xaf\"", "utf8-invalid"),
        (b"\"\0\"", "json-malformed"),
        (b"\"\x1f\"", "json-malformed"),
        (b"\"\\q\"", "json-malformed"),
        (deep.as_bytes(), "json-too-deep"),
    ];
    // What compresses too well is refused for that alone.
    let stored = flate2::Compression::none();
    for (data, code) in bad {
        let (one, at_fault, two) = (event(b"1"), event(data), event(b"2"));
        let array = [b"[", &*one, b",", &*at_fault, b",", &*two, b"]"].concat();
        // Between them lines without an event, and line ends of both kinds.
        let lines = [&*one, b"\r\n \t\r\n", &*at_fault, b"\n\n\r\n", &*two].concat();
        let batch = "application/cloudevents-batch+json";
        let lists = ["application/json", batch].map(|content_type| Sent {
            content_type,
            ..Sent::events(array.clone())
        });
        let lines = [
            Sent {
                content_type: "application/x-ndjson",
                ..Sent::events(lines)
            },
            Sent::lines([b"1\n", data, b"\r\n\n2\n"].concat()),
            Sent {
                encoding: Some("gzip"),
                ..Sent::lines(gzip_as(stored, &[b"1\n", data, b"\n2"].concat()))
            },
        ];
        // Where an element of a list ends is not certain any more once its JSON is broken.
        let is_broken = code == "json-malformed";
        let mut told_apart: Vec<Sent> = lines.into();
        for list in lists {
            if is_broken {
                assert_eq!(list.to(&gateway).await.expect(400)["code"], code);
            } else {
                told_apart.push(list);
            }
        }
        for sent in told_apart {
            let content_type = sent.content_type;
            let answer: Value = sent.to(&gateway).await.expect(207);
            assert_eq!(
                (&answer["accepted"], &answer["rejected"]),
                (&json!(2), &json!(1)),
                "{content_type} {code}"
            );
            assert_eq!(answer["results"][0]["index"], 1, "{content_type}");
            assert_eq!(answer["results"][0]["code"], code, "{content_type}");
        }
    }
    // One form, one event.
    let form = Sent {
        content_type: "application/x-www-form-urlencoded",
        ..Sent::data("a=1&a[b]=2")
    };
    assert_eq!(form.to(&gateway).await.expect(400)["code"], "query-malformed");
    let missing = Sent::events([b"[", &*event(b"1"), b",{\"type\":\"t\"},{\"data\":1}]"].concat());
    let answer = missing.to(&gateway).await.expect(207);
    let codes: Vec<_> = answer["results"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|item| &item["code"])
        .collect();
    assert_eq!(codes, ["data-missing", "type-missing"]);
}
