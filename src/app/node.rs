//! Which node this is: an id that stays over restarts, so that it knows its own claims again.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

use uuid::Uuid;

/// The id in the file at `path`; a new one where there is none.
pub(super) fn id(path: &Path) -> io::Result<Uuid> {
    match fs::read_to_string(path) {
        Ok(text) => {
            return text
                .trim()
                .parse()
                .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it holds no node's id"));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let id = Uuid::new_v4();
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut written = tempfile::NamedTempFile::new_in(folder)?;
    written.write_all(id.to_string().as_bytes())?;
    written.as_file().sync_all()?;
    written.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()?;
    Ok(id)
}
