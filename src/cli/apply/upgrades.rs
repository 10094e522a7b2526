//! `….upgrade.json` files, tried on the schemas beside them before anything is sent.

use std::path::{Path, PathBuf};

use super::folder::{LocalSchema, LocalUpgrade, Reader, same_schema};
use crate::{
    admin::{read_upgrade, upgrade_refusal},
    event::AppVersion,
    problem::Problem,
    registry::model::SchemaKey,
    validate::{Compiled, References, Texts, check_upgrade},
};

/// The API takes no larger one.
const UPGRADE_BYTES_MAX: u64 = 1 << 20;

/// An upgrade that is still to be read.
pub struct UpgradeFile {
    pub key: SchemaKey,
    pub path: PathBuf,
}

/// The upgrades that lead from one schema of the folder to the next; of the others the faults are noted.
pub(super) fn checked(
    reader: &mut Reader,
    schemas: &[LocalSchema],
    references: &References,
    files: Vec<UpgradeFile>,
) -> Vec<LocalUpgrade> {
    files
        .into_iter()
        .filter_map(|file| one(reader, schemas, references, file))
        .collect()
}

fn one(
    reader: &mut Reader,
    schemas: &[LocalSchema],
    references: &References,
    file: UpgradeFile,
) -> Option<LocalUpgrade> {
    let UpgradeFile { key, path } = file;
    let text = reader.text(&path, UPGRADE_BYTES_MAX)?;
    let upgrade = match serde_json::from_str(&text) {
        Ok(value) => read_upgrade(&value),
        Err(error) => {
            reader.fault(&path, "", format!("is no JSON: {error}"));
            return None;
        }
    };
    let upgrade = upgrade.map_err(|problem| note(reader, &path, problem)).ok()?;
    let Some(newer) = schemas.iter().find(|schema| same_schema(&schema.key, &key)) else {
        reader
            .fault(&path, "", format!("there is no schema {} beside it", key.since))
            .suggest("an upgrade has the name of the schema that it leads to, such as 5.10.0.upgrade.json");
        return None;
    };
    let since = AppVersion::parse(&key.since);
    let older = schemas
        .iter()
        .filter(|schema| schema.key.event_type == key.event_type && schema.key.source == key.source)
        .filter(|schema| AppVersion::parse(&schema.key.since) < since)
        .max_by_key(|schema| AppVersion::parse(&schema.key.since));
    let Some(older) = older else {
        reader.fault(
            &path,
            "",
            "there is no schema of a version before to upgrade from",
        );
        return None;
    };
    let (Ok(older_texts), Ok(newer_texts)) = (references.texts(&older.key), references.texts(&newer.key))
    else {
        // They refer to what only the registry may have: it is tried there.
        return Some(LocalUpgrade { key, upgrade });
    };
    let compiled = |schema: &LocalSchema, texts: &Texts| Compiled::with(&schema.text.as_str().into(), texts);
    match (compiled(older, &older_texts), compiled(newer, &newer_texts)) {
        (Ok(older), Ok(newer)) => match check_upgrade(&older, &newer, &upgrade, []) {
            Ok(_) => Some(LocalUpgrade { key, upgrade }),
            Err(found) => {
                note(reader, &path, upgrade_refusal(*found, &[]));
                None
            }
        },
        (Err(cause), _) | (_, Err(cause)) => {
            reader.fault(&path, "", cause);
            None
        }
    }
}

fn note(reader: &mut Reader, path: &Path, problem: Problem) {
    let Problem { detail, errors, .. } = problem;
    // One fault is its own sentence already.
    if errors.len() != 1 || errors[0].keyword.is_some() {
        reader.fault(path, "", detail);
    }
    for error in errors {
        reader.fault(path, &error.pointer, error.message);
    }
}
