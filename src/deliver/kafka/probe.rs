//! Asks a cluster whether it is there, with a producer that sends nothing.

use std::{collections::BTreeMap, error::Error, sync::Arc, time::Duration};

use rdkafka::{
    ClientContext,
    client::OAuthToken,
    config::RDKafkaLogLevel,
    error::KafkaError,
    message::DeliveryResult,
    producer::{Producer as _, ProducerContext, ThreadedProducer},
};

use super::{
    options::{self, Options},
    tokens::Tokens,
};
use crate::config::Secret;

/// How many brokers answer. Takes up to `timeout`, and as long again before it where a token is needed. The error is for
/// the operator, without secrets.
pub(in crate::deliver) async fn brokers_seen(
    brokers: &str,
    settings: &BTreeMap<String, Secret>,
    timeout: Duration,
) -> Result<usize, String> {
    let options = options::options(brokers, settings)?;
    if let Some(tokens) = &options.tokens {
        let refreshed = tokio::time::timeout(timeout, tokens.refresh()).await;
        refreshed.map_err(|_| format!("the token endpoint does not answer within {timeout:?}"))??;
    }
    let brokers = brokers.to_owned();
    let asked = move || ask(&options, &brokers, timeout);
    tokio::task::spawn_blocking(asked)
        .await
        .map_err(|error| error.to_string())?
}

fn ask(options: &Options, brokers: &str, timeout: Duration) -> Result<usize, String> {
    let context = ProbeContext {
        tokens: options.tokens.clone(),
    };
    // librdkafka asks for its token on the thread of this kind of producer, while the call below waits.
    let producer: ThreadedProducer<ProbeContext> = options
        .config
        .create_with_context(context)
        .map_err(|error| options::explain(&error))?;
    let metadata = producer.client().fetch_metadata(None, timeout);
    metadata
        .map(|metadata| metadata.brokers().len())
        .map_err(|error| format!("the brokers {brokers} do not answer: {error}"))
}

struct ProbeContext {
    tokens: Option<Arc<Tokens>>,
}

impl ProducerContext for ProbeContext {
    type DeliveryOpaque = ();

    fn delivery(&self, _result: &DeliveryResult<'_>, _opaque: ()) {}
}

impl ClientContext for ProbeContext {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, _level: RDKafkaLogLevel, facility: &str, text: &str) {
        tracing::debug!(facility, "librdkafka: {text}");
    }

    fn stats_raw(&self, _statistics: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, "librdkafka: {reason}");
    }

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let tokens = self.tokens.as_ref().ok_or("nobody gives tokens")?;
        tokens.current()
    }
}
