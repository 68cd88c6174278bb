//! Snapshots: a VM that is saved after the boot of its kernel, and restored in place of a boot.
//!
//! ```text
//! boot ──▶ guest waits ──▶ saved: memory, devices, console ──▶ plan ──▶ hello
//!                                        │
//!          QEMU -incoming ◀── restored ◀─┘       ──▶ plan, time, entropy ──▶ hello
//! ```
//!
//! The guest waits before it mounts anything ([`GuestEvent::Waiting`]), so a state knows nothing of
//! the host's files, and each restored guest gets a plan of its own. Nothing here decides whether a
//! command works: what does not fit, or fails, is a boot.
//!
//! [`GuestEvent::Waiting`]: guest_init::message::GuestEvent::Waiting

mod fit;
mod key;
mod memory;
mod record;
mod restore;
mod save;
mod store;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use guest_init::frame;
use guest_init::message::{Request, Restored};
use guest_init::plan::BootPlan;

use super::qemu::Qemu;
use super::qmp;
use super::spec::VmSpec;
pub(super) use fit::unfit;
pub use fit::{Refused, check};
pub use memory::Memory;
pub(super) use restore::{fill, load};
pub(super) use save::{Saved, save};
pub(super) use store::State;
use store::Store;

/// Bytes of entropy for a restored guest.
const ENTROPY: usize = 64;
/// Where they come from.
const RANDOM: &str = "/dev/urandom";

/// Why a VM was not saved or not restored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the state, or the guest's memory.
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        /// `read`, `write`.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// QEMU did not save or load.
    #[error(transparent)]
    Qmp(#[from] qmp::Error),
    /// Something is not as it was when the VM was saved.
    #[error("{0} is not the one of the saved VM")]
    Other(&'static str),
    /// The files of the state are not what was written.
    #[error("the saved state is damaged: {0}")]
    Damaged(&'static str),
}

impl Error {
    fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { what, path, source }
    }
}

/// How one VM uses snapshots.
#[derive(Debug, Clone)]
pub struct Snapshot {
    store: Store,
    /// Of everything that a state depends on and that is known before QEMU starts.
    key: String,
    /// What the guest does after its wait.
    plan: BootPlan,
}

impl Snapshot {
    /// For the VM of `spec`, whose guest waits for `plan`. Reads the initramfs.
    pub(super) fn of(
        spec: &VmSpec,
        qemu: &Qemu,
        plan: BootPlan,
        cache: &Path,
    ) -> Result<Self, Error> {
        Ok(Self {
            store: Store::at(cache),
            key: key::of(spec, qemu)?,
            plan,
        })
    }

    /// The state to restore, if there is one.
    pub(super) fn find(&self) -> Option<State> {
        self.store.find(&self.key)
    }

    /// What lets a guest go on that has just booted.
    pub(super) fn after_boot(&self) -> Request {
        go_on(self.plan.clone(), None)
    }

    /// What lets a guest go on that was restored.
    pub(super) fn after_restore(&self) -> Result<Request, Error> {
        let mut entropy = vec![0; ENTROPY];
        File::open(RANDOM)
            .and_then(|mut random| random.read_exact(&mut entropy))
            .map_err(Error::file("read", Path::new(RANDOM)))?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let restored = Restored {
            realtime_ns: i64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(i64::MAX),
            entropy,
        };
        Ok(go_on(self.plan.clone(), Some(restored)))
    }
}

/// Whether a plan fits a request to the guest.
pub(super) fn can_be_sent(plan: &BootPlan) -> bool {
    let restored = Restored {
        realtime_ns: i64::MAX,
        entropy: vec![0xff; ENTROPY],
    };
    frame::encode(&go_on(plan.clone(), Some(restored))).is_ok()
}

fn go_on(plan: BootPlan, restored: Option<Restored>) -> Request {
    Request::GoOn {
        plan: Box::new(plan),
        restored,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use guest_init::plan::{Entry, EntryKind};

    fn plan(bytes: usize) -> BootPlan {
        BootPlan {
            root_entries: vec![Entry {
                path: "/etc/file".to_owned(),
                kind: EntryKind::File(vec![0; bytes]),
                attributes: None,
            }],
            ..BootPlan::default()
        }
    }

    #[test]
    fn a_plan_that_is_too_long_for_a_request_cannot_be_sent() {
        assert!(can_be_sent(&plan(1 << 20)));
        assert!(!can_be_sent(&plan(frame::MAX_REQUEST)));
    }

    #[test]
    fn no_two_guests_get_the_same_entropy() {
        let dir = tempfile::tempdir().unwrap();
        let snapshot = Snapshot {
            store: Store::at(dir.path()),
            key: "key".to_owned(),
            plan: plan(1),
        };
        let entropy = || match snapshot.after_restore().unwrap() {
            Request::GoOn {
                restored: Some(restored),
                ..
            } => restored.entropy,
            other => panic!("{other:?}"),
        };
        let (one, other) = (entropy(), entropy());
        assert_eq!(one.len(), ENTROPY);
        assert_ne!(one, other);
        assert!(matches!(
            snapshot.after_boot(),
            Request::GoOn { restored: None, .. }
        ));
    }
}
