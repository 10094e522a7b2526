//! `headworks tail`: events and records as they pass.

use serde_json::Value;

use crate::cli::{
    arguments::TailArguments,
    client::Client,
    failure::Failure,
    output::{self, printable},
};

pub async fn run(arguments: &TailArguments, client: &Client) -> Result<(), Failure> {
    let code = arguments.code.map(|code| code.as_str().to_owned());
    let pairs = [
        ("partner", arguments.partner.as_ref().map(ToString::to_string)),
        ("type", arguments.event_type.as_ref().map(ToString::to_string)),
        ("status", arguments.status.clone()),
        ("code", code),
        ("plugin", arguments.plugin.clone()),
        ("where", arguments.place.clone()),
    ];
    let query: Vec<(&str, &str)> = pairs
        .iter()
        .filter_map(|(name, value)| Some((*name, value.as_deref()?)))
        .collect();
    let mut stream = client.stream(&["tail"], &query).await?;
    let mut left = arguments.limit;
    output::progress("watching; Ctrl-C ends it");
    while let Some((kind, data)) = stream.next().await? {
        match kind.as_str() {
            "missed" => output::note(&format!("{} events passed unseen", printable(&data))),
            "event" if arguments.remote.json => output::line(&data)?,
            "event" => show(&data)?,
            _ => continue,
        }
        if kind == "event"
            && let Some(left) = &mut left
        {
            *left = left.saturating_sub(1);
            if *left == 0 {
                return Ok(());
            }
        }
    }
    Err(Failure::Usage(
        "the gateway has ended the stream; it is shutting down".to_owned(),
    ))
}

fn show(data: &str) -> Result<(), Failure> {
    let event: Value = serde_json::from_str(data).unwrap_or_default();
    let text = |value: &Value| printable(value.as_str().unwrap_or_default()).into_owned();
    let attributes = &event["attributes"];
    let received = text(&event["received"]);
    let time = received.get(11..23).unwrap_or(&received);
    let version = attributes["appversion"]
        .as_str()
        .map_or_else(String::new, |version| format!(" {}", printable(version)));
    let code = event["code"]
        .as_str()
        .map_or_else(String::new, |code| format!(" ({})", printable(code)));
    output::line(&format!(
        "{time} {} {}{version} {} {}{code}",
        text(&event["partner"]),
        text(&attributes["type"]),
        text(&attributes["id"]),
        text(&event["status"]),
    ))?;
    output::line(&format!("  event {}", value(&event["data"], &event["size"])))?;
    for record in event["records"].as_array().into_iter().flatten() {
        let key = record["key"]
            .as_str()
            .map_or_else(String::new, |key| format!(" key {}", printable(key)));
        let plugin = record["plugin"]
            .as_str()
            .map_or_else(String::new, |plugin| format!(" by {}", printable(plugin)));
        output::line(&format!(
            "  → {}/{}{key}{plugin} {}",
            text(&record["destination"]),
            text(&record["topic"]),
            value(&record["value"], &record["size"]),
        ))?;
    }
    Ok(())
}

fn value(value: &Value, size: &Value) -> String {
    if value.is_null() && size != 4 {
        return format!("({size} bytes)");
    }
    printable(&value.to_string()).into_owned()
}
