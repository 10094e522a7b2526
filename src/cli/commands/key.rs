//! `headworks key`.

use std::path::Path;

use serde::Deserialize;
use serde_json::json;

use super::short_time;
use crate::{
    cli::{
        arguments::KeyCommand,
        client::{Client, Sent},
        failure::Failure,
        output::{self, Output},
    },
    config::bounded_text,
};

#[derive(Deserialize)]
struct Listed {
    id: String,
    kind: String,
    created: String,
    expires: Option<String>,
    last_used: Option<String>,
    #[serde(default)]
    types: Vec<String>,
}

#[derive(Deserialize)]
struct Created {
    id: String,
    /// For kinds `secret` and `publishable`.
    key: Option<String>,
    /// For kind `signing`.
    secret: Option<String>,
}

pub async fn run(command: KeyCommand, client: &Client, output: &mut Output) -> Result<(), Failure> {
    match command {
        KeyCommand::Create {
            partner,
            kind,
            expires,
            types,
            secret_file,
        } => {
            let secret = secret_file.as_deref().map(read_secret).transpose()?;
            let body = Sent::json(&json!({
                "kind": kind.as_str(),
                "expires": expires,
                "types": types,
                "secret": secret,
            }))?;
            let reply = client
                .post(&["partners", partner.as_str(), "keys"], Some(body))
                .await?;
            if output.is_json() {
                return output::line(&reply.text);
            }
            let created: Created = reply.read()?;
            // Only the key goes to standard output, so that it can be caught there.
            output::note(&format!(
                "{} key {} of partner {partner}; it is shown this once:",
                kind.as_str(),
                created.id
            ));
            output::line(&created.key.or(created.secret).unwrap_or_default())
        }
        KeyCommand::List { partner } => {
            let path = ["partners", partner.as_str(), "keys"];
            let (items, _) = client.list(&path, &[], usize::MAX).await?;
            let rows = items
                .iter()
                .map(|item| {
                    let key: Listed = client.parse(item)?;
                    let time = |time: Option<String>, none: &str| {
                        time.map_or_else(|| none.to_owned(), |time| short_time(&time))
                    };
                    Ok(vec![
                        key.id,
                        key.kind,
                        short_time(&key.created),
                        time(key.expires, "never"),
                        time(key.last_used, "-"),
                        if key.types.is_empty() {
                            "any".to_owned()
                        } else {
                            key.types.join(" ")
                        },
                    ])
                })
                .collect::<Result<_, Failure>>()?;
            let none = format!("partner {partner} has no live key");
            output.list(
                &items,
                &["ID", "KIND", "CREATED", "EXPIRES", "LAST USED", "TYPES"],
                rows,
                &none,
            )
        }
        KeyCommand::Revoke { partner, id } => {
            let path = ["partners", partner.as_str(), "keys", &id];
            let reply = client.delete(&path, &[]).await?;
            output.done(&format!("revoked key {id} of partner {partner}"), &reply.text)
        }
    }
}

/// Larger than any secret.
const SECRET_BYTES_MAX: u64 = 4096;

fn read_secret(path: &Path) -> Result<String, Failure> {
    let text = bounded_text(path, SECRET_BYTES_MAX).map_err(|source| Failure::File {
        path: path.to_owned(),
        source,
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
