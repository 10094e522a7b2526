//! `headworks partner`.

use serde::Deserialize;

use crate::{
    cli::{
        arguments::PartnerCommand,
        client::{Client, Sent},
        failure::Failure,
        output::{self, Output},
        resources,
    },
    registry::model::Partner,
};

#[derive(Deserialize)]
struct Listed {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    policy: String,
    source: Option<String>,
}

pub async fn run(command: PartnerCommand, client: &Client, output: &mut Output) -> Result<(), Failure> {
    match command {
        PartnerCommand::List => {
            let (items, _) = client.list(&["partners"], &[], usize::MAX).await?;
            let rows = items
                .iter()
                .map(|item| client.parse::<Listed>(item).map(row))
                .collect::<Result<_, _>>()?;
            let headers = ["NAME", "POLICY", "SOURCE", "DESCRIPTION"];
            output.list(&items, &headers, rows, "there is no partner")
        }
        PartnerCommand::Show { name } => {
            let reply = client.get(&["partners", name.as_str()], &[]).await?;
            if output.is_json() {
                return output::line(&reply.text);
            }
            output::line(&resources::to_toml(&reply.read::<Partner>()?))
        }
        PartnerCommand::Put { name, file } => {
            let path = ["partners", name.as_str()];
            let reply = match file {
                Some(file) => {
                    let partner = resources::read(&file, resources::partner)?;
                    client.put(&path, &[], Sent::json(&partner)?).await?
                }
                // The defaults must not take the place of what somebody has set.
                None => client.put_new(&path, Sent::json(&Partner::default())?).await?,
            };
            let done = if reply.created { "created" } else { "in force:" };
            output.done(&format!("{done} partner {name}"), &reply.text)
        }
        PartnerCommand::Delete { name } => {
            let reply = client.delete(&["partners", name.as_str()], &[]).await?;
            output.done(
                &format!("deleted partner {name} and revoked its keys"),
                &reply.text,
            )
        }
    }
}

fn row(partner: Listed) -> Vec<String> {
    let source = partner
        .source
        .unwrap_or_else(|| format!("/partners/{}", partner.name));
    vec![partner.name, partner.policy, source, partner.description]
}
