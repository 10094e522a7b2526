//! Reads a request's body: bounded in size, pace and in what its sender may hold.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::{Admitted, Settings};
use crate::{
    limits::{ByteSize, Limits},
    problem::{Code, Problem},
};

/// How slowly a body, or a line, may come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) idle: Duration,
    pub(super) bytes_per_s: u32,
    pub(super) window: Duration,
}

impl Pace {
    pub(super) fn of(settings: &Settings) -> Pace {
        Pace {
            idle: Duration::from_secs(settings.limits.body_idle_s.into()),
            bytes_per_s: settings.limits.body_min_bytes_per_s,
            window: settings.rate_window,
        }
    }
}

const SLOTS: u32 = 10;

/// Measures a pace.
pub(super) struct Clock {
    pace: Pace,
    /// Bytes in each of the last tenths of the window.
    slots: [u64; SLOTS as usize],
    slots_passed: usize,
    slot_ends: Instant,
    last_bytes: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Clock {
    pub(super) fn start(pace: Pace) -> Clock {
        let now = Instant::now();
        let slot_ends = now + pace.window / SLOTS;
        Clock {
            pace,
            slots: [0; SLOTS as usize],
            slots_passed: 0,
            slot_ends,
            last_bytes: now,
            sleep: Box::pin(tokio::time::sleep_until(slot_ends.min(now + pace.idle))),
        }
    }

    pub(super) fn count(&mut self, bytes: usize) {
        self.last_bytes = Instant::now();
        self.slots[self.slots_passed % SLOTS as usize] += bytes as u64;
    }

    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<Problem> {
        while self.sleep.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            if now.duration_since(self.last_bytes) >= self.pace.idle {
                return Poll::Ready(late(format!(
                    "no byte of the body came within {} s",
                    self.pace.idle.as_secs_f32()
                )));
            }
            while self.slot_ends <= now {
                self.slots_passed += 1;
                if self.slots_passed >= SLOTS as usize && self.is_below_rate() {
                    return Poll::Ready(late(format!(
                        "the body comes with less than {} bytes a second",
                        self.pace.bytes_per_s
                    )));
                }
                self.slots[self.slots_passed % SLOTS as usize] = 0;
                self.slot_ends += self.pace.window / SLOTS;
            }
            let next = self.slot_ends.min(self.last_bytes + self.pace.idle);
            self.sleep.as_mut().reset(next);
        }
        Poll::Pending
    }

    /// Waits until it comes too slowly.
    pub(super) async fn late(&mut self) -> Problem {
        poll_fn(|context| self.poll_late(context)).await
    }

    fn is_below_rate(&self) -> bool {
        let received: u64 = self.slots.iter().sum();
        u128::from(received) * 1000 < u128::from(self.pace.bytes_per_s) * self.pace.window.as_millis()
    }
}

fn late(detail: String) -> Problem {
    Problem::new(
        Code::RequestTimeout,
        detail + "; send it faster, or in smaller requests",
    )
}

pub(super) fn too_large(limit: ByteSize) -> Problem {
    Problem::new(
        Code::BodyTooLarge,
        format!("a body holds at most {limit}; send fewer events at once"),
    )
}

/// Refuses by the declared length, before anything is read; what is declared is held from now on.
fn check_declared(body: &Incoming, limits: &Limits, admission: &mut impl Admitted) -> Result<u64, Problem> {
    let declared = body.size_hint().lower();
    if declared > limits.body_bytes.0 {
        return Err(too_large(limits.body_bytes));
    }
    admission.hold(declared)?;
    Ok(declared)
}

/// The whole body; a body that came in one piece is not copied.
pub(super) async fn collect(
    body: &mut Incoming,
    limits: &Limits,
    pace: Pace,
    admission: &mut impl Admitted,
) -> Result<Bytes, Problem> {
    let mut held = check_declared(body, limits, admission)?;
    let mut hold = |bytes: usize| {
        let more = (bytes as u64).saturating_sub(held);
        held = held.max(bytes as u64);
        if bytes as u64 > limits.body_bytes.0 {
            return Err(too_large(limits.body_bytes));
        }
        if more == 0 { Ok(()) } else { admission.hold(more) }
    };
    let mut wait = Wait::new(pace);
    let Some(first) = next_data(body, &mut wait).await? else {
        return Ok(Bytes::new());
    };
    hold(first.len())?;
    let Some(second) = next_data(body, &mut wait).await? else {
        return Ok(first);
    };
    let mut whole = Vec::with_capacity(first.len() + second.len());
    whole.extend_from_slice(&first);
    drop(first);
    let mut next = Some(second);
    while let Some(data) = next {
        hold(whole.len() + data.len())?;
        whole.extend_from_slice(&data);
        next = next_data(body, &mut wait).await?;
    }
    Ok(whole.into())
}

/// How long a body is waited for.
struct Wait {
    pace: Pace,
    has_asked: bool,
    clock: Option<Clock>,
}

impl Wait {
    fn new(pace: Pace) -> Wait {
        Wait {
            pace,
            has_asked: false,
            clock: None,
        }
    }

    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<Problem> {
        // HTTP/1 hands on what it has read already only once it was asked: most bodies are there at the second look, and
        // a timer for each would cost more than the rest of their reading.
        if !std::mem::replace(&mut self.has_asked, true) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.clock
            .get_or_insert_with(|| Clock::start(self.pace))
            .poll_late(context)
    }
}

/// The next piece of data, or none at the end.
async fn next_data(body: &mut Incoming, wait: &mut Wait) -> Result<Option<Bytes>, Problem> {
    loop {
        let frame = poll_fn(|context| match Pin::new(&mut *body).poll_frame(context) {
            Poll::Ready(frame) => Poll::Ready(Ok(frame)),
            Poll::Pending => wait.poll_late(context).map(Err),
        })
        .await?;
        match frame {
            None => return Ok(None),
            Some(Err(_)) => {
                return Err(Problem::new(
                    Code::HttpMalformed,
                    "the body ended early or its chunks are not well-formed",
                ));
            }
            // Trailers say nothing of events.
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data()
                    && !data.is_empty()
                {
                    if let Some(clock) = &mut wait.clock {
                        clock.count(data.len());
                    }
                    return Ok(Some(data));
                }
            }
        }
    }
}
