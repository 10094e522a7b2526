//! Many connections, HTTP/2, and the end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::{Bytes, Code, Gateway, post, settings};
use crate::{config::ForwardedHeader, listener::Proxies, telemetry::HttpNumbers};

#[tokio::test]
async fn requests_follow_each_other_on_one_connection() {
    let gateway = Gateway::start(settings());
    let mut client = gateway.connect().await;
    client
        .write([post("/one", "accepted"), post("/one", "duplicate")].concat())
        .await;
    assert_eq!(client.response().await.body["status"], "accepted");
    assert_eq!(client.response().await.body["status"], "duplicate");
    client
        .write([post("/one", "accepted"), "nonsense\r\n\r\n".to_owned()].concat())
        .await;
    assert_eq!(client.response().await.status, 202);
    client.response().await.is_problem(Code::HttpMalformed);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn an_unread_body_ends_the_connection_and_not_the_response() {
    let gateway = Gateway::start(settings());
    let mut client = gateway.connect().await;
    client
        .write("POST /refuse/key-missing HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        .await;
    client.try_write("x".repeat(1_000_000)).await;
    let response = client.response().await;
    response.is_problem(Code::KeyMissing);
    assert_eq!(response.header("connection"), Some("close"));
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn one_address_does_not_take_all_connections() {
    let mut settings = settings();
    settings.limits.connections_per_address = 1;
    let gateway = Gateway::start(settings);
    let mut first = gateway.connect().await;
    first.write(post("/one", "accepted")).await;
    assert_eq!(first.response().await.status, 202);
    let mut second = gateway.connect().await;
    second.write(post("/one", "accepted")).await;
    second.response().await.is_problem(Code::Overloaded);
    let from_another = tokio::net::TcpSocket::new_v4().unwrap();
    from_another.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = super::Client {
        stream: from_another.connect(gateway.address).await.unwrap(),
        read: Vec::new(),
    };
    other.write(post("/one", "accepted")).await;
    assert_eq!(other.response().await.status, 202);
}

/// Behind a proxy that says who opened a connection, that one is counted, and told the same.
#[tokio::test]
async fn one_address_behind_a_proxy_is_told_so_too() {
    let mut settings = settings();
    settings.limits.connections_per_address = 1;
    let proxies = ["127.0.0.1/32".parse().unwrap()];
    settings.proxies = Proxies::new(&proxies, ForwardedHeader::default(), true);
    let gateway = Gateway::start(settings);
    let open = async |client: u8| {
        let mut opened = gateway.connect().await;
        let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
        header.extend([127, 0, 0, client, 127, 0, 0, 1, 0x12, 0x34, 0, 80]);
        opened.write(header).await;
        opened.write(post("/one", "accepted")).await;
        opened
    };
    let mut first = open(7).await;
    assert_eq!(first.response().await.status, 202);
    let mut second = open(7).await;
    let response = second.response().await;
    response.is_problem(Code::Overloaded);
    assert_eq!(response.header("retry-after"), Some("1"));
    assert!(second.is_closed().await);
    assert_eq!(open(8).await.response().await.status, 202, "another is served");
    assert_eq!(gateway.requests(), 2);
    drop(first);
    let began = Instant::now();
    while open(7).await.response().await.status != 202 {
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "the place is free again"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn connections_past_the_cap_are_told_so() {
    let mut settings = settings();
    settings.limits.connections = 2;
    let gateway = Gateway::start(settings);
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut client = gateway.connect().await;
        client.write(post("/one", "accepted")).await;
        assert_eq!(client.response().await.status, 202);
        kept.push(client);
    }
    let mut third = gateway.connect().await;
    third.write(post("/one", "accepted")).await;
    let response = third.response().await;
    response.is_problem(Code::Overloaded);
    assert_eq!(response.header("retry-after"), Some("1"));
    assert!(third.is_closed().await);
    kept.pop();
    let began = Instant::now();
    while gateway.post("/one", "accepted").await.status != 202 {
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "the place is free again"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(gateway.requests(), 3);
}

#[tokio::test]
async fn shutdown_lets_requests_end_and_closes_the_rest() {
    let mut gateway = Gateway::start(settings());
    let mut busy = gateway.connect().await;
    busy.write(post("/one", "sleep 500")).await;
    let mut idle = gateway.connect().await;
    idle.write(post("/one", "accepted")).await;
    assert_eq!(idle.response().await.status, 202);
    let mut silent = gateway.connect().await;
    while gateway.requests() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    gateway.stop();
    assert!(idle.is_closed().await);
    assert!(silent.is_closed().await);
    let response = busy.response().await;
    assert_eq!(response.status, 202);
    assert_eq!(response.header("connection"), Some("close"));
    assert!(busy.is_closed().await);
    gateway.served.await.expect("serving ends");
    assert!(
        TcpStream::connect(gateway.address).await.is_err(),
        "nobody listens"
    );
}

#[tokio::test]
async fn shutdown_does_not_wait_for_ever() {
    let mut settings = settings();
    settings.shutdown_timeout = Duration::from_millis(300);
    let mut gateway = Gateway::start(settings);
    let mut busy = gateway.connect().await;
    busy.write(post("/one", "sleep 60000")).await;
    while gateway.requests() < 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let began = Instant::now();
    gateway.stop();
    (&mut gateway.served).await.expect("serving ends");
    assert!(began.elapsed() < Duration::from_secs(3));
    assert!(busy.is_closed().await);
}

type Sender = http2::SendRequest<Full<Bytes>>;

async fn http2(gateway: &Gateway) -> Sender {
    let stream = TcpStream::connect(gateway.address)
        .await
        .expect("the gateway accepts");
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .expect("HTTP/2 with prior knowledge");
    tokio::spawn(connection);
    sender
}

async fn exchange(
    sender: &mut Sender,
    request: http::request::Builder,
    body: &str,
) -> (StatusCode, serde_json::Value) {
    let request = request
        .body(Full::new(Bytes::from(body.to_owned())))
        .expect("a request");
    let response = sender.send_request(request).await.expect("a response");
    let (head, body) = response.into_parts();
    assert!(head.headers.contains_key("x-request-id"));
    let body = body.collect().await.expect("a whole body").to_bytes();
    (head.status, serde_json::from_slice(&body).expect("JSON"))
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_served() {
    let mut settings = settings();
    settings.limits.body_bytes = "100KiB".parse().unwrap();
    let gateway = Gateway::start(settings);
    let mut sender = http2(&gateway).await;
    let to = |path: &str| Request::post(format!("http://gateway{path}"));
    let (status, body) = exchange(&mut sender, to("/one"), "accepted").await;
    assert_eq!((status.as_u16(), &body["status"]), (202, &"accepted".into()));
    let (status, body) = exchange(&mut sender, to("/many"), "accepted rejected").await;
    assert_eq!((status.as_u16(), &body["rejected"]), (207, &1.into()));
    let (status, body) = exchange(&mut sender, to("/one"), &"x".repeat(100_000)).await;
    assert_eq!((status.as_u16(), &body["status"]), (202, &"accepted".into()));
    let (status, body) = exchange(&mut sender, to("/one"), &"x".repeat(103_000)).await;
    assert_eq!((status.as_u16(), &body["code"]), (413, &"body-too-large".into()));
    let (status, body) = exchange(&mut sender, to("/one").header("a", "x".repeat(41_000)), "x").await;
    assert_eq!(
        (status.as_u16(), &body["code"]),
        (431, &"headers-too-large".into())
    );
    let long = format!("/one?{}", "x".repeat(9000));
    let (status, body) = exchange(&mut sender, to(&long), "x").await;
    assert_eq!((status.as_u16(), &body["code"]), (414, &"uri-too-long".into()));
    let (status, body) = exchange(&mut sender, to("/one"), "panic").await;
    assert_eq!((status.as_u16(), &body["code"]), (500, &"internal".into()));
    let (status, _) = exchange(&mut sender, to("/one"), "accepted").await;
    assert_eq!(status.as_u16(), 202);
}

#[tokio::test]
async fn http2_requests_run_beside_each_other_and_outlive_the_start_of_shutdown() {
    let mut gateway = Gateway::start(settings());
    let sender = http2(&gateway).await;
    let began = Instant::now();
    let exchanges = (0..10).map(|_| {
        let mut sender = sender.clone();
        tokio::spawn(async move {
            let request = Request::post("http://gateway/one");
            exchange(&mut sender, request, "sleep 400").await.0.as_u16()
        })
    });
    let exchanges: Vec<_> = exchanges.collect();
    while gateway.requests() < 10 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    gateway.stop();
    for exchange in exchanges {
        assert_eq!(exchange.await.expect("no panic"), 202);
    }
    assert!(began.elapsed() < Duration::from_secs(3));
    gateway.served.await.expect("serving ends");
}

/// Asked for a sign of life meanwhile, which it gives: that keeps no connection.
#[tokio::test]
async fn an_http2_connection_without_requests_is_closed() {
    let mut settings = settings();
    settings.limits.header_time_s = 1;
    settings.keep_alive = Duration::from_secs(3);
    settings.http2_ping = Duration::from_millis(200);
    let gateway = Gateway::start(settings);
    let mut sender = http2(&gateway).await;
    for body in ["sleep 1500", "accepted"] {
        let request = Request::post("http://gateway/one");
        assert_eq!(exchange(&mut sender, request, body).await.0.as_u16(), 202);
        // It may rest longer than a header section may take.
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    let began = Instant::now();
    while !sender.is_closed() {
        assert!(began.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(began.elapsed() > Duration::from_millis(500));
}

/// Until so many connections are at rest.
async fn at_rest(numbers: &HttpNumbers, count: u64) {
    let begun = Instant::now();
    while numbers.connections_at_rest() != count {
        assert!(begun.elapsed() < Duration::from_secs(10), "never {count}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_connection_at_rest_goes_on_as_if_it_had_not_been() {
    let mut settings = settings();
    settings.rest_after = Duration::from_millis(20);
    let numbers = Arc::clone(&settings.numbers);
    let mut gateway = Gateway::start(settings);
    let mut client = gateway.connect().await;
    let request = post("/one", "accepted");
    for _ in 0..3 {
        client.write(&request).await;
        assert_eq!(client.response().await.status, 202);
        at_rest(&numbers, 1).await;
    }
    let (first, rest) = request.split_at(7);
    client.write(first).await;
    at_rest(&numbers, 0).await;
    client.write(rest).await;
    assert_eq!(client.response().await.status, 202);
    at_rest(&numbers, 1).await;
    // It does not become another protocol by that.
    client.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(client.is_closed().await);
    let mut other = gateway.connect().await;
    other.write(&request).await;
    assert_eq!(other.response().await.status, 202);
    at_rest(&numbers, 1).await;
    gateway.stop();
    assert!(other.is_closed().await);
    at_rest(&numbers, 0).await;
}

#[tokio::test]
async fn a_connection_rests_after_an_answer_that_took_longer_than_that() {
    let mut settings = settings();
    settings.rest_after = Duration::from_millis(20);
    // No other timer is to wake it.
    settings.limits.header_time_s = 60;
    let numbers = Arc::clone(&settings.numbers);
    let gateway = Gateway::start(settings);
    let mut client = gateway.connect().await;
    for _ in 0..3 {
        client.write(post("/one", "sleep 100")).await;
        client.response().await;
        at_rest(&numbers, 1).await;
    }
}

#[tokio::test]
async fn a_connection_at_rest_ends_in_its_time() {
    let mut settings = settings();
    settings.rest_after = Duration::from_millis(20);
    settings.keep_alive = Duration::from_millis(500);
    let numbers = Arc::clone(&settings.numbers);
    let gateway = Gateway::start(settings);
    let mut client = gateway.connect().await;
    client.write(post("/one", "accepted")).await;
    assert_eq!(client.response().await.status, 202);
    at_rest(&numbers, 1).await;
    assert!(client.is_closed().await);
    at_rest(&numbers, 0).await;
}
