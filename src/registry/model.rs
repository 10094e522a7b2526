//! What the registry holds: plain, immutable data, the same in the log, in memory and in the admin API. No compiled
//! form and no I/O: stages build theirs from it.

mod digest;
pub mod envelope;
mod plugin;
mod route;
mod table;

use std::{collections::BTreeMap, fmt, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use digest::{Digest, DigestError};
pub use plugin::{Plugin, PluginVersion, RegressionFigures, RolledBack, Sdk};
pub use route::{Form, Isolation, KEY_ATTRIBUTES, Route, RouteMatch, RouteTarget};
pub use table::{Table, TableFormat};

use crate::event::{AppVersion, EventType, PartnerName, PluginName, RouteName, TableName};

/// What happens to an event that breaks its schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    #[default]
    Quarantine,
    Reject,
}

/// A partner's rate limit; what is absent is not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events_per_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// By UTC; each node counts what it takes itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_per_day: Option<u64>,
}

/// What of a request's sender is added to each of its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Enrichment {
    ClientIp,
    UserAgent,
}

/// Who sends: a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Partner {
    pub description: String,
    /// The `source` of events that bring none; absent: `/partners/NAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    pub policy: Policy,
    /// Name of a ready envelope, or an envelope. Kept as given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub envelope: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// Origins that publishable keys of this partner may send from; empty: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    /// SHA-256 of the client certificates that this partner's requests must come with; empty: none is needed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub client_certificates: Vec<Digest>,
    /// What of the request's sender is added to each event, as `hwclientip` and `hwuseragent`; empty: nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub enrich: Vec<Enrichment>,
    /// Of a client's address only its network is added: 24 bits of IPv4, 48 of IPv6.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncate_ip: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    Secret,
    Publishable,
    Signing,
}

/// What a sender signs with (`whsec_…`), in the open; never written anywhere. `Debug` prints `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret(String);

impl SigningSecret {
    pub fn new(text: String) -> SigningSecret {
        SigningSecret(text)
    }

    /// The secret itself; only where a signature is checked.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// A signing secret, sealed: the signature is checked with it, so it is kept whole, unlike other secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SealedSecret(String);

impl SealedSecret {
    pub fn new(text: String) -> SealedSecret {
        SealedSecret(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A partner's key. Of the secret only its SHA-256 is known, but for signing keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Unique over all partners; stands in the key's text.
    pub id: String,
    pub partner: PartnerName,
    pub kind: KeyKind,
    /// Of the whole key text `hw_<id>_<secret>` (of a signing key: `whsec_…`).
    pub sha256: Digest,
    /// Signing keys have one, no others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_secret: Option<SealedSecret>,
    pub created: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Types that it may send, `order.*` a prefix; empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
}

/// What is enforced between the versions of a type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compatibility {
    #[default]
    None,
    Backward,
    Forward,
    Full,
}

/// What becomes of an event whose app version cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnreadableVersion {
    /// It is checked by the latest schema, as one without a version is.
    #[default]
    Latest,
    /// It waits in quarantine.
    Quarantine,
}

impl UnreadableVersion {
    fn is_default(&self) -> bool {
        *self == UnreadableVersion::default()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TypeEntry {
    pub description: String,
    pub compatibility: Compatibility,
    #[serde(skip_serializing_if = "UnreadableVersion::is_default")]
    pub unreadable_version: UnreadableVersion,
    /// JSON Pointers into the data: what is hidden where recent events are shown. `*` stands for every member or
    /// element.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mask: Vec<String>,
}

/// Which schema: one event type, from one app version on, for one source or any.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SchemaKey {
    #[serde(rename = "type")]
    pub event_type: EventType,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// As registered.
    pub since: String,
}

impl fmt::Display for SchemaKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@{}", self.event_type, self.since)?;
        match &self.source {
            Some(source) => write!(formatter, " for {source}"),
            None => Ok(()),
        }
    }
}

/// A registered schema. The text is part of the state: all are needed to resolve any event. Log and snapshots name it
/// by its digest; the text itself is a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    pub digest: Digest,
    /// The JSON Schema as registered.
    #[serde(skip)]
    pub text: Arc<str>,
    pub created: Timestamp,
    pub by: String,
}

/// One of several schemas that are registered at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyedSchema {
    pub key: SchemaKey,
    pub schema: Schema,
}

/// How an event of the version before is brought to the form of the version that this belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Upgrade {
    /// Made in order.
    pub steps: Vec<UpgradeStep>,
}

/// One edit of an event; places are JSON Pointers, in which `*` stands for each element of an array. Where nothing is
/// at the place, nothing happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged, deny_unknown_fields)]
pub enum UpgradeStep {
    /// The value goes to another place, over what is there; objects above it are made.
    Move {
        #[serde(rename = "move")]
        from: String,
        to: String,
    },
    /// The member gets another name.
    Rename {
        rename: String,
        /// A name, not a pointer.
        to: String,
    },
    /// Where nothing is at the place, and an object is above it, this is set.
    Default {
        default: String,
        #[schema(value_type = serde_json::Value)]
        value: serde_json::Value,
    },
    /// The value becomes one of another type; null stays null.
    Cast {
        cast: String,
        to: CastTo,
    },
    Remove {
        remove: String,
    },
}

impl UpgradeStep {
    /// Where the step begins.
    pub fn place(&self) -> &str {
        match self {
            UpgradeStep::Move { from: place, .. }
            | UpgradeStep::Rename { rename: place, .. }
            | UpgradeStep::Default { default: place, .. }
            | UpgradeStep::Cast { cast: place, .. }
            | UpgradeStep::Remove { remove: place } => place,
        }
    }
}

/// What a value can be cast to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CastTo {
    String,
    Integer,
    Number,
    Boolean,
}

impl CastTo {
    pub fn as_str(self) -> &'static str {
        match self {
            CastTo::String => "string",
            CastTo::Integer => "integer",
            CastTo::Number => "number",
            CastTo::Boolean => "boolean",
        }
    }
}

/// Each role includes the ones before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Viewer,
    Publisher,
    Operator,
    Admin,
}

/// A token of the admin API. Of the secret only its SHA-256 is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    pub id: String,
    pub name: String,
    pub role: Role,
    pub sha256: Digest,
    pub created: Timestamp,
    pub expires: Option<Timestamp>,
}

/// One change of the registry: an entry of its log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    PutPartner {
        name: PartnerName,
        partner: Partner,
    },
    DeletePartner {
        name: PartnerName,
    },
    CreateKey {
        key: Key,
    },
    RevokeKey {
        partner: PartnerName,
        id: String,
    },
    PutType {
        #[serde(rename = "type")]
        event_type: EventType,
        entry: TypeEntry,
    },
    PutSchema {
        key: SchemaKey,
        schema: Schema,
        #[serde(default)]
        forced: bool,
    },
    /// Schemas that refer to each other: none of them could come first.
    PutSchemas {
        schemas: Vec<KeyedSchema>,
        #[serde(default)]
        forced: bool,
    },
    DeleteSchema {
        key: SchemaKey,
        #[serde(default)]
        forced: bool,
    },
    /// `key` is of the newer version.
    PutUpgrade {
        key: SchemaKey,
        upgrade: Upgrade,
    },
    DeleteUpgrade {
        key: SchemaKey,
    },
    AddPluginVersion {
        plugin: PluginName,
        version: PluginVersion,
    },
    ActivatePlugin {
        plugin: PluginName,
        version: u32,
        share: Option<u8>,
    },
    ShadowPlugin {
        plugin: PluginName,
        version: Option<u32>,
    },
    RollBackPlugin {
        plugin: PluginName,
        /// Where the gateway did it by itself: what it saw.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<RegressionFigures>,
    },
    PutRoute {
        name: RouteName,
        route: Route,
    },
    DeleteRoute {
        name: RouteName,
    },
    PutTable {
        name: TableName,
        table: Table,
    },
    DeleteTable {
        name: TableName,
        #[serde(default)]
        forced: bool,
    },
    CreateToken {
        token: Token,
    },
    DeleteToken {
        id: String,
    },
    /// Written where what is done changes no resource, for the audit trail: a replay or discard of quarantine.
    Note {
        action: String,
        detail: serde_json::Value,
    },
}

/// One entry of the log: who changed what, when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub sequence: u64,
    pub at: Timestamp,
    /// Name of the token that changed it.
    pub by: String,
    #[serde(flatten)]
    pub change: Change,
}

/// A resource with the log entry that last changed it; that number is its ETag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versioned<T> {
    pub sequence: u64,
    pub value: T,
}

/// All of the registry at one moment. Cheap to clone: resources are shared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The last log entry that is in here; 0: none.
    pub sequence: u64,
    pub partners: BTreeMap<PartnerName, Arc<Versioned<Partner>>>,
    /// By key id.
    pub keys: BTreeMap<String, Arc<Versioned<Key>>>,
    pub types: BTreeMap<EventType, Arc<Versioned<TypeEntry>>>,
    pub schemas: BTreeMap<EventType, Arc<TypeSchemas>>,
    pub plugins: BTreeMap<PluginName, Arc<Versioned<Plugin>>>,
    pub routes: BTreeMap<RouteName, Arc<Versioned<Route>>>,
    /// By token id.
    pub tokens: BTreeMap<String, Arc<Versioned<Token>>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tables: BTreeMap<TableName, Arc<Versioned<Table>>>,
    /// The last version of each table that is gone: a version never stands for two contents.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub deleted_tables: BTreeMap<TableName, u64>,
}

/// All schemas of one type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeSchemas {
    /// In no order that resolution may rely on.
    pub schemas: Vec<Arc<Versioned<(SchemaKey, Schema)>>>,
    /// Each by the key of the schema that it leads to, which is there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upgrades: Vec<Arc<Versioned<(SchemaKey, Upgrade)>>>,
}

impl TypeSchemas {
    /// The schema registered under exactly this key; `since` compares as a version (`5.2` = `5.2.0`).
    pub fn find(&self, key: &SchemaKey) -> Option<&Arc<Versioned<(SchemaKey, Schema)>>> {
        self.position(key).and_then(|index| self.schemas.get(index))
    }

    /// The upgrade to the schema of this key.
    pub fn upgrade(&self, key: &SchemaKey) -> Option<&Arc<Versioned<(SchemaKey, Upgrade)>>> {
        self.upgrades
            .iter()
            .find(|known| same_version(&known.value.0, key))
    }

    /// The schema of the version right before this key's, of the same source.
    pub fn before(&self, key: &SchemaKey) -> Option<&Arc<Versioned<(SchemaKey, Schema)>>> {
        let since = AppVersion::parse(&key.since);
        let version = |known: &Versioned<(SchemaKey, Schema)>| AppVersion::parse(&known.value.0.since);
        self.schemas
            .iter()
            .filter(|known| known.value.0.source == key.source && version(known) < since)
            .max_by_key(|known| version(known))
    }

    pub(super) fn position(&self, key: &SchemaKey) -> Option<usize> {
        self.schemas
            .iter()
            .position(|known| same_version(&known.value.0, key))
    }
}

/// Of one type's keys.
fn same_version(one: &SchemaKey, two: &SchemaKey) -> bool {
    let version = |key: &SchemaKey| AppVersion::parse(&key.since);
    one.source == two.source
        && (one.since == two.since || (version(one).is_some() && version(one) == version(two)))
}
