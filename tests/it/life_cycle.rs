//! Versions of a plugin on their way into traffic and out of it: a share, a shadow, a test, an automatic rollback. No
//! request fails during any of it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};

use crate::harness::{
    gateway::{Gateway, Options, eventually, repository},
    page_view,
};

const TYPE: &str = "app.page_view";
const PLUGIN: &str = "/v1/plugins/views";

/// Version 1 is `page-view`, version 2 a plugin that does what the event's `do` says. Version 1 is active.
async fn gateway(configuration: &str) -> Gateway {
    let mut gateway = Gateway::start_with(Options {
        configuration: configuration.to_owned(),
        ..Options::default()
    })
    .await;
    gateway.partner("live", json!({})).await;
    gateway
        .put(&format!("/v1/schemas/{TYPE}/1"), json!({"type": "object"}))
        .await;
    let one = page_view::component();
    let two = crate::plugins::hostile_component().to_vec();
    assert_eq!(gateway.push_plugin("views", one).await, 1);
    assert_eq!(gateway.push_plugin("views", two).await, 2);
    let back = gateway.admin("POST", &format!("{PLUGIN}/rollback"), None).await;
    assert_eq!(back.expect(200)["active"], 1);
    let route = json!({"plugin": "views", "to": [{"destination": "files", "topic": "live"}]});
    gateway.put("/v1/routes/live", route).await;
    gateway
}

async fn activate(gateway: &Gateway, body: Value) -> Value {
    gateway
        .admin("POST", &format!("{PLUGIN}/activate"), Some(body))
        .await
        .expect(200)
}

async fn plugin(gateway: &Gateway) -> Value {
    gateway.admin("GET", PLUGIN, None).await.expect(200)
}

async fn post(gateway: &Gateway, id: &str, data: Value) -> Value {
    let request = gateway
        .send("POST", &format!("/v1/events/{TYPE}"), "live")
        .header("ce-id", id)
        .json(&data);
    let answer = request.send().await.expect("no request fails");
    assert_eq!(answer.status(), 202);
    answer.json().await.expect("an answer is JSON")
}

fn by_version(records: &[Value]) -> BTreeMap<String, usize> {
    let mut versions = BTreeMap::new();
    for record in records {
        let version = record["hwplugin"].as_str().expect("a plugin ran").to_owned();
        *versions.entry(version).or_insert(0) += 1;
    }
    versions
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shares_and_shadows_fail_no_request() {
    let gateway = gateway("").await;
    let stop = Arc::new(AtomicBool::new(false));
    let accepted = Arc::new(AtomicU64::new(0));
    let url = format!("http://{}/v1/events/{TYPE}", gateway.data_address());
    let sender = {
        let (stop, accepted) = (Arc::clone(&stop), Arc::clone(&accepted));
        let (key, client) = (gateway.key("live"), crate::harness::client());
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let body = json!({"platform": "ios", "do": "echo"});
                let answer = client.post(&url).bearer_auth(&key).json(&body).send().await;
                let answer = answer.expect("no request fails");
                assert_eq!(answer.status(), 202);
                let body: Value = answer.json().await.expect("an answer is JSON");
                assert_eq!(body["status"], "accepted", "{body}");
                accepted.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    for share in [5, 50, 95, 100, 50] {
        assert_eq!(
            activate(&gateway, json!({"version": 2, "share": share})).await["share"],
            share
        );
        activate(&gateway, json!({"version": 1, "share": "shadow"})).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        gateway
            .admin("POST", &format!("{PLUGIN}/rollback"), None)
            .await
            .expect(200);
        activate(&gateway, json!({"version": 2, "share": "shadow"})).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        gateway
            .admin("DELETE", &format!("{PLUGIN}/shadow"), None)
            .await
            .expect(200);
    }
    stop.store(true, Ordering::Relaxed);
    sender.await.expect("every answer is 202");
    let accepted = accepted.load(Ordering::Relaxed) as usize;
    let records = gateway.wait_for_records("live", accepted).await;
    assert_eq!(records.len(), accepted, "a shadow delivers nothing");
    assert_eq!(by_version(&records).len(), 2);
    assert!(gateway.quarantine().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_is_the_same_events_and_a_shadow_is_compared() {
    let gateway = gateway("").await;
    activate(&gateway, json!({"version": 2, "share": 30})).await;
    let data = || json!({"platform": "ios", "do": "echo"});
    for id in 0..200 {
        post(&gateway, &id.to_string(), data()).await;
    }
    let records = gateway.wait_for_records("live", 200).await;
    let versions = by_version(&records);
    let of_two = versions.get("views@2").copied().unwrap_or(0);
    assert!((30..=90).contains(&of_two), "{versions:?}");
    // The same hash decides on every node: these were computed apart from the gateway.
    let taken = |id: &str| {
        let record = records
            .iter()
            .find(|record| record["id"] == id)
            .expect("it was sent");
        record["hwplugin"] == "views@2"
    };
    assert_eq!(["0", "1", "2", "3", "4", "5"].map(taken), TAKEN);

    gateway
        .admin("POST", &format!("{PLUGIN}/rollback"), None)
        .await
        .expect(200);
    activate(&gateway, json!({"version": 2, "share": "shadow"})).await;
    for id in 200..250 {
        post(&gateway, &id.to_string(), data()).await;
    }
    let comparison = eventually("the shadow has run", async || {
        let comparison = plugin(&gateway).await["comparison"].clone();
        let done = comparison["events"].as_u64()? + comparison["skipped"].as_u64()?;
        (done == 50).then_some(comparison)
    })
    .await;
    assert_eq!(
        (&comparison["different"], &comparison["same"]),
        (&comparison["events"], &json!(0)),
        "{comparison}"
    );
    let differences = comparison["differences"][0]["differences"].to_string();
    assert!(differences.contains("/data/os"), "{differences}");
    let records = gateway.wait_for_records("live", 250).await;
    assert_eq!(
        by_version(&records)["views@2"],
        of_two,
        "a shadow delivers nothing"
    );
    let page = gateway.cli(&["plugin", "show", "views"]);
    let page = String::from_utf8(page.stdout).expect("it is text");
    for part in ["shadow  version 2", "the shadow was given", "record 0 /data/os"] {
        assert!(page.contains(part), "{part:?} in:\n{page}");
    }
}

const TAKEN: [bool; 6] = [true, false, false, false, false, false];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_fails_is_left_and_what_failed_is_replayed() {
    let gateway = gateway("[plugins]\nrollback_calls = 50\n").await;
    activate(&gateway, json!({"version": 2})).await;
    for id in 0..120 {
        let what = if id % 10 == 0 { "panic" } else { "echo" };
        post(
            &gateway,
            &format!("failing-{id}"),
            json!({"platform": "ios", "do": what}),
        )
        .await;
    }
    let after = eventually("it is rolled back", async || {
        let plugin = plugin(&gateway).await;
        (plugin["active"] == 1).then_some(plugin)
    })
    .await;
    let cause = &after["rolled_back"];
    assert_eq!(cause["version"], 2, "{after}");
    assert!(cause["failed"].as_u64().expect("a number") >= 5, "{cause}");
    assert!(cause["last_failure"].to_string().contains("panicked"), "{cause}");
    assert_eq!(
        after["previous"],
        Value::Null,
        "nobody goes back to it by mistake"
    );

    // Those that version 2 had refused go out through version 1.
    let records = gateway.wait_for_records("live", 120).await;
    eventually("nothing waits", async || {
        gateway.quarantine().await.is_empty().then_some(())
    })
    .await;
    let replayed = records.iter().filter(|record| record["data"]["do"] == "panic");
    let replayed: Vec<&Value> = replayed.collect();
    assert_eq!(replayed.len(), 12);
    assert!(
        replayed.iter().all(|record| record["hwplugin"] == "views@1"),
        "{replayed:?}"
    );

    let changes = gateway
        .admin("GET", "/v1/changes?limit=1000", None)
        .await
        .expect(200);
    let changes = changes["items"].as_array().expect("a list");
    let change = changes.last().expect("there are changes");
    assert_eq!(
        (&change["change"], &change["by"]),
        (&json!("roll_back_plugin"), &json!("automatic rollback"))
    );
    assert_eq!(change["cause"]["failed"], cause["failed"]);
    let metrics = gateway.admin("GET", "/metrics", None).await.text;
    let line = metrics
        .lines()
        .find(|line| line.starts_with("headworks_plugin_rollbacks_total{"));
    assert!(
        line.is_some_and(|line| line.ends_with(r#"{plugin="views",version="2",cause="trap"} 1"#)),
        "{line:?}"
    );
    let logs = gateway.cli(&[
        "plugin",
        "logs",
        "views",
        "--version",
        "2",
        "--event",
        "failing-10",
    ]);
    let logs = String::from_utf8(logs.stdout).expect("it is text");
    assert!(
        logs.contains("views@2  live failing-10  failed: trapped") && logs.lines().count() >= 1,
        "{logs}"
    );
    let page = gateway.cli(&["plugin", "show", "views"]);
    let page = String::from_utf8(page.stdout).expect("it is text");
    assert!(page.contains("rolled back") && page.contains("trap"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_names_a_wrong_destination_is_left() {
    let gateway = gateway("[plugins]\nrollback_calls = 50\n").await;
    let tried = json!({"version": 2, "events": [{"type": TYPE, "data": {"do": "elsewhere"}}]});
    let tried = gateway
        .admin("POST", &format!("{PLUGIN}/test"), Some(tried))
        .await;
    assert_eq!(tried.expect(200)["failed"], 1, "a test says so before");
    activate(&gateway, json!({"version": 2})).await;
    for id in 0..80 {
        let what = if id % 10 == 0 { "elsewhere" } else { "echo" };
        let answer = post(&gateway, &id.to_string(), json!({"platform": "ios", "do": what})).await;
        if what == "elsewhere" && answer["status"] != "accepted" {
            assert_eq!(answer["code"], "plugin-failed", "{answer}");
        }
    }
    let after = eventually("it is rolled back", async || {
        let plugin = plugin(&gateway).await;
        (plugin["active"] == 1).then_some(plugin)
    })
    .await;
    let cause = &after["rolled_back"];
    assert_eq!(
        cause["last_failure"],
        "the plugin sends to \"elsewhere\", which is no destination of the route live"
    );
    let causes = &after["versions"][1]["health"]["causes"];
    assert!(
        causes["destination"].as_u64() >= cause["failed"].as_u64(),
        "{after}"
    );
    assert_eq!(causes.as_object().map(serde_json::Map::len), Some(1), "{after}");
    let records = gateway.wait_for_records("live", 80).await;
    assert_eq!(
        records.len(),
        80,
        "what was misaddressed went out through version 1"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_may_give_each_event_an_instance_of_its_own() {
    let gateway = gateway("").await;
    activate(&gateway, json!({"version": 2})).await;
    let route = |isolation: &str| json!({"plugin": "views", "isolation": isolation, "to": [{"destination": "files", "topic": "live"}]});
    gateway.put("/v1/routes/live", route("event")).await;
    for id in 0..6 {
        post(&gateway, &id.to_string(), json!({"do": "calls"})).await;
    }
    let records = gateway.wait_for_records("live", 6).await;
    // In base64: the first call of its instance.
    assert!(
        records.iter().all(|record| record["data_base64"] == "MQ=="),
        "{records:?}"
    );

    let refused = gateway
        .admin("PUT", "/v1/routes/live", Some(route("request")))
        .await;
    let refused = refused.expect(422);
    assert_eq!(refused["errors"][0]["pointer"], "/isolation", "{refused}");
    let without = json!({"isolation": "event", "to": [{"destination": "files"}]});
    let refused = gateway.admin("PUT", "/v1/routes/plain", Some(without)).await;
    assert_eq!(refused.expect(422)["errors"][0]["pointer"], "/isolation");
}

/// What a command of the page is run as.
fn run_shown(gateway: &Gateway, shown: &str) -> String {
    let folder = repository().join("plugins/page-view");
    let command = shown
        .replace("DIR", folder.to_str().expect("the path is text"))
        .replace("NAME", "views");
    let arguments: Vec<&str> = command.split(' ').skip(1).collect();
    let output = gateway.cli(&arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}\n{said}");
    String::from_utf8(output.stdout).expect("it is text")
}

/// The options that the page names.
fn run_options(gateway: &Gateway, page: &str) {
    let events = gateway.path("events.ndjson");
    let event = json!({"type": TYPE, "id": "mine", "data": {"platform": "ios", "do": "echo"}});
    std::fs::write(&events, format!("{event}\n")).expect("ours");
    let config = gateway.path("config.json");
    std::fs::write(&config, "{}").expect("ours");
    let (events, config) = (events.display(), config.display());
    for (option, command, said) in [
        (
            "--recent N",
            "headworks plugin test NAME --version 2 --recent 1".to_owned(),
            "tried       1",
        ),
        (
            "--events FILE.ndjson",
            format!("headworks plugin test NAME --version 2 --events {events}"),
            "mine of test",
        ),
        (
            "--config FILE.json",
            format!("headworks plugin test NAME --version 1 --config {config}"),
            "same        1",
        ),
        (
            "--cases DIR",
            "headworks plugin test NAME --version 1 --cases DIR/cases".to_owned(),
            "2 passed, 0 failed",
        ),
        ("--off", "headworks plugin shadow NAME --off".to_owned(), ""),
    ] {
        assert!(page.contains(&format!("`{option}`")), "{option}");
        let printed = run_shown(gateway, &command);
        assert!(printed.contains(said), "{command} printed:\n{printed}");
    }
}

/// The table of docs/plugins/life-cycle.md from top to bottom, and the options that the page names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_the_page_do_what_it_says() {
    let page = std::fs::read_to_string(repository().join("docs/plugins/life-cycle.md")).expect("it is there");
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let shown: Vec<&str> = rows
        .filter_map(|row| row.split('`').nth(1))
        .filter(|command| command.starts_with("headworks "))
        .collect();
    let gateway = gateway("").await;
    post(&gateway, "one", json!({"platform": "ios", "do": "echo"})).await;
    gateway.wait_for_records("live", 1).await;
    let steps = [
        (
            "headworks plugin test DIR --local",
            "2 passed, 0 failed",
            (1, None),
        ),
        (
            "headworks plugin test NAME --version 2",
            "different   1",
            (1, None),
        ),
        ("headworks plugin shadow NAME --version 2", "", (1, Some(2))),
        (
            "headworks plugin activate NAME --version 2 --share 5",
            "runs version 2 on 5 % of the events",
            (2, None),
        ),
        (
            "headworks plugin activate NAME --version 2",
            "plugin views runs version 2\n",
            (2, None),
        ),
        (
            "headworks plugin rollback NAME",
            "plugin views runs version 1\n",
            (1, None),
        ),
    ];
    assert_eq!(shown, steps.each_ref().map(|step| step.0), "the page's table");
    for (command, said, (active, shadow)) in steps {
        let printed = run_shown(&gateway, command);
        assert!(printed.contains(said), "{command} printed:\n{printed}");
        let plugin = plugin(&gateway).await;
        assert_eq!(
            (&plugin["active"], &plugin["shadow"]),
            (&json!(active), &json!(shadow)),
            "{command}"
        );
    }

    run_options(&gateway, &page);
    assert_eq!(plugin(&gateway).await["shadow"], Value::Null);
}

/// The cases of version 1 with each of the two.
fn run_cases(gateway: &Gateway) {
    let cases = repository().join("plugins/page-view/cases");
    let cases = cases.to_str().expect("the path is text");
    for (version, status, said) in [
        (
            "1",
            0,
            [
                "passed  a-web-page  same",
                "2 passed, 0 failed; 0 different from the active version",
            ],
        ),
        (
            "2",
            1,
            [
                "FAILED  a-web-page  different",
                "0 passed, 2 failed; 2 different from the active version",
            ],
        ),
    ] {
        let cli = gateway.cli(&["plugin", "test", "views", "--version", version, "--cases", cases]);
        let text = String::from_utf8(cli.stdout).expect("it is text");
        assert_eq!(cli.status.code(), Some(status), "{text}");
        for said in said {
            assert!(text.contains(said), "{said:?} in:\n{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_is_tried_on_events_before_it_runs() {
    let gateway = gateway("").await;
    gateway
        .put(&format!("/v1/types/{TYPE}"), json!({"mask": ["/email"]}))
        .await;
    for (id, what) in [
        ("one", "echo"),
        ("two", "calls"),
        ("three", "panic"),
        // What is hidden is hidden wherever a sender puts it.
        ("four-anna@example.com", "reject"),
    ] {
        let data = json!({"platform": "ios", "do": what, "email": "anna@example.com"});
        post(&gateway, id, data).await;
    }
    let test = |body: Value| gateway.admin("POST", "/v1/plugins/views/test", Some(body));
    let before = gateway.wait_for_records("live", 4).await;
    let report = test(json!({"version": 2, "recent": 10})).await.expect(200);
    assert!(!report.to_string().contains("anna@example.com"), "{report}");
    let counts = ["tried", "different", "failed", "rejected", "impure"].map(|name| report[name].as_u64());
    assert_eq!(counts, [4, 4, 1, 1, 1].map(Some), "{report}");
    let of = |id: &str| {
        let results = report["results"].as_array().expect("a list");
        results
            .iter()
            .find(|result| result["id"] == id)
            .expect(id)
            .clone()
    };
    assert!(
        of("one")["differences"].to_string().contains("/data/os"),
        "{}",
        of("one")
    );
    assert!(of("one")["time_us"].as_u64().is_some_and(|time| time > 0));
    assert_eq!(of("two")["impure"][0]["record"], 0, "{}", of("two"));
    assert!(
        of("three")["made"]["broken"].to_string().contains("panicked"),
        "{}",
        of("three")
    );
    assert_eq!(of("***")["differences"][0]["kind"], "outcome");

    let same = test(json!({"version": 1, "events": [
        {"type": TYPE, "data": {"platform": "ios"}}, {"type": "of.nobody", "data": {}},
    ]}));
    let same = same.await.expect(200);
    assert_eq!(
        (&same["same"], &same["not_for_it"], &same["different"]),
        (&json!(1), &json!(1), &json!(0))
    );
    assert_eq!(
        gateway.records("live").len(),
        before.len(),
        "a test sends nothing"
    );
    assert_eq!(
        plugin(&gateway).await["versions"][1]
            .get("health")
            .map(|health| health["calls"].clone()),
        Some(json!(0))
    );

    run_cases(&gateway);

    let cli = gateway.cli(&["plugin", "test", "views", "--version", "2", "--recent", "10"]);
    assert_eq!(cli.status.code(), Some(1), "some calls failed");
    let text = String::from_utf8(cli.stdout).expect("it is text");
    for part in [
        "different  one of live",
        "in a used instance: record 0",
        "impure      1",
    ] {
        assert!(text.contains(part), "{part:?} in:\n{text}");
    }
}
