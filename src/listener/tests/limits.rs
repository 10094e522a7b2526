//! Sizes and times.

use std::time::{Duration, Instant};

use super::{Code, Gateway, Settings, settings};

fn impatient() -> Settings {
    let mut settings = settings();
    settings.limits.header_time_s = 1;
    settings.limits.body_idle_s = 2;
    settings.rate_window = Duration::from_secs(2);
    settings.keep_alive = Duration::from_secs(4);
    settings
}

fn small() -> Settings {
    let mut settings = settings();
    settings.limits.body_bytes = "100KiB".parse().unwrap();
    settings
}

#[tokio::test]
async fn a_declared_body_that_is_too_large_is_refused_unread() {
    let gateway = Gateway::start(small());
    let mut client = gateway.connect().await;
    client
        .write("POST /one HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 102401\r\n\r\n")
        .await;
    let response = client.response().await;
    response.is_problem(Code::BodyTooLarge);
    assert_eq!(response.header("connection"), Some("close"));
    assert_eq!(gateway.requests(), 0);
}

#[tokio::test]
async fn a_chunked_body_that_grows_too_large_is_refused_and_the_sender_gets_to_know() {
    let gateway = Gateway::start(small());
    let mut client = gateway.connect().await;
    client
        .write("POST /one HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    let chunk = format!("2000\r\n{}\r\n", "x".repeat(0x2000));
    for _ in 0..200 {
        client.try_write(&chunk).await;
    }
    client.response().await.is_problem(Code::BodyTooLarge);
    assert!(client.is_closed().await);
    assert_eq!(gateway.requests(), 0);
}

#[tokio::test]
async fn a_body_of_the_limit_is_taken_in_any_pieces() {
    let gateway = Gateway::start(small());
    let body = format!("count {}", "x".repeat(100 * 1024 - 6));
    let response = gateway.post("/many", &body).await;
    assert_eq!(response.status, 207);
    assert_eq!(response.body["results"][0]["detail"], "102400 bytes");
    let chunks: String = body
        .as_bytes()
        .chunks(777)
        .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk)))
        .collect();
    let request =
        format!("POST /many HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n");
    let response = gateway.send(&request).await;
    assert_eq!(response.body["results"][0]["detail"], "102400 bytes");
}

#[tokio::test]
async fn expect_100_continue_is_honoured() {
    let gateway = Gateway::start(settings());
    let mut client = gateway.connect().await;
    client
        .write("POST /one HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 8\r\n\r\n")
        .await;
    assert_eq!(client.response().await.status, 100);
    client.write("accepted").await;
    assert_eq!(client.response().await.status, 202);
}

#[tokio::test]
async fn headers_and_uri_are_bounded() {
    let gateway = Gateway::start(settings());
    let with_header =
        |bytes: usize| format!("GET /one HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "x".repeat(bytes));
    let with_uri = |bytes: usize| format!("GET /one?{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(bytes - 5));
    assert_eq!(gateway.send(&with_header(40_000)).await.status, 202);
    for bytes in [40 * 1024, 100_000, 1 << 20] {
        let mut client = gateway.connect().await;
        client.try_write(with_header(bytes)).await;
        client.response().await.is_problem(Code::HeadersTooLarge);
    }
    assert_eq!(gateway.send(&with_uri(8 * 1024)).await.status, 202);
    for bytes in [8 * 1024 + 1, 50_000, 100_000, 1 << 20] {
        let mut client = gateway.connect().await;
        client.try_write(with_uri(bytes)).await;
        client.response().await.is_problem(Code::UriTooLong);
    }
    let many: String = (0..200).map(|n| format!("h{n}: x\r\n")).collect();
    let response = gateway
        .send(&format!("GET /one HTTP/1.1\r\nHost: x\r\n{many}\r\n"))
        .await;
    response.is_problem(Code::HeadersTooLarge);
}

#[tokio::test]
async fn requests_that_are_no_http_are_refused() {
    let gateway = Gateway::start(settings());
    for request in [
        "POST /one HTTP/1.1\r\nContent-Length: 1\r\n\r\nx",
        "POST /one HTTP/1.1\r\nHost: x\r\nHost: y\r\nContent-Length: 1\r\n\r\nx",
        "POST /one HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        "POST /one HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\nx",
        "POST /one HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        "POST /one HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        "POST /one HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /one HTTP/1.1\r\nHost: x\r\nContent-Length : 1\r\n\r\nx",
        "POST /one HTTP/1.1\r\nHost: x\r\n folded: 1\r\n\r\n",
        "POST /o ne HTTP/1.1\r\nHost: x\r\n\r\n",
        "nonsense\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\r\n\r\n",
    ] {
        let mut client = gateway.connect().await;
        client.write(request).await;
        client.response().await.is_problem(Code::HttpMalformed);
        assert!(client.is_closed().await, "{request}");
    }
    assert_eq!(gateway.requests(), 0);
    let old = gateway
        .send("POST /one HTTP/1.0\r\nContent-Length: 8\r\n\r\naccepted")
        .await;
    assert_eq!(old.status, 202);
}

#[tokio::test]
async fn what_others_would_read_differently_is_refused_whole() {
    let gateway = Gateway::start(settings());
    let smuggled = "0\r\n\r\nPOST /one HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\naccepted";
    for head in [
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Content-Length: 5\n",
        "A: b\r\n folded\r\n",
    ] {
        let mut client = gateway.connect().await;
        client
            .write(format!("POST /one HTTP/1.1\r\nHost: x\r\n{head}\r\n{smuggled}"))
            .await;
        client.response().await.is_problem(Code::HttpMalformed);
        assert!(client.is_closed().await, "{head}");
    }
    assert_eq!(gateway.requests(), 0);
}

#[tokio::test]
async fn a_request_before_a_malformed_one_is_answered_first() {
    let gateway = Gateway::start(settings());
    let mut client = gateway.connect().await;
    client
        .write(
            [
                super::post("/one", "sleep 300"),
                "POST /one HTTP/1.1\nHost: x\r\n\r\n".to_owned(),
            ]
            .concat(),
        )
        .await;
    assert_eq!(client.response().await.status, 202);
    client.response().await.is_problem(Code::HttpMalformed);
    assert!(client.is_closed().await);
    assert_eq!(gateway.requests(), 1);
}

#[tokio::test]
async fn chunks_that_are_not_what_they_say_end_the_request() {
    let gateway = Gateway::start(settings());
    for chunks in [
        "3\nacc\r\n",
        "3\r\naccepted\r\n",
        "ffffffffffffffff1\r\n",
        "0x3\r\nacc\r\n",
    ] {
        let mut client = gateway.connect().await;
        client
            .write(format!(
                "POST /one HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"
            ))
            .await;
        client.response().await.is_problem(Code::HttpMalformed);
        assert!(client.is_closed().await, "{chunks}");
    }
    assert_eq!(gateway.requests(), 0);
}

#[tokio::test]
async fn an_endless_line_is_answered_before_it_ends() {
    let gateway = Gateway::start(settings());
    for (begin, expected) in [
        ("GET /", Code::UriTooLong),
        ("GET / HTTP/1.1\r\nHost: x\r\nA: ", Code::HeadersTooLarge),
    ] {
        let mut client = gateway.connect().await;
        client.write(begin).await;
        for _ in 0..200 {
            client.try_write("x".repeat(4096)).await;
        }
        client.response().await.is_problem(expected);
        assert!(client.is_closed().await);
    }
}

#[tokio::test]
async fn a_slow_header_section_is_answered_408() {
    let gateway = Gateway::start(impatient());
    let mut client = gateway.connect().await;
    let began = Instant::now();
    client.write("POST /one HTTP/1.1\r\nHost:").await;
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        client.try_write("x").await;
    }
    client.response().await.is_problem(Code::RequestTimeout);
    assert!(client.is_closed().await);
    assert!(began.elapsed() < Duration::from_secs(10));

    // On a connection that has served before, too.
    let mut client = gateway.connect().await;
    client.write(super::post("/one", "accepted")).await;
    assert_eq!(client.response().await.status, 202);
    client.write("POST /one HTTP/1.1\r\n").await;
    client.response().await.is_problem(Code::RequestTimeout);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn connections_may_rest_longer_than_a_header_section_may_take() {
    let gateway = Gateway::start(impatient());
    let mut client = gateway.connect().await;
    client.write(super::post("/one", "accepted")).await;
    assert_eq!(client.response().await.status, 202);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    client.write(super::post("/one", "accepted")).await;
    assert_eq!(client.response().await.status, 202);
    let began = Instant::now();
    assert!(client.is_closed().await, "but not for ever, and without a word");
    assert!(began.elapsed() > Duration::from_secs(2));
    let mut silent = gateway.connect().await;
    assert!(silent.is_closed().await);
}

#[tokio::test]
async fn a_pipeline_that_takes_its_time_is_waited_for() {
    let gateway = Gateway::start(impatient());
    let response = gateway.post("/one", "sleep 5000").await;
    assert_eq!(response.status, 202);
}

#[tokio::test]
async fn a_body_that_stops_is_answered_408() {
    let gateway = Gateway::start(impatient());
    let mut client = gateway.connect().await;
    client
        .write("POST /one HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nacc")
        .await;
    client.response().await.is_problem(Code::RequestTimeout);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_body_that_trickles_is_answered_408_and_a_steady_one_is_taken() {
    let gateway = Gateway::start(impatient());
    let mut client = gateway.connect().await;
    client
        .write("POST /one HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n")
        .await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2500) {
        client.try_write("x").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    client.response().await.is_problem(Code::RequestTimeout);

    let mut client = gateway.connect().await;
    client
        .write("POST /one HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n")
        .await;
    for _ in 0..20 {
        client.write("x".repeat(500)).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(client.response().await.status, 202);
}

#[tokio::test]
async fn a_sender_who_goes_away_costs_nothing() {
    let gateway = Gateway::start(settings());
    for part in [
        "",
        "POST /one",
        "POST /one HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nacc",
    ] {
        let mut client = gateway.connect().await;
        client.write(part).await;
    }
    assert_eq!(gateway.post("/one", "accepted").await.status, 202);
    assert_eq!(gateway.requests(), 1);
}

#[tokio::test]
async fn requests_are_shed_while_work_waits_too_long() {
    let mut settings = settings();
    // Every wait is too long.
    settings.queue_time = Duration::ZERO;
    let gateway = Gateway::start(settings);
    let began = Instant::now();
    let response = loop {
        let response = gateway.post("/one", "accepted").await;
        if response.status != 202 {
            break response;
        }
        assert!(began.elapsed() < Duration::from_secs(5), "nothing is shed");
    };
    response.is_problem(Code::Overloaded);
    assert!(response.header("retry-after").is_some());
    let taken = gateway.requests();
    gateway
        .post("/one", "accepted")
        .await
        .is_problem(Code::Overloaded);
    assert_eq!(gateway.requests(), taken, "nothing of it was taken");
}
