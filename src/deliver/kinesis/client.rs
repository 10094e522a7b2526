//! The AWS SDK: how it is set up, and what its errors mean.

use std::{sync::Arc, time::Duration};

use aws_config::{
    BehaviorVersion, Region, retry::RetryConfig, sts::AssumeRoleProvider, timeout::TimeoutConfig,
};
use aws_sdk_kinesis::{
    config::Credentials,
    error::{DisplayErrorContext, ProvideErrorMetadata as _, SdkError},
    operation::put_records::{PutRecordsError, PutRecordsOutput},
    primitives::Blob,
    types::PutRecordsRequestEntry,
};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};

use super::queue::Call;
use crate::config::KinesisSettings;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// One attempt: there are no others but ours.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(5);
const DETAIL_CHARACTERS_MAX: usize = 300;

pub(super) struct Client(aws_sdk_kinesis::Client);

/// What became of one record of a call.
pub(super) enum EntryResult {
    Taken,
    /// Its shard takes no more for now, or something failed inside Kinesis.
    Later,
}

/// Why a whole call failed.
#[derive(Debug)]
pub(super) enum CallError {
    /// No record of it will ever be taken: no such stream, not allowed.
    Refused(String),
    /// One of its records, or more.
    Invalid(String),
    Throttled,
    /// The service, the way to it, or the credentials.
    Outage(String),
}

impl Client {
    /// Reads what the settings leave to the environment; opens no connection.
    pub(super) async fn new(settings: &KinesisSettings) -> Client {
        let http = Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(settings.region.clone()))
            .http_client(http)
            // Retries change the order of a key; the destination itself sends again.
            .retry_config(RetryConfig::disabled())
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .operation_timeout(CALL_TIMEOUT)
                    .build(),
            );
        if let Some((id, secret)) = &settings.credentials {
            loader = loader.credentials_provider(Credentials::new(
                id.reveal(),
                secret.reveal(),
                None,
                None,
                "headworks.toml",
            ));
        }
        let shared = loader.load().await;
        let mut config = aws_sdk_kinesis::config::Builder::from(&shared);
        if let Some(url) = &settings.endpoint_url {
            config = config.endpoint_url(url);
        }
        if let Some(role) = &settings.assume_role {
            let mut provider = AssumeRoleProvider::builder(&role.arn)
                .configure(&shared)
                .session_name("headworks");
            if let Some(id) = &role.external_id {
                provider = provider.external_id(id.reveal());
            }
            config = config.credentials_provider(provider.build().await);
        }
        Client(aws_sdk_kinesis::Client::from_conf(config.build()))
    }

    /// A result for each entry of the call, in order.
    pub(super) async fn put(&self, call: &Call) -> Result<Vec<EntryResult>, CallError> {
        let mut request = self.0.put_records().stream_name(&*call.stream);
        for entry in &call.entries {
            let record = PutRecordsRequestEntry::builder()
                .partition_key(&*entry.key)
                .data(Blob::new(entry.data()))
                .build()
                .map_err(|error| CallError::Invalid(error.to_string()))?;
            request = request.records(record);
        }
        let output = request.send().await.map_err(call_error)?;
        entry_results(&output, call.entries.len())
    }

    /// Each open shard of a stream with the first hash key that belongs to it.
    pub(super) async fn shards(&self, stream: &str) -> Result<Vec<(u128, Arc<str>)>, String> {
        let mut starts = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let request = self.0.list_shards();
            // A token stands for the stream that it came from.
            let request = match next.take() {
                Some(token) => request.next_token(token),
                None => request.stream_name(stream),
            };
            let output = request
                .send()
                .await
                .map_err(|error| said(&DisplayErrorContext(error)))?;
            for shard in output.shards() {
                let closed = shard
                    .sequence_number_range()
                    .is_some_and(|range| range.ending_sequence_number().is_some());
                let start = shard.hash_key_range().map(|range| range.starting_hash_key());
                if let (false, Some(Ok(start))) = (closed, start.map(str::parse)) {
                    starts.push((start, shard.shard_id().into()));
                }
            }
            match output.next_token() {
                Some(token) => next = Some(token.to_owned()),
                None => return Ok(starts),
            }
        }
    }
}

fn entry_results(output: &PutRecordsOutput, entries: usize) -> Result<Vec<EntryResult>, CallError> {
    let results = output.records();
    if results.len() != entries {
        return Err(CallError::Outage(format!(
            "the service answered for {} of {entries} records",
            results.len()
        )));
    }
    let result = |record: &aws_sdk_kinesis::types::PutRecordsResultEntry| {
        // Only a sequence number says that it was taken.
        match record.error_code() {
            None if record.sequence_number().is_some() => EntryResult::Taken,
            _ => EntryResult::Later,
        }
    };
    Ok(results.iter().map(result).collect())
}

fn call_error(error: SdkError<PutRecordsError>) -> CallError {
    let SdkError::ServiceError(service) = &error else {
        return CallError::Outage(said(&DisplayErrorContext(&error)));
    };
    let code = service.err().code().unwrap_or_default();
    let detail = match service.err().message() {
        Some(message) => cut(&format!("{code}: {message}")),
        None => code.to_owned(),
    };
    match code {
        "ResourceNotFoundException" | "AccessDeniedException" => CallError::Refused(detail),
        "InvalidArgumentException" | "ValidationException" | "SerializationException" => {
            CallError::Invalid(detail)
        }
        "ProvisionedThroughputExceededException"
        | "LimitExceededException"
        | "ThrottlingException"
        | "KMSThrottlingException" => CallError::Throttled,
        // Expired or unknown credentials and keys are the operator's to repair: the records wait meanwhile.
        _ => CallError::Outage(detail),
    }
}

fn said(error: &impl std::fmt::Display) -> String {
    cut(&error.to_string())
}

fn cut(text: &str) -> String {
    text.chars().take(DETAIL_CHARACTERS_MAX).collect()
}
