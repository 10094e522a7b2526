//! The README's tour, command by command: it prints what the README prints.

use std::{
    os::unix::fs::symlink,
    process::Command,
    time::{Duration, Instant},
};

use crate::harness::gateway::{Gateway, PATIENCE, repository};

/// A command as the README shows it, and what it prints there.
struct Shown {
    command: String,
    output: String,
}

fn shown() -> Vec<Shown> {
    let text = std::fs::read_to_string(repository().join("README.md")).expect("the README is there");
    let mut found: Vec<Shown> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if let Some(fence) = line.strip_prefix("```") {
            inside = fence == "console";
        } else if inside {
            match (line.strip_prefix("$ "), found.last_mut()) {
                (Some(command), _) => found.push(Shown {
                    command: command.to_owned(),
                    output: String::new(),
                }),
                (None, Some(last)) => {
                    last.output.push_str(line);
                    last.output.push('\n');
                }
                (None, None) => panic!("output without a command: {line}"),
            }
        }
    }
    found
}

/// Ids, times and digests differ from run to run: each becomes a word.
fn masked(output: &str) -> String {
    let is_part = |character: char| character.is_ascii_alphanumeric() || "-_:.".contains(character);
    let mut masked = String::new();
    let mut rest = output;
    while let Some(first) = rest.chars().next() {
        let end = rest
            .find(|character| is_part(character) != is_part(first))
            .unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        rest = after;
        masked.push_str(mask(part));
    }
    masked
}

fn mask(part: &str) -> &str {
    let digits = |text: &str, pattern: &str| {
        text.len() == pattern.len()
            && text
                .bytes()
                .zip(pattern.bytes())
                .all(|(byte, wanted)| match wanted {
                    b'0' => byte.is_ascii_digit(),
                    b'f' => byte.is_ascii_hexdigit(),
                    other => byte == other,
                })
    };
    if digits(part, "ffffffff-ffff-ffff-ffff-ffffffffffff") {
        "AN-ID"
    } else if part.parse::<jiff::Timestamp>().is_ok() {
        "A-TIME"
    } else if digits(part, "0000-00-00") {
        "A-DAY"
    } else if digits(part, "00:00:00Z") {
        "A-TIME-OF-DAY"
    } else if digits(part, "ffffffffffff") {
        "A-DIGEST"
    } else {
        part
    }
}

/// How the lines of cargo's own progress begin, which a build under a command shows.
const CARGO: [&str; 7] = [
    "Compiling ",
    "Finished ",
    "Downloading ",
    "Downloaded ",
    "Locking ",
    "Updating ",
    "Blocking ",
];

/// One shell for all commands, so that variables last; each is run again while it only looks and does not yet see.
struct Shell<'a> {
    gateway: &'a Gateway,
    variables: String,
}

impl Shell<'_> {
    fn run(&self, command: &str) -> String {
        let here = command.replace("127.0.0.1:8080", &self.gateway.data_address().to_string());
        let output = Command::new("bash")
            .args(["-eu", "-c", &format!("exec 2>&1\n{}\n{here}", self.variables)])
            .current_dir(self.gateway.path(""))
            .env("HEADWORKS_URL", self.gateway.admin_url())
            .env("COLUMNS", "200")
            .output()
            .expect("bash runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() || command.starts_with("cat "),
            "{command}\n{text}"
        );
        text.lines()
            .filter(|line| !CARGO.iter().any(|word| line.trim_start().starts_with(word)))
            .map(|line| format!("{line}\n"))
            .collect()
    }
}

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

    let commands = shown();
    assert!(commands.len() >= 12, "the tour is there");
    let mut shell = Shell {
        gateway: &gateway,
        variables: String::new(),
    };
    for Shown { command, output } in commands {
        let assigns = command.split_once('=').is_some_and(|(name, _)| {
            name.trim_start_matches("export ")
                .chars()
                .all(|letter| letter.is_ascii_uppercase())
        });
        if assigns {
            shell.variables.push_str(&command);
            shell.variables.push('\n');
            shell.run("true");
            continue;
        }
        let looks = command.starts_with("cat ") || command.starts_with("headworks quarantine list");
        let started = Instant::now();
        loop {
            let printed = shell.run(&command);
            if masked(&printed).trim_end() == masked(&output).trim_end() {
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
