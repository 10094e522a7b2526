//! Stores at Amazon S3 (and what speaks like it), Google Cloud Storage and Azure Blob Storage.

use std::{collections::BTreeMap, str::FromStr, sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey},
    path::Path,
    prefix::PrefixStore,
};

use super::StoreError;
use crate::config::Secret;

/// A store that does not answer must be noticed while somebody waits: the crate's own patience is minutes.
const CONNECT_TIME: Duration = Duration::from_secs(3);
const REQUEST_TIME: Duration = Duration::from_secs(20);
const RETRY_TIME: Duration = Duration::from_secs(10);
const RETRIES: usize = 4;

/// The store at `url`, which has one of [`super::CLOUD_SCHEMES`]. What `options` do not say is taken from the
/// environment and the machine, as the provider's own tools do. Opens no connection.
pub(super) fn open(
    url: &str,
    options: &BTreeMap<String, Secret>,
) -> Result<Arc<dyn ObjectStore>, StoreError> {
    let fault = |cause: String| StoreError::new("open", url, cause);
    let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err(fault("no bucket stands after \"://\"".to_owned()));
    }
    let prefix = Path::parse(prefix.trim_end_matches('/')).map_err(|error| fault(error.to_string()))?;
    let built = match scheme {
        "s3" | "s3a" => {
            let mut builder = AmazonS3Builder::from_env()
                .with_url(url)
                .with_client_options(client())
                .with_retry(retry());
            for (key, value) in known::<AmazonS3ConfigKey>(options).map_err(fault)? {
                builder = builder.with_config(key, value);
            }
            builder.build().map(|store| prefixed(store, prefix))
        }
        "gs" => {
            let mut builder = GoogleCloudStorageBuilder::from_env()
                .with_url(url)
                .with_client_options(client())
                .with_retry(retry());
            for (key, value) in known::<GoogleConfigKey>(options).map_err(fault)? {
                builder = builder.with_config(key, value);
            }
            builder.build().map(|store| prefixed(store, prefix))
        }
        _ => {
            let mut builder = MicrosoftAzureBuilder::from_env()
                .with_url(url)
                .with_client_options(client())
                .with_retry(retry());
            for (key, value) in known::<AzureConfigKey>(options).map_err(fault)? {
                builder = builder.with_config(key, value);
            }
            builder.build().map(|store| prefixed(store, prefix))
        }
    };
    built.map_err(|error| fault(error.to_string()))
}

fn prefixed(store: impl ObjectStore, prefix: Path) -> Arc<dyn ObjectStore> {
    if prefix.as_ref().is_empty() {
        Arc::new(store)
    } else {
        Arc::new(PrefixStore::new(store, prefix))
    }
}

fn client() -> ClientOptions {
    ClientOptions::new()
        .with_connect_timeout(CONNECT_TIME)
        .with_timeout(REQUEST_TIME)
}

fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: RETRIES,
        retry_timeout: RETRY_TIME,
    }
}

/// Every option with the key that the provider knows it by; an option that it does not know is a fault.
fn known<K: FromStr>(options: &BTreeMap<String, Secret>) -> Result<Vec<(K, String)>, String> {
    options
        .iter()
        .map(|(name, value)| {
            let key = K::from_str(name).map_err(|_| format!("there is no option {name:?} of this store"))?;
            Ok((key, value.reveal().to_owned()))
        })
        .collect()
}
