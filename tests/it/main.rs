//! The one test binary: linking it once costs less than linking many.

mod accounts;
mod architecture;
mod command_line;
mod crash;
mod delivery;
mod error_pages;
mod faults;
mod front;
mod harness;
mod kafka;
mod kinesis;
mod life_cycle;
mod live;
mod plugins;
mod quarantine;
mod real_input;
mod repository;
mod schema_check;
mod schema_files;
mod spool;
mod stores;
mod tour;
mod upgrades;
mod versions;
mod whole_way;
