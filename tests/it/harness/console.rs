//! Commands that a page of the documentation shows, run as a reader would.

use std::process::Command;

use super::gateway::{Gateway, repository};

/// A command as a page shows it, and what it prints there.
pub struct Shown {
    pub command: String,
    pub output: String,
}

/// The commands of a page's `console` blocks.
pub fn shown(page: &str) -> Vec<Shown> {
    let text = std::fs::read_to_string(repository().join(page)).expect(page);
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

impl Shown {
    /// Whether the command only sets a variable, for those after it.
    pub fn assigns(&self) -> bool {
        self.command.split_once('=').is_some_and(|(name, _)| {
            name.trim_start_matches("export ")
                .chars()
                .all(|letter| letter.is_ascii_uppercase())
        })
    }

    /// Whether it prints what the page says.
    pub fn is_as_shown(&self, printed: &str) -> bool {
        masked(printed).trim_end() == masked(&self.output).trim_end()
    }
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
const CARGO: [&str; 8] = [
    "Adding ",
    "Compiling ",
    "Finished ",
    "Downloading ",
    "Downloaded ",
    "Locking ",
    "Updating ",
    "Blocking ",
];

/// One shell for all commands, so that variables last; each is run again while it only looks and does not yet see.
pub struct Shell<'a> {
    pub gateway: &'a Gateway,
    pub variables: String,
}

impl Shell<'_> {
    pub fn run(&self, command: &str) -> String {
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
