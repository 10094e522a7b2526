//! Iglu: self-describing schemas in `VENDOR/NAME/FORMAT/MODEL-REVISION-ADDITION`.

use std::path::{Path, PathBuf};

use super::import::{Found, Reading, file_text, parsed};
use crate::{
    cli::failure::Failure,
    json::{EditedDocument, NewValue},
};

/// The metaschemas of self-describing schemas, and the drafts that they extend.
const META: [(&str, &str); 2] = [
    (
        "http://iglucentral.com/schemas/com.snowplowanalytics.self-desc/schema/jsonschema/1-0-0",
        "http://json-schema.org/draft-04/schema#",
    ),
    (
        "http://iglucentral.com/schemas/com.snowplowanalytics.self-desc/schema/jsonschema/2-0-0",
        "http://json-schema.org/draft-07/schema#",
    ),
];
/// `schemas/VENDOR/NAME/FORMAT/VERSION`.
const LEVELS_MAX: usize = 6;

pub(super) fn read(directory: &Path) -> Result<Reading, Failure> {
    let mut files = Vec::new();
    walk(directory, 0, &mut files)?;
    files.sort();
    let mut reading = Reading::default();
    for path in files {
        let from = path
            .strip_prefix(directory)
            .unwrap_or(&path)
            .display()
            .to_string();
        let mut names = path.iter().rev().filter_map(|part| part.to_str());
        let (Some(file), Some(format), Some(name), Some(vendor)) =
            (names.next(), names.next(), names.next(), names.next())
        else {
            continue;
        };
        let file = file.strip_suffix(".json").unwrap_or(file);
        if !is_schema_ver(file) {
            // READMEs, index files and the like are no schemas, and nobody misses them.
            continue;
        }
        if format != "jsonschema" {
            reading.refuse(from, format!("its format is {format}, not jsonschema"));
            continue;
        }
        match one(&file_text(&path)?, vendor, name, file) {
            Ok((schema, notes)) => reading.found.push(Found {
                from,
                name: format!("{vendor}.{name}"),
                since: file.replace('-', "."),
                schema,
                notes,
            }),
            Err(reason) => reading.refuse(from, reason),
        }
    }
    Ok(reading)
}

fn walk(folder: &Path, level: usize, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let failed = |source| Failure::File {
        path: folder.to_owned(),
        source,
    };
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_file() {
            files.push(path);
        } else if path.is_dir() && level < LEVELS_MAX {
            walk(&path, level + 1, files)?;
        }
    }
    Ok(())
}

/// `MODEL-REVISION-ADDITION`.
fn is_schema_ver(name: &str) -> bool {
    let parts: Vec<&str> = name.split('-').collect();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    parts.len() == 3 && parts.iter().all(is_number)
}

fn one(text: &str, vendor: &str, name: &str, version: &str) -> Result<(EditedDocument, Vec<String>), String> {
    let mut schema = parsed(text)?;
    let of_self = |schema: &EditedDocument, member: &str| match schema.get(&format!("/self/{member}")) {
        Some(NewValue::Text(text)) => Some(text),
        _ => None,
    };
    for (member, expected) in [("vendor", vendor), ("name", name), ("version", version)] {
        match of_self(&schema, member) {
            Some(said) if said == expected => {}
            Some(said) => {
                return Err(format!(
                    "its self.{member} is {said:?}, and its path says {expected:?}"
                ));
            }
            None => {
                return Err(format!(
                    "it has no self.{member}: it is no self-describing schema"
                ));
            }
        }
    }
    schema.remove("/self");
    let mut notes = Vec::new();
    match schema.get("/$schema") {
        Some(NewValue::Text(uri)) => {
            let known = META.iter().find(|(meta, _)| *meta == uri.trim_end_matches('#'));
            if let Some((_, draft)) = known {
                set_draft(&mut schema, draft)?;
            }
        }
        _ => set_draft(&mut schema, META[0].1)?,
    }
    for member in ["$supersedes", "$supersededBy"] {
        if schema.remove(&format!("/{member}")) {
            notes.push(format!("{member} is left out"));
        }
    }
    Ok((schema, notes))
}

fn set_draft(schema: &mut EditedDocument, draft: &str) -> Result<(), String> {
    schema
        .set("/$schema", NewValue::Text(draft.to_owned()))
        .map_err(|error| error.to_string())
}
