//! Who replays which items: two nodes, or a node and its own life before a crash, must not send one item twice.
//!
//! A claim is an object of its own that names the items and, for each destination, where its spool ended before the
//! first of them was sent. It is removed when what went out is noted. A claim that is found at the start says which
//! items a crash interrupted; the spools say which of their records they have.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Quarantine, unavailable};
use crate::{
    problem::{Code, Problem},
    spool::Sequence,
    store::StoreError,
};

const CLAIMS: &str = "quarantine/claims";
const ATTEMPTS: u64 = 4;
/// Two nodes that claim the same at once both step back, and come again at different times.
const STEP_BACK: Duration = Duration::from_millis(50);

/// Items that this node alone may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    name: String,
    pub ids: HashSet<Uuid>,
    /// By destination: the last entry of its spool before any of them was sent.
    pub positions: BTreeMap<String, Sequence>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    node: Uuid,
    ids: Vec<Uuid>,
    positions: BTreeMap<String, Sequence>,
}

impl Quarantine {
    /// Claims those of `ids` that nobody else has claimed and that still wait.
    ///
    /// # Errors
    ///
    /// `store-unavailable`; then nothing may be sent.
    pub async fn claim(&self, ids: &[Uuid], positions: BTreeMap<String, Sequence>) -> Result<Claim, Problem> {
        let mut wanted = ids.to_vec();
        for attempt in 1..=ATTEMPTS {
            let name = format!("{CLAIMS}/{}.json", Uuid::now_v7());
            let written = Written {
                node: self.node,
                ids: wanted.clone(),
                positions: positions.clone(),
            };
            let body = serde_json::to_vec(&written).map_err(|error| {
                Problem::new(Code::Internal, format!("a claim cannot be written: {error}"))
            })?;
            self.store.put(&name, body.into()).await.map_err(unavailable)?;
            let claimed = self.claimed_by_others(&name).await.map_err(unavailable)?;
            if wanted.iter().all(|id| !claimed.contains(id)) {
                // Whoever had claimed them before has noted what went out before the claim was removed.
                self.refresh(true).await.map_err(unavailable)?;
                let index = self.index.lock();
                let ids = wanted
                    .into_iter()
                    .filter(|id| index.find(*id).is_some())
                    .collect();
                return Ok(Claim { name, ids, positions });
            }
            self.store.delete(&name).await.map_err(unavailable)?;
            tokio::time::sleep(STEP_BACK * self.jitter(attempt)).await;
            let claimed = self.claimed_by_others("").await.map_err(unavailable)?;
            wanted.retain(|id| !claimed.contains(id));
        }
        Ok(Claim {
            name: String::new(),
            ids: HashSet::new(),
            positions,
        })
    }

    fn jitter(&self, attempt: u64) -> u32 {
        let drawn = self.node.as_u128().wrapping_mul(u128::from(attempt) * 7919) >> 64;
        u32::try_from(drawn % u128::from(attempt * 4)).unwrap_or_default() + 1
    }

    async fn claimed_by_others(&self, own: &str) -> Result<HashSet<Uuid>, StoreError> {
        let mut ids = HashSet::new();
        for name in self.store.list(CLAIMS, None).await? {
            if name != own
                && let Some(written) = self.read_claim(&name).await?
            {
                ids.extend(written.ids);
            }
        }
        Ok(ids)
    }

    async fn read_claim(&self, name: &str) -> Result<Option<Written>, StoreError> {
        // Gone where its items are settled.
        let Some(body) = self.store.get(name).await? else {
            return Ok(None);
        };
        serde_json::from_slice(&body)
            .map(Some)
            .map_err(|cause| StoreError {
                action: "read",
                path: name.to_owned(),
                cause: cause.to_string(),
            })
    }

    /// What became of the claim's items is noted.
    ///
    /// # Errors
    ///
    /// `store-unavailable`; then its items stay claimed until this node starts again.
    pub async fn release(&self, claim: Claim) -> Result<(), Problem> {
        if claim.name.is_empty() {
            return Ok(());
        }
        self.store.delete(&claim.name).await.map_err(unavailable)
    }

    /// The claims that this node's last life left behind. Their items that wait no longer are left out.
    ///
    /// # Errors
    ///
    /// Where the store cannot be read.
    pub async fn left_claims(&self) -> Result<Vec<Claim>, StoreError> {
        let mut left = Vec::new();
        for name in self.store.list(CLAIMS, None).await? {
            if let Some(written) = self.read_claim(&name).await?
                && written.node == self.node
            {
                let index = self.index.lock();
                let ids = written
                    .ids
                    .into_iter()
                    .filter(|id| index.find(*id).is_some())
                    .collect();
                left.push(Claim {
                    name,
                    ids,
                    positions: written.positions,
                });
            }
        }
        Ok(left)
    }
}
