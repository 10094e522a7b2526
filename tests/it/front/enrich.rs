//! What is added to events of who sent them, and whom the gateway believes about that.

use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
    time::Duration,
};

use serde_json::{Value, json};

use crate::harness::gateway::{Gateway, Options};

async fn with_clicks(configuration: &str, partner: Value) -> Gateway {
    let mut gateway = Gateway::start_with(Options {
        configuration: format!("[server.proxies]\n{configuration}"),
        ..Options::default()
    })
    .await;
    gateway.partner("site", partner).await;
    gateway.put("/v1/schemas/click/1.0.0", json!({})).await;
    let route = json!({"match": {"type": "*"}, "to": [{"destination": "files", "topic": "clicks"}]});
    gateway.put("/v1/routes/clicks", route).await;
    gateway
}

async fn click(gateway: &Gateway, id: &str, headers: &[(&str, &str)]) {
    let mut request = gateway
        .send("POST", "/v1/events/click", "site")
        .header("ce-id", id)
        .body("{\"n\": 1}");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    assert_eq!(request.send().await.expect("answered").status(), 202);
}

async fn found(gateway: &Gateway, id: &str, count: usize) -> Value {
    let records = gateway.wait_for_records("clicks", count).await;
    let record = records.into_iter().find(|record| record["id"] == id);
    record.expect("delivered")
}

#[tokio::test]
async fn nothing_is_added_unless_the_partner_asks() {
    let gateway = with_clicks("trusted = [\"127.0.0.0/8\"]\n", json!({})).await;
    click(
        &gateway,
        "plain",
        &[("user-agent", "test/1"), ("x-forwarded-for", "203.0.113.7")],
    )
    .await;
    let plain = found(&gateway, "plain", 1).await;
    assert!(
        plain.get("hwclientip").is_none() && plain.get("hwuseragent").is_none(),
        "{plain}"
    );

    let both = json!({"enrich": ["client_ip", "user_agent"]});
    gateway.put("/v1/partners/site", both).await;
    click(
        &gateway,
        "both",
        &[
            ("user-agent", "test/1"),
            ("x-forwarded-for", "9.9.9.9, 203.0.113.7"),
        ],
    )
    .await;
    let both = found(&gateway, "both", 2).await;
    assert_eq!(both["hwclientip"], "203.0.113.7");
    assert_eq!(both["hwuseragent"], "test/1");
    assert_eq!(both["data"], json!({"n": 1}), "the data is as it was sent");

    let network = json!({"enrich": ["client_ip"], "truncate_ip": true});
    gateway.put("/v1/partners/site", network).await;
    click(&gateway, "network", &[("x-forwarded-for", "203.0.113.7")]).await;
    let network = found(&gateway, "network", 3).await;
    assert_eq!(network["hwclientip"], "203.0.113.0");
    assert!(network.get("hwuseragent").is_none());

    // What waits in quarantine has it as well.
    let unknown = gateway
        .send("POST", "/v1/events/unknown", "site")
        .header("x-forwarded-for", "203.0.113.7")
        .body("1");
    assert_eq!(unknown.send().await.expect("answered").status(), 202);
    let item = gateway.quarantine().await.remove(0);
    let path = format!("/v1/quarantine/{}", item["id"].as_str().expect("an id"));
    let item = gateway.admin("GET", &path, None).await.expect(200);
    assert_eq!(item["attributes"]["hwclientip"], "203.0.113.0", "{item}");
}

#[tokio::test]
async fn who_is_no_trusted_proxy_is_not_believed() {
    let asks = json!({"enrich": ["client_ip"]});
    let gateway = with_clicks("trusted = [\"10.0.0.0/8\"]\n", asks).await;
    click(
        &gateway,
        "a",
        &[
            ("x-forwarded-for", "203.0.113.7"),
            ("forwarded", "for=203.0.113.8"),
        ],
    )
    .await;
    assert_eq!(found(&gateway, "a", 1).await["hwclientip"], "127.0.0.1");
}

/// The header of the PROXY protocol's second version, for a connection over IPv4.
fn introduction(command: u8, client: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([0x20 | command, 0x11, 0, 12]);
    header.extend(client);
    header.extend([10, 0, 0, 1]);
    header.extend(4711_u16.to_be_bytes());
    header.extend(80_u16.to_be_bytes());
    header
}

fn exchange(address: SocketAddr, opening: &[u8], key: &str, id: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).expect("connected");
    let limit = Some(Duration::from_secs(20));
    stream.set_read_timeout(limit).expect("set");
    let request = format!(
        "POST /v1/events/click HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nce-id: {id}\r\nConnection: close\r\n\
         Content-Length: 1\r\n\r\n1"
    );
    let _ = stream.write_all(&[opening, request.as_bytes()].concat());
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[tokio::test]
async fn the_proxy_protocol_says_who_opened_a_connection() {
    let asks = json!({"enrich": ["client_ip"]});
    let configuration = "trusted = [\"127.0.0.1\"]\nproxy_protocol = true\n";
    let gateway = with_clicks(configuration, asks).await;
    let (address, key) = (gateway.data_address(), gateway.key("site"));
    let answers = tokio::task::spawn_blocking(move || {
        [
            exchange(address, &introduction(1, [203, 0, 113, 9]), &key, "proxied"),
            exchange(address, &introduction(0, [0; 4]), &key, "local"),
            exchange(address, b"", &key, "bare"),
            exchange(
                address,
                b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 80\r\n",
                &key,
                "first version",
            ),
        ]
    })
    .await
    .expect("ran");
    assert!(answers[0].starts_with("HTTP/1.1 202"), "{}", answers[0]);
    assert!(answers[1].starts_with("HTTP/1.1 202"), "{}", answers[1]);
    assert!(answers[2].is_empty() && answers[3].is_empty(), "{answers:?}");
    assert_eq!(found(&gateway, "proxied", 2).await["hwclientip"], "203.0.113.9");
    assert_eq!(found(&gateway, "local", 2).await["hwclientip"], "127.0.0.1");
}
