//! `headworks plugin test NAME --version N --cases DIR`: the cases on a gateway, beside the active version.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    plugin_page::Difference,
    plugin_trial::{Line, plugin_name},
};
use crate::{
    cli::{
        client::{Client, Sent},
        failure::Failure,
        output::{self, Output},
        plugin_project::{self, CaseFile},
    },
    event::PluginName,
    limits::PLUGIN_TEST_EVENTS,
};

/// What stands between a version's name and what it has against a configuration.
const REFUSES: &str = " refuses its configuration: ";

#[derive(Deserialize)]
struct Report<T> {
    results: Vec<T>,
}

#[derive(Deserialize)]
struct Tried {
    verdict: String,
    made: Value,
    #[serde(default)]
    differences: Vec<Difference>,
    #[serde(default)]
    impure: Vec<Difference>,
    #[serde(default)]
    log: Vec<Line>,
}

/// What became of one case.
struct Outcome {
    name: String,
    /// Absent where the case failed by nothing.
    fault: Option<String>,
    /// Absent where the version was not called.
    tried: Option<Tried>,
    /// As the gateway answered.
    answered: Value,
}

pub async fn test(
    path: &Path,
    version: u32,
    folder: &Path,
    client: &Client,
    output: Output,
) -> Result<(), Failure> {
    let name = plugin_name(path)?;
    let mut outcomes = Vec::new();
    for (config, cases) in by_config(plugin_project::case_files(folder)?) {
        for cases in cases.chunks(PLUGIN_TEST_EVENTS) {
            outcomes.extend(run(&name, version, &config, cases, client).await?);
        }
    }
    outcomes.sort_by(|one, two| one.name.cmp(&two.name));
    let is_passed = outcomes.iter().all(Outcome::is_passed);
    if output.is_json() {
        let cases: Vec<Value> = outcomes.iter().map(Outcome::to_json).collect();
        output::line(&json!({ "passed": is_passed, "cases": cases }).to_string())?;
    } else {
        print(&outcomes)?;
    }
    if is_passed { Ok(()) } else { Err(Failure::Said) }
}

/// A request has one configuration. A case without any is one of `{}`, as on its author's machine.
fn by_config(cases: Vec<CaseFile>) -> Vec<(Value, Vec<CaseFile>)> {
    let mut groups: Vec<(Value, Vec<CaseFile>)> = Vec::new();
    for case in cases {
        let config = case.config.clone().unwrap_or_else(|| json!({}));
        match groups.iter_mut().find(|(known, _)| *known == config) {
            Some((_, cases)) => cases.push(case),
            None => groups.push((config, vec![case])),
        }
    }
    groups
}

async fn run(
    name: &PluginName,
    version: u32,
    config: &Value,
    cases: &[CaseFile],
    client: &Client,
) -> Result<Vec<Outcome>, Failure> {
    let reply = client
        .post(
            &["plugins", name.as_str(), "test"],
            Some(body(version, config, cases)),
        )
        .await;
    let reply = match reply {
        Ok(reply) => reply,
        Err(Failure::Refused(refusal)) if refusal.code == "configuration-refused" => {
            let refused = cases.iter().map(|case| Outcome::refused(case, &refusal.detail));
            return Ok(refused.collect());
        }
        Err(failure) => return Err(failure),
    };
    let tried: Report<Tried> = reply.read()?;
    let answered: Report<Value> = reply.read()?;
    let mut results = tried.results.into_iter().zip(answered.results);
    Ok(cases
        .iter()
        .map(|case| Outcome::of(case, results.next()))
        .collect())
}

fn body(version: u32, config: &Value, cases: &[CaseFile]) -> Sent {
    let events: Vec<&str> = cases.iter().map(|case| case.event.as_str()).collect();
    let events = events.join(",");
    Sent {
        content_type: "application/json",
        bytes: format!("{{\"version\": {version}, \"config\": {config}, \"cases\": [{events}]}}")
            .into_bytes(),
    }
}

impl Outcome {
    /// Results come in the order of the cases; the last ones are missing where the gateway had no time left for them.
    fn of(case: &CaseFile, result: Option<(Tried, Value)>) -> Outcome {
        let Some((tried, answered)) = result else {
            return Outcome {
                name: case.name.clone(),
                fault: Some("the gateway had no time left for it".to_owned()),
                tried: None,
                answered: Value::Null,
            };
        };
        Outcome {
            name: case.name.clone(),
            fault: unexpected(&case.expected, &tried.made),
            tried: Some(tried),
            answered,
        }
    }

    /// The version has another name and number here than in its cases.
    fn refused(case: &CaseFile, detail: &str) -> Outcome {
        let reason = |text: &str| {
            text.split_once(REFUSES)
                .map_or(text, |(_, reason)| reason)
                .to_owned()
        };
        let is_expected = case.expected["refused"]
            .as_str()
            .is_some_and(|expected| reason(expected) == reason(detail));
        let made = json!({ "refused": detail });
        Outcome {
            name: case.name.clone(),
            fault: if is_expected {
                None
            } else {
                unexpected(&case.expected, &made)
            },
            tried: None,
            answered: json!({ "made": made }),
        }
    }

    fn is_passed(&self) -> bool {
        self.fault.is_none() && self.tried.as_ref().is_none_or(|tried| tried.impure.is_empty())
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name, "passed": self.is_passed(), "difference": self.fault, "result": self.answered,
        })
    }
}

fn unexpected(expected: &Value, made: &Value) -> Option<String> {
    (expected != made).then(|| {
        format!(
            "expected (-) and what the version made of it (+):\n{}",
            plugin_project::lines_changed(expected, made)
        )
    })
}

fn print(outcomes: &[Outcome]) -> Result<(), Failure> {
    for outcome in outcomes {
        let passed = if outcome.is_passed() { "passed" } else { "FAILED" };
        let verdict = outcome
            .tried
            .as_ref()
            .map_or("not called", |tried| tried.verdict.as_str());
        output::line(&format!("{passed}  {}  {verdict}", outcome.name))?;
        for line in outcome.fault.iter().flat_map(|fault| fault.lines()) {
            output::line(&format!("  {}", output::printable(line)))?;
        }
        let Some(tried) = &outcome.tried else {
            continue;
        };
        for difference in &tried.differences {
            output::line(&format!("  beside the active version: {}", difference.told()))?;
        }
        for difference in &tried.impure {
            output::line(&format!("  in a used instance: {}", difference.told()))?;
        }
        for line in &tried.log {
            output::line(&format!("  {}", line.told()))?;
        }
    }
    let passed = outcomes.iter().filter(|outcome| outcome.is_passed()).count();
    let verdicts = outcomes.iter().filter_map(|outcome| outcome.tried.as_ref());
    let different = verdicts.filter(|tried| tried.verdict == "different").count();
    output::line(&format!(
        "{passed} passed, {} failed; {different} different from the active version",
        outcomes.len() - passed
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{CaseFile, Outcome, Tried, body, by_config};

    fn case(name: &str, config: Option<Value>, expected: Value) -> CaseFile {
        CaseFile {
            name: name.to_owned(),
            event: format!("{{\"id\": \"{name}\", \"data\": {{\"n\": 1.50}}}}"),
            config,
            expected,
        }
    }

    #[test]
    fn cases_of_one_configuration_are_one_request() {
        let groups = by_config(vec![
            case("a", None, json!([])),
            case("b", Some(json!({"n": 1})), json!([])),
            case("c", Some(json!({})), json!([])),
        ]);
        let names: Vec<Vec<&str>> = groups
            .iter()
            .map(|(_, cases)| cases.iter().map(|case| case.name.as_str()).collect())
            .collect();
        assert_eq!(names, [vec!["a", "c"], vec!["b"]]);
        let (config, cases) = &groups[0];
        let text = String::from_utf8(body(3, config, cases).bytes).expect("it is text");
        assert!(text.contains("{\"n\": 1.50}"), "byte for byte: {text}");
        let sent: Value = serde_json::from_str(&text).expect("it is JSON");
        assert_eq!((&sent["version"], &sent["config"]), (&json!(3), &json!({})));
        assert_eq!(sent["cases"][1]["id"], "c");
    }

    #[test]
    fn a_case_fails_where_something_else_came_or_nothing() {
        let tried = |made: Value| {
            let answered = json!({ "verdict": "same", "made": made });
            let tried: Tried = serde_json::from_value(answered.clone()).expect("a result");
            Some((tried, answered))
        };
        let expected = case("a", None, json!([{"data": 1}]));
        assert!(Outcome::of(&expected, tried(json!([{"data": 1}]))).is_passed());
        let other = Outcome::of(&expected, tried(json!([{"data": 2}])));
        assert!(other.fault.is_some_and(|fault| fault.contains("\"data\": 2")));
        assert!(!Outcome::of(&expected, None).is_passed());

        let refused = case(
            "b",
            None,
            json!({"refused": "mine@1 refuses its configuration: n is 1"}),
        );
        let detail = "theirs@7 refuses its configuration: n is 1";
        assert!(Outcome::refused(&refused, detail).is_passed());
        assert!(!Outcome::refused(&refused, "theirs@7 refuses its configuration: n is 2").is_passed());
        assert!(!Outcome::refused(&expected, detail).is_passed());
    }
}
