//! Parses a [`Catalogue`], and reports everything that is wrong with its line.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::kernel_log::RawPattern;
use super::suite::RawSuite;
use super::{
    AptSource, Catalogue, ConfigError, Defaults, Group, Kernel, Origin, Problem, Source, UrlSource,
    absolute, select,
};
use crate::arch::Arch;

/// The sources a kernel can have, for messages.
const SOURCES: &str = "exactly one of apt, nix, url (with sha256) and path";

type Map<T> = BTreeMap<Spanned<String>, T>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    defaults: RawDefaults,
    #[serde(default)]
    kernels: Map<RawKernel>,
    #[serde(default)]
    groups: Map<Vec<Spanned<String>>>,
    #[serde(default)]
    suites: Map<RawSuite>,
    #[serde(default, rename = "kernel-log")]
    kernel_log: Vec<Spanned<RawPattern>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawDefaults {
    memory: Option<Spanned<String>>,
    cpus: Option<Spanned<u32>>,
    modules: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKernel {
    #[serde(default)]
    arch: Arch,
    apt: Option<Spanned<RawApt>>,
    nix: Option<Spanned<String>>,
    url: Option<Spanned<String>>,
    sha256: Option<Spanned<String>>,
    path: Option<Spanned<PathBuf>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawApt {
    suite: Spanned<String>,
    package: Spanned<String>,
    mirror: Option<Spanned<String>>,
    keyring: Option<Spanned<PathBuf>>,
    #[serde(default)]
    trusted: bool,
    component: Option<Spanned<String>>,
}

/// Collects problems; knows the text, to turn offsets into lines.
pub(super) struct Checker<'a> {
    text: &'a str,
    origin: Origin,
    pub(super) base: PathBuf,
    problems: Vec<Problem>,
}

pub(super) fn parse(text: &str, origin: Origin) -> Result<Catalogue, ConfigError> {
    let base = match &origin {
        Origin::File(path) => path.parent().unwrap_or(Path::new("/")).to_path_buf(),
        Origin::BuiltIn => PathBuf::from("/"),
    };
    let mut checker = Checker {
        text,
        origin,
        base,
        problems: Vec::new(),
    };
    let raw: RawFile = match toml::from_str(text) {
        Ok(raw) => raw,
        Err(error) => {
            let at = error.span().unwrap_or(0..0);
            checker.problem(&at, explain(error.message()));
            return Err(checker.into_error());
        }
    };

    let defaults = checker.defaults(raw.defaults);
    let mut kernels = Vec::new();
    for (name, kernel) in in_file_order(raw.kernels) {
        kernels.extend(checker.kernel(&name, kernel));
    }
    let mut catalogue = Catalogue {
        origin: checker.origin.clone(),
        defaults,
        kernels,
        groups: Vec::new(),
        suites: Vec::new(),
        kernel_log: Vec::new(),
    };
    for (name, members) in in_file_order(raw.groups) {
        let group = checker.group(&catalogue, &name, &members);
        catalogue.groups.push(group);
    }
    for (name, suite) in in_file_order(raw.suites) {
        catalogue.suites.extend(checker.suite(&name, suite));
    }
    for pattern in raw.kernel_log {
        catalogue.kernel_log.extend(checker.kernel_log(pattern));
    }
    if checker.problems.is_empty() {
        Ok(catalogue)
    } else {
        Err(checker.into_error())
    }
}

/// The line, from 1, that the byte at `offset` of `text` is in.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|b| *b == b'\n').count()
}

/// The parser sorts TOML tables by key, but users mean the order in the file.
fn in_file_order<T>(map: Map<T>) -> Vec<(Spanned<String>, T)> {
    let mut entries: Vec<_> = map.into_iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// Rewords serde's message so that what is allowed comes after a semicolon.
pub(crate) fn explain(message: &str) -> String {
    let message = message.trim_end().replace('\n', " ");
    if let Some((what, allowed)) = message.split_once(", expected ") {
        let what = what.replacen("unknown field", "unknown key", 1);
        let allowed = allowed.trim_start_matches("one of ");
        return format!("{what}; allowed here: {allowed}");
    }
    if message.starts_with("duplicate key") {
        return format!("{message}; each name may occur only once");
    }
    if let Some(field) = message.strip_prefix("missing field ") {
        return format!("missing key {field}; it is required here");
    }
    message
}

impl Checker<'_> {
    pub(super) fn line(&self, at: &Range<usize>) -> usize {
        line_of(self.text, at.start)
    }

    pub(super) fn problem(&mut self, at: &Range<usize>, message: impl Into<String>) {
        let problem = Problem {
            origin: self.origin.clone(),
            line: self.line(at),
            message: message.into(),
        };
        self.problems.push(problem);
    }

    fn into_error(mut self) -> ConfigError {
        self.problems.sort_by_key(|problem| problem.line);
        ConfigError::Invalid {
            problems: self.problems,
        }
    }

    fn defaults(&mut self, raw: RawDefaults) -> Defaults {
        let mut defaults = Defaults::default();
        if let Some(memory) = raw.memory {
            match memory.get_ref().parse() {
                Ok(size) => defaults.memory = size,
                Err(error) => self.problem(&memory.span(), format!("defaults.memory: {error}")),
            }
        }
        if let Some(cpus) = raw.cpus {
            if (1..=256).contains(cpus.get_ref()) {
                defaults.cpus = *cpus.get_ref();
            } else {
                self.problem(
                    &cpus.span(),
                    "defaults.cpus is out of range; allowed: 1 to 256",
                );
            }
        }
        defaults.modules = raw.modules.unwrap_or_default();
        defaults
    }

    /// A name must be distinguishable from a glob, a group and a path.
    pub(super) fn name(&mut self, what: &str, name: &Spanned<String>) {
        let text = name.get_ref();
        let bad = text.is_empty()
            || text.starts_with(['@', '-', '.'])
            || text.chars().any(|c| {
                select::is_glob_char(c)
                    || c == '/'
                    || c == ','
                    || c.is_whitespace()
                    || c.is_control()
            });
        if bad {
            self.problem(
                &name.span(),
                format!("{what} name {text:?} cannot be selected; allowed: a name without / , * ? [ ] {{ }} ! or blanks that does not begin with @ - or a dot"),
            );
        }
    }

    fn kernel(&mut self, name: &Spanned<String>, raw: RawKernel) -> Option<Kernel> {
        self.name("kernel", name);
        let label = format!("kernel \"{}\"", name.get_ref());
        let mut present: Vec<(&str, Range<usize>)> = [
            raw.apt.as_ref().map(|v| ("apt", v.span())),
            raw.nix.as_ref().map(|v| ("nix", v.span())),
            raw.url.as_ref().map(|v| ("url", v.span())),
            raw.path.as_ref().map(|v| ("path", v.span())),
        ]
        .into_iter()
        .flatten()
        .collect();
        present.sort_by_key(|(_, at)| at.start);
        let at = match present.as_slice() {
            [] => {
                self.problem(
                    &name.span(),
                    format!("{label} has no source; allowed: {SOURCES}"),
                );
                return None;
            }
            [(_, at)] => at.clone(),
            [.., (_, at)] => {
                let names: Vec<&str> = present.iter().map(|(name, _)| *name).collect();
                let count = names.len();
                self.problem(
                    at,
                    format!(
                        "{label} has {count} sources ({}); allowed: {SOURCES}",
                        names.join(", ")
                    ),
                );
                return None;
            }
        };
        if raw.url.is_none()
            && let Some(sha256) = &raw.sha256
        {
            self.problem(
                &sha256.span(),
                format!(
                    "{label} has a sha256 without a url; allowed: sha256 only beside url \
                    (kernels.lock pins apt packages)"
                ),
            );
            return None;
        }
        let line = self.line(&at);
        let source = if let Some(apt) = raw.apt {
            Source::Apt(self.apt(&label, apt.into_inner())?)
        } else if let Some(url) = raw.url {
            Source::Url(self.url(&label, &url, raw.sha256)?)
        } else if let Some(path) = raw.path {
            Source::Path(absolute(&self.base, path.get_ref()))
        } else {
            Source::Nix(self.installable(&label, raw.nix?)?)
        };
        Some(Kernel {
            name: name.get_ref().clone(),
            arch: raw.arch,
            source,
            line,
        })
    }

    /// A word for Nix's command line.
    fn installable(&mut self, label: &str, raw: Spanned<String>) -> Option<String> {
        let text = raw.get_ref();
        let bad = text.is_empty()
            || text.starts_with('-')
            || text.chars().any(|c| c.is_whitespace() || c.is_control());
        if bad {
            self.problem(
                &raw.span(),
                format!("{label}: nix is {text:?}; allowed: a flake output such as .#kernel-6_6, or a store path"),
            );
            return None;
        }
        Some(raw.into_inner())
    }

    fn apt(&mut self, label: &str, raw: RawApt) -> Option<AptSource> {
        let before = self.problems.len();
        // These become parts of addresses.
        let mut word = |what: &str, value: &Spanned<String>| {
            let text = value.get_ref();
            if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
                self.problem(
                    &value.span(),
                    format!("{label}: apt.{what} is {text:?}; allowed: one word"),
                );
            }
        };
        word("suite", &raw.suite);
        word("package", &raw.package);
        if let Some(mirror) = &raw.mirror {
            word("mirror", mirror);
        }
        if let Some(component) = &raw.component {
            word("component", component);
        }
        if let Err(error) = globset::Glob::new(raw.package.get_ref()) {
            self.problem(
                &raw.package.span(),
                format!(
                    "{label}: apt.package: {}; allowed: a package name or a glob",
                    error.kind()
                ),
            );
        }
        (self.problems.len() == before).then(|| AptSource {
            suite: raw.suite.into_inner(),
            package: raw.package.into_inner(),
            mirror: raw.mirror.map(Spanned::into_inner),
            keyring: raw.keyring.map(|file| absolute(&self.base, file.get_ref())),
            trusted: raw.trusted,
            component: raw
                .component
                .map_or_else(|| "main".to_owned(), Spanned::into_inner),
        })
    }

    fn url(
        &mut self,
        label: &str,
        url: &Spanned<String>,
        sha256: Option<Spanned<String>>,
    ) -> Option<UrlSource> {
        let Some(sha256) = sha256 else {
            self.problem(
                &url.span(),
                format!("{label} has a url without sha256; allowed: sha256 = \"64 hexadecimal digits\" beside it"),
            );
            return None;
        };
        let hash = sha256.get_ref().to_ascii_lowercase();
        if hash.len() != 64 || !hash.bytes().all(|b| b.is_ascii_hexdigit()) {
            self.problem(
                &sha256.span(),
                format!("{label}: sha256 is not a hash; allowed: 64 hexadecimal digits"),
            );
            return None;
        }
        let address = url.get_ref();
        if !(address.starts_with("http://") || address.starts_with("https://")) {
            self.problem(
                &url.span(),
                format!(
                    "{label}: url {address:?} cannot be fetched; allowed: http:// and https://"
                ),
            );
            return None;
        }
        Some(UrlSource {
            url: address.clone(),
            sha256: hash,
        })
    }

    fn group(
        &mut self,
        catalogue: &Catalogue,
        name: &Spanned<String>,
        members: &[Spanned<String>],
    ) -> Group {
        self.name("group", name);
        let mut kernels: Vec<String> = Vec::new();
        for member in members {
            match select::names_matching(catalogue, member.get_ref()) {
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
                        "group \"{}\": {error}; allowed: names of kernels in this file and globs of them",
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
