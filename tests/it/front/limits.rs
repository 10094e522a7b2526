//! A partner's limits, and that they are its own.

use std::{
    io::{Read as _, Write as _},
    time::{Duration, Instant},
};

use serde_json::json;

use crate::harness::gateway::{Answer, Gateway};

async fn with_partners() -> Gateway {
    let mut gateway = Gateway::start().await;
    gateway
        .partner("greedy", json!({"rate_limit": {"events_per_s": 20, "burst": 20}}))
        .await;
    gateway.partner("modest", json!({})).await;
    gateway.put("/v1/schemas/a/1.0.0", json!({})).await;
    let route = json!({"match": {"type": "a"}, "to": [{"destination": "files", "topic": "a"}]});
    gateway.put("/v1/routes/a", route).await;
    gateway
}

async fn send(gateway: &Gateway, partner: &str, lines: usize) -> Answer {
    let body = "1\n".repeat(lines);
    gateway
        .post("/v1/events/a", partner, "application/x-ndjson", body)
        .await
}

#[tokio::test]
async fn past_its_rate_a_partner_waits_and_is_told_how_long() {
    let gateway = with_partners().await;
    // Larger than the burst: taken whole, and paid for before the next.
    assert_eq!(send(&gateway, "greedy", 60).await.status, 202);
    let refused = send(&gateway, "greedy", 1).await;
    assert_eq!(refused.status, 429, "{}", refused.text);
    assert_eq!(refused.json()["code"], "rate-limited");
    let wait: u64 = refused.headers["retry-after"]
        .to_str()
        .expect("text")
        .parse()
        .expect("seconds");
    assert!((1..=3).contains(&wait), "{wait}");
    assert_eq!(refused.headers["ratelimit-policy"], "\"events\";q=20;w=1");
    assert!(
        refused.headers["ratelimit"]
            .to_str()
            .expect("text")
            .starts_with("\"events\";r=0;t=")
    );
    assert_eq!(
        send(&gateway, "modest", 60).await.status,
        202,
        "the others do not notice"
    );
    tokio::time::sleep(Duration::from_secs(wait)).await;
    assert_eq!(send(&gateway, "greedy", 1).await.status, 202);
}

#[tokio::test]
async fn a_limit_changes_while_events_flow() {
    let gateway = with_partners().await;
    assert_eq!(send(&gateway, "greedy", 500).await.status, 202);
    assert_eq!(send(&gateway, "greedy", 1).await.status, 429);
    gateway.put("/v1/partners/greedy", json!({})).await;
    for _ in 0..5 {
        assert_eq!(send(&gateway, "greedy", 500).await.status, 202);
    }
    gateway
        .put("/v1/partners/greedy", json!({"rate_limit": {"bytes_per_s": 10}}))
        .await;
    assert_eq!(send(&gateway, "greedy", 50).await.status, 202);
    let refused = send(&gateway, "greedy", 1).await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.headers["ratelimit-policy"], "\"bytes\";q=10;w=1");
}

#[tokio::test]
async fn what_is_refused_is_refused_before_its_body_is_sent() {
    let gateway = with_partners().await;
    assert_eq!(send(&gateway, "greedy", 500).await.status, 202);
    let key = gateway.key("greedy");
    let address = gateway.data_address();
    let status = move |authorization: String| {
        let mut stream = std::net::TcpStream::connect(address).expect("connected");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("set");
        write!(
            stream,
            "POST /v1/events/a HTTP/1.1\r\nHost: x\r\n{authorization}Expect: 100-continue\r\nContent-Length: 9\r\n\r\n"
        )
        .expect("sent");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("answered");
        String::from_utf8_lossy(&answer[9..]).into_owned()
    };
    let statuses = tokio::task::spawn_blocking(move || {
        [
            status(format!("Authorization: Bearer {key}\r\n")),
            status(String::new()),
            status("Authorization: Bearer hw_0_x\r\n".to_owned()),
        ]
    })
    .await
    .expect("ran");
    assert_eq!(statuses, ["429", "401", "401"]);
}

/// The greedy partner sends at twenty times its limit; the modest one must lose no request.
#[tokio::test]
async fn a_greedy_partner_harms_only_itself() {
    let gateway = with_partners().await;
    let until = Instant::now() + Duration::from_secs(3);
    let greedy = async {
        let (mut taken, mut refused) = (0, 0);
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        while Instant::now() < until {
            ticks.tick().await;
            // 400 a second, where 20 are its limit.
            let burst = (0..20).map(|_| send(&gateway, "greedy", 1));
            for answer in futures::future::join_all(burst).await {
                match answer.status {
                    202 => taken += 1,
                    429 => refused += 1,
                    other => panic!("{other}"),
                }
            }
        }
        (taken, refused)
    };
    let modest = async {
        let mut count = 0;
        while Instant::now() < until {
            let answer = send(&gateway, "modest", 1).await;
            assert_eq!(answer.status, 202, "{}", answer.text);
            count += 1;
        }
        count
    };
    let ((taken, refused), modest) = tokio::join!(greedy, modest);
    // 3 s at 20 a second, the burst before it, what is under way at once, and a slow machine's last second.
    assert!(taken <= 3 * 20 + 20 + 20 + 20, "{taken}");
    assert!(refused > 0 && modest > 0, "{refused} {modest}");
}

#[tokio::test]
async fn a_quota_of_a_day_is_kept_across_a_restart() {
    let mut gateway = with_partners().await;
    let quota = |events: u32| json!({"rate_limit": {"events_per_day": events}});
    gateway.put("/v1/partners/greedy", quota(100)).await;
    assert_eq!(send(&gateway, "greedy", 99).await.status, 202);
    assert_eq!(send(&gateway, "greedy", 30).await.status, 202, "taken whole");
    let refused = send(&gateway, "greedy", 1).await;
    assert_eq!(refused.status, 429, "{}", refused.text);
    assert_eq!(
        refused.headers["ratelimit-policy"],
        "\"events-per-day\";q=100;w=86400"
    );
    let wait: u64 = refused.headers["retry-after"]
        .to_str()
        .expect("text")
        .parse()
        .expect("seconds");
    assert!(wait <= 86_400, "until midnight by UTC");
    assert!(gateway.terminate().await.success());
    gateway.start_again().await;
    assert_eq!(send(&gateway, "greedy", 1).await.status, 429);
    gateway.put("/v1/partners/greedy", quota(130)).await;
    assert_eq!(
        send(&gateway, "greedy", 1).await.status,
        202,
        "what was sent still counts"
    );
    assert_eq!(send(&gateway, "greedy", 1).await.status, 429);
    // A second is written at the latest; then a crash forgets none of it.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    gateway.kill();
    gateway.start_again().await;
    assert_eq!(send(&gateway, "greedy", 1).await.status, 429);
}

/// Bodies that never end take what their partner may hold, and nothing of the others.
#[tokio::test]
async fn bodies_on_their_way_are_shared_too() {
    let gateway = with_partners().await;
    gateway.put("/v1/partners/greedy", json!({})).await;
    let (address, key) = (gateway.data_address(), gateway.key("greedy"));
    let open = move || {
        let mut stream = std::net::TcpStream::connect(address).expect("connected");
        let limit = Some(Duration::from_millis(300));
        stream.set_read_timeout(limit).expect("set");
        let head = format!(
            "POST /v1/events/a HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Length: 16777216\r\n\r\n1"
        );
        stream.write_all(head.as_bytes()).expect("sent");
        let mut answer = [0; 12];
        let status = stream.read_exact(&mut answer).ok().map(|()| answer[9..].to_vec());
        (stream, status)
    };
    // 512 MiB are there for bodies: half of them are 16 of the largest.
    let opened = tokio::task::spawn_blocking(move || (0..18).map(|_| open()).collect::<Vec<_>>())
        .await
        .expect("ran");
    let refused: Vec<_> = opened
        .iter()
        .filter_map(|(_, status)| status.as_deref())
        .collect();
    assert_eq!(refused, [&b"503"[..]; 2]);
    let large = format!("\"{}\"\n", "x".repeat(1_000_000)).repeat(8);
    let taken = gateway
        .post("/v1/events/a", "modest", "application/x-ndjson", large)
        .await;
    assert_eq!(taken.status, 202, "{}", taken.text);
    drop(opened);
    // What the connections held is given back as they end.
    crate::harness::gateway::eventually("room again", async || {
        (send(&gateway, "greedy", 1).await.status == 202).then_some(())
    })
    .await;
}
