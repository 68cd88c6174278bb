//! Whether a VM lives: waits for everything that can end it, at once.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::hold::Held;
use super::qmp::{VmEvent, VmEvents};
use crate::guest::share::{self, Share};

/// If we check a deadline this much later, then we were late, not the guest.
const LATE: Duration = Duration::from_millis(500);
/// How long a sign of life may then take to reach us from the socket.
const CATCH_UP: Duration = Duration::from_secs(1);
/// How often to look whether a VM is still held.
const LOOK: Duration = Duration::from_millis(200);

/// How a VM was lost.
#[derive(Debug, thiserror::Error)]
pub enum Loss {
    /// A share process died, and the guest waits for it forever.
    #[error(transparent)]
    Share(#[from] share::Error),
    /// The guest reset itself, as a panic also does; the console shows which.
    #[error("the guest rebooted (QMP: {reason})")]
    Reset {
        /// QMP's `ShutdownCause`.
        reason: String,
    },
    /// The guest started again without a reset, by kexec.
    #[error("the guest started another kernel (kexec)")]
    Restarted,
    /// The guest powered itself off.
    #[error("the guest powered itself off")]
    PoweredOff,
    /// The VM was shut down from outside.
    #[error("the VM was shut down (QMP: {reason})")]
    Shutdown {
        /// QMP's `ShutdownCause`.
        reason: String,
    },
    /// Its processors have stopped; QMP's status says why.
    #[error("the VM stopped running")]
    Stopped,
    /// The guest no longer sends signs of life.
    #[error("the guest hangs: no sign of life for {} s", silent.as_secs())]
    Silent {
        /// For how long.
        silent: Duration,
    },
}

/// Ends when the VM is lost. The control port reports the end of QEMU itself.
pub(super) async fn lost(
    shares: &mut [Share],
    events: &mut VmEvents,
    heard: watch::Receiver<Instant>,
    hang: Duration,
    held: Held,
) -> Loss {
    tokio::select! {
        error = share_ended(shares) => error.into(),
        loss = ended(events, &held) => loss,
        silent = silence(heard, hang, &held) => Loss::Silent { silent },
    }
}

async fn share_ended(shares: &mut [Share]) -> share::Error {
    let mut ends: FuturesUnordered<_> = shares.iter_mut().map(Share::wait).collect();
    loop {
        match ends.next().await {
            Some(Err(error)) => return error,
            Some(Ok(())) => {}
            None => std::future::pending().await,
        }
    }
}

/// Ends with the first event that ends the VM.
pub(super) async fn ended(events: &mut VmEvents, held: &Held) -> Loss {
    loop {
        match events.recv().await {
            Some(VmEvent::Resumed) => {}
            Some(VmEvent::Stopped) => {
                // Whoever stopped it lets it go on, or lets go of it.
                tokio::select! {
                    biased;
                    event = events.recv() => match event {
                        Some(VmEvent::Resumed | VmEvent::Stopped) => {}
                        Some(event) => return event.into(),
                        None => std::future::pending().await,
                    },
                    () = let_go(held) => return Loss::Stopped,
                }
            }
            Some(event) => return event.into(),
            None => std::future::pending().await,
        }
    }
}

/// Waits until nobody holds the VM.
async fn let_go(held: &Held) {
    while held.now() {
        sleep(LOOK).await;
    }
    // What QEMU says about it comes a little later.
    sleep(LOOK).await;
}

impl From<VmEvent> for Loss {
    fn from(event: VmEvent) -> Self {
        match event {
            VmEvent::Shutdown { reason, .. } if reason == "guest-shutdown" => Self::PoweredOff,
            VmEvent::Shutdown { reason, .. } if reason != "guest-reset" => {
                Self::Shutdown { reason }
            }
            VmEvent::Shutdown { reason, .. } | VmEvent::Reset { reason } => Self::Reset { reason },
            VmEvent::Stopped | VmEvent::Resumed | VmEvent::GuestPanicked => Self::Stopped,
        }
    }
}

/// Ends when the guest has not sent anything for `hang`; returns for how long.
async fn silence(mut heard: watch::Receiver<Instant>, hang: Duration, held: &Held) -> Duration {
    let mut released = *heard.borrow();
    loop {
        let last = (*heard.borrow_and_update()).max(released);
        tokio::select! {
            changed = heard.changed() => if changed.is_err() {
                // The port is closed, which is reported elsewhere.
                std::future::pending::<()>().await;
            },
            () = sleep_until(last + hang) => {
                if held.now() {
                    let_go(held).await;
                    released = Instant::now();
                    continue;
                }
                let on_time = (last + hang).elapsed() < LATE;
                // If we were stopped, its messages are waiting in the socket.
                if on_time || tokio::time::timeout(CATCH_UP, heard.changed()).await.is_err() {
                    return last.elapsed();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::vm::hold::Hold;

    fn nobody() -> Held {
        Held::In("/nonexistent".into())
    }

    #[tokio::test]
    async fn a_vm_that_is_held_may_stop_and_one_that_is_let_go_of_may_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let held = || Held::In(dir.path().to_owned());
        let hold = Hold::take(dir.path())
            .expect("a file")
            .expect("nobody has it");
        let (sender, mut events) = mpsc::channel(4);
        for event in [VmEvent::Stopped, VmEvent::Resumed, VmEvent::Stopped] {
            assert!(sender.send(event).await.is_ok());
        }
        let hang = Duration::from_millis(100);
        let (_heard, heard) = watch::channel(Instant::now());
        let mut none = [];
        let lost = lost(&mut none, &mut events, heard, hang, held());
        tokio::pin!(lost);
        assert!(
            tokio::time::timeout(6 * hang, &mut lost).await.is_err(),
            "it is held"
        );
        drop(hold);
        assert!(matches!(lost.await, Loss::Stopped | Loss::Silent { .. }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_guest_that_is_heard_lives_and_one_that_is_not_hangs() {
        let hang = Duration::from_secs(10);
        let (sender, heard) = watch::channel(Instant::now());
        let (_events, mut receiver) = mpsc::channel(1);
        let start = Instant::now();
        let beats = async {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_secs(9)).await;
                sender.send_replace(Instant::now());
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            loss = lost(&mut [], &mut receiver, heard, hang, nobody()) => {
                assert!(matches!(loss, Loss::Silent { silent } if silent == hang), "{loss}");
            }
            () = beats => {}
        }
        assert_eq!(start.elapsed(), Duration::from_secs(100));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_guest_said_while_we_stood_still_counts() {
        let hang = Duration::from_secs(10);
        let (sender, heard) = watch::channel(Instant::now());
        let (_events, mut receiver) = mpsc::channel(1);
        let lost = lost(&mut [], &mut receiver, heard, hang, nobody());
        tokio::pin!(lost);
        let stop = async {
            tokio::task::yield_now().await;
            // As after SIGCONT: all deadlines have passed at once.
            tokio::time::advance(6 * hang).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            sender.send_replace(Instant::now());
            tokio::time::sleep(hang / 2).await;
        };
        tokio::select! {
            loss = &mut lost => panic!("{loss}"),
            () = stop => {}
        }
        let loss = lost.await;
        assert!(
            matches!(loss, Loss::Silent { silent } if silent == hang),
            "{loss}"
        );
    }

    #[tokio::test]
    async fn a_reset_is_distinguished_from_a_power_off() {
        for (reason, reset) in [("guest-reset", true), ("guest-shutdown", false)] {
            let (sender, mut events) = mpsc::channel(1);
            let (_heard, heard) = watch::channel(Instant::now());
            let event = VmEvent::Shutdown {
                guest: true,
                reason: reason.to_owned(),
            };
            assert!(sender.send(event).await.is_ok());
            let loss = lost(
                &mut [],
                &mut events,
                heard,
                Duration::from_secs(60),
                nobody(),
            )
            .await;
            assert_eq!(matches!(loss, Loss::Reset { .. }), reset, "{loss}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_qemu_that_has_gone_is_left_to_the_control_port() {
        let (events, mut receiver) = mpsc::channel::<VmEvent>(1);
        let (heard, receiver_heard) = watch::channel(Instant::now());
        drop((events, heard));
        let lost = lost(
            &mut [],
            &mut receiver,
            receiver_heard,
            Duration::from_secs(1),
            nobody(),
        );
        assert!(
            tokio::time::timeout(Duration::from_secs(600), lost)
                .await
                .is_err()
        );
    }
}
