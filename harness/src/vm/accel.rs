//! Which accelerator a VM gets: KVM where it runs a kernel, TCG elsewhere.
//!
//! That `/dev/kvm` opens proves nothing: there are hosts (nested, or with a
//! restricted KVM) where it opens, makes a VM, and no stock kernel runs on it.
//! So the first use boots one, and remembers how that went for as long as host
//! and QEMU stay the same.

mod choice;
mod memory;
mod probe;

use std::fs::OpenOptions;
use std::io;
use std::path::Path;

pub use self::choice::Choice;
use self::memory::Memory;
use self::probe::Outcome;
pub use self::probe::ProbeInput;
use super::qemu::Qemu;
use super::spec::{AccelChoice, Accelerator};
use crate::hint::Hint;

const DEVICE: &str = "/dev/kvm";

/// Why the accelerator that was asked for cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// KVM was asked for and does not work.
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

/// The answer, where it needs no boot: TCG asked for, no `/dev/kvm`, or an
/// earlier probe. `None` says that [`choose`] would boot.
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
        // Who insists on KVM gets a fresh look at why not.
        (AccelChoice::Kvm, Accelerator::Tcg) => Ok(None),
        _ => Ok(Some(Choice {
            accelerator: answer.accelerator,
            reason: answer.reason,
            remembered: true,
        })),
    }
}

/// Chooses the accelerator; boots under KVM if it must, for some seconds at
/// most.
pub async fn choose(choice: AccelChoice, input: ProbeInput<'_>) -> Result<Choice, Error> {
    if let Some(settled) = settled(choice, input.qemu, input.cache_dir)? {
        return Ok(settled);
    }
    let memory = Memory::of(input.cache_dir, input.qemu);
    let (answer, lasting) = match probe::boot(&input).await.map_err(Error::Probe)? {
        Outcome::Works => (Choice::fresh(Accelerator::Kvm, None), true),
        Outcome::Broken(reason) => (refuse_or_tcg(choice, reason)?, true),
        // The kernel's fault, or a busy host's: not to be held against KVM.
        Outcome::Unclear(reason) => (refuse_or_tcg(choice, reason)?, false),
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
