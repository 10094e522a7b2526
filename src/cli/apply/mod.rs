//! `headworks apply`: makes the registry match a folder. docs/decisions/0006-apply.md says what it deletes and why.

mod execute;
mod folder;
mod order;
mod plan;
mod registry;
mod tables;
#[cfg(test)]
mod tests;
mod upgrades;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use self::{
    folder::{Folder, PluginSource},
    plan::{Plan, Step, Wanted},
};
use super::{
    arguments::ApplyArguments,
    client::Client,
    confirm::confirm,
    failure::Failure,
    output::{self, Output},
    plugin_project,
};
use crate::{event::PluginName, registry::model::Digest};

/// Components by the plugin that they are of.
type Components = BTreeMap<PluginName, Vec<u8>>;

/// Reads, compares, asks where something would be deleted, and changes.
pub async fn run(arguments: &ApplyArguments, client: &Client, output: &mut Output) -> Result<(), Failure> {
    let folder = folder::read(&arguments.directory)?;
    let current = registry::read(client).await?;
    let registered: BTreeSet<PluginName> = current.plugins.keys().cloned().collect();
    folder::check_plugins_of_routes(&arguments.directory, &folder, &registered)?;
    let components = components(&folder)?;
    let mut plan = plan::plan(wanted(folder, &components), &current);
    let held = registry::partners_in_use(client, &mut plan.deletions).await?;
    let kept = if arguments.keep {
        std::mem::take(&mut plan.deletions)
    } else {
        Vec::new()
    };
    if arguments.dry_run {
        return print_plan(&plan, &kept, &held, *output);
    }
    if !plan.deletions.is_empty() && !arguments.yes {
        ask(&plan.deletions)?;
    }
    let done = execute::execute(&plan, &components, client, *output).await;
    if !arguments.keep {
        for partner in &held {
            output::note(&format!("error: {}", partner.refusal()));
        }
    }
    let is_whole = done.failed == 0 && (held.is_empty() || arguments.keep);
    summary(&plan, &done, &kept, &held, *output)?;
    if is_whole { Ok(()) } else { Err(Failure::Said) }
}

/// A partner that the folder does not hold and that still has live keys.
#[derive(Debug)]
pub struct Held {
    name: crate::event::PartnerName,
    live_keys: usize,
}

impl Held {
    fn refusal(&self) -> String {
        format!(
            "partner {} is not in the folder and stays: it has {} live {}, and whoever sends with them would lose \
             events; revoke them first (`headworks key list {}`)",
            self.name,
            self.live_keys,
            if self.live_keys == 1 { "key" } else { "keys" },
            self.name
        )
    }
}

/// Reads or builds every component.
fn components(folder: &Folder) -> Result<Components, Failure> {
    let mut components = Components::new();
    for (name, source) in &folder.plugins {
        let path = match source {
            PluginSource::Component(path) => path.clone(),
            PluginSource::Source(directory) => {
                output::progress(&format!("building plugin {name}"));
                plugin_project::build(directory)?.path
            }
        };
        let component = std::fs::read(&path).map_err(|source| Failure::File { path, source })?;
        components.insert(name.clone(), component);
    }
    Ok(components)
}

fn wanted(folder: Folder, components: &Components) -> Wanted {
    Wanted {
        partners: folder.partners,
        types: folder.types,
        schemas: folder.schemas,
        references: folder.references,
        upgrades: folder.upgrades,
        tables: folder.tables,
        routes: folder.routes,
        plugins: components
            .iter()
            .map(|(name, component)| (name.clone(), Digest::of(component)))
            .collect(),
    }
}

fn ask(deletions: &[Step]) -> Result<(), Failure> {
    output::note("Not in the folder, and to be deleted:");
    for step in deletions {
        output::note(&format!("  {} {}", step.kind(), step.name()));
    }
    let count = deletions.len();
    let what = if count == 1 { "it" } else { "them" };
    confirm(
        &format!("Delete {what}?"),
        &format!(
            "the registry holds {count} {} that the folder does not; nothing was changed: give --yes to delete \
             {what}, or --keep to leave {what}",
            if count == 1 { "resource" } else { "resources" }
        ),
    )
}

fn print_plan(plan: &Plan, kept: &[Step], held: &[Held], output: Output) -> Result<(), Failure> {
    if output.is_json() {
        return output::line(&document(plan, None, kept, held, true).to_string());
    }
    let steps: Vec<&Step> = plan.changes.iter().chain(&plan.deletions).collect();
    if steps.is_empty() {
        output::line(&format!(
            "nothing to change: {} as wanted",
            resources(plan.unchanged)
        ))?;
    } else {
        let row = |step: &&Step| vec![step.action().to_owned(), step.kind().to_owned(), step.name()];
        output::table(&["ACTION", "KIND", "NAME"], steps.iter().map(row).collect())?;
    }
    remarks(kept, held);
    Ok(())
}

fn remarks(kept: &[Step], held: &[Held]) {
    if !kept.is_empty() {
        output::note(&format!("{} not in the folder: kept", resources(kept.len())));
    }
    for partner in held {
        output::note(&partner.refusal());
    }
}

fn summary(
    plan: &Plan,
    done: &execute::Done,
    kept: &[Step],
    held: &[Held],
    output: Output,
) -> Result<(), Failure> {
    if output.is_json() {
        return output::line(&document(plan, Some(done), kept, held, false).to_string());
    }
    if !kept.is_empty() {
        output::note(&format!("{} not in the folder: kept", resources(kept.len())));
    }
    if plan.changes.is_empty() && plan.deletions.is_empty() {
        return output::line(&format!(
            "nothing to change: {} as wanted",
            resources(plan.unchanged)
        ));
    }
    let failed = if done.failed == 0 {
        String::new()
    } else {
        format!(", {} failed", done.failed)
    };
    output::line(&format!(
        "{} created, {} changed, {} deleted, {} unchanged{failed}",
        done.created, done.changed, done.deleted, plan.unchanged
    ))
}

fn document(
    plan: &Plan,
    done: Option<&execute::Done>,
    kept: &[Step],
    held: &[Held],
    dry_run: bool,
) -> serde_json::Value {
    let step = |step: &Step| json!({ "action": step.action(), "kind": step.kind(), "name": step.name() });
    let kept = kept.iter().map(|step| (step.kind(), step.name()));
    let held = held.iter().map(|held| ("partner", held.name.to_string()));
    json!({
        "dry_run": dry_run,
        "steps": plan.changes.iter().chain(&plan.deletions).map(step).collect::<Vec<_>>(),
        "kept": kept
            .chain(held)
            .map(|(kind, name)| json!({ "kind": kind, "name": name }))
            .collect::<Vec<_>>(),
        "unchanged": plan.unchanged,
        "failed": done.map_or(0, |done| done.failed),
    })
}

fn resources(count: usize) -> String {
    match count {
        1 => "1 resource".to_owned(),
        count => format!("{count} resources"),
    }
}
