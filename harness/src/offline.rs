//! Whether kiln may use the network: `--offline`, `KILN_OFFLINE`.

use std::sync::atomic::{AtomicBool, Ordering};

static OFFLINE: AtomicBool = AtomicBool::new(false);

/// From now on nothing is fetched.
pub(crate) fn go() {
    OFFLINE.store(true, Ordering::Relaxed);
}

/// Whether nothing may be fetched.
pub(crate) fn is_on() -> bool {
    OFFLINE.load(Ordering::Relaxed)
}
