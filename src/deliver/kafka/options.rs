//! librdkafka's settings: ours, the operator's over them, and those that nobody may change (`config` names them).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rdkafka::{ClientConfig, error::KafkaError};

use super::tokens::{self, Tokens};
use crate::config::{FIXED_OPTIONS, Secret};

/// `message.max.bytes` of librdkafka where the operator sets none.
const MESSAGE_BYTES_MAX: usize = 1_000_000;

/// Settings that the operator may change.
const DEFAULTS: [(&str, &str); 8] = [
    ("client.id", "headworks"),
    // One millisecond lets single posts of one moment share a request to the broker, which costs both sides far less
    // CPU; 0 would answer a lone post 1 ms sooner.
    ("linger.ms", "1"),
    // What waits in memory for the broker; beyond it records go to the spool.
    ("queue.buffering.max.kbytes", "65536"),
    // A topic that is not there for so long is refused. Time for automatic creation.
    ("topic.metadata.propagation.max.ms", "10000"),
    // A topic made later is found within a minute.
    ("topic.metadata.refresh.interval.ms", "60000"),
    ("reconnect.backoff.max.ms", "2000"),
    ("socket.keepalive.enable", "true"),
    ("log.connection.close", "false"),
];

pub(super) struct Options {
    pub(super) config: ClientConfig,
    /// How long librdkafka waits for more to send together.
    pub(super) linger: Duration,
    /// Of one record as the broker sees it.
    pub(super) message_bytes_max: usize,
    /// Where the mechanism is OAUTHBEARER.
    pub(super) tokens: Option<Arc<Tokens>>,
}

/// What this build can do; for others librdkafka wants libraries that it lacks.
const MECHANISMS: [&str; 4] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", OAUTHBEARER];
const OAUTHBEARER: &str = "OAUTHBEARER";
/// librdkafka would make the first token itself, and nobody the next: with the callbacks that we give it, it leaves
/// those to us.
const UNSECURED: &str = "enable.sasl.oauthbearer.unsecure.jwt";

/// The error is for the operator and never shows the value of a secret setting.
pub(super) fn options(brokers: &str, settings: &BTreeMap<String, Secret>) -> Result<Options, String> {
    let mut options = each_checked(brokers, settings)?;
    let config = &options.config;
    let protocol = config.get("security.protocol").unwrap_or_default();
    if protocol.to_ascii_lowercase().starts_with("sasl") {
        // The second is another name of the first.
        let mechanism = config
            .get("sasl.mechanism")
            .or_else(|| config.get("sasl.mechanisms"));
        if !mechanism.is_some_and(|mechanism| MECHANISMS.contains(&mechanism)) {
            return Err(format!(
                "option \"sasl.mechanism\" must be one of {} in this build, not {:?}",
                MECHANISMS.join(", "),
                mechanism.unwrap_or("GSSAPI (the default)")
            ));
        }
        if mechanism == Some(OAUTHBEARER) {
            if config
                .get(UNSECURED)
                .is_some_and(|value| !["false", "f", "0"].contains(&value))
            {
                return Err(format!(
                    "option {UNSECURED:?} cannot be set: tokens come from an identity provider, with \
                     \"sasl.oauthbearer.method\" = \"oidc\""
                ));
            }
            options.tokens = Some(Arc::new(Tokens::new(settings)?));
        }
    }
    Ok(options)
}

fn each_checked(brokers: &str, settings: &BTreeMap<String, Secret>) -> Result<Options, String> {
    let mut config = ClientConfig::new();
    for (name, value) in DEFAULTS {
        config.set(name, value);
    }
    for (name, value) in settings {
        if let Some((_, allowed, why)) = FIXED_OPTIONS.iter().find(|(fixed, ..)| fixed == name) {
            if !allowed.contains(&value.reveal()) {
                return Err(format!("option {name:?} cannot be set: {why}"));
            }
        } else if tokens::is_ours(name) {
            tokens::check(name, value)?;
        } else {
            config.set(name, value.reveal());
        }
    }
    config
        .set("bootstrap.servers", brokers)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", "0");
    let message_bytes_max = match config.get("message.max.bytes") {
        None => MESSAGE_BYTES_MAX,
        Some(value) => value
            .parse()
            .map_err(|_| format!("option \"message.max.bytes\" must be a whole number, not {value:?}"))?,
    };
    config.create_native_config().map_err(|error| explain(&error))?;
    // The second is an older name of the first.
    let linger_ms = ["queue.buffering.max.ms", "linger.ms"]
        .into_iter()
        .find_map(|name| config.get(name)?.parse().ok())
        .unwrap_or(0.0);
    Ok(Options {
        config,
        linger: Duration::try_from_secs_f64(linger_ms / 1e3).unwrap_or_default(),
        message_bytes_max,
        tokens: None,
    })
}

/// Every fault of the operator's settings that shows without a broker; for the operator, without secrets.
pub(in crate::deliver) fn faults(brokers: &str, settings: &BTreeMap<String, Secret>) -> Vec<String> {
    let each = settings.iter().filter_map(|(name, value)| {
        let alone = BTreeMap::from([(name.clone(), value.clone())]);
        each_checked(brokers, &alone).err()
    });
    let mut faults: Vec<String> = each.collect();
    if faults.is_empty() {
        faults.extend(options(brokers, settings).err());
    }
    faults
}

/// An error of librdkafka about its settings, without the value where it may be a secret.
pub(super) fn explain(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, description, name, value) => {
            let secret = ["password", "secret", "key", "token", "sasl", "oauth", "pem"]
                .iter()
                .any(|part| name.contains(part));
            let description = if secret && !value.is_empty() {
                description.replace(value, "***")
            } else {
                description.clone()
            };
            format!("option {name:?}: {description}")
        }
        KafkaError::ClientCreation(description) => description.clone(),
        other => other.to_string(),
    }
}
