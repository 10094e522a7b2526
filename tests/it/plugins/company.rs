//! The sample company's routes with plugins of this repository, on the company's own samples.

use std::{fs, path::Path, sync::Arc};

use bytes::Bytes;
use headworks::{
    event::{Body, Output},
    limits::ByteSize,
    lookup::{self, TableSet, TableVersion},
    registry::model::TableFormat,
    transform::{Prepared, Purpose},
};
use serde_json::{Value, json};

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
    outputs.iter().map(record).collect()
}

fn record(output: &Output) -> Value {
    match &output.body {
        Body::Document(document) => serde_json::from_slice(&document.to_bytes()).expect("a record is JSON"),
        Body::Bytes(_) => panic!("a document, not bytes"),
    }
}

/// What a plugin's own cases configure, and what its routes do, is not refused by the schema that goes with it.
#[test]
fn the_schemas_of_configurations_take_what_their_plugins_take() {
    let mut tried = 0;
    for plugin in fs::read_dir(repository().join("plugins")).expect("there are plugins") {
        let plugin = plugin.expect("it can be read").path();
        if !plugin.join("Cargo.toml").is_file() {
            continue;
        }
        let schema = fs::read_to_string(plugin.join("config.schema.json"))
            .unwrap_or_else(|error| panic!("{} has no config.schema.json: {error}", plugin.display()));
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

#[tokio::test]
async fn clicks_get_what_the_table_knows_of_their_campaign() {
    const TABLE: &str = "tables/campaigns.campaign.ndjson";
    let plugin = plugin_of("campaigns").await;
    let text = fs::read_to_string(repository().join(TABLE)).expect("the table is there");
    let read = lookup::read(
        &Bytes::from(text.clone()),
        TableFormat::Ndjson,
        "campaign",
        ByteSize(1 << 20),
    );
    let name = "campaigns".parse().expect("a name");
    let table = TableVersion::new(&name, 3, Arc::new(read.expect("the table is in order")));
    let set = Arc::new(TableSet::new([(name, Ok(table))]));
    let transform = |data: &Value| {
        let outputs = plugin.transform_for(Purpose::Live, &super::event(&data.to_string()), &set);
        let outputs = outputs.unwrap_or_else(|failure| panic!("{failure:?}: {data:#}"));
        assert_eq!(outputs.len(), 1, "a click stays one record");
        assert_eq!(outputs[0].tables.as_deref(), Some("campaigns@3"));
        record(&outputs[0])
    };
    let rows: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a row is JSON"))
        .collect();
    let sent = samples("campaign.click@1.0.0");
    for data in &sent {
        let row = rows.iter().find(|row| row["campaign"] == data["campaign"]);
        let row = row.unwrap_or_else(|| panic!("{TABLE} has no row for {}", data["campaign"]));
        let mut joined = data.clone();
        joined["campaign_info"] = json!({
            "name": row["name"], "channel": row["channel"], "budget_won": row["budget_won"],
        });
        assert_eq!(transform(data), joined);
    }
    let first = transform(&sent[0]);
    assert_eq!(
        first["campaign_info"],
        json!({"name": "Autumn check-up for air conditioners", "channel": "search", "budget_won": 30_000_000}),
    );
    for row in &rows {
        let mut data = sent[0].clone();
        data["campaign"] = row["campaign"].clone();
        assert_eq!(transform(&data)["campaign_info"]["channel"], row["channel"]);
    }
    let mut unknown = sent[0].clone();
    unknown["campaign"] = "unheard-of".into();
    assert_eq!(transform(&unknown), unknown, "a campaign that it does not name");
}
