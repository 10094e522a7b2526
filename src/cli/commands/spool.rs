//! `headworks spool`: a stopped gateway's spool, read without writing to it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use crate::{
    cli::{arguments::SpoolCommand, failure::Failure, output},
    deliver, quarantine,
    spool::{self, Entry, Inspection},
};

/// How far below DIR spools are looked for: a data folder has them at `spool/destinations/NAME`.
const DEPTH_MAX: usize = 3;
/// The folder of the quarantine's own spool; its entries are no records.
const QUARANTINE: &str = "quarantine";

pub fn run(command: SpoolCommand) -> Result<(), Failure> {
    match command {
        SpoolCommand::Check { directory, json } => check(&directory, json),
        SpoolCommand::Export { directory, all } => export(&directory, all),
    }
}

fn check(directory: &Path, json: bool) -> Result<(), Failure> {
    let mut rows = Vec::new();
    let mut items = Vec::new();
    let mut unsound = Vec::new();
    for (name, path) in spools(directory)? {
        let inspection = inspect(&path, |_, _| {})?;
        let entries: u64 = inspection.segments.iter().map(|segment| segment.entries).sum();
        let bytes: u64 = inspection.segments.iter().map(|segment| segment.bytes).sum();
        let faults = faults(&inspection);
        rows.push(vec![
            name.clone(),
            inspection.segments.len().to_string(),
            entries.to_string(),
            inspection.pending.entries.to_string(),
            bytes.to_string(),
            faults.len().to_string(),
        ]);
        let regions: Vec<_> = inspection
            .segments
            .iter()
            .flat_map(|segment| {
                let region = |region: &spool::DamagedRegion| {
                    json!({"segment": segment.name, "offset": region.offset, "bytes": region.bytes, "torn": region.torn})
                };
                segment.damage.iter().map(region)
            })
            .collect();
        items.push(json!({
            "spool": name, "sound": inspection.is_sound(), "segments": inspection.segments.len(),
            "entries": entries, "bytes": bytes, "committed": inspection.committed,
            "waiting": {"entries": inspection.pending.entries, "bytes": inspection.pending.bytes},
            "damage": regions, "faults": faults,
        }));
        unsound.extend(faults.into_iter().map(|fault| format!("{name}: {fault}")));
    }
    if json {
        output::line(&json!({"items": items}).to_string())?;
    } else {
        output::table(
            &["SPOOL", "SEGMENTS", "ENTRIES", "WAITING", "BYTES", "FAULTS"],
            rows,
        )?;
    }
    for fault in &unsound {
        output::note(fault);
    }
    match unsound.len() {
        0 => Ok(()),
        count => Err(Failure::Faults(count)),
    }
}

/// A torn end is none: it is what a crash leaves, and was never acknowledged.
fn faults(inspection: &Inspection) -> Vec<String> {
    let mut faults: Vec<String> = inspection
        .damaged_regions()
        .map(|(segment, region)| {
            format!(
                "{}: {} bytes at offset {} are no entries",
                segment.name, region.bytes, region.offset
            )
        })
        .collect();
    if inspection.cursor_damaged_bytes > 0 {
        faults.push(format!(
            "cursor: {} bytes are no entries; records may be delivered twice",
            inspection.cursor_damaged_bytes
        ));
    }
    let unreadable = inspection.segments.iter().filter_map(|segment| {
        let cause = segment.unreadable.as_ref()?;
        Some(format!(
            "{}: cannot be read after {} entries: {cause}",
            segment.name, segment.entries
        ))
    });
    faults.extend(unreadable);
    faults
}

fn export(directory: &Path, all: bool) -> Result<(), Failure> {
    let mut undecoded = 0;
    for (name, path) in spools(directory)? {
        let quarantined = path.file_name().is_some_and(|name| name == QUARANTINE);
        let mut closed = Ok(());
        inspect(&path, |entry, delivered| {
            if closed.is_err() || (delivered && !all) {
                return;
            }
            let (content, whole) = content(entry, quarantined);
            undecoded += usize::from(!whole);
            let name = json!(name);
            closed = output::line(&format!(
                "{{\"spool\":{name},\"sequence\":{},\"delivered\":{delivered},{content}}}",
                entry.sequence
            ));
        })?;
        closed?;
    }
    if undecoded > 0 {
        output::note(&format!(
            "{undecoded} entries are of no format that this version knows; they stand as payload_base64"
        ));
        return Err(Failure::Said);
    }
    Ok(())
}

/// The members that tell what an entry is, and whether it could be decoded.
fn content(entry: &Entry, quarantined: bool) -> (String, bool) {
    let decoded = if quarantined {
        quarantine::export(&entry.payload).map(|item| format!("\"quarantined\":{item}"))
    } else {
        deliver::export(&entry.payload).map(|record| {
            let (topic, key) = (json!(record.topic), json!(record.key));
            format!("\"topic\":{topic},\"key\":{key},\"record\":{}", record.event)
        })
    };
    match decoded {
        Ok(content) => (content, true),
        Err(cause) => {
            let payload = json!(STANDARD.encode(&entry.payload));
            let cause = json!(cause);
            (format!("\"cause\":{cause},\"payload_base64\":{payload}"), false)
        }
    }
}

fn inspect(path: &Path, each: impl FnMut(&Entry, bool)) -> Result<Inspection, Failure> {
    spool::inspect(path, each).map_err(|error| match error {
        spool::OpenError::InUse { path } => Failure::Usage(format!(
            "{path}: a gateway runs on this spool; stop it first, or look at a copy"
        )),
        error @ spool::OpenError::Io { .. } => Failure::Usage(error.to_string()),
    })
}

/// The spools in `directory`, with the names that they have below it.
fn spools(directory: &Path) -> Result<Vec<(String, PathBuf)>, Failure> {
    let mut found = Vec::new();
    find(directory, directory, 0, &mut found).map_err(|source| Failure::File {
        path: directory.to_owned(),
        source,
    })?;
    found.sort();
    if found.is_empty() {
        return Err(Failure::Usage(format!(
            "{} holds no spool: give a data folder, or a spool's own folder such as data/spool/destinations/files",
            directory.display()
        )));
    }
    Ok(found)
}

fn find(
    root: &Path,
    directory: &Path,
    depth: usize,
    found: &mut Vec<(String, PathBuf)>,
) -> std::io::Result<()> {
    if spool::is_spool(directory) {
        let name = match directory.strip_prefix(root) {
            Ok(below) if !below.as_os_str().is_empty() => below.display().to_string(),
            _ => directory.display().to_string(),
        };
        found.push((name, directory.to_owned()));
        return Ok(());
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if depth < DEPTH_MAX && entry.file_type()?.is_dir() {
            find(root, &entry.path(), depth + 1, found)?;
        }
    }
    Ok(())
}
