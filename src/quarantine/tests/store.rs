//! What is in the store: batches, notes, claims, and what is done with them when they are old.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use bytes::Bytes;
use proptest::prelude::*;
use uuid::Uuid;

use super::{ids, keep, kept, open, open_as};
use crate::{
    problem::Code,
    quarantine::{
        Filter, Kept, Retention,
        batch::{self, BatchIndex, Group, Packing},
        form,
    },
    store::Store,
};

fn store(folder: &std::path::Path) -> Store {
    Store::open(&format!("file:{}", folder.join("store").display())).unwrap()
}

fn packings(count: usize) -> Vec<Packing> {
    (0..count)
        .map(|number| {
            let code = if number % 3 == 0 {
                Code::SchemaUnknown
            } else {
                Code::RouteUnknown
            };
            form::packing(form::encode(&kept(&number.to_string(), code))).unwrap()
        })
        .collect()
}

fn items_of(object: &[u8], index: &BatchIndex) -> Vec<Kept> {
    index
        .blocks
        .iter()
        .flat_map(|block| {
            let range = block.range.start as usize..block.range.end as usize;
            batch::unpack_block(&object[range], block.plain_bytes).unwrap()
        })
        .map(|payload| form::decode(&payload).unwrap())
        .collect()
}

#[test]
fn a_batch_gives_back_its_items_and_its_index_stands_first() {
    let items = packings(2000);
    let (object, index) = batch::pack(&items).unwrap();
    assert!(index.blocks.len() > 3, "{}", index.blocks.len());
    assert_eq!(index.groups.len(), 2, "a group for each code");
    let end = batch::index_end(&object).unwrap() as usize;
    assert_eq!(batch::read_index(&object[..end]).unwrap(), index);
    let found: Vec<Uuid> = items_of(&object, &index).iter().map(|kept| kept.id).collect();
    let packed: Vec<Uuid> = items.iter().map(|item| item.id).collect();
    assert_eq!(found, packed);
    for (item, payload) in index.items.iter().zip(&items) {
        assert_eq!(Some(item.id), form::id(&payload.payload));
        assert_eq!(index.groups[item.group as usize], payload.group);
    }
    assert!(object.len() < 2000 * 150, "compressed: {}", object.len());
}

#[test]
fn an_item_larger_than_a_block_has_one_for_itself() {
    let mut large = packings(3);
    large[1].payload = Bytes::from(vec![7; 1 << 20]);
    let (object, index) = batch::pack(&large).unwrap();
    assert_eq!(index.blocks.len(), 3);
    let block = &index.blocks[1];
    let range = block.range.start as usize..block.range.end as usize;
    let unpacked = batch::unpack_block(&object[range], block.plain_bytes).unwrap();
    assert_eq!(unpacked, [large[1].payload.clone()]);
}

proptest! {
    #[test]
    fn damaged_batches_are_refused_and_never_panic(at in 0_usize..4000, bit in 0_u8..8, cut in 0_usize..4000) {
        let (object, _) = batch::pack(&packings(50)).unwrap();
        let mut damaged = object.to_vec();
        let at = at % damaged.len();
        damaged[at] ^= 1 << bit;
        damaged.truncate(damaged.len() - cut % damaged.len());
        if let Ok(index) = batch::read_index(&damaged) {
            for block in &index.blocks {
                let range = block.range.start as usize..block.range.end as usize;
                if let Some(block_bytes) = damaged.get(range) {
                    let _ = batch::unpack_block(block_bytes, block.plain_bytes);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_damaged_batch_hides_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let quarantine = open(folder.path()).await;
    keep(&quarantine, kept("good", Code::SchemaUnknown)).await;
    quarantine.close().await;
    drop(quarantine);
    let store = store(folder.path());
    let damaged = format!("quarantine/batches/{}.hwq", Uuid::now_v7());
    store
        .put(&damaged, Bytes::from_static(b"HWQ1\xff\xff\xff\xff"))
        .await
        .unwrap();
    let quarantine = open(folder.path()).await;
    assert_eq!(ids(&quarantine, &Filter::default()).await, ["good"]);
    assert!(
        store.get(&damaged).await.unwrap().is_some(),
        "it is left for a person"
    );
}

#[tokio::test]
async fn the_last_reason_counts_wherever_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let quarantine = open(folder.path()).await;
    let first = kept("1", Code::SchemaUnknown);
    keep(&quarantine, first.clone()).await;
    quarantine.close().await;
    drop(quarantine);
    let quarantine = open(folder.path()).await;
    let second = Kept {
        reason: crate::event::Reason::new(Code::RouteUnknown, "now this"),
        ..first.clone()
    };
    keep(&quarantine, second).await;
    let code = async |quarantine: &super::Quarantine| {
        let (items, _) = quarantine.list(&Filter::default(), None, 10).await.unwrap();
        assert_eq!(items.len(), 1);
        items[0].code
    };
    assert_eq!(code(&quarantine).await, Code::RouteUnknown, "from the spool");
    quarantine.close().await;
    assert_eq!(code(&quarantine).await, Code::RouteUnknown, "from its new batch");
    drop(quarantine);
    assert_eq!(
        code(&*open(folder.path()).await).await,
        Code::RouteUnknown,
        "after a restart"
    );
}

#[tokio::test]
async fn nobody_claims_what_another_has_claimed() {
    let folder = tempfile::tempdir().unwrap();
    let one = open(folder.path()).await;
    let (first, second) = (kept("1", Code::SchemaUnknown), kept("2", Code::SchemaUnknown));
    keep(&one, first.clone()).await;
    keep(&one, second.clone()).await;
    one.close().await;
    let other = open_as(folder.path(), "other", Uuid::now_v7()).await;
    let both = [first.id, second.id];
    let claim = one.claim(&both[..1], BTreeMap::new()).await.unwrap();
    assert_eq!(claim.ids, HashSet::from([first.id]));
    let rest = other.claim(&both, BTreeMap::new()).await.unwrap();
    assert_eq!(rest.ids, HashSet::from([second.id]), "what is free is given");
    other.release(rest).await.unwrap();
    one.resolve(&[first.id]).await.unwrap();
    one.release(claim).await.unwrap();
    let again = other.claim(&both, BTreeMap::new()).await.unwrap();
    assert_eq!(
        again.ids,
        HashSet::from([second.id]),
        "what went out is known before it is free"
    );
}

#[tokio::test]
async fn two_that_claim_the_same_at_once_never_both_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let one = open(folder.path()).await;
    let mut all = Vec::new();
    for number in 0..20 {
        let item = kept(&number.to_string(), Code::SchemaUnknown);
        all.push(item.id);
        keep(&one, item).await;
    }
    one.close().await;
    let other = open_as(folder.path(), "other", Uuid::now_v7()).await;
    for round in 0..20 {
        let (mine, theirs) = tokio::join!(
            one.claim(&all, BTreeMap::new()),
            other.claim(&all, BTreeMap::new())
        );
        let (mine, theirs) = (mine.unwrap(), theirs.unwrap());
        assert!(mine.ids.is_disjoint(&theirs.ids), "round {round}");
        one.release(mine).await.unwrap();
        other.release(theirs).await.unwrap();
    }
}

#[tokio::test]
async fn a_node_finds_its_own_claims_again() {
    let folder = tempfile::tempdir().unwrap();
    let node = Uuid::now_v7();
    let quarantine = open_as(folder.path(), "spool", node).await;
    let (waiting, gone) = (kept("1", Code::SchemaUnknown), kept("2", Code::SchemaUnknown));
    keep(&quarantine, waiting.clone()).await;
    keep(&quarantine, gone.clone()).await;
    let positions = BTreeMap::from([("files".to_owned(), 7)]);
    quarantine
        .claim(&[waiting.id, gone.id], positions.clone())
        .await
        .unwrap();
    quarantine.resolve(&[gone.id]).await.unwrap();
    quarantine.close().await;
    drop(quarantine);
    let again = open_as(folder.path(), "spool", node).await;
    let left = again.left_claims().await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(
        left[0].ids,
        HashSet::from([waiting.id]),
        "what was noted needs nothing more"
    );
    assert_eq!(left[0].positions, positions);
    let stranger = open_as(folder.path(), "other", Uuid::now_v7()).await;
    assert!(stranger.left_claims().await.unwrap().is_empty());
}

#[tokio::test]
async fn retention_names_the_oldest_and_warns_before() {
    let folder = tempfile::tempdir().unwrap();
    let quarantine = open(folder.path()).await;
    let old = Kept {
        id: Uuid::from_u128(
            u128::from(Uuid::now_v7().as_u128() as u64) | (10_u128 << 96) | (7 << 76) | (2 << 62),
        ),
        ..kept("old", Code::SchemaUnknown)
    };
    let old_id = old.id;
    keep(&quarantine, old).await;
    keep(&quarantine, kept("new", Code::SchemaUnknown)).await;
    quarantine.close().await;
    let no_limit = Retention::default();
    assert_eq!(quarantine.figures(&no_limit).expiring, 0);
    assert_eq!(quarantine.surplus(&no_limit), super::super::Swept::default());
    let by_age = Retention {
        max_age: Some(Duration::from_hours(24)),
        max_bytes: None,
    };
    let swept = quarantine.surplus(&by_age);
    assert_eq!(swept.too_old, [old_id]);
    let figures = quarantine.figures(&by_age);
    assert_eq!((figures.events, figures.batches, figures.expiring), (2, 1, 1));
    let room = |percent: u64| Retention {
        max_age: None,
        max_bytes: Some(figures.bytes * 100 / percent),
    };
    assert_eq!(quarantine.figures(&room(50)).expiring, 0, "half full");
    assert_eq!(quarantine.figures(&room(80)).expiring, 2, "warned of");
    assert!(
        quarantine.surplus(&room(80)).too_many.is_empty(),
        "and not yet dropped"
    );
    assert_eq!(quarantine.surplus(&room(200)).too_many.len(), 2);
    assert_eq!(quarantine.drop_surplus(&swept).await.unwrap(), 1);
    assert_eq!(ids(&quarantine, &Filter::default()).await, ["new"]);
    assert_eq!(quarantine.figures(&by_age).dropped, 1);
}

#[tokio::test]
async fn what_nobody_needs_goes_and_small_batches_become_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut waiting = Vec::new();
    for number in 0..70 {
        let quarantine = open(folder.path()).await;
        let item = kept(&number.to_string(), Code::SchemaUnknown);
        waiting.push(item.event.attributes.id.to_string());
        keep(&quarantine, item).await;
        quarantine.close().await;
    }
    let quarantine = open(folder.path()).await;
    let store = store(folder.path());
    let batches = async || store.list("quarantine/batches", None).await.unwrap().len();
    assert_eq!(batches().await, 70);
    let mut dead = HashSet::new();
    quarantine.tidy(&mut dead).await.unwrap();
    assert_eq!(
        batches().await,
        71,
        "the merged one stands beside the others at first"
    );
    quarantine.tidy(&mut dead).await.unwrap();
    quarantine.tidy(&mut dead).await.unwrap();
    assert_eq!(batches().await, 1);
    assert_eq!(ids(&quarantine, &Filter::default()).await, waiting);
    let (all, _) = quarantine.ids(&Filter::default(), None, 100).await.unwrap();
    quarantine.resolve(&all).await.unwrap();
    quarantine.tidy(&mut dead).await.unwrap();
    quarantine.tidy(&mut dead).await.unwrap();
    assert_eq!(batches().await, 0);
    quarantine.close().await;
    drop(quarantine);
    assert!(
        ids(&*open(folder.path()).await, &Filter::default())
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn what_another_node_tidied_away_is_gone_here_too() {
    let folder = tempfile::tempdir().unwrap();
    let one = open(folder.path()).await;
    let item = kept("1", Code::SchemaUnknown);
    keep(&one, item.clone()).await;
    one.close().await;
    let other = open_as(folder.path(), "other", Uuid::now_v7()).await;
    assert_eq!(other.len(), 1);
    one.resolve(&[item.id]).await.unwrap();
    let mut dead = HashSet::new();
    one.tidy(&mut dead).await.unwrap();
    one.tidy(&mut dead).await.unwrap();
    assert!(other.get(&item.id.to_string()).await.unwrap().is_none());
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(ids(&other, &Filter::default()).await.is_empty());
}

#[test]
fn groups_are_written_by_name() {
    let group = Group {
        partner: "p".to_owned(),
        event_type: "t".to_owned(),
        app_version: None,
        code: Code::SchemaUnknown,
    };
    let text = serde_json::to_string(&group).unwrap();
    assert!(
        text.contains("\"schema-unknown\""),
        "numbers of codes may change: {text}"
    );
}
