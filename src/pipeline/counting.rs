//! What became of a request's events, counted once it is answered.

use std::{sync::Arc, time::Duration};

use smallvec::SmallVec;

use super::Tables;
use crate::{
    event::{Attributes, Outcome, PartnerName},
    telemetry::{OTHER, Tally, Telemetry},
    validate::Resolution,
};

/// Tallies that are looked through for one of the same names; a request of more types than this begins new ones.
const LOOKED_THROUGH: usize = 8;

/// The events of one request, by partner, type and schema.
pub(super) struct Tallies<'a> {
    telemetry: &'a Telemetry,
    tables: &'a Tables,
    partner: PartnerName,
    list: SmallVec<[Tally; 1]>,
}

/// Where one event is counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    tally: usize,
    bytes: usize,
}

impl<'a> Tallies<'a> {
    pub fn new(telemetry: &'a Telemetry, tables: &'a Tables, partner: &PartnerName) -> Tallies<'a> {
        Tallies {
            telemetry,
            tables,
            partner: partner.clone(),
            list: SmallVec::new(),
        }
    }

    /// An event that was checked by the schema of this label.
    pub fn by_schema(&mut self, label: &str, bytes: usize) -> Counted {
        let (event_type, since) = label.rsplit_once('@').unwrap_or((label, ""));
        self.of(event_type, since, bytes)
    }

    /// An event that was not checked, or breaks its schema. Its type is named only where the registry knows it.
    pub fn by_attributes(&mut self, attributes: &Attributes, bytes: usize) -> Counted {
        let event_type = &attributes.event_type;
        let resolution =
            self.tables
                .schemas
                .resolve(event_type, &attributes.source, attributes.app_version.as_deref());
        match resolution {
            Resolution::Found(schema, _) => {
                let label = Arc::clone(schema.label());
                self.by_schema(&label, bytes)
            }
            Resolution::BelowAll { .. } | Resolution::Unreadable => self.of(event_type.as_str(), "", bytes),
            Resolution::TypeUnknown => {
                let is_known = self.tables.state.types.contains_key(event_type);
                let name = if is_known { event_type.as_str() } else { OTHER };
                self.of(name, "", bytes)
            }
        }
    }

    /// What is no event.
    pub fn unreadable(&mut self) -> Counted {
        self.of("", "", 0)
    }

    fn of(&mut self, event_type: &str, since: &str, bytes: usize) -> Counted {
        let partner = self.partner.as_str();
        let names = [partner, event_type, since];
        let known = self.list.iter().enumerate().rev().take(LOOKED_THROUGH);
        let mut known = known.filter(|(_, tally)| tally.is_of(names));
        let tally = match known.next() {
            Some((index, _)) => index,
            None => {
                let page = self.telemetry.events(partner, event_type, since);
                self.list.push(Tally::new(page));
                self.list.len() - 1
            }
        };
        Counted { tally, bytes }
    }

    pub fn count(&mut self, event: Counted, outcome: &Outcome) {
        if let Some(tally) = self.list.get_mut(event.tally) {
            tally.count(outcome, event.bytes as u64);
        }
    }

    /// The request was answered.
    pub fn close(&self, duration: Duration) {
        for tally in &self.list {
            tally.close(duration);
        }
    }
}
