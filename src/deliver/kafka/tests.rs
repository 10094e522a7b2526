mod tokens;
mod turns;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use proptest::prelude::*;
use rdkafka::message::Headers;
use tokio::sync::Notify;

use super::{
    link::{Link, TICK},
    message,
    options::{faults, options},
    window::{End, Window},
};
use crate::{
    config::Secret,
    deliver::{Acknowledgement, Counters, tests::record},
};

fn settings(pairs: &[(&str, &str)]) -> BTreeMap<String, Secret> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Secret::new((*value).to_owned())))
        .collect()
}

fn refusal(pairs: &[(&str, &str)]) -> String {
    options("localhost:1", &settings(pairs)).err().expect("refused")
}

#[test]
fn settings_that_the_promise_rests_on_cannot_be_changed() {
    for (name, value) in [
        ("acks", "1"),
        ("request.required.acks", "0"),
        ("enable.idempotence", "false"),
        ("message.timeout.ms", "1000"),
        ("delivery.timeout.ms", "1000"),
        ("delivery.report.only.error", "true"),
        ("transactional.id", "t"),
        ("bootstrap.servers", "elsewhere:1"),
    ] {
        let refusal = refusal(&[(name, value)]);
        assert!(
            refusal.contains(name) && refusal.contains("cannot be set"),
            "{refusal}"
        );
    }
    let same = [
        ("acks", "all"),
        ("enable.idempotence", "true"),
        ("compression.type", "zstd"),
    ];
    let taken = options("localhost:1", &settings(&same)).expect("taken");
    assert_eq!(taken.config.get("compression.type"), Some("zstd"));
    assert_eq!(taken.config.get("linger.ms"), Some("1"));
}

#[test]
fn a_mechanism_that_this_build_lacks_is_refused_before_the_start() {
    let protocol = ("security.protocol", "SASL_SSL");
    let refused = refusal(&[protocol, ("sasl.mechanism", "GSSAPI")]);
    assert!(
        refused.contains("GSSAPI") && refused.contains("SCRAM-SHA-512") && refused.contains("OAUTHBEARER"),
        "{refused}"
    );
    assert!(refusal(&[protocol]).contains("GSSAPI (the default)"));
    assert!(
        faults(
            "localhost:1",
            &settings(&[protocol, ("sasl.mechanisms", "PLAIN")])
        )
        .is_empty()
    );
    let twice = faults("localhost:1", &settings(&[protocol, ("acks", "1")]));
    assert!(twice.len() == 1 && twice[0].contains("acks"), "{twice:?}");
}

#[test]
fn a_setting_that_librdkafka_does_not_know_is_named_and_a_secret_is_not_shown() {
    assert!(refusal(&[("compression.typo", "zstd")]).contains("compression.typo"));
    assert!(refusal(&[("compression.type", "rar")]).contains("rar"));
    assert!(refusal(&[("message.max.bytes", "much")]).contains("message.max.bytes"));
    let refusal = refusal(&[("ssl.key.location.password", "hunter2")]);
    assert!(!refusal.contains("hunter2"), "{refusal}");
}

#[test]
fn a_message_has_the_headers_of_the_binding_and_a_plugin_cannot_forge_them() {
    let mut record = record("orders", "o-1", "{}");
    record.headers = Arc::new([
        ("campaign".to_owned(), "frühling".to_owned()),
        ("ce_id".to_owned(), "forged".to_owned()),
        ("hw_partner".to_owned(), "forged".to_owned()),
        ("ce_region".to_owned(), "kr".to_owned()),
    ]);
    let headers = message::headers(&record);
    let found: Vec<_> = headers
        .iter()
        .map(|header| {
            let value = std::str::from_utf8(header.value.expect("a value")).expect("UTF-8");
            (header.key.to_owned(), value.to_owned())
        })
        .collect();
    let expected = [
        ("content-type", "application/json"),
        ("ce_specversion", "1.0"),
        ("ce_id", "o-1"),
        ("ce_source", "/partners/shop"),
        ("ce_type", "order.placed"),
        ("ce_time", "2026-03-04T05:06:07Z"),
        ("ce_subject", "customer \"7\""),
        ("ce_appversion", "5.2.0"),
        ("hw_partner", "shop"),
        ("hw_schema", "order.placed@5.0.0"),
        ("hw_plugin", "orders@3"),
        ("hw_received", "2026-03-04T05:06:07.891Z"),
        (
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ),
        ("campaign", "frühling"),
        ("ce_region", "kr"),
    ];
    assert_eq!(
        found,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

#[test]
fn what_no_broker_takes_is_known_before_it_is_sent() {
    let good = record("a.b_c-1", "1", "{}");
    assert_eq!(message::check(&good, 1000), Ok(()));
    for topic in ["", ".", "..", "a~b", "a/b", "a\0b", &"x".repeat(250)] {
        assert!(
            message::check(&record(topic, "1", "{}"), 1000).is_err(),
            "{topic:?}"
        );
    }
    let mut large = good.clone();
    large.value = Bytes::from(vec![b'1'; 1000]);
    let refusal = message::check(&large, 1000).expect_err("too large");
    assert!(refusal.contains("message.max.bytes"), "{refusal}");
    let mut many = good;
    many.headers = (0..50)
        .map(|index| (format!("h{index}"), "x".repeat(20)))
        .collect();
    assert!(message::check(&many, 1000).is_err(), "headers count too");
}

proptest! {
    /// The window never passes an entry that is not acknowledged, and passes all that are.
    #[test]
    fn a_window_moves_to_the_first_entry_that_is_not_acknowledged(
        gaps in proptest::collection::vec(1_u64..4, 1..40),
        order in any::<prop::sample::Index>(),
        seed: u64,
    ) {
        let sequences: Vec<u64> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) }).collect();
        let mut window = Window::default();
        for sequence in &sequences {
            window.begin(*sequence, 10);
        }
        let mut open = sequences.clone();
        let mut state = seed;
        let acknowledged = order.index(sequences.len()) + 1;
        for _ in 0..acknowledged {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let index = usize::try_from(state >> 33).expect("31 bits") % open.len();
            let sequence = open.remove(index);
            window.acknowledge(sequence, if sequence.is_multiple_of(3) { End::Refused } else { End::Delivered });
            let passed: Vec<u64> = sequences.iter().copied().take_while(|sequence| !open.contains(sequence)).collect();
            let last = passed.last().copied().unwrap_or(0);
            let refused = passed.iter().filter(|sequence| sequence.is_multiple_of(3)).count();
            prop_assert_eq!(window.contiguous(), (last, passed.len() as u64, refused as u64));
            let left = sequences.iter().filter(|sequence| **sequence > last).count();
            prop_assert_eq!((window.len(), window.bytes()), (left, left * 10));
            prop_assert_eq!(window.is_worth_a_turn(usize::MAX, usize::MAX), left == 0);
        }
    }
}

#[test]
fn what_waits_too_long_is_overdue_and_comes_back_when_it_is_purged() {
    let taken = options("127.0.0.1:1", &settings(&[])).expect("taken");
    let name = "events".parse().expect("a name");
    let counters = Arc::new(Counters::default());
    let link = Link::new(&taken, &name, &counters, &Arc::new(Notify::new())).expect("a producer");
    link.shared.tick();
    let acknowledgement = Acknowledgement::new(1);
    let begun = std::time::Instant::now();
    for order in (0..9).rev() {
        // The first five leave; what comes once they do not linger any more waits for them.
        while order < 4 && begun.elapsed() < taken.linger * 5 {
            std::thread::sleep(taken.linger);
        }
        let sent = link.send(
            order,
            record("orders", &order.to_string(), "{}"),
            acknowledgement.ticket(0),
        );
        assert!(sent.is_ok());
    }
    for step in 0..20 {
        assert!(!link.shared.is_overdue(TICK * 20), "after {step} steps");
        link.shared.tick();
    }
    assert!(link.shared.is_overdue(TICK * 20));
    assert_eq!(link.shared.outstanding(), 5);
    link.close();
    link.purge();
    let end = std::time::Instant::now() + Duration::from_secs(30);
    while link.shared.outstanding() > 0 {
        assert!(std::time::Instant::now() < end, "a purged message is reported");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(link.shared.is_broken() && !link.shared.is_overdue(TICK));
    let failed = link.shared.take_failed();
    assert_eq!(
        failed.iter().map(|failed| failed.order).collect::<Vec<_>>(),
        [0, 1, 2, 3, 4, 5, 6, 7, 8]
    );
}
