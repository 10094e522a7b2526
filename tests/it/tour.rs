//! The README's tour, command by command: it prints what the README prints.

use std::{
    os::unix::fs::symlink,
    time::{Duration, Instant},
};

use crate::harness::{
    console::{Shell, Shown, shown},
    gateway::{Gateway, PATIENCE, repository},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_readmes_tour_prints_what_the_readme_says() {
    let gateway = Gateway::start_on_defaults().await;
    let release = gateway.path("target/quick");
    std::fs::create_dir_all(&release).expect("a folder can be made");
    symlink(env!("CARGO_BIN_EXE_headworks"), release.join("headworks")).expect("a link can be made");
    for name in ["schemas", "plugins", "docs", "sdk"] {
        symlink(repository().join(name), gateway.path(name)).expect("a link can be made");
    }
    let applied = gateway.cli(&["apply", repository().to_str().expect("the path is text")]);
    assert!(
        applied.status.success(),
        "{}",
        String::from_utf8_lossy(&applied.stderr)
    );

    let commands = shown("README.md");
    assert!(commands.len() >= 12, "the tour is there");
    let mut shell = Shell {
        gateway: &gateway,
        variables: String::new(),
    };
    for shown in commands {
        let Shown { command, output } = &shown;
        if shown.assigns() {
            shell.variables.push_str(command);
            shell.variables.push('\n');
            shell.run("true");
            continue;
        }
        let looks = command.starts_with("cat ") || command.starts_with("headworks quarantine list");
        let started = Instant::now();
        loop {
            let printed = shell.run(command);
            if shown.is_as_shown(&printed) {
                break;
            }
            assert!(
                looks && started.elapsed() < PATIENCE / 4,
                "$ {command}\nthe README says:\n{output}\nit printed:\n{printed}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
