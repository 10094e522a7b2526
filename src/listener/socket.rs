//! The byte stream under one connection's HTTP machinery. It keeps what that machinery does not: the time between
//! requests apart from the time of a header section, an answer for a header section that comes too slowly, the
//! contract's problem in the place of the machinery's bare refusals, and an end that the peer can read.

use std::{
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

use super::{
    exchange::Exchange,
    frames::{Frames, PREFACE},
    guard::{Cut, Guard},
    respond,
    stream::Stream,
};
use crate::{
    limits::HTTP2_FRAMES_BETWEEN_REQUESTS,
    problem::{Code, Problem},
};

/// How long a connection may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) header: Duration,
    pub(super) keep_alive: Duration,
    /// After so long between two requests it is at rest.
    pub(super) rest_after: Duration,
    pub(super) uri_bytes: u64,
}

/// How long, and how much, is read and dropped after the response so that the peer comes to read it.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 4 << 20;
/// Over HTTP/2, so much that was written is an answer that the peer takes: all acknowledgements of pings between two
/// requests are less.
const ANSWER_BYTES: usize = 20 << 10;
const _: () = assert!(ANSWER_BYTES > HTTP2_FRAMES_BETWEEN_REQUESTS as usize * 17);
/// Of the preface: no request of HTTP/1 begins with it.
const HTTP2_METHOD: &[u8] = b"PRI ";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing has come on this connection yet; of HTTP/2: no whole header section.
    New,
    /// Between two requests.
    Resting,
    /// In a header section of HTTP/1.
    Head,
}

pub(super) struct Socket {
    stream: Stream,
    exchange: Arc<Exchange>,
    patience: Patience,
    phase: Phase,
    since: Instant,
    answered: u32,
    is_http2: bool,
    /// Bytes of the request line so far; none once it has ended within bounds.
    line_bytes: Option<u64>,
    timer: Option<Pin<Box<Sleep>>>,
    write_stalled_since: Option<Instant>,
    /// Bytes of this socket's own, written before all else.
    own: Vec<u8>,
    own_written: usize,
    linger: Option<Linger>,
    guard: Guard,
    /// What came is not well-formed from here on: nothing more of it is handed on.
    cut: Option<Cut>,
    is_refused: bool,
    /// So many bytes have come, all of them like HTTP/2's first; none once it is known which version this is.
    opening: Option<usize>,
    /// Of HTTP/2.
    frames: Frames,
    /// Of HTTP/2: written since that last kept the connection.
    written_bytes: usize,
    /// When the header section of HTTP/2 began that is not whole yet.
    section_since: Option<Instant>,
    /// Nothing more is read.
    is_over: bool,
    is_at_rest: bool,
}

struct Linger {
    deadline: Instant,
    bytes: usize,
}

impl Socket {
    pub(super) fn new(stream: Stream, exchange: Arc<Exchange>, patience: Patience) -> Socket {
        let is_http2 = stream.is_http2();
        Socket {
            stream,
            exchange,
            patience,
            phase: Phase::New,
            since: Instant::now(),
            answered: 0,
            is_http2,
            line_bytes: Some(0),
            timer: None,
            write_stalled_since: None,
            own: Vec::new(),
            own_written: 0,
            linger: None,
            guard: Guard::new(),
            cut: None,
            is_refused: false,
            opening: (!is_http2).then_some(0),
            frames: Frames::new(),
            written_bytes: 0,
            section_since: None,
            is_over: false,
            is_at_rest: false,
        }
    }

    /// Between two requests of HTTP/1 for long enough that whatever reads from it holds nothing that matters.
    pub(super) fn is_at_rest(&self) -> bool {
        self.is_at_rest
    }

    /// Until there is something to read again, or no more time for it.
    pub(super) fn poll_awake(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.stream.poll_readable(context).is_pending() {
            ready!(self.poll_until(self.deadline(), context));
        }
        self.is_at_rest = false;
        Poll::Ready(())
    }

    /// Whether it has begun to rest. Nothing may be on its way in either direction.
    fn poll_rest(&mut self, context: &mut Context<'_>) {
        let can_rest = !self.is_http2
            && self.phase == Phase::Resting
            && self.own.is_empty()
            && self.write_stalled_since.is_none();
        let begins = self.since + self.patience.rest_after;
        self.is_at_rest = can_rest && begins < self.deadline() && self.poll_until(begins, context).is_ready();
    }

    fn is_busy(&self) -> bool {
        self.exchange.in_flight.load(Ordering::Acquire) > 0
    }

    /// Takes notice of requests that were answered since the last look.
    fn follow(&mut self) {
        let answered = self.exchange.answered.load(Ordering::Acquire);
        if answered != self.answered {
            self.answered = answered;
            self.phase = Phase::Resting;
            self.since = Instant::now();
            self.line_bytes = Some(0);
        }
    }

    /// What came while no request was in flight.
    fn note_head(&mut self, bytes: &[u8]) {
        if self.is_http2 {
            self.phase = match self.frames.sections() {
                0 => Phase::New,
                _ => Phase::Resting,
            };
            return;
        }
        if self.phase != Phase::Head {
            self.phase = Phase::Head;
            self.since = Instant::now();
        }
        if let Some(so_far) = self.line_bytes {
            let end = memchr::memchr(b'\n', bytes);
            let line_bytes = so_far + end.unwrap_or(bytes.len()) as u64;
            let is_over = line_bytes > self.patience.uri_bytes;
            self.line_bytes = (end.is_none() || is_over).then_some(line_bytes);
        }
    }

    fn deadline(&self) -> Instant {
        if let Some(since) = self.section_since {
            return since + self.patience.header;
        }
        self.since
            + match self.phase {
                Phase::New | Phase::Head => self.patience.header,
                Phase::Resting => self.patience.keep_alive,
            }
    }

    fn poll_until(&mut self, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if deadline < timer.deadline() {
            timer.as_mut().reset(deadline);
        }
        loop {
            ready!(timer.as_mut().poll(context));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }

    /// Whether there is something to hand on of what was read into `buffer` behind `before`; what is not well-formed is
    /// taken out of it.
    fn check(&mut self, buffer: &mut ReadBuf<'_>, before: usize) -> bool {
        let read = buffer.filled().get(before..).unwrap_or_default();
        if let Some(known) = self.opening {
            let rest = PREFACE.get(known..).unwrap_or_default();
            let alike = rest
                .iter()
                .zip(read)
                .take_while(|(one, other)| one == other)
                .count();
            if alike == rest.len().min(read.len()) {
                self.is_http2 = alike == rest.len();
                self.opening = (!self.is_http2).then_some(known + alike);
                self.follow_frames(buffer, before);
                return true;
            }
            self.opening = None;
            if known + alike >= HTTP2_METHOD.len() {
                self.cut = Some(Cut {
                    pass: 0,
                    fault: "what begins like HTTP/2 does not go on like it",
                    is_in_body: false,
                });
                buffer.set_filled(before);
                return false;
            }
            // It was held back while it could have been HTTP/2; a part of a method cannot be at fault.
            let _ = self.guard.feed(PREFACE.get(..known).unwrap_or_default());
        }
        if self.is_http2 {
            self.follow_frames(buffer, before);
            return true;
        }
        let Err(cut) = self.guard.feed(read) else {
            return true;
        };
        self.cut = Some(cut);
        buffer.set_filled(before + cut.pass);
        cut.pass > 0
    }

    /// Takes what was read away where it is a flood: the end of the stream is what is read then.
    fn follow_frames(&mut self, buffer: &mut ReadBuf<'_>, before: usize) {
        let sections = self.frames.sections();
        self.frames
            .feed(buffer.filled().get(before..).unwrap_or_default());
        if self.frames.sections() != sections {
            // The request is not in flight yet, and may have come at the last moment.
            self.since = Instant::now();
            self.section_since = None;
        }
        if self.frames.is_in_section() {
            self.section_since.get_or_insert_with(Instant::now);
        }
        if self.frames.is_flood() {
            tracing::debug!("a connection was ended: HTTP/2 frames without end, and no request among them");
            buffer.set_filled(before);
            self.is_over = true;
        }
    }

    /// The end of what can be read: the request before is answered first, then the one that is not well-formed.
    fn poll_cut(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(cut) = self.cut else {
            return Poll::Ready(Ok(()));
        };
        // The request that the body belongs to is in flight, and finds that it ended early.
        if cut.is_in_body {
            self.exchange.leave_unread();
            return Poll::Ready(Ok(()));
        }
        if self.exchange.answered.load(Ordering::Acquire) != self.guard.heads() {
            self.exchange.waiting.register(context.waker());
            // What came before may have been answered meanwhile.
            if self.exchange.answered.load(Ordering::Acquire) != self.guard.heads() {
                return Poll::Pending;
            }
        }
        if !self.is_refused {
            let problem = Problem::new(
                Code::HttpMalformed,
                format!("{}; nothing of it was taken", cut.fault),
            );
            self.replace(&problem);
        }
        ready!(self.poll_own(context))?;
        Poll::Ready(Ok(()))
    }

    fn poll_own(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.own_written < self.own.len() {
            let rest = self.own.get(self.own_written..).unwrap_or_default();
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(written) => self.own_written += written,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        self.own.clear();
        self.own_written = 0;
        Poll::Ready(Ok(()))
    }

    /// The contract's problem where `bytes` are a refusal that the HTTP machinery made up by itself.
    fn refusal_for(&self, bytes: &[u8]) -> Option<Problem> {
        let status = bytes.strip_prefix(b"HTTP/1.1 4")?;
        let is_bare = bytes.ends_with(b"\r\n\r\n")
            && !bytes
                .windows(b"x-request-id".len())
                .any(|part| part == b"x-request-id");
        if !is_bare {
            return None;
        }
        let is_uri = self
            .line_bytes
            .is_some_and(|bytes| bytes > self.patience.uri_bytes);
        Some(match status.get(..2)? {
            b"31" if !is_uri => Problem::new(
                Code::HeadersTooLarge,
                "the header section is too large or holds too many fields",
            ),
            b"14" | b"31" => Problem::new(
                Code::UriTooLong,
                "the URI is too long; send events in a body by POST",
            ),
            _ => Problem::new(
                Code::HttpMalformed,
                "the request line or a header field is not well-formed HTTP",
            ),
        })
    }

    /// The first refusal is the answer: what is made up after it is dropped.
    fn replace(&mut self, problem: &Problem) {
        if std::mem::replace(&mut self.is_refused, true) {
            return;
        }
        self.own.extend_from_slice(&respond::raw_problem(problem));
        self.exchange.leave_unread();
    }

    /// Over HTTP/2 the machinery writes on its own account, without end: only requests and their answers keep a
    /// connection.
    fn note_answer(&mut self, written: usize) {
        self.frames.written(written);
        self.written_bytes += written;
        if self.written_bytes >= ANSWER_BYTES {
            self.written_bytes = 0;
            self.since = Instant::now();
        }
    }

    /// A write that makes no headway must end as well.
    fn written(
        &mut self,
        outcome: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match outcome {
            Poll::Pending => {
                let since = *self.write_stalled_since.get_or_insert_with(Instant::now);
                ready!(self.poll_until(since + self.patience.keep_alive, context));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Ready(outcome) => {
                self.write_stalled_since = None;
                if self.is_http2 {
                    self.note_answer(outcome.as_ref().copied().unwrap_or_default());
                } else if !self.is_busy() {
                    self.since = Instant::now();
                }
                Poll::Ready(outcome)
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.cut.is_some() {
            return this.poll_cut(context);
        }
        if this.is_over {
            return Poll::Ready(Ok(()));
        }
        this.is_at_rest = false;
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut this.stream).poll_read(context, buffer);
        if outcome.is_ready() && !this.check(buffer, before) {
            return this.poll_cut(context);
        }
        if this.is_busy() {
            if outcome.is_ready() || this.section_since.is_none() {
                if outcome.is_pending() {
                    // Nobody reads again when the answer is out: this is what wakes the connection that waits then.
                    let _ = this.poll_until(Instant::now() + this.patience.rest_after, context);
                }
                return outcome;
            }
        } else {
            this.follow();
        }
        if let Poll::Ready(outcome) = outcome {
            let read = buffer.filled().get(before..).unwrap_or_default();
            if !read.is_empty() {
                this.note_head(read);
            }
            return Poll::Ready(outcome);
        }
        this.poll_rest(context);
        ready!(this.poll_until(this.deadline(), context));
        if this.phase == Phase::Head {
            if this.own.is_empty() {
                this.own = respond::raw_problem(&Problem::new(
                    Code::RequestTimeout,
                    "the header section did not come in time",
                ));
            }
            ready!(this.poll_own(context))?;
        }
        // The end of the stream, as the HTTP machinery sees it: it closes the connection.
        this.is_over = true;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(problem) = this.refusal_for(bytes) {
            this.replace(&problem);
            return Poll::Ready(Ok(bytes.len()));
        }
        let outcome = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.written(outcome, context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let [only] = parts
            && let Some(problem) = this.refusal_for(only)
        {
            this.replace(&problem);
            return Poll::Ready(Ok(only.len()));
        }
        let outcome = Pin::new(&mut this.stream).poll_write_vectored(context, parts);
        this.written(outcome, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_own(context))?;
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            ready!(this.poll_own(context))?;
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
            if !this.exchange.unread.load(Ordering::Acquire) {
                return Poll::Ready(Ok(()));
            }
        }
        let mut linger = this.linger.take().unwrap_or_else(|| Linger {
            deadline: Instant::now() + LINGER,
            bytes: 0,
        });
        let mut scrap = [0; 8192];
        while linger.bytes < LINGER_BYTES {
            let mut buffer = ReadBuf::new(&mut scrap);
            match Pin::new(&mut this.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => linger.bytes += buffer.filled().len(),
                Poll::Ready(_) => break,
                Poll::Pending => {
                    let deadline = linger.deadline;
                    this.linger = Some(linger);
                    return this.poll_until(deadline, context).map(Ok);
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}
