//! Write Headworks transform plugins in Rust.
