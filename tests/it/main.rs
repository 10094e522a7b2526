//! The one test binary: linking it once costs less than linking many.

mod accounts;
mod architecture;
mod command_line;
mod crash;
mod delivery;
mod duplicates;
mod error_pages;
mod faults;
mod harness;
mod kafka;
mod kinesis;
mod live;
mod plugins;
mod real_input;
mod repository;
mod restart;
mod spool;
mod tour;
mod whole_way;
