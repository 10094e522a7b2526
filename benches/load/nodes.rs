//! Two gateways on one store and one broker, beside one of them alone; all on this machine, the generator included.

use crate::{
    Bench,
    client::{self, Load, Target},
    events::Shape,
    meter::Meter,
    report::{Case, Measured, Report, spread},
    servers::Gateway,
    verdict::Bound,
};

const ALONE: &str = "one alone";
const SHAPES: [Shape; 2] = [Shape::Single, Shape::Batch];
const OF_TWO: [&str; 2] = ["first of two", "second of two"];
/// At least this part of the events a second of CPU that one alone takes.
const PART: f64 = 0.95;

pub async fn measure(bench: &Bench) -> Report {
    let brokers = bench.broker.bootstrap();
    for topic in ["bench-validated", "bench-transformed"] {
        bench.broker.create_topic(topic, 4).await;
    }
    let first = Gateway::start(brokers, &bench.program).await;
    let (second, second_target) = first.second(brokers, &bench.program).await;
    let mut report = Report::new(ALONE, &[]);
    let both = [
        (OF_TWO[0], &first.transformed, first.process().id()),
        (OF_TWO[1], &second_target, second.id()),
    ];
    for (_, target, _) in &both {
        for shape in SHAPES {
            client::once(target, shape, &shape.request(target, &bench.event)).await;
        }
    }
    let mut parts = SHAPES.map(|_| Vec::new());
    for round in 0..bench.rounds {
        eprintln!("round {} of {}", round + 1, bench.rounds);
        for (shape, parts) in SHAPES.into_iter().zip(&mut parts) {
            let case = |path: &str| Case {
                shape,
                is_open: false,
                path: path.to_owned(),
            };
            let meter = Meter::begin(first.process().id(), bench.broker_id);
            let load = load(bench, shape, &first.transformed, shape.connections()).await;
            let alone = meter.end(shape, &load);
            report.add(case(ALONE), alone);
            let meters = both.map(|(name, _, id)| (name, Meter::begin(id, bench.broker_id)));
            let part = shape.connections() / 2;
            let loads = tokio::join!(
                self::load(bench, shape, both[0].1, part),
                self::load(bench, shape, both[1].1, part)
            );
            let loads = meters.into_iter().zip([loads.0, loads.1]);
            let of_two: Vec<(&str, Measured)> = loads
                .map(|((name, meter), load)| (name, meter.end(shape, &load)))
                .collect();
            parts.push(events_per_cpu_second(&of_two) / (1e6 / alone.cpu_us_per_event));
            for (name, measured) in of_two {
                report.add(case(name), measured);
            }
        }
    }
    for (shape, parts) in SHAPES.into_iter().zip(parts) {
        let name = Case {
            shape,
            is_open: false,
            path: String::new(),
        };
        report.hold(
            &format!(
                "{}: events a CPU second of two nodes, times those of {ALONE}",
                name.load()
            ),
            spread(parts.into_iter())[0],
            Bound::AtLeast(PART),
        );
    }
    report
}

/// Of all together, each by its share of the events.
fn events_per_cpu_second(nodes: &[(&str, Measured)]) -> f64 {
    let events: f64 = nodes.iter().map(|(_, node)| node.events_per_s).sum();
    let cpu_us: f64 = nodes
        .iter()
        .map(|(_, node)| node.events_per_s * node.cpu_us_per_event)
        .sum();
    events / cpu_us * 1e6
}

async fn load(bench: &Bench, shape: Shape, target: &Target, connections: usize) -> Load {
    let requests = shape.requests(target, &bench.event);
    client::closed_loop(target, shape, &requests, connections, bench.duration).await
}
