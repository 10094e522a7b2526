//! Names of the files that `apply` reads.

use std::{fs, io, path::Path};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::cli::failure::Failure;

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
