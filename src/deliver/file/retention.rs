//! Removes what is older than the operator wants to keep: closed files of ours in folders of past days, nothing else.

use std::{fs, io, path::Path};

use jiff::civil::Date;

use super::compress;
use crate::removal;

/// Removes the compressed files of all days before `first_kept`; gives how many.
pub(super) fn remove_before(root: &Path, first_kept: Date) -> io::Result<u64> {
    let mut removed = 0;
    for topic in folders(root)? {
        for day in folders(&topic)? {
            let date = day
                .file_name()
                .and_then(|name| name.to_str()?.parse::<Date>().ok());
            if date.is_some_and(|date| date < first_kept) {
                removed += remove_day(&day)?;
            }
        }
    }
    Ok(removed)
}

fn remove_day(day: &Path) -> io::Result<u64> {
    let mut removed = 0;
    for entry in fs::read_dir(day)? {
        let path = entry?.path();
        if path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(is_closed)
        {
            removal::remove(&path)?;
            removed += 1;
        }
    }
    if removed > 0 {
        compress::sync_directory(day)?;
        // Where something of others is left, the folder stays.
        if fs::remove_dir(day).is_ok()
            && let Some(topic) = day.parent()
        {
            compress::sync_directory(topic)?;
        }
    }
    Ok(removed)
}

/// `IDENTITY-SEQUENCE.ndjson.zst`, as this destination names its files.
fn is_closed(name: &str) -> bool {
    name.strip_suffix(".ndjson.zst")
        .and_then(|stem| stem.split_once('-'))
        .is_some_and(|(identity, sequence)| {
            identity.len() == 16
                && identity.bytes().all(|byte| byte.is_ascii_hexdigit())
                && sequence.len() >= 12
                && sequence.bytes().all(|byte| byte.is_ascii_digit())
        })
}

/// Real folders: a link may lead anywhere.
fn folders(directory: &Path) -> io::Result<Vec<std::path::PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            folders.push(entry.path());
        }
    }
    Ok(folders)
}
