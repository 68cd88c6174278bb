//! Whether kiln may use the network: `--offline`, `KILN_OFFLINE`.

use std::sync::atomic::{AtomicBool, Ordering};

static OFFLINE: AtomicBool = AtomicBool::new(false);

/// From now on kiln fetches nothing.
pub(crate) fn go() {
    OFFLINE.store(true, Ordering::Relaxed);
}

/// Whether kiln may not fetch anything.
pub(crate) fn is_on() -> bool {
    OFFLINE.load(Ordering::Relaxed)
}
