//! Schemas that refer to each other, in running gateways; and schemas that were made to hurt one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use headworks::validate::compatibility::{
    Source, Verdict,
    child::{Pair, compare_apart},
};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::harness::gateway::{Gateway, Options, eventually};

fn order(street: &str) -> String {
    json!({"type": "shop.order", "appversion": "1", "data": {"to": {"street": street}}}).to_string()
}

/// Two schemas in a circle, one more that leads there, applied to one node; another node follows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "one story of two nodes")]
async fn a_change_of_what_is_referred_to_counts_everywhere_and_drains() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let options = || Options {
        configuration: format!("[store]\nurl = \"file:{}\"\n", folder.path().display()),
        ..Options::default()
    };
    let mut one = Gateway::start_with(options()).await;
    let mut other = Gateway::start_with(options()).await;
    std::fs::copy(one.path("data/admin-token"), other.path("data/admin-token")).expect("the token is there");
    let key = one.partner("shop", json!({})).await;
    other.know_key("shop", &key);
    let write = |name: &str, text: Value| {
        let path = one.path("company").join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("it is made");
        std::fs::write(path, text.to_string()).expect("it is written");
    };
    write(
        "schemas/shop.order/1.json",
        json!({"properties": {"to": {"$ref": "https://acme.example/address"}}, "required": ["to"]}),
    );
    let address = |street: Value| {
        json!({"$id": "https://acme.example/address", "type": "object",
            "properties": {"street": street, "resident": {"$ref": "headworks:shop.person@1"}}})
    };
    write("schemas/shop.address/1.json", address(json!({"maxLength": 5})));
    write(
        "schemas/shop.person/1.json",
        json!({"type": "object", "properties": {"home": {"$ref": "headworks:shop.address@1"}}}),
    );
    let company = one.path("company");
    let company = company.to_str().expect("the path is text");
    let applied = one.cli(&["apply", "--keep", company]);
    let said = String::from_utf8_lossy(&[applied.stdout, applied.stderr].concat()).into_owned();
    assert!(
        applied.status.success() && said.contains("shop.address@1 and shop.person@1"),
        "{said}"
    );
    let again = one.cli(&["apply", "--keep", company]);
    assert!(
        String::from_utf8_lossy(&again.stdout).contains("nothing to change"),
        "the texts are kept to the byte"
    );
    let shown = one.cli(&["schema", "show", "shop.address", "1"]);
    let bonds = String::from_utf8_lossy(&shown.stderr).into_owned();
    assert!(bonds.contains("refers to headworks:shop.person@1"), "{bonds}");
    assert!(
        bonds.contains("referred to by shop.order@1, shop.person@1"),
        "{bonds}"
    );

    let route = json!({"match": {"type": "shop.*"}, "to": [{"destination": "files", "topic": "shop"}]});
    one.put("/v1/routes/shop", route).await;
    let post = async |gateway: &Gateway, street: &str| {
        let answer = gateway
            .post("/v1/events", "shop", "application/json", order(street))
            .await;
        answer.expect(202)
    };
    eventually("the other node has all of it", async || {
        let answer = other
            .post("/v1/events", "shop", "application/json", order("short"))
            .await;
        (answer.status == 202 && answer.json()["status"] == "accepted").then_some(())
    })
    .await;
    let kept = post(&one, "a street of some length").await;
    assert_eq!(
        (&kept["code"], &kept["errors"][0]["pointer"]),
        (&json!("schema-violation"), &json!("/to/street"))
    );
    let refused = one
        .admin(
            "PUT",
            "/v1/schemas/shop.address/1",
            Some(address(json!({"maxLength": 3}))),
        )
        .await;
    assert_eq!(refused.expect(409)["code"], "schema-incompatible");
    let widened = one
        .put("/v1/schemas/shop.address/1", address(json!({"maxLength": 50})))
        .await;
    assert_eq!(
        widened["dependents"].as_array().map(Vec::len),
        Some(2),
        "{widened}"
    );
    eventually("what waited goes out by itself", async || {
        one.quarantine().await.is_empty().then_some(())
    })
    .await;
    let made = Instant::now();
    eventually("the other node checks by the new text", async || {
        (post(&other, "a street of some length").await["status"] == "accepted").then_some(())
    })
    .await;
    assert!(made.elapsed() < Duration::from_secs(5), "{:?}", made.elapsed());

    // Without what it refers to a schema takes nothing, and never everything; deleting says so first.
    let refused = one.cli(&["schema", "delete", "shop.address", "1", "--yes"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("schema-referenced"));
    let deleted = one.cli(&["schema", "delete", "shop.address", "1", "--force", "--yes"]);
    assert!(
        deleted.status.success(),
        "{}",
        String::from_utf8_lossy(&deleted.stderr)
    );
    let kept = post(&one, "short").await;
    assert_eq!(kept["code"], "schema-unknown", "{kept}");
    one.terminate().await;
    one.start_again().await;
    assert_eq!(post(&one, "short").await["code"], "schema-unknown");
    let applied = one.cli(&["apply", "--keep", company]);
    assert!(
        applied.status.success(),
        "{}",
        String::from_utf8_lossy(&applied.stderr)
    );
    eventually("all goes out", async || {
        one.quarantine().await.is_empty().then_some(())
    })
    .await;
}

/// `count` definitions, each of which applies the next one twice.
fn bomb(count: usize, leaf: &Value) -> Value {
    let mut definitions = serde_json::Map::new();
    for index in 0..count {
        let next = json!({"$ref": format!("#/$defs/d{}", index + 1)});
        definitions.insert(format!("d{index}"), json!({"allOf": [next, next]}));
    }
    definitions.insert(format!("d{count}"), leaf.clone());
    json!({"$ref": "#/$defs/d0", "$defs": definitions})
}

/// Each pattern takes megabytes, once it is compiled.
fn dear_patterns(count: usize) -> Value {
    let properties: serde_json::Map<String, Value> = (0..count)
        .map(|index| {
            (
                format!("p{index}"),
                json!({"pattern": format!("^(\\p{{L}}{{{}}}x|y)$", 100 + index % 50)}),
            )
        })
        .collect();
    json!({"properties": properties})
}

/// Sends one event after the other; gives how many were accepted until `stop`, and how long the slowest took.
async fn serve_beside(gateway: &Gateway, stop: &AtomicBool) -> (u32, Duration) {
    let mut slowest = Duration::ZERO;
    let mut served = 0;
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let event = "{}".to_owned();
        let answer = gateway
            .post("/v1/events/shop.order", "shop", "application/json", event)
            .await;
        assert_eq!(answer.expect(202)["status"], "accepted");
        slowest = slowest.max(begun.elapsed());
        served += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (served, slowest)
}

async fn refused_in_time(what: &str, request: RequestBuilder, status: u16, code: &str) {
    let begun = Instant::now();
    // A body that is far too large may be broken off while it is still sent.
    if let Ok(answer) = request.send().await {
        assert_eq!(answer.status().as_u16(), status, "{what}");
        let problem: Value = answer.json().await.expect("a problem");
        assert_eq!(problem["code"], code, "{what}: {problem}");
        let says = problem["detail"].as_str().is_some_and(|detail| detail.len() > 20);
        assert!(says, "{what}: {problem}");
    } else {
        assert_eq!(what, "length");
    }
    // The bound is 10 s; starting a process on a machine that does much else takes some of its own.
    assert!(
        begun.elapsed() < Duration::from_secs(12),
        "{what}: {:?}",
        begun.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_schema_is_refused_in_time_and_disturbs_nobody() {
    let mut gateway = Gateway::start_on_defaults().await;
    gateway.partner("shop", json!({})).await;
    gateway
        .put("/v1/schemas/shop.order/1", json!({"type": "object"}))
        .await;
    let route = json!({"match": {"type": "shop.*"}, "to": [{"destination": "files", "topic": "shop"}]});
    gateway.put("/v1/routes/shop", route).await;
    let deep = format!("{}true{}", r#"{"not":"#.repeat(5000), "}".repeat(5000));
    let long = format!(r#"{{"description":"{}"}}"#, "a".repeat(64 << 20));
    let hostile = [
        ("depth", deep, 400, "json-too-deep"),
        ("length", long, 413, "body-too-large"),
        (
            "references",
            bomb(60, &json!({"type": "object"})).to_string(),
            422,
            "schema-invalid",
        ),
        ("patterns", dear_patterns(2000).to_string(), 422, "schema-invalid"),
    ];
    let gateway = Arc::new(gateway);
    let is_done = Arc::new(AtomicBool::new(false));
    let (traffic, stop) = (Arc::clone(&gateway), Arc::clone(&is_done));
    let serving = tokio::spawn(async move { serve_beside(&traffic, &stop).await });
    for (what, text, status, code) in hostile {
        for (method, place) in [(Method::PUT, ""), (Method::POST, "/check")] {
            let path = format!("{}/v1/schemas/shop.evil/1{place}", gateway.admin_url());
            let request = crate::harness::client().request(method, path);
            let request = request.bearer_auth(gateway.token()).body(text.clone());
            refused_in_time(what, request, status, code).await;
        }
    }
    // Just not too dear to be registered: it is compiled once more in the gateway itself, and tried.
    let mut dear = dear_patterns(2);
    dear["description"] = "a long text may cost more. ".repeat(36_000).into();
    let checked = gateway
        .admin("POST", "/v1/schemas/shop.order/2/check", Some(dear))
        .await;
    assert_eq!(checked.status, 200, "{}", checked.text);
    is_done.store(true, Ordering::Relaxed);
    let (served, slowest) = serving.await.expect("every event was answered");
    println!("{served} events beside, the slowest took {slowest:?}");
    assert!(
        served > 50 && slowest < Duration::from_secs(2),
        "{served}, {slowest:?}"
    );
}

fn source(root: Value) -> Source {
    Source {
        root: Arc::new(root),
        library: Arc::default(),
    }
}

/// What the gateway would never have taken, compared all the same: an older node may have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comparison_that_takes_too_much_is_unknown_and_says_so() {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_headworks"));
    // In an order that no prover sees through, and that takes any time to try out.
    let endless = bomb(60, &json!({"pattern": "^(a|b|c)(a|b|c)*$"}));
    let pairs = [
        (
            json!({"type": "string", "pattern": "^[a-c]+$"}),
            endless,
            "time or memory",
        ),
        (json!({"type": "object"}), dear_patterns(2000), "time or memory"),
    ];
    for (old, new, why) in pairs {
        let begun = Instant::now();
        let pair = Pair {
            old: source(old),
            new: source(new),
            events: Vec::new(),
        };
        let reports = compare_apart(program, &[pair]).await;
        assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
        let [report] = &reports[..] else {
            panic!("{reports:?}")
        };
        assert_eq!(report.backward.verdict, Verdict::Unknown, "{why}: {report:?}");
        let said = report.backward.undecided.as_deref().unwrap_or_default();
        assert!(
            said.contains(why) || said.contains("more time than there is"),
            "{said}"
        );
    }
}
