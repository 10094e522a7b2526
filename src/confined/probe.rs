//! Whether a confined child is held here as it should be: it tries what it must not be able to do, and tells.

use std::{
    io::{self, ErrorKind},
    net::{TcpListener, UdpSocket},
    os::unix::{
        net::UnixDatagram,
        process::{CommandExt as _, parent_id},
    },
    path::Path,
    process::{Command, ExitCode},
    thread,
};

use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};

use super::{Bounds, confine, fail, run as run_apart};

/// The hidden argument that makes the binary call [`run`].
pub const ARGUMENT: &str = "probe-confinement";

const BOUNDS: Bounds = Bounds {
    cpu_s: 2,
    memory_bytes: 64 << 20,
    wall_s: 20,
    output_bytes: 64 << 10,
};

/// What a confined child found that it could do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    pub attempts: Vec<Attempt>,
    /// Why the kernel took no filter; absent where it did.
    #[serde(default)]
    pub unfiltered: Option<String>,
}

/// Something that it must not be able to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub what: String,
    /// The kernel's error number; none: it was done.
    pub errno: Option<i32>,
}

impl Confinement {
    /// What was done in spite of all.
    pub fn done(&self) -> impl Iterator<Item = &str> {
        let done = self.attempts.iter().filter(|attempt| attempt.errno.is_none());
        done.map(|attempt| attempt.what.as_str())
    }
}

/// In the child: tries. To be called by `main` before anything else when the first argument is [`ARGUMENT`].
pub fn run() -> ExitCode {
    let parent = parent_id();
    confine(ARGUMENT, &BOUNDS, move || {
        let confinement = Confinement {
            attempts: attempts(parent),
            unfiltered: None,
        };
        // What compiling needs must be left to it.
        if thread::spawn(|| vec![1_u8; 4 << 20].len()).join().is_err() {
            return fail(&"a thread cannot be started");
        }
        match serde_json::to_writer(io::stdout().lock(), &confinement) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        }
    })
}

fn attempts(parent: u32) -> Vec<Attempt> {
    let loopback = ("127.0.0.1", 0);
    // In this order: the last would end the probe where it is not refused.
    let tried: [(&str, io::Result<()>); 7] = [
        ("open a file", std::fs::File::open("/proc/version").map(drop)),
        ("list a folder", std::fs::read_dir("/").map(drop)),
        ("open a TCP socket", TcpListener::bind(loopback).map(drop)),
        ("open a UDP socket", UdpSocket::bind(loopback).map(drop)),
        ("open a Unix socket", UnixDatagram::unbound().map(drop)),
        ("signal its parent", signal(parent)),
        ("start a program", start()),
    ];
    tried
        .into_iter()
        .map(|(what, done)| Attempt {
            what: what.to_owned(),
            errno: done.err().map(|error| error.raw_os_error().unwrap_or_default()),
        })
        .collect()
}

/// Only asks whether it could.
fn signal(parent: u32) -> io::Result<()> {
    let parent = i32::try_from(parent).ok().and_then(Pid::from_raw);
    let parent = parent.ok_or_else(|| io::Error::from(ErrorKind::NotFound))?;
    Ok(test_kill_process(parent)?)
}

/// A program that is not there: whether the kernel looks for it tells all, and nothing is started.
fn start() -> io::Result<()> {
    let error = Command::new("/proc/no-such-program").exec();
    match error.kind() {
        ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    }
}

/// In the parent: has a child of `program`, this binary, try.
///
/// # Errors
///
/// Where the child cannot be run, or does not answer.
pub async fn look(program: &Path) -> io::Result<Confinement> {
    let ended = run_apart(program, ARGUMENT, &[], &BOUNDS).await?;
    let ended = ended.ok_or_else(|| io::Error::from(ErrorKind::TimedOut))?;
    if !ended.succeeded() {
        let said = String::from_utf8_lossy(&ended.error);
        return Err(io::Error::other(format!("it ended early: {}", said.trim())));
    }
    let mut confinement: Confinement = serde_json::from_slice(&ended.output)?;
    confinement.unfiltered = ended.unfiltered;
    Ok(confinement)
}
