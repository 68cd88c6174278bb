//! The layers of the guest's overlays, held open: those of the root are out of reach once the
//! overlay is `/`.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::kept::View;

/// One overlay, or a tmpfs in its place, which is its upper layer and its merged one. Each layer is
/// seen without what is mounted over it.
#[derive(Debug)]
pub(super) struct Layers {
    pub(super) lower: OwnedFd,
    pub(super) upper: OwnedFd,
    pub(super) merged: OwnedFd,
    /// What of the upper layer is copied from below, where there is no overlay.
    pub(super) copies: Vec<PathBuf>,
}

static KEPT: Mutex<Vec<Layers>> = Mutex::new(Vec::new());

/// Keeps the layers of an overlay that was just mounted. If one cannot be opened, tests' changes to
/// it are not undone.
pub(super) fn keep(lower: &Path, upper: &Path, merged: &Path, copies: Vec<PathBuf>) {
    let directory = |path: &Path| View::of(path).map(View::into_fd);
    if let (Some(lower), Some(upper), Some(merged)) =
        (directory(lower), directory(upper), directory(merged))
        && let Ok(mut kept) = KEPT.lock()
    {
        kept.push(Layers {
            lower,
            upper,
            merged,
            copies,
        });
    }
}

/// All kept overlays, the root's first.
pub(super) fn take() -> Vec<Layers> {
    KEPT.lock()
        .map(|mut kept| std::mem::take(&mut *kept))
        .unwrap_or_default()
}
