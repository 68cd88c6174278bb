//! The running VMs of this user: each has a card in its own directory, which goes with it.
//!
//! There is no list to keep: who asks looks into all directories of VMs below `TMPDIR`. A card whose
//! QEMU no longer listens is one that a killed kiln left.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::spec::VmSpec;
use crate::scratch::{PREFIX, is_private};
use crate::whole_file;

/// The card's file in the directory of a VM.
const CARD: &str = "vm.json";
/// The second QMP socket there, for others than the kiln that runs the VM.
pub const ADMIN_SOCKET: &str = "admin.sock";
/// The socket there for those who start programs beside the VM's own.
pub const ATTACH_SOCKET: &str = "attach.sock";

/// What there is to know about a running VM.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Card {
    /// Name of its kernel.
    pub kernel: String,
    /// `uname -r` of it.
    pub release: String,
    /// `kvm` or `tcg`.
    pub accelerator: String,
    /// Process id of the kiln that runs it.
    pub kiln: u32,
    /// Process id of its QEMU.
    pub qemu: i32,
    /// When it started, in seconds since 1970.
    pub started: u64,
    /// Its console.
    pub console: PathBuf,
    /// Where the kernel and its debug information may be: the path that names it, from `cwd`.
    pub cwd: PathBuf,
    /// Its modules: `/lib/modules/<release>` on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modules: Option<PathBuf>,
    /// The socket or port of the gdb stub, if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gdb: Option<String>,
}

/// A running VM.
#[derive(Debug)]
pub struct Running {
    /// What to call it.
    pub id: String,
    /// Its own directory.
    pub dir: PathBuf,
    /// Its card.
    pub card: Card,
}

/// Leaves the card of a VM whose QEMU has started.
pub(super) fn leave(spec: &VmSpec, qemu: nix::unistd::Pid) -> io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let card = Card {
        kernel: spec.kernel.name.clone(),
        release: spec.kernel.release.clone(),
        accelerator: spec.accelerator.to_string(),
        kiln: std::process::id(),
        qemu: qemu.as_raw(),
        started: now.unwrap_or_default().as_secs(),
        console: spec.console_log.clone(),
        cwd: std::env::current_dir().unwrap_or_default(),
        modules: spec.kernel.modules.clone(),
        gdb: spec.gdb.as_ref().map(ToString::to_string),
    };
    whole_file::remember(&spec.dir().join(CARD), &card)
}

/// The running VMs of this user, the oldest first.
pub fn running() -> Vec<Running> {
    running_in(&std::env::temp_dir())
}

fn running_in(parent: &Path) -> Vec<Running> {
    let entries = std::fs::read_dir(parent).into_iter().flatten();
    let mut found: Vec<Running> = entries
        .filter_map(|entry| of(&entry.ok()?.path()))
        .collect();
    found.sort_by(|a, b| (a.card.started, &a.id).cmp(&(b.card.started, &b.id)));
    found
}

/// What to call the VM of a directory.
pub fn id_of(dir: &Path) -> Option<String> {
    Some(dir.file_name()?.to_str()?.strip_prefix(PREFIX)?.to_owned())
}

/// The VM of a directory, if it is one of this user and its QEMU listens.
pub fn of(dir: &Path) -> Option<Running> {
    let id = id_of(dir)?;
    // Not through a link, and nothing that others could write.
    let meta = std::fs::symlink_metadata(dir).ok()?;
    if !is_private(&meta) {
        return None;
    }
    let card = serde_json::from_slice(&std::fs::read(dir.join(CARD)).ok()?).ok()?;
    UnixStream::connect(dir.join(ADMIN_SOCKET)).ok()?;
    Some(Running {
        id,
        dir: dir.to_owned(),
        card,
    })
}

/// Those of `running` that `name` means: an id, or the name of a kernel.
pub fn named(running: Vec<Running>, name: &str) -> Vec<Running> {
    let (of_id, others): (Vec<Running>, Vec<Running>) =
        running.into_iter().partition(|vm| vm.id == name);
    if of_id.is_empty() {
        let of_kernel = others.into_iter().filter(|vm| vm.card.kernel == name);
        return of_kernel.collect();
    }
    of_id
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;

    fn card(kernel: &str) -> Card {
        Card {
            kernel: kernel.into(),
            release: "6.1.0".into(),
            accelerator: "tcg".into(),
            kiln: 1,
            qemu: 2,
            started: 3,
            console: "/c".into(),
            cwd: "/".into(),
            modules: None,
            gdb: None,
        }
    }

    #[test]
    fn only_vms_that_run_and_are_the_users_alone_are_found() {
        let parent = tempfile::tempdir().unwrap();
        let make = |name: &str, mode: u32| {
            let dir = parent.path().join(name);
            std::fs::create_dir(&dir).unwrap();
            std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(mode)).unwrap();
            whole_file::remember(&dir.join(CARD), &card("6.1")).unwrap();
            dir
        };
        let listen = |dir: &Path| UnixListener::bind(dir.join(ADMIN_SOCKET)).unwrap();
        let runs = make("kiln-runs", 0o700);
        let _runs = listen(&runs);
        let open = make("kiln-open", 0o755);
        let _open = listen(&open);
        drop(listen(&make("kiln-killed", 0o700)));
        make("kiln-boots", 0o700);
        make("other", 0o700);
        symlink(&runs, parent.path().join("kiln-link")).unwrap();
        let ids: Vec<String> = running_in(parent.path())
            .into_iter()
            .map(|vm| vm.id)
            .collect();
        assert_eq!(ids, ["runs"]);
    }

    #[test]
    fn a_vm_is_named_by_its_id_or_by_its_kernel() {
        let vms = || {
            ["6.1", "b", "c"].map(|id| Running {
                id: id.into(),
                dir: PathBuf::new(),
                card: card(if id == "c" { "b" } else { "6.1" }),
            })
        };
        let ids = |name: &str| {
            let named = named(vms().into(), name).into_iter();
            named.map(|vm| vm.id).collect::<Vec<_>>()
        };
        assert_eq!(ids("b"), ["b"]);
        assert_eq!(ids("6.1"), ["6.1"]);
        assert!(ids("d").is_empty());
    }
}
