//! What stands ready for operators is held to what is there: dashboards and alerts to the catalogue of metrics, alerts to
//! the runbook, deployments to the configuration.

use std::collections::BTreeSet;

use headworks::telemetry::{Kind, catalogue};
use serde_json::Value;

use crate::repository::{files, read};

/// Every name under which Prometheus may ask for a metric of ours.
fn queryable() -> BTreeSet<String> {
    let mut names = BTreeSet::from(["up".to_owned()]);
    for instrument in catalogue::ALL {
        let name = instrument.prometheus_name();
        if instrument.kind == Kind::Histogram {
            names.extend(["bucket", "sum", "count"].map(|part| format!("{name}_{part}")));
        } else {
            names.insert(name);
        }
    }
    names
}

/// Labels that a metric of this name has; `instance`, `job` and `le` are Prometheus' own.
fn labels_of(metric: &str) -> BTreeSet<String> {
    let own = ["instance", "job", "le"].map(str::to_owned);
    let base = |name: &str| {
        ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|part| name.strip_suffix(part))
            .unwrap_or(name)
            .to_owned()
    };
    let mut instruments = catalogue::ALL.iter();
    let found = instruments.find(|instrument| {
        let name = instrument.prometheus_name();
        name == metric || name == base(metric)
    });
    let labels = found.map_or(&[][..], |instrument| instrument.labels);
    own.into_iter()
        .chain(labels.iter().map(|label| label.replace('.', "_")))
        .collect()
}

/// Words of an expression that name metrics, each with the labels that its selector asks for. Words of PromQL are known.
#[expect(clippy::too_many_lines, reason = "a reader of one small language")]
fn selectors(expression: &str) -> Vec<(String, Vec<String>)> {
    const WORDS: [&str; 24] = [
        "sum",
        "max",
        "min",
        "by",
        "rate",
        "increase",
        "histogram_quantile",
        "on",
        "group_left",
        "or",
        "and",
        "predict_linear",
        "without",
        "ignoring",
        "unless",
        "avg",
        "count",
        "abs",
        "clamp_min",
        "label_values",
        "offset",
        "bool",
        "time",
        "inf",
    ];
    let mut found = Vec::new();
    let characters: Vec<char> = expression.chars().collect();
    let is_word = |character: char| character.is_ascii_alphanumeric() || character == '_' || character == ':';
    let mut at = 0;
    while at < characters.len() {
        let character = characters[at];
        if character == '"' {
            at += 1 + characters[at + 1..]
                .iter()
                .position(|end| *end == '"')
                .expect("a string ends");
        } else if character == '[' {
            at += characters[at..]
                .iter()
                .position(|end| *end == ']')
                .expect("a range ends");
        } else if character.is_ascii_alphabetic() || character == '_' {
            let end = at + characters[at..].iter().take_while(|next| is_word(**next)).count();
            let word: String = characters[at..end].iter().collect();
            let next = characters[end..].iter().find(|next| !next.is_whitespace());
            if matches!(word.as_str(), "by" | "on" | "group_left" | "without" | "ignoring") {
                at = end;
                if next == Some(&'(') {
                    at += characters[at..]
                        .iter()
                        .position(|end| *end == ')')
                        .expect("a list ends");
                }
                continue;
            }
            if !WORDS.contains(&word.as_str()) {
                let mut labels = Vec::new();
                let mut rest = end;
                if next == Some(&'{') {
                    let close = end
                        + characters[end..]
                            .iter()
                            .position(|end| *end == '}')
                            .expect("it ends");
                    let inside: String = characters[end + 1..close].iter().collect();
                    for part in inside.split(',').filter(|part| !part.trim().is_empty()) {
                        let name: String = part.trim().chars().take_while(|next| is_word(*next)).collect();
                        labels.push(name);
                    }
                    rest = close;
                }
                found.push((word, labels));
                at = rest;
                continue;
            }
            at = end;
            continue;
        }
        at += 1;
    }
    found
}

/// Names of labels after `by (`.
fn grouped(expression: &str) -> Vec<String> {
    let groups = expression.split(" by (").skip(1);
    groups
        .flat_map(|rest| rest.split(')').next().unwrap_or_default().split(','))
        .map(|label| label.trim().to_owned())
        .collect()
}

fn check(place: &str, expression: &str) {
    let known = queryable();
    let mut labels = BTreeSet::new();
    let selected = selectors(expression);
    assert!(!selected.is_empty(), "{place}: {expression} names no metric");
    for (metric, asked) in selected {
        assert!(
            known.contains(&metric),
            "{place}: {metric} is no metric: {expression}"
        );
        let has = labels_of(&metric);
        for label in asked {
            assert!(
                has.contains(&label),
                "{place}: {metric} has no label {label:?}: {expression}"
            );
        }
        labels.extend(has);
    }
    for label in grouped(expression) {
        assert!(
            labels.contains(&label),
            "{place}: nothing has the label {label:?}: {expression}"
        );
    }
    let balance = |open: char, close: char| {
        let count = |wanted: char| expression.matches(wanted).count();
        count(open) == count(close)
    };
    assert!(
        balance('(', ')') && balance('{', '}') && balance('[', ']'),
        "{place}: {expression}"
    );
}

#[test]
fn dashboards_ask_for_metrics_that_there_are() {
    let mut panels = 0;
    for name in ["overview", "partners", "delivery"] {
        let path = format!("deploy/grafana/{name}.json");
        let dashboard: Value = serde_json::from_str(&read(&path)).expect("JSON");
        for panel in dashboard["panels"].as_array().expect("panels") {
            panels += 1;
            for target in panel["targets"].as_array().expect("targets") {
                check(
                    &format!("{path}: {}", panel["title"]),
                    target["expr"].as_str().expect("an expression"),
                );
            }
        }
        for variable in dashboard["templating"]["list"].as_array().expect("variables") {
            let query = variable["query"].as_str().expect("a query");
            let inside = query
                .strip_prefix("label_values(")
                .and_then(|rest| rest.strip_suffix(')'));
            let (metric, label) = inside
                .and_then(|inside| inside.split_once(", "))
                .expect("a metric and a label");
            assert!(
                labels_of(metric).contains(label) && queryable().contains(metric),
                "{path}: {query}"
            );
        }
    }
    assert!(panels > 30);
}

/// The `alert: NAME` and `expr:` of each rule; the file is checked whole by promtool in `make check-deploy`.
fn alerts() -> Vec<(String, String)> {
    let text = read("deploy/prometheus/alerts.yaml");
    let mut alerts: Vec<(String, String)> = Vec::new();
    let mut is_folded = false;
    for line in text.lines() {
        let trimmed = line.trim_start();
        if let Some(name) = trimmed.strip_prefix("- alert: ") {
            alerts.push((name.to_owned(), String::new()));
        } else if let Some(expression) = trimmed.strip_prefix("expr: ") {
            is_folded = expression == ">-";
            if !is_folded {
                alerts.last_mut().expect("in a rule").1 = expression.to_owned();
            }
        } else if is_folded && line.starts_with("          ") {
            let expression = &mut alerts.last_mut().expect("in a rule").1;
            expression.push_str(trimmed);
            expression.push(' ');
        } else {
            is_folded = false;
        }
    }
    alerts
}

#[test]
fn every_alert_asks_for_what_there_is_and_has_its_page() {
    let runbook = read("docs/runbook.md");
    let rules = read("deploy/prometheus/alerts.yaml");
    let alerts = alerts();
    assert!(alerts.len() >= 15);
    for (name, expression) in &alerts {
        check(name, expression);
        let link = format!("runbook: docs/runbook.md#{}", name.to_lowercase());
        assert!(rules.contains(&link), "{name} does not lead to its page");
        let (_, section) = runbook
            .split_once(&format!("\n## {name}\n"))
            .unwrap_or_else(|| panic!("{name} has no page"));
        let section = section.split("\n## ").next().expect("a section");
        for part in ["**Means.**", "**Look", "**Do.**"] {
            assert!(
                section.contains(part) || section.contains("**Look, do.**"),
                "{name}'s page does not say {part}"
            );
        }
    }
    let pages = runbook.lines().filter_map(|line| line.strip_prefix("## "));
    for page in pages {
        assert!(alerts.iter().any(|(name, _)| name == page), "{page} is no alert");
    }
}

/// promtool runs the cases, in `make deploy`; here, that no alert is without one that fires and one that does not.
#[test]
fn every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() {
    let text = read("deploy/prometheus/alerts.test.yaml");
    // A case is one of a list, over one line or several.
    let cases: Vec<&str> = text.split("eval_time:").skip(1).collect();
    for (name, _) in alerts() {
        let firing = cases.iter().filter_map(|case| {
            let (_, rest) = case.split_once("alertname: ")?;
            let (found, rest) = rest.split_at(rest.find([',', '\n'])?);
            let (_, expected) = rest.split_once("exp_alerts:")?;
            (found == name).then(|| !expected.starts_with(" []"))
        });
        let firing: BTreeSet<bool> = firing.collect();
        assert_eq!(firing, BTreeSet::from([false, true]), "{name}");
    }
}

#[test]
fn the_documentation_lists_every_metric() {
    let text = read("docs/observability.md");
    for instrument in catalogue::ALL {
        let row = format!("| `{}` |", instrument.prometheus_name());
        assert!(text.contains(&row), "docs/observability.md lacks {row}");
    }
}

/// What compose sets in the environment of the gateway.
fn environment(compose: &str) -> Vec<(String, String)> {
    let lines = compose.lines().filter_map(|line| line.trim().split_once(": "));
    let own = lines.filter(|(name, _)| name.starts_with("HEADWORKS__"));
    own.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
        .collect()
}

#[test]
fn configurations_of_deployments_are_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |text: &str, environment: &[(String, String)]| {
        let file = folder.path().join("headworks.toml");
        std::fs::write(&file, text).expect("written");
        std::process::Command::new(env!("CARGO_BIN_EXE_headworks"))
            .args(["config", "check"])
            .arg(&file)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .output()
            .expect("the command runs")
    };
    let check = |text: &str, environment: &[(String, String)], place: &str| {
        let output = run(text, environment);
        assert!(
            output.status.success(),
            "{place}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    let image = read("deploy/headworks.toml");
    check(&image, &[], "deploy/headworks.toml");
    let composed = environment(&read("deploy/compose/compose.yaml"));
    assert!(composed.len() >= 2, "{composed:?}");
    check(&image, &composed, "deploy/compose/compose.yaml");
    // They are read: one that says nonsense is found.
    for name in composed.iter().map(|(name, _)| name) {
        let broken: Vec<(String, String)> = composed
            .iter()
            .map(|(other, value)| (other.clone(), if other == name { "" } else { value }.to_owned()))
            .collect();
        assert!(!run(&image, &broken).status.success(), "{name} is not read");
    }
    let systemd = read("deploy/systemd/headworks.service");
    let systemd: Vec<(String, String)> = systemd
        .lines()
        .filter_map(|line| line.strip_prefix("Environment=")?.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    assert!(!systemd.is_empty());
    check(&image, &systemd, "deploy/systemd/headworks.service");
    let values = read("deploy/helm/headworks/values.yaml");
    let (_, config) = values.split_once("config: |\n").expect("a configuration");
    let config: String = config
        .lines()
        .map_while(|line| line.strip_prefix("  "))
        .map(|line| format!("{line}\n"))
        .collect();
    check(&config, &[], "deploy/helm/headworks/values.yaml");
    assert!(files("deploy", "yaml").len() > 5);
}

/// `make deploy` runs what the image holds; here, what would let something in that has no business there.
#[test]
fn the_image_is_of_the_sources_alone_and_of_no_one_architecture() {
    let dockerfile = read("deploy/Dockerfile");
    assert!(
        dockerfile.contains("USER 65532") && dockerfile.contains("deploy/image target/release/headworks")
    );
    // The gateway could change what it runs.
    assert!(
        !dockerfile.contains("--chown") && dockerfile.contains("chown 65532:65532 /image/var/lib/headworks"),
        "only the data is its user's"
    );
    assert!(read("deploy/image").contains("headworks.toml"));
    for text in [&dockerfile, &read("deploy/image")] {
        assert!(!text.contains("x86_64") && !text.contains("aarch64"), "{text}");
    }
    let ignored = read(".dockerignore");
    let ignored: BTreeSet<&str> = ignored.lines().collect();
    for pattern in read(".gitignore").lines() {
        let name = pattern.trim_matches('/');
        let anywhere = format!("**/{name}");
        let stays_out = ignored.contains(anywhere.as_str())
            || (name.contains('/') || pattern.starts_with('/')) && ignored.contains(name);
        assert!(stays_out, ".dockerignore lets {pattern} in");
    }
    assert!(ignored.contains(".git"));
}
