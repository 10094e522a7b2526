//! One connection for lines: who sends, then events and their answers, in order. While lines are worked on nothing is
//! read: a sender that is too fast finds its socket full.

use std::{io, panic::AssertUnwindSafe, time::Duration};

use bytes::{Buf as _, Bytes, BytesMut};
use futures::FutureExt as _;
use http::{HeaderValue, Method, Request, header, request::Parts};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{
    ByCertificate,
    greeting::{Greeting, greeting},
};
use crate::{
    event::{EventResult, Outcome},
    limits::{ATTRIBUTE_BYTES, LINE_BYTES_FREE, LINE_WAIT_S, LINES_READ_BYTES, Limits},
    listener::{
        Admitted as _, Ingest, Peer,
        body::{Clock, Pace},
        stream::Stream,
    },
    problem::{Code, Problem, Retry},
};

/// Attributes and punctuation around an event's data.
const AROUND_DATA_BYTES: usize = 16 * ATTRIBUTE_BYTES;

/// How long a connection may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub greeting: Duration,
    /// Between two lines.
    pub idle: Duration,
    /// Within a line.
    pub pace: Pace,
    /// While answers are written.
    pub writing: Duration,
}

pub(super) struct Session<'a, I: Ingest> {
    ingest: &'a I,
    limits: &'a Limits,
    patience: Patience,
    stream: Stream,
    peer: Peer,
    stopping: watch::Receiver<bool>,
    /// What was read and not yet taken as lines.
    read: BytesMut,
    /// Bytes of `read` that are known to hold no line's end.
    searched: usize,
    /// Of the line that is not whole yet, where it has to be waited for.
    clock: Option<Clock>,
    is_at_end: bool,
    /// Taken before its line is whole, where that grows large.
    admission: Option<I::Admission>,
    held: usize,
}

/// What reading came to.
enum Read {
    More,
    End,
    /// The gateway stops, or the connection has rested too long.
    Enough,
    /// The line does not come to its end.
    Late,
}

impl<'a, I: Ingest> Session<'a, I> {
    pub(super) fn new(
        ingest: &'a I,
        limits: &'a Limits,
        patience: Patience,
        stream: Stream,
        peer: Peer,
        stopping: watch::Receiver<bool>,
    ) -> Session<'a, I> {
        Session {
            ingest,
            limits,
            patience,
            stream,
            peer,
            stopping,
            read: BytesMut::new(),
            searched: 0,
            clock: None,
            is_at_end: false,
            admission: None,
            held: 0,
        }
    }

    pub(super) async fn run(mut self) -> io::Result<()> {
        let head = match timeout(self.patience.greeting, self.greet()).await {
            Ok(Ok(Ok(head))) => head,
            Ok(Ok(Err(problem))) => return self.close(&problem).await,
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                let problem = Problem::new(Code::RequestTimeout, "no line \"AUTH hw_…\" came in time");
                return self.close(&problem).await;
            }
        };
        loop {
            let Some(end) = self.lines_end() else {
                if self.is_at_end {
                    break;
                }
                if let Err(problem) = self.bound_line(&head) {
                    return self.close(&problem).await;
                }
                match self.read_more().await? {
                    Read::More => {}
                    Read::End => self.is_at_end = true,
                    Read::Enough => break,
                    Read::Late => {
                        let problem =
                            Problem::new(Code::RequestTimeout, "the line did not come to its end in time");
                        return self.close(&problem).await;
                    }
                }
                continue;
            };
            let lines = self.read.split_to(end).freeze();
            self.searched = 0;
            self.clock = None;
            let (answers, is_over) = self.take(&head, lines).await;
            self.write(answers.as_bytes()).await?;
            if is_over {
                break;
            }
        }
        self.stream.shutdown().await
    }

    /// Who sends: by the first line, or by a certificate where that holds no key.
    async fn greet(&mut self) -> io::Result<Result<Parts, Problem>> {
        let mut head = Request::new(()).into_parts().0;
        head.method = Method::POST;
        head.uri = http::Uri::from_static("/v1/events");
        let ndjson = HeaderValue::from_static("application/x-ndjson");
        head.headers.insert(header::CONTENT_TYPE, ndjson);
        let mut is_at_end = false;
        let (bearer, bytes) = loop {
            match greeting(&self.read, is_at_end) {
                Greeting::Begun => is_at_end = self.fill().await? == 0,
                Greeting::Key(bearer, bytes) => break (bearer, bytes),
                Greeting::Malformed => {
                    return Ok(Err(Problem::new(Code::KeyInvalid, "the line AUTH holds no key")));
                }
                Greeting::Absent if self.peer.certificate.is_none() => {
                    return Ok(Err(Problem::new(
                        Code::KeyMissing,
                        "begin with a line \"AUTH hw_…\", or with a client certificate that a partner lists",
                    )));
                }
                Greeting::Absent => {
                    head.extensions.insert(ByCertificate);
                    return Ok(self.ingest.sender(&head, &self.peer).map(|_| head));
                }
            }
        };
        self.read.advance(bytes);
        head.headers.insert(header::AUTHORIZATION, bearer);
        match self.ingest.sender(&head, &self.peer) {
            Err(problem) => Ok(Err(problem)),
            Ok(partner) => {
                self.write(format!("+{partner}\n").as_bytes()).await?;
                Ok(Ok(head))
            }
        }
    }

    /// Where the whole lines that were read end, as many as one request may hold; at the end of all, the last may lack
    /// its own end.
    fn lines_end(&mut self) -> Option<usize> {
        let rest = self.read.get(self.searched..).unwrap_or_default();
        let most = self.limits.events_per_request as usize;
        let last = memchr::memchr_iter(b'\n', rest).take(most).last();
        match last {
            Some(at) => Some(self.searched + at + 1),
            None if self.is_at_end && !self.read.is_empty() => Some(self.read.len()),
            None => {
                self.searched = self.read.len();
                None
            }
        }
    }

    /// A line that grows large is held in the partner's share from then on.
    fn bound_line(&mut self, head: &Parts) -> Result<(), Problem> {
        let most = self
            .limits
            .event_bytes
            .as_usize()
            .saturating_add(AROUND_DATA_BYTES);
        if self.read.len() > most {
            return Err(Problem::new(
                Code::EventTooLarge,
                format!("a line holds one event of at most {}", self.limits.event_bytes),
            ));
        }
        if self.read.len() <= LINE_BYTES_FREE {
            return Ok(());
        }
        if self.admission.is_none() {
            self.admission = Some(self.ingest.admit(head, &self.peer)?);
            self.held = 0;
        }
        let more = self.read.len().saturating_sub(self.held);
        self.held += more;
        self.admission
            .as_mut()
            .map_or(Ok(()), |admission| admission.hold(more as u64))
    }

    async fn fill(&mut self) -> io::Result<usize> {
        self.read.reserve(LINES_READ_BYTES / 16);
        let room = LINES_READ_BYTES
            .saturating_sub(self.read.len())
            .max(LINES_READ_BYTES / 16);
        let mut limited = (&mut self.stream).take(room as u64);
        limited.read_buf(&mut self.read).await
    }

    async fn read_more(&mut self) -> io::Result<Read> {
        let Patience { idle, pace, .. } = self.patience;
        let is_within_line = !self.read.trim_ascii().is_empty();
        let mut clock = is_within_line.then(|| self.clock.take().unwrap_or_else(|| Clock::start(pace)));
        let over = async {
            match &mut clock {
                Some(clock) => {
                    clock.late().await;
                    Read::Late
                }
                None => {
                    sleep(idle).await;
                    Read::Enough
                }
            }
        };
        let mut stopping = self.stopping.clone();
        let read = tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => return Ok(Read::Enough),
            read = self.fill() => read?,
            over = over => return Ok(over),
        };
        if let Some(clock) = &mut clock {
            clock.count(read);
        }
        self.clock = clock;
        Ok(if read == 0 { Read::End } else { Read::More })
    }

    /// Works on whole lines; the answers to them, and whether the connection is over.
    async fn take(&mut self, head: &Parts, lines: Bytes) -> (String, bool) {
        let expected = lines
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.trim_ascii().is_empty())
            .count();
        if expected == 0 {
            return (String::new(), false);
        }
        let admission = match self.admit(head, lines.len()).await {
            Ok(admission) => admission,
            Err(problem) => {
                let is_over = problem.code.retry() == Retry::No || problem.code == Code::ShuttingDown;
                return (refusals(&problem, expected), is_over);
            }
        };
        let outcome = AssertUnwindSafe(self.ingest.ingest(admission, lines))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| {
                tracing::error!("lines made the gateway panic");
                Err(Problem::new(Code::Internal, "the gateway failed on these lines"))
            });
        match outcome {
            Ok(answer) if answer.results.len() == expected => {
                let mut answers = String::with_capacity(40 * expected);
                for result in &answer.results {
                    write_result(&mut answers, result);
                }
                (answers, false)
            }
            Ok(_) => {
                let problem = Problem::new(Code::Internal, "the lines got other answers than they are");
                (refusals(&problem, expected), true)
            }
            Err(problem) => {
                let is_over = problem.code == Code::ShuttingDown;
                (refusals(&problem, expected), is_over)
            }
        }
    }

    /// Waits for room, instead of refusing what would only be sent again.
    async fn admit(&mut self, head: &Parts, bytes: usize) -> Result<I::Admission, Problem> {
        let until = Instant::now() + Duration::from_secs(LINE_WAIT_S);
        loop {
            let held = std::mem::take(&mut self.held);
            let admitted = match self.admission.take() {
                Some(admission) => Ok(admission),
                None => self.ingest.admit(head, &self.peer),
            };
            let more = bytes.saturating_sub(held) as u64;
            let problem = match admitted.and_then(|mut admission| admission.hold(more).map(|()| admission)) {
                Ok(admission) => return Ok(admission),
                Err(problem) => problem,
            };
            let wait = Duration::from_secs(problem.retry_after_s.unwrap_or(1).into());
            let waits = matches!(problem.code, Code::RateLimited | Code::Overloaded);
            if !waits || Instant::now() + wait > until {
                return Err(problem);
            }
            let mut stopping = self.stopping.clone();
            tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => return Err(problem),
                () = sleep(wait) => {}
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let writing = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        timeout(self.patience.writing, writing).await?
    }

    async fn close(mut self, problem: &Problem) -> io::Result<()> {
        self.write(refusals(problem, 1).as_bytes()).await?;
        self.stream.shutdown().await?;
        // What is still on its way is read, so that no reset takes the answer with it.
        let mut scrap = [0; 4096];
        let _ = timeout(Duration::from_secs(1), async {
            while self.stream.read(&mut scrap).await.is_ok_and(|read| read > 0) {}
        })
        .await;
        Ok(())
    }
}

fn refusals(problem: &Problem, count: usize) -> String {
    let mut one = String::new();
    write_refusal(&mut one, problem.code, &problem.detail);
    one.repeat(count)
}

fn write_refusal(answers: &mut String, code: Code, detail: &str) {
    answers.push('-');
    answers.push_str(code.as_str());
    answers.push(' ');
    answers.extend(
        detail
            .chars()
            .map(|character| if character.is_control() { ' ' } else { character }),
    );
    answers.push('\n');
}

fn write_result(answers: &mut String, result: &EventResult) {
    match &result.outcome {
        Outcome::Rejected(reason) => write_refusal(answers, reason.code, &reason.detail),
        Outcome::Accepted | Outcome::Duplicate | Outcome::Quarantined(_) => {
            answers.push('+');
            answers.push_str(result.id.as_deref().unwrap_or_default());
            answers.push('\n');
        }
    }
}
