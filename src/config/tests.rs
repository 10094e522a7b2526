use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use proptest::prelude::*;

use super::{
    ConfigErrors, DestinationKind, Settings, load,
    read::{settings, whole},
    section::Faults,
    tree,
};
use crate::{
    limits::{ByteSize, Limits},
    telemetry::LogFormat,
};

fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn read(text: &str, variables: &[(&str, &str)]) -> Result<Settings, ConfigErrors> {
    settings("headworks.toml", text, &environment(variables))
}

fn good(text: &str, variables: &[(&str, &str)]) -> Settings {
    read(text, variables).unwrap_or_else(|errors| panic!("{errors}"))
}

#[track_caller]
fn refused(text: &str, variables: &[(&str, &str)], expected: &str) {
    let errors = read(text, variables).expect_err("it is broken");
    assert_eq!(errors.to_string(), expected.trim());
}

fn kafka(settings: &Settings, index: usize) -> (String, BTreeMap<String, String>) {
    match &settings.destinations[index].kind {
        DestinationKind::Kafka { brokers, options } => (
            brokers.clone(),
            options
                .iter()
                .map(|(name, value)| (name.clone(), value.reveal().to_owned()))
                .collect(),
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_file_gives_the_defaults() {
    let settings = load(None, std::iter::empty()).unwrap();
    assert_eq!(settings.data_dir, PathBuf::from("data"));
    assert_eq!(settings.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.server.admin_listen.to_string(), "127.0.0.1:8081");
    assert_eq!(settings.store.url, "file:data/store");
    assert_eq!(settings.spool.max_bytes, ByteSize(10 << 30));
    assert_eq!(settings.quarantine.max_age_days, 0);
    assert_eq!(settings.quarantine.max_bytes, ByteSize(0));
    assert_eq!(settings.recent.events, 100);
    assert_eq!(settings.recent.max_bytes, ByteSize(64 << 20));
    assert_eq!(settings.limits, Limits::default());
    assert_eq!(settings.destinations.len(), 1);
    assert_eq!(settings.destinations[0].name.as_str(), "files");
    assert!(
        matches!(&settings.destinations[0].kind, DestinationKind::File { path, .. } if path == Path::new("data/out"))
    );
    assert!(settings.warnings().is_empty());
}

const WHOLE: &str = r#"
data_dir = "/var/lib/headworks"

[server]
listen = "0.0.0.0:80"
admin_listen = "[::1]:81"
shutdown_timeout_s = 5

[store]
url = "file:elsewhere"

[spool]
max_bytes = "1TiB"

[quarantine]
max_age_days = 90
max_bytes = "1TiB"

[recent]
events = 7
max_bytes = "1GiB"

[limits]
body_bytes = 1048576
depth = 32

[[destination]]
name = "events"
kind = "kafka"
brokers = "one:9092, two:9093"
options = { "compression.type" = "zstd", "linger.ms" = 5, "enable.ssl.certificate.verification" = true, acks = "all" }

[[destination]]
name = "files"
kind = "file"

[telemetry]
otlp_endpoint = "http://localhost:4317"
otlp_headers = { authorization = { env = "COLLECTOR" }, x-scope = "one" }
otlp_interval_s = 5
trace_one_in = 10
label_sets = 50
log_format = "json"
log_level = "debug"
"#;

#[test]
fn every_section_is_read() {
    let settings = good(WHOLE, &[("COLLECTOR", "Bearer t")]);
    let telemetry = &settings.telemetry;
    assert_eq!(telemetry.otlp_headers["authorization"].reveal(), "Bearer t");
    assert_eq!(
        (
            telemetry.otlp_interval_s,
            telemetry.trace_one_in,
            telemetry.label_sets
        ),
        (5, 10, 50)
    );
    assert_eq!(settings.server.listen.to_string(), "0.0.0.0:80");
    assert_eq!(settings.server.admin_listen.to_string(), "[::1]:81");
    assert_eq!(settings.server.shutdown_timeout_s, 5);
    assert_eq!(settings.store.url, "file:elsewhere");
    assert_eq!(settings.spool.max_bytes, ByteSize(1 << 40));
    assert_eq!(settings.quarantine.max_age_days, 90);
    assert_eq!(settings.quarantine.max_bytes, ByteSize(1 << 40));
    assert_eq!(settings.recent.events, 7);
    assert_eq!(settings.recent.max_bytes, ByteSize(1 << 30));
    assert_eq!(settings.limits.body_bytes, ByteSize(1 << 20));
    assert_eq!(settings.limits.depth, 32);
    let (brokers, options) = kafka(&settings, 0);
    assert_eq!(brokers, "one:9092, two:9093");
    assert_eq!(options["compression.type"], "zstd");
    assert_eq!(options["linger.ms"], "5");
    assert_eq!(options["enable.ssl.certificate.verification"], "true");
    assert!(
        matches!(&settings.destinations[1].kind, DestinationKind::File { path, .. } if path == Path::new("/var/lib/headworks/out"))
    );
    assert_eq!(settings.telemetry.log_format, LogFormat::Json);
    assert_eq!(settings.telemetry.log_level, "debug");
    assert_eq!(settings.warnings().len(), 1);
}

#[test]
fn every_fault_is_reported_at_once() {
    refused(
        r#"data_dri = "data"

[server]
listen = "localhost:8080"
admin_listen = 8081
shutdown_timeout = 3
tls = { certificate = "a" }

[spool]
max_bytes = "10GB"

[limits]
body_bytes = "512KiB"
depth = "64"
conections = 3
events_per_request = -1

[[destination]]
name = "Events"
kind = "kafak"
brokers = "one"

[[destination]]
name = "two"
kind = "kafka"

[[destination]]
name = "two"
kind = "file"
paht = "out"
brokers = "one"

[telemetry]
log_format = "jsno"
log_level = "warn,headworks=wran"
listen = "here"
"#,
        &[],
        r#"
headworks.toml:1:1: data_dri: unknown key (did you mean `data_dir`?)
headworks.toml:4:10: server.listen: "localhost:8080" is no address (did you mean "127.0.0.1:8080"?)
headworks.toml:5:16: server.admin_listen: is an integer, and must be an address (did you mean "127.0.0.1:8081"?)
headworks.toml:6:1: server.shutdown_timeout: unknown key (did you mean `shutdown_timeout_s`?)
headworks.toml:7:7: server.tls.key: is missing (name the file with the certificate's private key, in PEM)
headworks.toml:10:13: spool.max_bytes: "10GB" is no size: write a whole number with B, KiB, MiB, GiB or TiB, such as "16MiB" (did you mean "10GiB"?)
headworks.toml:13:14: limits.event_bytes: must not be above body_bytes (512KiB)
headworks.toml:14:9: limits.depth: is a string, and must be a whole number (write 64 without quotation marks)
headworks.toml:15:1: limits.conections: unknown key (did you mean `connections`?)
headworks.toml:16:22: limits.events_per_request: must be a whole number from 0 to 4294967295
headworks.toml:19:8: destination[0].name: "Events" is no destination name: 1 to 63 characters of a-z 0-9 -, beginning with a letter or digit
headworks.toml:20:8: destination[0].kind: "kafak" is not known here (did you mean "kafka"?)
headworks.toml:23:1: destination.two.brokers: is missing (name at least one: brokers = "localhost:9092")
headworks.toml:28:8: destination.two.name: "two" is the name of another destination too (the other is at headworks.toml:24:8; give one of them another name)
headworks.toml:30:1: destination.two.paht: unknown key (did you mean `path`?)
headworks.toml:31:1: destination.two.brokers: unknown key (known in destination.two: file_bytes, file_time_s, kind, name, path, retention_days)
headworks.toml:34:14: telemetry.log_format: "jsno" is not known here (did you mean "json"?)
headworks.toml:35:13: telemetry.log_level: "wran" is no log level (did you mean "warn"?)
headworks.toml:36:1: telemetry.listen: unknown key (it belongs in [server])
"#,
    );
}

#[test]
fn broken_toml_is_reported_with_the_faults_beside_it() {
    refused(
        "[server]\nlisten = \nadmin_lisen = \"127.0.0.1:8081\"\n[spool\nmax_bytes = \"1GiB\"\n",
        &[],
        "
headworks.toml:2:10: is not TOML: string values must be quoted, expected literal string
headworks.toml:3:1: server.admin_lisen: unknown key (did you mean `admin_listen`?)
headworks.toml:4:7: is not TOML: unclosed table, expected `]`
",
    );
}

#[test]
fn columns_count_characters() {
    refused(
        "store = { \"über\" = 1, \"u\" = 2 }",
        &[],
        "
headworks.toml:1:11: store.über: unknown key (known in store: options, url)
headworks.toml:1:23: store.u: unknown key (known in store: options, url)
",
    );
}

#[test]
fn destinations_that_break_the_promise_or_are_not_yet_there_are_refused() {
    refused(
        r#"
[[destination]]
name = "events"
kind = "kafka"
brokers = ["one:9092"]
[destination.options]
acks = 1
"bootstrap.servers" = "one"
compression.type = "zstd"
"sasl.password" = { env = "NOT_SET" }
"ssl.key.password" = { file = "/nonexistent/password" }
"retries" = 1.5

[[destination]]
name = "marketing"
kind = "kinesis"
endpoint_url = "127.0.0.1:4568"
access_key_id = "AKID"
aggregation = "yes"
record_bytes = "11MiB"

[[destination]]
name = "one"
kind = "file"
path = "out"

[[destination]]
name = "other"
kind = "file"
path = "./out"

[store]
url = "s3:bucket"
"#,
        &[],
        r#"
headworks.toml:5:11: destination.events.brokers: is an array, and must be a string (write one string: "one:9092,two:9092")
headworks.toml:7:8: destination.events.options."acks": cannot be set: a record counts as delivered when all in-sync replicas have it (leave it out)
headworks.toml:8:23: destination.events.options."bootstrap.servers": cannot be set: `brokers` names them (leave it out)
headworks.toml:9:1: destination.events.options."compression": is a table that is no secret (put the setting's name in quotation marks: "compression.type")
headworks.toml:10:19: destination.events.options."sasl.password": the environment variable "NOT_SET" is not set
headworks.toml:11:22: destination.events.options."ssl.key.password": the secret's file /nonexistent/password cannot be read: No such file or directory (os error 2) (relative paths begin at the working directory)
headworks.toml:12:13: destination.events.options."retries": is a float, and must be a string, an integer or a boolean
headworks.toml:14:1: destination.marketing.region: is missing (name it: region = "ap-northeast-2")
headworks.toml:14:1: destination.marketing.secret_access_key: is missing (`access_key_id` needs it)
headworks.toml:17:16: destination.marketing.endpoint_url: "127.0.0.1:4568" is no URL (write http://HOST:PORT or https://HOST)
headworks.toml:19:15: destination.marketing.aggregation: is a string, and must be true or false
headworks.toml:20:16: destination.marketing.record_bytes: must lie between 1 and 10MiB
headworks.toml:30:8: destination.other.path: destination.one writes into this folder too (give each a folder of its own)
headworks.toml:33:7: store.url: names no bucket (write "s3://BUCKET/PATH")
"#,
    );
}

#[test]
fn a_token_endpoint_without_tls_is_warned_of() {
    let warnings = |url: &str| {
        let text = format!(
            "[[destination]]\nname = \"events\"\nkind = \"kafka\"\nbrokers = \"one:9092\"\n\
             options = {{ \"sasl.oauthbearer.token.endpoint.url\" = {url:?} }}\n"
        );
        good(&text, &[]).warnings()
    };
    let far = warnings("http://login.example/token");
    assert!(
        far.len() == 1 && far[0].contains("destination.events.options") && far[0].contains("without TLS"),
        "{far:?}"
    );
    for fine in ["https://login.example/token", "http://127.0.0.1:8080/token"] {
        assert_eq!(warnings(fine), Vec::<String>::new(), "{fine}");
    }
}

#[test]
fn a_kinesis_destination_has_all_its_settings() {
    let settings = good(
        r#"
[[destination]]
name = "marketing"
kind = "kinesis"
region = "ap-northeast-2"
endpoint_url = "http://127.0.0.1:4568"
access_key_id = "AKID"
secret_access_key = { env = "AWS_SECRET" }
assume_role_arn = "arn:aws:iam::1:role/writer"
assume_role_external_id = "7"
aggregation = true
record_bytes = "2MiB"
"#,
        &[("AWS_SECRET", "hidden")],
    );
    let DestinationKind::Kinesis(kinesis) = &settings.destinations[0].kind else {
        panic!("{settings:?}")
    };
    assert_eq!(kinesis.region, "ap-northeast-2");
    let (id, secret) = kinesis.credentials.as_ref().expect("both are there");
    assert_eq!((id.reveal(), secret.reveal()), ("AKID", "hidden"));
    let role = kinesis.assume_role.as_ref().expect("a role");
    assert_eq!(role.arn, "arn:aws:iam::1:role/writer");
    assert_eq!((kinesis.aggregation, kinesis.record_bytes), (true, 2 << 20));
    assert!(!format!("{settings:?}").contains("hidden"));
}

#[test]
fn a_port_has_one_listener() {
    refused(
        "[server]\nlisten = \"0.0.0.0:8081\"\n",
        &[],
        "headworks.toml:2:10: server.listen: events and the admin API cannot both listen on 127.0.0.1:8081 (give one of them another port)",
    );
    good(
        "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n",
        &[],
    );
}

#[test]
fn tables_and_lists_are_told_apart() {
    refused(
        "server = 1\n[destination]\nname = \"a\"\n",
        &[],
        "
headworks.toml:1:10: server: is an integer, and must be a table
headworks.toml:2:1: destination: is a table, and must be a list of tables (write [[destination]], with two brackets)
",
    );
}

#[test]
fn every_value_can_come_from_the_environment() {
    let settings = good(
        WHOLE,
        &[
            ("COLLECTOR", "Bearer t"),
            ("HEADWORKS__DATA_DIR", "/srv"),
            ("HEADWORKS__SERVER__LISTEN", "127.0.0.1:9000"),
            ("HEADWORKS__SERVER__SHUTDOWN_TIMEOUT_S", "7"),
            ("HEADWORKS__LIMITS__BODY_BYTES", "2MiB"),
            ("HEADWORKS__SPOOL__MAX_BYTES", "1GiB"),
            ("HEADWORKS__DESTINATION__EVENTS__BROKERS", "three:9092"),
            ("HEADWORKS__DESTINATION__EVENTS__OPTIONS__COMPRESSION_TYPE", "lz4"),
            (
                "HEADWORKS__DESTINATION__EVENTS__OPTIONS__SASL_PASSWORD__ENV",
                "PASSWORD",
            ),
            ("HEADWORKS__DESTINATION__1__PATH", "/srv/files"),
            ("HEADWORKS__DESTINATION__CALL_TRACKING__KIND", "kafka"),
            ("HEADWORKS__DESTINATION__CALL_TRACKING__BROKERS", "four:9092"),
            ("PASSWORD", "hunter2"),
            ("HEADWORKS_URL", "not a setting"),
        ],
    );
    assert_eq!(settings.data_dir, PathBuf::from("/srv"));
    assert_eq!(settings.server.listen.to_string(), "127.0.0.1:9000");
    assert_eq!(settings.server.shutdown_timeout_s, 7);
    assert_eq!(settings.limits.body_bytes, ByteSize(2 << 20));
    assert_eq!(settings.spool.max_bytes, ByteSize(1 << 30));
    let (brokers, options) = kafka(&settings, 0);
    assert_eq!(brokers, "three:9092");
    assert_eq!(options["compression.type"], "lz4");
    assert_eq!(options["sasl.password"], "hunter2");
    assert!(
        matches!(&settings.destinations[1].kind, DestinationKind::File { path, .. } if path == Path::new("/srv/files"))
    );
    assert_eq!(settings.destinations[2].name.as_str(), "call-tracking");
    assert_eq!(kafka(&settings, 2).0, "four:9092");
    assert!(!format!("{settings:?}").contains("hunter2"));
}

#[test]
fn the_environment_alone_configures_destinations() {
    let settings = good(
        "",
        &[
            ("HEADWORKS__DESTINATION__EVENTS__KIND", "kafka"),
            ("HEADWORKS__DESTINATION__EVENTS__BROKERS", "one:9092"),
        ],
    );
    let names: Vec<&str> = settings
        .destinations
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    assert_eq!(names, ["events"]);
    let settings = good("", &[("HEADWORKS__DESTINATION__FILES__PATH", "/srv/out")]);
    assert!(
        matches!(&settings.destinations[0].kind, DestinationKind::File { path, .. } if path == Path::new("/srv/out"))
    );
}

#[test]
fn faults_of_the_environment_name_the_variable() {
    refused(
        "[[destination]]\nname = \"events\"\nkind = \"file\"\n",
        &[
            ("HEADWORKS__DESTINATION__7__PATH", "out"),
            ("HEADWORKS__DESTINATION__EVNTS__PATH", "out"),
            ("HEADWORKS__LIMITS__DEPTH", "deep"),
            ("HEADWORKS__SERVER", "all"),
            ("HEADWORKS__SEVER__LISTEN", "127.0.0.1:1"),
            ("HEADWORKS__SPOOL____MAX", "1"),
        ],
        r"
HEADWORKS__DESTINATION__7__PATH: destination: there is no destination 7 (count from 0, or write the destination's name, which makes a new one)
HEADWORKS__DESTINATION__EVNTS__PATH: destination.evnts.kind: is missing (did you mean HEADWORKS__DESTINATION__EVENTS__…?)
HEADWORKS__LIMITS__DEPTH: limits.depth: must be a whole number from 0 to 4294967295
HEADWORKS__SERVER: server: is a string, and must be a table
HEADWORKS__SEVER__LISTEN: sever: unknown key (did you mean `server`?)
HEADWORKS__SPOOL____MAX: names no setting (write HEADWORKS__SECTION__KEY)
",
    );
}

#[test]
fn secrets_are_read_from_files_without_their_line_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    std::fs::write(&path, "correct horse\n").unwrap();
    let text = format!(
        "[[destination]]\nname = \"events\"\nkind = \"kafka\"\nbrokers = \"one\"\noptions = {{ \"sasl.password\" = {{ file = {path:?} }} }}\n"
    );
    let (_, options) = kafka(&good(&text, &[]), 0);
    assert_eq!(options["sasl.password"], "correct horse");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let errors = load(Some("nowhere/headworks.toml".as_ref()), std::iter::empty()).expect_err("not there");
    assert_eq!(
        errors.to_string(),
        "nowhere/headworks.toml: cannot be read: No such file or directory (os error 2) (give another path, or none: `headworks serve` runs on defaults)"
    );
}

/// Every key that is asked for while a configuration with each kind of destination is read.
#[test]
fn every_key_has_its_place_in_the_documentation() {
    let documentation = include_str!("../../docs/configuration.md");
    let (root, errors) = tree::parse("headworks.toml", WHOLE);
    assert!(errors.is_empty());
    let mut faults = Faults::default();
    whole(&root, &BTreeMap::new(), &mut faults);
    let known = faults.known().clone();
    for key in [
        "data_dir",
        "server.listen",
        "limits.depth",
        "destination.brokers",
        "destination.path",
    ] {
        assert!(known.contains(key), "{key} of {known:?}");
    }
    for key in known {
        let name = key.rsplit('.').next().unwrap_or(&key);
        let section = key.strip_suffix(name).unwrap_or_default().trim_end_matches('.');
        let row = if section.is_empty() {
            format!("| `{name}` |")
        } else {
            format!("| `{section}.{name}` |")
        };
        let heading = matches!(
            key.as_str(),
            "server"
                | "store"
                | "spool"
                | "quarantine"
                | "recent"
                | "plugins"
                | "limits"
                | "keys"
                | "destination"
                | "telemetry"
        );
        assert!(
            heading || documentation.contains(&row),
            "docs/configuration.md has no row {row}"
        );
    }
}

/// Pieces of which TOML is made, so that random files reach beyond the parser.
fn fragment() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("[server]\n".to_owned()),
        Just("[limits]\n".to_owned()),
        Just("[[destination]]\n".to_owned()),
        Just("[destination]\n".to_owned()),
        Just("destination = [1]\n".to_owned()),
        Just("options = { \"a\" = { file = 1 } }\n".to_owned()),
        "(listen|name|kind|path|brokers|depth|body_bytes|url|tls|options|[a-z]{1,5}) = (\"(kafka|file|kinesis|a|10GB|localhost:1|\\[::\\]:1|é)\"|-?[0-9]{1,40}|true|1\\.5|\\[\\]|\\{\\}|2026-01-01)\n",
        "\\PC{0,20}\n",
    ]
}

proptest! {
    #[test]
    fn nothing_panics(
        fragments in prop::collection::vec(fragment(), 0..12),
        variables in prop::collection::btree_map(
            "HEADWORKS__(DESTINATION|SERVER|LIMITS|[A-Z_]{0,4})(__(EVENTS|0|9|OPTIONS|KIND|NAME|LISTEN|[A-Z_]{0,4})){0,5}",
            "kafka|file|[ -~é]{0,12}",
            0..4,
        ),
    ) {
        if let Err(errors) = settings("headworks.toml", &fragments.concat(), &variables) {
            prop_assert!(!errors.to_string().is_empty());
        }
    }
}
