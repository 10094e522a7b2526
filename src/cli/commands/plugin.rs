//! `headworks plugin`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;
use serde_json::json;

use super::{
    plugin_case_trial, plugin_logs,
    plugin_page::{self, Plugin, number},
    plugin_trial, short_digest,
};
use crate::{
    cli::{
        arguments::{PluginCommand, Remote},
        client::{Client, Reply, Sent},
        failure::Failure,
        output::{self, Output},
        plugin_project::{self, Built, Language, ProjectError, Report, Round},
    },
    confined::OWN_PROGRAM,
    event::PluginName,
    limits::Limits,
    transform::{TransformSettings, Transformer},
};

/// A version that was uploaded.
#[derive(Deserialize)]
pub struct Uploaded {
    pub version: u32,
    pub digest: String,
}

pub async fn run(command: PluginCommand, remote: &Remote, output: &mut Output) -> Result<(), Failure> {
    match command {
        PluginCommand::New { language, name } => {
            let directory = Path::new(name.as_str());
            for file in plugin_project::new(language, &name, directory)? {
                output::line(&format!("wrote {}", file.display()))?;
            }
            output::line(&format!("try it: {}", first_steps(language, &name)))
        }
        PluginCommand::Build { path } => built(&plugin_project::build(&path)?, *output),
        PluginCommand::Test {
            path,
            version: Some(version),
            cases: Some(cases),
            ..
        } => plugin_case_trial::test(&path, version, &cases, &Client::new(remote)?, *output).await,
        PluginCommand::Test {
            path,
            version: Some(version),
            recent,
            events,
            config,
            ..
        } => {
            let asked = plugin_trial::Asked {
                version,
                recent,
                events,
                config,
            };
            plugin_trial::test(&path, &asked, &Client::new(remote)?, *output).await
        }
        PluginCommand::Test { path, cases, .. } => test(&path, cases.as_deref(), *output).await,
        PluginCommand::Dev { directory } => dev(&directory, *output).await,
        PluginCommand::Push { name, path, activate } => {
            let client = Client::new(remote)?;
            push(&name, &path, activate, &client, *output).await
        }
        PluginCommand::Activate { name, version, share } => {
            let client = Client::new(remote)?;
            let reply = activate(&name, version, share, &client).await?;
            let part = share.filter(|share| *share < 100);
            let part = part.map_or_else(String::new, |share| format!(" on {share} % of the events"));
            output.done(
                &format!("plugin {name} runs version {version}{part}"),
                &reply.text,
            )
        }
        PluginCommand::Shadow { name, version, .. } => {
            shadow(&name, version, &Client::new(remote)?, *output).await
        }
        PluginCommand::Rollback { name } => {
            let client = Client::new(remote)?;
            let reply = client.post(&["plugins", name.as_str(), "rollback"], None).await?;
            let plugin: Plugin = reply.read()?;
            output.done(
                &format!("plugin {name} runs version {}", number(plugin.active)),
                &reply.text,
            )
        }
        PluginCommand::List => list(&Client::new(remote)?, *output).await,
        PluginCommand::Logs { name, asked } => {
            plugin_logs::logs(&name, &asked, &Client::new(remote)?, *output).await
        }
        PluginCommand::Show { name } => {
            let client = Client::new(remote)?;
            let reply = client.get(&["plugins", name.as_str()], &[]).await?;
            if output.is_json() {
                return output::line(&reply.text);
            }
            plugin_page::show(reply.read()?)
        }
    }
}

async fn list(client: &Client, output: Output) -> Result<(), Failure> {
    let (items, _) = client.list(&["plugins"], &[], usize::MAX).await?;
    let rows = items
        .iter()
        .map(|item| client.parse::<Plugin>(item).map(plugin_page::row))
        .collect::<Result<_, _>>()?;
    let headers = ["NAME", "ACTIVE", "PREVIOUS", "VERSIONS", "STATUS"];
    output.list(&items, &headers, rows, "there is no plugin")
}

/// Begins a shadow, or ends it where no version is named.
async fn shadow(
    name: &PluginName,
    version: Option<u32>,
    client: &Client,
    output: Output,
) -> Result<(), Failure> {
    let Some(version) = version else {
        let reply = client.delete(&["plugins", name.as_str(), "shadow"], &[]).await?;
        return output.done(&format!("plugin {name} has no shadow"), &reply.text);
    };
    let body = Sent::json(&json!({ "version": version, "share": "shadow" }))?;
    let reply = client
        .post(&["plugins", name.as_str(), "activate"], Some(body))
        .await?;
    let sentence = format!(
        "version {version} runs beside the active one and delivers nothing; see what differs with \
         `headworks plugin show {name}`"
    );
    output.done(&sentence, &reply.text)
}

async fn push(
    name: &PluginName,
    path: &Path,
    activate: bool,
    client: &Client,
    output: Output,
) -> Result<(), Failure> {
    let component = component(path)?;
    let reply = upload(name, component, client).await?;
    let uploaded: Uploaded = reply.read()?;
    let known = if reply.created {
        ""
    } else {
        ", which it already had"
    };
    let sentence = format!(
        "plugin {name} has version {} ({}){known}",
        uploaded.version,
        short_digest(&uploaded.digest)
    );
    if !activate {
        let next = format!(
            "\nlet it run with `headworks plugin activate {name} --version {}`",
            uploaded.version
        );
        return output.done(&(sentence + &next), &reply.text);
    }
    let active = self::activate(name, uploaded.version, None, client).await?;
    output.done(&format!("{sentence}; it runs"), &active.text)
}

/// The component at `path`; a folder is built first.
fn component(path: &Path) -> Result<Vec<u8>, Failure> {
    let path = if path.is_dir() {
        plugin_project::build(path)?.path
    } else {
        path.to_owned()
    };
    std::fs::read(&path).map_err(|source| Failure::File { path, source })
}

fn built(built: &Built, output: Output) -> Result<(), Failure> {
    let facts = json!({
        "name": built.name,
        "path": built.path,
        "digest": built.facts.digest,
        "size": built.facts.size,
        "imports": built.facts.imports,
        "language": built.facts.language,
        "sdk": built.facts.sdk,
    });
    let sentence = format!(
        "built {} ({} bytes, {})",
        built.path.display(),
        built.facts.size,
        short_digest(&built.facts.digest.to_string())
    );
    output.done(&sentence, &facts.to_string())
}

/// What brings a new project to its first passed case.
fn first_steps(language: Language, name: &PluginName) -> String {
    let test = format!("headworks plugin test {name} --local");
    match language {
        Language::Rust | Language::Go => test,
        Language::Js => format!("npm install --prefix {name} && {test}"),
        Language::Python => format!(
            "python3 -m venv {name}/.venv && {name}/.venv/bin/pip install -r {name}/requirements.txt && {test}"
        ),
    }
}

/// The gateway's own host, with the compiled forms of this user's builds before.
fn transformer() -> Result<(Arc<Transformer>, Option<tempfile::TempDir>), Failure> {
    let make = |cache_dir: PathBuf| {
        Transformer::new(TransformSettings {
            limits: Limits::default(),
            cache_dir,
            compiler: OWN_PROGRAM.into(),
        })
    };
    if let Some(kept) = plugin_project::kept_compiled()
        && let Ok(transformer) = make(kept)
    {
        return Ok((transformer, None));
    }
    // Where this user's folder cannot be used, everything is compiled anew.
    let folder = tempfile::tempdir().map_err(|source| Failure::File {
        path: std::env::temp_dir(),
        source,
    })?;
    let transformer = make(folder.path().to_owned()).map_err(ProjectError::from)?;
    Ok((transformer, Some(folder)))
}

/// Runs the plugin's cases through the gateway's own host.
async fn test(path: &Path, cases: Option<&Path>, output: Output) -> Result<(), Failure> {
    let (transformer, _folder) = transformer()?;
    let report = plugin_project::test_local(path, cases, &transformer).await?;
    if output.is_json() {
        let cases: Vec<_> = report
            .cases
            .iter()
            .map(|case| json!({ "name": case.name, "passed": case.difference.is_none(), "difference": case.difference }))
            .collect();
        output::line(&json!({ "passed": report.is_passed(), "cases": cases }).to_string())?;
    } else {
        print(&report)?;
    }
    if report.is_passed() {
        Ok(())
    } else {
        Err(Failure::Said)
    }
}

/// Builds and tries at each save, until it is interrupted or nobody reads.
async fn dev(directory: &Path, output: Output) -> Result<(), Failure> {
    let (transformer, _folder) = transformer()?;
    let mut said = Ok(());
    plugin_project::dev(directory, &transformer, |round| {
        said = show_round(&round, directory, output);
        said.is_ok()
    })
    .await?;
    said
}

fn show_round(round: &Round<'_>, directory: &Path, output: Output) -> Result<(), Failure> {
    match round.report {
        Ok(report) => {
            if output.is_json() {
                let changed: Vec<_> = round.changed.iter().map(|(case, _)| case).collect();
                return output::line(
                    &json!({ "passed": report.is_passed(), "changed": changed }).to_string(),
                );
            }
            print(report)?;
        }
        Err(error) if output.is_json() => {
            return output::line(&json!({ "error": error.to_string() }).to_string());
        }
        Err(error) => output::line(&format!("error: {error}"))?,
    }
    for (case, lines) in &round.changed {
        output::line(&format!("changed by this save  {case}"))?;
        for line in lines.lines().filter(|line| !line.starts_with(' ')) {
            output::line(&format!("  {}", output::printable(line)))?;
        }
    }
    output::line(&format!("watching {}; Ctrl-C ends it", directory.display()))
}

fn print(report: &Report) -> Result<(), Failure> {
    for case in &report.cases {
        let verdict = if case.difference.is_none() {
            "passed"
        } else {
            "FAILED"
        };
        output::line(&format!(
            "{verdict}  {}  {} µs, {} KiB",
            case.name,
            case.elapsed.as_micros(),
            case.memory_bytes / 1024
        ))?;
        for line in &case.log {
            output::line(&format!(
                "  {}: {}",
                format!("{:?}", line.level).to_lowercase(),
                line.message
            ))?;
        }
        for line in case.difference.iter().flat_map(|difference| difference.lines()) {
            output::line(&format!("  {}", output::printable(line)))?;
        }
    }
    let failed = report
        .cases
        .iter()
        .filter(|case| case.difference.is_some())
        .count();
    output::line(&format!(
        "{} passed, {failed} failed",
        report.cases.len() - failed
    ))
}

/// Uploads a component as the plugin's next version.
pub async fn upload(name: &PluginName, component: Vec<u8>, client: &Client) -> Result<Reply, Failure> {
    let body = Sent {
        content_type: "application/wasm",
        bytes: component,
    };
    client
        .post(&["plugins", name.as_str(), "versions"], Some(body))
        .await
}

/// Lets a version run.
pub async fn activate(
    name: &PluginName,
    version: u32,
    share: Option<u8>,
    client: &Client,
) -> Result<Reply, Failure> {
    let mut body = json!({ "version": version });
    if let (Some(share), Some(members)) = (share, body.as_object_mut()) {
        members.insert("share".to_owned(), json!(share));
    }
    client
        .post(&["plugins", name.as_str(), "activate"], Some(Sent::json(&body)?))
        .await
}
