//! The client commands, one module a resource.

pub mod key;
pub mod partner;
pub mod plugin;
mod plugin_case_trial;
mod plugin_logs;
mod plugin_page;
mod plugin_trial;
pub mod quarantine;
pub mod route;
pub mod schema;
pub mod schema_report;
pub mod spool;
pub mod table;
pub mod tail;

/// A date as tables show it: to the second.
fn short_time(time: &str) -> String {
    match time.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        Err(_) => time.to_owned(),
    }
}

/// So much of a digest as tells texts apart.
fn short_digest(digest: &str) -> String {
    digest.chars().take(12).collect()
}
