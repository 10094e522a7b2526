//! `headworks quarantine`.

use std::num::NonZeroU32;

use serde_json::json;
use uuid::Uuid;

use super::short_time;
use crate::{
    cli::{
        arguments::{FilterArguments, QuarantineCommand},
        client::{Client, Sent},
        confirm::confirm,
        failure::Failure,
        output::{self, Bar, Output},
    },
    quarantine::{Item, Report, WholeItem},
};

pub async fn run(command: QuarantineCommand, client: &Client, output: &mut Output) -> Result<(), Failure> {
    match command {
        QuarantineCommand::List { filter, limit } => list(&filter, limit, client, *output).await,
        QuarantineCommand::Show { id } => {
            let reply = client.get(&["quarantine", &id], &[]).await?;
            if output.is_json() {
                return output::line(&reply.text);
            }
            show(&reply.read()?)
        }
        QuarantineCommand::Replay { filter, dry_run } => {
            let report = sweep("replay", &filter, dry_run, client).await?;
            let sentence = if dry_run {
                format!(
                    "{}: {} would go out, {} would wait on",
                    events(report.matched),
                    report.accepted,
                    report.quarantined
                )
            } else {
                format!(
                    "{} replayed: {} accepted, {} back in quarantine",
                    events(report.matched),
                    report.accepted,
                    report.quarantined
                )
            };
            print(&sentence, report, *output)
        }
        QuarantineCommand::Discard { filter, dry_run, yes } => {
            if dry_run {
                let report = call("discard", &filter, true, None, client).await?;
                return print(
                    &format!("{} would be discarded", events(report.total)),
                    report,
                    *output,
                );
            }
            if !yes {
                let counted = call("discard", &filter, true, None, client).await?;
                if counted.total > 0 {
                    confirm(
                        &format!("Throw away {} for good?", events(counted.total)),
                        "nothing was discarded: say yes on the terminal, or give --yes",
                    )?;
                }
            }
            let report = sweep("discard", &filter, false, client).await?;
            print(
                &format!("{} discarded", events(report.discarded)),
                report,
                *output,
            )
        }
    }
}

async fn list(
    filter: &FilterArguments,
    limit: NonZeroU32,
    client: &Client,
    output: Output,
) -> Result<(), Failure> {
    let members = members(filter);
    let query: Vec<(&str, &str)> = members
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let limit = usize::try_from(limit.get()).unwrap_or(usize::MAX);
    let (items, more) = client.list(&["quarantine"], &query, limit).await?;
    let rows = items
        .iter()
        .map(|item| client.parse::<Item>(item).map(row))
        .collect::<Result<_, _>>()?;
    let headers = [
        "ID",
        "RECEIVED",
        "PARTNER",
        "TYPE",
        "APPVERSION",
        "CODE",
        "DETAIL",
    ];
    output.list(&items, &headers, rows, "nothing is in quarantine")?;
    if more {
        output::note(&format!(
            "there are more than {limit}: narrow the filter or raise --limit"
        ));
    }
    Ok(())
}

fn row(item: Item) -> Vec<String> {
    vec![
        item.id,
        short_time(&item.received.to_string()),
        item.partner,
        item.event_type,
        item.app_version.unwrap_or_default(),
        item.code.to_string(),
        item.detail,
    ]
}

fn show(whole: &WholeItem) -> Result<(), Failure> {
    let item = &whole.item;
    output::pairs(&[
        ("id", item.id.clone()),
        ("event id", item.event_id.clone()),
        ("received", item.received.to_string()),
        ("partner", item.partner.clone()),
        ("type", item.event_type.clone()),
        ("source", item.source.clone()),
        ("appversion", item.app_version.clone().unwrap_or_default()),
        ("code", item.code.to_string()),
        ("detail", item.detail.clone()),
        ("size", format!("{} bytes", item.size)),
    ])?;
    for error in &item.errors {
        let pointer = if error.pointer.is_empty() {
            "(root)"
        } else {
            &error.pointer
        };
        output::line(&format!(
            "  {}: {} ({})",
            output::printable(pointer),
            output::printable(&error.message),
            output::printable(&error.keyword)
        ))?;
    }
    output::line("data")?;
    output::line(whole.data.get())
}

async fn call(
    action: &str,
    filter: &FilterArguments,
    dry_run: bool,
    after: Option<Uuid>,
    client: &Client,
) -> Result<Report, Failure> {
    let mut body = serde_json::Map::new();
    for (name, value) in members(filter) {
        body.insert(name.to_owned(), json!(value));
    }
    body.insert("dry_run".to_owned(), json!(dry_run));
    if let Some(after) = after {
        body.insert("after".to_owned(), json!(after));
    }
    let reply = client
        .post(&["quarantine", action], Some(Sent::json(&body)?))
        .await?;
    reply.read()
}

/// One replay or discard after the other until all that matches was taken once.
async fn sweep(
    action: &str,
    filter: &FilterArguments,
    dry_run: bool,
    client: &Client,
) -> Result<Report, Failure> {
    let mut total = Report::default();
    let mut bar: Option<Bar> = None;
    let mut after = None;
    loop {
        let report = call(action, filter, dry_run, after, client).await?;
        if total.total == 0 {
            total.total = report.total;
        }
        total.matched += report.matched;
        total.accepted += report.accepted;
        total.quarantined += report.quarantined;
        total.discarded += report.discarded;
        if !report.more {
            return Ok(total);
        }
        bar.get_or_insert_with(|| Bar::new(total.total, "events"))
            .set(total.matched);
        after = report.next;
        // What cannot be discarded now, since it is just being replayed, would be met for ever.
        if after.is_none() && report.discarded == 0 {
            total.more = true;
            return Ok(total);
        }
    }
}

fn members(filter: &FilterArguments) -> Vec<(&'static str, String)> {
    let given = [
        ("partner", filter.partner.as_ref().map(ToString::to_string)),
        ("type", filter.event_type.as_ref().map(ToString::to_string)),
        ("appversion", filter.appversion.clone()),
        ("code", filter.code.map(|code| code.to_string())),
        ("from", filter.from.map(|time| time.to_string())),
        ("to", filter.to.map(|time| time.to_string())),
    ];
    given
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| (name, value)))
        .collect()
}

fn events(count: u64) -> String {
    match count {
        1 => "1 event".to_owned(),
        count => format!("{count} events"),
    }
}

fn print(sentence: &str, report: Report, output: Output) -> Result<(), Failure> {
    let json = serde_json::to_string(&report).unwrap_or_default();
    output.done(sentence, &json)
}
