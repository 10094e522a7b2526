//! Lookup tables. What plugins get of them is tested with a whole gateway.

use serde_json::{Value, json};

use super::{Answered, Api, send};
use crate::registry::{
    model::{Change, Digest, PluginVersion, Role},
    now,
};

const TABLE: &str = "/v1/tables/campaigns";
const ROWS: &str = "{\"key\":\"spring\",\"n\":1}\n{\"key\":\"summer\"}\n";

impl Api {
    async fn put_table(&self, path: &str, content_type: &str, data: impl Into<reqwest::Body>) -> Answered {
        let request = self
            .request(Role::Publisher, "PUT", path)
            .header("content-type", content_type)
            .body(data);
        send(request).await
    }

    async fn put_rows(&self, data: &'static str) -> Answered {
        self.put_table(TABLE, "application/x-ndjson", data).await
    }
}

fn messages(answered: &Answered) -> Vec<String> {
    let body = answered.json();
    let errors = body["errors"].as_array().map_or(&[][..], Vec::as_slice);
    let message = |error: &Value| error["message"].as_str().expect("a text").to_owned();
    errors.iter().map(message).collect()
}

#[tokio::test]
async fn a_table_goes_through_its_versions() {
    let api = Api::start().await;
    assert_eq!(api.get(TABLE).await.code(), "not-found");
    let made = api.put_rows(ROWS).await;
    assert_eq!(made.status, 201);
    let body = made.json();
    for (member, wanted) in [
        ("name", json!("campaigns")),
        ("version", json!(1)),
        ("format", json!("ndjson")),
        ("key", json!("key")),
        ("rows", json!(2)),
        ("size", json!(ROWS.len())),
        ("digest", json!(Digest::of(ROWS.as_bytes()).to_string())),
        ("by", json!("publisher")),
    ] {
        assert_eq!(body[member], wanted, "{member}");
    }
    let read = api.get(TABLE).await;
    assert_eq!(
        (read.status, read.etag(), read.json()),
        (200, made.etag(), body.clone())
    );

    let same = api.put_rows(ROWS).await;
    assert_eq!(
        (same.status, same.etag(), same.json()),
        (200, made.etag(), body.clone())
    );
    let csv = api
        .put_table(
            &format!("{TABLE}?key=id"),
            "text/csv; charset=utf-8",
            "id,n\n1,2\n",
        )
        .await;
    assert_eq!((csv.status, csv.json()["version"].clone()), (200, json!(2)));
    assert_ne!(csv.etag(), made.etag());
    let stale = api
        .request(Role::Publisher, "PUT", TABLE)
        .header("content-type", "application/x-ndjson")
        .header("if-match", made.etag())
        .body(ROWS);
    assert_eq!(send(stale).await.code(), "precondition-failed");

    assert_eq!(api.delete(TABLE).await.status, 204);
    assert_eq!(api.delete(TABLE).await.code(), "not-found");
    // A version never stands for two contents.
    assert_eq!(api.put_rows(ROWS).await.json()["version"], 3);
    let list = api.get("/v1/tables").await.json();
    assert_eq!(list["items"].as_array().expect("items").len(), 1);

    let changes = api.get("/v1/changes").await.json();
    let of_tables: Vec<_> = changes["items"]
        .as_array()
        .expect("items")
        .iter()
        .filter(|change| change["name"] == "campaigns")
        .map(|change| {
            (
                change["change"].clone(),
                change["by"].clone(),
                change["table"]["rows"].clone(),
            )
        })
        .collect();
    let put = |rows: u64| (json!("put_table"), json!("publisher"), json!(rows));
    let deleted = (json!("delete_table"), json!("admin"), Value::Null);
    assert_eq!(of_tables, [put(2), put(1), deleted, put(2)]);
}

#[tokio::test]
async fn a_table_at_fault_changes_nothing() {
    let api = Api::start().await;
    api.put_rows(ROWS).await;
    let refused = api
        .put_table(
            TABLE,
            "application/x-ndjson",
            &b"{\"key\":\"a\"}\n{\"key\":\"a\"}\n\xff\n"[..],
        )
        .await;
    assert_eq!((refused.status, refused.code().as_str()), (422, "table-invalid"));
    let lines = messages(&refused);
    assert!(lines[0].starts_with("line 3: invalid UTF-8"), "{lines:?}");
    assert!(
        lines[1].starts_with("line 2: the key \"a\" stands at line 1"),
        "{lines:?}"
    );

    let unknown = api.put_table(TABLE, "application/json", ROWS).await;
    assert_eq!(unknown.code(), "content-type-unknown");
    let large = api
        .put_table(TABLE, "application/x-ndjson", " ".repeat((1 << 20) + 1))
        .await;
    assert_eq!(large.code(), "body-too-large");
    for path in [
        "/v1/tables/Campaigns",
        "/v1/tables/a?keys=id",
        "/v1/tables/a?key=",
    ] {
        assert_eq!(
            api.put_table(path, "text/csv", "key\n1\n").await.code(),
            "input-invalid",
            "{path}"
        );
    }
    // Within the bound of one table, and beyond what all may have.
    let row = |key: usize| format!("{{\"key\":{key},\"t\":\"{}\"}}\n", "x".repeat(1000));
    let much: String = (0..900).map(row).collect();
    let second = api
        .put_table("/v1/tables/other", "application/x-ndjson", much.clone())
        .await;
    assert_eq!(second.status, 201);
    let third = api
        .put_table("/v1/tables/third", "application/x-ndjson", much)
        .await;
    assert_eq!(third.code(), "table-invalid");
    let detail = third.json()["detail"].as_str().expect("a text").to_owned();
    assert!(detail.contains("limits.tables_memory_bytes"), "{detail}");

    let kept = api.get(TABLE).await.json();
    assert_eq!((&kept["version"], &kept["rows"]), (&json!(1), &json!(2)));
}

#[tokio::test]
async fn a_table_in_use_is_deleted_only_with_force() {
    let api = Api::start().await;
    api.put_rows(ROWS).await;
    for (plugin, import) in [
        ("joins", "headworks:plugin/tables@0.2.0"),
        ("other", "headworks:plugin/types@0.1.0"),
    ] {
        let name = || plugin.parse().expect("a name");
        let version = PluginVersion {
            version: 1,
            digest: Digest::of(b"component"),
            size: 9,
            imports: vec![import.to_owned()],
            language: None,
            sdk: None,
            created: now(),
            by: "test".to_owned(),
        };
        let changes = [
            Change::AddPluginVersion {
                plugin: name(),
                version,
            },
            Change::ActivatePlugin {
                plugin: name(),
                version: 1,
                share: None,
            },
        ];
        for change in changes {
            let decide = move |_: &_| Ok((Some(change.clone()), ()));
            api.registry.commit("test", decide).await.expect("it is written");
        }
        api.registry.put_blob("\0asm".into()).await.expect("it is kept");
    }
    let route = |plugin: &str| {
        let config = json!({"joins": [{"table": "campaigns"}]});
        let route: crate::registry::model::Route = serde_json::from_value(
            json!({"plugin": plugin, "config": config, "to": [{"destination": "files"}]}),
        )
        .expect("a route");
        route
    };
    for (name, plugin) in [("clicks", "joins"), ("same-word", "other")] {
        let change = Change::PutRoute {
            name: name.parse().expect("a name"),
            route: route(plugin),
        };
        let decide = move |_: &_| Ok((Some(change.clone()), ()));
        api.registry.commit("test", decide).await.expect("it is written");
    }
    let refused = api.delete(TABLE).await;
    assert_eq!((refused.status, refused.code().as_str()), (409, "table-in-use"));
    let detail = refused.json()["detail"].as_str().expect("a text").to_owned();
    assert!(
        detail.contains("the route clicks") && !detail.contains("same-word"),
        "{detail}"
    );

    let forced = format!("{TABLE}?force=true");
    let publisher = send(api.request(Role::Publisher, "DELETE", &forced)).await;
    assert_eq!(publisher.code(), "role-insufficient");
    let viewer = send(api.request(Role::Viewer, "DELETE", TABLE)).await;
    assert_eq!(viewer.code(), "role-insufficient");
    let operator = send(api.request(Role::Operator, "DELETE", &forced)).await;
    assert_eq!(operator.status, 204);
}

#[tokio::test]
async fn a_row_is_asked_for_by_its_key() {
    let api = Api::start().await;
    assert_eq!(
        api.get(&format!("{TABLE}/row?key=spring")).await.code(),
        "not-found"
    );
    assert_eq!(api.get(&format!("{TABLE}/row")).await.code(), "input-invalid");
    // The node of these tests follows no log: it has no rows.
    api.put_rows(ROWS).await;
    let loading = api.get(&format!("{TABLE}/row?key=spring")).await;
    assert_eq!(loading.code(), "not-found");
}
