//! A record as Kinesis takes it: CloudEvents JSON under a partition key.

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::{deliver::attributes::write_json_line, event::Record};

const STREAM_CHARACTERS_MAX: usize = 128;
const KEY_CHARACTERS_MAX: usize = 256;

#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) stream: Arc<str>,
    pub(super) key: Arc<str>,
    pub(super) data: Bytes,
}

impl Message {
    pub(super) fn new(record: &Record) -> Message {
        let mut data = Vec::with_capacity(record.value.len() + 512);
        write_json_line(&mut data, record);
        data.pop();
        Message {
            stream: Arc::clone(&record.topic),
            key: partition_key(record),
            data: data.into(),
        }
    }

    /// As Kinesis counts them.
    pub(super) fn bytes(&self) -> usize {
        self.key.len() + self.data.len()
    }

    /// What Kinesis would never take, said before it is sent or spooled.
    pub(super) fn check(&self, record_bytes_max: usize) -> Result<(), String> {
        let legal = (1..=STREAM_CHARACTERS_MAX).contains(&self.stream.len())
            && self
                .stream
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if !legal {
            return Err(format!(
                "{:?} is no stream of Kinesis: 1 to {STREAM_CHARACTERS_MAX} characters of A-Z a-z 0-9 . _ -",
                self.stream.chars().take(80).collect::<String>()
            ));
        }
        if self.bytes() > record_bytes_max {
            return Err(format!(
                "a record of {} bytes is larger than record_bytes ({record_bytes_max})",
                self.bytes()
            ));
        }
        Ok(())
    }
}

/// The record's key, or the event's id. A longer one than Kinesis takes becomes its hash: the same key, the same shard.
fn partition_key(record: &Record) -> Arc<str> {
    let id = &record.about.attributes.id;
    let key = match record.key.as_ref().filter(|key| !key.is_empty()) {
        Some(key) => Arc::clone(key),
        None => Arc::clone(id),
    };
    if key.chars().count() > KEY_CHARACTERS_MAX {
        hex::encode(Sha256::digest(key.as_bytes())).into()
    } else {
        key
    }
}
