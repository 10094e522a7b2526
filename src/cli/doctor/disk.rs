//! The disk under the data folder: whether it can be written, how much room it has, and how long it takes to be sure.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::Finding;
use crate::{config::Settings, limits::ByteSize};

/// Of 20 appends of 4 KiB; a request that goes through the spool waits for one.
const SLOW_SYNC: Duration = Duration::from_millis(50);
const SYNCS: usize = 20;
const BLOCK_BYTES: usize = 4096;
/// tmpfs and ramfs, by their numbers in Linux.
const MEMORY_FILE_SYSTEMS: [i64; 2] = [0x0102_1994, 0x8584_58f6];

pub(super) fn look(settings: &Settings) -> Vec<Finding> {
    let path = &settings.data_dir;
    // Looking makes nothing: where the folder is missing, its disk is that of the nearest one above.
    let there: PathBuf = std::path::absolute(path)
        .unwrap_or_else(|_| path.clone())
        .ancestors()
        .find(|folder| folder.is_dir())
        .map_or_else(|| PathBuf::from("/"), Path::to_path_buf);
    let mut findings = vec![syncs(path, &there)];
    findings.extend(room(&there, settings));
    findings
}

fn syncs(path: &Path, there: &Path) -> Finding {
    let what = format!("disk of {}", path.display());
    match measure(there) {
        Err(error) => Finding::fault(
            what,
            format!("{} cannot be written: {error}", there.display()),
            "let the gateway's user write there, or set data_dir",
        ),
        Ok(times) => {
            let worst = times.last().copied().unwrap_or_default();
            let middle = times.get(times.len() / 2).copied().unwrap_or_default();
            let found = format!("fdatasync of 4 KiB takes {middle:.1?}, at most {worst:.1?}");
            if worst > SLOW_SYNC {
                let mend = "events wait so long while a destination is down, and always where they go to files: use a \
                            faster disk";
                Finding::warning(what, found, mend)
            } else {
                Finding::good(what, found)
            }
        }
    }
}

/// Ascending.
fn measure(folder: &Path) -> std::io::Result<Vec<Duration>> {
    let mut file = tempfile::tempfile_in(folder)?;
    let block = [0x48; BLOCK_BYTES];
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let began = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    Ok(times)
}

fn room(there: &Path, settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Ok(system) = rustix::fs::statfs(there) {
        #[expect(clippy::useless_conversion, reason = "the type differs between platforms")]
        let kind = i64::from(system.f_type);
        if MEMORY_FILE_SYSTEMS.contains(&kind) {
            findings.push(Finding::fault(
                "durability",
                format!(
                    "{} is in memory: what is synced there does not survive",
                    there.display()
                ),
                "set data_dir to a folder on a disk",
            ));
        }
    }
    let Ok(disk) = rustix::fs::statvfs(there) else {
        return findings;
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let wanted = settings.spool.max_bytes.0;
    let found = format!("{} MiB free, spool.max_bytes is {}", free >> 20, ByteSize(wanted));
    findings.push(if free < wanted / 10 {
        let mend = "make room: past the last of it events are answered with 503";
        Finding::fault("room", found, mend)
    } else if free < wanted {
        let mend = "the disk is full before the spool is: give it more, or lower spool.max_bytes";
        Finding::warning("room", found, mend)
    } else {
        Finding::good("room", found)
    });
    findings
}
