//! Which partner's envelope is served where.

use std::{collections::HashMap, sync::Arc};

use crate::{
    event::{Instead, PartnerName},
    registry::model::{
        State,
        envelope::{Envelope, KeyIn},
    },
};

/// An envelope with the answer that it asks for.
#[derive(Clone, Debug)]
pub(super) struct Served {
    pub envelope: Arc<Envelope>,
    pub instead: Option<Instead>,
}

/// The envelopes of all partners.
#[derive(Default)]
pub struct Envelopes {
    by_partner: HashMap<PartnerName, Served>,
    /// Each different envelope once.
    by_path: HashMap<String, Vec<Arc<Envelope>>>,
}

impl Envelopes {
    pub(super) fn build(state: &State) -> Envelopes {
        let mut envelopes = Envelopes::default();
        for (name, partner) in &state.partners {
            let Some(value) = &partner.value.envelope else {
                continue;
            };
            let envelope = match Envelope::read(value) {
                Ok(envelope) => envelope,
                // It was checked when it was put there: another version of the gateway did.
                Err(faults) => {
                    tracing::error!(partner = %name, %faults, "a partner's envelope cannot be used here");
                    continue;
                }
            };
            for path in &envelope.paths {
                let served = envelopes.by_path.entry(path.clone()).or_default();
                if !served.contains(&envelope) {
                    served.push(Arc::clone(&envelope));
                }
            }
            let instead = envelope.answer.as_ref().map(|answer| Instead {
                status: answer.status,
                content_type: answer.content_type.as_str().into(),
                body: answer.body.clone().into(),
            });
            envelopes
                .by_partner
                .insert(name.clone(), Served { envelope, instead });
        }
        envelopes
    }

    pub(super) fn of(&self, partner: &PartnerName) -> Option<&Served> {
        self.by_partner.get(partner)
    }

    /// The envelopes that some partner's requests to `path` may have.
    pub(super) fn at(&self, path: &str) -> &[Arc<Envelope>] {
        self.by_path.get(path).map_or(&[], Vec::as_slice)
    }
}

/// Whether the key stands in the body, so that it must be read before the sender is known.
pub(super) fn has_key_in_body(envelope: &Envelope) -> bool {
    envelope.key.as_ref().is_some_and(|key| key.place == KeyIn::Body)
}
