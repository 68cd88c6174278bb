//! The check of one prerequisite, and its result.

use std::fmt;
use std::path::Path;

use crate::kernel::KernelImage;

/// What `doctor` checks besides the machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct DoctorInput<'a> {
    /// The user's cache.
    pub cache_dir: &'a Path,
    /// A cached kernel, and an initramfs for it that powers off at once, for the accelerator probe.
    /// Without them `doctor` reports only an earlier probe.
    pub probe: Option<(&'a KernelImage, &'a Path)>,
}

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// All is well.
    Ok,
    /// Works, with a drawback.
    Warn,
    /// VMs will not run.
    Fail,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        })
    }
}

/// The check of one prerequisite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    /// The result.
    pub status: Status,
    /// What was checked.
    pub name: &'static str,
    /// What was found.
    pub found: String,
    /// Commands and advice to fix it.
    pub remedies: Vec<String>,
}

impl Check {
    pub(super) fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(Status::Ok, name, found)
    }

    pub(super) fn warn(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(Status::Warn, name, found)
    }

    pub(super) fn fail(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(Status::Fail, name, found)
    }

    pub(super) fn new(status: Status, name: &'static str, found: impl Into<String>) -> Self {
        Self {
            status,
            name,
            found: found.into(),
            remedies: Vec::new(),
        }
    }

    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedies.push(remedy.into());
        self
    }
}
