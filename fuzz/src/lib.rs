//! What the targets share: requests written as text, what decoding needs beside them, a partner with its keys, and JSON
//! held against `serde_json`.

mod compare;
mod events;
mod keys;
pub mod model;
mod request;

pub use compare::{alike, depth, is_own_limit, same};
pub use events::{Schema, check, context, limits};
pub use keys::{KEYS, PARTNER, PUBLISHABLE, SECRET, SIGNING_ID, SIGNING_SECRET};
pub use request::Request;
