//! `kiln doctor`: checks every prerequisite, and says what is wrong and how to fix it.

mod check;
mod host;
mod qemu;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use guest_init::plan::BootPlan;

use self::check::{Check, DoctorInput, Status};
use super::Failure;
use super::context::Context;
use super::output;
use super::scratch_dir::scratch_dir;
use crate::config::Selected;
use crate::exit_code;
use crate::guest::init::GUEST_INIT;
use crate::guest::initramfs;
use crate::kernel;

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
        let scratch = scratch_dir()?;
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

/// Runs every check, in the order in which they are shown.
async fn checks(args: &DoctorArgs, input: DoctorInput<'_>) -> Vec<Check> {
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
async fn run(args: &DoctorArgs, input: DoctorInput<'_>, out: &mut impl Write) -> io::Result<u8> {
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
