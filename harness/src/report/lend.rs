//! The terminal, given away for a while: to a shell in a VM, for example.

use std::sync::mpsc;

use tokio::sync::oneshot;

/// The terminal, for somebody else while this lives.
#[derive(Debug)]
pub struct Lent(mpsc::Sender<()>);

impl Drop for Lent {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

/// A request for the terminal.
pub(super) struct Lend {
    granted: oneshot::Sender<()>,
    back: mpsc::Receiver<()>,
}

impl Lend {
    /// Gives it away until it comes back.
    pub(super) fn give(self) {
        if self.granted.send(()).is_ok() {
            // An error is the end of whoever has it.
            let _ = self.back.recv();
        }
    }
}

/// A request, and what waits until it is granted.
pub(super) fn ask() -> (Lend, impl Future<Output = Lent>) {
    let (granted, grant) = oneshot::channel();
    let (over, back) = mpsc::channel();
    let lent = async move {
        // Without the thread that writes, nobody does.
        let _ = grant.await;
        Lent(over)
    };
    (Lend { granted, back }, lent)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn a_terminal_comes_back_when_it_is_let_go_of() {
        let (lend, granted) = ask();
        let giver = std::thread::spawn(|| lend.give());
        let lent = granted.await;
        assert!(!giver.is_finished());
        drop(lent);
        giver.join().unwrap();
        // Nobody waits for it any longer.
        let (lend, granted) = ask();
        drop(granted);
        lend.give();
    }
}
