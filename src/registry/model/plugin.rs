//! A plugin's versions, and which of them takes which events.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Digest;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginVersion {
    pub version: u32,
    /// Of the component; the blob's name in the store.
    pub digest: Digest,
    pub size: u64,
    pub imports: Vec<String>,
    /// What it was written in, where its tools wrote that down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// What it was written with, where `headworks plugin build` noted it; versions of before it did have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sdk: Option<Sdk>,
    pub created: Timestamp,
    pub by: String,
}

/// A kit for plugins: `headworks-plugin` 0.1.0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sdk {
    pub name: String,
    pub version: String,
}

/// Versions 1, 2, 3 … of a plugin and which of them runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plugin {
    pub active: Option<u32>,
    /// What a rollback goes back to, and what takes the events that the active version's share leaves.
    pub previous: Option<u32>,
    /// 1–100: the part of events that the active version takes; the rest goes to the previous.
    pub share: Option<u8>,
    /// Runs beside the active version on live events, and delivers nothing.
    pub shadow: Option<u32>,
    /// When the active version, or its share, was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activated: Option<Timestamp>,
    /// The last rollback that the gateway did by itself, until the next activation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back: Option<RolledBack>,
    pub versions: Vec<PluginVersion>,
}

/// A version that the gateway took out of traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RolledBack {
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    #[serde(flatten)]
    pub cause: RegressionFigures,
}

/// How a version fared against the one before it, as one node saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RegressionFigures {
    /// The version that failed.
    pub version: u32,
    pub calls: u64,
    /// Calls that failed by the plugin's fault.
    pub failed: u64,
    /// Of the version before.
    pub previous_calls: u64,
    pub previous_failed: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
}

impl Plugin {
    pub fn version(&self, version: u32) -> Option<&PluginVersion> {
        self.versions.iter().find(|known| known.version == version)
    }

    pub fn active_version(&self) -> Option<&PluginVersion> {
        self.active.and_then(|version| self.version(version))
    }

    /// The version that takes what the active one's share leaves, with that share.
    pub fn split(&self) -> Option<(u8, &PluginVersion)> {
        let share = self.share.filter(|share| *share < 100)?;
        Some((share, self.previous.and_then(|version| self.version(version))?))
    }

    pub fn shadow_version(&self) -> Option<&PluginVersion> {
        self.shadow.and_then(|version| self.version(version))
    }

    /// While the active version takes a part only, the one that takes the rest is what there is to go back to.
    pub fn activate(&mut self, version: u32, share: Option<u8>, at: Timestamp) {
        if self.active != Some(version) {
            let steady = match self.split() {
                Some((_, previous)) => Some(previous.version),
                None => self.active,
            };
            self.previous = steady.filter(|steady| *steady != version);
        }
        self.activated = Some(at);
        self.active = Some(version);
        self.share = share;
        self.rolled_back = None;
        if self.shadow == Some(version) {
            self.shadow = None;
        }
    }

    /// The version that was left is not kept as `previous`: a second rollback must not bring it back.
    pub fn roll_back(&mut self, cause: Option<RegressionFigures>, at: Timestamp) {
        self.shadow = None;
        if let Some(previous) = self.previous.take() {
            self.active = Some(previous);
            self.share = Some(100);
            self.activated = Some(at);
            self.rolled_back = cause.map(|cause| RolledBack { at, cause });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::PluginVersion;

    #[test]
    fn versions_of_before_sdks_were_noted_read_on() {
        let digest = "0".repeat(64);
        let old = json!({
            "version": 3, "digest": digest, "size": 7, "imports": [], "created": "2026-11-01T00:00:00Z", "by": "admin",
        });
        let read: PluginVersion = serde_json::from_value(old.clone()).expect("it was written before");
        assert_eq!((&read.language, &read.sdk), (&None, &None));
        assert_eq!(serde_json::to_value(&read).expect("it is written"), old);
        let mut new = old;
        new["language"] = json!("Go");
        new["sdk"] = json!({"name": "headworks.dev/headworks", "version": "0.1.0"});
        let read: PluginVersion = serde_json::from_value(new.clone()).expect("it is written now");
        assert_eq!(serde_json::to_value(&read).expect("it is written"), new);
    }
}
