//! What others have in a guest, beside the owner of its control port.

use guest_init::message::GuestEvent;
use tokio::sync::mpsc;

use super::{Control, Requests};

/// The end of a control port for others than its owner.
#[derive(Debug)]
pub struct Side {
    /// For their requests, with numbers above [`SIDE`](super::SIDE).
    pub requests: Requests,
    /// What the guest says about these.
    pub events: mpsc::UnboundedReceiver<GuestEvent>,
}

impl Control {
    /// The end for others, once.
    pub fn take_side(&mut self) -> Option<Side> {
        let events = self.side.take()?;
        Some(Side {
            requests: self.requests(),
            events,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use guest_init::frame;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::UnixStream;
    use tokio::time::Instant;

    use super::super::number::SIDE;
    use super::*;

    #[tokio::test]
    async fn what_is_about_others_does_not_reach_the_owner() {
        let (host, mut guest) = UnixStream::pair().unwrap();
        let mut control = Control::over(host);
        let mut side = control.take_side().unwrap();
        assert!(control.take_side().is_none());
        let started = |process| GuestEvent::Started { process, pid: 7 };
        for process in [SIDE + 1, 1] {
            let frame = frame::encode(&started(process)).unwrap();
            guest.write_all(&frame).await.unwrap();
        }
        let soon = Instant::now() + Duration::from_secs(5);
        assert_eq!(control.event(soon, "a start").await.unwrap(), started(1));
        assert_eq!(side.events.recv().await, Some(started(SIDE + 1)));
        drop(guest);
        assert_eq!(side.events.recv().await, None);
    }
}
