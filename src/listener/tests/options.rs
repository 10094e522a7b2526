//! What is asked before anything is sent.

use super::{Gateway, Response, settings};

async fn options(path: &str, headers: &str) -> Response {
    let gateway = Gateway::start(settings());
    gateway
        .send(&format!("OPTIONS {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n"))
        .await
}

#[tokio::test]
async fn a_preflight_of_an_allowed_origin_is_answered_and_may_be_remembered() {
    let response = options(
        "/one",
        "Origin: https://shop.example\r\nAccess-Control-Request-Method: POST\r\n\
         Access-Control-Request-Headers: authorization,content-type\r\n",
    )
    .await;
    assert_eq!(response.status, 204);
    for (name, value) in [
        ("access-control-allow-origin", "https://shop.example"),
        ("access-control-allow-methods", "GET, POST, OPTIONS"),
        ("access-control-allow-headers", "authorization,content-type"),
        ("access-control-allow-credentials", "true"),
        ("access-control-max-age", "7200"),
    ] {
        assert_eq!(response.header(name), Some(value));
    }
    assert!(
        response
            .header("vary")
            .is_some_and(|vary| vary.starts_with("origin"))
    );
}

#[tokio::test]
async fn a_preflight_of_another_origin_gets_no_leave() {
    let response = options(
        "/one",
        "Origin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n",
    )
    .await;
    assert_eq!(response.status, 204);
    let allowed = response
        .headers
        .iter()
        .any(|(name, _)| name.starts_with("access-control"));
    assert!(!allowed, "{response:?}");
}

#[tokio::test]
async fn pages_may_read_their_answers_and_their_refusals() {
    let gateway = Gateway::start(settings());
    for path in ["/one", "/refuse/key-missing"] {
        for (origin, readable) in [("https://shop.example", true), ("https://evil.example", false)] {
            let response = gateway
                .send(&format!(
                    "POST {path} HTTP/1.1\r\nHost: x\r\nOrigin: {origin}\r\nContent-Length: 8\r\n\r\naccepted"
                ))
                .await;
            let allowed = response.header("access-control-allow-origin");
            assert_eq!(allowed, readable.then_some(origin), "{path}");
            let exposed = response.header("access-control-expose-headers");
            assert_eq!(
                exposed.is_some_and(|names| names.contains("retry-after")),
                readable
            );
        }
    }
}

#[tokio::test]
async fn a_webhook_sender_is_told_whether_it_may_deliver() {
    let ask = "WebHook-Request-Origin: events.example.com\r\nWebHook-Request-Rate: 120\r\n";
    for (query, origin, rate) in [
        ("?key=known", Some("events.example.com"), Some("120")),
        ("?key=unlimited", Some("events.example.com"), Some("*")),
        ("", None, None),
    ] {
        let response = options(&format!("/one{query}"), ask).await;
        assert_eq!(response.status, 204);
        assert_eq!(response.header("webhook-allowed-origin"), origin, "{query}");
        assert_eq!(response.header("webhook-allowed-rate"), rate);
        assert_eq!(response.header("allow"), Some("GET, POST, OPTIONS"));
    }
}
