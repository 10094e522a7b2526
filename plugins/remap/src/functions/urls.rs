use std::collections::BTreeMap;

use headworks_plugin::Value;
use serde_json::{Map, Value as Json};
use url::Url;

/// Stands for the host that a URL without one leaves out.
const NOWHERE: &str = "http://nowhere.invalid";

/// `{scheme, host, port, path, query, fragment}`, each where the URL has it; user and password are left out.
pub fn parse(text: &str) -> Result<Value, &'static str> {
    let text = text.trim();
    let is_path = text.starts_with('/') && !text.starts_with("//");
    let parsed = if is_path {
        Url::parse(NOWHERE).and_then(|base| base.join(text))
    } else {
        Url::parse(text)
    };
    let url = parsed.map_err(|_| "no URL")?;
    let mut parts = Map::new();
    let mut put = |name: &str, value: Option<&str>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            parts.insert(name.to_owned(), value.into());
        }
    };
    if !is_path {
        put("scheme", Some(url.scheme()));
        put("host", url.host_str());
    }
    put("path", Some(url.path()));
    put("fragment", url.fragment());
    if let Some(port) = url.port_or_known_default().filter(|_| !is_path) {
        parts.insert("port".to_owned(), port.into());
    }
    if url.query().is_some_and(|query| !query.is_empty()) {
        parts.insert("query".to_owned(), query(&url));
    }
    Ok(Json::Object(parts).into())
}

/// A name that is repeated has all of its values.
fn query(url: &Url) -> Json {
    let mut members: BTreeMap<String, Vec<Json>> = BTreeMap::new();
    for (name, value) in url.query_pairs() {
        members
            .entry(name.into_owned())
            .or_default()
            .push(value.into_owned().into());
    }
    let one_or_all = |mut values: Vec<Json>| match values.len() {
        1 => values.remove(0),
        _ => Json::Array(values),
    };
    members
        .into_iter()
        .map(|(name, values)| (name, one_or_all(values)))
        .collect()
}
