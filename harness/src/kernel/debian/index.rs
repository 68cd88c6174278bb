//! A `Packages` index: lists packages, and finds those that make up a kernel.

use std::cmp::Ordering;

use debversion::Version;
use globset::{Glob, GlobMatcher};
use serde::{Deserialize, Serialize};

use super::super::lock::LockedFile;

/// The fields of one package that kernels need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Package {
    pub(in super::super) file: LockedFile,
    /// Names and, if fixed, versions of the packages that it depends on; the first of alternatives.
    depends: Vec<(String, Option<String>)>,
}

/// Only these contain parts of a kernel. Since 6.19 the image and the modules are separate
/// packages, and `modules.builtin` and similar files are in a third (`linux-base-V`).
const PARTS: [&str; 4] = [
    "linux-image-",
    "linux-base-",
    "linux-binary-",
    "linux-modules-",
];

/// Debug symbols and unsigned twins are not separate kernels.
const NO_KERNELS: [&str; 2] = ["-dbg", "-unsigned"];

/// The packages that are kernels, by their names.
#[derive(Debug)]
pub struct KernelNames(GlobMatcher);

impl KernelNames {
    /// Those that the glob `pattern` matches; `None` if it is not a glob.
    pub fn matching(pattern: &str) -> Option<Self> {
        let glob = Glob::new(pattern).ok()?;
        Some(Self(glob.compile_matcher()))
    }

    fn has(&self, name: &str) -> bool {
        self.0.is_match(name) && !NO_KERNELS.iter().any(|suffix| name.ends_with(suffix))
    }
}

/// Reads the kernel packages of an index (deb822, Debian Policy 4.12, 5.1).
pub(super) fn parse(index: &str) -> Vec<Package> {
    index.split("\n\n").filter_map(package).collect()
}

fn package(stanza: &str) -> Option<Package> {
    let field = |name: &str| {
        stanza.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    };
    // Most of an index is something else, so first look only at the first field.
    let name = stanza
        .trim_start()
        .lines()
        .next()?
        .strip_prefix("Package:")?
        .trim();
    if !PARTS.iter().any(|prefix| name.starts_with(prefix)) {
        return None;
    }
    let depends = field("Depends").unwrap_or_default();
    let file = LockedFile {
        package: name.to_owned(),
        version: field("Version")?,
        path: field("Filename")?.trim_start_matches("./").to_owned(),
        size: field("Size")?.parse().ok()?,
        sha256: field("SHA256")?.to_ascii_lowercase(),
        sha1: None,
        unlisted: false,
    };
    is_plain(&file).then(|| Package {
        file,
        depends: depends.split(',').filter_map(dependency).collect(),
    })
}

/// Whether names, version and hash are what Debian Policy (5.6.1, 5.6.12) allows:
/// they become names of kernels and files.
fn is_plain(file: &LockedFile) -> bool {
    let of = |text: &str, more: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    of(&file.package, ".+-")
        && of(&file.version, ".+-~:")
        && file.path.chars().all(|c| c.is_ascii_graphic())
        && file.sha256.len() == 64
        && file.sha256.bytes().all(|b| b.is_ascii_hexdigit())
}

/// `name (= version) | other` → name and version.
fn dependency(text: &str) -> Option<(String, Option<String>)> {
    let first = text.split('|').next()?.trim();
    let (name, version) = match first.split_once('(') {
        Some((name, constraint)) => {
            let constraint = constraint.trim_end().trim_end_matches(')').trim();
            (
                name,
                constraint.strip_prefix('=').map(|v| v.trim().to_owned()),
            )
        }
        None => (first, None),
    };
    let name = name.trim().split(':').next()?;
    (!name.is_empty()).then(|| (name.to_owned(), version))
}

/// The result of looking up a name or glob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Newest {
    /// The matched package, followed by every other part of the kernel.
    Found(Vec<LockedFile>),
    /// No match.
    NoMatch,
    /// Every match lacks a part.
    Incomplete {
        /// The newest match.
        package: String,
        /// Its version.
        version: String,
        /// A part of it that is not in the index.
        missing: String,
    },
}

/// The newest complete kernel whose package name matches `pattern`: archives keep the images of a
/// version longer than its modules, which come from another source package.
pub(in super::super) fn newest(packages: &[Package], pattern: &str) -> Newest {
    let Some(names) = KernelNames::matching(pattern) else {
        return Newest::NoMatch;
    };
    let mut candidates: Vec<&Package> = packages
        .iter()
        .filter(|package| {
            let name = &package.file.package;
            *name == pattern || names.has(name)
        })
        .collect();
    let mut result = Newest::NoMatch;
    while let Some(first) = latest(candidates.iter().copied()) {
        let parts = parts(packages, first);
        match parts.missing.into_iter().next() {
            None => return Newest::Found(parts.files),
            Some((missing, _)) if result == Newest::NoMatch => {
                result = Newest::Incomplete {
                    package: first.file.package.clone(),
                    version: first.file.version.clone(),
                    missing,
                };
            }
            Some(_) => {}
        }
        candidates.retain(|package| *package != first);
    }
    result
}

/// A kernel of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Kernel {
    /// Its package, and behind it every other part that the index has.
    pub(in super::super) files: Vec<LockedFile>,
    /// Names and versions of the parts that the index does not have any more.
    pub(in super::super) unlisted: Vec<(String, String)>,
}

/// Every kernel that `names` has and whose image is there. A package that only depends on another
/// one of `names` is no kernel of its own.
pub(in super::super) fn all(packages: &[Package], names: &KernelNames) -> Vec<Kernel> {
    let kernels = packages
        .iter()
        .filter(|package| names.has(&package.file.package));
    kernels
        .filter_map(|package| {
            let parts = parts(packages, package);
            let others = parts.files.iter().skip(1).map(|file| &file.package);
            let mut all = others.chain(parts.missing.iter().map(|(name, _)| name));
            if all.any(|name| names.has(name)) {
                return None;
            }
            let unlisted = parts.missing.into_iter().map(|(name, version)| {
                let without = ["linux-modules-", "linux-base-"];
                let version = version.filter(|_| without.iter().any(|p| name.starts_with(p)))?;
                Some((name, version))
            });
            Some(Kernel {
                unlisted: unlisted.collect::<Option<_>>()?,
                files: parts.files,
            })
        })
        .collect()
}

/// What makes up a kernel.
struct Parts {
    files: Vec<LockedFile>,
    /// Names and, where fixed, versions of what is not there.
    missing: Vec<(String, Option<String>)>,
}

/// `first` and every part of the kernel it depends on.
fn parts(packages: &[Package], first: &Package) -> Parts {
    let mut chosen = vec![first];
    let mut missing: Vec<(String, Option<String>)> = Vec::new();
    let mut next = 0;
    while let Some(package) = chosen.get(next).copied() {
        next += 1;
        for (name, version) in &package.depends {
            let part = PARTS.iter().any(|prefix| name.starts_with(prefix));
            let known = chosen.iter().any(|known| known.file.package == *name)
                || missing.iter().any(|(known, _)| known == name);
            if !part || known {
                continue;
            }
            let matching = packages.iter().filter(|other| {
                other.file.package == *name
                    && version
                        .as_ref()
                        .is_none_or(|version| other.file.version == *version)
            });
            match latest(matching) {
                Some(found) => chosen.push(found),
                None => missing.push((name.clone(), version.clone())),
            }
        }
    }
    // A package that has image and modules, as that of 6.18, has what the rest
    // of them lists, too: linux-base has nothing more than scripts there.
    let split = |(name, _): &(String, _)| {
        ["linux-modules-", "linux-binary-", "linux-image-"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
    };
    if !first.depends.iter().any(split) {
        missing.retain(|(name, _)| !name.starts_with("linux-base-"));
    }
    let files = chosen.into_iter().map(|package| package.file.clone());
    Parts {
        files: files.collect(),
        missing,
    }
}

/// The highest version; of equal ones, the last name.
fn latest<'a>(packages: impl Iterator<Item = &'a Package>) -> Option<&'a Package> {
    packages.max_by(|a, b| {
        let by_version = compare(&a.file.version, &b.file.version);
        by_version.then_with(|| a.file.package.cmp(&b.file.package))
    })
}

/// deb-version(7). Invalid versions come before all valid ones.
pub(in super::super) fn compare(a: &str, b: &str) -> Ordering {
    let parse = |text: &str| text.parse::<Version>().ok();
    parse(a).cmp(&parse(b))
}

#[cfg(test)]
mod tests;
