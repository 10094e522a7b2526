//! CPU time of works that are run in turns, so that a slow minute of the machine hits all alike.

use std::time::{Duration, Instant};

const SLICE: Duration = Duration::from_millis(60);
/// Between two looks at the clock.
const RUNS: u32 = 50;

/// What is measured.
pub struct Work<'a> {
    pub name: &'static str,
    /// Requests or events of one run.
    pub units: u32,
    pub run: Box<dyn FnMut() + 'a>,
}

impl<'a> Work<'a> {
    pub fn new(name: &'static str, units: usize, run: impl FnMut() + 'a) -> Work<'a> {
        Work {
            name,
            units: u32::try_from(units).expect("few units"),
            run: Box::new(run),
        }
    }
}

/// Microseconds of this thread's CPU a unit: a list for each work, with a figure for each round. Prints their medians.
pub fn measure(works: &mut [Work<'_>], rounds: usize) -> Vec<Vec<f64>> {
    let mut costs: Vec<Vec<f64>> = works.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (work, costs) in works.iter_mut().zip(&mut costs) {
            costs.push(cost_us(work));
        }
    }
    for (work, costs) in works.iter().zip(&costs) {
        println!("{:<44} {}", work.name, Range(costs));
    }
    costs
}

/// By how much one work costs more than another, round by round.
pub fn more(costs: &[f64], than: &[f64]) -> Vec<f64> {
    costs.iter().zip(than).map(|(cost, than)| cost - than).collect()
}

pub fn median(costs: &[f64]) -> f64 {
    sorted(costs).get(costs.len() / 2).copied().unwrap_or(f64::NAN)
}

fn sorted(costs: &[f64]) -> Vec<f64> {
    let mut sorted = costs.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The median of all rounds, with the lowest and the highest.
pub struct Range<'a>(pub &'a [f64]);

impl std::fmt::Display for Range<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sorted = sorted(self.0);
        let (Some(lowest), Some(highest)) = (sorted.first(), sorted.last()) else {
            return formatter.write_str("nothing");
        };
        write!(formatter, "{:>7.3} µs ({lowest:.3}–{highest:.3})", median(self.0))
    }
}

fn thread_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        now.tv_sec.unsigned_abs(),
        u32::try_from(now.tv_nsec).unwrap_or_default(),
    )
}

fn cost_us(work: &mut Work<'_>) -> f64 {
    let (started, before) = (Instant::now(), thread_time());
    let mut runs = 0_u32;
    while started.elapsed() < SLICE {
        for _ in 0..RUNS {
            (work.run)();
        }
        runs += RUNS;
    }
    (thread_time() - before).as_secs_f64() * 1e6 / (f64::from(runs) * f64::from(work.units))
}
