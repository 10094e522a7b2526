//! Names of the files that `apply` reads.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::{
    cli::{failure::Failure, resources::read_text},
    event::EventType,
    limits::Limits,
    registry::model::SchemaKey,
};

/// What a part of a file's name may hold as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'.')
    .remove(b'_')
    .remove(b'-')
    .remove(b'~')
    .remove(b'+');

/// `schemas/TYPE/SINCE` or `schemas/TYPE/SINCE@SOURCE`, without what the file is.
pub fn schema_stem(event_type: &str, since: &str, source: Option<&str>) -> String {
    let since = utf8_percent_encode(since, PLAIN);
    match source {
        Some(source) => format!(
            "schemas/{event_type}/{since}@{}",
            utf8_percent_encode(source, PLAIN)
        ),
        None => format!("schemas/{event_type}/{since}"),
    }
}

/// Whether a file is there, and says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Present {
    Absent,
    Same,
    Other,
}

pub fn present(path: &Path, text: &str) -> Result<Present, Failure> {
    match fs::read(path) {
        Ok(known) if known == text.as_bytes() => Ok(Present::Same),
        Ok(_) => Ok(Present::Other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Present::Absent),
        Err(source) => Err(Failure::File {
            path: path.to_owned(),
            source,
        }),
    }
}

/// The schemas for any source that stand below `directory` already; what has no such name is left to `apply`.
pub fn schemas(directory: &Path) -> Result<Vec<(SchemaKey, String)>, Failure> {
    let mut found = Vec::new();
    for of_type in entries(&directory.join("schemas"))? {
        let Some(event_type) = of_type
            .file_name()
            .and_then(|name| name.to_str()?.parse::<EventType>().ok())
        else {
            continue;
        };
        for path in entries(&of_type)? {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            let stem = name
                .strip_suffix(".json")
                .filter(|stem| !stem.ends_with(".upgrade") && !stem.contains('@'));
            let since = stem.and_then(|stem| percent_decode_str(stem).decode_utf8().ok());
            let Some(since) = since.filter(|_| path.is_file()) else {
                continue;
            };
            let key = SchemaKey {
                event_type: event_type.clone(),
                source: None,
                since: since.into_owned(),
            };
            let (_, text) = read_text(&path, Limits::default().schema_bytes.0)?;
            found.push((key, text));
        }
    }
    Ok(found)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let list = || -> io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder)? {
            paths.push(entry?.path());
        }
        Ok(paths)
    };
    match list() {
        Ok(paths) => Ok(paths),
        // A file beside the folders of types is none of them.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(Vec::new())
        }
        Err(source) => Err(Failure::File {
            path: folder.to_owned(),
            source,
        }),
    }
}

pub fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |source| Failure::File {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::write(path, text).map_err(failed)
}
