//! A Kafka cluster that believes the tokens of an identity provider (SASL OAUTHBEARER).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use headworks::{
    config::DestinationSettings,
    deliver::{DestinationState, probe},
};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::{
    delivery::{
        PATIENCE, Refusals, assert_balanced, assert_ordered_and_whole, deliver, events, eventually, numbered,
        start,
    },
    harness::{
        identity::{CLIENT, Provider, TokenEndpoint},
        kafka::Broker,
    },
    kafka::{all_durable, load, secure_with},
};

/// Long enough that a connection which is opened just before a token's end is no rule.
const LIFETIME_S: i64 = 10;

fn believing(broker: &Broker, endpoint: &TokenEndpoint, secret: &str) -> DestinationSettings {
    let options = [
        ("sasl.oauthbearer.method", "oidc"),
        ("sasl.oauthbearer.token.endpoint.url", &endpoint.url()),
        ("sasl.oauthbearer.client.id", CLIENT.0),
        ("sasl.oauthbearer.client.secret", secret),
        ("sasl.oauthbearer.scope", "events write"),
    ];
    secure_with(broker, "OAUTHBEARER", &options)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_fetched_anew_and_records_wait_in_the_spool_while_none_comes() {
    let provider = Provider::new("one");
    let keys = provider.published();
    let broker = spawn_blocking(move || Broker::start_believing(&keys))
        .await
        .expect("started");
    broker.create_topic("tokens", 1).await;
    let endpoint = TokenEndpoint::start(provider, LIFETIME_S).await;
    let settings = [believing(&broker, &endpoint, CLIENT.1)];
    assert_eq!(
        probe(&settings[0]).await,
        Ok(Some("1 brokers answer".to_owned())),
        "what asks without sending gets a token too"
    );
    let wrong = probe(&believing(&broker, &endpoint, "wrong secret")).await;
    let wrong = wrong.expect_err("no token is given");
    assert!(
        wrong.contains("401") && wrong.contains("invalid_client"),
        "{wrong}"
    );
    assert!(
        !wrong.contains("wrong secret") && !wrong.contains(CLIENT.1),
        "{wrong}"
    );

    let directory = TempDir::new().expect("a temporary folder");
    let destinations = start(&settings, directory.path(), &Refusals::default());
    let destination = events(&destinations);
    let stop = Arc::new(AtomicBool::new(false));
    let sender = load(&destination, "tokens", &stop);
    eventually("records flow", || destination.counts().delivered > 100).await;
    // The one of the probe, the first of the destination, and two in its place.
    eventually("another token was needed twice", || endpoint.given() >= 4).await;
    let delivered = destination.counts().delivered;
    eventually("records still flow", || {
        destination.counts().delivered > delivered + 100 && destination.state() == DestinationState::Healthy
    })
    .await;

    endpoint.refuse(true);
    eventually("the last token has ended, and records go to the spool", || {
        endpoint.have_all_expired() && destination.state() == DestinationState::Spooling
    })
    .await;
    let spooled = destination.counts().spooled;
    eventually("senders are answered", || {
        destination.counts().spooled > spooled + 100
    })
    .await;
    stop.store(true, Ordering::SeqCst);
    let mut sent = sender.await.expect("every record was taken");
    assert!(destination.pending().entries > 100, "nothing was delivered");

    endpoint.refuse(false);
    eventually("the spool is drained", || {
        destination.state() == DestinationState::Healthy
    })
    .await;
    let deliveries = deliver(&destination, numbered("tokens", sent..sent + 20)).await;
    assert!(all_durable(&deliveries), "{deliveries:?}");
    sent += 20;
    eventually("all is delivered", || destination.counts().waiting == 0).await;
    assert_ordered_and_whole(&broker.consume_all("tokens").await, sent);
    assert_balanced(&destination);
    destinations.shutdown(PATIENCE).await;
    drop((destination, destinations));

    // Nobody gets in without the provider: the start goes on, and what comes waits.
    let wrong = [believing(&broker, &endpoint, "wrong secret")];
    let destinations = start(&wrong, directory.path(), &Refusals::default());
    let destination = events(&destinations);
    let deliveries = deliver(&destination, numbered("tokens", sent..sent + 20)).await;
    assert!(all_durable(&deliveries), "{deliveries:?}");
    assert_eq!(destination.pending().entries, 20);
    destinations.shutdown(Duration::from_secs(1)).await;
}
