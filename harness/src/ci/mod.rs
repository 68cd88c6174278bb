//! bpftrace's continuous integration in a flake's environment: what upstream's
//! `.github/include/ci.py` does, with kiln's guests for what needs root.

mod diagnose;
mod environment;
pub mod gtest;
mod run;
mod step;

pub use diagnose::diagnose;
pub use environment::{Environment, Variable};
pub use run::{End, Error, Show, run};
pub use step::{Name, Settings, Step, steps};
