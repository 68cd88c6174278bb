//! Files that appear in the cache complete, in one step.

use std::path::Path;

use tempfile::{NamedTempFile, TempPath};

use super::{Cache, Error};

/// Creates a file in the cache's directory for `purpose`, which is removed unless it is kept. Its name is
/// unique, because two kilns may write the same file.
pub(super) fn create(cache: &Cache, purpose: &str) -> Result<TempPath, Error> {
    let directory = cache.subdirectory(purpose)?;
    let file = NamedTempFile::new_in(&directory);
    let file = file.map_err(Error::io("create a file in", &directory))?;
    Ok(file.into_temp_path())
}

/// Keeps what was written, at `place`.
pub(super) fn keep(partial: TempPath, place: &Path) -> Result<(), Error> {
    let kept = partial.persist(place);
    kept.map_err(|error| Error::io("create", place)(error.error))
}
