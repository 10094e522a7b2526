//! Making a plugin's version ready on a node takes time, or fails for a while: the version before runs on, nothing else
//! waits for it, and nobody has to change anything for it to be tried again.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::{
    harness::{
        gateway::{Gateway, Options, eventually},
        page_view,
    },
    plugins::bombs,
};

const TYPE: &str = "app.page_view";
const PLUGIN: &str = "/v1/plugins/views";

async fn node(store: &str) -> Gateway {
    Gateway::start_with(Options {
        configuration: store.to_owned(),
        ..Options::default()
    })
    .await
}

/// Partner `live`, whose events go through the plugin `views`, of which these versions were pushed in turn.
async fn set_up(gateway: &mut Gateway, versions: [Vec<u8>; 2]) {
    gateway.partner("live", json!({})).await;
    gateway
        .put(&format!("/v1/schemas/{TYPE}/1"), json!({"type": "object"}))
        .await;
    for version in versions {
        gateway.push_plugin("views", version).await;
    }
    let route = json!({"plugin": "views", "to": [{"destination": "files", "topic": "live"}]});
    gateway.put("/v1/routes/live", route).await;
}

/// The same code in other bytes: another version.
fn again(component: &[u8]) -> Vec<u8> {
    [component, &[0, 5, 1, b'x', 1, 2, 3]].concat()
}

async fn post(gateway: &Gateway, id: &str) -> Value {
    let request = gateway
        .send("POST", &format!("/v1/events/{TYPE}"), "live")
        .header("ce-id", id)
        .json(&json!({"platform": "ios"}));
    let answer = request.send().await.expect("no request fails");
    assert_eq!(answer.status(), 202);
    answer.json().await.expect("an answer is JSON")
}

/// The version that makes records of events now.
async fn version_in_force(gateway: &Gateway, id: &str) -> String {
    let answer = post(gateway, id).await;
    assert_eq!(answer["status"], "accepted", "{answer}");
    eventually("the record is there", async || {
        let records = gateway.records("live");
        let record = records.iter().find(|record| record["id"] == id)?;
        Some(record["hwplugin"].as_str().expect("a plugin ran").to_owned())
    })
    .await
}

/// What readiness says of the route.
async fn said_of_route(gateway: &Gateway) -> Option<String> {
    let readiness = gateway.admin("GET", "/readyz", None).await.expect(200);
    let checks = readiness["checks"].as_array().expect("a list");
    let check = checks.iter().find(|check| check["name"] == "route:live")?;
    Some(check["detail"].as_str().expect("a reason").to_owned())
}

async fn changes(gateway: &Gateway) -> usize {
    let changes = gateway.admin("GET", "/v1/changes?limit=1000", None).await;
    changes.expect(200)["items"].as_array().expect("a list").len()
}

/// A version's component, taken out of the store and of the compiled forms.
struct Hidden {
    blob: PathBuf,
    bytes: Vec<u8>,
}

impl Hidden {
    async fn take(gateway: &mut Gateway, version: usize) -> Hidden {
        let plugin = gateway.admin("GET", PLUGIN, None).await.expect(200);
        let digest = plugin["versions"][version - 1]["digest"]
            .as_str()
            .expect("a version has one");
        // What is in memory goes with the process.
        gateway.kill();
        let blob = gateway.path("data/store/registry/blobs").join(digest);
        let bytes = std::fs::read(&blob).expect("the store has it");
        std::fs::remove_file(&blob).expect("ours");
        let cache = std::fs::read_dir(gateway.path("data/cache")).expect("the cache is there");
        let compiled = cache.map(|entry| entry.expect("it can be read").path());
        let mut removed = 0;
        for path in compiled.filter(|path| path.to_string_lossy().contains(digest)) {
            std::fs::remove_file(path).expect("ours");
            removed += 1;
        }
        assert_eq!(removed, 1, "it was compiled");
        gateway.start_again().await;
        Hidden { blob, bytes }
    }

    fn put_back(self) {
        std::fs::write(self.blob, self.bytes).expect("ours");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_cannot_be_read_is_tried_again_by_itself() {
    let mut gateway = Gateway::start().await;
    let component = page_view::component();
    let versions = [component.clone(), again(&component)];
    set_up(&mut gateway, versions).await;

    // At a change: what ran before it runs on.
    let hidden = Hidden::take(&mut gateway, 1).await;
    assert_eq!(version_in_force(&gateway, "before").await, "views@2");
    let rolled_back = gateway.admin("POST", &format!("{PLUGIN}/rollback"), None).await;
    let plugin = rolled_back.expect(200);
    assert_eq!(
        (&plugin["active"], &plugin["health"]["status"]),
        (&json!(1), &json!("failing")),
        "{plugin}"
    );
    assert_eq!(
        said_of_route(&gateway).await.as_deref(),
        Some("views@2 runs on: views@1 cannot be read from the store")
    );
    assert_eq!(version_in_force(&gateway, "meanwhile").await, "views@2");
    let before = changes(&gateway).await;
    hidden.put_back();
    eventually("readiness has nothing to say", async || {
        said_of_route(&gateway).await.is_none().then_some(())
    })
    .await;
    assert_eq!(version_in_force(&gateway, "after").await, "views@1");
    assert_eq!(changes(&gateway).await, before, "nobody changed anything");

    // At the start: nothing ran before, so events wait.
    let hidden = Hidden::take(&mut gateway, 1).await;
    assert_eq!(
        said_of_route(&gateway).await.as_deref(),
        Some("its events go to quarantine: views@1 cannot be read from the store")
    );
    let answer = post(&gateway, "waits").await;
    assert_eq!(answer["code"], "plugin-unavailable", "{answer}");
    hidden.put_back();
    let records = gateway.wait_for_records("live", 4).await;
    let waited = records.iter().find(|record| record["id"] == "waits");
    assert_eq!(waited.expect("it was replayed")["hwplugin"], "views@1");
    assert_eq!(said_of_route(&gateway).await, None);
    assert_eq!(changes(&gateway).await, before, "nobody changed anything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compiling_on_another_node_holds_up_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let store = format!("[store]\nurl = \"file:{}\"\n", folder.path().display());
    let mut one = node(&store).await;
    let mut other = node(&store).await;
    // The first node of a store makes the token; it holds on all.
    std::fs::copy(one.path("data/admin-token"), other.path("data/admin-token")).expect("the token is there");
    let component = page_view::component();
    set_up(&mut one, [component.clone(), again(&component)]).await;
    other.know_key("live", &one.key("live"));
    eventually("the other node runs the plugin", async || {
        let answer = other.admin("GET", "/v1/routes/live", None).await;
        (answer.status == 200 && said_of_route(&other).await.is_none()).then_some(())
    })
    .await;
    assert_eq!(version_in_force(&other, "before").await, "views@2");

    let slow = bombs::slow_to_compile(&component);
    assert_eq!(one.push_plugin("views", slow.to_vec()).await, 3);
    let marker = "/v1/partners/marker";
    one.put(marker, json!({})).await;
    eventually("the other node has the next change", async || {
        let answer = other.admin("GET", marker, None).await;
        (answer.status == 200).then_some(())
    })
    .await;
    let plugin = other.admin("GET", PLUGIN, None).await.expect(200);
    assert_eq!(plugin["active"], 3, "{plugin}");
    assert_eq!(
        said_of_route(&other).await.as_deref(),
        Some("views@2 runs on: views@3 is being prepared"),
        "it still compiles"
    );
    assert_eq!(version_in_force(&other, "meanwhile").await, "views@2");
    eventually("it is compiled", async || {
        said_of_route(&other).await.is_none().then_some(())
    })
    .await;
    assert_eq!(version_in_force(&other, "after").await, "views@3");
}

/// What another node uploaded is compiled before anybody activates it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_node_uploaded_is_compiled_ahead() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let store = format!("[store]\nurl = \"file:{}\"\n", folder.path().display());
    let mut one = node(&store).await;
    let other = node(&store).await;
    let component = page_view::component();
    set_up(&mut one, [component.clone(), again(&component)]).await;
    let plugin = one.admin("GET", PLUGIN, None).await.expect(200);
    for version in 0..2 {
        let digest = plugin["versions"][version]["digest"].as_str().expect("a digest");
        eventually("it is compiled there", async || {
            let mut cache = std::fs::read_dir(other.path("data/cache")).ok()?;
            let is_it = |name: &str| name.starts_with(digest) && name.ends_with(".compiled");
            cache
                .any(|entry| entry.is_ok_and(|entry| is_it(&entry.file_name().to_string_lossy())))
                .then_some(())
        })
        .await;
    }
}
