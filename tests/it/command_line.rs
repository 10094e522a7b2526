//! The program as it is typed: what it prints and the status it ends with.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

use crate::{
    harness::{
        gateway::{Gateway, Options, repository},
        ports::free_addresses,
    },
    repository::{code_spans, files, prose, read},
};

/// Runs the program in `folder`, without a gateway or a token.
fn headworks(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_headworks"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("HEADWORKS_URL")
        .env_remove("HEADWORKS_TOKEN")
        .output()
        .expect("the program runs")
}

fn status(output: &Output) -> i32 {
    output.status.code().expect("it ends by itself")
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("it is text")
}

fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("it is text")
}

/// What the command printed, after it succeeded.
fn succeeded(output: &Output) -> String {
    assert_eq!(status(output), 0, "{}{}", printed(output), said(output));
    printed(output)
}

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("the folder can be made");
        fs::write(path, text).expect("the file can be written");
    }
}

/// A port on which nothing listens.
fn nowhere() -> String {
    let [address] = free_addresses();
    format!("http://{address}")
}

#[test]
fn wrong_usage_ends_with_2_and_help_with_0() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    for arguments in [
        &[][..],
        &["sevre"],
        &["schema", "show", "a.b"],
        &["partner", "show", "Not A Name"],
        &["partner", "list", "--url", "gateway"],
        &["apply", ".", "--keep", "--yes"],
    ] {
        let output = headworks(folder.path(), arguments);
        assert_eq!(status(&output), 2, "{arguments:?}: {}", said(&output));
        assert!(printed(&output).is_empty(), "{arguments:?}");
        assert!(!said(&output).is_empty(), "{arguments:?}");
    }
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["quarantine", "replay", "--help"],
    ] {
        let output = headworks(folder.path(), arguments);
        assert_eq!(status(&output), 0, "{arguments:?}");
        assert!(printed(&output).contains("headworks"), "{arguments:?}");
    }
}

#[test]
fn a_configuration_is_checked_whole() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    write(
        folder.path(),
        &[
            (
                "good.toml",
                "data_dir = \"elsewhere\"\n[telemetry]\notlp_endpoint = \"http://localhost:4317\"\n",
            ),
            (
                "bad.toml",
                "[sever]\nlisten = \"localhost:8080\"\n[spool]\nmax_bytes = \"10GB\"\n",
            ),
        ],
    );
    let output = headworks(folder.path(), &["config", "check", "good.toml"]);
    assert_eq!(succeeded(&output), "good.toml is in order\n");
    assert!(said(&output).starts_with("warning: telemetry.otlp_endpoint names port 4317"));

    for arguments in [
        &["config", "check", "bad.toml"][..],
        &["serve", "--config", "bad.toml"],
    ] {
        let output = headworks(folder.path(), arguments);
        assert_eq!(status(&output), 1);
        assert_eq!(
            said(&output),
            "bad.toml:1:2: sever: unknown key (did you mean `server`?)\n\
             bad.toml:4:13: spool.max_bytes: \"10GB\" is no size: write a whole number with B, KiB, MiB, GiB or TiB, \
             such as \"16MiB\" (did you mean \"10GiB\"?)\n\
             error: 2 faults\n",
            "{arguments:?}"
        );
    }
    write(
        folder.path(),
        &[(
            "options.toml",
            "[[destination]]\nname = \"events\"\nkind = \"kafka\"\nbrokers = \"one\"\n\
             options = { \"compresion.type\" = \"zstd\", \"linger.ms\" = \"soon\", \"sasl.password\" = \"hush\" }\n",
        )],
    );
    let output = headworks(folder.path(), &["config", "check", "options.toml"]);
    assert_eq!(status(&output), 1);
    let text = said(&output);
    assert!(
        text.contains("options.toml: destination events: option \"compresion.type\": "),
        "{text}"
    );
    assert!(
        text.contains("option \"linger.ms\": ") && !text.contains("hush"),
        "{text}"
    );
    assert!(text.ends_with("error: 2 faults\n"), "{text}");
    assert!(!folder.path().join("data").exists(), "nothing was started");
}

#[test]
fn without_a_gateway_the_command_says_how_to_start_one() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let url = nowhere();
    let output = headworks(
        folder.path(),
        &["route", "list", "--url", &url, "--token", "hwt_secret"],
    );
    assert_eq!(status(&output), 1);
    let expected =
        format!("error: no gateway answers at {url}: start it with `headworks serve` or give --url (");
    assert!(said(&output).starts_with(&expected), "{}", said(&output));
    assert!(!said(&output).contains("hwt_secret"));
}

#[test]
fn a_broken_folder_is_refused_before_a_gateway_is_asked() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    write(
        folder.path(),
        &[
            ("partners/acme.toml", "polcy = \"reject\"\n"),
            ("schemas/a.b/1.0.json", "{\"type\": \"strin\"}"),
        ],
    );
    let output = headworks(folder.path(), &["apply", ".", "--url", &nowhere()]);
    assert_eq!(status(&output), 1);
    let said = said(&output);
    assert!(
        said.contains("./partners/acme.toml:1:1: polcy: unknown key (did you mean `policy`?)\n"),
        "{said}"
    );
    assert!(said.contains("./schemas/a.b/1.0.json: /type: "), "{said}");
    assert!(said.ends_with("error: 2 faults\n"), "{said}");
}

const EXAMPLE: [(&str, &str); 4] = [
    (
        "folder/partners/writer.toml",
        "description = \"Writes\"\nsource = \"/writer\"\n",
    ),
    (
        "folder/types/note.taken.toml",
        "description = \"A note was taken\"\n",
    ),
    ("folder/schemas/note.taken/1.0.json", "{\"type\": \"object\"}\n"),
    (
        "folder/routes/notes.toml",
        "[match]\ntype = \"note.*\"\n[[to]]\ndestination = \"files\"\n",
    ),
];

#[tokio::test]
async fn apply_makes_the_registry_match_a_folder() {
    let gateway = Gateway::start().await;
    write(&gateway.path(""), &EXAMPLE);
    let plan = succeeded(&gateway.cli(&["apply", "folder", "--dry-run"]));
    assert_eq!(
        plan,
        "ACTION  KIND     NAME\n\
         create  partner  writer\n\
         create  type     note.taken\n\
         create  schema   note.taken@1.0\n\
         create  route    notes\n"
    );
    assert_eq!(
        succeeded(&gateway.cli(&["partner", "list"])),
        "",
        "a dry run changes nothing"
    );

    let applied = succeeded(&gateway.cli(&["apply", "folder"]));
    assert!(
        applied.ends_with("4 created, 0 changed, 0 deleted, 0 unchanged\n"),
        "{applied}"
    );
    let again = succeeded(&gateway.cli(&["apply", "folder"]));
    assert_eq!(again, "nothing to change: 4 resources as wanted\n");

    // A member is changed, a file is gone, and somebody has registered a partner and a route by hand.
    write(
        &gateway.path(""),
        &[("folder/partners/writer.toml", "description = \"Writes\"\n")],
    );
    fs::rename(
        gateway.path("folder/routes/notes.toml"),
        gateway.path("folder/routes/all.toml"),
    )
    .expect("renamed");
    succeeded(&gateway.cli(&["partner", "put", "reader"]));
    succeeded(&gateway.cli(&["partner", "put", "sender"]));
    succeeded(&gateway.cli(&["key", "create", "sender"]));

    let unasked = gateway.cli(&["apply", "folder"]);
    assert_eq!(status(&unasked), 1);
    assert!(
        said(&unasked).contains("nothing was changed: give --yes"),
        "{}",
        said(&unasked)
    );
    assert!(
        said(&unasked).contains("  route notes\n  partner reader\n"),
        "{}",
        said(&unasked)
    );
    assert!(succeeded(&gateway.cli(&["partner", "show", "writer"])).contains("/writer"));

    let kept = gateway.cli(&["apply", "folder", "--keep"]);
    assert!(
        succeeded(&kept).ends_with("1 created, 1 changed, 0 deleted, 2 unchanged\n"),
        "{}",
        printed(&kept)
    );
    assert!(
        said(&kept).contains("2 resources not in the folder: kept"),
        "{}",
        said(&kept)
    );

    let deleted = gateway.cli(&["apply", "folder", "--yes"]);
    assert_eq!(status(&deleted), 1, "a partner with a key stays");
    assert!(said(&deleted).contains("partner sender is not in the folder and stays: it has 1 live key"));
    assert!(
        printed(&deleted).ends_with("0 created, 0 changed, 2 deleted, 4 unchanged\n"),
        "{}",
        printed(&deleted)
    );
    let partners = succeeded(&gateway.cli(&["partner", "list"]));
    assert!(partners.contains("sender") && partners.contains("writer") && !partners.contains("reader"));
    let routes = succeeded(&gateway.cli(&["route", "list"]));
    assert!(routes.contains("all") && !routes.contains("notes"), "{routes}");
}

#[tokio::test]
async fn what_fails_in_apply_does_not_keep_the_rest_and_deletes_nothing() {
    let gateway = Gateway::start().await;
    write(&gateway.path(""), &EXAMPLE);
    succeeded(&gateway.cli(&["apply", "folder"]));
    write(
        &gateway.path(""),
        &[
            ("folder/routes/new.toml", "[[to]]\ndestination = \"nowhere\"\n"),
            ("folder/partners/new.toml", ""),
        ],
    );
    fs::remove_file(gateway.path("folder/routes/notes.toml")).expect("removed");
    let output = gateway.cli(&["apply", "folder", "--yes"]);
    assert_eq!(status(&output), 1);
    assert!(
        said(&output).contains("error: route new: input-invalid: "),
        "{}",
        said(&output)
    );
    assert!(said(&output).contains("/to/0/destination"), "{}", said(&output));
    assert!(
        said(&output).contains("not deleted, since something failed: route notes"),
        "{}",
        said(&output)
    );
    assert!(
        printed(&output).contains("created  partner  new"),
        "{}",
        printed(&output)
    );
    assert!(succeeded(&gateway.cli(&["route", "list"])).contains("notes"));
}

#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "one resource after the other, as an operator would"
)]
async fn resources_come_and_go_on_the_command_line() {
    let gateway = Gateway::start().await;
    let folder = gateway.path("");
    write(&folder, &EXAMPLE);
    write(
        &folder,
        &[
            ("bad.json", "{\"type\": \"strin\"}"),
            ("other.json", "{\"type\": \"string\"}"),
        ],
    );

    assert_eq!(
        succeeded(&gateway.cli(&["partner", "put", "writer", "folder/partners/writer.toml"])),
        "created partner writer\n"
    );
    assert_eq!(
        succeeded(&gateway.cli(&["partner", "show", "writer"])),
        "description = \"Writes\"\nsource = \"/writer\"\npolicy = \"quarantine\"\n"
    );
    let again = gateway.cli(&["partner", "put", "writer"]);
    assert_eq!(status(&again), 1, "without a file only a new partner is made");
    assert!(
        said(&again).starts_with("error: precondition-failed: "),
        "{}",
        said(&again)
    );

    let created = gateway.cli(&["key", "create", "writer", "--json"]);
    let created: Value = serde_json::from_str(&succeeded(&created)).expect("it is JSON");
    let (id, key) = (
        created["id"].as_str().expect("an id"),
        created["key"].as_str().expect("a key"),
    );
    let listed = succeeded(&gateway.cli(&["key", "list", "writer"]));
    assert!(
        listed.contains(id) && listed.contains("secret") && !listed.contains(key),
        "{listed}"
    );
    succeeded(&gateway.cli(&["key", "revoke", "writer", id]));
    assert_eq!(
        said(&gateway.cli(&["key", "list", "writer"])),
        "partner writer has no live key\n"
    );

    let file = "folder/schemas/note.taken/1.0.json";
    assert_eq!(
        succeeded(&gateway.cli(&["schema", "register", "note.taken", "1.0", file])),
        "registered note.taken@1.0\n"
    );
    let listed: Value =
        serde_json::from_str(&succeeded(&gateway.cli(&["schema", "list", "--json"]))).expect("JSON");
    assert_eq!(listed["items"][0]["since"], "1.0");
    assert_eq!(
        succeeded(&gateway.cli(&["schema", "show", "note.taken", "1.0"])),
        "{\"type\": \"object\"}\n"
    );
    let broken = gateway.cli(&["schema", "register", "note.taken", "2.0", "bad.json"]);
    assert_eq!(status(&broken), 1);
    assert!(
        said(&broken).contains("schema-invalid") && said(&broken).contains("/type"),
        "{}",
        said(&broken)
    );
    let other = gateway.cli(&["schema", "register", "note.taken", "1.0", "other.json"]);
    assert_eq!(status(&other), 1);
    assert!(said(&other).contains("--force"), "{}", said(&other));
    succeeded(&gateway.cli(&["schema", "register", "note.taken", "1.0", "other.json", "--force"]));
    assert_eq!(
        succeeded(&gateway.cli(&["schema", "delete", "note.taken", "1.0", "--yes"])),
        "deleted note.taken@1.0\n"
    );

    succeeded(&gateway.cli(&["route", "put", "notes", "folder/routes/notes.toml"]));
    let routes = succeeded(&gateway.cli(&["route", "list"]));
    assert_eq!(
        routes,
        "NAME   PARTNER  TYPE    SOURCE  PLUGIN  TO\nnotes  *        note.*  *               files\n"
    );
    fs::write(
        gateway.path("shown.toml"),
        succeeded(&gateway.cli(&["route", "show", "notes"])),
    )
    .expect("written");
    assert_eq!(
        succeeded(&gateway.cli(&["route", "put", "notes", "shown.toml"])),
        "in force: route notes\n",
        "what show prints is what put takes"
    );
    succeeded(&gateway.cli(&["route", "delete", "notes"]));
    let gone = gateway.cli(&["route", "show", "notes"]);
    assert_eq!(status(&gone), 1);
    assert!(
        said(&gone).starts_with("error: not-found: there is no route \"notes\""),
        "{}",
        said(&gone)
    );

    let wrong = gateway.cli(&["route", "list", "--token", "hwt_wrong_token"]);
    assert_eq!(status(&wrong), 1);
    assert!(
        said(&wrong).contains("token-invalid") && !said(&wrong).contains("hwt_wrong"),
        "{}",
        said(&wrong)
    );
}

#[tokio::test]
async fn quarantine_is_listed_shown_replayed_and_discarded() {
    let mut gateway = Gateway::start().await;
    write(&gateway.path(""), &EXAMPLE);
    gateway.partner("writer", serde_json::json!({})).await;
    for number in 0..3 {
        let body = format!("{{\"number\":{number},\"escape\":\"\\u001b[31m\"}}");
        let answer = gateway
            .post("/v1/events/note.taken", "writer", "application/json", body)
            .await;
        assert_eq!(answer.expect(202)["code"], "schema-unknown");
    }
    let listed = succeeded(&gateway.cli(&["quarantine", "list", "--limit", "2", "--json"]));
    let listed: Value = serde_json::from_str(&listed).expect("it is JSON");
    let items = listed["items"].as_array().expect("a list");
    assert_eq!(items.len(), 2);
    let id = items[0]["id"].as_str().expect("an id");
    let shown = succeeded(&gateway.cli(&["quarantine", "show", id]));
    assert!(
        shown.contains("schema-unknown") && shown.contains("\"number\":0"),
        "{shown}"
    );
    assert!(said(&gateway.cli(&["quarantine", "list", "--limit", "2"])).contains("there are more than 2"));
    assert_eq!(
        said(&gateway.cli(&["quarantine", "list", "--code", "plugin-failed"])),
        "nothing is in quarantine\n"
    );

    assert_eq!(
        succeeded(&gateway.cli(&["quarantine", "replay", "--type", "note.taken", "--dry-run"])),
        "3 events: 0 would go out, 3 would wait on\n"
    );
    assert_eq!(
        succeeded(&gateway.cli(&["quarantine", "replay"])),
        "3 events replayed: 0 accepted, 3 back in quarantine\n"
    );
    let unasked = gateway.cli(&["quarantine", "discard"]);
    assert_eq!(status(&unasked), 1);
    assert!(
        said(&unasked).contains("nothing was discarded"),
        "{}",
        said(&unasked)
    );
    assert_eq!(
        succeeded(&gateway.cli(&["quarantine", "discard", "--yes"])),
        "3 events discarded\n"
    );
    assert_eq!(succeeded(&gateway.cli(&["quarantine", "list"])), "");
}

#[tokio::test]
async fn the_token_of_a_gateway_in_this_folder_is_found() {
    let gateway = Gateway::start_with(Options::default()).await;
    let url = gateway.admin_url();
    let output = headworks(&gateway.path(""), &["partner", "list", "--url", &url]);
    succeeded(&output);
    // Elsewhere there is none to be found.
    let output = headworks(
        repository().join("src").as_path(),
        &["partner", "list", "--url", &url],
    );
    assert_eq!(status(&output), 1);
    assert!(
        said(&output).contains("token-missing") && said(&output).contains("--token"),
        "{}",
        said(&output)
    );
}

/// What the program says of its commands, each asked once.
struct Helps {
    folder: tempfile::TempDir,
    texts: BTreeMap<Vec<String>, String>,
}

impl Helps {
    fn of(&mut self, path: &[String]) -> &str {
        self.texts.entry(path.to_vec()).or_insert_with(|| {
            let arguments: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
            succeeded(&headworks(self.folder.path(), &arguments))
        })
    }

    /// The command that the words begin with; none where a word should be one and is not.
    fn command(&mut self, words: &[&str]) -> Option<Vec<String>> {
        let mut path = Vec::new();
        for word in words {
            let below = commands_in(self.of(&path));
            if below.is_empty() || !is_word(word) {
                break;
            }
            if !below.contains(word) {
                return None;
            }
            path.push((*word).to_owned());
        }
        Some(path)
    }
}

/// The commands that a help lists; none where it is not one of a group.
fn commands_in(help: &str) -> Vec<&str> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    // What goes on in a second line stands further in.
    let begins = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
    listed
        .take_while(|line| !line.is_empty())
        .filter(begins)
        .filter_map(|line| line.split_whitespace().next())
        .collect()
}

/// Every `headworks …` of the documentation is a command, and its options are options of it.
#[test]
fn commands_and_options_of_the_documentation_exist() {
    let mut helps = Helps {
        folder: tempfile::tempdir().expect("a folder can be made"),
        texts: BTreeMap::new(),
    };
    let mut unknown = Vec::new();
    let groups = commands_in(helps.of(&[])).len();
    assert!(groups > 10, "{groups} commands");
    for document in files("", "md") {
        for line in commands(&read(&document)) {
            let words: Vec<&str> = line.split_whitespace().skip(1).collect();
            let Some(path) = helps.command(&words) else {
                unknown.push(format!("{}: {line}: no command\n", document.display()));
                continue;
            };
            let help = helps.of(&path);
            for word in words.iter().filter(|word| word.starts_with("--")) {
                let option = word.split('=').next().unwrap_or(word);
                if !help.split([' ', '\n', ',']).any(|known| known == option) {
                    unknown.push(format!("{}: {line}: {word}\n", document.display()));
                }
            }
        }
    }
    let helps = helps.texts;
    assert!(
        helps.len() > 30,
        "the documentation shows commands: {}",
        helps.len()
    );
    assert!(
        unknown.is_empty(),
        "these are no commands or options:\n{}",
        unknown.concat()
    );
}

fn is_word(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// What begins with `headworks ` in code spans and in fenced blocks.
fn commands(markdown: &str) -> Vec<String> {
    let spans = prose(markdown).flat_map(code_spans);
    let mut fenced = false;
    let blocks = markdown.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        fenced && !fence
    });
    spans
        .chain(blocks.map(|line| line.trim().trim_start_matches("$ ")))
        .filter(|text| text.starts_with("headworks "))
        .map(str::to_owned)
        .collect()
}
