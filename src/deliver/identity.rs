//! Which record of which event a spool holds: what a replay asks after a crash.

use std::collections::HashMap;

use jiff::Timestamp;
use uuid::Uuid;

use super::codec;
use crate::{
    event::{PartnerName, Record, RouteName},
    spool::{Sequence, Spool},
};

/// Read from a spool at once.
const READ_BYTES: usize = 4 << 20;

/// Records of one event and route that say the same have the same; but those that wait in quarantine as items of their
/// own never.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RecordIdentity {
    partner: PartnerName,
    source: String,
    id: std::sync::Arc<str>,
    received: Timestamp,
    route: RouteName,
    item: Option<Uuid>,
    digest: [u8; 32],
}

impl RecordIdentity {
    pub fn of(record: &Record) -> RecordIdentity {
        let about = &record.about;
        RecordIdentity {
            partner: about.partner.clone(),
            source: about.attributes.source.clone(),
            id: about.attributes.id.clone(),
            received: about.received,
            route: about.route.clone(),
            item: record.item,
            digest: record.digest(),
        }
    }
}

/// How many records of each identity stand in the spool after `position`. The spool must retain them.
pub async fn records_after(spool: &Spool, position: Sequence) -> HashMap<RecordIdentity, u32> {
    let mut found: HashMap<RecordIdentity, u32> = HashMap::new();
    let end = spool.last_sequence();
    let mut after = position;
    while after < end {
        let before = after;
        let Some(entries) = spool.read(after, READ_BYTES).await else {
            break;
        };
        for entry in entries.into_iter().take_while(|entry| entry.sequence <= end) {
            after = entry.sequence;
            if let Ok(record) = codec::decode(&entry.payload) {
                *found.entry(RecordIdentity::of(&record)).or_default() += 1;
            }
        }
        // The entries that are left were written since.
        if after == before {
            break;
        }
    }
    found
}
