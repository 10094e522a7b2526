//! The registry: partners, keys, types, schemas, plugins, routes and tokens, as a log of changes in the store.

pub mod model;
