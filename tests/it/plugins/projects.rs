//! Plugins as their authors work on them: made from a template, built, run on their cases.

use std::{fs, path::Path};

use headworks::cli::plugin_project::{self, Language, ProjectError, Report};

use super::{build, component, repository, transformer};

async fn passed(directory: &Path) -> Report {
    let report = plugin_project::test_local(directory, transformer())
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    for case in &report.cases {
        assert_eq!(case.difference, None, "{}: {}", directory.display(), case.name);
    }
    assert!(report.is_passed());
    report
}

#[tokio::test]
async fn every_plugin_of_the_repository_passes_its_cases_in_the_host() {
    let plugins = fs::read_dir(repository().join("plugins")).expect("the repository has plugins");
    let mut tried = 0;
    for plugin in plugins {
        let directory = plugin.expect("it can be read").path();
        if directory.join("Cargo.toml").is_file() {
            let report = passed(&directory).await;
            assert!(!report.cases.is_empty());
            tried += 1;
        }
    }
    assert!(tried >= 1);
}

#[tokio::test]
async fn call_event_keeps_no_number_and_no_memo() {
    let built = build(&repository().join("plugins/call-event"));
    let config = serde_json::json!({"salt": "a-salt-for-this-test"});
    let name = "call-event".parse().expect("a name");
    let plugin = transformer()
        .prepare(&name, 1, component(&built), Some(&config))
        .await
        .expect("the plugin takes its configuration");
    let body = super::only_body(plugin.transform(&super::event(
        r#"{"call_id": "CB-1", "virtual_number": "0507-0000-3815", "caller_number": "010-0000-4821", "started_at":
            "2026-11-02T10:15:30+09:00", "ended_at": "2026-11-02T10:16:00+09:00", "result": "missed", "memo": "private"}"#,
    )));
    assert!(body.contains(r#""duration_s":30"#), "{body}");
    for secret in ["4821", "private", "a-salt"] {
        assert!(!body.contains(secret), "{body}");
    }
    let short = serde_json::json!({"salt": "short"});
    let refused = transformer()
        .prepare(&name, 1, component(&built), Some(&short))
        .await
        .expect_err("a salt that protects nobody");
    assert!(
        refused
            .detail
            .contains("salt is too short: 16 characters or more"),
        "{}",
        refused.detail
    );
}

#[tokio::test]
async fn a_new_project_builds_and_passes_its_own_cases() {
    // Inside the repository, so that it depends on the SDK beside it.
    let parent = tempfile::Builder::new()
        .prefix(".plugin-")
        .tempdir_in(repository().join("tests/plugins"))
        .expect("a folder for the project");
    let directory = parent.path().join("greet-people");
    let name = "greet-people".parse().expect("a name");
    let written = plugin_project::new(Language::Rust, &name, &directory).expect("the folder is new");
    assert!(written.iter().all(|path| path.is_file()));
    let manifest = fs::read_to_string(directory.join("Cargo.toml")).expect("it was written");
    assert!(
        manifest.contains(r#"headworks-plugin = { path = "../../../../sdk/rust" }"#),
        "{manifest}"
    );
    // The versions that are there already: a test needs no news of the registry.
    let lock = repository().join("plugins/Cargo.lock");
    fs::copy(lock, directory.join("Cargo.lock")).expect("the repository has a lock");
    let report = passed(&directory).await;
    assert_eq!(report.built.name, "greet-people");
    assert_eq!(report.cases.len(), 1);

    let again = plugin_project::new(Language::Rust, &name, &directory);
    assert!(matches!(again, Err(ProjectError::NotEmpty(_))));

    fs::write(
        directory.join("cases/example/records.json"),
        r#"{"rejected": "no"}"#,
    )
    .expect("ours");
    let report = plugin_project::test_local(&directory, transformer())
        .await
        .expect("it can be run");
    assert!(!report.is_passed());
    let difference = report.cases[0].difference.as_deref().expect("it differs");
    assert!(
        difference.contains("Welcome, Ada") && difference.contains("rejected"),
        "{difference}"
    );
}

#[test]
fn outside_of_the_repository_the_published_sdk_is_used() {
    let parent = tempfile::tempdir().expect("a folder");
    let directory = parent.path().join("mine");
    let name = "mine".parse().expect("a name");
    plugin_project::new(Language::Rust, &name, &directory).expect("the folder is new");
    let manifest: toml::Table = fs::read_to_string(directory.join("Cargo.toml"))
        .expect("it was written")
        .parse()
        .expect("it is TOML");
    assert_eq!(manifest["dependencies"]["headworks-plugin"].as_str(), Some("0.1"));
    assert!(manifest.contains_key("workspace"));
    for language in [Language::Js, Language::Python, Language::Go] {
        let refused = plugin_project::new(language, &name, &parent.path().join("other"));
        assert!(matches!(refused, Err(ProjectError::LanguageMissing(_))));
    }
}

#[test]
fn the_sdk_carries_the_contract() {
    let read = |path: &str| fs::read_to_string(repository().join(path)).expect(path);
    assert_eq!(read("sdk/rust/wit/plugin.wit"), read("sdk/wit/plugin.wit"));
}
