//! The sample company's routes with plugins of this repository, on the company's own samples.

use std::{fs, path::Path, sync::Arc};

use headworks::{event::Body, transform::Prepared};
use serde_json::Value;

use super::{build, component, repository, transformer};

/// The plugin of a route, configured as the route says.
async fn plugin_of(route: &str) -> Arc<Prepared> {
    let path = repository().join("routes").join(format!("{route}.toml"));
    let text = fs::read_to_string(&path).expect("the route is there");
    let route: Value = toml::from_str(&text).expect("it is TOML");
    let name = route["plugin"].as_str().expect("the route names a plugin");
    let built = build(&repository().join("plugins").join(name));
    transformer()
        .prepare(
            &name.parse().expect("a name"),
            1,
            component(&built),
            Some(&route["config"]),
        )
        .await
        .expect("the plugin takes the route's configuration")
}

/// The data of every valid sample of a schema.
fn samples(schema: &str) -> Vec<Value> {
    let (event_type, since) = schema.split_once('@').expect("TYPE@SINCE");
    let folder = repository().join(format!("schemas/{event_type}/samples/{since}"));
    let read = |path: &Path| -> Value {
        serde_json::from_str(&fs::read_to_string(path).expect("a sample")).expect("it is JSON")
    };
    let samples: Vec<Value> = fs::read_dir(folder)
        .expect("the schema has samples")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("valid-"))
        })
        .map(|path| read(&path)["data"].clone())
        .collect();
    assert!(!samples.is_empty(), "{schema} has no valid sample");
    samples
}

fn records(plugin: &Prepared, data: &Value) -> Vec<Value> {
    let outputs = plugin
        .transform(&super::event(&data.to_string()))
        .unwrap_or_else(|failure| panic!("{failure:?}: {data:#}"));
    let record = |body: &Body| match body {
        Body::Document(document) => serde_json::from_slice(&document.to_bytes()).expect("a record is JSON"),
        Body::Bytes(_) => panic!("a document, not bytes"),
    };
    outputs.iter().map(|output| record(&output.body)).collect()
}

/// What a plugin's own cases configure, and what its routes do, is not refused by the schema that goes with it.
#[test]
fn the_schemas_of_configurations_take_what_their_plugins_take() {
    let mut tried = 0;
    for plugin in fs::read_dir(repository().join("plugins")).expect("there are plugins") {
        let plugin = plugin.expect("it can be read").path();
        let Ok(schema) = fs::read_to_string(plugin.join("config.schema.json")) else {
            continue;
        };
        let schema = jsonschema::options()
            .offline()
            .build(&serde_json::from_str(&schema).expect("it is JSON"))
            .expect("it compiles");
        let cases = fs::read_dir(plugin.join("cases")).expect("a plugin has cases");
        let folders = cases.map(|case| case.expect("it can be read").path());
        for folder in folders.chain([plugin.join("cases")]) {
            let refused = fs::read_to_string(folder.join("records.json"))
                .is_ok_and(|text| text.contains("\"refused\""));
            let Ok(config) = fs::read_to_string(folder.join("config.json")) else {
                continue;
            };
            let config: Value = serde_json::from_str(&config).expect("it is JSON");
            let faults: Vec<String> = schema
                .iter_errors(&config)
                .map(|fault| format!("{}: {fault}", fault.instance_path()))
                .collect();
            assert!(refused || faults.is_empty(), "{}: {faults:?}", folder.display());
            tried += 1;
        }
    }
    assert!(tried > 20, "{tried}");
}

#[tokio::test]
async fn postbacks_keep_the_form_of_their_schema() {
    let plugin = plugin_of("attribution").await;
    let schema = fs::read_to_string(repository().join("schemas/attribution.postback/1.0.0.json"))
        .expect("it is there");
    let schema = jsonschema::options()
        .offline()
        .build(&serde_json::from_str(&schema).expect("it is JSON"))
        .expect("it compiles");
    for data in samples("attribution.postback@1.0.0") {
        let records = records(&plugin, &data);
        assert_eq!(records.len(), 1);
        assert!(schema.is_valid(&records[0]), "{:#}", records[0]);
        assert_eq!(records[0]["device_id"], data["device_id"]);
    }
}

#[tokio::test]
async fn an_order_of_any_version_becomes_a_record_for_each_product() {
    let plugin = plugin_of("order-items").await;
    for schema in ["commerce.order_completed@4.2.0", "commerce.order_completed@5.0.0"] {
        for data in samples(schema) {
            let records = records(&plugin, &data);
            let products = data["products"].as_array().expect("an order has products");
            assert_eq!(records.len(), products.len());
            for (position, record) in records.iter().enumerate() {
                assert_eq!(record["position"], position);
                assert_eq!(record["ordered_at"], data["occurred_at"]);
                assert_eq!(record["currency"], "KRW");
                assert!(
                    record["total"].is_number() && record["product"]["price"].is_number(),
                    "{record:#}"
                );
                let product = record["product"]["product_id"].as_str().expect("a text");
                assert!(product.starts_with("P-"), "{product}");
                assert!(
                    record["payment"].is_null() && record["products"].is_null(),
                    "{record:#}"
                );
            }
        }
    }
}
