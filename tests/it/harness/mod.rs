//! Parts that several tests share.

pub mod console;
pub mod gateway;
pub mod kafka;
pub mod s3;
