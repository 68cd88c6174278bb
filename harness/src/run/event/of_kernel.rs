//! Events about a kernel.

use serde::{Deserialize, Serialize};

/// A kernel is ready to boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelReady {
    /// Name of the kernel.
    pub kernel: String,
    /// Its release, from its image.
    pub release: String,
    /// SHA-256 of the image that boots, 64 hexadecimal digits.
    pub sha256: String,
}

/// A kernel could not be provided: its tests are not run. Schema 1 has it
/// since kernels are provided while tests run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelFailed {
    /// Name of the kernel.
    pub kernel: String,
    /// Why: the first line says what failed.
    pub reason: String,
    /// What to do about it, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
}

/// The kernel said on the console that something is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelReport {
    /// Name of the kernel.
    pub kernel: String,
    /// The VM.
    pub vm: u32,
    /// What: `oops`, `warning`, `rcu stall`, `lockdep`, `kasan`, …
    pub kind: String,
    /// The test that ran then, `suite.name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<String>,
    /// No test ran then, and the run fails by it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fails: bool,
    /// Why `kernels.toml` allows it: nothing fails by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<String>,
    /// Why `kernels.toml` denies the line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denied: Option<String>,
    /// Its lines on the console, bounded by [`bounded_text`](super::bounded_text); untrusted.
    pub text: String,
}
