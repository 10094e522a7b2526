//! Sockets that the process was started with, by systemd's protocol: `LISTEN_FDS` of them from descriptor 3 on, meant
//! for the process `LISTEN_PID`. The first is the data port's, the second the admin port's.

use std::{
    collections::HashMap,
    net::TcpListener,
    os::fd::{FromRawFd as _, OwnedFd, RawFd},
};

use crate::app::Sockets;

const FIRST: RawFd = 3;

/// The error is for the operator.
pub(super) fn handed_over(environment: impl Iterator<Item = (String, String)>) -> Result<Sockets, String> {
    let variables: HashMap<String, String> = environment
        .filter(|(name, _)| name == "LISTEN_FDS" || name == "LISTEN_PID")
        .collect();
    let Some(count) = variables.get("LISTEN_FDS") else {
        return Ok(Sockets::default());
    };
    // Meant for a parent of this process, which has left the variables standing.
    if variables
        .get("LISTEN_PID")
        .is_some_and(|process| *process != std::process::id().to_string())
    {
        return Ok(Sockets::default());
    }
    let count: u32 = count
        .parse()
        .map_err(|_| format!("LISTEN_FDS={count} is no number of sockets"))?;
    if count > 2 {
        return Err(format!(
            "LISTEN_FDS={count}: the gateway takes at most two sockets, the data port's and the admin port's"
        ));
    }
    let mut taken = (0..count).map(|index| take(FIRST + RawFd::try_from(index).unwrap_or_default()));
    Ok(Sockets {
        data: taken.next().transpose()?,
        admin: taken.next().transpose()?,
    })
}

fn take(descriptor: RawFd) -> Result<TcpListener, String> {
    // SAFETY: by the protocol this descriptor was opened for this process by its parent, and nothing else here knows
    // of it; where it is not open the first call on it fails.
    let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
    // The child that compiles plugins must not hold the ports.
    rustix::io::fcntl_setfd(&owned, rustix::io::FdFlags::CLOEXEC)
        .map_err(|error| format!("descriptor {descriptor} was not handed over: {error}"))?;
    let socket = TcpListener::from(owned);
    match socket.local_addr() {
        Ok(_) => Ok(socket),
        Err(error) => Err(format!("descriptor {descriptor} is no TCP socket: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::handed_over;

    fn environment(variables: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        variables.iter().map(owned).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn nothing_is_taken_that_was_not_meant_for_this_process() {
        for variables in [&[][..], &[("LISTEN_FDS", "2"), ("LISTEN_PID", "1")]] {
            let sockets = handed_over(environment(variables)).expect("nothing is wrong");
            assert!(sockets.data.is_none() && sockets.admin.is_none());
        }
    }

    #[test]
    fn nonsense_is_told() {
        for (count, words) in [("two", "no number"), ("3", "at most two")] {
            let refused = handed_over(environment(&[("LISTEN_FDS", count)])).expect_err("refused");
            assert!(refused.contains(words), "{refused}");
        }
    }
}
