//! Asks a destination whether it is there, for who looks for what is wrong. Sends nothing.

use std::{path::Path, time::Duration};

use crate::config::{DestinationKind, DestinationSettings};

/// How long a destination may take to answer.
const PROBE_TIME: Duration = Duration::from_secs(5);

/// What is there, in words; none where this way of asking does not know the kind.
///
/// # Errors
///
/// Why it cannot be reached, in words.
pub async fn probe(settings: &DestinationSettings) -> Result<Option<String>, String> {
    match &settings.kind {
        DestinationKind::Kafka { brokers, options } => {
            let seen = super::kafka::brokers_seen(brokers, options, PROBE_TIME).await?;
            Ok(Some(format!("{seen} brokers answer")))
        }
        DestinationKind::File { path, .. } => writable(path).map(|()| Some("can be written".to_owned())),
        DestinationKind::Kinesis(_) => Ok(None),
    }
}

/// Whether a file can be made in the folder, or in the nearest one above it that there is.
fn writable(path: &Path) -> Result<(), String> {
    let there = path.ancestors().find(|folder| folder.is_dir());
    let folder = there.unwrap_or(Path::new("."));
    tempfile::tempfile_in(folder)
        .map(drop)
        .map_err(|error| format!("{}: {error}", folder.display()))
}
