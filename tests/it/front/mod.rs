//! The data port as senders see it: forms, keys, envelopes, limits.

mod admin;
mod enrich;
mod examples;
mod h2spec;
mod hostile;
mod keys;
mod limits;
mod lines;
mod requests;
mod senders;
mod small_bombs;
mod statuses;
