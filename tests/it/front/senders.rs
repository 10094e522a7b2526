//! Real SDKs of other services, pointed here by their own host setting: they must take our answers for a success, and
//! what arrives must be what they sent.

use std::{path::PathBuf, process::Command, sync::OnceLock};

use serde_json::{Value, json};

use crate::harness::gateway::{Gateway, repository};

fn home() -> PathBuf {
    std::env::var_os("HEADWORKS_SENDERS_HOME")
        .map_or_else(|| repository().join(".cache/senders"), PathBuf::from)
}

/// Installs the SDKs where they are not yet; once for all tests of this process.
fn fetch() {
    static FETCHED: OnceLock<()> = OnceLock::new();
    FETCHED.get_or_init(install);
}

fn install() {
    let fetched = Command::new(repository().join("tests/senders/fetch.sh"))
        .status()
        .expect("the script runs");
    assert!(fetched.success(), "the SDKs cannot be installed");
}

/// What one SDK's two events become.
struct Expected {
    envelope: Option<&'static str>,
    kind: &'static str,
    types: [&'static str; 2],
    app_version: Option<&'static str>,
    /// Where in the data of the first event the amount is.
    amount: &'static str,
}

fn expected(sdk: &str) -> Expected {
    let of = |envelope, types, amount| Expected {
        envelope: Some(envelope),
        kind: "publishable",
        types,
        app_version: Some("5.2.0"),
        amount,
    };
    match sdk {
        "segment" => of("segment", ["track", "identify"], "/properties/total"),
        "rudderstack" => of("rudderstack", ["track", "identify"], "/properties/total"),
        "posthog" => of("posthog", ["Order-Completed", "-pageview"], "/properties/total"),
        "mixpanel" => of(
            "mixpanel",
            ["Order-Completed", "Page-Viewed"],
            "/properties/total",
        ),
        "amplitude" => of(
            "amplitude",
            ["Order-Completed", "Page-Viewed"],
            "/event_properties/total",
        ),
        "snowplow" | "snowplow_get" => Expected {
            app_version: None,
            ..of("snowplow", ["pv", "se"], "")
        },
        "cloudevents" | "cloudevents_batch" => Expected {
            envelope: None,
            kind: "secret",
            ..of("", ["order.paid", "order.paid"], "/total")
        },
        "standardwebhooks" => Expected {
            envelope: None,
            kind: "signing",
            app_version: None,
            ..of("", ["order.paid", "order.paid"], "/total")
        },
        _ => panic!("{sdk}"),
    }
}

async fn send(program: &str, script: Option<&str>, sdk: &str) {
    let expected = expected(sdk);
    let gateway = Gateway::start().await;
    let partner = expected
        .envelope
        .map_or_else(|| json!({}), |envelope| json!({"envelope": envelope}));
    gateway.put("/v1/partners/app", partner).await;
    for event_type in expected.types {
        gateway
            .put(
                &format!("/v1/schemas/{event_type}/1.0.0"),
                json!({"type": "object"}),
            )
            .await;
    }
    let route = json!({"match": {"partner": "app"}, "to": [{"destination": "files", "topic": "app"}]});
    gateway.put("/v1/routes/app", route).await;
    let made = gateway
        .admin(
            "POST",
            "/v1/partners/app/keys",
            Some(json!({"kind": expected.kind})),
        )
        .await
        .expect(201);
    let part = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
    let key = match expected.kind {
        "signing" => format!("{} {}", part("id"), part("secret")),
        _ => part("key"),
    };
    let (url, program) = (format!("http://{}", gateway.data_address()), program.to_owned());
    let (script, name) = (script.map(|script| repository().join(script)), sdk.to_owned());
    let output = tokio::task::spawn_blocking(move || {
        fetch();
        Command::new(program)
            .args(script)
            .args([&name, &url, &key])
            .env("SENDERS_HOME", home())
            .output()
            .expect("the SDK runs")
    })
    .await
    .expect("ran");
    assert!(
        output.status.success(),
        "{sdk} takes the answers for a failure: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let records = gateway.wait_for_records("app", 2).await;
    check(sdk, &expected, &records);
    assert_eq!(gateway.quarantine().await, Vec::<Value>::new());
}

fn check(sdk: &str, expected: &Expected, records: &[Value]) {
    assert_eq!(records.len(), 2, "{sdk}: {records:#?}");
    let of = |event_type: &str| {
        let mut found = records.iter().filter(|record| record["type"] == event_type);
        found
            .next()
            .unwrap_or_else(|| panic!("{sdk}: no {event_type} in {records:#?}"))
    };
    let (first, second) = (of(expected.types[0]), of(expected.types[1]));
    assert_ne!(records[0]["id"], records[1]["id"]);
    assert!(first["id"].as_str().is_some_and(|id| !id.is_empty()));
    let time: jiff::Timestamp = first["time"].as_str().expect("a time").parse().expect("RFC 3339");
    let age_s = jiff::Timestamp::now().as_second() - time.as_second();
    assert!((-5..120).contains(&age_s), "{sdk}: {time}");
    if sdk != "standardwebhooks" {
        assert_eq!(first["subject"], "u-1", "{sdk}: {first:#}");
    }
    let app_version = expected.app_version.map(Value::from);
    assert_eq!(first.get("appversion"), app_version.as_ref(), "{sdk}");
    match expected.amount {
        "" => assert_eq!(first["data"]["url"], "https://shop.example/"),
        amount => assert_eq!(
            first["data"].pointer(amount),
            Some(&json!(12.5)),
            "{sdk}: {first:#}"
        ),
    }
    assert!(second["data"].is_object());
}

async fn python(sdk: &str) {
    let program = home().join("python/bin/python");
    send(&program.to_string_lossy(), Some("tests/senders/send.py"), sdk).await;
}

async fn node(sdk: &str) {
    send("node", Some("tests/senders/send.cjs"), sdk).await;
}

async fn go(sdk: &str) {
    let program = home().join("go/cloudevents");
    send(&program.to_string_lossy(), None, sdk).await;
}

macro_rules! senders {
    ($($name:ident: $run:ident $sdk:literal;)*) => {
        $(#[tokio::test]
        async fn $name() {
            $run($sdk).await;
        })*
    };
}

senders! {
    segment_from_python: python "segment";
    rudderstack_from_python: python "rudderstack";
    posthog_from_python: python "posthog";
    mixpanel_from_python: python "mixpanel";
    snowplow_from_python_by_post: python "snowplow";
    snowplow_from_python_by_get: python "snowplow_get";
    amplitude_from_python: python "amplitude";
    cloudevents_from_python: python "cloudevents";
    standard_webhooks_from_python: python "standardwebhooks";
    segment_from_javascript: node "segment";
    rudderstack_from_javascript: node "rudderstack";
    posthog_from_javascript: node "posthog";
    mixpanel_from_javascript: node "mixpanel";
    snowplow_from_javascript: node "snowplow";
    amplitude_from_javascript: node "amplitude";
    cloudevents_from_javascript: node "cloudevents";
    standard_webhooks_from_javascript: node "standardwebhooks";
    cloudevents_from_go: go "cloudevents";
    a_batch_of_cloudevents_from_go: go "cloudevents_batch";
}
