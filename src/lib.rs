//! Headworks, an ingestion gateway. ARCHITECTURE.md tells how the modules hang together.

pub mod admin;
pub mod app;
pub mod authenticate;
pub mod background;
pub mod cli;
pub mod config;
pub mod confined;
pub mod decode;
pub mod deliver;
pub mod event;
pub mod json;
pub mod limits;
pub mod listener;
pub mod lookup;
pub mod pipeline;
pub mod problem;
pub mod quarantine;
pub mod recent;
pub mod registry;
pub mod removal;
pub mod route;
pub mod spool;
pub mod store;
pub mod telemetry;
pub mod transform;
pub mod validate;
