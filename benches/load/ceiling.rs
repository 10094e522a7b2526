//! What nothing can beat: hyper takes the request, librdkafka produces each line of it, and the answer waits for the
//! broker. No keys, no JSON, no schema, no plugin.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rdkafka::{
    ClientContext,
    config::FromClientConfigAndContext as _,
    message::DeliveryResult,
    producer::{BaseRecord, ProducerContext, ThreadedProducer},
};
use tokio::{net::TcpListener, sync::Notify};

pub const TOPIC: &str = "bench-ceiling";

struct Context;

impl ClientContext for Context {}

/// Counts down the records of one request.
struct Countdown {
    left: AtomicUsize,
    failed: AtomicUsize,
    done: Notify,
}

impl ProducerContext for Context {
    type DeliveryOpaque = Arc<Countdown>;

    fn delivery(&self, result: &DeliveryResult<'_>, request: Arc<Countdown>) {
        if result.is_err() {
            request.failed.fetch_add(1, Ordering::Relaxed);
        }
        if request.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            request.done.notify_one();
        }
    }
}

type Producer = ThreadedProducer<Context>;

/// Prints its address on the first line of standard output.
pub async fn serve(brokers: &str) {
    let producer = Arc::new(
        Producer::from_config_and_context(
            rdkafka::ClientConfig::new()
                .set("bootstrap.servers", brokers)
                .set("acks", "all")
                .set("enable.idempotence", "true")
                .set("linger.ms", super::servers::LINGER_MS),
            Context,
        )
        .expect("the settings are librdkafka's"),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    println!("{}", listener.local_addr().expect("the socket has an address"));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let producer = Arc::clone(&producer);
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let service = service_fn(move |request| answer(request, Arc::clone(&producer)));
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    producer: Arc<Producer>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let batch = request
        .headers()
        .get("content-type")
        .is_some_and(|value| value == "application/x-ndjson");
    let Ok(body) = request.into_body().collect().await else {
        return Ok(response(400));
    };
    let body = body.to_bytes();
    let lines: Vec<&[u8]> = if batch {
        body.split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .collect()
    } else {
        vec![&body]
    };
    let waiting = Arc::new(Countdown {
        left: AtomicUsize::new(lines.len()),
        failed: AtomicUsize::new(0),
        done: Notify::new(),
    });
    for line in lines {
        let record = BaseRecord::<(), _, _>::with_opaque_to(TOPIC, Arc::clone(&waiting)).payload(line);
        if producer.send(record).is_err() {
            return Ok(response(503));
        }
    }
    waiting.done.notified().await;
    Ok(response(if waiting.failed.load(Ordering::Acquire) == 0 {
        202
    } else {
        503
    }))
}

fn response(status: u16) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"{\"status\":\"accepted\"}")));
    *response.status_mut() = http::StatusCode::from_u16(status).expect("the status is one");
    response
}
