//! Files that match a glob.

use std::path::{Path, PathBuf};

use globset::GlobBuilder;

/// How many files below the directory of a glob to look at.
pub const MAX_FILES: usize = 100_000;

/// No files are found.
#[derive(Debug, thiserror::Error)]
pub enum GlobError {
    /// None matches.
    #[error("no file matches {glob}")]
    Nothing {
        /// The glob, absolute.
        glob: String,
    },
    /// It is invalid.
    #[error(transparent)]
    Glob(#[from] globset::Error),
}

impl crate::hint::Hint for GlobError {}

/// The files that a glob, relative to `base`, matches; sorted, and at least one.
pub fn matching(base: &Path, glob: &str) -> Result<Vec<PathBuf>, GlobError> {
    let pattern = base.join(glob);
    let pattern = pattern.to_string_lossy();
    let matcher = GlobBuilder::new(&pattern).literal_separator(true).build();
    let matcher = matcher?.compile_matcher();
    let files = walkdir::WalkDir::new(fixed(Path::new(&*pattern)))
        .sort_by_file_name()
        .into_iter();
    let files = files.take(MAX_FILES).flatten();
    let found: Vec<PathBuf> = files
        .filter(|entry| matcher.is_match(entry.path()) && entry.path().is_file())
        .map(walkdir::DirEntry::into_path)
        .collect();
    if found.is_empty() {
        return Err(GlobError::Nothing {
            glob: pattern.into_owned(),
        });
    }
    Ok(found)
}

/// What a glob begins with before its first part with a special character.
pub fn fixed(pattern: &Path) -> PathBuf {
    let parts = pattern.components().take_while(|part| {
        let part = part.as_os_str().to_string_lossy();
        !part.contains(['*', '?', '[', '{', '\\'])
    });
    parts.collect()
}
