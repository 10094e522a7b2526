//! What the kernel says of this process.

use std::{fs, time::Instant};

use super::{
    catalogue,
    family::{Family, Value},
};

/// Nothing where the kernel has no `/proc`.
pub(super) fn read(started: Instant, families: &mut Vec<Family>) {
    let mut push = |mut family: Family, value: Value| {
        family.push([], value);
        families.push(family);
    };
    push(
        Family::of(&catalogue::UPTIME),
        Value::Real(started.elapsed().as_secs_f64()),
    );
    if let Ok(folder) = fs::read_dir("/proc/self/fd") {
        // One of them is this very look.
        let count = folder.count().saturating_sub(1);
        push(Family::of(&catalogue::DESCRIPTORS), Value::Whole(count as u64));
    }
    let Some(stat) = Stat::read() else { return };
    push(Family::of(&catalogue::MEMORY), Value::Whole(stat.resident_bytes));
    push(Family::of(&catalogue::THREADS), Value::Whole(stat.threads));
    let mut cpu = Family::of(&catalogue::CPU_TIME);
    cpu.push(["user".into()], Value::Real(stat.user_s));
    cpu.push(["system".into()], Value::Real(stat.system_s));
    families.push(cpu);
}

struct Stat {
    user_s: f64,
    system_s: f64,
    threads: u64,
    resident_bytes: u64,
}

impl Stat {
    fn read() -> Option<Stat> {
        let text = fs::read_to_string("/proc/self/stat").ok()?;
        // The program's name stands in parentheses and may hold anything.
        let (_, rest) = text.rsplit_once(')')?;
        // proc(5) counts from 1, and `state` is the third.
        let field = |number: usize| rest.split_whitespace().nth(number - 3)?.parse::<u64>().ok();
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        Some(Stat {
            user_s: field(14)? as f64 / ticks,
            system_s: field(15)? as f64 / ticks,
            threads: field(20)?,
            resident_bytes: field(24)? * rustix::param::page_size() as u64,
        })
    }
}
