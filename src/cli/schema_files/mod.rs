//! Schemas as files: from other registries, from a gateway, and from sample events.

mod confluent;
pub mod export;
mod iglu;
pub mod import;
pub mod infer;
mod layout;
mod pretty;
pub mod referring;
mod segment;
#[cfg(test)]
mod tests;
