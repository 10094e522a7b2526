//! Sockets, HTTP and its limits; a request's head and bounded body in, an answer out. It knows nothing of events but
//! how their outcomes read as a response.

use std::{future::Future, net::SocketAddr};

use bytes::Bytes;

use crate::{event::Answer, problem::Problem};

/// What stands behind the listener.
pub trait Ingest: Send + Sync + 'static {
    type Admission: Send + 'static;
    /// Before the body is read: refuses what is already certain.
    fn admit(&self, head: &http::request::Parts, peer: SocketAddr) -> Result<Self::Admission, Problem>;
    /// The whole request; the body as sent, still compressed, within `limits.body_bytes`.
    fn ingest(
        &self,
        admission: Self::Admission,
        body: Bytes,
    ) -> impl Future<Output = Result<Answer, Problem>> + Send;
}
