//! `[kernels.NAME]`: where a kernel comes from.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::check::{Checker, absolute};
use super::devices::{Machine, ShareKind, Transport};
use super::files::{FileSource, RawPart, UrlSource};
use super::settings::{RawSettings, VmSettings};
use crate::arch::Arch;

/// The sources a kernel can have, for messages.
const SOURCES: &str = "exactly one of apt, nix, url (with sha256), path, files and oci";

/// `[kernels.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The name in the file.
    pub name: String,
    /// Its architecture.
    pub arch: Arch,
    /// Where it comes from.
    pub source: Source,
    /// What is asked of its VMs.
    pub settings: Box<VmSettings>,
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
    /// A container image, as in `docker pull`.
    Oci(String),
    /// A file on a web server.
    Url(UrlSource),
    /// Packages and archives that make one kernel together.
    Files(Vec<FileSource>),
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

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Apt(apt) => write!(f, "apt {} {}", apt.suite, apt.package),
            Source::Nix(output) => write!(f, "nix {output}"),
            Source::Oci(image) => write!(f, "oci {image}"),
            Source::Url(url) => write!(f, "url {}", url.url),
            Source::Files(files) => {
                f.write_str("files")?;
                files
                    .iter()
                    .try_for_each(|file| write!(f, " {}", file.place))
            }
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
    files: Option<Spanned<Vec<Spanned<RawPart>>>>,
    oci: Option<Spanned<String>>,
    machine: Option<Spanned<Machine>>,
    transport: Option<Spanned<Transport>>,
    share: Option<Spanned<ShareKind>>,
    memory: Option<Spanned<String>>,
    cpus: Option<Spanned<u32>>,
    cpu: Option<Spanned<String>>,
    append: Option<Spanned<String>>,
    #[serde(rename = "qemu-args")]
    qemu_args: Option<Spanned<Vec<Spanned<String>>>>,
    modules: Option<Spanned<Vec<Spanned<String>>>>,
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

/// The component of an archive; Debian's own is `main`.
pub(super) fn component(named: Option<Spanned<String>>) -> String {
    named.map_or_else(|| "main".to_owned(), Spanned::into_inner)
}

impl Checker<'_> {
    pub(super) fn kernel(
        &mut self,
        name: &Spanned<String>,
        raw: RawKernel,
        defaults: &VmSettings,
    ) -> Option<Kernel> {
        self.name("kernel", name);
        let label = format!("kernel \"{}\"", name.get_ref());
        let mut present: Vec<(&str, Range<usize>)> = [
            raw.apt.as_ref().map(|v| ("apt", v.span())),
            raw.nix.as_ref().map(|v| ("nix", v.span())),
            raw.oci.as_ref().map(|v| ("oci", v.span())),
            raw.files.as_ref().map(|v| ("files", v.span())),
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
        let settings = RawSettings {
            memory: raw.memory,
            cpus: raw.cpus,
            cpu: raw.cpu,
            append: raw.append,
            qemu_args: raw.qemu_args,
            modules: raw.modules,
            machine: raw.machine,
            transport: raw.transport,
            share: raw.share,
        };
        let settings = Box::new(self.settings(&format!("{label}: "), settings, defaults));
        let source = if let Some(apt) = raw.apt {
            Source::Apt(self.apt(&label, apt.into_inner())?)
        } else if let Some(url) = raw.url {
            Source::Url(self.url(&label, &url, raw.sha256)?)
        } else if let Some(image) = raw.oci {
            Source::Oci(self.image(&label, image)?)
        } else if let Some(files) = raw.files {
            Source::Files(self.files(&label, files)?)
        } else if let Some(path) = raw.path {
            Source::Path(absolute(&self.base, path.get_ref()))
        } else {
            Source::Nix(self.installable(&label, raw.nix?)?)
        };
        Some(Kernel {
            name: name.get_ref().clone(),
            arch: raw.arch,
            source,
            settings,
            line,
        })
    }

    /// The name of a container image.
    fn image(&mut self, label: &str, raw: Spanned<String>) -> Option<String> {
        if let Err(error) = raw.get_ref().parse::<oci_client::Reference>() {
            self.problem(
                &raw.span(),
                format!(
                    "{label}: oci is {:?}: {error}; allowed: an image such as ghcr.io/cilium/ci-kernels:6.12",
                    raw.get_ref()
                ),
            );
            return None;
        }
        Some(raw.into_inner())
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
        self.archive(label, raw.mirror.as_ref(), raw.component.as_ref());
        (self.count() == before).then(|| AptSource {
            suite: raw.suite.into_inner(),
            package: raw.package.into_inner(),
            mirror: raw.mirror.map(Spanned::into_inner),
            keyring: raw.keyring.map(|file| absolute(&self.base, file.get_ref())),
            trusted: raw.trusted,
            component: component(raw.component),
        })
    }

    /// Where an archive is, and its part.
    pub(super) fn archive(
        &mut self,
        label: &str,
        mirror: Option<&Spanned<String>>,
        component: Option<&Spanned<String>>,
    ) {
        for (key, value) in [("mirror", mirror), ("component", component)] {
            if let Some(value) = value {
                self.word(label, key, value);
            }
        }
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
}
