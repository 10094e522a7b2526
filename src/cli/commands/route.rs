//! `headworks route`.

use serde::Deserialize;

use crate::{
    cli::{
        arguments::RouteCommand,
        client::{Client, Sent},
        failure::Failure,
        output::{self, Output},
        resources,
    },
    registry::model::{Route, RouteMatch, RouteTarget},
};

#[derive(Deserialize)]
struct Listed {
    name: String,
    #[serde(default, rename = "match")]
    matches: RouteMatch,
    plugin: Option<String>,
    to: Vec<RouteTarget>,
}

pub async fn run(command: RouteCommand, client: &Client, output: &mut Output) -> Result<(), Failure> {
    match command {
        RouteCommand::List => {
            let (items, _) = client.list(&["routes"], &[], usize::MAX).await?;
            let rows = items
                .iter()
                .map(|item| client.parse::<Listed>(item).map(row))
                .collect::<Result<_, _>>()?;
            let headers = ["NAME", "PARTNER", "TYPE", "SOURCE", "PLUGIN", "TO"];
            output.list(
                &items,
                &headers,
                rows,
                "there is no route: every event goes to quarantine",
            )
        }
        RouteCommand::Show { name } => {
            let reply = client.get(&["routes", name.as_str()], &[]).await?;
            if output.is_json() {
                return output::line(&reply.text);
            }
            output::line(&resources::to_toml(&reply.read::<Route>()?))
        }
        RouteCommand::Put { name, file } => {
            let route = resources::read(&file, resources::route)?;
            let reply = client
                .put(&["routes", name.as_str()], &[], Sent::json(&route)?)
                .await?;
            let done = if reply.created { "created" } else { "in force:" };
            output.done(&format!("{done} route {name}"), &reply.text)
        }
        RouteCommand::Delete { name } => {
            let reply = client.delete(&["routes", name.as_str()], &[]).await?;
            output.done(&format!("deleted route {name}"), &reply.text)
        }
    }
}

fn row(route: Listed) -> Vec<String> {
    let target = |target: RouteTarget| match target.topic {
        Some(topic) => format!("{}:{topic}", target.destination),
        None => target.destination,
    };
    let targets: Vec<String> = route.to.into_iter().map(target).collect();
    vec![
        route.name,
        route.matches.partner,
        route.matches.event_type,
        route.matches.source,
        route.plugin.unwrap_or_default(),
        targets.join(", "),
    ]
}
