//! A route: which events go through which plugin to which destinations.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::PluginName;

/// `*` matches any, `order.*` a prefix; absent is `*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RouteMatch {
    pub partner: String,
    #[serde(rename = "type")]
    pub event_type: String,
    pub source: String,
}

impl Default for RouteMatch {
    fn default() -> RouteMatch {
        RouteMatch {
            partner: "*".to_owned(),
            event_type: "*".to_owned(),
            source: "*".to_owned(),
        }
    }
}

/// Names of attributes that a record's key may be taken from.
pub const KEY_ATTRIBUTES: [&str; 7] = ["id", "source", "type", "subject", "time", "appversion", "partner"];

/// One destination of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteTarget {
    pub destination: String,
    /// Absent: the event's type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// A JSON Pointer into the record's data (`/user_id`), or the name of an attribute (`id`, `source`, `type`,
    /// `subject`, `time`, `appversion`, `partner`). Absent: none in Kafka, `id` in Kinesis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// In which version's form a route takes events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// As they were sent.
    #[default]
    Sent,
    /// In the latest version's, by the upgrades of the versions after theirs.
    Latest,
}

impl Form {
    fn is_default(&self) -> bool {
        *self == Form::default()
    }
}

/// Which events an instance of a route's plugin sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// One after another, as they come.
    #[default]
    Shared,
    /// One alone: each event has an instance of its own.
    Event,
}

impl Isolation {
    fn is_default(&self) -> bool {
        *self == Isolation::default()
    }
}

/// Which events go through which plugin to which destinations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    #[serde(default, rename = "match")]
    pub matches: RouteMatch,
    #[serde(default, skip_serializing_if = "Form::is_default")]
    pub form: Form,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub plugin: Option<PluginName>,
    /// Given to the plugin's `configure` as JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub config: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Isolation::is_default")]
    pub isolation: Isolation,
    pub to: Vec<RouteTarget>,
}
