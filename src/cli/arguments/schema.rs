//! Schemas: those of a gateway, and those in files.

use std::{num::NonZeroU32, path::PathBuf};

use clap::Subcommand;

use super::{SchemaName, since};
use crate::{cli::schema_files::import::Origin, event::EventType};

#[derive(Debug, Subcommand)]
pub enum SchemaCommand {
    /// List the schemas, of one type or of all.
    List {
        #[arg(value_name = "TYPE")]
        event_type: Option<EventType>,
    },
    /// Print a schema as it was registered.
    Show {
        #[command(flatten)]
        schema: SchemaName,
    },
    /// Register a schema for a type, from an app version on.
    Register {
        #[command(flatten)]
        schema: SchemaName,
        /// The JSON Schema; - reads standard input.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Register it although it is not compatible (role operator).
        #[arg(long)]
        force: bool,
    },
    /// Say what registering a schema would do: what it refuses, and what would become of recent and quarantined events.
    Check {
        #[command(flatten)]
        schema: SchemaName,
        /// The JSON Schema; - reads standard input.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Compare two registered versions of a type.
    Diff {
        #[command(flatten)]
        schema: SchemaName,
        /// The other version.
        #[arg(value_name = "SINCE", value_parser = since)]
        other: String,
    },
    /// Say which app versions would be checked by another schema without this one, ask, and delete it.
    Delete {
        #[command(flatten)]
        schema: SchemaName,
        /// Delete it although other schemas refer to it, or the upgrade to the next would not do (role operator).
        #[arg(long)]
        force: bool,
        /// Only say what would become of events.
        #[arg(long)]
        dry_run: bool,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Write another registry's schemas in the layout that `apply` reads, and say what could not be taken.
    Import {
        #[arg(long, value_enum, value_name = "WHERE")]
        from: Origin,
        /// Iglu's folder; or a file with what the topic _schemas holds or Confluent's REST API answers, or with a
        /// tracking plan as Segment's API answers.
        #[arg(value_name = "DIR|FILE")]
        input: PathBuf,
        /// Gets schemas/TYPE/SINCE.json.
        #[arg(long, value_name = "DIR", default_value = ".")]
        to: PathBuf,
        /// Only say what would be taken.
        #[arg(long)]
        dry_run: bool,
    },
    /// Write a gateway's schemas, upgrades and types in the layout that `apply` reads.
    Export {
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// Write over files that are there with another content.
        #[arg(long)]
        overwrite: bool,
    },
    /// Propose a schema that takes sample events: the schema on standard output, the reasons on standard error.
    Infer {
        /// An event's data a line, or an event with its attributes a line; - reads standard input.
        #[arg(value_name = "FILE.ndjson")]
        file: PathBuf,
        /// Of events with their attributes, those of this type.
        #[arg(long = "type", value_name = "TYPE")]
        event_type: Option<EventType>,
        /// Sightings without which nothing is called required, an enum or a format.
        #[arg(long, value_name = "N", default_value = "10")]
        evidence: NonZeroU32,
    },
    /// Say how events of the version before are brought to this version's form. Without FILE, print it.
    Upgrade {
        #[command(flatten)]
        schema: SchemaName,
        /// {"steps": [{"rename": "/uid", "to": "user_id"}, …]}; - reads standard input.
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// Delete it.
        #[arg(long, conflicts_with = "file")]
        delete: bool,
    },
}
