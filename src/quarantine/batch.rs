//! A batch: one object of the store that is never rewritten.
//!
//! ```text
//! "HWQ1"  bytes of the index (u32)  bytes of the index, unpacked (u32)
//! index, compressed: groups, blocks, and for each item its id, group, block, size and time of receipt
//! blocks, each compressed by itself: items, each with its length (u32) before it
//! ```
//!
//! All numbers are little-endian. The index stands first, so that one read of the object's beginning says what is in
//! it; one item is found with one more read, of its block alone.

use std::{collections::HashMap, io, ops::Range};

use bytes::{Buf, BufMut, Bytes};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::form::FormError;
use crate::problem::Code;

const MAGIC: &[u8; 4] = b"HWQ1";
const HEAD_BYTES: usize = 12;
const ITEM_BYTES: usize = 16 + 4 + 4 + 4 + 8;
/// Items of one block before compression; an item that is larger has one for itself.
const BLOCK_BYTES: usize = 128 << 10;
/// What claims to be larger is damaged.
const INDEX_BYTES_MAX: usize = 256 << 20;
const BLOCK_BYTES_MAX: usize = 256 << 20;
/// The beginning of an object that is read first: of most batches the whole index.
pub(super) const BEGINNING_BYTES: u64 = 128 << 10;

/// What items are looked up by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Group {
    pub partner: String,
    pub event_type: String,
    pub app_version: Option<String>,
    pub code: Code,
}

/// An item as it is put into a batch.
pub(super) struct Packing {
    pub id: Uuid,
    pub group: Group,
    pub received_us: i64,
    pub payload: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BatchItem {
    pub id: Uuid,
    /// Into [`BatchIndex::groups`].
    pub group: u32,
    /// Into [`BatchIndex::blocks`].
    pub block: u32,
    /// Of the encoded item.
    pub bytes: u32,
    pub received_us: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct BatchIndex {
    pub groups: Vec<Group>,
    /// Where each block stands in the object, and its bytes when it is unpacked.
    pub blocks: Vec<Block>,
    pub items: Vec<BatchItem>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub range: Range<u64>,
    pub plain_bytes: u32,
}

/// The object, and its index.
pub(super) fn pack(items: &[Packing]) -> Result<(Bytes, BatchIndex), FormError> {
    let mut index = BatchIndex::default();
    let mut groups: HashMap<&Group, u32> = HashMap::new();
    let mut blocks = Vec::new();
    let mut block = Vec::new();
    for item in items {
        let bytes = u32::try_from(item.payload.len()).map_err(|_| FormError::Short)?;
        if !block.is_empty() && block.len() + item.payload.len() > BLOCK_BYTES {
            close_block(&mut block, &mut blocks, &mut index)?;
        }
        block.put_u32_le(bytes);
        block.put_slice(&item.payload);
        let group = *groups.entry(&item.group).or_insert_with(|| {
            index.groups.push(item.group.clone());
            count_of(index.groups.len() - 1)
        });
        index.items.push(BatchItem {
            id: item.id,
            group,
            block: count_of(index.blocks.len()),
            bytes,
            received_us: item.received_us,
        });
    }
    close_block(&mut block, &mut blocks, &mut index)?;
    let plain = write_index(&index)?;
    let packed = zstd::bulk::compress(&plain, zstd::DEFAULT_COMPRESSION_LEVEL)?;
    let mut object = Vec::with_capacity(HEAD_BYTES + packed.len() + blocks.len());
    object.put_slice(MAGIC);
    object.put_u32_le(count_of(packed.len()));
    object.put_u32_le(count_of(plain.len()));
    object.put_slice(&packed);
    let begin = object.len() as u64;
    object.put_slice(&blocks);
    for block in &mut index.blocks {
        block.range.start += begin;
        block.range.end += begin;
    }
    Ok((object.into(), index))
}

fn close_block(block: &mut Vec<u8>, blocks: &mut Vec<u8>, index: &mut BatchIndex) -> Result<(), FormError> {
    if block.is_empty() {
        return Ok(());
    }
    let begin = blocks.len() as u64;
    blocks.extend(zstd::bulk::compress(block, zstd::DEFAULT_COMPRESSION_LEVEL)?);
    index.blocks.push(Block {
        range: begin..blocks.len() as u64,
        plain_bytes: count_of(block.len()),
    });
    block.clear();
    Ok(())
}

/// Batches are bounded far below what 32 bits count.
fn count_of(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn write_index(index: &BatchIndex) -> Result<Vec<u8>, FormError> {
    let groups = serde_json::to_vec(&index.groups)?;
    let mut plain = Vec::with_capacity(groups.len() + index.items.len() * ITEM_BYTES + 1024);
    plain.put_u32_le(count_of(groups.len()));
    plain.put_slice(&groups);
    plain.put_u32_le(count_of(index.blocks.len()));
    for block in &index.blocks {
        plain.put_u32_le(count_of(
            usize::try_from(block.range.end - block.range.start).unwrap_or(usize::MAX),
        ));
        plain.put_u32_le(block.plain_bytes);
    }
    plain.put_u32_le(count_of(index.items.len()));
    for item in &index.items {
        plain.put_slice(item.id.as_bytes());
        plain.put_u32_le(item.group);
        plain.put_u32_le(item.block);
        plain.put_u32_le(item.bytes);
        plain.put_i64_le(item.received_us);
    }
    Ok(plain)
}

/// Of an object's beginning: how many of its bytes hold the index.
pub(super) fn index_end(beginning: &[u8]) -> Result<u64, FormError> {
    let mut head = beginning;
    let mut magic = [0; 4];
    head.try_copy_to_slice(&mut magic).map_err(|_| FormError::Short)?;
    if &magic != MAGIC {
        return Err(FormError::NoBatch);
    }
    let bytes = head.try_get_u32_le().map_err(|_| FormError::Short)?;
    Ok(HEAD_BYTES as u64 + u64::from(bytes))
}

/// The index of an object of which at least the index is there.
pub(super) fn read_index(beginning: &[u8]) -> Result<BatchIndex, FormError> {
    let end = usize::try_from(index_end(beginning)?).map_err(|_| FormError::Short)?;
    let packed = beginning.get(HEAD_BYTES..end).ok_or(FormError::Short)?;
    let plain_bytes = (&beginning[8..HEAD_BYTES]).get_u32_le() as usize;
    if plain_bytes > INDEX_BYTES_MAX {
        return Err(FormError::Short);
    }
    let plain = zstd::bulk::decompress(packed, plain_bytes)?;
    let mut rest = plain.as_slice();
    let count = |rest: &mut &[u8]| rest.try_get_u32_le().map(|count| count as usize);
    let short = |_| FormError::Short;
    let groups_bytes = count(&mut rest).map_err(short)?;
    if groups_bytes > rest.len() {
        return Err(FormError::Short);
    }
    let groups: Vec<Group> = serde_json::from_slice(&rest[..groups_bytes])?;
    rest.advance(groups_bytes);
    let blocks_count = count(&mut rest).map_err(short)?;
    if blocks_count * 8 > rest.len() {
        return Err(FormError::Short);
    }
    let mut blocks = Vec::with_capacity(blocks_count);
    let mut begin = end as u64;
    for _ in 0..blocks_count {
        let next = begin + u64::from(rest.get_u32_le());
        blocks.push(Block {
            range: begin..next,
            plain_bytes: rest.get_u32_le(),
        });
        begin = next;
    }
    let items_count = count(&mut rest).map_err(short)?;
    if items_count.checked_mul(ITEM_BYTES) != Some(rest.len()) {
        return Err(FormError::Short);
    }
    let mut items = Vec::with_capacity(items_count);
    for _ in 0..items_count {
        let mut id = [0; 16];
        rest.copy_to_slice(&mut id);
        let item = BatchItem {
            id: Uuid::from_bytes(id),
            group: rest.get_u32_le(),
            block: rest.get_u32_le(),
            bytes: rest.get_u32_le(),
            received_us: rest.get_i64_le(),
        };
        if item.group as usize >= groups.len() || item.block as usize >= blocks.len() {
            return Err(FormError::Short);
        }
        items.push(item);
    }
    Ok(BatchIndex {
        groups,
        blocks,
        items,
    })
}

/// The encoded items of one block.
pub(super) fn unpack_block(packed: &[u8], plain_bytes: u32) -> Result<Vec<Bytes>, FormError> {
    let capacity = plain_bytes as usize;
    if capacity > BLOCK_BYTES_MAX {
        return Err(FormError::Compression(io::Error::other(
            "a block claims too many bytes",
        )));
    }
    let mut rest = Bytes::from(zstd::bulk::decompress(packed, capacity)?);
    let mut items = Vec::new();
    while rest.has_remaining() {
        let length = rest.try_get_u32_le().map_err(|_| FormError::Short)? as usize;
        if rest.len() < length {
            return Err(FormError::Short);
        }
        items.push(rest.split_to(length));
    }
    Ok(items)
}
