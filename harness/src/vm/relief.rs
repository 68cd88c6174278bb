//! Frees file descriptors of shares before they run out, by making the guest drop files that it
//! does not use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use guest_init::message::Request;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::control::Requests;
use crate::guest::share::{self, PressureSignal};

/// What the shares of a VM reported about their descriptors.
#[derive(Debug, Clone, Default)]
pub struct Relief {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// More than half are in use somewhere.
    wanted: AtomicBool,
    /// A share has refused the guest one.
    refused: AtomicBool,
}

impl Relief {
    /// Listens to a share until it ends, and asks the guest at once if that is urgent.
    pub(super) fn listen(
        &self,
        signals: impl AsyncRead + Unpin + Send + 'static,
        requests: Requests,
    ) {
        tokio::spawn(listen(self.state.clone(), signals, requests));
    }

    /// Whether the guest should drop files at the next quiet moment; true only once.
    pub fn take_wanted(&self) -> bool {
        self.state.wanted.swap(false, Ordering::Relaxed)
    }

    /// Whether a share refused the guest a file since the last call.
    pub fn take_refused(&self) -> bool {
        self.state.refused.swap(false, Ordering::Relaxed)
    }
}

async fn listen(state: Arc<State>, mut signals: impl AsyncRead + Unpin, requests: Requests) {
    let mut buffer = [0; 64];
    while let Ok(length @ 1..) = signals.read(&mut buffer).await {
        for word in buffer[..length]
            .iter()
            .filter_map(|&byte| PressureSignal::from_byte(byte))
        {
            let pages = match word {
                PressureSignal::Half => {
                    state.wanted.store(true, Ordering::Relaxed);
                    continue;
                }
                PressureSignal::Full => {
                    state.refused.store(true, Ordering::Relaxed);
                    continue;
                }
                PressureSignal::Drop => false,
                PressureSignal::DropPages => true,
            };
            tracing::debug!(pages, "a share runs out of descriptors");
            if requests.send(&Request::DropCaches { pages }).await.is_err() {
                return;
            }
        }
    }
}

/// The message for the user if a share refused the guest a file.
pub fn refusal() -> String {
    let limit = share::hard_limit().map_or_else(|| "?".to_owned(), |limit| limit.to_string());
    format!(
        "the guest used more of the host's files at once than kiln may have open here (hard limit \
         {limit}): some failed with \"Too many open files in system\" (error 23)"
    )
}

/// How to fix it.
pub const RAISE_LIMIT: &str = "raise the hard limit of open files: `ulimit -Hn`, \
     /etc/security/limits.conf, or LimitNOFILE= of the service";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::UnixStream;

    use super::*;
    use crate::vm::control::Control;

    #[tokio::test]
    async fn what_a_share_says_reaches_guest_and_harness() {
        let (host, mut guest) = UnixStream::pair().unwrap();
        let control = Control::over(host);
        let (signals, mut share) = tokio::io::duplex(64);
        let relief = Relief::default();
        relief.listen(signals, control.requests());
        share.write_all(b"hfx").await.unwrap();
        share.write_all(b"dp").await.unwrap();
        let mut decoder = guest_init::frame::Decoder::new();
        let mut asked = Vec::new();
        while asked.len() < 2 {
            let mut buffer = [0; 256];
            let length = guest.read(&mut buffer).await.unwrap();
            assert_ne!(length, 0, "the port closed after {asked:?}");
            asked.extend(
                decoder
                    .push::<Request>(&buffer[..length])
                    .into_iter()
                    .map(Result::unwrap),
            );
        }
        let drop = |pages| Request::DropCaches { pages };
        assert_eq!(asked, [drop(false), drop(true)]);
        assert!(relief.take_wanted() && !relief.take_wanted());
        assert!(relief.take_refused() && !relief.take_refused());
    }
}
