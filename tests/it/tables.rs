//! Lookup tables with a whole gateway: joined records that say with which version, swaps under load, several nodes,
//! crashes, and tables that cannot be loaded.

use std::{
    collections::BTreeSet,
    path::Path,
    process::Command,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use serde_json::{Value, json};

use crate::harness::{
    gateway::{Answer, Gateway, Options, eventually, repository},
    long,
};

const TYPE: &str = "campaign.click";
const TABLE: &str = "/v1/tables/campaigns";

/// The plugin `campaign-join`, built as its author builds it.
fn component() -> Vec<u8> {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    let build = || {
        let plugins = repository().join("plugins");
        let built = Command::new(env!("CARGO_BIN_EXE_headworks"))
            .args(["plugin", "build"])
            .arg(plugins.join("campaign-join"))
            .env_remove("CARGO_TARGET_DIR")
            .output()
            .expect("the program runs");
        let said = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "{said}");
        std::fs::read(plugins.join("target/campaign-join.wasm")).expect("the component is there")
    };
    BUILT.get_or_init(build).clone()
}

fn route(missing: &str) -> Value {
    json!({
        "match": {"type": TYPE},
        "plugin": "campaign-join",
        "config": {
            "table": "campaigns", "key": "/campaign", "fields": {"/n": "/n", "/name": "/name"}, "missing": missing,
        },
        "to": [{"destination": "files", "topic": "joined"}],
    })
}

/// A partner, a schema, the plugin, and a route through it; no table yet.
async fn set_up(gateway: &mut Gateway, missing: &str) {
    gateway.partner("adlink", json!({})).await;
    gateway
        .put(&format!("/v1/schemas/{TYPE}/1"), json!({"type": "object"}))
        .await;
    assert_eq!(gateway.push_plugin("campaign-join", component()).await, 1);
    gateway.put("/v1/routes/clicks", route(missing)).await;
}

async fn put_table(gateway: &Gateway, data: impl Into<reqwest::Body>) -> Answer {
    let request = crate::harness::client()
        .put(format!("{}{TABLE}?key=campaign", gateway.admin_url()))
        .bearer_auth(gateway.token())
        .header("content-type", "application/x-ndjson")
        .body(data);
    Answer::read(request.send().await.expect("the admin API answers")).await
}

fn row(campaign: &str, number: u64) -> String {
    json!({"campaign": campaign, "n": number, "name": format!("{campaign} {number}")}).to_string() + "\n"
}

async fn click(gateway: &Gateway, id: &str, campaign: &str) -> Value {
    let request = gateway
        .send("POST", &format!("/v1/events/{TYPE}"), "adlink")
        .header("ce-id", id)
        .json(&json!({"campaign": campaign}));
    let answer = Answer::read(request.send().await.expect("no request fails")).await;
    answer.expect(202)
}

fn of_id<'r>(records: &'r [Value], id: &str) -> &'r Value {
    let found = records.iter().find(|record| record["id"] == id);
    found.unwrap_or_else(|| panic!("no record {id} in {records:?}"))
}

fn check_of(readiness: &Value, name: &str) -> Option<String> {
    let checks = readiness["checks"].as_array().expect("checks");
    let check = checks.iter().find(|check| check["name"] == name)?;
    assert_eq!(check["ok"], true, "{check}");
    Some(check["detail"].as_str().expect("a text").to_owned())
}

async fn readiness(gateway: &Gateway) -> Value {
    gateway.admin("GET", "/readyz", None).await.expect(200)
}

fn said(gateway: &Gateway, arguments: &[&str]) -> String {
    let output = gateway.cli(arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).expect("text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_waits_for_its_table_and_says_which_it_was_joined_with() {
    let mut gateway = Gateway::start().await;
    set_up(&mut gateway, "leave").await;
    let plain = json!({"match": {"type": TYPE}, "to": [{"destination": "files", "topic": "plain"}]});
    gateway.put("/v1/routes/plain", plain).await;
    let plugin = gateway
        .admin("GET", "/v1/plugins/campaign-join", None)
        .await
        .expect(200);
    assert_eq!(plugin["versions"][0]["contract"], "0.3.0");

    let waits = click(&gateway, "early", "spring").await;
    assert_eq!(
        (&waits["status"], &waits["code"]),
        (&json!("quarantined"), &json!("plugin-unavailable"))
    );
    let detail = waits["detail"].as_str().expect("a text");
    assert!(detail.contains("there is no table \"campaigns\""), "{detail}");

    let file = gateway.path("campaigns.csv");
    std::fs::write(
        &file,
        "campaign,n,name\nspring,1,Spring\nsummer,2,\"Summer, late\"\n",
    )
    .expect("a file");
    let file = file.to_str().expect("text");
    let put = said(
        &gateway,
        &["table", "put", "campaigns", file, "--key-name", "campaign"],
    );
    assert_eq!(put, "created table campaigns@1, 2 rows\n");
    assert_eq!(click(&gateway, "later", "summer").await["status"], "accepted");
    assert_eq!(click(&gateway, "unknown", "winter").await["status"], "accepted");
    let records = gateway.wait_for_records("joined", 3).await;
    let early = of_id(&records, "early");
    assert_eq!(
        early["data"],
        json!({"campaign": "spring", "n": "1", "name": "Spring"})
    );
    assert_eq!(
        (&early["hwtables"], &early["hwplugin"]),
        (&json!("campaigns@1"), &json!("campaign-join@1"))
    );
    assert_eq!(of_id(&records, "later")["data"]["name"], "Summer, late");
    let unknown = of_id(&records, "unknown");
    // That there was no row is the table's answer too.
    assert_eq!(
        (&unknown["data"], &unknown["hwtables"]),
        (&json!({"campaign": "winter"}), &json!("campaigns@1"))
    );
    let plain = gateway.wait_for_records("plain", 3).await;
    assert!(
        plain.iter().all(|record| record.get("hwtables").is_none()),
        "{plain:?}"
    );

    put_table(&gateway, row("spring", 7)).await.expect(200);
    click(&gateway, "swapped", "spring").await;
    let records = gateway.wait_for_records("joined", 4).await;
    let swapped = of_id(&records, "swapped");
    assert_eq!(
        (&swapped["data"]["n"], &swapped["hwtables"]),
        (&json!(7), &json!("campaigns@2"))
    );

    assert_eq!(
        said(&gateway, &["table", "get", "campaigns", "spring"]),
        row("spring", 7)
    );
    let shown = said(&gateway, &["table", "show", "campaigns"]);
    assert!(shown.contains("version 2 serves on this node"), "{shown}");
    assert!(said(&gateway, &["table", "list"]).contains("campaigns"));
    let refused = gateway.cli(&["table", "delete", "campaigns"]);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && error.contains("the route clicks"),
        "{error}"
    );
    said(&gateway, &["table", "delete", "campaigns", "--force"]);
    assert_eq!(
        click(&gateway, "gone", "spring").await["code"],
        "plugin-unavailable"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_rejected_for_want_of_a_row_goes_out_with_the_table_that_has_it() {
    let mut gateway = Gateway::start().await;
    set_up(&mut gateway, "reject").await;
    put_table(&gateway, row("spring", 1)).await.expect(201);
    let refused = click(&gateway, "early", "summer").await;
    assert_eq!(
        (&refused["status"], &refused["code"]),
        (&json!("quarantined"), &json!("plugin-rejected"))
    );
    let again = put_table(&gateway, row("spring", 1)).await;
    assert_eq!(again.expect(200)["version"], 1, "the same data is no version");
    assert_eq!(gateway.quarantine().await.len(), 1);

    put_table(&gateway, row("spring", 1) + &row("summer", 2))
        .await
        .expect(200);
    let records = gateway.wait_for_records("joined", 1).await;
    let record = of_id(&records, "early");
    assert_eq!(
        (&record["data"]["n"], &record["hwtables"]),
        (&json!(2), &json!("campaigns@2"))
    );
    eventually("nothing waits any more", async || {
        gateway.quarantine().await.is_empty().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_swapped_under_load_without_one_failed_request() {
    let mut gateway = Gateway::start().await;
    set_up(&mut gateway, "reject").await;
    // Rows enough that reading them takes a while.
    let rows = |version: u64| -> String {
        let others = (0..2000).map(|other| row(&format!("other-{other}"), version));
        row("spring", version) + &others.collect::<String>()
    };
    put_table(&gateway, rows(1)).await.expect(201);
    let stop = Arc::new(AtomicBool::new(false));
    let accepted = Arc::new(AtomicU64::new(0));
    let url = format!("http://{}/v1/events/{TYPE}", gateway.data_address());
    let sender = |_| {
        let (stop, accepted) = (Arc::clone(&stop), Arc::clone(&accepted));
        let (url, key, client) = (url.clone(), gateway.key("adlink"), crate::harness::client());
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let request = client
                    .post(&url)
                    .bearer_auth(&key)
                    .json(&json!({"campaign": "spring"}));
                let answer = request.send().await.expect("no request fails");
                assert_eq!(answer.status(), 202);
                let body: Value = answer.json().await.expect("an answer is JSON");
                assert_eq!(body["status"], "accepted", "{body}");
                accepted.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let senders: Vec<_> = (0..2).map(sender).collect();
    for version in 2..=20 {
        assert_eq!(
            put_table(&gateway, rows(version)).await.expect(200)["version"],
            version
        );
        // In force on this node as soon as it has answered.
        let key = format!("{TABLE}/row?key=spring");
        assert_eq!(
            gateway.admin("GET", &key, None).await.expect(200)["row"]["n"],
            version
        );
        let bad = put_table(&gateway, rows(99) + &row("spring", 99)).await;
        assert_eq!(bad.expect(422)["code"], "table-invalid");
    }
    stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await.expect("every answer is 202");
    }
    let accepted = accepted.load(Ordering::Relaxed) as usize;
    let records = gateway.wait_for_records("joined", accepted).await;
    assert_eq!(records.len(), accepted);
    let mut versions = BTreeSet::new();
    for record in &records {
        let version = record["data"]["n"].as_u64().expect("it was joined");
        assert_eq!(record["hwtables"], format!("campaigns@{version}"), "{record}");
        versions.insert(version);
    }
    assert!(versions.len() > 5, "{versions:?}");
    assert!(gateway.quarantine().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_serves_the_table_and_one_without_room_says_so() {
    let store = tempfile::tempdir().expect("a folder");
    let start = async |limits: &str| {
        let configuration = format!("[store]\nurl = \"file:{}\"\n{limits}", store.path().display());
        Gateway::start_with(Options {
            configuration,
            ..Options::default()
        })
        .await
    };
    let mut one = start("").await;
    set_up(&mut one, "leave").await;
    put_table(&one, row("spring", 1)).await.expect(201);
    let token = one.token();
    let mut other = start("[limits]\ntable_bytes = \"1KiB\"\ntables_memory_bytes = \"1KiB\"\n").await;
    std::fs::write(other.path("data/admin-token"), &token).expect("the token is shared");
    other.know_key("adlink", &one.key("adlink"));
    click(&other, "first", "spring").await;
    let records = other.wait_for_records("joined", 1).await;
    assert_eq!(of_id(&records, "first")["hwtables"], "campaigns@1");

    put_table(&one, row("spring", 2)).await.expect(200);
    eventually("the other node serves the second version", async || {
        let shown = other.admin("GET", TABLE, None).await.expect(200);
        (shown["in_force"] == 2).then_some(())
    })
    .await;
    assert_eq!(check_of(&readiness(&other).await, "table:campaigns"), None);

    let many: String = (0..100)
        .map(|number| row(&format!("c-{number}"), number))
        .collect();
    put_table(&one, many + &row("spring", 3)).await.expect(200);
    let detail = eventually("the other node says that it is behind", async || {
        check_of(&readiness(&other).await, "table:campaigns")
    })
    .await;
    assert!(
        detail.contains("version 2 serves: version 3 cannot be loaded"),
        "{detail}"
    );
    assert!(detail.contains("limits.tables_memory_bytes = 1KiB"), "{detail}");
    let shown = other.admin("GET", TABLE, None).await.expect(200);
    assert_eq!((&shown["version"], &shown["in_force"]), (&json!(3), &json!(2)));
    click(&other, "behind", "spring").await;
    let records = other.wait_for_records("joined", 2).await;
    let behind = of_id(&records, "behind");
    assert_eq!(
        (&behind["data"]["n"], &behind["hwtables"]),
        (&json!(2), &json!("campaigns@2"))
    );

    put_table(&one, row("spring", 4)).await.expect(200);
    eventually("the other node has caught up", async || {
        check_of(&readiness(&other).await, "table:campaigns")
            .is_none()
            .then_some(())
    })
    .await;
}

/// The record of the event; how many there are says nothing, since a killed node delivers again what was on its way.
async fn joined(gateway: &Gateway, id: &str) -> Value {
    eventually(&format!("a record of {id}"), async || {
        let mut records = gateway.records("joined").into_iter();
        records.find(|record| record["id"] == id)
    })
    .await
}

/// Where the local store keeps the data of the table.
async fn blob(gateway: &Gateway) -> std::path::PathBuf {
    let table = gateway.admin("GET", TABLE, None).await.expect(200);
    let digest = table["digest"].as_str().expect("a digest");
    gateway.path("data/store/registry/blobs").join(digest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_has_its_tables_again_and_without_them_loses_nothing() {
    let mut gateway = Gateway::start().await;
    set_up(&mut gateway, "leave").await;
    put_table(&gateway, row("spring", 1)).await.expect(201);
    put_table(&gateway, row("spring", 2)).await.expect(200);
    gateway.kill();
    gateway.start_again().await;
    click(&gateway, "again", "spring").await;
    assert_eq!(joined(&gateway, "again").await["hwtables"], "campaigns@2");

    let blob = blob(&gateway).await;
    let data = std::fs::read(&blob).expect("the data is there");
    gateway.kill();
    std::fs::write(&blob, b"{\"campaign\":\"spring\",\"n\":9}\n").expect("it is damaged");
    gateway.start_again().await;
    let detail = check_of(&readiness(&gateway).await, "table:campaigns").expect("it is not loaded");
    assert!(
        detail.contains("go to quarantine: version 2 cannot be loaded"),
        "{detail}"
    );
    assert!(detail.contains("is damaged"), "{detail}");
    let waits = click(&gateway, "waits", "spring").await;
    assert_eq!(waits["code"], "plugin-unavailable", "{waits}");
    assert_eq!(click(&gateway, "too", "spring").await["status"], "quarantined");

    std::fs::write(&blob, data).expect("it is mended");
    for id in ["waits", "too"] {
        let record = joined(&gateway, id).await;
        assert_eq!(
            (&record["data"]["n"], &record["hwtables"]),
            (&json!(2), &json!("campaigns@2"))
        );
    }
    assert_eq!(check_of(&readiness(&gateway).await, "table:campaigns"), None);

    // Who has the data can mend it by putting it again.
    gateway.kill();
    std::fs::remove_file(&blob).expect("it is lost");
    gateway.start_again().await;
    let detail = check_of(&readiness(&gateway).await, "table:campaigns").expect("it is not loaded");
    assert!(detail.contains("is missing"), "{detail}");
    let put = put_table(&gateway, row("spring", 2)).await.expect(200);
    assert_eq!(put["version"], 2, "the same data is no version");
    assert!(blob.exists(), "the store has it again");
    eventually("the table is loaded", async || {
        let check = check_of(&readiness(&gateway).await, "table:campaigns");
        check.is_none().then_some(())
    })
    .await;
    click(&gateway, "mended", "spring").await;
    assert_eq!(joined(&gateway, "mended").await["hwtables"], "campaigns@2");
}

fn resident_bytes(gateway: &Gateway) -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc").join(gateway.pid().to_string()).join("status"));
    let status = status.expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .and_then(|kib| kib.trim().parse().ok())
        .expect("a number");
    kib << 10
}

/// So many where the long tests are asked for, and fewer else. Its figures:
/// `HEADWORKS_TEST_LONG=1 cargo test --test it tables::a_million_rows -- --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_rows() {
    let count: u64 = if long() { 1_000_000 } else { 20_000 };
    let mut gateway = Gateway::start().await;
    set_up(&mut gateway, "reject").await;
    click(&gateway, "warm", "none").await;
    let rows = |version: u64| -> String {
        (0..count)
            .map(|n| row(&format!("c-{n:07}"), n + version))
            .collect()
    };
    let before = resident_bytes(&gateway);
    for version in 1..=3 {
        let data = rows(version);
        let (size, begun) = (data.len(), Instant::now());
        let put = put_table(&gateway, data).await;
        assert!(matches!(put.status, 200 | 201), "{}", put.text);
        let (time, shown) = (begun.elapsed(), put.json());
        assert_eq!(
            (&shown["version"], &shown["in_force"]),
            (&json!(version), &json!(version))
        );
        println!(
            "version {version}: {size} bytes, {} in memory, put in {time:?}, resident {} MiB more",
            shown["memory_bytes"],
            (resident_bytes(&gateway).saturating_sub(before)) >> 20
        );
    }
    gateway.kill();
    let begun = Instant::now();
    gateway.start_again().await;
    println!(
        "started with it in {:?}, resident {} MiB",
        begun.elapsed(),
        resident_bytes(&gateway) >> 20
    );
    let id = "after-the-start";
    click(&gateway, id, &format!("c-{:07}", count - 1)).await;
    // The one that waited for a row waits on.
    let records = gateway.wait_for_records("joined", 1).await;
    assert_eq!(of_id(&records, id)["data"]["n"], count + 2);
}
