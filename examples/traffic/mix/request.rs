//! An event as its partner's own request.

use serde_json::{Value, json};

use super::GeneratedEvent;

impl GeneratedEvent {
    /// `{partner, method, target, headers, body}`, as its partner would make it.
    pub fn request(&self) -> Value {
        match self.partner {
            "adlink" => {
                let mut query = form_urlencoded::Serializer::new(String::new());
                query.append_pair("ce-id", &self.id);
                append_members(&mut query, "", &self.data);
                json!({
                    "partner": self.partner,
                    "method": "GET",
                    "target": format!("/v1/events/{}?{}", self.event_type, query.finish()),
                    "headers": {},
                })
            }
            "callbridge" | "baram-card" => {
                let mut headers =
                    json!({"content-type": "application/json", "ce-id": self.id, "ce-time": self.time});
                if let Some(version) = self.app_version {
                    headers["ce-appversion"] = version.into();
                }
                json!({
                    "partner": self.partner,
                    "method": "POST",
                    "target": format!("/v1/events/{}", self.event_type),
                    "headers": headers,
                    "body": self.data,
                })
            }
            _ => json!({
                "partner": self.partner,
                "method": "POST",
                "target": "/v1/events",
                "headers": {"content-type": "application/cloudevents+json"},
                "body": Value::from(self),
            }),
        }
    }
}

/// Appends a value the way a query says it: `a[b]` for nesting, a repeated key for an array.
fn append_members(query: &mut form_urlencoded::Serializer<'_, String>, name: &str, value: &Value) {
    match value {
        Value::Object(members) => {
            for (member, value) in members {
                let name = match name {
                    "" => member.clone(),
                    _ => format!("{name}[{member}]"),
                };
                append_members(query, &name, value);
            }
        }
        Value::Array(elements) => {
            for element in elements {
                append_members(query, name, element);
            }
        }
        Value::String(text) => {
            query.append_pair(name, text);
        }
        other => {
            query.append_pair(name, &other.to_string());
        }
    }
}
