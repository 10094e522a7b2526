//! Routes, and the tables that their plugins read.

use std::path::PathBuf;

use clap::Subcommand;

use crate::event::{RouteName, TableName};

#[derive(Debug, Subcommand)]
pub enum RouteCommand {
    /// List routes.
    List,
    /// Print a route as the file that `put` takes.
    Show { name: RouteName },
    /// Make a route, or change it to what FILE says.
    Put {
        name: RouteName,
        #[arg(value_name = "FILE.toml")]
        file: PathBuf,
    },
    /// Delete a route.
    Delete { name: RouteName },
}

#[derive(Debug, Subcommand)]
pub enum TableCommand {
    /// List tables.
    List,
    /// Print a table's version, size and standing.
    Show { name: TableName },
    /// Put the rows of FILE (.ndjson: an object a line; .csv: a row of names first) in the place of those before.
    Put {
        name: TableName,
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The member or column whose value a row is found by; without it `key`.
        #[arg(long = "key-name", value_name = "NAME")]
        key: Option<String>,
    },
    /// Print one row.
    Get {
        name: TableName,
        #[arg(value_name = "KEY")]
        key: String,
    },
    /// Delete a table.
    Delete {
        name: TableName,
        /// Also where a route's configuration names it (role operator).
        #[arg(long)]
        force: bool,
    },
}
