//! Folder names made of topics, which come from events and plugins.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// Longest name; file systems allow 255 bytes.
const NAME_BYTES_MAX: usize = 200;
/// Kept of a longer one, before its hash.
const PREFIX_BYTES: usize = 160;

/// A name for one folder: never empty, hidden, `.` or `..`, without separators, and different for different topics.
pub(super) fn folder_name(topic: &str) -> String {
    let mut name = String::with_capacity(topic.len());
    for (index, byte) in topic.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || b"_-".contains(&byte) || (byte == b'.' && index > 0);
        if plain {
            name.push(char::from(byte));
        } else {
            write!(name, "%{byte:02X}").expect("a String takes every write");
        }
    }
    if name.is_empty() {
        // No other topic gives a bare percent sign.
        name.push('%');
    }
    if name.len() > NAME_BYTES_MAX {
        // "~" is percent-encoded above, so that no short topic has such a name.
        let hash = hex::encode(Sha256::digest(topic.as_bytes()));
        name.truncate(PREFIX_BYTES);
        name.push('~');
        name.push_str(&hash[..32]);
    }
    name
}
