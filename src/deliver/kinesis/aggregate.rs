//! Many records in one: the format of the Kinesis Producer Library, which its consumers take apart again.
//!
//! ```text
//! F3 89 9A C2 | AggregatedRecord as protobuf | MD5 of the protobuf
//! ```

use bytes::Bytes;
use md5::{Digest, Md5};
use prost::Message as _;

const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
/// What the format adds to all records together, and to each.
pub(super) const OVERHEAD_BYTES: usize = 4 + 16 + 8;
pub(super) const RECORD_OVERHEAD_BYTES: usize = 16;

#[derive(Clone, PartialEq, prost::Message)]
struct AggregatedRecord {
    #[prost(string, repeated, tag = "1")]
    partition_key_table: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    explicit_hash_key_table: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    records: Vec<UserRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct UserRecord {
    #[prost(uint64, required, tag = "1")]
    partition_key_index: u64,
    #[prost(bytes = "bytes", required, tag = "3")]
    data: Bytes,
}

/// Records of one partition key, in order. One key alone: whatever becomes of the shards, all of them belong to the
/// same one, and consumers pass over records that do not belong to the shard that they read.
pub(super) fn aggregate(key: &str, records: impl IntoIterator<Item = Bytes>) -> Vec<u8> {
    let aggregated = AggregatedRecord {
        partition_key_table: vec![key.to_owned()],
        explicit_hash_key_table: Vec::new(),
        records: records
            .into_iter()
            .map(|data| UserRecord {
                partition_key_index: 0,
                data,
            })
            .collect(),
    };
    let protobuf = aggregated.encode_to_vec();
    let mut bytes = Vec::with_capacity(MAGIC.len() + protobuf.len() + 16);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&protobuf);
    bytes.extend_from_slice(&Md5::digest(&protobuf));
    bytes
}
