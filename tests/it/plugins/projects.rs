//! Plugins as their authors work on them: made from a template, built, run on their cases.

use std::{fs, path::Path};

use headworks::cli::plugin_project::{self, Language, ProjectError, Report};

use super::{build, component, repository, transformer};

async fn passed(directory: &Path) -> Report {
    let report = plugin_project::test_local(directory, None, transformer())
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
    let report = plugin_project::test_local(&directory, None, transformer())
        .await
        .expect("it can be run");
    assert!(!report.is_passed());
    let difference = report.cases[0].difference.as_deref().expect("it differs");
    assert!(
        difference.contains("Welcome, Ada") && difference.contains("rejected"),
        "{difference}"
    );
}

/// Everything but installing: `docs/plugins` and its tests do that.
#[test]
fn outside_of_the_repository_a_project_holds_its_own_sdk() {
    for (language, manifest, names, sdk) in [
        (
            Language::Rust,
            "Cargo.toml",
            r#"headworks-plugin = { path = "./headworks-plugin" }"#,
            "headworks-plugin/src/lib.rs",
        ),
        (
            Language::Js,
            "package.json",
            r#""headworks-plugin": "file:./headworks-plugin""#,
            "headworks-plugin/package.json",
        ),
        (
            Language::Python,
            "pyproject.toml",
            r#"name = "mine""#,
            "headworks_plugin/__init__.py",
        ),
        (
            Language::Go,
            "go.mod",
            "replace headworks.dev/headworks => ./headworks",
            "headworks/go.mod",
        ),
    ] {
        let parent = tempfile::tempdir().expect("a folder");
        let directory = parent.path().join("mine");
        let name = "mine".parse().expect("a name");
        plugin_project::new(language, &name, &directory).expect("the folder is new");
        let text = fs::read_to_string(directory.join(manifest)).expect("it was written");
        assert!(text.contains(names), "{text}");
        assert!(!text.contains("{{"), "{text}");
        assert!(directory.join(sdk).is_file(), "{sdk}");
        let numbered = "7up".parse().expect("a name");
        let made = plugin_project::new(language, &numbered, &parent.path().join("7up"));
        assert_eq!(made.is_ok(), language == Language::Js, "{made:?}");
    }
}

#[test]
fn the_rust_sdk_of_a_project_stands_alone() {
    let parent = tempfile::tempdir().expect("a folder");
    let directory = parent.path().join("mine");
    let name = "mine".parse().expect("a name");
    plugin_project::new(Language::Rust, &name, &directory).expect("the folder is new");
    let manifest = fs::read_to_string(directory.join("headworks-plugin/Cargo.toml")).expect("it was written");
    let manifest: toml::Table = manifest.parse().expect("it is TOML");
    let package = manifest["package"].as_table().expect("it is a package");
    for key in ["version", "edition", "rust-version", "license", "repository"] {
        assert!(package[key].is_str(), "{key}");
    }
    assert_eq!(package["edition"].as_str(), Some("2024"));
    assert_eq!(
        package["rust-version"].as_str(),
        Some(env!("CARGO_PKG_RUST_VERSION"))
    );
}

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, text) in files {
        fs::write(folder.path().join(path), text).expect("ours");
    }
    folder
}

#[test]
fn a_build_says_what_is_missing_and_how_to_come_by_it() {
    for (files, expected) in [
        (&[][..], "it holds neither Cargo.toml (Rust) nor package.json"),
        (
            &[("Cargo.toml", ""), ("go.mod", "")],
            "holds both Cargo.toml and go.mod",
        ),
        (
            &[("package.json", r#"{"name": "a"}"#)],
            "holds no src/plugin.ts or src/plugin.js",
        ),
        (
            &[("package.json", r#"{"name": "a"}"#), ("plugin.js", "")],
            "package.json does not name headworks-plugin",
        ),
        (
            &[
                (
                    "package.json",
                    r#"{"name": "a", "dependencies": {"headworks-plugin": "0.1.0"}}"#,
                ),
                ("plugin.js", ""),
            ],
            "what package.json names is not installed: run `npm install --prefix ",
        ),
        (&[("package.json", "{")], "package.json: EOF while parsing"),
        (&[("pyproject.toml", "")], "[project] has no name"),
        (
            &[("pyproject.toml", "[project]\nname = \"a\"\n")],
            "holds no plugin.py",
        ),
    ] {
        let folder = folder(files);
        let error = plugin_project::build(folder.path())
            .expect_err(expected)
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
    let odd = folder(&[("odd.wasm", "no")]);
    let error = plugin_project::build(&odd.path().join("odd.wasm")).expect_err("it is none");
    assert!(
        error.to_string().ends_with("odd.wasm is no WebAssembly"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dev_shows_what_a_save_changed() {
    let project = tempfile::Builder::new()
        .prefix(".plugin-")
        .tempdir_in(repository().join("tests/plugins"))
        .expect("a folder for the project");
    let directory = project.path().join("watched");
    let name = "watched".parse().expect("a name");
    plugin_project::new(Language::Js, &name, &directory).expect("the folder is new");
    let source = directory.join("src/plugin.ts");
    let mut rounds = Vec::new();
    plugin_project::dev(&directory, transformer(), |round| {
        let passed = round.report.map(Report::is_passed).map_err(ToString::to_string);
        rounds.push((passed, round.changed));
        let text = fs::read_to_string(&source).expect("ours");
        let text = match rounds.len() {
            1 => text.replace("/person/greeting", "/person/hello"),
            2 => text.replace("transform(event", "transform((event"),
            _ => return false,
        };
        fs::write(&source, text).expect("ours");
        true
    })
    .await
    .expect("it can be watched");
    assert_eq!(rounds[0], (Ok(true), Vec::new()));
    let (passed, changed) = &rounds[1];
    assert_eq!(*passed, Ok(false));
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0].0, "example");
    assert!(
        changed[0].1.contains(r#"-         "greeting": "Welcome, Ada","#)
            && changed[0].1.contains(r#"+         "hello": "Welcome, Ada","#),
        "{}",
        changed[0].1
    );
    let (failed, _) = &rounds[2];
    assert_eq!(
        failed.as_ref().map_err(String::as_str),
        Err("node could not build the plugin: what it said stands above")
    );
}

#[test]
fn the_sdk_carries_the_contract() {
    let read = |path: &str| fs::read_to_string(repository().join(path)).expect(path);
    assert_eq!(read("sdk/rust/wit/plugin.wit"), read("sdk/wit/plugin.wit"));
}
