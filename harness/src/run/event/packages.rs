//! The packages of a kernel.

use serde::{Deserialize, Serialize};

use crate::arch::Arch;

/// Where a kernel's packages come from, and their files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelPackages {
    /// Their architecture.
    #[serde(default, skip_serializing_if = "Arch::is_default")]
    pub arch: Arch,
    /// Suite of the archive.
    pub suite: String,
    /// Component of the suite.
    pub component: String,
    /// The archive's root, if `kernels.toml` names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<String>,
    /// The files, that of the kernel's own package first.
    pub files: Vec<PackageFile>,
}

/// A file of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageFile {
    /// Package name.
    pub package: String,
    /// Version of the package.
    pub version: String,
    /// Path below the archive's root.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256, 64 hexadecimal digits.
    pub sha256: String,
    /// SHA-1, 40 hexadecimal digits: archives of old packages use it as a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha1: Option<String>,
    /// No signed index listed it: it contains modules only, and the kernel checks them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unlisted: bool,
}
