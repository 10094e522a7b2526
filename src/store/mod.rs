//! The object store under registry and quarantine.

mod cloud;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs::{DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path as FilePath, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::{
    ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, local::LocalFileSystem, path::Path,
};

use crate::config::StoreSettings;

const CLOUD_SCHEMES: [&str; 8] = ["s3", "s3a", "gs", "az", "azure", "adl", "abfs", "abfss"];

/// Every fault of the settings that shows without a connection or a folder.
pub fn check(settings: &StoreSettings) -> Option<StoreError> {
    if settings.url.starts_with("file:") && settings.options.is_empty() {
        return None;
    }
    Store::connect(settings).err()
}

/// Why the store did not do what was asked, for the operator.
#[derive(Debug, thiserror::Error)]
#[error("store: {action} {path}: {cause}")]
pub struct StoreError {
    pub action: &'static str,
    pub path: String,
    pub cause: String,
}

impl StoreError {
    fn new(action: &'static str, path: &str, cause: impl ToString) -> StoreError {
        StoreError {
            action,
            path: path.to_owned(),
            cause: cause.to_string(),
        }
    }
}

/// A folder or bucket of objects. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
}

impl Store {
    /// [`Store::connect`] with no options.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open(url: &str) -> Result<Store, StoreError> {
        Store::connect(&StoreSettings {
            url: url.to_owned(),
            options: BTreeMap::new(),
        })
    }

    /// Opens the store at the URL: `file:` and a path, relative to the working directory or absolute (a local folder,
    /// which is made where it is missing), or a bucket: `s3://`, `gs://`, `az://`. Opens no connection.
    ///
    /// # Errors
    ///
    /// Where the URL or an option is not understood, or the folder cannot be made.
    pub fn connect(settings: &StoreSettings) -> Result<Store, StoreError> {
        let url = settings.url.as_str();
        let refused = |cause: &str| StoreError::new("open", url, cause);
        let Some(path) = url.strip_prefix("file:") else {
            return match url.split_once("://") {
                Some((scheme, _)) if CLOUD_SCHEMES.contains(&scheme) => Ok(Store {
                    objects: cloud::open(url, &settings.options)?,
                }),
                _ => Err(refused(
                    "a store is \"file:\" and a path, such as \"file:data/store\", or a bucket, such as \"s3://bucket/path\"",
                )),
            };
        };
        if let Some(option) = settings.options.keys().next() {
            return Err(refused(&format!("a local folder has no option {option:?}")));
        }
        let path = match path.strip_prefix("//") {
            Some(absolute) if absolute.starts_with('/') => absolute,
            Some(_) => return Err(refused("\"file://\" must be followed by an absolute path")),
            None => path,
        };
        if path.is_empty() {
            return Err(refused("the path is empty"));
        }
        let directory =
            make_directory(FilePath::new(path)).map_err(|error| StoreError::new("open", url, error))?;
        // Without `with_fsync` a write that has returned is in memory only.
        let objects = LocalFileSystem::new_with_prefix(directory)
            .map_err(|error| StoreError::new("open", url, error))?
            .with_fsync(true);
        Ok(Store {
            objects: Arc::new(objects),
        })
    }

    /// The object's bytes; none where there is no such object.
    pub async fn get(&self, path: &str) -> Result<Option<Bytes>, StoreError> {
        let fault = |error| StoreError::new("get", path, error);
        match self.objects.get(&location("get", path)?).await {
            Ok(object) => object.bytes().await.map(Some).map_err(fault),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(fault(error)),
        }
    }

    /// Writes the object, over one that is there. Durable once it has returned.
    pub async fn put(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.objects
            .put(&location("put", path)?, PutPayload::from_bytes(bytes))
            .await
            .map(drop)
            .map_err(|error| StoreError::new("put", path, error))
    }

    /// False where the object is there already: the compare-and-swap on every backend. Durable once it has returned
    /// true; after an error the object may be there or not.
    pub async fn put_if_absent(&self, path: &str, bytes: Bytes) -> Result<bool, StoreError> {
        let options = PutOptions::from(PutMode::Create);
        let location = location("put", path)?;
        match self
            .objects
            .put_opts(&location, PutPayload::from_bytes(bytes), options)
            .await
        {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(StoreError::new("put", path, error)),
        }
    }

    /// Paths below `prefix` (a folder), in ascending order of their bytes, those after `after` only.
    pub async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<String>, StoreError> {
        let folder = location("list", prefix)?;
        let found = match after {
            Some(after) => self
                .objects
                .list_with_offset(Some(&folder), &location("list", after)?),
            None => self.objects.list(Some(&folder)),
        };
        let mut paths: Vec<String> = found
            .map_ok(|object| String::from(object.location))
            .try_collect()
            .await
            .map_err(|error| StoreError::new("list", prefix, error))?;
        paths.sort_unstable();
        Ok(paths)
    }

    /// [`Store::list`] with the size of each object.
    pub async fn list_sized(&self, prefix: &str) -> Result<Vec<(String, u64)>, StoreError> {
        let mut objects: Vec<(String, u64)> = self
            .objects
            .list(Some(&location("list", prefix)?))
            .map_ok(|object| (String::from(object.location), object.size))
            .try_collect()
            .await
            .map_err(|error| StoreError::new("list", prefix, error))?;
        objects.sort_unstable();
        Ok(objects)
    }

    /// Parts of the object's bytes; a part that reaches beyond its end is cut there. None where there is no such object.
    pub async fn get_ranges(
        &self,
        path: &str,
        ranges: &[std::ops::Range<u64>],
    ) -> Result<Option<Vec<Bytes>>, StoreError> {
        match self.objects.get_ranges(&location("get", path)?, ranges).await {
            Ok(parts) => Ok(Some(parts)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(StoreError::new("get", path, error)),
        }
    }

    /// Removes the object; nothing happens where there is none. May come back after a loss of power.
    pub async fn delete(&self, path: &str) -> Result<(), StoreError> {
        match self.objects.delete(&location("delete", path)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(StoreError::new("delete", path, error)),
        }
    }
}

fn location(action: &'static str, path: &str) -> Result<Path, StoreError> {
    Path::parse(path).map_err(|error| StoreError::new(action, path, error))
}

/// Makes `path` with its parents, durably and for the owner only, and returns it absolute.
fn make_directory(path: &FilePath) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    let missing: Vec<&FilePath> = absolute
        .ancestors()
        .take_while(|ancestor| !ancestor.exists())
        .collect();
    // Signing secrets are in there.
    DirBuilder::new().recursive(true).mode(0o700).create(&absolute)?;
    for made in missing {
        if let Some(parent) = made.parent() {
            File::open(parent)?.sync_all()?;
        }
    }
    absolute.canonicalize()
}
