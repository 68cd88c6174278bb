//! `-k`: names, globs, groups, kernels of pools and paths → kernels.

use std::path::{Path, PathBuf};

use globset::GlobBuilder;

use super::catalogue::Catalogue;
use super::check::{absolute, is_glob_char};
use super::pool::{Pool, PoolKernel};
use super::source::Kernel;
use super::wanted::Wanted;
use crate::arch::Arch;
use crate::hint::Hint;

/// The name of the kernel that this machine runs.
const HOST: &str = "host";

/// One selected kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selected {
    /// A kernel of the catalogue.
    Named(Kernel),
    /// A kernel of a pool.
    Pooled(PoolKernel),
    /// A directory or an image on this machine.
    Path {
        /// As the user wrote it; names the kernel in reports.
        given: String,
        /// Absolute.
        path: PathBuf,
    },
    /// The kernel that this machine runs.
    Host,
    /// Packages and archives on this machine that make one kernel together.
    Files {
        /// As the user wrote it; names the kernel in reports.
        given: String,
        /// Absolute.
        paths: Vec<PathBuf>,
    },
}

impl Selected {
    /// The kernel's name in reports.
    pub fn name(&self) -> &str {
        match self {
            Selected::Named(kernel) => &kernel.name,
            Selected::Pooled(kernel) => &kernel.name,
            Selected::Path { given, .. } | Selected::Files { given, .. } => given,
            Selected::Host => HOST,
        }
    }

    /// The kernel's architecture; for a path, the one that its image must have.
    pub fn arch(&self) -> Arch {
        match self {
            Selected::Named(kernel) => kernel.arch,
            Selected::Pooled(kernel) => kernel.arch,
            Selected::Path { .. } | Selected::Files { .. } | Selected::Host => Arch::default(),
        }
    }
}

/// A `-k` selects nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// No kernel of that name.
    #[error("there is no kernel \"{name}\"; the kernels are: {}", list(known))]
    UnknownKernel {
        /// The given name.
        name: String,
        /// All names, the nearest first.
        known: Vec<String>,
        /// The pool of that name, if there is one.
        pool: Option<String>,
    },
    /// No group of that name.
    #[error("there is no group \"@{name}\"; the groups are: {}", list(known))]
    UnknownGroup {
        /// The given name, without `@`.
        name: String,
        /// All groups, the nearest first, with `@`.
        known: Vec<String>,
    },
    /// A glob that matches nothing.
    #[error("no kernel matches \"{glob}\"; the kernels are: {}", list(known))]
    NoMatch {
        /// The glob.
        glob: String,
        /// All names.
        known: Vec<String>,
    },
    /// A glob that cannot be read.
    #[error("\"{glob}\" is not a glob: {reason}")]
    BadGlob {
        /// The glob.
        glob: String,
        /// Why.
        reason: String,
    },
    /// A group without members.
    #[error("the group \"@{name}\" is empty")]
    EmptyGroup {
        /// The group, without `@`.
        name: String,
    },
    /// No pool of that name.
    #[error("there is no pool \"{name}\"; the pools are: {}", list(known))]
    UnknownPool {
        /// What was asked for, without the colon and what follows.
        name: String,
        /// Every pool there is, the nearest first.
        known: Vec<String>,
    },
    /// What stands behind a pool's name selects nothing.
    #[error("{pool}: {reason}")]
    BadVersion {
        /// The pool.
        pool: String,
        /// What is wrong, and what is allowed.
        reason: String,
    },
    /// Kernels of a pool where only those of `kernels.toml` can be.
    #[error("{given} is of a pool: only kernels of kernels.toml have a pin")]
    Pooled {
        /// The given name.
        given: String,
    },
    /// A path that does not exist.
    #[error("there is no kernel at {}: no such file or directory", path.display())]
    NoSuchPath {
        /// Absolute.
        path: PathBuf,
    },
}

impl Hint for SelectError {
    fn hints(&self) -> Vec<String> {
        match self {
            SelectError::UnknownKernel { pool: Some(pool), .. } => vec![format!(
                "a kernel of the pool is {pool}:VERSION; `kiln kernels search {pool}` lists them"
            )],
            SelectError::UnknownKernel { known, .. } | SelectError::UnknownGroup { known, .. } => {
                known
                    .first()
                    .map(|nearest| {
                        format!("did you mean `-k {nearest}`? `kiln kernels list` shows them all")
                    })
                    .into_iter()
                    .collect()
            }
            SelectError::NoMatch { .. } => vec!["`kiln kernels list` shows them all".to_owned()],
            SelectError::BadGlob { .. } => vec![
                "a glob may contain * ? [abc] and {a,b}; quote it, or the shell expands it"
                    .to_owned(),
            ],
            SelectError::EmptyGroup { .. } => {
                vec!["add names or globs to it in kernels.toml".to_owned()]
            }
            SelectError::UnknownPool { .. } => vec![
                "a kernel of a pool is POOL:VERSION, such as debian:6.18; [pools.NAME] in kernels.toml adds a pool".to_owned(),
            ],
            SelectError::BadVersion { pool, .. } => {
                vec![format!("`kiln kernels search {pool}` lists what it has")]
            }
            SelectError::Pooled { given } => vec![format!(
                "`kiln kernels pin {given}` writes it to kernels.toml and kernels.lock"
            )],
            SelectError::NoSuchPath { .. } => vec![
                "a path names a build tree, a directory with an image and lib/modules, an image or a package; several packages of one kernel are -k A,B"
                    .to_owned(),
            ],
        }
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "(none)".to_owned()
    } else {
        names.join(", ")
    }
}

impl Catalogue {
    /// The kernels that `patterns` select, in that order, each once; relative paths are relative to
    /// `cwd`. `pools` says which kernels of a pool are wanted, which requires a look into its
    /// archive.
    pub fn select_with<S: AsRef<str>, E: From<SelectError>>(
        &self,
        patterns: &[S],
        cwd: &Path,
        mut pools: impl FnMut(&Pool, &Wanted) -> Result<Vec<PoolKernel>, E>,
    ) -> Result<Vec<Selected>, E> {
        let mut selected: Vec<Selected> = Vec::new();
        let mut add = |item: Selected| {
            let known = selected.iter().any(|other| match (other, &item) {
                (Selected::Path { path: a, .. }, Selected::Path { path: b, .. }) => a == b,
                (Selected::Files { paths: a, .. }, Selected::Files { paths: b, .. }) => a == b,
                (Selected::Path { .. } | Selected::Files { .. }, _)
                | (_, Selected::Path { .. } | Selected::Files { .. }) => false,
                (a, b) => a.name() == b.name(),
            });
            if !known {
                selected.push(item);
            }
        };
        for pattern in patterns {
            let pattern = pattern.as_ref();
            // A kernel of that name in the catalogue comes first.
            if pattern == HOST && self.kernel(HOST).is_none() {
                add(Selected::Host);
                continue;
            }
            if self.kernel(pattern).is_none() && !pattern.starts_with('@') && is_path(pattern, cwd)
            {
                let path = absolute(cwd, Path::new(pattern));
                if !path.exists() && pattern.contains(',') {
                    add(Selected::Files {
                        given: pattern.to_owned(),
                        paths: parts(pattern, cwd)?,
                    });
                    continue;
                }
                if !path.exists() {
                    return Err(SelectError::NoSuchPath { path }.into());
                }
                add(Selected::Path {
                    given: pattern.to_owned(),
                    path,
                });
                continue;
            }
            let members = match pattern.strip_prefix('@') {
                Some(group) => self.group_members(group)?,
                None => members(self, pattern)?,
            };
            for member in members {
                if let Some(kernel) = self.kernel(&member) {
                    add(Selected::Named(kernel.clone()));
                } else if let Some((pool, wanted)) = self.of_pool(&member)? {
                    pools(pool, &wanted)?
                        .into_iter()
                        .for_each(|kernel| add(Selected::Pooled(kernel)));
                }
            }
        }
        Ok(selected)
    }

    /// The same where kernels of pools cannot be.
    pub fn select<S: AsRef<str>>(
        &self,
        patterns: &[S],
        cwd: &Path,
    ) -> Result<Vec<Selected>, SelectError> {
        self.select_with(patterns, cwd, |pool, wanted| {
            Err(SelectError::Pooled {
                given: format!("{}:{wanted}", pool.name),
            })
        })
    }

    /// The pool and what of it `text` means; `None` if it names no pool.
    pub fn of_pool(&self, text: &str) -> Result<Option<(&Pool, Wanted)>, SelectError> {
        let Some((name, wanted)) = text.split_once(':') else {
            return Ok(None);
        };
        let pool = self.known_pool(name)?;
        let wanted = Wanted::parse(wanted).map_err(|reason| SelectError::BadVersion {
            pool: name.to_owned(),
            reason,
        })?;
        Ok(Some((pool, wanted)))
    }

    /// The pool called `name`.
    pub fn known_pool(&self, name: &str) -> Result<&Pool, SelectError> {
        self.pool(name).ok_or_else(|| {
            let pools = self.pools.iter().map(|pool| pool.name.as_str());
            SelectError::UnknownPool {
                name: name.to_owned(),
                known: nearest_first(name, pools),
            }
        })
    }

    fn group_members(&self, name: &str) -> Result<Vec<String>, SelectError> {
        match self.groups.iter().find(|group| group.name == name) {
            Some(group) if group.kernels.is_empty() => Err(SelectError::EmptyGroup {
                name: name.to_owned(),
            }),
            Some(group) => Ok(group.kernels.clone()),
            None => {
                let groups = self.groups.iter().map(|group| group.name.as_str());
                let known = nearest_first(name, groups);
                Err(SelectError::UnknownGroup {
                    name: name.to_owned(),
                    known: known.into_iter().map(|name| format!("@{name}")).collect(),
                })
            }
        }
    }
}

/// Whether a pattern names a path, or packages by their paths: names of kernels
/// have neither slashes nor commas.
fn is_path(pattern: &str, cwd: &Path) -> bool {
    let exists = |path: &str| !path.is_empty() && cwd.join(path).exists();
    pattern.contains('/')
        || exists(pattern)
        || (pattern.contains(',') && pattern.split(',').any(exists))
}

/// The files of `A,B,…`.
fn parts(pattern: &str, cwd: &Path) -> Result<Vec<PathBuf>, SelectError> {
    pattern
        .split(',')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let path = absolute(cwd, Path::new(part));
            if path.exists() {
                Ok(path)
            } else {
                Err(SelectError::NoSuchPath { path })
            }
        })
        .collect()
}

/// What a name, a glob or `POOL:VERSION` means: names of kernels, or the latter
/// itself.
pub(super) fn members(catalogue: &Catalogue, pattern: &str) -> Result<Vec<String>, SelectError> {
    // Names may have colons, too.
    let colons = || catalogue.kernels.iter().any(|k| k.name.contains(':'));
    match pattern.split_once(':') {
        Some((pool, _)) if catalogue.kernel(pattern).is_none() => {
            if catalogue.pool(pool).is_none() && colons() {
                return names_matching(catalogue, pattern);
            }
            catalogue.of_pool(pattern)?;
            Ok(vec![pattern.to_owned()])
        }
        _ => names_matching(catalogue, pattern),
    }
}

/// The kernels of the catalogue that a name or glob means, in the order of the
/// file; at least one.
fn names_matching(catalogue: &Catalogue, pattern: &str) -> Result<Vec<String>, SelectError> {
    let names = || catalogue.kernels.iter().map(|kernel| kernel.name.as_str());
    if let Some(kernel) = catalogue.kernel(pattern) {
        return Ok(vec![kernel.name.clone()]);
    }
    if !pattern.contains(is_glob_char) {
        return Err(SelectError::UnknownKernel {
            name: pattern.to_owned(),
            known: nearest_first(pattern, names()),
            pool: catalogue.pool(pattern).map(|pool| pool.name.clone()),
        });
    }
    let matcher = GlobBuilder::new(pattern)
        .build()
        .map_err(|error| SelectError::BadGlob {
            glob: pattern.to_owned(),
            reason: error.kind().to_string(),
        })?
        .compile_matcher();
    let matching: Vec<String> = names()
        .filter(|name| matcher.is_match(name))
        .map(str::to_owned)
        .collect();
    if matching.is_empty() {
        return Err(SelectError::NoMatch {
            glob: pattern.to_owned(),
            known: names().map(str::to_owned).collect(),
        });
    }
    Ok(matching)
}

/// `names`, the most similar to `wanted` first, equally similar ones in their
/// own order.
pub(crate) fn nearest_first<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut names: Vec<&str> = names.collect();
    names.sort_by(|a, b| {
        let near = |name: &str| strsim::jaro_winkler(wanted, name);
        near(b).total_cmp(&near(a))
    });
    names.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
#[path = "select_tests.rs"]
mod tests;
