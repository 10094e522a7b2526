use headworks_plugin::Value;
use serde_json::{Map, Value as Json};
use woothee::{parser::Parser, woothee::VALUE_UNKNOWN};

/// `{name, version, vendor, category, os, os_version}`, each where it is known. `category` is `pc`, `smartphone`,
/// `mobilephone`, `crawler`, `appliance` or `misc`.
pub fn parse(text: &str) -> Result<Value, &'static str> {
    let agent = Parser::new().parse(text).ok_or("no known user agent")?;
    let mut parts = Map::new();
    for (name, value) in [
        ("name", agent.name),
        ("version", agent.version),
        ("vendor", agent.vendor),
        ("category", agent.category),
        ("os", agent.os),
        ("os_version", &agent.os_version),
    ] {
        if !value.is_empty() && value != VALUE_UNKNOWN {
            parts.insert(name.to_owned(), value.into());
        }
    }
    if parts.is_empty() {
        return Err("no known user agent");
    }
    Ok(Json::Object(parts).into())
}
