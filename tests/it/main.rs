//! The one test binary: linking it once costs less than linking many.

mod accounts;
mod architecture;
mod command_line;
mod crash;
mod delivery;
mod error_pages;
mod front;
mod faults;
mod harness;
mod kafka;
mod kinesis;
mod live;
mod plugins;
mod quarantine;
mod real_input;
mod repository;
mod schema_files;
mod stores;
mod spool;
mod tour;
mod upgrades;
mod versions;
mod whole_way;
