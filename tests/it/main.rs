//! The one test binary: linking it once costs less than linking many.

mod architecture;
mod command_line;
mod crash;
mod delivery;
mod error_pages;
mod harness;
mod live;
mod plugins;
mod real_input;
mod repository;
mod schema_check;
mod tour;
mod whole_way;
