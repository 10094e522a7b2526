//! The configuration: one file, checked whole, turned once into immutable [`Settings`].

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use serde::Deserialize;

use crate::{
    event::DestinationName,
    limits::{ByteSize, Limits},
};

/// A value that never shows itself: `Debug` and `Display` print `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: String) -> Secret {
        Secret(value)
    }

    /// The value itself; only where it is put to use.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("***")
    }
}

/// All of the configuration, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    pub data_dir: PathBuf,
    pub server: ServerSettings,
    pub store: StoreSettings,
    pub spool: SpoolSettings,
    pub limits: Limits,
    pub destinations: Vec<DestinationSettings>,
    pub telemetry: TelemetrySettings,
}

#[derive(Clone, Debug, Deserialize)]
pub struct ServerSettings {
    pub listen: SocketAddr,
    pub admin_listen: SocketAddr,
    pub shutdown_timeout_s: u32,
}

#[derive(Clone, Debug, Deserialize)]
pub struct StoreSettings {
    /// `file:` and a path, relative to the working directory.
    pub url: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct SpoolSettings {
    /// Of all spools of this gateway together.
    pub max_bytes: ByteSize,
}

/// One `[[destination]]`.
#[derive(Clone, Debug)]
pub struct DestinationSettings {
    pub name: DestinationName,
    pub kind: DestinationKind,
}

#[derive(Clone, Debug)]
pub enum DestinationKind {
    Kafka {
        brokers: String,
        /// Any librdkafka setting.
        options: BTreeMap<String, Secret>,
    },
    File {
        path: PathBuf,
    },
}

#[derive(Clone, Debug, Default)]
pub struct TelemetrySettings {
    pub otlp_endpoint: Option<String>,
    pub log_level: String,
    pub log_format: crate::telemetry::LogFormat,
}
