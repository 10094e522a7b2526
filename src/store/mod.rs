//! The object store under registry and quarantine.

use bytes::Bytes;

/// Why the store did not do what was asked, for the operator.
#[derive(Debug, thiserror::Error)]
#[error("store: {action} {path}: {cause}")]
pub struct StoreError {
    pub action: &'static str,
    pub path: String,
    pub cause: String,
}

/// A folder or bucket of objects. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {}

impl Store {
    /// Opens (and makes, where it is a local folder) the store at `url` (`file:data/store`).
    pub fn open(_url: &str) -> Result<Store, StoreError> {
        todo!()
    }
    pub async fn get(&self, _path: &str) -> Result<Option<Bytes>, StoreError> {
        todo!()
    }
    /// Durable once it has returned.
    pub async fn put(&self, _path: &str, _bytes: Bytes) -> Result<(), StoreError> {
        todo!()
    }
    /// False where the object is there already: the compare-and-swap on every backend.
    pub async fn put_if_absent(&self, _path: &str, _bytes: Bytes) -> Result<bool, StoreError> {
        todo!()
    }
    /// Paths below `prefix` (a folder), in ascending order, those after `after` only.
    pub async fn list(&self, _prefix: &str, _after: Option<&str>) -> Result<Vec<String>, StoreError> {
        todo!()
    }
    pub async fn delete(&self, _path: &str) -> Result<(), StoreError> {
        todo!()
    }
}
