//! Stops a thread that waits in poll(2).

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use vmm_sys_util::eventfd::EventFd;

/// One end of the signal: readable at both forever once one end has sent it.
#[derive(Debug)]
pub(super) struct Stop(EventFd);

impl Stop {
    /// Both ends.
    pub(super) fn pair() -> io::Result<(Self, Self)> {
        let stop = EventFd::new(0)?;
        Ok((Self(stop.try_clone()?), Self(stop)))
    }

    /// Stops the other end.
    pub(super) fn stop(&self) {
        // Can only fail if the counter is full, and then the reader wakes up anyway.
        let _ = self.0.write(1);
    }
}

impl AsFd for Stop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open for as long as `self`, which the borrow
        // does not outlive; vmm-sys-util offers the number only.
        unsafe { BorrowedFd::borrow_raw(self.0.as_raw_fd()) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    #[test]
    fn the_other_end_is_woken_and_stays_awake() {
        let (here, there) = Stop::pair().unwrap();
        let woken = || {
            let mut fds = [PollFd::new(there.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
        };
        assert!(!woken());
        here.stop();
        assert!(woken());
        assert!(woken());
    }
}
