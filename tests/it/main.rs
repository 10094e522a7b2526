//! The one test binary: linking it once costs less than linking many.

mod architecture;
mod command_line;
mod crash;
mod delivery;
mod error_pages;
mod harness;
mod live;
mod plugins;
mod quarantine;
mod real_input;
mod repository;
mod stores;
mod tour;
mod whole_way;
