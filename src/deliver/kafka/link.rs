//! One life of a producer: what it was given, what was reported, and how old what was not is.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rdkafka::{
    ClientContext, Message,
    client::OAuthToken,
    config::RDKafkaLogLevel,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::DeliveryResult,
    producer::{BaseRecord, Producer, ProducerContext, PurgeConfig, ThreadedProducer},
};
use tokio::sync::Notify;

use super::{
    drain::{WINDOW_BYTES, WINDOW_RECORDS},
    flights::{Flights, Waiting},
    message,
    options::Options,
    tokens::Tokens,
    window::{End, Window},
};
use crate::{
    deliver::{Counters, Delivery, Ticket, count},
    event::{DestinationName, Record},
    spool::Sequence,
};

/// Length of one step of a link's clock.
pub(super) const TICK: Duration = Duration::from_millis(100);
/// Steps that are told apart; a record that waits longer counts as younger again, so nothing may wait longer.
const AGES: usize = 256;

/// What may wait for messages on their way; beyond it the queue counts as full.
const WAITING_BYTES_MAX: usize = 32 << 20;
/// Waiting records that are handed on before a sender may have the lock.
const HANDED_ON_AT_ONCE: usize = 32;

/// What goes through librdkafka with a message and comes back with its report.
pub(super) struct Parcel {
    record: Record,
    errand: Errand,
    /// Where its age is counted.
    age: usize,
}

enum Errand {
    /// Straight from the sender. `order` counts the records of the destination.
    Direct { order: u64, ticket: Ticket },
    /// From the spool; `alone`: nothing else was on its way.
    Drained { sequence: Sequence, alone: bool },
}

/// A record that the broker may take another time.
pub(super) struct Failed {
    pub(super) order: u64,
    pub(super) record: Record,
    pub(super) ticket: Ticket,
}

/// A spooled record that the broker will never take, in its words.
pub(super) struct Refusal {
    pub(super) sequence: Sequence,
    pub(super) record: Record,
    pub(super) detail: String,
}

/// Why a record could not be handed to the producer.
pub(super) enum SendError {
    Refused(Box<Record>, Ticket, String),
    /// The queue is full, or the producer is broken.
    Later(Box<(Record, Ticket)>),
}

/// The same for a record from the spool.
pub(super) enum DrainError {
    QueueFull,
    Broken(KafkaError),
}

/// What the producer's callbacks share with the destination.
pub(super) struct LinkShared {
    destination: DestinationName,
    counters: Arc<Counters>,
    /// Told when something was reported that the destination's task should look at.
    wake: Arc<Notify>,
    outstanding: AtomicUsize,
    /// Fewer outstanding than this, and what waits in `flights` can leave; 0 where nothing waits.
    wake_below: AtomicUsize,
    flights: Mutex<Flights>,
    clock: AtomicUsize,
    ages: [AtomicU32; AGES],
    broken: AtomicBool,
    failed: Mutex<Vec<Failed>>,
    pub(super) window: Mutex<Window>,
    refusals: Mutex<Vec<Refusal>>,
    /// Spooled records up to here must be sent alone: one of them made the broker refuse a batch.
    suspect: AtomicU64,
}

/// A producer and its bookkeeping. Dropping it blocks for up to a second.
pub(super) struct Link {
    producer: ThreadedProducer<Context>,
    pub(super) shared: Arc<LinkShared>,
}

impl Link {
    pub(super) fn new(
        options: &Options,
        destination: &DestinationName,
        counters: &Arc<Counters>,
        wake: &Arc<Notify>,
    ) -> KafkaResult<Arc<Link>> {
        let shared = Arc::new(LinkShared {
            destination: destination.clone(),
            counters: Arc::clone(counters),
            wake: Arc::clone(wake),
            outstanding: AtomicUsize::new(0),
            wake_below: AtomicUsize::new(0),
            flights: Mutex::new(Flights::new(options.linger, WAITING_BYTES_MAX, Instant::now())),
            clock: AtomicUsize::new(0),
            ages: std::array::from_fn(|_| AtomicU32::new(0)),
            broken: AtomicBool::new(false),
            failed: Mutex::new(Vec::new()),
            window: Mutex::new(Window::default()),
            refusals: Mutex::new(Vec::new()),
            suspect: AtomicU64::new(0),
        });
        let context = Context {
            shared: Arc::clone(&shared),
            tokens: options.tokens.clone(),
        };
        Ok(Arc::new(Link {
            producer: options.config.create_with_context(context)?,
            shared,
        }))
    }

    /// Whether a broker answers; blocks for up to `timeout`.
    pub(super) fn is_reachable(&self, timeout: Duration) -> bool {
        self.producer.client().fetch_cluster_id(timeout).is_some()
    }

    pub(super) fn send(&self, order: u64, record: Record, ticket: Ticket) -> Result<(), SendError> {
        let shared = &*self.shared;
        let mut flights = shared.flights.lock();
        if flights.take_at_once(shared.outstanding(), Instant::now()) {
            return self.send_now(order, record, ticket);
        }
        if let Err(refused) = flights.wait(Waiting {
            order,
            record,
            ticket,
        }) {
            shared.broken.store(true, Ordering::Release);
            return Err(SendError::Later(Box::new((refused.record, refused.ticket))));
        }
        shared.watch_for_room(&flights);
        Ok(())
    }

    fn send_now(&self, order: u64, record: Record, ticket: Ticket) -> Result<(), SendError> {
        match self.produce(record, Errand::Direct { order, ticket }) {
            Ok(()) => Ok(()),
            Err((code, parcel)) => match parcel.errand {
                Errand::Direct { ticket, .. } if is_refusal(code) => Err(SendError::Refused(
                    Box::new(parcel.record),
                    ticket,
                    code.to_string(),
                )),
                Errand::Direct { ticket, .. } => {
                    self.shared.broken.store(true, Ordering::Release);
                    Err(SendError::Later(Box::new((parcel.record, ticket))))
                }
                Errand::Drained { .. } => Ok(()),
            },
        }
    }

    /// Hands on what waits, as far as there is room.
    pub(super) fn send_waiting(&self) {
        let shared = &*self.shared;
        loop {
            let mut flights = shared.flights.lock();
            for _ in 0..HANDED_ON_AT_ONCE {
                let next = match flights.next(shared.outstanding(), Instant::now()) {
                    Some(next) if !shared.is_broken() => next,
                    Some(next) => return shared.fail(next.order, next.record, next.ticket),
                    None => return shared.watch_for_room(&flights),
                };
                let order = next.order;
                match self.send_now(order, next.record, next.ticket) {
                    Ok(()) => {}
                    Err(SendError::Refused(record, ticket, detail)) => {
                        shared.refuse_direct(record, ticket, detail);
                    }
                    Err(SendError::Later(parked)) => return shared.fail(order, parked.0, parked.1),
                }
            }
        }
    }

    /// From now on nothing is sent that comes directly; what waits is among what failed.
    pub(super) fn close(&self) {
        let mut flights = self.shared.flights.lock();
        let waiting = flights.close();
        self.shared.wake_below.store(0, Ordering::SeqCst);
        let failed = waiting.into_iter().map(|waiting| Failed {
            order: waiting.order,
            record: waiting.record,
            ticket: waiting.ticket,
        });
        self.shared.failed.lock().extend(failed);
    }

    /// Sends a record of the spool; its window learns what became of it.
    pub(super) fn drain(&self, sequence: Sequence, record: Record, alone: bool) -> Result<(), DrainError> {
        let bytes = record.value.len();
        self.shared.window.lock().begin(sequence, bytes);
        let Err((code, parcel)) = self.produce(record, Errand::Drained { sequence, alone }) else {
            return Ok(());
        };
        if is_refusal(code) {
            self.shared.refuse(sequence, parcel.record, code.to_string());
            return Ok(());
        }
        self.shared.window.lock().take_back();
        Err(match code {
            RDKafkaErrorCode::QueueFull => DrainError::QueueFull,
            code => DrainError::Broken(KafkaError::MessageProduction(code)),
        })
    }

    /// A spooled record that never comes to the producer.
    pub(super) fn refuse_unsent(&self, sequence: Sequence, record: Record, detail: String) {
        self.shared.window.lock().begin(sequence, record.value.len());
        self.shared.refuse(sequence, record, detail);
    }

    fn produce(&self, record: Record, errand: Errand) -> Result<(), (RDKafkaErrorCode, Box<Parcel>)> {
        let headers = message::headers(&record);
        let (topic, key, value) = (record.topic.clone(), record.key.clone(), record.value.clone());
        let age = self.shared.clock.load(Ordering::Relaxed) % AGES;
        let parcel = Box::new(Parcel { record, errand, age });
        let mut message = BaseRecord::<str, [u8], Box<Parcel>>::with_opaque_to(&topic, parcel)
            .payload(&value)
            .headers(headers);
        if let Some(key) = &key {
            message = message.key(key);
        }
        // Counted first: the report may come before `send` returns.
        self.shared.outstanding.fetch_add(1, Ordering::AcqRel);
        self.shared.ages[age].fetch_add(1, Ordering::AcqRel);
        self.producer.send(message).map_err(|(error, message)| {
            self.shared.ages[age].fetch_sub(1, Ordering::AcqRel);
            self.shared.outstanding.fetch_sub(1, Ordering::AcqRel);
            let code = error
                .rdkafka_error_code()
                .unwrap_or(RDKafkaErrorCode::InvalidArgument);
            (code, message.delivery_opaque)
        })
    }

    /// As where librdkafka has lost track of what the broker holds.
    #[cfg(test)]
    pub(super) fn fail_fatally(&self) {
        use rdkafka::{bindings::rd_kafka_test_fatal_error, types::RDKafkaRespErr};
        let (error, reason) = (
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
            c"a test",
        );
        // SAFETY: the client lives as long as `self`, and librdkafka copies the reason.
        let raised =
            unsafe { rd_kafka_test_fatal_error(self.producer.client().native_ptr(), error, reason.as_ptr()) };
        assert_eq!(raised, RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR);
    }

    /// Makes librdkafka report everything that it still has as failed; blocks for a moment.
    pub(super) fn purge(&self) {
        self.producer.purge(PurgeConfig::default().queue().inflight());
    }
}

impl LinkShared {
    /// One step of the clock.
    pub(super) fn tick(&self) {
        self.clock.fetch_add(1, Ordering::Relaxed);
    }

    /// Something was sent at least `age` ago and is not yet reported.
    pub(super) fn is_overdue(&self, age: Duration) -> bool {
        let steps = usize::try_from(age.as_millis() / TICK.as_millis())
            .unwrap_or(AGES)
            .min(AGES - 1);
        let clock = self.clock.load(Ordering::Relaxed);
        // The slot of the running step is the one that was counted longest ago plus a whole turn.
        (steps..AGES)
            .filter_map(|back| clock.checked_sub(back))
            .any(|step| self.ages[step % AGES].load(Ordering::Acquire) > 0)
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    pub(super) fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Acquire)
    }

    /// Nothing that came directly is on its way or waits for it.
    pub(super) fn is_idle(&self) -> bool {
        self.outstanding() == 0 && self.flights.lock().is_empty()
    }

    /// Has the destination's task told when what waits can leave.
    fn watch_for_room(&self, flights: &Flights) {
        let wake_below = flights.wake_below();
        self.wake_below.store(wake_below, Ordering::SeqCst);
        // The last report may have come before it could see that.
        if self.outstanding.load(Ordering::SeqCst) < wake_below {
            self.wake.notify_one();
        }
    }

    fn fail(&self, order: u64, record: Record, ticket: Ticket) {
        self.failed.lock().push(Failed {
            order,
            record,
            ticket,
        });
        self.mark_broken();
    }

    fn refuse_direct(&self, record: Box<Record>, ticket: Ticket, detail: String) {
        count(&self.counters.refused, 1);
        ticket.complete(Delivery::Refused {
            destination: self.destination.clone(),
            detail,
            record,
        });
    }

    pub(super) fn suspect(&self) -> Sequence {
        self.suspect.load(Ordering::Acquire)
    }

    /// Everything direct that failed, in the order in which it was sent.
    pub(super) fn take_failed(&self) -> Vec<Failed> {
        let mut failed = std::mem::take(&mut *self.failed.lock());
        failed.sort_unstable_by_key(|failed| failed.order);
        failed
    }

    pub(super) fn take_refusals(&self) -> Vec<Refusal> {
        std::mem::take(&mut *self.refusals.lock())
    }

    pub(super) fn acknowledge(&self, sequence: Sequence, end: End) {
        let mut window = self.window.lock();
        window.acknowledge(sequence, end);
        // A task woken for each record would cost more than the record.
        let tell = window.is_worth_a_turn(WINDOW_RECORDS / 8, WINDOW_BYTES / 8);
        drop(window);
        if tell {
            self.wake.notify_one();
        }
    }

    fn refuse(&self, sequence: Sequence, record: Record, detail: String) {
        self.refusals.lock().push(Refusal {
            sequence,
            record,
            detail,
        });
        self.wake.notify_one();
    }

    fn mark_broken(&self) {
        self.broken.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    fn reported(&self, result: Result<(), RDKafkaErrorCode>, parcel: Parcel) {
        let age = parcel.age;
        match (parcel.errand, result) {
            (Errand::Direct { ticket, .. }, Ok(())) => {
                count(&self.counters.delivered, 1);
                ticket.complete(Delivery::Durable);
            }
            (Errand::Drained { sequence, .. }, Ok(())) => self.acknowledge(sequence, End::Delivered),
            // The broker refuses whole batches: which record it was is seen when each comes alone.
            (
                Errand::Drained {
                    sequence,
                    alone: false,
                },
                Err(RDKafkaErrorCode::MessageSizeTooLarge),
            ) => {
                self.suspect.fetch_max(sequence, Ordering::AcqRel);
                self.mark_broken();
            }
            (Errand::Direct { order, ticket }, Err(code)) => {
                if is_refusal(code) && code != RDKafkaErrorCode::MessageSizeTooLarge {
                    self.refuse_direct(Box::new(parcel.record), ticket, code.to_string());
                } else {
                    self.fail(order, parcel.record, ticket);
                }
            }
            (Errand::Drained { sequence, .. }, Err(code)) => {
                if is_refusal(code) {
                    self.refuse(sequence, parcel.record, code.to_string());
                } else {
                    self.mark_broken();
                }
            }
        }
        self.ages[age].fetch_sub(1, Ordering::AcqRel);
        let outstanding = self.outstanding.fetch_sub(1, Ordering::SeqCst) - 1;
        if outstanding < self.wake_below.load(Ordering::SeqCst) || (outstanding == 0 && self.is_broken()) {
            self.wake.notify_one();
        }
    }
}

/// The broker will not take this record another time either.
fn is_refusal(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::MessageBatchTooLarge
            | RDKafkaErrorCode::InvalidMessageSize
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::InvalidTopic
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::InvalidTimestamp
            | RDKafkaErrorCode::InvalidRecord
            | RDKafkaErrorCode::UnsupportedForMessageFormat
            | RDKafkaErrorCode::PolicyViolation
            | RDKafkaErrorCode::InvalidArgument
    )
}

/// librdkafka's callbacks.
pub(super) struct Context {
    shared: Arc<LinkShared>,
    tokens: Option<Arc<Tokens>>,
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Parcel>;

    fn delivery(&self, result: &DeliveryResult<'_>, parcel: Box<Parcel>) {
        let result = match result {
            Ok(_) => Ok(()),
            Err((error, message)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
                tracing::debug!(
                    destination = %self.shared.destination, topic = message.topic(), %code,
                    "a message was not delivered",
                );
                Err(code)
            }
        };
        self.shared.reported(result, *parcel);
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        let destination = &self.shared.destination;
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error => {
                tracing::warn!(%destination, facility, "librdkafka: {text}");
            }
            RDKafkaLogLevel::Warning => tracing::warn!(%destination, facility, "librdkafka: {text}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(%destination, facility, "librdkafka: {text}");
            }
            RDKafkaLogLevel::Debug => tracing::debug!(%destination, facility, "librdkafka: {text}"),
        }
    }

    fn stats_raw(&self, _statistics: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(destination = %self.shared.destination, %error, "librdkafka: {reason}");
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            self.shared.mark_broken();
        }
    }

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let tokens = self.tokens.as_ref().ok_or("nobody gives tokens")?;
        tokens.current()
    }
}
