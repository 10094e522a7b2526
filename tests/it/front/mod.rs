//! The data port as senders see it: forms, keys, envelopes, limits.

mod examples;
mod h2spec;
mod keys;
mod limits;
mod requests;
mod senders;
