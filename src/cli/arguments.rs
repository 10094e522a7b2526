//! What may be typed. Names and versions are checked here, so that a slip is wrong usage and nothing is sent.

mod routing;
mod schema;

use std::{num::NonZeroU32, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;

pub use routing::{RouteCommand, TableCommand};
pub use schema::SchemaCommand;

use super::{plugin_project::Language, tls::TlsArguments};
use crate::{
    event::{AppVersion, EventType, PartnerName, PluginName},
    problem::Code,
};

pub const DEFAULT_URL: &str = "http://127.0.0.1:8081";
/// Written by a gateway that runs on the defaults in this working directory.
pub const DEFAULT_TOKEN_FILE: &str = "data/admin-token";

/// An event-ingestion gateway: events are checked by app version, transformed by WASM plugins, and never lost.
#[derive(Debug, Parser)]
#[command(name = "headworks", version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway; SIGTERM ends it cleanly.
    Serve {
        /// The configuration file; without it ./headworks.toml where that exists, else the defaults.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Check a configuration file.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Make the registry match a folder.
    Apply(ApplyArguments),
    /// JSON Schemas, by event type and app version.
    Schema {
        #[command(flatten)]
        remote: Remote,
        #[command(subcommand)]
        command: SchemaCommand,
    },
    /// Plugins: make, build, test, upload, activate.
    Plugin {
        #[command(flatten)]
        remote: Remote,
        #[command(subcommand)]
        command: PluginCommand,
    },
    /// Partners: who sends.
    Partner {
        #[command(flatten)]
        remote: Remote,
        #[command(subcommand)]
        command: PartnerCommand,
    },
    /// Partners' keys.
    Key {
        #[command(flatten)]
        remote: Remote,
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Routes: which events go through which plugin to which destinations.
    Route {
        #[command(flatten)]
        remote: Remote,
        #[command(subcommand)]
        command: RouteCommand,
    },
    /// Lookup tables: rows by key, which plugins read.
    Table {
        #[command(flatten)]
        remote: Remote,
        #[command(subcommand)]
        command: TableCommand,
    },
    /// Events that could not be processed yet.
    Quarantine {
        #[command(flatten)]
        remote: Remote,
        #[command(subcommand)]
        command: QuarantineCommand,
    },
    /// Watch rates, errors and latencies by partner, type, version, plugin, destination and code.
    Top(TopArguments),
    /// Watch events and their records as they pass. Ctrl-C ends it.
    Tail(TailArguments),
    /// Look for what would keep a gateway of this configuration from its promise, on this machine; status 1 where
    /// there is something.
    Doctor(DoctorArguments),
    /// The spools of a stopped gateway, read and never written.
    Spool {
        #[command(subcommand)]
        command: SpoolCommand,
    },
}

#[derive(Debug, Args)]
pub struct TopArguments {
    #[command(flatten)]
    pub remote: Remote,
    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value = "2")]
    pub interval_s: NonZeroU32,
}

#[derive(Debug, Args)]
pub struct TailArguments {
    #[command(flatten)]
    pub remote: Remote,
    #[arg(long, value_name = "NAME")]
    pub partner: Option<PartnerName>,
    #[arg(long = "type", value_name = "TYPE")]
    pub event_type: Option<EventType>,
    /// accepted, duplicate, quarantined or rejected.
    #[arg(long, value_name = "STATUS", value_parser = ["accepted", "duplicate", "quarantined", "rejected"])]
    pub status: Option<String>,
    /// Why they were not accepted, such as schema-violation.
    #[arg(long, value_name = "CODE")]
    pub code: Option<Code>,
    /// Events of which this plugin, or this version NAME@VERSION of it, made a record.
    #[arg(long, value_name = "PLUGIN")]
    pub plugin: Option<String>,
    /// Events whose data has this value there, such as /user/plan=pro.
    #[arg(long = "where", value_name = "POINTER=VALUE")]
    pub place: Option<String>,
    /// End after so many events.
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Print long lines whole; on a terminal they are cut to its width otherwise.
    #[arg(long)]
    pub whole: bool,
}

#[derive(Debug, Args)]
pub struct DoctorArguments {
    /// The configuration file; without it ./headworks.toml where that exists, else the defaults.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Only ask the gateway that runs on this configuration whether it is ready.
    #[arg(long)]
    pub ready: bool,
    #[command(flatten)]
    pub tls: TlsArguments,
}

/// Which gateway, and how to print what it says.
#[derive(Args, Clone)]
#[command(next_help_heading = "Gateway")]
pub struct Remote {
    /// The gateway's admin API.
    #[arg(long, global = true, value_name = "URL", env = "HEADWORKS_URL", default_value = DEFAULT_URL)]
    pub url: String,
    /// A token of the admin API. Without one, the token in ./data/admin-token is used where that file exists and URL
    /// is on this machine.
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "HEADWORKS_TOKEN",
        hide_env_values = true
    )]
    pub token: Option<String>,
    #[command(flatten)]
    pub tls: TlsArguments,
    /// Print the API's JSON instead of tables.
    #[arg(long, global = true)]
    pub json: bool,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Remote")
            .field("url", &self.url)
            .field("json", &self.json)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every fault of a configuration file at once, with its line and a suggestion.
    Check {
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct ApplyArguments {
    #[command(flatten)]
    pub remote: Remote,
    /// Holds partners/NAME.toml, types/TYPE.toml, schemas/TYPE/SINCE.json, tables/NAME.ndjson or .csv, plugins/NAME/ and
    /// routes/NAME.toml. What it has no folder for is left alone.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Print what would be done, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Leave what the registry holds and the folder does not.
    #[arg(long, conflicts_with = "yes")]
    pub keep: bool,
    /// Delete what the folder does not hold without asking.
    #[arg(long)]
    pub yes: bool,
}

#[derive(Clone, Debug, Args)]
pub struct SchemaName {
    #[arg(value_name = "TYPE")]
    pub event_type: EventType,
    /// The app version from which on the schema counts.
    #[arg(value_name = "SINCE", value_parser = since)]
    pub since: String,
    /// Of events with this source only.
    #[arg(long, value_name = "SOURCE")]
    pub source: Option<String>,
}

fn since(text: &str) -> Result<String, String> {
    match AppVersion::parse(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err("a version begins with a number, such as 5.10.0 or v5.10-rc1".to_owned()),
    }
}

#[derive(Debug, Subcommand)]
pub enum PartnerCommand {
    /// List partners.
    List,
    /// Print a partner as the file that `put` takes.
    Show { name: PartnerName },
    /// Make a partner, or change it to what FILE says. Without FILE, a new one with the defaults.
    Put {
        name: PartnerName,
        #[arg(value_name = "FILE.toml")]
        file: Option<PathBuf>,
    },
    /// Delete a partner and revoke its keys.
    Delete { name: PartnerName },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeyKind {
    /// For servers.
    Secret,
    /// For web pages and apps: may only send.
    Publishable,
    /// Signs requests as Standard Webhooks say.
    Signing,
}

impl KeyKind {
    pub fn as_str(self) -> &'static str {
        match self {
            KeyKind::Secret => "secret",
            KeyKind::Publishable => "publishable",
            KeyKind::Signing => "signing",
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key and print it: it is shown this once.
    Create {
        partner: PartnerName,
        #[arg(long, value_enum, default_value_t = KeyKind::Secret)]
        kind: KeyKind,
        /// When it stops being a key, such as 2027-01-31T00:00:00Z.
        #[arg(long, value_name = "TIME")]
        expires: Option<Timestamp>,
        /// A type that it may send, or a prefix such as "order.*"; may be repeated. Without it: any.
        #[arg(long = "type", value_name = "TYPE")]
        types: Vec<String>,
        /// For kind signing: the file with the secret that the sender signs with, where the sender has made it.
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
    },
    /// List a partner's live keys, without their secrets.
    List { partner: PartnerName },
    /// Revoke a key: it stops within 5 s on every node.
    Revoke {
        partner: PartnerName,
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// Which quarantined events; what is left out matches any.
#[derive(Debug, Default, Args)]
pub struct FilterArguments {
    #[arg(long, value_name = "NAME")]
    pub partner: Option<PartnerName>,
    #[arg(long = "type", value_name = "TYPE")]
    pub event_type: Option<EventType>,
    /// As the event brought it.
    #[arg(long, value_name = "VERSION")]
    pub appversion: Option<String>,
    /// Why they are there, such as schema-violation.
    #[arg(long, value_name = "CODE")]
    pub code: Option<Code>,
    /// Received at this time or later, such as 2026-11-02T10:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub from: Option<Timestamp>,
    /// Received before this time.
    #[arg(long, value_name = "TIME")]
    pub to: Option<Timestamp>,
}

#[derive(Debug, Subcommand)]
pub enum QuarantineCommand {
    /// List quarantined events, the oldest first.
    List {
        #[command(flatten)]
        filter: FilterArguments,
        /// List at most so many.
        #[arg(long, value_name = "N", default_value = "100")]
        limit: NonZeroU32,
    },
    /// Print a quarantined event with its data.
    Show {
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Process quarantined events again, with the schemas, plugins and routes of now.
    Replay {
        #[command(flatten)]
        filter: FilterArguments,
        /// Only count.
        #[arg(long)]
        dry_run: bool,
    },
    /// Throw quarantined events away.
    Discard {
        #[command(flatten)]
        filter: FilterArguments,
        /// Only count.
        #[arg(long)]
        dry_run: bool,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum SpoolCommand {
    /// Count what is there, and name every damaged place; status 1 where there is one.
    Check {
        /// A data folder, or one spool's folder.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// Print JSON instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Print what waits to be delivered as JSON, an entry a line.
    Export {
        /// A data folder, or one spool's folder.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// Also what is delivered and not yet removed.
        #[arg(long)]
        all: bool,
    },
}

/// Which lines of a plugin; what is left out matches any.
#[derive(Debug, Args)]
pub struct LogArguments {
    #[arg(long, value_name = "N")]
    pub version: Option<u32>,
    #[arg(long, value_name = "NAME")]
    pub partner: Option<PartnerName>,
    /// The event's id.
    #[arg(long, value_name = "ID")]
    pub event: Option<String>,
    /// This level and above.
    #[arg(long, value_enum)]
    pub level: Option<LineLevel>,
    /// Print at most so many of the last lines.
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub limit: u16,
    /// Go on printing what comes; Ctrl-C ends it.
    #[arg(long, short)]
    pub follow: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LineLevel {
    Debug,
    Info,
    Warn,
    Error,
}

impl LineLevel {
    pub fn as_str(self) -> &'static str {
        match self {
            LineLevel::Debug => "debug",
            LineLevel::Info => "info",
            LineLevel::Warn => "warn",
            LineLevel::Error => "error",
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Make a new plugin's source in the folder NAME.
    New {
        #[arg(long, value_enum)]
        language: Language,
        name: PluginName,
    },
    /// Build a plugin's component.
    Build {
        /// The folder of a plugin's source, or a core module, as a C compiler makes it.
        #[arg(value_name = "DIR|FILE", default_value = ".")]
        path: PathBuf,
    },
    /// Run a plugin's cases on this machine (--local), or a version on events of a running gateway (--version): what
    /// would change.
    Test {
        /// With --local: the folder of a plugin's source, or a component. With --version: the plugin's name.
        #[arg(value_name = "DIR|FILE|NAME", default_value = ".")]
        path: PathBuf,
        /// The folder of the cases; with --local by default `cases` in DIR, or beside FILE. With --version they run on the
        /// gateway, each with its configuration, beside the active version.
        #[arg(long, value_name = "DIR", conflicts_with_all = ["events", "config"])]
        cases: Option<PathBuf>,
        /// Build it and run its cases through the gateway's own host, without a gateway.
        #[arg(long, required_unless_present = "version")]
        local: bool,
        /// The version that is to be tried.
        #[arg(long, value_name = "N", conflicts_with = "local")]
        version: Option<u32>,
        /// On the last N events that go to its routes.
        #[arg(long, value_name = "N", requires = "version", default_value = "100",
            value_parser = clap::value_parser!(u16).range(1..=1000))]
        recent: u16,
        /// On these events, with their attributes, one a line; - reads standard input.
        #[arg(long, value_name = "FILE.ndjson", requires = "version")]
        events: Option<PathBuf>,
        /// With this configuration in the place of its routes'.
        #[arg(long, value_name = "FILE.json", requires = "version")]
        config: Option<PathBuf>,
    },
    /// Build a plugin and run its cases, now and at each save; show what each save changed. Ctrl-C ends it.
    Dev {
        #[arg(value_name = "DIR", default_value = ".")]
        directory: PathBuf,
    },
    /// Upload a component as the plugin's next version.
    Push {
        name: PluginName,
        /// A component, or the folder of a plugin's source, which is built.
        #[arg(value_name = "FILE|DIR")]
        path: PathBuf,
        /// Let it run at once.
        #[arg(long)]
        activate: bool,
    },
    /// Let a version run.
    Activate {
        name: PluginName,
        #[arg(long, value_name = "N")]
        version: u32,
        /// Per cent of events that it takes, the same ones at every replay; the version before takes the rest.
        #[arg(long, value_name = "P", value_parser = clap::value_parser!(u8).range(1..=100))]
        share: Option<u8>,
    },
    /// Let a version run on live events beside the active one, to be compared: it delivers nothing.
    Shadow {
        name: PluginName,
        #[arg(long, value_name = "N", required_unless_present = "off")]
        version: Option<u32>,
        /// End the shadow.
        #[arg(long, conflicts_with = "version")]
        off: bool,
    },
    /// Go back to the version before; ends a share and a shadow.
    Rollback { name: PluginName },
    /// List plugins.
    List,
    /// Print a plugin: what runs, its health, its versions.
    Show { name: PluginName },
    /// Print the last lines that a plugin wrote on this node, and why its calls failed.
    Logs {
        name: PluginName,
        #[command(flatten)]
        asked: LogArguments,
    },
}
