//! What docs/sending.md shows, run as it stands there.

use std::process::{Command, Output};

use serde_json::json;

use crate::{
    harness::gateway::{Gateway, repository},
    repository::read,
};

async fn with_orders() -> Gateway {
    let mut gateway = Gateway::start().await;
    gateway.partner("shop", json!({})).await;
    gateway.put("/v1/schemas/order.paid/5.0.0", json!({})).await;
    let route = json!({"match": {"type": "order.*"}, "to": [{"destination": "files", "topic": "orders"}]});
    gateway.put("/v1/routes/orders", route).await;
    gateway
}

fn run(gateway: &Gateway, program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .current_dir(repository().join("examples/senders"))
        .env("HEADWORKS_EVENTS", format!("http://{}", gateway.data_address()))
        .env("HEADWORKS_KEY", gateway.key("shop"))
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_of_the_first_page_is_taken() {
    let gateway = with_orders().await;
    let page = read("docs/sending.md");
    let (_, rest) = page.split_once("```sh\n").expect("the page shows a command");
    let (command, _) = rest.split_once("```").expect("the command ends");
    let command = command.replace("127.0.0.1:8080", &gateway.data_address().to_string());
    let output = run(&gateway, "bash", &["-c", &command]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("HTTP/1.1 202"), "{text}");
    assert!(
        text.ends_with(r#"{"id":"order-1001-paid","status":"accepted"}"#),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_programs_send_and_sending_again_is_harmless() {
    let gateway = with_orders().await;
    for (number, (program, arguments)) in [
        ("python3", &["send.py"][..]),
        ("node", &["send.mjs"]),
        ("go", &["run", "send.go"]),
        ("java", &["Send.java"]),
        ("php", &["send.php"]),
    ]
    .into_iter()
    .enumerate()
    {
        let output = run(&gateway, program, arguments);
        let expected = if number == 0 { "accepted" } else { "duplicate" };
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).trim(),
            expected,
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let records = gateway.wait_for_records("orders", 1).await;
    assert_eq!(records[0]["data"], json!({"order": "1001", "total": 12.5}));
}
