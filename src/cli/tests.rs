use clap::{CommandFactory as _, Parser as _, error::ErrorKind};

use super::{
    arguments::{Cli, Command, Remote},
    client::Client,
    failure::{Failure, Refusal},
    resources,
    tls::TlsArguments,
};
use crate::registry::model::{Partner, Route};

fn parsed(arguments: &[&str]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("headworks").chain(arguments.iter().copied()))
}

#[test]
fn the_arguments_contradict_nothing() {
    Cli::command().debug_assert();
}

#[test]
fn the_contracts_commands_are_known() {
    for line in [
        "serve",
        "serve --config headworks.toml",
        "config check headworks.toml",
        "apply . --dry-run",
        "schema list",
        "schema list call.ended --json",
        "schema show call.ended 1.0",
        "schema register call.ended 1.0 file.json --source /apps/a --force",
        "schema delete call.ended 1.0 --force --yes",
        "schema delete call.ended 1.0 --dry-run",
        "plugin new --language rust call-event",
        "plugin build",
        "plugin build plugins/call-event",
        "plugin new --language python orders",
        "plugin test plugins/call-event --local",
        "plugin test plugin.wasm --local --cases cases",
        "plugin dev plugins/call-event",
        "plugin push call-event plugins/call-event --activate",
        "plugin test call-event --version 2",
        "plugin test call-event --version 2 --recent 50 --config config.json",
        "plugin test call-event --version 2 --events events.ndjson",
        "plugin test call-event --version 2 --cases plugins/call-event/cases",
        "plugin activate call-event --version 2 --share 10",
        "plugin shadow call-event --version 2",
        "plugin shadow call-event --off",
        "plugin logs call-event",
        "plugin logs call-event --version 2 --partner shop --event one --level warn --limit 5 --follow",
        "plugin rollback call-event",
        "plugin list",
        "plugin show call-event",
        "partner list --url http://gateway:8081 --token t",
        "partner show acme",
        "partner put acme",
        "partner put acme acme.toml",
        "partner delete acme",
        "key create acme --kind publishable",
        "key list acme",
        "key revoke acme 0123",
        "route list",
        "route show calls",
        "route put calls calls.toml",
        "route delete calls",
        "quarantine list --partner acme --type a.b --appversion 5.2 --code schema-violation --limit 5",
        "quarantine show 0123",
        "quarantine replay --from 2026-11-02T10:00:00Z --to 2026-11-03T00:00:00+09:00 --dry-run",
        "quarantine discard --yes",
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        parsed(&arguments).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn what_is_no_name_or_version_is_wrong_usage() {
    for (line, said) in [
        ("schema show a/b 1.0", "no event type"),
        ("schema show a.b beta", "a version begins with a number"),
        ("partner show Acme", "no partner name"),
        ("plugin activate call-event --version 1 --share 0", "1..=100"),
        ("quarantine list --code schema-violated", "no code"),
        ("quarantine list --from yesterday", "invalid value"),
        ("plugin test plugins/call-event", "--local"),
        (
            "plugin test call-event --local --version 2",
            "cannot be used with",
        ),
        ("plugin shadow call-event", "--version"),
        ("plugin logs call-event --level loud", "possible values"),
        ("apply . --yes --keep", "cannot be used with"),
        ("key create acme --kind private", "possible values"),
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        let error = parsed(&arguments).expect_err(line);
        assert!(
            !matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion),
            "{line}"
        );
        assert!(error.to_string().contains(said), "{line}: {error}");
    }
}

#[test]
fn a_token_is_never_shown() {
    let cli = parsed(&["partner", "list", "--token", "hwt_secret"]).unwrap();
    assert!(!format!("{cli:?}").contains("hwt_secret"));
    let Command::Partner { remote, .. } = cli.command else {
        panic!("it is a partner command");
    };
    assert_eq!(remote.token.as_deref(), Some("hwt_secret"));
    let client = Client::new(&remote).unwrap();
    assert!(!format!("{client:?}").contains("hwt_secret"));
}

#[test]
fn a_url_that_is_none_is_wrong_usage() {
    for url in ["127.0.0.1:8081", "gateway", "ftp://gateway", "http://"] {
        let remote = Remote {
            url: url.to_owned(),
            token: None,
            tls: TlsArguments::default(),
            json: false,
        };
        assert!(matches!(Client::new(&remote), Err(Failure::Usage(_))), "{url}");
    }
}

#[test]
fn a_refusal_says_everything_at_once() {
    let refusal: Refusal = serde_json::from_value(serde_json::json!({
        "type": "https://headworks.dev/errors/input-invalid",
        "title": "t",
        "status": 422,
        "code": "input-invalid",
        "detail": "2 faults; see errors",
        "request_id": "r",
        "errors": [
            { "pointer": "/to/0/destination", "message": "there is no destination \"kafak\"" },
            { "pointer": "", "message": "escape \u{1b}[31m" },
        ],
    }))
    .unwrap();
    assert_eq!(
        refusal.to_string(),
        "input-invalid: 2 faults; see errors\n  /to/0/destination: there is no destination \"kafak\"\n  (root): escape \\u{1b}[31m"
    );
    let refusal: Refusal = serde_json::from_value(serde_json::json!({
        "status": 422, "code": "input-invalid", "detail": "there is no such version",
        "errors": [{ "pointer": "/version", "message": "there is no such version" }],
    }))
    .unwrap();
    assert_eq!(
        refusal.to_string(),
        "input-invalid: there is no such version (at /version)"
    );
    let refusal: Refusal = serde_json::from_value(serde_json::json!({
        "status": 503, "code": "store-unavailable", "detail": "the store cannot be reached", "request_id": "0198",
    }))
    .unwrap();
    assert_eq!(
        refusal.to_string(),
        "store-unavailable: the store cannot be reached\n  try again; the gateway's log says more under the request id\n  request id 0198"
    );
}

#[test]
fn what_show_prints_is_what_put_takes() {
    let route: Route = serde_json::from_value(serde_json::json!({
        "match": { "partner": "callbridge", "type": "call.*", "source": "*" },
        "plugin": "call-event",
        "config": { "salt": "s", "regions": [{ "code": 82 }], "deep": { "a": true } },
        "isolation": "event",
        "to": [{ "destination": "files", "topic": "calls", "key": "/id" }, { "destination": "events" }],
    }))
    .unwrap();
    let text = resources::to_toml(&route);
    assert_eq!(
        resources::parse("calls.toml", &text, resources::route).unwrap(),
        route,
        "{text}"
    );

    let partner: Partner = serde_json::from_value(serde_json::json!({
        "description": "Calls",
        "source": "https://calls.example/",
        "policy": "reject",
        "rate_limit": { "events_per_s": 5, "bytes_per_s": 10_000_000 },
        "origins": ["https://calls.example"],
    }))
    .unwrap();
    let text = resources::to_toml(&partner);
    assert_eq!(
        resources::parse("calls.toml", &text, resources::partner).unwrap(),
        partner,
        "{text}"
    );
    assert_eq!(
        resources::parse("empty.toml", "", resources::partner).unwrap(),
        Partner::default()
    );
}

#[test]
fn a_broken_resource_has_all_its_faults_named() {
    let broken = r#"plugin = "Call Event"
config = { salt = 1 }
topic = "calls"

[match]
typ = "call.*"

[[to]]
destinaton = "files"
"#;
    let errors = resources::parse("routes/calls.toml", broken, resources::route).expect_err("it is broken");
    assert_eq!(
        errors.to_string(),
        r#"routes/calls.toml:1:10: plugin: "Call Event" is no plugin name: 1 to 63 characters of a-z 0-9 -, beginning with a letter or digit
routes/calls.toml:3:1: topic: unknown key (it belongs in [[to]])
routes/calls.toml:6:1: match.typ: unknown key (did you mean `type`?)
routes/calls.toml:8:1: to[0].destination: is missing (give the name of a destination of the configuration)
routes/calls.toml:9:1: to[0].destinaton: unknown key (did you mean `destination`?)"#
    );
    for (isolation, fault) in [
        (
            "evnt",
            r#"13: isolation: "evnt" is not known here (did you mean "event"?)"#,
        ),
        (
            "event",
            r#"13: isolation: is of a plugin's instances, and none is named (write plugin = "NAME", or leave it out)"#,
        ),
    ] {
        let text = format!("isolation = \"{isolation}\"\n[[to]]\ndestination = \"files\"\n");
        let errors = resources::parse("routes/a.toml", &text, resources::route).expect_err("it is broken");
        assert_eq!(errors.to_string(), format!("routes/a.toml:1:{fault}"));
    }
    let errors = resources::parse(
        "partners/a.toml",
        "policy = \"rejct\"\norigins = [1]\n[rate_limit]\nburst = 0\nevents = 5\n",
        resources::partner,
    )
    .expect_err("it is broken");
    assert_eq!(
        errors.to_string(),
        r#"partners/a.toml:1:10: policy: "rejct" is not known here (did you mean "reject"?)
partners/a.toml:2:11: origins: [0] is an integer, and must be a string
partners/a.toml:4:9: rate_limit.burst: must be at least 1
partners/a.toml:5:1: rate_limit.events: unknown key (did you mean `events_per_s`?)"#
    );
}
