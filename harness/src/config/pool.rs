//! Pools: kernels of an archive, chosen by version.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::check::{Checker, absolute};
use super::source::{AptSource, component};
use crate::arch::Arch;

/// The built-in pool, which needs no `kernels.toml`.
const DEBIAN: &str = "debian";

/// The suites of [`DEBIAN`] with kernels: of every release that the mirrors still have, and of the
/// next one.
const DEBIAN_SUITES: [&str; 11] = [
    "bullseye",
    "bullseye-security",
    "bookworm",
    "bookworm-security",
    "bookworm-backports",
    "trixie",
    "trixie-security",
    "trixie-backports",
    "forky",
    "sid",
    "experimental",
];

/// The cloud flavour is a quarter of the size of the full one.
fn debian_package(arch: Arch) -> String {
    format!("linux-image-*-cloud-{}", arch.debian())
}

/// `[pools.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// The name in the file.
    pub name: String,
    /// The architecture of its kernels.
    pub arch: Arch,
    /// Suites of the archive, in the order of the file.
    pub suites: Vec<String>,
    /// Package name or glob; every match is a kernel of the pool.
    pub package: String,
    /// See [`AptSource::mirror`].
    pub mirror: Option<String>,
    /// See [`AptSource::keyring`].
    pub keyring: Option<PathBuf>,
    /// No signature is required.
    pub trusted: bool,
    /// Component of the suites.
    pub component: String,
}

impl Pool {
    /// Debian's archive.
    pub fn debian() -> Self {
        Self {
            name: DEBIAN.to_owned(),
            arch: Arch::default(),
            suites: DEBIAN_SUITES.map(str::to_owned).to_vec(),
            package: debian_package(Arch::default()),
            mirror: None,
            keyring: None,
            trusted: false,
            component: "main".to_owned(),
        }
    }

    /// One of its suites, with `package` in it.
    pub fn source(&self, suite: &str, package: &str) -> AptSource {
        AptSource {
            suite: suite.to_owned(),
            package: package.to_owned(),
            mirror: self.mirror.clone(),
            keyring: self.keyring.clone(),
            trusted: self.trusted,
            component: self.component.clone(),
        }
    }
}

/// A kernel that was found in a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolKernel {
    /// The name that selects it, also used in reports, such as `debian:6.18.15`.
    pub name: String,
    /// Its architecture.
    pub arch: Arch,
    /// The suites that have it, in the pool's order; at least one.
    pub suites: Vec<String>,
    /// The first of them, with the package that makes the kernel.
    pub source: AptSource,
    /// Version of the kernel, such as `6.18.15` or `7.3-rc7`.
    pub upstream: String,
    /// Its files, that of the package first; at least one.
    pub files: Vec<PoolFile>,
    /// Further files, which the archive may still have, but whose hashes are no longer signed.
    pub unlisted: Vec<UnlistedFile>,
}

impl PoolKernel {
    /// The pool's name.
    pub fn pool(&self) -> &str {
        self.name.split_once(':').map_or("", |(pool, _)| pool)
    }

    /// Debian version of the kernel.
    pub fn version(&self) -> &str {
        self.files.first().map_or("", |file| &file.version)
    }

    /// Size of its files, in bytes.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
}

/// A file of a kernel of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolFile {
    /// Package name.
    pub package: String,
    /// Debian version.
    pub version: String,
    /// Path below the mirror's root.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256, 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// A file of a kernel that the archive no longer lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnlistedFile {
    /// Package name.
    pub package: String,
    /// Debian version.
    pub version: String,
    /// Path below the mirror's root, if it still exists.
    pub path: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPool {
    #[serde(default)]
    arch: Arch,
    apt: Spanned<RawAptPool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAptPool {
    suites: Spanned<Vec<Spanned<String>>>,
    package: Spanned<String>,
    mirror: Option<Spanned<String>>,
    keyring: Option<Spanned<PathBuf>>,
    #[serde(default)]
    trusted: bool,
    component: Option<Spanned<String>>,
}

impl Checker<'_> {
    pub(super) fn pool(&mut self, name: &Spanned<String>, raw: RawPool) -> Pool {
        self.name("pool", name);
        let label = format!("pool \"{}\"", name.get_ref());
        if name.get_ref().contains(':') {
            self.problem(
                &name.span(),
                format!("{label} cannot be selected; allowed: a name without a colon"),
            );
        }
        let arch = raw.arch;
        let raw = raw.apt.into_inner();
        for suite in raw.suites.get_ref() {
            self.word(&label, "suites", suite);
        }
        if raw.suites.get_ref().is_empty() {
            self.problem(
                &raw.suites.span(),
                format!("{label} has no suites; allowed: suites of the archive, at least one"),
            );
        }
        self.package(&label, &raw.package);
        self.archive(&label, raw.mirror.as_ref(), raw.component.as_ref());
        let mut suites: Vec<String> = Vec::new();
        for suite in raw.suites.into_inner() {
            if !suites.contains(suite.get_ref()) {
                suites.push(suite.into_inner());
            }
        }
        Pool {
            name: name.get_ref().clone(),
            arch,
            suites,
            package: raw.package.into_inner(),
            mirror: raw.mirror.map(Spanned::into_inner),
            keyring: raw.keyring.map(|file| absolute(&self.base, file.get_ref())),
            trusted: raw.trusted,
            component: component(raw.component),
        }
    }
}
