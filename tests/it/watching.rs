//! `headworks tail`, `top` and `doctor`: what an operator looks through.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::harness::{
    gateway::{Answer, Gateway, PATIENCE, eventually},
    kafka::shared,
};

const JSON: &str = "application/json";

async fn with_signups(gateway: &mut Gateway) {
    gateway.partner("web", json!({})).await;
    gateway.partner("shop", json!({})).await;
    let schema = json!({"type": "object", "required": ["plan"], "properties": {"plan": {"type": "string"}}});
    gateway.put("/v1/schemas/user.signup/1", schema).await;
    gateway
        .put("/v1/types/user.signup", json!({"mask": ["/email"]}))
        .await;
    let route = json!({"match": {"type": "user.*"}, "to": [{"destination": "files", "topic": "signups", "key": "/email"}]});
    gateway.put("/v1/routes/signups", route).await;
}

/// A command that runs until it has printed enough.
struct Running {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Running {
    fn start(gateway: &Gateway, arguments: &[&str]) -> Running {
        Running::start_as(gateway, &gateway.token(), arguments)
    }

    /// With another token than the first admin's.
    fn start_as(gateway: &Gateway, token: &str, arguments: &[&str]) -> Running {
        let mut child = Command::new(env!("CARGO_BIN_EXE_headworks"))
            .args(arguments)
            .args(["--url", &gateway.admin_url(), "--token", token])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Running { child, lines }
    }

    /// Waits until it ends by itself; gives the status and what it said.
    async fn ended(mut self) -> (Option<i32>, String) {
        let status = eventually("the command ends by itself", async || {
            self.child.try_wait().expect("the child can be asked")
        })
        .await;
        let mut said = String::new();
        let mut errors = self.child.stderr.take().expect("piped");
        errors.read_to_string(&mut said).expect("text");
        (status.code(), said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::too_many_lines, reason = "five who watch the same events")]
#[tokio::test]
async fn tail_shows_what_passes_and_hides_what_is_masked() {
    let mut gateway = Gateway::start().await;
    with_signups(&mut gateway).await;
    let all = Running::start(&gateway, &["tail", "--json"]);
    let pro = Running::start(
        &gateway,
        &["tail", "--json", "--where", "/plan=pro", "--limit", "1"],
    );
    let refused = Running::start(&gateway, &["tail", "--json", "--code", "schema-violation"]);
    // Whether the email is this one cannot be asked.
    let guessing = Running::start(&gateway, &["tail", "--json", "--where", "/email=ada@example.com"]);
    let people = Running::start(&gateway, &["tail", "--partner", "shop", "--type", "user.signup"]);
    // Each begins to watch when it has connected: events go on until all have seen one.
    let mut number = 0;
    let mut first = Vec::new();
    let (mut of_pro, mut broken_ones) = (Vec::new(), Vec::new());
    let mut last_line = String::new();
    eventually("all have seen something", async || {
        number += 1;
        let event = json!({"plan": "pro", "email": "ada@example.com", "n": number, "token": "hw_1_secret"});
        let sent = gateway
            .send("POST", "/v1/events/user.signup", "shop")
            .header("content-type", JSON)
            .header("ce-subject", "user ada@example.com")
            .header("ce-source", "/shop?key=hw_1_secret")
            .body(event.to_string())
            .send()
            .await;
        Answer::read(sent.expect("answered")).await.expect(202);
        // Too large to be shown, and so to be looked through for what is hidden.
        let large = json!({"plan": "free", "email": "ada@example.com", "pad": "x".repeat(40_000)});
        gateway
            .post("/v1/events/user.signup", "web", JSON, large.to_string())
            .await
            .expect(202);
        gateway
            .post(
                "/v1/events/user.signup",
                "web",
                JSON,
                json!({"plan": number}).to_string(),
            )
            .await
            .expect(202);
        first.extend(all.lines.try_iter());
        last_line.extend(people.lines.try_iter().map(|line| line + "\n"));
        of_pro.extend(pro.lines.try_iter());
        broken_ones.extend(refused.lines.try_iter());
        (first.len() > 20 && !last_line.is_empty() && !of_pro.is_empty() && !broken_ones.is_empty())
            .then_some(())
    })
    .await;
    let parse = |line: &String| -> Value {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    };
    let events: Vec<Value> = first.iter().map(parse).collect();
    let shop = events
        .iter()
        .find(|event| event["partner"] == "shop")
        .expect("the shop's");
    assert_eq!(shop["data"]["email"], "***", "{shop}");
    assert_eq!(shop["data"]["token"], "***", "{shop}");
    assert_eq!(shop["status"], "accepted");
    let attributes = &shop["attributes"];
    assert_eq!(
        (&attributes["subject"], &attributes["source"]),
        (&json!("***"), &json!("***")),
        "{shop}"
    );
    assert_ne!(attributes["id"], "***", "{shop}");
    let record = &shop["records"][0];
    assert_eq!(
        (&record["destination"], &record["topic"]),
        (&json!("files"), &json!("signups"))
    );
    assert_eq!(
        (&record["key"], &record["value"]["email"]),
        (&json!("***"), &json!("***")),
        "{shop}"
    );
    assert_eq!(record["value"]["plan"], "pro");
    let broken = events
        .iter()
        .find(|event| event["code"] == "schema-violation")
        .expect("the broken one");
    assert_eq!(
        (&broken["status"], &broken["partner"]),
        (&json!("quarantined"), &json!("web"))
    );
    assert!(
        events
            .iter()
            .any(|event| event["partner"] == "web" && event["status"] == "accepted")
    );
    for text in first.iter().chain([&last_line]) {
        assert!(!text.contains("ada@") && !text.contains("hw_1_"), "{text}");
    }
    assert!(
        last_line.contains("shop user.signup") && last_line.contains("→ files/signups"),
        "{last_line}"
    );
    assert!(!last_line.contains("web user.signup"), "{last_line}");
    assert_eq!(of_pro.len(), 1, "--limit 1 ends it: {of_pro:?}");
    assert_eq!(parse(&of_pro[0])["data"]["plan"], "pro", "{of_pro:?}");
    for line in &broken_ones {
        assert_eq!(parse(line)["code"], "schema-violation", "{line}");
    }
    assert!(
        guessing.lines.try_recv().is_err(),
        "what is hidden cannot be asked for"
    );
}

#[tokio::test]
async fn tail_says_what_is_wrong_with_its_question() {
    let gateway = Gateway::start().await;
    let answer = gateway
        .admin("GET", "/v1/tail?where=plan&staus=accepted", None)
        .await
        .expect(422);
    let text = answer.to_string();
    assert!(
        text.contains("must be a JSON Pointer") && text.contains("status"),
        "{text}"
    );
    let client = crate::harness::client();
    let open = client
        .get(format!("{}/v1/tail", gateway.admin_url()))
        .send()
        .await;
    assert_eq!(
        open.expect("answered").status(),
        401,
        "events are not open to all"
    );
}

#[tokio::test]
async fn a_deleted_token_watches_no_further() {
    let mut gateway = Gateway::start().await;
    with_signups(&mut gateway).await;
    let body = json!({"name": "watcher", "role": "viewer"});
    let token = gateway.admin("POST", "/v1/tokens", Some(body)).await.expect(201);
    let text = token["token"].as_str().expect("it is shown once");
    // One sees events until then, and one none at all.
    let all = Running::start_as(&gateway, text, &["tail", "--json"]);
    let none = crate::harness::client()
        .get(format!("{}/v1/tail?partner=nobody", gateway.admin_url()))
        .bearer_auth(text)
        .send()
        .await
        .expect("it watches");
    assert_eq!(none.status(), 200);
    let other = Running::start(&gateway, &["tail", "--json"]);
    let post = async |number: u64| {
        let event = json!({"plan": "pro", "n": number}).to_string();
        gateway
            .post("/v1/events/user.signup", "shop", JSON, event)
            .await
            .expect(202);
    };
    let mut number = 0;
    eventually("both see events", async || {
        number += 1;
        post(number).await;
        let seen = [&all, &other].map(|watches| watches.lines.try_recv().is_ok());
        (seen == [true, true]).then_some(())
    })
    .await;

    let path = format!("/v1/tokens/{}", token["id"].as_str().expect("an id"));
    assert_eq!(gateway.admin("DELETE", &path, None).await.status, 204);
    number += 1;
    post(number).await;
    let is_last = |line: &String| line.contains(&format!("\"n\":{number}"));
    eventually("the other sees the last one", async || {
        other.lines.try_iter().any(|line| is_last(&line)).then_some(())
    })
    .await;
    // Until the command has ended.
    let shown: Vec<String> = std::iter::from_fn(|| all.lines.recv_timeout(PATIENCE).ok()).collect();
    assert!(!shown.iter().any(is_last), "{shown:?}");
    let (status, said) = all.ended().await;
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("token-invalid: the token was deleted"), "{said}");
    let told = tokio::time::timeout(PATIENCE, none.text()).await;
    let told = told.expect("the stream ends").expect("text");
    assert!(
        told.ends_with("event: ended\ndata: the token was deleted; ask an admin for another\n\n"),
        "{told}"
    );
}

#[tokio::test]
async fn top_says_who_sends_what_and_what_becomes_of_it() {
    let mut gateway = Gateway::start().await;
    with_signups(&mut gateway).await;
    let top = Running::start(&gateway, &["top", "--json", "--interval-s", "3"]);
    eventually("it has looked", async || {
        gateway
            .post(
                "/v1/events/user.signup",
                "shop",
                JSON,
                r#"{"plan":"x"}"#.to_owned(),
            )
            .await
            .expect(202);
        gateway
            .post("/v1/events/user.signup", "web", JSON, r#"{"plan":1}"#.to_owned())
            .await
            .expect(202);
        let line = top.lines.try_recv().ok()?;
        let tables: Value = serde_json::from_str(&line).expect("JSON");
        let of = |table: &str, name: &str| -> Value {
            let rows = tables[table].as_array().expect("rows");
            let column = if table == "versions" {
                "type@since"
            } else {
                &table[..table.len() - 1]
            };
            rows.iter()
                .find(|row| row[column] == name)
                .unwrap_or_else(|| panic!("{tables}"))
                .clone()
        };
        assert!(
            of("partners", "shop")["events/s"].as_f64() > Some(0.0),
            "{tables}"
        );
        assert!(
            of("partners", "web")["quarantined/s"].as_f64() > Some(0.0),
            "{tables}"
        );
        assert!(
            of("types", "user.signup")["events/s"].as_f64() > Some(0.0),
            "{tables}"
        );
        assert!(
            of("versions", "user.signup@1")["p99"].as_f64() > Some(0.0),
            "{tables}"
        );
        assert_eq!(of("destinations", "files")["state"], "healthy");
        assert!(
            of("codes", "schema-violation")["events"].as_f64() > Some(0.0),
            "{tables}"
        );
        Some(())
    })
    .await;
    let text = gateway.cli(&["top", "--interval-s", "1"]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(
        text.contains("quarantined/s") && text.contains("user.signup"),
        "{text}"
    );
}

#[tokio::test]
async fn doctor_says_what_is_wrong_and_what_to_mend() {
    let gateway = Gateway::start().await;
    let doctor = |folder: &std::path::Path, text: &str, arguments: &[&str]| {
        let file = folder.join("doctor.toml");
        std::fs::write(&file, text).expect("written");
        let output = Command::new(env!("CARGO_BIN_EXE_headworks"))
            .args(["doctor", "--config"])
            .arg(&file)
            .args(arguments)
            .output()
            .expect("the command runs");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    // The gateway's own configuration, while it runs.
    let own = std::fs::read_to_string(gateway.path("headworks.toml")).expect("the configuration");
    let folder = tempfile::tempdir().expect("a folder");
    let (status, text) = doctor(folder.path(), &own, &[]);
    assert_eq!(status, Some(0), "{text}");
    for words in [
        "ok       configuration: is in order",
        "fdatasync of 4 KiB takes",
        "ok       confinement: what compiles plugins and checks schemas opens no file and no socket",
        "takes, keeps and gives back",
        "destination files: can be written",
        "gateway: runs and is ready",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    assert_eq!(
        doctor(folder.path(), &own, &["--ready"]),
        (Some(0), "ready\n".to_owned())
    );

    let sick = format!(
        "data_dir = {:?}\n[server]\nlisten = \"127.0.0.1:1\"\nadmin_listen = \"127.0.0.1:2\"\n[store]\nurl = \"file:/proc/nowhere\"\n\
         [[destination]]\nname = \"events\"\nkind = \"kafka\"\nbrokers = \"127.0.0.1:9\"\n[limits]\nconnections = 4000000\n",
        folder.path().join("data"),
    );
    let (status, text) = doctor(folder.path(), &sick, &["--json"]);
    assert_eq!(status, Some(1), "{text}");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    let findings = report["findings"].as_array().expect("findings");
    let finding = |what: &str| {
        let found = findings.iter().find(|finding| {
            finding["what"]
                .as_str()
                .is_some_and(|name| name.starts_with(what))
        });
        found.unwrap_or_else(|| panic!("{what}: {text}"))
    };
    assert_eq!(finding("store")["verdict"], "fault");
    assert_eq!(finding("destination events")["verdict"], "warning");
    assert_eq!(finding("ulimit -n")["verdict"], "warning");
    for name in ["store", "destination events", "ulimit -n"] {
        assert!(
            finding(name)["mend"].as_str().is_some_and(|mend| mend.len() > 10),
            "{text}"
        );
    }
    assert!(!folder.path().join("data").exists(), "looking makes nothing");
    let (status, _) = doctor(folder.path(), &sick, &["--ready"]);
    assert_eq!(status, Some(1));
}

/// What `headworks doctor --json` finds, by its name's beginning; run by a command that stands before it, where there is
/// one.
fn diagnosed(
    wrapper: &[&str],
    folder: &std::path::Path,
    text: &str,
) -> impl Fn(&str) -> (String, String) + use<> {
    let file = folder.join("doctor.toml");
    std::fs::write(&file, text).expect("written");
    let program = env!("CARGO_BIN_EXE_headworks");
    let mut words = wrapper.iter().copied().chain([program]);
    let output = Command::new(words.next().expect("the program at least"))
        .args(words)
        .args(["doctor", "--json", "--config"])
        .arg(&file)
        .current_dir(folder)
        .output()
        .expect("the command runs");
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    move |what| {
        let findings = report["findings"].as_array().expect("findings");
        let word = |finding: &Value, member: &str| finding[member].as_str().expect("a text").to_owned();
        let found = findings.iter().find(|finding| {
            finding["what"]
                .as_str()
                .is_some_and(|name| name.starts_with(what))
        });
        let found = found.unwrap_or_else(|| panic!("{what}: {report}"));
        (word(found, "verdict"), word(found, "found"))
    }
}

#[tokio::test]
async fn doctor_tells_memory_from_disk_and_enough_room_from_too_little() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("data")).expect("made");
    let configuration = |spool: &str| {
        format!(
            "data_dir = {:?}\n[server]\nlisten = \"127.0.0.1:1\"\nadmin_listen = \"127.0.0.1:2\"\n\
             [spool]\nmax_bytes = \"{spool}\"\n",
            folder.path().join("data")
        )
    };
    let free = {
        let disk = rustix::fs::statvfs(folder.path()).expect("a file system");
        disk.f_bavail * disk.f_frsize
    };
    for (spool, verdict) in [
        ("64MiB".to_owned(), "good"),
        (format!("{}", free * 2), "warning"),
        (format!("{}", free * 20), "fault"),
    ] {
        let spool = spool
            .parse::<u64>()
            .map_or(spool, |bytes| format!("{}KiB", bytes >> 10));
        let finding = diagnosed(&[], folder.path(), &configuration(&spool));
        assert_eq!(finding("room").0, verdict, "{spool} of {free}");
    }
    // A file system in memory of its own, of 16 MiB, in the place of the data folder.
    let mount = "mount -t tmpfs -o size=16m none data && exec \"$0\" \"$@\"";
    let in_memory = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        mount,
    ];
    let finding = diagnosed(&in_memory, folder.path(), &configuration("1GiB"));
    let (verdict, found) = finding("durability");
    assert_eq!(verdict, "fault");
    assert!(
        found.ends_with("is in memory: what is synced there does not survive"),
        "{found}"
    );
    let (verdict, found) = finding("room");
    assert_eq!(verdict, "fault");
    assert!(found.ends_with("MiB free, spool.max_bytes is 1GiB"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_asks_the_brokers() {
    let broker = tokio::task::spawn_blocking(shared).await.expect("started");
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!(
        "data_dir = {:?}\n[[destination]]\nname = \"events\"\nkind = \"kafka\"\nbrokers = \"{}\"\n",
        folder.path().join("data"),
        broker.bootstrap()
    );
    let finding = diagnosed(&[], folder.path(), &text);
    assert_eq!(
        finding("destination events"),
        ("good".to_owned(), "1 brokers answer".to_owned())
    );
}

#[tokio::test]
async fn readiness_names_its_reasons() {
    let gateway = Gateway::start().await;
    let client = crate::harness::client();
    let answer = client
        .get(format!("{}/readyz", gateway.admin_url()))
        .send()
        .await
        .expect("answered");
    let readiness: Value = answer.json().await.expect("JSON");
    assert_eq!(readiness["ready"], true);
    let names: Vec<&str> = readiness["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .filter_map(|check| check["name"].as_str())
        .collect();
    assert_eq!(
        names,
        ["running", "registry", "durable-place", "destination:files"]
    );
}
