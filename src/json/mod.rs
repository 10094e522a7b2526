mod tape; mod string; mod parse; mod error; mod pointer; mod document; mod node;
pub use document::*; pub use error::*; pub use node::*;
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind { Null, Boolean, Number, String, Array, Object }
