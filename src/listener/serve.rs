//! Connections and the requests on them.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::{Future, poll_fn},
    net::SocketAddr,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::{Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderValue, Method, Request, Version, header, request::Parts};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{
    Ingest, Peer, Proxies, Settings, Tls, accept,
    addresses::{Addresses, Place},
    body::{self, Pace},
    exchange::Exchange,
    lent::Lent,
    options,
    pressure::Pressure,
    protocol::protocol,
    proxy,
    respond::{self, Reply, RequestId},
    socket::{Patience, Socket},
    stop::{ABORTING, DRAINING, LEAVING, RUNNING, Stop},
    stream::Stream,
};
use crate::{
    event::{Answer, EventResult, Outcome},
    limits::Limits,
    problem::{Code, Problem},
    telemetry::{HttpNumbers, Under},
};

/// Connections past the cap that are told so at one time; those past this are just closed.
const REFUSALS: usize = 64;
const REFUSAL_TIME: Duration = Duration::from_secs(1);
/// Colon, space and line end of a header field.
const FIELD_BYTES: usize = 4;
/// How long connections have to see that their time is over.
pub(super) const ABORT_TIME: Duration = Duration::from_secs(1);

struct Server<I> {
    ingest: Arc<I>,
    limits: Limits,
    patience: Patience,
    pace: Pace,
    protocol: auto::Builder<TokioExecutor>,
    /// Where a request of it has come before.
    http1: auto::Builder<TokioExecutor>,
    /// Where ALPN has chosen it.
    http2: auto::Builder<TokioExecutor>,
    stop: Stop,
    tls: Option<Arc<Tls>>,
    pressure: Pressure,
    addresses: Addresses,
    proxies: Proxies,
    /// For connections past a cap that are told so.
    refusals: Arc<Semaphore>,
    numbers: Arc<HttpNumbers>,
}

pub(super) async fn run<I: Ingest>(
    socket: TcpListener,
    settings: Settings,
    ingest: Arc<I>,
    shutdown: impl Future<Output = ()>,
) {
    let connections = settings.limits.connections;
    let limits = settings.limits.clone();
    let server = Arc::new(Server {
        ingest,
        protocol: protocol(&settings),
        http1: protocol(&settings).http1_only(),
        http2: protocol(&settings).http2_only(),
        patience: Patience {
            header: Duration::from_secs(limits.header_time_s.into()),
            keep_alive: settings.keep_alive,
            rest_after: settings.rest_after,
            uri_bytes: limits.uri_bytes.0,
        },
        pace: Pace::of(&settings),
        addresses: Addresses::new(limits.connections_per_address),
        proxies: settings.proxies.clone(),
        limits,
        stop: Stop::default(),
        tls: settings.tls.clone(),
        pressure: Pressure::default(),
        refusals: Arc::new(Semaphore::new(REFUSALS)),
        numbers: Arc::clone(&settings.numbers),
    });
    let measuring = server.pressure.measure(settings.queue_time);
    let summing_up = tokio::spawn(sum_up(Arc::clone(&server.numbers), settings.summary_interval));
    let following = settings.tls.map(|tls| tokio::spawn(tls.follow()));
    let slots = Arc::new(Semaphore::new(connections as usize));
    let begin = |stream: TcpStream, peer: SocketAddr| {
        let slot = Arc::clone(&slots).try_acquire_owned().ok();
        let is_introduced = server.proxies.introduces(peer.ip());
        let place = (!is_introduced).then(|| server.addresses.take(peer.ip()));
        if let Some(slot) = slot
            && place.as_ref().is_none_or(Option::is_some)
        {
            let place = place.flatten();
            tokio::spawn(connection(Arc::clone(&server), stream, peer, slot, place));
        } else if let Some(slot) = server.refusal() {
            tokio::spawn(refuse(stream, slot));
        }
    };
    accept::connections(&socket, shutdown, &begin).await;
    server.stop.advance(LEAVING);
    if !settings.is_handed_over {
        // Closing the socket would reset them: to the kernel they are connected already.
        while let Some(Ok((stream, peer))) = socket.accept().now_or_never() {
            begin(stream, peer);
        }
    }
    drop(socket);
    measuring.abort();
    summing_up.abort();
    if let Some(following) = following {
        following.abort();
    }
    let ended = || slots.acquire_many(connections);
    // Where a connection is closed just when a request comes on it, the sender sees a failure. So whoever sends is told
    // with an answer first, and only those that are silent meanwhile are closed.
    let lingered = timeout(settings.linger.min(settings.shutdown_timeout), ended()).await;
    drop(lingered);
    server.stop.advance(DRAINING);
    if timeout(settings.shutdown_timeout, ended()).await.is_err() {
        server.stop.advance(ABORTING);
        if timeout(ABORT_TIME, ended()).await.is_err() {
            tracing::warn!("connections outlived shutdown");
        }
    }
}

/// Says now and then how many requests were refused, and why; a line for each is there at the level `debug`.
async fn sum_up(numbers: Arc<HttpNumbers>, interval: Duration) {
    let mut before: BTreeMap<Code, u64> = numbers.refusals().collect();
    loop {
        tokio::time::sleep(interval).await;
        for (code, count) in numbers.refusals() {
            let known = before.insert(code, count).unwrap_or_default();
            if count > known {
                tracing::info!(
                    code = code.as_str(),
                    requests = count - known,
                    "requests were refused"
                );
            }
        }
    }
}

impl<I> Server<I> {
    /// Leave to tell a connection past a cap why it is closed. Not over TLS: a handshake, and HTTP/2 behind it, would cost
    /// the most when there is the least to spare.
    fn refusal(&self) -> Option<OwnedSemaphorePermit> {
        if self.tls.is_some() {
            return None;
        }
        Arc::clone(&self.refusals).try_acquire_owned().ok()
    }
}

/// Past the cap a connection is told so and closed: a sender who waits in the backlog would only see its own timeout,
/// and a load balancer learns nothing from that.
async fn refuse(mut stream: TcpStream, _slot: OwnedSemaphorePermit) {
    let refusal = respond::raw_problem(&Problem::new(
        Code::Overloaded,
        "the gateway holds as many connections as it may, in all or from this address",
    ));
    // Whatever goes wrong here, the connection is closed.
    let _ = timeout(REFUSAL_TIME, async {
        let mut scrap = [0; 4096];
        if stream.read(&mut scrap).await? == 0 {
            return Ok(());
        }
        stream.write_all(&refusal).await?;
        stream.shutdown().await?;
        while stream.read(&mut scrap).await? > 0 {}
        std::io::Result::Ok(())
    })
    .await;
}

async fn connection<I: Ingest>(
    server: Arc<Server<I>>,
    mut stream: TcpStream,
    mut address: SocketAddr,
    slot: OwnedSemaphorePermit,
    mut _place: Option<Place>,
) {
    let _open = server.numbers.connection();
    if _place.is_none() {
        match timeout(server.patience.header, proxy::introduction(&mut stream)).await {
            Ok(Ok(None)) => {}
            Ok(Ok(Some(client))) => address = client,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a trusted proxy did not introduce a connection");
                return;
            }
            Err(_) => return,
        }
        _place = server.addresses.take(address.ip());
        if _place.is_none() {
            drop(slot);
            if let Some(refusal) = server.refusal() {
                refuse(stream, refusal).await;
            }
            return;
        }
    }
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let Some(stream) = open(&server, stream).await else {
        return;
    };
    let peer = Peer {
        address,
        certificate: stream.certificate(),
        proxies: server.proxies.clone(),
    };
    converse(&server, stream, &peer).await;
}

/// Whether a connection has its HTTP machinery, or only a socket that waits.
enum State<C> {
    Active(C),
    AtRest { _counted: Under },
}

/// Requests and answers, until the connection ends.
async fn converse<I: Ingest>(server: &Arc<Server<I>>, stream: Stream, peer: &Peer) {
    let protocol = if stream.is_http2() {
        &server.http2
    } else {
        &server.protocol
    };
    let exchange = Arc::new(Exchange::default());
    let socket = Socket::new(stream, Arc::clone(&exchange), server.patience);
    let socket = Arc::new(Mutex::new(socket));
    let serve = |is_again| {
        let protocol = if is_again { &server.http1 } else { protocol };
        let (server, exchange, peer) = (Arc::clone(server), Arc::clone(&exchange), peer.clone());
        let service = service_fn(move |request| {
            respond_to(Arc::clone(&server), Arc::clone(&exchange), peer.clone(), request)
        });
        Box::pin(protocol.serve_connection(TokioIo::new(Lent(Arc::clone(&socket))), service))
    };
    let mut state = State::Active(serve(false));
    let mut draining = pin!(server.stop.draining.notified());
    let mut aborting = pin!(server.stop.aborting.notified());
    let mut is_registered = false;
    let mut is_draining = false;
    poll_fn(|context| {
        if !is_registered {
            is_registered = true;
            // Once is enough: a task's waker stays good for its whole life, and the stage says what it woke for.
            let _ = draining.as_mut().poll(context);
            let _ = aborting.as_mut().poll(context);
        }
        let begins_to_drain = match server.stop.stage.load(Ordering::Acquire) {
            RUNNING | LEAVING => false,
            DRAINING => !std::mem::replace(&mut is_draining, true),
            _ => return Poll::Ready(()),
        };
        loop {
            match &mut state {
                State::Active(active) => {
                    if begins_to_drain {
                        active.as_mut().graceful_shutdown();
                    }
                    if let Poll::Ready(ended) = active.as_mut().poll(context) {
                        if let Err(error) = ended {
                            tracing::debug!(%error, "a connection ended early");
                        }
                        return Poll::Ready(());
                    }
                    if !socket.lock().is_at_rest() {
                        return Poll::Pending;
                    }
                    // Buffers and all: thousands of connections may wait for their next request.
                    state = State::AtRest {
                        _counted: server.numbers.connection_at_rest(),
                    };
                }
                State::AtRest { .. } if begins_to_drain => return Poll::Ready(()),
                State::AtRest { .. } => {
                    ready!(socket.lock().poll_awake(context));
                    state = State::Active(serve(true));
                }
            }
        }
    })
    .await;
}

/// The connection's bytes, after the handshake where there is one; none where it fails or takes too long.
async fn open<I>(server: &Server<I>, stream: TcpStream) -> Option<Stream> {
    let Some(tls) = &server.tls else {
        return Some(Stream::Plain(stream));
    };
    match timeout(server.patience.header, tls.accept(stream)).await {
        Ok(Ok(stream)) => Some(Stream::Tls(Box::new(stream))),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!("a TLS handshake took too long");
            None
        }
    }
}

async fn respond_to<I: Ingest>(
    server: Arc<Server<I>>,
    exchange: Arc<Exchange>,
    peer: Peer,
    request: Request<Incoming>,
) -> Result<Reply, Infallible> {
    let _in_flight = exchange.begin();
    let _active = server.numbers.active();
    let started = Instant::now();
    let id = RequestId::new();
    let (head, mut body) = request.into_parts();
    let mut read = None;
    let outcome = AssertUnwindSafe(process(&server, &peer, &head, &mut body, &mut read))
        .catch_unwind()
        .await
        .unwrap_or_else(|_| {
            tracing::error!(request_id = %id, "a request made the gateway panic");
            Err(Problem::new(
                Code::Internal,
                "the gateway failed on this request; name its request_id to whoever runs it",
            ))
        });
    let mut reply = match outcome {
        Ok(answer) => {
            if let Some(code) = refused_whole(&answer) {
                note_refusal(&server.numbers, id, code, &peer);
            }
            respond::answer(&answer, id)
        }
        Err(Problem {
            code: Code::MethodNotAllowed,
            allow: Some(allow),
            ..
        }) if head.method == Method::OPTIONS => options::answer(&*server.ingest, &head, &peer, allow, id),
        Err(problem) => {
            note_refusal(&server.numbers, id, problem.code, &peer);
            respond::problem(&problem, id)
        }
    };
    options::share(&*server.ingest, &head, &mut reply);
    if head.method == Method::GET {
        reply
            .headers_mut()
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if head.version < Version::HTTP_2 && server.stop.stage.load(Ordering::Acquire) == LEAVING {
        reply
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if read.is_none() && head.version < Version::HTTP_2 && !hyper::body::Body::is_end_stream(&body) {
        reply
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
        exchange.leave_unread();
    }
    server.numbers.request(
        head.method.as_str(),
        reply.status().as_u16(),
        started.elapsed(),
        read,
    );
    Ok(reply)
}

/// The first code, where every event was rejected.
fn refused_whole(answer: &Answer) -> Option<Code> {
    let mut results = answer.results.iter();
    if !results.all(EventResult::is_rejected) {
        return None;
    }
    match &answer.results.first()?.outcome {
        Outcome::Rejected(reason) => Some(reason.code),
        _ => None,
    }
}

fn note_refusal(numbers: &HttpNumbers, id: RequestId, code: Code, peer: &Peer) {
    numbers.refused(code);
    tracing::debug!(
        request_id = %id,
        code = code.as_str(),
        peer = %peer.address.ip(),
        "a request was refused"
    );
}

async fn process<I: Ingest>(
    server: &Server<I>,
    peer: &Peer,
    head: &Parts,
    body: &mut Incoming,
    read: &mut Option<usize>,
) -> Result<Answer, Problem> {
    check_head(head, &server.limits)?;
    server.pressure.check()?;
    let mut admission = server.ingest.admit(head, peer)?;
    let bytes = if head.method == Method::GET {
        Bytes::new()
    } else {
        let bytes = body::collect(body, &server.limits, server.pace, &mut admission).await?;
        *read = Some(bytes.len());
        bytes
    };
    server.ingest.ingest(admission, bytes).await
}

/// What the HTTP machinery lets through and this gateway does not.
fn check_head(head: &Parts, limits: &Limits) -> Result<(), Problem> {
    let uri_bytes = head
        .uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    if uri_bytes as u64 > limits.uri_bytes.0 {
        return Err(Problem::new(
            Code::UriTooLong,
            format!(
                "a URI holds at most {}; send events in a body by POST",
                limits.uri_bytes
            ),
        ));
    }
    let header_bytes: usize = head
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES)
        .sum();
    if header_bytes as u64 > limits.header_bytes.0 {
        return Err(Problem::new(
            Code::HeadersTooLarge,
            format!("a header section holds at most {}", limits.header_bytes),
        ));
    }
    let hosts = head.headers.get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && head.version == Version::HTTP_11) {
        return Err(Problem::new(
            Code::HttpMalformed,
            "a request carries exactly one Host header",
        ));
    }
    Ok(())
}
