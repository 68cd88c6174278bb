//! Which VMs can be saved and restored.

use std::path::PathBuf;

use guest_init::plan::{BootPlan, Control};

use super::{can_be_sent, memory};
use crate::hint::Hint;
use crate::vm::accelerator::Accelerator;
use crate::vm::means::Means;
use crate::vm::qemu::{Qemu, Version};
use crate::vm::spec::VmConfig;

/// The first QEMU that saves a VM with virtiofs, and writes a state to a file.
pub const OLDEST_QEMU: Version = Version { major: 8, minor: 2 };

/// Why no VM of this command can be saved.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    /// QEMU is too old.
    #[error("--snapshot needs QEMU {OLDEST_QEMU} or later, and {} is {version}", path.display())]
    Qemu {
        /// The binary.
        path: PathBuf,
        /// Its version.
        version: Version,
    },
    /// Nobody has tried it with KVM.
    #[error("--snapshot works with TCG alone, and this guest would run on KVM")]
    Kvm,
}

impl Hint for Refused {
    fn hints(&self) -> Vec<String> {
        vec![match self {
            Self::Qemu { .. } => format!(
                "leave --snapshot out (or unset KILN_VM_SNAPSHOT), or name a QEMU {OLDEST_QEMU} with \
                 --qemu; Debian 12 has 10.0 in its backports"
            ),
            Self::Kvm => {
                "leave --snapshot out (or unset KILN_VM_SNAPSHOT): with KVM, a boot takes \
                          little longer than a restored guest; or choose --accel tcg"
                    .to_owned()
            }
        }]
    }
}

/// Checks what all VMs of a command have in common.
pub fn check(qemu: &Qemu, accelerator: Accelerator) -> Result<(), Refused> {
    if qemu.version < OLDEST_QEMU {
        return Err(Refused::Qemu {
            path: qemu.path.clone(),
            version: qemu.version,
        });
    }
    match accelerator {
        Accelerator::Tcg => Ok(()),
        Accelerator::Kvm => Err(Refused::Kvm),
    }
}

/// Why this VM has to be booted, if it has to.
pub fn unfit(config: &VmConfig, means: &Means, plan: &BootPlan) -> Option<&'static str> {
    let extras = &config.extras;
    let reasons = [
        (config.gdb.is_some(), "gdb may stop it at any time"),
        (
            !config.qemu_args.is_empty(),
            "nobody knows what the added arguments for QEMU do",
        ),
        (
            !extras.disks.is_empty(),
            "its disks are empty each time, and its kernel may know them otherwise",
        ),
        (extras.network.is_some(), "its network is the host's"),
        (
            extras.trace.as_ref().is_some_and(|trace| trace.boot),
            "its boot is to be traced",
        ),
        (
            means.control == Control::Serial,
            "it has no virtio-serial port",
        ),
        (
            !memory::can_be_opened(),
            "other processes may not look into kiln",
        ),
        (
            !can_be_sent(plan),
            "its root has more files than fit a message",
        ),
    ];
    let found = reasons.into_iter().find(|(applies, _)| *applies);
    found.map(|(_, reason)| reason)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn qemu(major: u32, minor: u32) -> Qemu {
        Qemu {
            path: "/usr/bin/qemu-system-x86_64".into(),
            version: Version { major, minor },
            full_version: format!("{major}.{minor}.0"),
            sandbox: true,
            kvm: true,
            lacks: Vec::new(),
        }
    }

    #[test]
    fn an_old_qemu_is_refused_with_what_to_do() {
        let refused = check(&qemu(7, 2), Accelerator::Tcg).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "--snapshot needs QEMU 8.2 or later, and /usr/bin/qemu-system-x86_64 is 7.2"
        );
        let hints = refused.hints().concat();
        assert!(
            hints.contains("backports") && hints.contains("--qemu"),
            "{hints}"
        );
        for (major, minor) in [(8, 2), (10, 0)] {
            assert_eq!(check(&qemu(major, minor), Accelerator::Tcg), Ok(()));
        }
    }

    #[test]
    fn kvm_is_refused() {
        assert_eq!(check(&qemu(10, 0), Accelerator::Kvm), Err(Refused::Kvm));
    }
}
