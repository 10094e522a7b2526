//! The gateway's log and counters.

use std::fmt::Display;

use crate::backend;

/// How much a line of the log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// Writes a line to the gateway's log, tagged with plugin, partner and event id. The gateway keeps few lines an event
/// and cuts long ones. Never write personal data or secrets.
pub fn log(level: Level, message: impl Display) {
    backend::log(level, &message.to_string());
}

/// Writes a line that helps whoever develops the plugin.
pub fn debug(message: impl Display) {
    log(Level::Debug, message);
}

/// Writes a line that an operator may want to read.
pub fn info(message: impl Display) {
    log(Level::Info, message);
}

/// Writes a line about something unusual.
pub fn warn(message: impl Display) {
    log(Level::Warn, message);
}

/// Writes a line about a fault.
pub fn error(message: impl Display) {
    log(Level::Error, message);
}

/// Adds to a counter that the gateway exports under the plugin's name. Names are 1 to 64 characters of `a-z 0-9 _`,
/// beginning with a letter; a plugin has at most 100.
pub fn count(counter: &str, amount: u64) {
    backend::count(counter, amount);
}
