//! What the kernel says of the processes that take part in a load.

use std::{fs, time::Duration};

use crate::{
    client::Load,
    events::Shape,
    gateway::{cpu_time, status},
    report::{Measured, Used},
};

/// CPU times of a server, of this process, which is the generator, and of the broker.
pub struct Meter {
    server: u32,
    broker: u32,
    before: [Duration; 3],
}

impl Meter {
    pub fn begin(server: u32, broker: u32) -> Meter {
        Meter {
            server,
            broker,
            before: times(server, broker),
        }
    }

    pub fn end(self, shape: Shape, load: &Load) -> Measured {
        let now = times(self.server, self.broker);
        let [server, generator, broker] =
            [0, 1, 2].map(|index| now[index].saturating_sub(self.before[index]));
        Measured::new(
            shape,
            load,
            &Used {
                server,
                generator,
                broker,
                resident_mb: resident_mb(self.server),
            },
        )
    }
}

fn times(server: u32, broker: u32) -> [Duration; 3] {
    [cpu_time(server), cpu_time("self"), cpu_time(broker)]
}

pub fn resident_mb(process: u32) -> f64 {
    status(process, "VmRSS") as f64 * 1024.0 / 1e6
}

/// The broker that this process has started.
pub fn broker() -> u32 {
    let own = u64::from(std::process::id());
    let processes = fs::read_dir("/proc").expect("the kernel tells of processes");
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .find(|id| {
            let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
            name.trim() == "java" && status(id, "PPid") == own
        })
        .expect("the broker runs")
}
