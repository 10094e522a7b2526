//! Parts that several tests share.

pub mod accounts;
pub mod console;
pub mod gateway;
pub mod identity;
pub mod kafka;
pub mod kinesis;
pub mod page_view;
pub mod ports;
pub mod s3;
pub mod served;

/// Whether tests should run at the figures of the promises rather than at a size for every day.
pub fn long() -> bool {
    std::env::var_os("HEADWORKS_TEST_LONG").is_some()
}

/// A client that gives up after a while, so that a test which is never answered fails and says where.
pub fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .timeout(3 * gateway::PATIENCE)
        .build()
        .expect("a client needs nothing")
}
