//! Lookup tables as files: `NAME.ndjson` or `NAME.csv`, and `NAME.KEY.…` where the key is not called `key`.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::{
    event::TableName,
    limits::{ByteSize, TABLE_BYTES_CEILING},
    lookup::{self, Rows},
    problem::Problem,
    registry::model::TableFormat,
};

/// The member or column that is the key where the file's name says none.
pub const KEY_DEFAULT: &str = "key";

/// A file that holds a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFile {
    pub path: PathBuf,
    pub name: TableName,
    pub key: String,
    pub format: TableFormat,
}

/// The format that a file's ending stands for.
pub fn format_of(path: &Path) -> Option<TableFormat> {
    match path.extension()?.to_str()? {
        "ndjson" | "jsonl" => Some(TableFormat::Ndjson),
        "csv" => Some(TableFormat::Csv),
        _ => None,
    }
}

impl TableFile {
    /// What the file's name says; none where it is no table's.
    ///
    /// # Errors
    ///
    /// Where the name is of a table's form, and no table may be called so.
    pub fn of(path: &Path) -> Option<Result<TableFile, String>> {
        let format = format_of(path)?;
        let stem = path.file_stem()?.to_str()?;
        let (name, key) = match stem.split_once('.') {
            Some((name, key)) => (name, key),
            None => (stem, KEY_DEFAULT),
        };
        Some(match name.parse::<TableName>() {
            Ok(name) => Ok(TableFile {
                path: path.to_owned(),
                name,
                key: key.to_owned(),
                format,
            }),
            Err(error) => Err(error.to_string()),
        })
    }

    /// The rows of `data`, the file's contents.
    ///
    /// # Errors
    ///
    /// `table-invalid`, with what is wrong by line.
    pub fn rows(&self, data: &Bytes) -> Result<Rows, Problem> {
        lookup::read(data, self.format, &self.key, ByteSize(TABLE_BYTES_CEILING))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_name_says_what_it_holds() {
        let read = |path: &str| TableFile::of(Path::new(path));
        let file = |path: &str| read(path).expect("a table's").expect("a name");
        let plain = file("tables/campaigns.ndjson");
        assert_eq!((plain.name.as_str(), plain.key.as_str()), ("campaigns", "key"));
        let keyed = file("tables/campaigns.utm_campaign.csv");
        assert_eq!(
            (keyed.name.as_str(), keyed.key.as_str()),
            ("campaigns", "utm_campaign")
        );
        assert_eq!(keyed.format, TableFormat::Csv);
        assert!(read("tables/README.md").is_none());
        assert!(read("tables/Campaigns.csv").expect("a table's").is_err());
    }
}
