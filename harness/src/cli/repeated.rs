//! What a `kiln run` has from the run that it repeats.

use std::collections::HashMap;
use std::ffi::OsString;

use crate::run::event::KernelReady;
use crate::run::rerun::Chosen;

/// What a `kiln run` has from the run that it repeats.
#[derive(Debug, Clone, Default)]
pub(super) struct Rerun {
    /// When that run began, which tells it from others.
    pub(super) started_at: String,
    /// Which tests.
    pub(super) chosen: Chosen,
    /// What booted.
    pub(super) images: HashMap<String, KernelReady>,
    /// The words of the command that it stands for.
    pub(super) words: Vec<OsString>,
}
