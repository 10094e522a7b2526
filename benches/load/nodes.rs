//! Two gateways on one store and one broker, beside one of them alone; all on this machine, the generator included.

use crate::{
    Bench,
    client::{self, Load, Target},
    events::Shape,
    meter::Meter,
    report::{Case, Goal, Report},
    servers::Gateway,
};

const ALONE: &str = "one alone";
const OF_TWO: [&str; 2] = ["first of two", "second of two"];
/// At least this part of the events a second of CPU that one alone takes.
const PART: f64 = 0.95;

fn goals(case: &Case) -> Option<Goal> {
    (case.path != ALONE).then_some(Goal {
        ratio: 1.0 / PART,
        p99_ms: None,
    })
}

pub async fn measure(bench: &Bench) -> Report {
    let brokers = bench.broker.bootstrap();
    for topic in ["bench-validated", "bench-transformed"] {
        bench.broker.create_topic(topic, 4).await;
    }
    let first = Gateway::start(brokers, &bench.program).await;
    let (second, second_target) = first.second(brokers, &bench.program).await;
    let mut report = Report::new(ALONE, goals);
    let both = [
        (OF_TWO[0], &first.transformed, first.process().id()),
        (OF_TWO[1], &second_target, second.id()),
    ];
    for round in 0..bench.rounds {
        eprintln!("round {} of {}", round + 1, bench.rounds);
        for shape in [Shape::Single, Shape::Batch] {
            let case = |path: &str| Case {
                shape,
                is_open: false,
                path: path.to_owned(),
            };
            let meter = Meter::begin(first.process().id(), bench.broker_id);
            let load = load(bench, shape, &first.transformed, shape.connections()).await;
            report.add(case(ALONE), meter.end(shape, &load));
            let meters = both.map(|(name, _, id)| (name, Meter::begin(id, bench.broker_id)));
            let part = shape.connections() / 2;
            let loads = tokio::join!(
                self::load(bench, shape, both[0].1, part),
                self::load(bench, shape, both[1].1, part)
            );
            for ((name, meter), load) in meters.into_iter().zip([loads.0, loads.1]) {
                report.add(case(name), meter.end(shape, &load));
            }
        }
    }
    report
}

async fn load(bench: &Bench, shape: Shape, target: &Target, connections: usize) -> Load {
    let requests = shape.requests(target, &bench.event);
    client::closed_loop(target, &requests, connections, bench.duration).await
}
