//! The pages of `docs/plugins`, command by command: from nothing to live in each language.

use std::{
    fs,
    os::unix::fs::symlink,
    time::{Duration, Instant},
};

use crate::harness::{
    console::{Shell, Shown, shown},
    gateway::{Gateway, PATIENCE, repository},
};

/// Sizes and times differ from run to run.
fn without_measures(text: &str) -> String {
    let mut words: Vec<&str> = text.split(' ').collect();
    for index in 1..words.len() {
        if ["µs,", "KiB\n", "KiB"]
            .iter()
            .any(|unit| words[index].starts_with(unit))
        {
            words[index - 1] = "N";
        }
    }
    words.join(" ")
}

/// From nothing to a live plugin `greet`, of which the gateway then says what it was written with.
async fn follow(page: &str, language: Option<&str>, sdk: Option<&str>) {
    let gateway = Gateway::start_on_defaults().await;
    follow_in(&gateway, page);
    let plugin = gateway.admin("GET", "/v1/plugins/greet", None).await.expect(200);
    let version = &plugin["versions"][0];
    assert_eq!(version["language"].as_str(), language, "{plugin}");
    assert_eq!(version["sdk"]["name"].as_str(), sdk, "{plugin}");
    let page = gateway.cli(&["plugin", "show", "greet"]);
    let page = String::from_utf8(page.stdout).expect("it is text");
    for told in language.into_iter().chain(sdk) {
        assert!(page.contains(told), "{page}");
    }
}

fn follow_in(gateway: &Gateway, page: &str) {
    let programs = gateway.path("bin");
    fs::create_dir_all(&programs).expect("a folder can be made");
    symlink(env!("CARGO_BIN_EXE_headworks"), programs.join("headworks")).expect("a link can be made");
    fs::create_dir_all(gateway.path("sdk")).expect("a folder can be made");
    symlink(repository().join("sdk/c"), gateway.path("sdk/c")).expect("a link can be made");
    let mut shell = Shell {
        gateway,
        variables: format!("PATH=\"{}:$PATH\"\n", programs.display()),
    };
    let commands = shown(page);
    assert!(commands.len() >= 5, "{page} shows commands");
    for shown in commands {
        let Shown { command, output } = &shown;
        if shown.assigns() {
            shell.variables.push_str(command);
            shell.variables.push('\n');
            shell.run("true");
            continue;
        }
        let expected = Shown {
            command: command.clone(),
            output: without_measures(output),
        };
        if command.starts_with("headworks plugin push") {
            share_compiled(gateway);
        }
        let started = Instant::now();
        loop {
            let printed = shell.run(command);
            if expected.is_as_shown(&without_measures(&printed)) {
                break;
            }
            assert!(
                command.starts_with("cat ") && started.elapsed() < PATIENCE / 4,
                "$ {command}\n{page} says:\n{output}\nit printed:\n{printed}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        // A variable's command is run anew before each other one, and would make another key each time.
        if command.starts_with("headworks partner put") {
            let key = shell.run("headworks key create acme --json | grep -o 'hw_[^\"]*'");
            shell.variables.push_str(&format!("KEY={key}"));
        }
    }
}

/// The gateway finds what `headworks plugin test` has compiled: Python alone takes more than ten seconds.
fn share_compiled(gateway: &Gateway) {
    let kept = repository().join(".cache/plugins/compiled");
    let Ok(entries) = fs::read_dir(kept) else {
        return;
    };
    for entry in entries.flatten() {
        // What another test has just forgotten is compiled anew.
        let _ = fs::hard_link(entry.path(), gateway.path("data/cache").join(entry.file_name()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_of_rust() {
    follow("docs/plugins/rust.md", Some("Rust"), Some("headworks-plugin")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_of_javascript() {
    follow(
        "docs/plugins/javascript.md",
        Some("JavaScript"),
        Some("headworks-plugin"),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_of_python() {
    follow("docs/plugins/python.md", Some("Python"), Some("headworks-plugin")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_of_go() {
    follow("docs/plugins/go.md", Some("Go"), Some("headworks.dev/headworks")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_of_tables() {
    let gateway = Gateway::start_on_defaults().await;
    let rows =
        "utm_campaign,channel,budget\nspring-sale,search,1200\nautumn-sale,social,800\nnewsletter,mail,\n";
    fs::write(gateway.path("campaigns.csv"), rows).expect("ours");
    follow_in(&gateway, "docs/plugins/tables.md");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_of_c() {
    // Its compiler leaves nothing behind when it optimises.
    follow("docs/plugins/c.md", None, None).await;
}
