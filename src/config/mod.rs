//! The configuration: one file, checked whole, turned once into immutable [`Settings`].

mod admin;
mod destination;
mod error;
mod overrides;
mod read;
pub(crate) mod section;
mod server;
#[cfg(test)]
mod tests;
pub(crate) mod tree;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

pub use destination::FIXED_OPTIONS;
pub use error::{ConfigError, ConfigErrors, Place};
use ipnet::IpNet;

use crate::{
    event::DestinationName,
    limits::{ByteSize, Limits},
    registry::model::Role,
    telemetry::LogFormat,
};

/// A larger file is no configuration.
const FILE_BYTES_MAX: u64 = 1 << 20;

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
    pub quarantine: QuarantineSettings,
    pub recent: RecentSettings,
    pub plugins: PluginSettings,
    pub limits: Limits,
    pub keys: KeySettings,
    pub destinations: Vec<DestinationSettings>,
    pub telemetry: TelemetrySettings,
}

#[derive(Clone, Debug)]
pub struct ServerSettings {
    pub listen: SocketAddr,
    pub admin_listen: SocketAddr,
    /// How long requests under way may take once the gateway is told to stop.
    pub shutdown_timeout_s: u32,
    /// How long readiness says no before that, while requests are still taken.
    pub shutdown_delay_s: u32,
    /// Of the data port; absent: plain HTTP.
    pub tls: Option<TlsSettings>,
    /// Of the admin port; absent: plain HTTP.
    pub admin_tls: Option<AdminTlsSettings>,
    /// An identity provider whose tokens the admin port takes beside its own.
    pub admin_jwt: Option<JwtSettings>,
    pub proxies: ProxySettings,
    pub lines: Option<LineSettings>,
}

/// Proxies that are believed when they say whose a request is.
#[derive(Clone, Debug, Default)]
pub struct ProxySettings {
    pub trusted: Vec<IpNet>,
    /// Which header they write.
    pub header: ForwardedHeader,
    /// They begin each connection with the PROXY protocol, version 2.
    pub proxy_protocol: bool,
}

/// The port for events as lines.
#[derive(Clone, Copy, Debug)]
pub struct LineSettings {
    pub listen: SocketAddr,
    /// With the certificate of `server.tls`.
    pub tls: bool,
}

/// Only one is read: what trusted proxies do not write, anybody may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    #[default]
    XForwardedFor,
    Forwarded,
}

/// PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Who signs the certificates of clients that have one.
    pub client_ca: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminTlsSettings {
    pub files: TlsSettings,
    /// Where there is a `client_ca`: nobody without a certificate gets as far as HTTP. Else what is open without a token
    /// is open without a certificate too.
    pub is_certificate_required: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtSettings {
    pub issuer: String,
    pub audience: String,
    pub jwks: JwksPlace,
    /// A member of the claims, or a JSON Pointer into them.
    pub role_claim: String,
    /// By what the claim says.
    pub roles: BTreeMap<String, Role>,
}

/// Where an identity provider's keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksPlace {
    File(PathBuf),
    Url(String),
}

#[derive(Clone, Debug)]
pub struct KeySettings {
    /// Seals what signing keys sign with; 32 bytes in base64. Absent: a file of `data_dir`.
    pub sealing_key: Option<Secret>,
}

#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// `file:` and a path, relative to the working directory; or a bucket: `s3://`, `gs://`, `az://`.
    pub url: String,
    /// Of the bucket, by the names that its provider's tools use.
    pub options: BTreeMap<String, Secret>,
}

#[derive(Clone, Debug)]
pub struct SpoolSettings {
    /// Of all spools of this gateway together.
    pub max_bytes: ByteSize,
}

/// What is kept of the events that wait.
#[derive(Clone, Debug)]
pub struct QuarantineSettings {
    /// 0: for ever.
    pub max_age_days: u32,
    /// In the store; 0: as much as comes.
    pub max_bytes: ByteSize,
}

/// When a version of a plugin is left by itself.
#[derive(Clone, Debug)]
pub struct PluginSettings {
    /// Failed calls, of a hundred, that are too many; 0: it never is.
    pub rollback_percent: u32,
    /// Calls that tell enough.
    pub rollback_calls: u32,
    /// After an activation.
    pub rollback_window_s: u32,
}

/// What is remembered of the events that pass.
#[derive(Clone, Debug)]
pub struct RecentSettings {
    /// For each partner, type and app version; 0: none is remembered.
    pub events: u32,
    /// Of all of them together.
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
    Kinesis(KinesisSettings),
    File {
        path: PathBuf,
        rotation: FileRotation,
    },
}

/// When an output file is closed, and how long it is kept.
#[derive(Clone, Debug)]
pub struct FileRotation {
    pub file_bytes: ByteSize,
    pub file_time_s: u32,
    /// Days before today whose files are kept; without it all of them.
    pub retention_days: Option<u32>,
}

impl Default for FileRotation {
    fn default() -> FileRotation {
        FileRotation {
            file_bytes: ByteSize(64 << 20),
            file_time_s: 3600,
            retention_days: None,
        }
    }
}

#[derive(Clone, Debug)]
pub struct KinesisSettings {
    pub region: String,
    /// In the place of AWS's own.
    pub endpoint_url: Option<String>,
    /// Id and secret of an access key, in the place of the usual credential chain.
    pub credentials: Option<(Secret, Secret)>,
    pub assume_role: Option<AssumeRole>,
    /// Records of one partition key share a record of Kinesis, in the KPL's format.
    pub aggregation: bool,
    /// The largest record that the streams take, key included.
    pub record_bytes: usize,
}

/// The role that the streams are written as.
#[derive(Clone, Debug)]
pub struct AssumeRole {
    pub arn: String,
    pub external_id: Option<Secret>,
}

#[derive(Clone, Debug)]
pub struct TelemetrySettings {
    /// Of a collector that takes OTLP over HTTP, without `/v1/metrics`.
    pub otlp_endpoint: Option<String>,
    pub otlp_headers: BTreeMap<String, Secret>,
    /// Between two exports of metrics.
    pub otlp_interval_s: u32,
    /// Of the requests that bring no decision of their sender; 0: none.
    pub trace_one_in: u32,
    /// Of each metric; what is beyond them counts as `other`.
    pub label_sets: u32,
    /// A level, or a filter such as `warn,headworks=debug`.
    pub log_level: String,
    pub log_format: LogFormat,
}

impl Settings {
    /// What is accepted and is likely to be a slip, for the operator at the start.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let endpoint = self.telemetry.otlp_endpoint.as_deref().unwrap_or_default();
        if endpoint.trim_end_matches('/').ends_with(":4317") {
            let warning = "telemetry.otlp_endpoint names port 4317, where collectors usually speak gRPC; this gateway \
                           speaks OTLP over HTTP, usually on port 4318";
            warnings.push(warning.to_owned());
        }
        let jwks = self.server.admin_jwt.as_ref().map(|jwt| &jwt.jwks);
        if let Some(JwksPlace::Url(url)) = jwks
            && url.starts_with("http://")
            && !admin::is_local(url)
        {
            let warning = "server.admin_jwt.jwks is fetched without TLS: whoever sits on the way can make tokens of role \
                           admin; use https";
            warnings.push(warning.to_owned());
        }
        warnings.extend(self.destinations.iter().filter_map(untrusted_tokens));
        warnings
    }
}

/// Where a Kafka destination's tokens come from.
pub const TOKEN_ENDPOINT_OPTION: &str = "sasl.oauthbearer.token.endpoint.url";

/// Whether tokens for a destination are asked for where others can listen.
fn untrusted_tokens(destination: &DestinationSettings) -> Option<String> {
    let DestinationKind::Kafka { options, .. } = &destination.kind else {
        return None;
    };
    let name = TOKEN_ENDPOINT_OPTION;
    let url = options.get(name)?.reveal();
    (url.starts_with("http://") && !admin::is_local(url)).then(|| {
        format!(
            "destination.{}.options.{name:?} is asked without TLS: whoever sits on the way gets the client's secret; use \
             https",
            destination.name
        )
    })
}

/// The configuration in the file at `path` (without one, the defaults), overridden by the variables of `environment`
/// that begin with `HEADWORKS__`.
///
/// # Errors
///
/// Every fault of the file and the variables at once.
pub fn load(
    path: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Settings, ConfigErrors> {
    let environment: BTreeMap<String, String> = environment.collect();
    let file = path.map(|path| path.display().to_string());
    let text = match path {
        Some(path) => read_file(path)?,
        None => String::new(),
    };
    read::settings(file.as_deref().unwrap_or("headworks.toml"), &text, &environment)
}

fn read_file(path: &Path) -> Result<String, ConfigErrors> {
    let place = Place::Whole(path.display().to_string().into());
    bounded_text(path, FILE_BYTES_MAX).map_err(|error| {
        let suggestion = match error.kind() {
            io::ErrorKind::NotFound => "give another path, or none: `headworks serve` runs on defaults",
            io::ErrorKind::InvalidData => "save it as UTF-8",
            _ => "check the path and its permissions",
        };
        let message = format!("cannot be read: {error}");
        ConfigErrors::new(vec![ConfigError::new(place, "", message).suggesting(suggestion)])
    })
}

/// The text of a file of at most `bytes_max`.
pub(crate) fn bounded_text(path: &Path, bytes_max: u64) -> io::Result<String> {
    use io::Read as _;
    let mut text = String::new();
    let read = std::fs::File::open(path)?
        .take(bytes_max + 1)
        .read_to_string(&mut text)?;
    if read as u64 > bytes_max {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is larger than {}", ByteSize(bytes_max)),
        ));
    }
    Ok(text)
}
