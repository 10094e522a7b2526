//! The files of `tables/`, read and checked before anything is sent.

use std::{collections::BTreeMap, path::Path};

use bytes::Bytes;

use super::folder::Reader;
use crate::{
    cli::table_files::TableFile,
    event::TableName,
    registry::model::{Digest, Table},
};

/// A table of the folder. Its data is read again when it is sent: several may be large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalTable {
    pub file: TableFile,
    pub digest: Digest,
}

impl LocalTable {
    pub fn is_as(&self, known: &Table) -> bool {
        self.digest == known.digest && self.file.format == known.format && self.file.key == known.key
    }
}

/// The tables of the folder; of those that cannot be taken the faults are noted.
pub(super) fn read(reader: &mut Reader, folder: &Path) -> Option<BTreeMap<TableName, LocalTable>> {
    let mut found: BTreeMap<TableName, LocalTable> = BTreeMap::new();
    for (_, path) in reader.entries(folder) {
        let file = match TableFile::of(&path).filter(|_| path.is_file()) {
            None => continue,
            Some(Ok(file)) => file,
            Some(Err(fault)) => {
                reader.fault(&path, "", fault).suggest("rename it");
                continue;
            }
        };
        if let Some(other) = found.get(&file.name) {
            let message = format!(
                "holds the table {} as {} does",
                file.name,
                other.file.path.display()
            );
            reader.fault(&path, "", message).suggest("leave one of them");
            continue;
        }
        let data = match std::fs::read(&path) {
            Ok(data) => Bytes::from(data),
            Err(error) => {
                reader.fault(&path, "", format!("cannot be read: {error}"));
                continue;
            }
        };
        match file.rows(&data) {
            Ok(_) => {
                let digest = Digest::of(&data);
                found.insert(file.name.clone(), LocalTable { file, digest });
            }
            Err(problem) if problem.errors.is_empty() => {
                reader.fault(&path, "", problem.detail);
            }
            Err(problem) => {
                for fault in problem.errors {
                    reader.fault(&path, "", fault.message);
                }
            }
        }
    }
    (!found.is_empty()).then_some(found)
}
