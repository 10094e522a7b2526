//! The command line: arguments, exit statuses, and the commands that speak to a running gateway.

mod apply;
mod arguments;
mod client;
mod commands;
mod confirm;
mod doctor;
mod failure;
mod output;
pub mod plugin_project;
mod resources;
mod schema_files;
mod sockets;
mod table_files;
#[cfg(test)]
mod tests;
mod tls;
mod top;

use std::{path::Path, process::ExitCode};

use clap::Parser as _;

use self::{
    arguments::{Cli, Command, ConfigCommand, SchemaCommand},
    client::Client,
    failure::Failure,
    output::Output,
};

/// Read where `serve` is given no file.
const CONFIG_FILE: &str = "headworks.toml";

/// Runs what the arguments say: status 0, 1 (refused or failed) or 2 (wrong usage).
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let status = if error.use_stderr() { 2 } else { 0 };
            // Where nobody reads the help there is nobody to tell that.
            let _ = error.print();
            return ExitCode::from(status);
        }
    };
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve { config } => serve(config.as_deref()),
        Command::Config {
            command: ConfigCommand::Check { file },
        } => check(&file),
        Command::Spool { command } => commands::spool::run(command),
        command => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(Failure::Runtime)?;
            runtime.block_on(speak(command))
        }
    }
}

/// The commands that speak to a gateway, or would where they have to.
async fn speak(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve { .. } | Command::Config { .. } | Command::Spool { .. } => Ok(()),
        Command::Doctor(arguments) => {
            let file = config_file(arguments.config.as_deref());
            doctor::run(&arguments, file).await
        }
        Command::Top(arguments) => top::run(&arguments, &Client::new(&arguments.remote)?).await,
        Command::Tail(arguments) => commands::tail::run(&arguments, &Client::new(&arguments.remote)?).await,
        Command::Apply(arguments) => {
            let client = Client::new(&arguments.remote)?;
            apply::run(&arguments, &client, &mut Output::new(&arguments.remote)).await
        }
        Command::Schema {
            remote,
            command:
                SchemaCommand::Import {
                    from,
                    input,
                    to,
                    dry_run,
                },
        } => schema_files::import::run(from, &input, &to, dry_run, Output::new(&remote)),
        Command::Schema {
            remote,
            command:
                SchemaCommand::Infer {
                    file,
                    event_type,
                    evidence,
                },
        } => {
            let evidence = usize::try_from(evidence.get()).unwrap_or(usize::MAX);
            schema_files::infer::run(&file, event_type.as_ref(), evidence, Output::new(&remote))
        }
        Command::Schema { remote, command } => {
            let client = Client::new(&remote)?;
            commands::schema::run(command, &client, &mut Output::new(&remote)).await
        }
        Command::Plugin { remote, command } => {
            commands::plugin::run(command, &remote, &mut Output::new(&remote)).await
        }
        Command::Partner { remote, command } => {
            let client = Client::new(&remote)?;
            commands::partner::run(command, &client, &mut Output::new(&remote)).await
        }
        Command::Key { remote, command } => {
            let client = Client::new(&remote)?;
            commands::key::run(command, &client, &mut Output::new(&remote)).await
        }
        Command::Route { remote, command } => {
            let client = Client::new(&remote)?;
            commands::route::run(command, &client, &mut Output::new(&remote)).await
        }
        Command::Table { remote, command } => {
            let client = Client::new(&remote)?;
            commands::table::run(command, &client, &mut Output::new(&remote)).await
        }
        Command::Quarantine { remote, command } => {
            let client = Client::new(&remote)?;
            commands::quarantine::run(command, &client, &mut Output::new(&remote)).await
        }
    }
}

/// The file that was named; else the usual one, where it is there.
fn config_file(named: Option<&Path>) -> Option<&Path> {
    let present = Path::new(CONFIG_FILE);
    named.or_else(|| present.exists().then_some(present))
}

fn serve(config: Option<&Path>) -> Result<(), Failure> {
    let settings = crate::config::load(config_file(config), environment())?;
    for warning in settings.warnings() {
        output::note(&format!("warning: {warning}"));
    }
    let sockets = sockets::handed_over(environment()).map_err(Failure::Serve)?;
    crate::app::serve(settings, sockets).map_err(|error| Failure::Serve(error.to_string()))
}

fn check(file: &Path) -> Result<(), Failure> {
    let settings = crate::config::load(Some(file), environment())?;
    for warning in settings.warnings() {
        output::note(&format!("warning: {warning}"));
    }
    let destinations = crate::deliver::check(&settings.destinations);
    let faults: Vec<String> = destinations
        .iter()
        .map(ToString::to_string)
        .chain(crate::store::check(&settings.store).map(|fault| fault.to_string()))
        .collect();
    for fault in &faults {
        output::note(&format!("{}: {fault}", file.display()));
    }
    match faults.len() {
        0 => output::line(&format!("{} is in order", file.display())),
        count => Err(Failure::Faults(count)),
    }
}

/// What of the environment is text; nothing else can be a setting.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
