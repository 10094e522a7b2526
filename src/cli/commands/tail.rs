//! `headworks tail`: events and records as they pass.

use std::{
    borrow::Cow,
    io::{self, IsTerminal as _},
};

use ratatui::{crossterm::terminal, text::Span};
use serde_json::Value;

use crate::cli::{
    arguments::TailArguments,
    client::Client,
    failure::{Failure, Refusal},
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
    let is_cut = !arguments.whole && io::stdout().is_terminal();
    output::progress("watching; Ctrl-C ends it");
    while let Some((kind, data)) = stream.next().await? {
        match kind.as_str() {
            "missed" => output::note(&format!("{} events passed unseen", printable(&data))),
            "event" if arguments.remote.json => output::line(&data)?,
            "event" => show(&data, is_cut)?,
            "ended" => return Err(Failure::Refused(Box::new(Refusal::of_token(data)))),
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

fn show(data: &str, is_cut: bool) -> Result<(), Failure> {
    // Asked each time: windows change their size.
    let size = is_cut.then(terminal::size).and_then(io::Result::ok);
    let width = size.map(|(columns, _)| usize::from(columns));
    for line in lines(data) {
        output::line(&fitted(&line, width))?;
    }
    Ok(())
}

/// One for the event, one for its data, and one for each of its records.
fn lines(data: &str) -> Vec<String> {
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
    let mut lines = vec![
        format!(
            "{time} {} {}{version} {}{code} {}",
            text(&event["partner"]),
            text(&attributes["type"]),
            text(&event["status"]),
            text(&attributes["id"]),
        ),
        format!("  event {}", value(&event["data"], &event["size"])),
    ];
    for record in event["records"].as_array().into_iter().flatten() {
        let key = record["key"]
            .as_str()
            .map_or_else(String::new, |key| format!(" key {}", printable(key)));
        let plugin = record["plugin"]
            .as_str()
            .map_or_else(String::new, |plugin| format!(" by {}", printable(plugin)));
        let is_as_sent = !record["value"].is_null()
            && (&record["value"], &record["size"]) == (&event["data"], &event["size"]);
        let value = if is_as_sent {
            "as sent".to_owned()
        } else {
            value(&record["value"], &record["size"])
        };
        lines.push(format!(
            "  → {}/{}{key}{plugin} {value}",
            text(&record["destination"]),
            text(&record["topic"]),
        ));
    }
    lines
}

/// As much of a line as so many columns hold; a terminal would break it anywhere.
fn fitted(line: &str, width: Option<usize>) -> Cow<'_, str> {
    // A terminal that does not say its size says 0.
    let Some(width) = width.filter(|width| *width > 0 && Span::raw(line).width() > *width) else {
        return line.into();
    };
    let mut taken = 0;
    let mut fits: String = line
        .chars()
        .take_while(|letter| {
            taken += Span::raw(letter.to_string()).width();
            taken < width
        })
        .collect();
    fits.push('…');
    fits.into()
}

fn value(value: &Value, size: &Value) -> String {
    if value.is_null() && size != 4 {
        return format!("({size} bytes)");
    }
    printable(&value.to_string()).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_that_is_as_sent_does_not_repeat_the_event() {
        let event = json!({
            "partner": "web", "attributes": {"type": "app.opened", "id": "7", "appversion": "5.1"},
            "received": "2026-11-02T01:15:30.412Z", "status": "accepted", "size": 7, "data": {"a": 1},
            "records": [
                {"destination": "files", "topic": "app", "size": 7, "value": {"a": 1}},
                {"destination": "events", "topic": "app", "key": "k", "plugin": "cut@2", "size": 2, "value": {}},
            ],
        });
        assert_eq!(
            lines(&event.to_string()),
            [
                "01:15:30.412 web app.opened 5.1 accepted 7",
                "  event {\"a\":1}",
                "  → files/app as sent",
                "  → events/app key k by cut@2 {}",
            ]
        );
    }

    #[test]
    fn lines_are_cut_to_the_terminal_by_columns() {
        assert_eq!(fitted("plain", None), "plain");
        assert_eq!(fitted("plain", Some(0)), "plain", "nobody knows how wide it is");
        assert_eq!(fitted("plain", Some(5)), "plain");
        assert_eq!(fitted("plainer", Some(5)), "plai…");
        // A Korean letter takes two columns.
        assert_eq!(fitted("하늘에어", Some(8)), "하늘에어");
        assert_eq!(fitted("하늘에어컨", Some(8)), "하늘에…");
    }
}
