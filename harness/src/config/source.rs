//! `[kernels.NAME]`: where a kernel comes from.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::check::{Checker, absolute};
use crate::arch::Arch;

/// The sources a kernel can have, for messages.
const SOURCES: &str = "exactly one of apt, nix, url (with sha256) and path";

/// `[kernels.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The name in the file.
    pub name: String,
    /// Its architecture.
    pub arch: Arch,
    /// Where it comes from.
    pub source: Source,
    /// Line of the source in the file, from 1.
    pub line: usize,
}

/// Where a kernel comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A Debian package.
    Apt(AptSource),
    /// What `nix build` takes: a flake output or a store path. Relative to
    /// the file's directory.
    Nix(String),
    /// A file on a web server.
    Url(UrlSource),
    /// A build tree, a directory with an image and modules, or an image;
    /// absolute.
    Path(PathBuf),
}

/// A kernel in a Debian archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AptSource {
    /// Suite of the archive, such as `bookworm-security`.
    pub suite: String,
    /// Package name or glob; the newest match counts.
    pub package: String,
    /// Archive root; `None` means `KILN_APT_MIRROR`, the host's own or a public one.
    pub mirror: Option<String>,
    /// File of OpenPGP keys that are trusted in addition to Debian's; absolute.
    pub keyring: Option<PathBuf>,
    /// No signature is required.
    pub trusted: bool,
    /// Component of the archive.
    pub component: String,
}

/// A kernel on a web server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlSource {
    /// `http` or `https` address of an image or a tar archive.
    pub url: String,
    /// Expected SHA-256 of the file, 64 lower-case hexadecimal digits.
    pub sha256: String,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Apt(apt) => write!(f, "apt {} {}", apt.suite, apt.package),
            Source::Nix(output) => write!(f, "nix {output}"),
            Source::Url(url) => write!(f, "url {}", url.url),
            Source::Path(path) => write!(f, "path {}", path.display()),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawKernel {
    apt: Option<Spanned<RawApt>>,
    nix: Option<Spanned<String>>,
    url: Option<Spanned<String>>,
    sha256: Option<Spanned<String>>,
    path: Option<Spanned<PathBuf>>,
    #[serde(default)]
    arch: Arch,
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

impl Checker<'_> {
    pub(super) fn kernel(&mut self, name: &Spanned<String>, raw: RawKernel) -> Option<Kernel> {
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
        let before = self.count();
        self.word(label, "suite", &raw.suite);
        self.package(label, &raw.package);
        if let Some(mirror) = &raw.mirror {
            self.word(label, "mirror", mirror);
        }
        if let Some(component) = &raw.component {
            self.word(label, "component", component);
        }
        (self.count() == before).then(|| AptSource {
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

    /// What ends up in addresses.
    pub(super) fn word(&mut self, label: &str, key: &str, value: &Spanned<String>) {
        let text = value.get_ref();
        if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            self.problem(
                &value.span(),
                format!("{label}: apt.{key} is {text:?}; allowed: one word"),
            );
        }
    }

    /// The name of a package, or a glob.
    pub(super) fn package(&mut self, label: &str, package: &Spanned<String>) {
        self.word(label, "package", package);
        if let Err(error) = globset::Glob::new(package.get_ref()) {
            self.problem(
                &package.span(),
                format!(
                    "{label}: apt.package: {}; allowed: a package name or a glob",
                    error.kind()
                ),
            );
        }
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
}
