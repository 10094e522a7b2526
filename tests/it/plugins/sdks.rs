//! Every SDK by the same cases, and by those of its own traps.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use headworks::{
    cli::plugin_project::{self, CaseReport},
    registry::model::Sdk,
    transform::{Transformer, TrialInstance},
};

use super::{build, component, event, make_transformer, repository};

const LANGUAGES: [&str; 4] = ["rust", "js", "python", "go"];

/// The host of these tests, with the compiled forms of runs before: compiling Python takes many seconds.
fn kept_transformer() -> &'static Arc<Transformer> {
    static SHARED: OnceLock<Arc<Transformer>> = OnceLock::new();
    SHARED.get_or_init(|| {
        // Interpreters take their time in a host without optimisation, and these tests ask what comes out.
        make_transformer(&repository().join(".cache/plugins"), 1000)
    })
}

fn conformance(language: &str) -> PathBuf {
    repository().join("sdk/conformance").join(language)
}

async fn run(language: &str, cases: &Path) -> Vec<CaseReport> {
    run_project(&conformance(language), language, cases).await
}

async fn run_project(project: &Path, language: &str, cases: &Path) -> Vec<CaseReport> {
    let built = build(project);
    plugin_project::run_cases(&built, cases, kept_transformer())
        .await
        .unwrap_or_else(|error| panic!("{language}: {error}"))
}

/// All differences at once: a run takes long.
fn failed(language: &str, reports: &[CaseReport]) -> Vec<String> {
    let differences = reports.iter().filter_map(|case| {
        let difference = case.difference.as_ref()?;
        Some(format!("{language}, {}: {difference}", case.name))
    });
    differences.collect()
}

async fn conforms(language: &str) {
    let common = run(language, &repository().join("sdk/conformance/cases")).await;
    assert!(common.len() >= 20, "{}", common.len());
    let own = run(language, &conformance(language).join("cases")).await;
    assert!(own.len() >= 5, "{}", own.len());
    let mut failed = failed(language, &common);
    failed.extend(self::failed(language, &own));
    let examples = repository().join("sdk/examples");
    let cases = run_project(&examples.join(language), language, &examples.join("cases")).await;
    assert!(cases.len() >= 10, "{}", cases.len());
    failed.extend(self::failed(language, &cases));
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

#[tokio::test]
async fn rust_conforms() {
    conforms("rust").await;
}

#[tokio::test]
async fn javascript_conforms() {
    conforms("js").await;
}

#[tokio::test]
async fn python_conforms() {
    conforms("python").await;
}

#[tokio::test]
async fn go_conforms() {
    conforms("go").await;
}

#[tokio::test]
async fn what_a_plugin_prints_is_in_the_log() {
    let lines: [(&str, &[&str]); 4] = [
        ("rust", &["Info: a line"]),
        ("js", &["Info: a line", r#"Info: two {"three":[4]} "5n""#]),
        (
            "python",
            &["Info: a line", "Info: two 3", "Warn: to standard error"],
        ),
        (
            "go",
            &[
                "Info: a line",
                "Info: two 3",
                "Info: not ended",
                "Warn: to standard error",
            ],
        ),
    ];
    for (language, expected) in lines {
        let plugin = prepare(language, "logs").await;
        let trial = plugin.try_out(&event(r#"{"do": "log"}"#));
        assert!(trial.result.is_ok(), "{language}: {:?}", trial.result);
        let written: Vec<_> = trial
            .log
            .iter()
            .map(|line| format!("{:?}: {}", line.level, line.message))
            .collect();
        assert_eq!(written, expected, "{language}");
        assert_eq!(trial.counters, [("lines".to_owned(), 2)].into(), "{language}");
        let made = plugin.transform(&event(r#"{"do": "log"}"#));
        assert!(made.is_ok(), "{language}: {made:?}");
        let counters = kept_transformer().counters();
        let ours = counters
            .iter()
            .find(|counter| counter.plugin.as_str() == format!("{language}-logs"));
        assert!(
            ours.is_some_and(|counter| &*counter.counter == "lines" && counter.value == 2),
            "{language}: {counters:?}"
        );
    }
}

/// A plugin of its own for each `purpose`: tests of one process count apart.
async fn prepare(language: &str, purpose: &str) -> Arc<headworks::transform::Prepared> {
    let built = build(&conformance(language));
    kept_transformer()
        .prepare(
            &format!("{language}-{purpose}").parse().expect("a name"),
            1,
            component(&built),
            Some(&serde_json::json!({"greeting": "Welcome"})),
        )
        .await
        .expect("the plugin takes it")
}

/// `edits` reads what is to be done, reads two values, and makes nine changes; `configured` reads one and makes one.
#[tokio::test]
async fn an_event_costs_two_or_three_calls_of_the_host() {
    for language in LANGUAGES {
        let plugin = prepare(language, "host-calls").await;
        for (data, calls) in [
            (r#"{"do": "configured"}"#, 2),
            (
                r#"{"do": "edits", "price": 2, "note": "", "order_no": 1, "items": []}"#,
                3,
            ),
        ] {
            let mut instance = TrialInstance::default();
            for round in ["fresh", "used"] {
                let trial = plugin.try_in(&mut instance, &event(data), &Arc::default());
                assert!(trial.result.is_ok(), "{language}: {:?}", trial.result);
                assert_eq!(trial.host_calls, calls, "{language}, {round}: {data}");
            }
        }
    }
}

/// The text after `before` on its line, up to the next quote.
fn quoted(path: &str, before: &str) -> String {
    let text = fs::read_to_string(repository().join(path)).expect(path);
    let rest = text.lines().find_map(|line| line.trim().strip_prefix(before));
    let version = rest.and_then(|rest| rest.split('"').next());
    version.unwrap_or_else(|| panic!("{path}: {before}")).to_owned()
}

/// What the gateway shows of a version is read from its component.
#[test]
fn a_component_says_what_it_was_written_with() {
    let python = quoted("sdk/python/headworks_plugin/__init__.py", "__version__ = \"");
    assert_eq!(python, quoted("sdk/python/pyproject.toml", "version = \""));
    for (folder, language, sdk, version) in [
        (
            "rust",
            "Rust",
            "headworks-plugin",
            env!("CARGO_PKG_VERSION").to_owned(),
        ),
        (
            "js",
            "JavaScript",
            "headworks-plugin",
            quoted("sdk/js/package.json", "\"version\": \""),
        ),
        ("python", "Python", "headworks-plugin", python),
        (
            "go",
            "Go",
            "headworks.dev/headworks",
            quoted("sdk/go/headworks.go", "const Version = \""),
        ),
    ] {
        let facts = build(&conformance(folder)).facts;
        assert_eq!(facts.language, Some(language));
        let sdk = Sdk {
            name: sdk.to_owned(),
            version,
        };
        assert_eq!(facts.sdk, Some(sdk), "{folder}");
    }
}

/// Handles of documents are dropped by the SDK: garbage collectors come too late, or never.
#[tokio::test]
async fn an_instance_leaks_nothing_in_many_calls() {
    for language in LANGUAGES {
        let plugin = prepare(language, "leaks").await;
        let calls = 60;
        for _ in 0..calls {
            let made = plugin.transform(&event(r#"{"do": "many-documents"}"#));
            assert!(made.is_ok(), "{language}: {made:?}");
        }
        let health = plugin.health();
        assert_eq!((health.calls, health.failed), (calls, 0), "{language}");
        // A full memory throws an instance away; so may another test that fills the pool.
        assert!(
            health.instances <= 3,
            "{language}: {} instances for {calls} calls",
            health.instances
        );
    }
}

/// Each example that a case names is there in every language, and each is named by a case.
#[test]
fn the_examples_are_the_same_in_every_language() {
    let folder = repository().join("sdk/examples");
    let mut named = BTreeSet::new();
    for case in fs::read_dir(folder.join("cases")).expect("there are cases") {
        let config = case.expect("it can be read").path().join("config.json");
        let text = fs::read_to_string(&config).expect("a case has a configuration");
        let config: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
        named.insert(
            config["example"]
                .as_str()
                .expect("it names an example")
                .to_owned(),
        );
    }
    assert_eq!(named.len(), 3, "{named:?}");
    for (sources, entries) in [
        ("rust/src", &["lib"][..]),
        ("js/src", &["plugin"]),
        ("python", &["plugin", "pyproject"]),
        ("go", &["plugin", "go"]),
    ] {
        let examples: BTreeSet<String> = fs::read_dir(folder.join(sources))
            .expect(sources)
            .map(|entry| entry.expect(sources).path())
            .filter(|path| path.is_file() && path.extension().is_some_and(|ending| ending != "wasm"))
            .filter_map(|path| Some(path.file_stem()?.to_str()?.replace('_', "-")))
            .filter(|stem| !entries.contains(&stem.as_str()))
            .collect();
        assert_eq!(examples, named, "{sources}");
    }
}

/// What the binary carries for new projects is what lies in `sdk/`.
#[test]
fn the_sdks_carry_all_their_files() {
    let source = fs::read_to_string(repository().join("src/cli/plugin_project/sdk.rs")).expect("ours");
    for (folder, endings) in [
        ("sdk/js", &["js", "ts", "mjs"][..]),
        ("sdk/js/lib", &["js"]),
        ("sdk/python/headworks_plugin", &["py", "typed"]),
        ("sdk/go", &["go", "mod"]),
        ("sdk/rust/src", &["rs"]),
        ("sdk/rust/src/document", &["rs"]),
    ] {
        for entry in fs::read_dir(repository().join(folder)).expect(folder) {
            let path = entry.expect(folder).path();
            let ending = path.extension().and_then(|ending| ending.to_str());
            if ending.is_some_and(|ending| endings.contains(&ending)) {
                let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
                assert!(source.contains(name), "{}: not in sdk.rs", path.display());
            }
        }
    }
}
