//! `headworks plugin logs`: a process that follows a gateway.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use serde_json::{Value, json};

use crate::harness::gateway::Gateway;

const TYPE: &str = "a.thing";

/// A command that goes on printing, and its lines as they come.
struct Following {
    child: Child,
    lines: Receiver<String>,
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Following {
    fn start(gateway: &Gateway, arguments: &[&str]) -> Following {
        let mut child = Command::new(env!("CARGO_BIN_EXE_headworks"))
            .args(["plugin", "logs", "hostile", "--follow"])
            .args(arguments)
            .env("HEADWORKS_URL", gateway.admin_url())
            .env("HEADWORKS_TOKEN", gateway.token())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        Following { child, lines }
    }

    fn next(&self) -> String {
        let line = self.lines.recv_timeout(Duration::from_secs(60));
        line.expect("a line comes while it follows")
    }

    /// What came so far and was not read.
    fn rest(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }
}

async fn post(gateway: &Gateway, partner: &str, id: &str, what: &str) {
    let request = gateway.send("POST", &format!("/v1/events/{TYPE}"), partner);
    let event = json!({"do": what, "amount": 1});
    let answer = request.header("ce-id", id).json(&event).send().await;
    assert_eq!(answer.expect("it is answered").status(), 202);
}

async fn gateway() -> Gateway {
    let mut gateway = Gateway::start().await;
    for partner in ["anna", "boris"] {
        gateway.partner(partner, json!({})).await;
    }
    gateway
        .put(&format!("/v1/schemas/{TYPE}/1"), json!({"type": "object"}))
        .await;
    let one = crate::plugins::hostile_component().to_vec();
    gateway.push_plugin("hostile", one).await;
    let route = json!({"plugin": "hostile", "to": [{"destination": "files", "topic": "t"}]});
    gateway.put("/v1/routes/all", route).await;
    gateway
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn following_prints_what_comes_by_version_partner_and_event() {
    let gateway = gateway().await;
    post(&gateway, "anna", "before", "log").await;
    let all = Following::start(&gateway, &[]);
    let line = all.next();
    assert!(
        line.contains("hostile@1  anna before  line 0"),
        "what stands there already comes first: {line}"
    );
    let mut filtered = Vec::new();
    for filter in [
        &["--partner", "boris"][..],
        &["--event", "second"],
        &["--version", "2", "--json"],
        &["--level", "error"],
    ] {
        filtered.push(Following::start(&gateway, filter));
    }

    post(&gateway, "anna", "first", "log").await;
    assert!(all.next().contains("anna first  line 0"));
    post(&gateway, "boris", "second", "panic").await;
    // What the plugin wrote itself, and why the call failed.
    let of_second = std::iter::repeat_with(|| all.next()).find(|line| line.contains("failed: trapped"));
    let of_second = of_second.expect("it comes");
    assert!(of_second.contains("boris second"), "{of_second}");
    for what in [0, 1, 3] {
        let failed = std::iter::repeat_with(|| filtered[what].next())
            .take(5)
            .inspect(|line| assert!(line.contains("boris second"), "{what}: {line}"))
            .any(|line| line.contains("failed: trapped"));
        assert!(failed, "{what}");
    }

    // A version that comes while they follow, and takes what failed again: the event fails once more.
    let mut two = crate::plugins::hostile_component().to_vec();
    two.extend_from_slice(&[0, 5, 1, b'x', 1, 2, 3]);
    assert_eq!(gateway.push_plugin("hostile", two).await, 2);
    post(&gateway, "anna", "third", "log").await;
    let of_third = std::iter::repeat_with(|| {
        let line: Value = serde_json::from_str(&filtered[2].next()).expect("a line of JSON");
        assert_eq!(line["version"], 2, "{line}");
        line
    })
    .find(|line| line["event_id"] == "third");
    let of_third = of_third.expect("it comes");
    assert_eq!(
        (&of_third["partner"], &of_third["level"]),
        (&json!("anna"), &json!("info")),
        "{of_third}"
    );
    let of_third = std::iter::repeat_with(|| all.next()).find(|line| line.contains("third"));
    assert!(of_third.expect("it comes").contains("hostile@2  anna third"));
    for what in [0, 1, 3] {
        for line in filtered[what].rest() {
            assert!(line.contains("boris second"), "{what}: {line}");
        }
    }
}
