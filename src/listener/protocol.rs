//! How the HTTP machinery is set up: its bounds, which lie above our own.

use std::time::Duration;

use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    server::conn::auto,
};

use super::Settings;

/// Streams of one HTTP/2 connection at one time.
const HTTP2_STREAMS: u32 = 128;
const HTTP2_STREAM_WINDOW_BYTES: u32 = 256 << 10;
const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
const HTTP2_FRAME_BYTES: u32 = 16 << 10;
const HTTP2_RESET_STREAMS: usize = 20;
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(20);
/// What is read ahead of one HTTP/1 connection.
const READ_AHEAD_BYTES: usize = 128 << 10;

pub(super) fn protocol(settings: &Settings) -> auto::Builder<TokioExecutor> {
    let limits = &settings.limits;
    let header_bytes = limits.header_bytes.as_usize();
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        // Above our own bounds, so that it is our answer that a sender of too much sees.
        .max_buf_size(READ_AHEAD_BYTES.max(header_bytes.saturating_mul(2)))
        // The socket keeps this time, apart from that between requests, and answers 408.
        .header_read_timeout(None)
        .timer(TokioTimer::new());
    builder
        .http2()
        .max_concurrent_streams(HTTP2_STREAMS)
        .initial_stream_window_size(HTTP2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW_BYTES)
        .max_frame_size(HTTP2_FRAME_BYTES)
        .max_header_list_size(u32::try_from(header_bytes.saturating_mul(2)).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(HTTP2_RESET_STREAMS)
        .keep_alive_interval(settings.http2_ping)
        .keep_alive_timeout(HTTP2_PING_TIMEOUT)
        .timer(TokioTimer::new());
    builder
}
