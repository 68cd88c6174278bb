//! Runs a GoogleTest program in several processes at once, with a verdict for each of its tests.

mod list;
mod output;
mod run;

pub use list::{UnitTest, list};
pub use output::follow;
pub use run::{Finished, Settings, run};
