//! Parses a [`Catalogue`], and reports everything that is wrong with its line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::catalogue::{Catalogue, Group};
use super::check::{Checker, absolute, explain};
use super::ci::RawProfile;
use super::error::ConfigError;
use super::kernel_log::RawPattern;
use super::origin::Origin;
use super::pool::{Pool, RawPool};
use super::select;
use super::settings::{RawSettings, VmSettings};
use super::source::RawKernel;
use super::suite::RawSuite;

/// Name of the file that [`Catalogue::discover`] looks for.
pub const FILE_NAME: &str = "kernels.toml";

/// The catalogue that is built into the binary, so that kiln works outside any
/// checkout.
const BUILT_IN: &str = include_str!("../../built-in/kernels.toml");

/// The lock of [`BUILT_IN`].
pub const BUILT_IN_LOCK: &str = include_str!("../../built-in/kernels.lock");

type Map<T> = BTreeMap<Spanned<String>, T>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    defaults: RawSettings,
    #[serde(default)]
    kernels: Map<RawKernel>,
    #[serde(default)]
    pools: Map<RawPool>,
    #[serde(default)]
    groups: Map<Vec<Spanned<String>>>,
    #[serde(default)]
    suites: Map<RawSuite>,
    #[serde(default)]
    ci: Map<RawProfile>,
    #[serde(default, rename = "kernel-log")]
    kernel_log: Vec<Spanned<RawPattern>>,
}

impl Catalogue {
    /// Reads `explicit` (`--config`), else the nearest [`FILE_NAME`] in `cwd`
    /// or a parent of it, else the built-in catalogue.
    pub fn discover(explicit: Option<&Path>, cwd: &Path) -> Result<Self, ConfigError> {
        if let Some(path) = explicit {
            return Self::load(&absolute(cwd, path));
        }
        match cwd
            .ancestors()
            .map(|dir| dir.join(FILE_NAME))
            .find(|path| path.is_file())
        {
            Some(path) => Self::load(&path),
            None => Self::built_in(),
        }
    }

    /// Reads the file at `path`, which is absolute.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_path_buf(),
            source,
        })?;
        Self::parse(&text, Origin::File(path.to_path_buf()))
    }

    /// The catalogue built into the binary.
    pub fn built_in() -> Result<Self, ConfigError> {
        Self::parse(BUILT_IN, Origin::BuiltIn)
    }

    /// Parses `text`; relative paths in it are relative to `origin`'s
    /// directory.
    pub fn parse(text: &str, origin: Origin) -> Result<Self, ConfigError> {
        parse(text, origin)
    }
}

pub(super) fn parse(text: &str, origin: Origin) -> Result<Catalogue, ConfigError> {
    let base = match &origin {
        Origin::File(path) => path.parent().unwrap_or(Path::new("/")).to_path_buf(),
        Origin::BuiltIn => PathBuf::from("/"),
    };
    let mut checker = Checker::new(text, origin, base);
    let raw: RawFile = match toml::from_str(text) {
        Ok(raw) => raw,
        Err(error) => {
            let at = error.span().unwrap_or(0..0);
            checker.problem(&at, explain(error.message()));
            return Err(checker.into_error());
        }
    };

    let defaults = checker.settings("defaults.", raw.defaults, &VmSettings::default());
    let mut kernels = Vec::new();
    for (name, kernel) in in_file_order(raw.kernels) {
        kernels.extend(checker.kernel(&name, kernel, &defaults));
    }
    let mut catalogue = Catalogue {
        origin: checker.origin.clone(),
        defaults,
        kernels,
        pools: Vec::new(),
        groups: Vec::new(),
        suites: Vec::new(),
        ci: Vec::new(),
        kernel_log: Vec::new(),
    };
    for (name, pool) in in_file_order(raw.pools) {
        let pool = checker.pool(&name, pool);
        catalogue.pools.push(pool);
    }
    let debian = Pool::debian();
    if catalogue.pool(&debian.name).is_none() {
        catalogue.pools.push(debian);
    }
    for (name, members) in in_file_order(raw.groups) {
        let group = checker.group(&catalogue, &name, &members);
        catalogue.groups.push(group);
    }
    for (name, suite) in in_file_order(raw.suites) {
        catalogue.suites.extend(checker.suite(&name, suite));
    }
    for (name, profile) in in_file_order(raw.ci) {
        let profile = checker.ci_profile(&name, profile);
        catalogue.ci.push(profile);
    }
    for pattern in raw.kernel_log {
        catalogue.kernel_log.extend(checker.kernel_log(pattern));
    }
    if checker.count() == 0 {
        Ok(catalogue)
    } else {
        Err(checker.into_error())
    }
}

/// The parser sorts TOML tables by key, but users mean the order in the file.
fn in_file_order<T>(map: Map<T>) -> Vec<(Spanned<String>, T)> {
    let mut entries: Vec<_> = map.into_iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

impl Checker<'_> {
    fn group(
        &mut self,
        catalogue: &Catalogue,
        name: &Spanned<String>,
        members: &[Spanned<String>],
    ) -> Group {
        self.name("group", name);
        let mut kernels: Vec<String> = Vec::new();
        for member in members {
            match select::members(catalogue, member.get_ref()) {
                Ok(names) => {
                    for name in names {
                        if !kernels.contains(&name) {
                            kernels.push(name);
                        }
                    }
                }
                Err(error) => self.problem(
                    &member.span(),
                    format!(
                        "group \"{}\": {error}; allowed: names of kernels in this file, globs of them, and kernels of pools such as debian:6.18",
                        name.get_ref()
                    ),
                ),
            }
        }
        Group {
            name: name.get_ref().clone(),
            kernels,
        }
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
