//! The privileges that a share process gives up before it talks to its guest.
//!
//! Everything here works without privileges. virtiofsd's namespace sandbox is not used. In a user
//! namespace of an ordinary user only that user's own ids are mapped, so every file of another
//! owner, root's included, would belong to `nobody` in the guest, and set-user-id programs and
//! `sudo`-like checks of ownership would fail. It also forks, and needs user namespaces, which
//! container runtimes often refuse.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};
use nix::sys::prctl;
use virtiofsd::seccomp::{SeccompAction, enable_seccomp};

use super::Error;

/// The newest Landlock version that this is written for (Linux 6.12); features that an older kernel
/// lacks are skipped.
const LANDLOCK_ABI: ABI = ABI::V6;

/// Confines the calling thread and all threads that it starts later. Call this while the process
/// has one thread.
///
/// With `only`, only these entries of the directory can be read.
pub(super) fn confine(dir: &Path, only: Option<&[String]>, writable: bool) -> Result<(), Error> {
    prctl::set_no_new_privs().map_err(|errno| Error::Setup {
        what: "give up new privileges",
        message: errno.to_string(),
    })?;
    drop_capabilities(writable)?;
    if restrict_files(dir, only, writable)? == RulesetStatus::NotEnforced {
        log::info!("no Landlock in this kernel: the share relies on seccomp and permissions");
    }
    // Last: Landlock's own system calls are not on the list.
    enable_seccomp(SeccompAction::Kill, false).map_err(|error| Error::Setup {
        what: "filter system calls",
        message: error.to_string(),
    })
}

/// As root, keeps only the capabilities to read (and write) regardless of permissions, so that no
/// guest request can change an owner, create a device or become another user. An ordinary user has
/// nothing to drop.
fn drop_capabilities(writable: bool) -> Result<(), Error> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let failed = |error: capng::Error| Error::Setup {
        what: "drop capabilities",
        message: error.to_string(),
    };
    // A process cannot keep what it does not have (root in a container).
    capng::get_caps_process().map_err(failed)?;
    let wanted: &[&str] = if writable {
        &["DAC_OVERRIDE", "DAC_READ_SEARCH"]
    } else {
        &["DAC_READ_SEARCH"]
    };
    let mut kept = Vec::new();
    for name in wanted {
        let capability = capng::name_to_capability(name).map_err(failed)?;
        if capng::have_capability(capng::Type::PERMITTED, capability) {
            kept.push(*name);
        }
    }
    capng::clear(capng::Set::BOTH);
    if !kept.is_empty() {
        capng::updatev(
            capng::Action::ADD,
            capng::Type::PERMITTED | capng::Type::EFFECTIVE,
            kept,
        )
        .map_err(failed)?;
    }
    capng::apply(capng::Set::CAPS).map_err(failed)
}

/// What is allowed below the shared directory.
fn allowed(writable: bool) -> BitFlags<AccessFs> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    if writable {
        // Neither devices nor execution: the guest executes, the host does not.
        read | AccessFs::WriteFile
            | AccessFs::Truncate
            | AccessFs::RemoveDir
            | AccessFs::RemoveFile
            | AccessFs::MakeDir
            | AccessFs::MakeReg
            | AccessFs::MakeSym
            | AccessFs::MakeFifo
            | AccessFs::MakeSock
            | AccessFs::Refer
    } else {
        read
    }
}

/// Landlock: allows only files below `dir`, no TCP, no signals to others and no abstract sockets of
/// others.
///
/// Nothing needs to be opened before: `/proc/self/fd`, the root and the inodes are held by `O_PATH`
/// descriptors, which Landlock does not check, and opening one for reading is checked against its
/// file.
fn restrict_files(
    dir: &Path,
    only: Option<&[String]>,
    writable: bool,
) -> Result<RulesetStatus, Error> {
    let failed = |error: landlock::RulesetError| Error::Setup {
        what: "restrict file access with Landlock",
        message: error.to_string(),
    };
    let readable: Vec<PathBuf> = match only {
        None => vec![dir.to_owned()],
        // A link has nothing below it, and its target does not belong to the share.
        Some(names) => names
            .iter()
            .map(|name| dir.join(name))
            .filter(|path| path.symlink_metadata().is_ok_and(|meta| !meta.is_symlink()))
            .collect(),
    };
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(LANDLOCK_ABI))
        .map_err(failed)?
        .handle_access(AccessNet::from_all(LANDLOCK_ABI))
        .map_err(failed)?
        .scope(Scope::from_all(LANDLOCK_ABI))
        .map_err(failed)?
        .create()
        .map_err(failed)?;
    for path in readable {
        let beneath = PathFd::new(&path).map_err(|error| Error::Setup {
            what: "open the shared directory",
            message: error.to_string(),
        })?;
        // Directory rights do not apply to files.
        let rights = if path.is_dir() {
            allowed(writable)
        } else {
            allowed(writable) & AccessFs::from_file(LANDLOCK_ABI)
        };
        ruleset = ruleset
            .add_rule(PathBeneath::new(beneath, rights))
            .map_err(failed)?;
    }
    let status = ruleset.restrict_self().map_err(failed)?;
    Ok(status.ruleset)
}

/// Whether this kernel has Landlock, at least its first version.
pub fn landlock_supported() -> bool {
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))
        .is_ok_and(|ruleset| ruleset.create().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_only_share_may_only_read() {
        assert_eq!(
            allowed(false) & AccessFs::from_write(LANDLOCK_ABI),
            BitFlags::EMPTY
        );
    }

    #[test]
    fn no_share_may_execute_or_make_devices() {
        for writable in [false, true] {
            let denied = AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock;
            assert_eq!(allowed(writable) & denied, BitFlags::EMPTY);
        }
    }
}
