//! Limits of the process, and the clock.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use rustix::process::{Resource, getrlimit};

use super::Finding;
use crate::{
    config::Settings,
    confined::{OWN_PROGRAM, probe},
    limits::{LINE_CONNECTIONS, PLUGIN_INSTANCES, WEBHOOK_TOLERANCE_S},
};

/// Descriptors beside those of connections, for requests and for lines: segments, brokers, the store, files.
const OWN_DESCRIPTORS: u64 = 1000;
/// Address space of one plugin instance.
const INSTANCE_ADDRESSES: u64 = 4 << 30;
/// Signatures and keys' expiry hang on the clock.
const SKEW: Duration = Duration::from_secs(WEBHOOK_TOLERANCE_S / 10);
/// systemd-timesyncd and chrony leave these where the clock is set by others.
const CLOCK_MARKS: [&str; 3] = [
    "/run/systemd/timesync/synchronized",
    "/run/chrony/chronyd.pid",
    "/run/ntpd.pid",
];

pub(super) fn look(settings: &Settings) -> Vec<Finding> {
    vec![descriptors(settings), addresses(), cores(), clock()]
}

fn descriptors(settings: &Settings) -> Finding {
    let connections = settings.limits.connections;
    let lines = settings
        .server
        .lines
        .map_or(0, |_| LINE_CONNECTIONS.min(connections));
    let beside = OWN_DESCRIPTORS + u64::from(lines);
    let wanted = u64::from(connections) + beside;
    let limit = getrlimit(Resource::Nofile);
    let found =
        |limit: u64| format!("{limit} descriptors, {wanted} may be needed (limits.connections and {beside})");
    match limit.current {
        Some(current) if current < wanted => Finding::warning(
            "ulimit -n",
            found(current),
            format!("ulimit -n {wanted}, LimitNOFILE={wanted} in the unit, or lower limits.connections"),
        ),
        Some(current) => Finding::good("ulimit -n", found(current)),
        None => Finding::good("ulimit -n", "unlimited"),
    }
}

fn addresses() -> Finding {
    let wanted = u64::from(PLUGIN_INSTANCES) * INSTANCE_ADDRESSES;
    match getrlimit(Resource::As).current {
        Some(limit) if limit < wanted => Finding::fault(
            "ulimit -v",
            format!("{} MiB of address space", limit >> 20),
            "ulimit -v unlimited: plugins' memories are reserved as addresses, and only what they use is memory",
        ),
        _ => Finding::good("ulimit -v", "address space suffices"),
    }
}

fn cores() -> Finding {
    match std::thread::available_parallelism() {
        Ok(cores) => Finding::good("cores", format!("{cores}, a worker each")),
        Err(error) => Finding::warning("cores", error.to_string(), "one worker is started"),
    }
}

fn clock() -> Finding {
    let built = std::env::current_exe().and_then(|program| program.metadata()?.modified());
    if let Ok(built) = built
        && SystemTime::now() < built
    {
        return Finding::fault(
            "clock",
            "is before the time when this program was built",
            "set the clock: signatures and keys that expire hang on it",
        );
    }
    let is_set = CLOCK_MARKS.iter().any(|mark| Path::new(mark).exists());
    if is_set {
        Finding::good("clock", "is kept by a time service")
    } else {
        Finding::warning(
            "clock",
            "no time service is seen here; in a container that is its host's",
            format!("see that the clock is kept: signed requests may be {WEBHOOK_TOLERANCE_S} s old"),
        )
    }
}

/// What a process that compiles a plugin, or checks a schema, could do on this machine.
pub(super) async fn confinement() -> Finding {
    let what = "confinement";
    let confinement = match probe::look(Path::new(OWN_PROGRAM)).await {
        Ok(confinement) => confinement,
        Err(error) => {
            return Finding::fault(
                what,
                format!("no confined process can be run: {error}"),
                "see that the gateway may start processes and set their limits: without, no plugin and no schema is taken",
            );
        }
    };
    let done: Vec<&str> = confinement.done().collect();
    if done.is_empty() {
        let found =
            "what compiles plugins and checks schemas opens no file and no socket, and starts nothing";
        return Finding::good(what, found);
    }
    let why = confinement.unfiltered.as_deref().unwrap_or("it does not hold");
    Finding::warning(
        what,
        format!(
            "the kernel takes no seccomp filter ({why}): what compiles plugins and checks schemas could {}",
            done.join(", ")
        ),
        "let the gateway install seccomp filters; until then resource limits alone hold those processes",
    )
}

/// How far the clock of who answered with this `Date` is from this one's, where it is far.
pub(super) fn skew(what: &str, date: Option<&str>) -> Option<Finding> {
    let there = jiff::fmt::rfc2822::parse(date?).ok()?.timestamp();
    let apart = jiff::Timestamp::now().duration_since(there).unsigned_abs();
    (apart > SKEW).then(|| {
        Finding::warning(
            what,
            format!("answers, and its clock is {apart:.0?} from this one's"),
            "set the clock that is wrong",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Verdict;

    #[test]
    fn a_clock_that_is_far_off_is_seen() {
        let hour_ago = jiff::Timestamp::now() - Duration::from_secs(3600);
        let date = hour_ago.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let finding = skew("store", Some(&date)).expect("an hour is far");
        assert_eq!(finding.verdict, Verdict::Warning);
        let now = jiff::Timestamp::now()
            .strftime("%a, %d %b %Y %H:%M:%S GMT")
            .to_string();
        assert!(skew("store", Some(&now)).is_none());
        assert!(skew("store", Some("yesterday")).is_none());
        assert!(skew("store", None).is_none());
    }
}
