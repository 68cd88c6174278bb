//! Events about a kernel.

use serde::{Deserialize, Serialize};

use super::KernelPackages;

/// A kernel is ready to boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelReady {
    /// Name of the kernel.
    pub kernel: String,
    /// Its release, from its image.
    pub release: String,
    /// SHA-256 of the image that boots, 64 hexadecimal digits.
    pub sha256: String,
    /// The packages it is made of, if it is of packages: with them the same bytes
    /// can be had again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packages: Option<KernelPackages>,
}

/// A kernel is not available: its tests do not run. In schema 1 since kernels are provided while
/// tests run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelFailed {
    /// Name of the kernel.
    pub kernel: String,
    /// Why: the first line says what failed.
    pub reason: String,
    /// What to do about it, one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
}

/// The kernel reported a problem on the console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelReport {
    /// Name of the kernel.
    pub kernel: String,
    /// The VM.
    pub vm: u32,
    /// The kind: `oops`, `warning`, `rcu stall`, `lockdep`, `kasan`, …
    pub kind: String,
    /// The test that was running, `suite.name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<String>,
    /// No test was running, and the report fails the run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fails: bool,
    /// Why `kernels.toml` allows it; it then fails nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<String>,
    /// Why `kernels.toml` denies the line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denied: Option<String>,
    /// Its lines on the console, limited by [`bounded_text`](super::bounded_text); untrusted.
    pub text: String,
}
