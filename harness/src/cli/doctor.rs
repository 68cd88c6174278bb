//! `kiln doctor`: checks every prerequisite, and says what is wrong and how to fix it.

mod host;
mod qemu;

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use guest_init::plan::BootPlan;

use super::Failure;
use super::context::Context;
use super::output;
use crate::config::Selected;
use crate::exit_code;
use crate::guest::init::GUEST_INIT;
use crate::guest::initramfs;
use crate::kernel::{self, KernelImage};

/// Arguments of `kiln doctor`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Example:\n  kiln doctor --qemu /opt/qemu/bin/qemu-system-x86_64")]
pub(super) struct DoctorArgs {
    /// The QEMU to check; by default the first on PATH.
    #[arg(long, value_name = "PATH")]
    pub qemu: Option<PathBuf>,
}

impl DoctorArgs {
    /// Checks everything; boots a cached kernel for the accelerator probe, if there is one.
    pub(super) async fn command(&self, config: Option<&Path>) -> Result<u8, Failure> {
        let context = Context::load(config)?;
        let scratch = super::scratch()?;
        let initramfs = scratch.path().join("probe-initramfs");
        let plan = BootPlan {
            probe: true,
            ..BootPlan::default()
        };
        initramfs::build(&initramfs, GUEST_INIT, &plan, &[])?;
        let mut kernel = None;
        for candidate in &context.catalogue.kernels {
            if kernel::status(&context.catalogue, candidate, &context.cache)?.cached {
                kernel = Some(context.provide(&Selected::Named(candidate.clone())).await?);
                break;
            }
        }
        let input = DoctorInput {
            cache_dir: context.cache.root(),
            probe: kernel.as_ref().map(|kernel| (kernel, initramfs.as_path())),
        };
        run(self, input, &mut output::stdout())
            .await
            .map_err(|error| {
                Failure::new(
                    exit_code::SETUP_FAILED,
                    format!("cannot write to standard output: {error}"),
                )
            })
    }
}

/// What `doctor` checks besides the machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct DoctorInput<'a> {
    /// The user's cache.
    pub cache_dir: &'a Path,
    /// A cached kernel, and an initramfs for it that powers off at once, for the accelerator probe.
    /// Without them `doctor` reports only an earlier probe.
    pub probe: Option<(&'a KernelImage, &'a Path)>,
}

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// All is well.
    Ok,
    /// Works, with a drawback.
    Warn,
    /// VMs will not run.
    Fail,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        })
    }
}

/// The check of one prerequisite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    /// The result.
    pub status: Status,
    /// What was checked.
    pub name: &'static str,
    /// What was found.
    pub found: String,
    /// Commands and advice to fix it.
    pub remedies: Vec<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(Status::Ok, name, found)
    }

    fn warn(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(Status::Warn, name, found)
    }

    fn fail(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(Status::Fail, name, found)
    }

    fn new(status: Status, name: &'static str, found: impl Into<String>) -> Self {
        Self {
            status,
            name,
            found: found.into(),
            remedies: Vec::new(),
        }
    }

    fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedies.push(remedy.into());
        self
    }
}

/// Runs every check, in the order in which they are shown.
pub(super) async fn checks(args: &DoctorArgs, input: DoctorInput<'_>) -> Vec<Check> {
    let mut checks = qemu::checks(args.qemu.as_deref(), input).await;
    checks.push(host::memory());
    checks.push(host::memfd());
    checks.push(host::open_files());
    checks.push(host::landlock());
    checks.push(host::temporary_directory(&std::env::temp_dir()));
    checks.push(host::cache(input.cache_dir));
    checks.push(host::disk(input.cache_dir));
    checks.push(host::nix());
    checks
}

/// Runs `kiln doctor`: prints the checks to `out` and returns the exit code, 0 or
/// [`exit_code::SETUP_FAILED`].
pub(super) async fn run(
    args: &DoctorArgs,
    input: DoctorInput<'_>,
    out: &mut impl Write,
) -> io::Result<u8> {
    let checks = checks(args, input).await;
    print(&checks, out)?;
    Ok(verdict(&checks))
}

/// A line for each check, and below it how to fix it.
fn print(checks: &[Check], out: &mut impl Write) -> io::Result<()> {
    let width = checks.iter().map(|check| check.name.len()).max();
    let width = width.unwrap_or_default();
    for check in checks {
        writeln!(
            out,
            "{:<4}  {:<width$}  {}",
            check.status, check.name, check.found
        )?;
        for remedy in &check.remedies {
            writeln!(out, "{:>width$}  {remedy}", "->", width = width + 6)?;
        }
    }
    Ok(())
}

fn verdict(checks: &[Check]) -> u8 {
    if checks.iter().any(|check| check.status == Status::Fail) {
        exit_code::SETUP_FAILED
    } else {
        exit_code::OK
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_a_failure_fails() {
        let warned = [Check::ok("a", ""), Check::warn("b", "")];
        assert_eq!(verdict(&warned), exit_code::OK);
        assert_eq!(verdict(&[Check::fail("c", "")]), exit_code::SETUP_FAILED);
    }

    #[test]
    fn a_line_a_check_and_its_remedy_below() {
        let checks = [
            Check::ok("QEMU", "7.2"),
            Check::fail("cache", "read-only").remedy("chmod u+w"),
        ];
        let mut out = Vec::new();
        print(&checks, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "ok    QEMU   7.2\nfail  cache  read-only\n         ->  chmod u+w\n"
        );
    }

    #[tokio::test]
    async fn a_missing_qemu_is_a_failure_with_its_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let args = DoctorArgs {
            qemu: Some("/nonexistent/qemu".into()),
        };
        let input = DoctorInput {
            cache_dir: dir.path(),
            probe: None,
        };
        let mut out = Vec::new();
        let code = run(&args, input, &mut out).await.unwrap();
        assert_eq!(code, exit_code::SETUP_FAILED);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("fail  QEMU"), "{text}");
        assert!(text.contains("apt-get install qemu-system-x86"), "{text}");
    }
}
