//! Events that could not be processed yet: kept with the reason, listed, replayed, discarded.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{event::Violation, problem::Code};

/// Which items; absent members match any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    pub partner: Option<String>,
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    #[serde(rename = "appversion")]
    pub app_version: Option<String>,
    #[schema(value_type = Option<String>)]
    #[param(value_type = Option<String>)]
    pub code: Option<Code>,
    /// Received at or after.
    #[schema(value_type = Option<String>)]
    #[param(value_type = Option<String>)]
    pub from: Option<Timestamp>,
    /// Received before.
    #[schema(value_type = Option<String>)]
    #[param(value_type = Option<String>)]
    pub to: Option<Timestamp>,
}

/// One item as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Item {
    pub id: String,
    pub event_id: String,
    pub partner: String,
    #[serde(rename = "type")]
    pub event_type: String,
    pub source: String,
    #[serde(rename = "appversion", skip_serializing_if = "Option::is_none")]
    pub app_version: Option<String>,
    #[schema(value_type = String)]
    pub code: Code,
    pub detail: String,
    #[serde(default)]
    pub errors: Vec<Violation>,
    #[schema(value_type = String)]
    pub received: Timestamp,
    /// Bytes of the data.
    pub size: u64,
}

/// One item with all that was kept.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WholeItem {
    #[serde(flatten)]
    pub item: Item,
    /// The event's CloudEvents attributes.
    #[schema(value_type = Object)]
    pub attributes: serde_json::Value,
    /// As sent.
    #[schema(value_type = Object)]
    pub data: Box<serde_json::value::RawValue>,
}

/// What a replay or discard did, or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Report {
    pub matched: u64,
    pub accepted: u64,
    pub quarantined: u64,
    pub discarded: u64,
    /// More items match than one call takes.
    pub more: bool,
}
