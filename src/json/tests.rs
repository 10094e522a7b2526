use bytes::Bytes;

use super::*;

mod edit;
pub(crate) mod edit_properties;
mod generate;
mod model;
mod parse;
mod parse_properties;
mod schema;
mod text;

const DEPTH_MAX: u32 = 64;

fn parse(text: &str) -> Document {
    try_parse(text.as_bytes()).expect("the test's text is JSON")
}

fn try_parse(text: &[u8]) -> Result<Document, ParseError> {
    Document::parse(Bytes::copy_from_slice(text), DEPTH_MAX)
}
