//! Where bisections are kept, and how they are named.

use std::path::{Path, PathBuf};

use super::super::Failure;
use super::super::context::Context;
use crate::bisect;
use crate::exit_code;

/// The directories of steps, in that of a bisection.
pub(super) const STEPS: &str = "steps";

/// Names the last bisection.
pub(super) const LAST: &str = "last";

/// Where bisections go.
pub(super) fn bisections(context: &Context) -> PathBuf {
    context.runs().with_file_name("bisect")
}

/// The directory of a bisection that the user names, or of the last one.
pub(super) fn named(dir: Option<&Path>, place: &Path) -> Result<PathBuf, Failure> {
    if let Some(dir) = dir.filter(|dir| *dir != Path::new(LAST)) {
        return absolute(dir);
    }
    let entries = std::fs::read_dir(place).into_iter().flatten();
    let dirs = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let last = dirs.filter(|dir| dir.join(bisect::JOURNAL).is_file()).max();
    last.ok_or_else(|| {
        Failure::new(
            exit_code::SETUP_FAILED,
            format!("there is no bisection in {}", place.display()),
        )
        .hint("name its directory, or start one: kiln bisect --help")
    })
}

pub(super) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| {
        let message = format!("cannot find {}: {error}", path.display());
        Failure::new(exit_code::SETUP_FAILED, message)
    })
}

/// How to go on.
pub(super) fn resume_hint(dir: &Path) -> String {
    format!("`kiln bisect --resume {}` goes on", dir.display())
}
