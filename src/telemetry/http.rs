//! What the listener counts: requests by method and status, refusals by code, what is under way.

use std::{sync::Arc, time::Duration};

use super::{
    catalogue,
    cells::{Bounds, Buckets, Cells},
    family::{Family, Label, Value},
    series::Times,
};
use crate::problem::Code;

const BODY_BOUNDS: Bounds = &[
    256,
    1 << 10,
    4 << 10,
    16 << 10,
    64 << 10,
    256 << 10,
    1 << 20,
    4 << 20,
    16 << 20,
];

const METHODS: [&str; 4] = ["GET", "POST", "OPTIONS", "_OTHER"];
const STATUSES: [u16; 20] = [
    200, 202, 204, 207, 400, 401, 403, 404, 405, 408, 413, 414, 415, 422, 429, 431, 500, 501, 503, 0,
];

/// What the listener counts.
pub struct HttpNumbers {
    /// By method and status.
    times: Box<[Times]>,
    bodies: Cells,
    refused: Cells,
    active: Cells,
}

const ACTIVE: usize = 0;
const CONNECTIONS: usize = 1;
const AT_REST: usize = 2;
const BODIES: Buckets = Buckets {
    first: 0,
    bounds: BODY_BOUNDS,
};

impl HttpNumbers {
    pub(super) fn new() -> HttpNumbers {
        HttpNumbers {
            times: (0..METHODS.len() * STATUSES.len())
                .map(|_| Times::requests())
                .collect(),
            bodies: Cells::new(Buckets::width(BODY_BOUNDS)),
            refused: Cells::new(Code::ALL.len()),
            active: Cells::new(3),
        }
    }

    pub fn request(&self, method: &str, status: u16, duration: Duration, body_bytes: Option<usize>) {
        let last = METHODS.len() - 1;
        let method = METHODS.iter().position(|known| *known == method).unwrap_or(last);
        let last = STATUSES.len() - 1;
        let status = STATUSES.iter().position(|known| *known == status).unwrap_or(last);
        if let Some(times) = self.times.get(method * STATUSES.len() + status) {
            times.record(duration);
        }
        if let Some(bytes) = body_bytes {
            BODIES.record(&self.bodies, bytes as u64, 1);
        }
    }

    pub fn refused(&self, code: Code) {
        self.refused.add(code as usize, 1);
    }

    /// How often requests were refused with each code until now.
    pub fn refusals(&self) -> impl Iterator<Item = (Code, u64)> + '_ {
        Code::ALL
            .iter()
            .map(|code| (*code, self.refused.sum(*code as usize)))
            .filter(|(_, count)| *count > 0)
    }

    pub(super) fn read(&self, families: &mut Vec<Family>) {
        let mut durations = Family::of(&catalogue::HTTP_DURATION);
        for (index, times) in self.times.iter().enumerate() {
            let method = METHODS.get(index / STATUSES.len()).copied().unwrap_or_default();
            let status = match STATUSES.get(index % STATUSES.len()) {
                None | Some(0) => Label::Borrowed(super::OTHER),
                Some(status) => status.to_string().into(),
            };
            durations.push_seen([method.into(), status], times.read());
        }
        let mut bodies = Family::of(&catalogue::HTTP_BODY_SIZE);
        bodies.push([], Value::Distribution(BODIES.read(&self.bodies)));
        let mut refused = Family::of(&catalogue::REFUSED);
        for (code, count) in self.refusals() {
            refused.push([code.as_str().into()], Value::Whole(count));
        }
        let mut active = Family::of(&catalogue::HTTP_ACTIVE);
        active.push([], Value::Whole(self.active.sum(ACTIVE)));
        let mut connections = Family::of(&catalogue::CONNECTIONS);
        connections.push([], Value::Whole(self.active.sum(CONNECTIONS)));
        let mut at_rest = Family::of(&catalogue::CONNECTIONS_AT_REST);
        at_rest.push([], Value::Whole(self.connections_at_rest()));
        families.extend([durations, bodies, refused, active, connections, at_rest]);
    }

    /// Counts as under way until it is dropped.
    pub fn active(self: &Arc<HttpNumbers>) -> Under {
        Under::new(self, ACTIVE)
    }

    pub fn connection(self: &Arc<HttpNumbers>) -> Under {
        Under::new(self, CONNECTIONS)
    }

    pub fn connection_at_rest(self: &Arc<HttpNumbers>) -> Under {
        Under::new(self, AT_REST)
    }

    pub fn connections_at_rest(&self) -> u64 {
        self.active.sum(AT_REST)
    }
}

/// Something under way.
pub struct Under {
    numbers: Arc<HttpNumbers>,
    index: usize,
}

impl Under {
    fn new(numbers: &Arc<HttpNumbers>, index: usize) -> Under {
        numbers.active.add(index, 1);
        Under {
            numbers: Arc::clone(numbers),
            index,
        }
    }
}

impl Drop for Under {
    fn drop(&mut self) {
        self.numbers.active.add(self.index, u64::MAX);
    }
}
