//! What `doctor` checks of QEMU and its accelerators.

use std::path::Path;

use super::check::{Check, DoctorInput};
use crate::arch::Arch;
use crate::hint::Hint as _;
use crate::vm::accel::{self, Choice, ProbeInput};
use crate::vm::accelerator::Accelerator;
use crate::vm::arch::platform;
use crate::vm::means::Means;
use crate::vm::qemu::{FAST_TCG_VERSION, Qemu};
use crate::vm::spec::AccelChoice;

/// What guests run on.
const ARCH: Arch = Arch::X86_64;

pub(super) async fn checks(chosen: Option<&Path>, input: DoctorInput<'_>) -> Vec<Check> {
    let qemu = match Qemu::find(chosen, ARCH).await {
        Ok(qemu) => qemu,
        Err(error) => {
            let mut check = Check::fail("QEMU", error.to_string());
            check.remedies = error.hints();
            return vec![check];
        }
    };
    let accelerator = accelerator(&qemu, input).await;
    let kvm = matches!(&accelerator, Ok(Some(choice)) if choice.accelerator == Accelerator::Kvm);
    vec![
        version(&qemu, kvm),
        sandbox(&qemu),
        accelerator_check(accelerator),
    ]
}

fn version(qemu: &Qemu, kvm: bool) -> Check {
    let found = format!(
        "{} at {}, with {}",
        qemu.full_version,
        qemu.path.display(),
        platform(ARCH).machine
    );
    if !kvm && qemu.version < FAST_TCG_VERSION {
        Check::warn("QEMU", found).remedy(format!(
            "without KVM, QEMU {FAST_TCG_VERSION} or later is faster (Debian 12 has it in backports: \
             `apt-get install -t bookworm-backports {}`); --qemu picks one",
            platform(ARCH).debian_package
        ))
    } else {
        Check::ok("QEMU", found)
    }
}

fn sandbox(qemu: &Qemu) -> Check {
    if qemu.sandbox {
        Check::ok("QEMU sandbox", "supported, and used")
    } else {
        Check::warn(
            "QEMU sandbox",
            "this QEMU was built without seccomp: a guest that breaks out of it has all rights of \
             this user",
        )
        .remedy("use a build with --enable-seccomp")
    }
}

/// Probes if it can, else reports an earlier probe.
async fn accelerator(qemu: &Qemu, input: DoctorInput<'_>) -> Result<Option<Choice>, accel::Error> {
    match input.probe {
        Some((kernel, initramfs)) => {
            let means = Means::of(kernel);
            let probe = ProbeInput {
                qemu,
                kernel,
                initramfs,
                means: &means,
                cache_dir: input.cache_dir,
            };
            accel::choose(AccelChoice::Auto, probe).await.map(Some)
        }
        None => accel::settled(AccelChoice::Auto, qemu, input.cache_dir),
    }
}

fn accelerator_check(accelerator: Result<Option<Choice>, accel::Error>) -> Check {
    const NAME: &str = "accelerator";
    match accelerator {
        Ok(Some(Choice {
            accelerator: Accelerator::Kvm,
            ..
        })) => Check::ok(NAME, "KVM runs a kernel"),
        Ok(Some(choice)) => {
            let reason = choice.reason.unwrap_or_else(|| "not tried".to_owned());
            let check = Check::warn(NAME, format!("TCG, which is slower; no KVM: {reason}"));
            if reason.contains("ermission denied") {
                check.remedy("sudo usermod -aG kvm $USER   # then log in again")
            } else {
                check
            }
        }
        Ok(None) => Check::warn(
            NAME,
            "/dev/kvm opens; the first VM will show whether a kernel runs on it",
        )
        .remedy("kiln kernels fetch   # then `kiln doctor` can try"),
        Err(error) => {
            let mut check = Check::fail(NAME, error.to_string());
            check.remedies = error.hints();
            check
        }
    }
}
