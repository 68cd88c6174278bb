//! What is checked: an object or a script.

use std::path::Path;

use super::error::Error;
use super::facts::Facts;
use super::kernel::KernelTypes;
use super::object::Object;
use super::report::Report;
use super::script::{self, Script};
use super::uses::{Uses, uses};

/// A BPF object or a bpftrace script.
#[derive(Debug)]
pub enum Input {
    /// An object.
    Object(Box<Object>),
    /// A script.
    Script(Box<Script>),
}

impl Input {
    /// Reads the file at `path`: a script if it is named `*.bt`, else an object.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Ok(if Script::is_one(path) {
            Self::Script(Box::new(Script::read(path)?))
        } else {
            Self::Object(Box::new(Object::read(path)?))
        })
    }

    /// The script, if it is one.
    pub fn script(&self) -> Option<&Script> {
        match self {
            Self::Script(script) => Some(script),
            Self::Object(_) => None,
        }
    }

    /// Checks it against a kernel.
    pub fn check(&self, kernel: &Facts) -> Report {
        match self {
            Self::Object(object) => super::check(object, kernel),
            Self::Script(script) => script::check(script, kernel),
        }
    }

    /// What it uses of a kernel. Of a script, only a kernel's `types` tell which types it uses.
    pub fn uses(&self, types: Option<KernelTypes<'_>>) -> Uses {
        match (self, types) {
            (Self::Object(object), _) => uses(object),
            (Self::Script(script), Some(types)) => script::uses(script, types),
            (Self::Script(_), None) => Uses::default(),
        }
    }
}
