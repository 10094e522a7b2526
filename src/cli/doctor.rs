//! `headworks doctor`: what of this machine, this configuration and what it names would keep the gateway from its promise,
//! and what to mend.

mod disk;
mod machine;

use std::{path::Path, time::Duration};

use bytes::Bytes;
use serde::Serialize;

use super::{
    arguments::DoctorArguments,
    failure::Failure,
    output::{self, printable},
    tls::TlsArguments,
};
use crate::{
    config::{DestinationKind, Settings},
    deliver,
    store::Store,
};

/// For all that is asked over the network.
const ASK_TIME: Duration = Duration::from_secs(8);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Good,
    /// It runs; somebody should know.
    Warning,
    /// It does not run, or cannot keep its promise.
    Fault,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
struct Finding {
    what: String,
    verdict: Verdict,
    found: String,
    /// What to do, where something is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

impl Finding {
    fn good(what: impl Into<String>, found: impl Into<String>) -> Finding {
        Finding {
            what: what.into(),
            verdict: Verdict::Good,
            found: found.into(),
            mend: None,
        }
    }

    fn warning(what: impl Into<String>, found: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding {
            verdict: Verdict::Warning,
            mend: Some(mend.into()),
            ..Finding::good(what, found)
        }
    }

    fn fault(what: impl Into<String>, found: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding {
            verdict: Verdict::Fault,
            mend: Some(mend.into()),
            ..Finding::good(what, found)
        }
    }
}

pub async fn run(arguments: &DoctorArguments, config: Option<&Path>) -> Result<(), Failure> {
    let settings = crate::config::load(config, super::environment())?;
    if arguments.ready {
        return ready(&settings, &arguments.tls).await;
    }
    let mut findings = configuration(&settings);
    findings.extend(disk::look(&settings));
    findings.extend(machine::look(&settings));
    findings.push(machine::confinement().await);
    findings.push(store(&settings).await);
    for destination in &settings.destinations {
        findings.push(self::destination(destination).await);
    }
    if let Some(endpoint) = &settings.telemetry.otlp_endpoint {
        findings.push(
            reached(
                "collector",
                endpoint,
                "mend telemetry.otlp_endpoint, or leave it out",
            )
            .await,
        );
    }
    findings.push(gateway(&settings, &arguments.tls).await);
    report(&findings, arguments.json)
}

/// For a container's health check, which has no HTTP client: whether the gateway of this configuration is ready.
async fn ready(settings: &Settings, tls: &TlsArguments) -> Result<(), Failure> {
    let (is_ready, text) = readiness(settings, tls).await?;
    if is_ready {
        return output::line("ready");
    }
    Err(Failure::Unwell(format!("not ready: {}", printable(&text))))
}

/// Whether the gateway of this configuration is ready, and its reasons.
async fn readiness(settings: &Settings, tls: &TlsArguments) -> Result<(bool, String), Failure> {
    let mut address = settings.server.admin_listen;
    if address.ip().is_unspecified() {
        let loopback: std::net::IpAddr = match address {
            std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        address.set_ip(loopback);
    }
    let has_tls = settings.server.admin_tls.is_some();
    let url = format!("{}://{address}/readyz", if has_tls { "https" } else { "http" });
    let failed = |error: reqwest::Error| Failure::Unreachable {
        url: url.clone(),
        cause: error.without_url().to_string(),
    };
    let client = reqwest::Client::builder().no_proxy().timeout(ASK_TIME);
    // Asked by its address, whose certificate names hosts; nothing secret is told it.
    let client = super::tls::with(client.danger_accept_invalid_certs(has_tls), tls)?;
    let answer = client
        .build()
        .map_err(failed)?
        .get(&url)
        .send()
        .await
        .map_err(failed)?;
    let is_ready = answer.status().is_success();
    let body: serde_json::Value = answer.json().await.map_err(failed)?;
    let checks = body["checks"].as_array().into_iter().flatten();
    let reasons: Vec<String> = checks
        .filter_map(|check| {
            Some(format!(
                "{}: {}",
                check["name"].as_str()?,
                check["detail"].as_str()?
            ))
        })
        .collect();
    Ok((is_ready, reasons.join("; ")))
}

fn configuration(settings: &Settings) -> Vec<Finding> {
    let mut findings: Vec<Finding> = settings
        .warnings()
        .into_iter()
        .map(|warning| Finding::warning("configuration", warning, "change it, or let it be"))
        .collect();
    let faults = deliver::check(&settings.destinations)
        .into_iter()
        .map(|fault| fault.to_string())
        .chain(crate::store::check(&settings.store).map(|fault| fault.to_string()));
    for fault in faults {
        findings.push(Finding::fault(
            "configuration",
            fault,
            "mend the configuration file",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::good("configuration", "is in order"));
    }
    findings
}

/// Writes an object, writes it again where nothing may be, reads it and deletes it: what registry and quarantine do.
async fn store(settings: &Settings) -> Finding {
    let what = format!("store {}", settings.store.url);
    let asked = tokio::time::timeout(ASK_TIME, async {
        let store = Store::connect(&settings.store)?;
        let path = format!("doctor/{}", uuid::Uuid::new_v4());
        let text = Bytes::from_static(b"headworks doctor");
        let began = std::time::Instant::now();
        let first = store.put_if_absent(&path, text.clone()).await?;
        let second = store.put_if_absent(&path, text.clone()).await?;
        let read = store.get(&path).await?;
        store.delete(&path).await?;
        Ok::<_, crate::store::StoreError>((first && !second && read == Some(text), began.elapsed()))
    });
    let mend = "check store.url, store.options, and that this node may read, write, list and delete there";
    match asked.await {
        Ok(Ok((true, took))) => Finding::good(
            what,
            format!("takes, keeps and gives back; 4 calls in {took:.1?}"),
        ),
        Ok(Ok((false, _))) => Finding::fault(
            what,
            "does not keep to put-if-absent: two gateways could write the same change",
            "use a store that honours If-None-Match: *",
        ),
        Ok(Err(error)) => Finding::fault(what, error.to_string(), mend),
        Err(_) => Finding::fault(what, format!("does not answer within {ASK_TIME:?}"), mend),
    }
}

async fn destination(destination: &crate::config::DestinationSettings) -> Finding {
    let what = format!("destination {}", destination.name);
    let mend = "mend the destination or its settings; until then its records wait in the spool";
    if let DestinationKind::Kinesis(kinesis) = &destination.kind {
        let url = kinesis
            .endpoint_url
            .clone()
            .unwrap_or_else(|| format!("https://kinesis.{}.amazonaws.com", kinesis.region));
        return reached(&what, &url, mend).await;
    }
    match deliver::probe(destination).await {
        Ok(found) => Finding::good(
            what,
            found.unwrap_or_else(|| "cannot be asked without a record".to_owned()),
        ),
        Err(error) => Finding::warning(what, error, mend),
    }
}

/// Whether anything answers there, and how far its clock is from this one's.
async fn reached(what: &str, url: &str, mend: &str) -> Finding {
    let asked = async {
        let client = reqwest::Client::builder().timeout(ASK_TIME).build()?;
        client.get(url).send().await
    };
    match asked.await {
        Ok(answer) => {
            let date = answer.headers().get("date").and_then(|date| date.to_str().ok());
            machine::skew(what, date).unwrap_or_else(|| Finding::good(what, "answers"))
        }
        Err(error) => Finding::warning(what, error.without_url().to_string(), mend),
    }
}

/// What runs on this configuration now.
async fn gateway(settings: &Settings, tls: &TlsArguments) -> Finding {
    match readiness(settings, tls).await {
        Ok((true, reasons)) if reasons.is_empty() => Finding::good("gateway", "runs and is ready"),
        Ok((true, reasons)) => {
            Finding::warning("gateway", format!("is ready; {reasons}"), "see docs/runbook.md")
        }
        Ok((false, reasons)) => Finding::fault(
            "gateway",
            format!("is not ready: {reasons}"),
            "see docs/runbook.md",
        ),
        Err(_) => Finding::good(
            "gateway",
            format!("none runs on {}", settings.server.admin_listen),
        ),
    }
}

fn report(findings: &[Finding], json: bool) -> Result<(), Failure> {
    let count = |verdict| {
        findings
            .iter()
            .filter(|finding| finding.verdict == verdict)
            .count()
    };
    let (faults, warnings) = (count(Verdict::Fault), count(Verdict::Warning));
    if json {
        let text = serde_json::json!({"faults": faults, "warnings": warnings, "findings": findings});
        output::line(&text.to_string())?;
    } else {
        for finding in findings {
            let mark = match finding.verdict {
                Verdict::Good => "ok     ",
                Verdict::Warning => "warning",
                Verdict::Fault => "FAULT  ",
            };
            output::line(&format!(
                "{mark}  {}: {}",
                printable(&finding.what),
                printable(&finding.found)
            ))?;
            if let Some(mend) = &finding.mend {
                output::line(&format!("         → {}", printable(mend)))?;
            }
        }
    }
    match faults {
        0 => Ok(()),
        faults => Err(Failure::Unwell(format!("{faults} faults, {warnings} warnings"))),
    }
}
