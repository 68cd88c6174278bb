//! Chooses a VM's accelerator: KVM if it can run a kernel, else TCG.
//!
//! It is not enough that `/dev/kvm` opens: on some hosts (nested, or with a restricted KVM) it
//! opens and creates a VM, but no stock kernel runs on it. So the first use boots a kernel, and
//! remembers the result until host or QEMU change.

mod choice;
mod memory;
mod probe;

use std::fs::OpenOptions;
use std::io;
use std::path::Path;

pub use self::choice::Choice;
use self::memory::Memory;
pub use self::probe::ProbeInput;
use self::probe::ProbeResult;
use super::accelerator::Accelerator;
use super::qemu::Qemu;
use super::spec::AccelChoice;
use crate::hint::Hint;

const DEVICE: &str = "/dev/kvm";

/// Why the requested accelerator is not available.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// KVM was requested but does not work.
    #[error("KVM does not work here: {reason}")]
    NoKvm {
        /// What is wrong with it.
        reason: String,
    },
    /// The probe itself could not be run.
    #[error("cannot probe KVM: {0}")]
    Probe(io::Error),
}

impl Hint for Error {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::NoKvm { reason } => {
                let mut hints = vec!["run without KVM, slower: --accel tcg".to_owned()];
                if reason.contains("ermission denied") {
                    hints.push(
                        "or join the group that owns /dev/kvm: `sudo usermod -aG kvm $USER`, then log in again"
                            .to_owned(),
                    );
                }
                hints
            }
            Self::Probe(_) => Vec::new(),
        }
    }
}

/// The answer, if it needs no boot: TCG was requested, there is no `/dev/kvm`, or there is an
/// earlier result. `None` means that [`choose`] would boot.
pub fn settled(
    choice: AccelChoice,
    qemu: &Qemu,
    cache_dir: &Path,
) -> Result<Option<Choice>, Error> {
    if choice == AccelChoice::Tcg {
        return Ok(Some(Choice::fresh(Accelerator::Tcg, None)));
    }
    if let Some(reason) = unavailable(qemu) {
        return refuse_or_tcg(choice, reason).map(Some);
    }
    let Some(answer) = Memory::of(cache_dir, qemu).recall() else {
        return Ok(None);
    };
    match (choice, answer.accelerator) {
        // If the user insists on KVM, probe again to say why it does not work.
        (AccelChoice::Kvm, Accelerator::Tcg) => Ok(None),
        _ => Ok(Some(Choice {
            accelerator: answer.accelerator,
            reason: answer.reason,
            remembered: true,
        })),
    }
}

/// Chooses the accelerator; boots under KVM if necessary, for some seconds at most.
pub async fn choose(choice: AccelChoice, input: ProbeInput<'_>) -> Result<Choice, Error> {
    if let Some(settled) = settled(choice, input.qemu, input.cache_dir)? {
        return Ok(settled);
    }
    let memory = Memory::of(input.cache_dir, input.qemu);
    let (answer, lasting) = match probe::boot(&input).await.map_err(Error::Probe)? {
        ProbeResult::Works => (Choice::fresh(Accelerator::Kvm, None), true),
        ProbeResult::Broken(reason) => (refuse_or_tcg(choice, reason)?, true),
        // The fault of the kernel or of a busy host, not of KVM.
        ProbeResult::Unclear(reason) => (refuse_or_tcg(choice, reason)?, false),
    };
    if lasting && let Err(error) = memory.keep(&answer) {
        tracing::debug!("the accelerator probe will be repeated: {error}");
    }
    Ok(answer)
}

fn refuse_or_tcg(choice: AccelChoice, reason: String) -> Result<Choice, Error> {
    if choice == AccelChoice::Kvm {
        Err(Error::NoKvm { reason })
    } else {
        Ok(Choice::fresh(Accelerator::Tcg, Some(reason)))
    }
}

/// Why KVM cannot even be tried.
fn unavailable(qemu: &Qemu) -> Option<String> {
    if !qemu.kvm {
        return Some(format!("{} was built without KVM", qemu.path.display()));
    }
    match OpenOptions::new().read(true).write(true).open(DEVICE) {
        Ok(_) => None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Some(format!("there is no {DEVICE}"))
        }
        Err(error) => Some(format!("cannot open {DEVICE}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::vm::qemu::Version;

    fn qemu(kvm: bool) -> Qemu {
        Qemu {
            path: "/usr/bin/true".into(),
            version: Version { major: 7, minor: 2 },
            full_version: "7.2".to_owned(),
            sandbox: true,
            kvm,
            lacks: Vec::new(),
        }
    }

    #[test]
    fn tcg_asked_for_is_tcg_without_a_word() {
        let dir = tempfile::tempdir().unwrap();
        let choice = settled(AccelChoice::Tcg, &qemu(true), dir.path())
            .unwrap()
            .unwrap();
        assert_eq!(choice.accelerator, Accelerator::Tcg);
        assert_eq!(choice.notice(), None);
    }

    #[test]
    fn a_qemu_without_kvm_means_tcg_with_a_notice() {
        let dir = tempfile::tempdir().unwrap();
        let choice = settled(AccelChoice::Auto, &qemu(false), dir.path())
            .unwrap()
            .unwrap();
        assert_eq!(choice.accelerator, Accelerator::Tcg);
        assert!(choice.notice().unwrap().contains("built without KVM"));
    }

    #[test]
    fn insisting_on_kvm_fails_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let error = settled(AccelChoice::Kvm, &qemu(false), dir.path()).unwrap_err();
        assert!(error.to_string().contains("built without KVM"), "{error}");
        assert!(!error.hints().is_empty());
    }
}
