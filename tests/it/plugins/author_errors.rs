//! What the author of a plugin is told, each with what really went wrong; `docs/errors` shows the same words.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use bytes::Bytes;
use headworks::problem::{Code, Problem};

use super::{call, failure, prepare_hostile, repository, transformer};

/// The page of a code says these words.
fn page_says(code: Code, words: &str) {
    let page =
        fs::read_to_string(repository().join(format!("docs/errors/{code}.md"))).expect("it has a page");
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        flat(&page).contains(&flat(words)),
        "docs/errors/{code}.md does not say:\n{words}"
    );
}

async fn refusal(upload: Bytes) -> Problem {
    transformer().compile(upload).await.expect_err("it is refused")
}

/// A component that componentize-qjs makes for a world.
fn javascript(folder: &Path, wit: &str, source: &str, options: &[&str]) -> Bytes {
    let path = |name: &str| folder.join(name);
    fs::write(path("world.wit"), wit).expect("ours");
    fs::write(path("plugin.js"), source).expect("ours");
    let made = Command::new("node")
        .arg(repository().join("sdk/js/node_modules/componentize-qjs/cli.mjs"))
        .args([
            "--wit",
            "world.wit",
            "--js",
            "plugin.js",
            "-n",
            "plugin",
            "--sync",
            "-o",
        ])
        .arg(path("plugin.wasm"))
        .args(options)
        .current_dir(folder)
        .output()
        .expect("node runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    fs::read(path("plugin.wasm")).expect("it was made").into()
}

#[tokio::test]
async fn a_component_that_wants_wasi() {
    let folder = tempfile::tempdir().expect("a folder");
    let contract = fs::read_to_string(repository().join("sdk/wit/plugin.wit")).expect("ours");
    let source = "export function configure() {}\nexport function transform() { return []; }\n";
    let refused = refusal(javascript(folder.path(), &contract, source, &[])).await;
    assert_eq!(refused.code, Code::ComponentImportForbidden);
    for words in [
        "the component imports wasi:",
        "(the environment's variables and arguments)",
        "Run `headworks plugin build` in the plugin's folder: it builds without.",
        "By hand, JavaScript: componentize-qjs --stub-wasi --sync",
    ] {
        assert!(refused.detail.contains(words), "{}", refused.detail);
    }
    assert!(!refused.detail.contains("Rust:"), "{}", refused.detail);
    page_says(Code::ComponentImportForbidden, &refused.detail);
}

#[tokio::test]
async fn a_component_of_another_world() {
    let folder = tempfile::tempdir().expect("a folder");
    let wit = "package acme:greeter;\nworld plugin { export greet: func(name: string) -> string; }\n";
    let source = "export function greet(name) { return `Hello, ${name}!`; }\n";
    let refused = refusal(javascript(folder.path(), wit, source, &["--stub-wasi"])).await;
    assert_eq!(refused.code, Code::ComponentInvalid);
    page_says(Code::ComponentInvalid, &refused.detail);
}

#[tokio::test]
async fn what_a_compiler_made_and_nobody_wrapped() {
    let module = wat::parse_str("(module)").expect("it is well-formed");
    let refused = refusal(module.into()).await;
    page_says(Code::ComponentInvalid, &refused.detail);
}

#[tokio::test]
async fn an_event_on_which_the_plugin_failed() {
    let plugin = prepare_hostile("author-errors", None).await;
    let looped = failure(call(&plugin, "loop", 0));
    assert!(
        looped.starts_with("ran longer than 50 ms, in ") && looped.contains("transform"),
        "where it stood: {looped}"
    );
    page_says(Code::PluginFailed, "ran longer than 10 ms, in ");
    for (what, amount) in [
        ("panic", 7),
        ("grow", 0),
        ("recurse", 1_000_000),
        ("outputs", 1001),
    ] {
        let text = failure(call(&plugin, what, amount));
        // The page names functions of its own.
        let cause = text.split(", in ").next().expect("there is a first part");
        page_says(Code::PluginFailed, cause);
    }
}

#[tokio::test]
async fn a_configuration_that_is_refused() {
    for (config, words) in [
        (
            serde_json::json!({"configure": "refuse"}),
            "refuses its configuration: nothing is good enough",
        ),
        (
            serde_json::json!({"unknown": 1}),
            "refuses its configuration: unknown field `unknown`",
        ),
    ] {
        let name = "author-errors".parse().expect("a name");
        let refused = transformer()
            .prepare(&name, 1, super::hostile_component(), Some(&config))
            .await
            .expect_err("it is refused");
        assert_eq!(refused.code, Code::ConfigurationRefused);
        assert!(refused.detail.contains(words), "{}", refused.detail);
        page_says(Code::ConfigurationRefused, words);
    }
}

/// What `headworks plugin build` says of a project where only `programs` are installed.
fn refused_build(project: &Path, programs: &Path) -> String {
    let built = Command::new(env!("CARGO_BIN_EXE_headworks"))
        .args(["plugin", "build"])
        .arg(project)
        .env("PATH", programs)
        .env_remove("VIRTUAL_ENV")
        .output()
        .expect("the program runs");
    assert_eq!(built.status.code(), Some(1), "{built:?}");
    String::from_utf8(built.stderr).expect("it is text")
}

fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("it is below the folder")).expect("ours");
        fs::write(path, text).expect("ours");
    }
    folder
}

const CARGO_MANIFEST: &str = "[package]\nname = \"a\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
                              [lib]\ncrate-type = [\"cdylib\"]\n\n[workspace]\n";

#[test]
fn a_tool_that_is_not_installed() {
    let none = tempfile::tempdir().expect("a folder");
    let sdk = repository().join("sdk/js");
    let package = serde_json::json!({
        "name": "a", "dependencies": {"headworks-plugin": format!("file:{}", sdk.display())},
    })
    .to_string();
    for (files, said) in [
        (
            &[("Cargo.toml", CARGO_MANIFEST), ("src/lib.rs", "")][..],
            "cargo is not installed: install Rust with rustup (https://rustup.rs)",
        ),
        (
            &[("package.json", package.as_str()), ("src/plugin.js", "")],
            "node is not installed: install Node.js 20 or later (https://nodejs.org; on Debian: apt-get install nodejs \
             npm)",
        ),
        (
            &[("pyproject.toml", "[project]\nname = \"a\"\n"), ("plugin.py", "")],
            "componentize-py is not installed: run `python3 -m venv {}/.venv && {}/.venv/bin/pip install \
             componentize-py==0.25.1`",
        ),
        (
            &[("go.mod", "module a\n"), ("plugin.go", "")],
            "go is not installed: install Go 1.24 or later (https://go.dev/doc/install)",
        ),
    ] {
        let project = project(files);
        let said = said.replace("{}", &project.path().display().to_string());
        let refused = refused_build(project.path(), none.path());
        assert!(refused.contains(&said), "{said}\nis not what it said:\n{refused}");
    }
}

#[test]
fn a_rust_without_the_target() {
    let programs = tempfile::tempdir().expect("a folder");
    symlink(env!("CARGO"), programs.path().join("cargo")).expect("a link can be made");
    let project = project(&[("Cargo.toml", CARGO_MANIFEST), ("src/lib.rs", "")]);
    let refused = refused_build(project.path(), programs.path());
    assert!(
        refused.contains("rustc is not installed: install Rust with rustup (https://rustup.rs)"),
        "{refused}"
    );
    // `rustc --print target-libdir` gives a path that is no folder where nothing is installed for the target. A program that
    // is there already: one that was just written may not be run while another test forks.
    symlink("/bin/echo", programs.path().join("rustc")).expect("a link can be made");
    let refused = refused_build(project.path(), programs.path());
    assert!(
        refused.contains(
            "the Rust target wasm32-unknown-unknown is missing: rustup target add wasm32-unknown-unknown"
        ),
        "{refused}"
    );
}
