//! What a saved state depends on, as a name: equal keys mean that a state fits.
//!
//! QEMU itself checks little: it restores a state with another kernel, CPU model or memory size.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::Error;
use crate::kernel::hex;
use crate::stamp::Stamp;
use crate::vm::args;
use crate::vm::extras::Extras;
use crate::vm::qemu::Qemu;
use crate::vm::spec::{NinePSpec, VirtiofsSpec, VmSpec};

/// Raised when states of earlier kilns do not fit, for reasons that the rest does not show.
const FORMAT: &str = "1";

/// Digits of a key.
const LENGTH: usize = 24;

/// The key of the VM of `spec` on `qemu`. Reads its initramfs, which has guest-init, the boot
/// modules, and what the guest does before it waits.
pub(super) fn of(spec: &VmSpec, qemu: &Qemu) -> Result<String, Error> {
    let initramfs = fs::read(&spec.initramfs).map_err(Error::file("read", &spec.initramfs))?;
    let mut parts = vec![
        FORMAT.as_bytes().to_vec(),
        env!("CARGO_PKG_VERSION").as_bytes().to_vec(),
        qemu.full_version.as_bytes().to_vec(),
        Sha256::digest(&initramfs).to_vec(),
    ];
    for file in [&qemu.path, &spec.kernel.image] {
        let stamp = Stamp::of(file).map_err(Error::file("read", file))?;
        parts.push(file.as_os_str().as_bytes().to_vec());
        parts.push(format!("{stamp:?}").into_bytes());
    }
    let line = args::command(&anywhere(spec));
    parts.extend(line.iter().map(|word| word.as_bytes().to_vec()));
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    let mut key = hex(&digest.finalize());
    key.truncate(LENGTH);
    Ok(key)
}

/// The VM without what differs from one start to the next: its own directory, the directories of
/// the host that it shares, and the frequency of the host's counter, whose measurements differ.
fn anywhere(spec: &VmSpec) -> VmSpec {
    let place = |path: &Path| Path::new("/vm").join(path.file_name().unwrap_or_default());
    VmSpec {
        initramfs: place(&spec.initramfs),
        virtiofs: spec
            .virtiofs
            .iter()
            .map(|share| VirtiofsSpec {
                tag: share.tag.clone(),
                socket: place(&share.socket),
            })
            .collect(),
        nine_p: spec
            .nine_p
            .iter()
            .map(|share| NinePSpec {
                dir: PathBuf::new(),
                ..share.clone()
            })
            .collect(),
        qmp_socket: place(&spec.qmp_socket),
        control_socket: spec.control_socket.as_deref().map(place),
        counter_khz: spec.counter_khz.map(|_| 0),
        extras: Extras {
            cores: None,
            ..spec.extras.clone()
        },
        ..spec.clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::vm::accelerator::Accelerator;
    use crate::vm::qemu::Version;

    struct Bench {
        dir: tempfile::TempDir,
        spec: VmSpec,
        qemu: Qemu,
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let file = |name: &str| {
                let path = dir.path().join(name);
                fs::write(&path, name).unwrap();
                path
            };
            let (image, initramfs, binary) = (file("vmlinux"), file("initramfs"), file("qemu"));
            let mut spec = args::example(Accelerator::Tcg);
            spec.kernel.image = image;
            spec.initramfs = initramfs;
            spec.qemu.clone_from(&binary);
            let qemu = Qemu {
                path: binary,
                version: Version {
                    major: 10,
                    minor: 0,
                },
                full_version: "10.0.2".to_owned(),
                sandbox: true,
                kvm: false,
                lacks: Vec::new(),
            };
            Self { dir, spec, qemu }
        }

        fn key(&self) -> String {
            of(&self.spec, &self.qemu).unwrap()
        }

        /// Whether the key of the VM is another one after a change.
        fn changes(&self, change: impl FnOnce(&mut VmSpec)) -> bool {
            let mut spec = self.spec.clone();
            change(&mut spec);
            of(&spec, &self.qemu).unwrap() != self.key()
        }
    }

    #[test]
    fn a_vm_that_starts_again_elsewhere_has_the_same_key() {
        let bench = Bench::new();
        let other = bench.dir.path().join("other");
        fs::create_dir(&other).unwrap();
        fs::copy(&bench.spec.initramfs, other.join("initramfs")).unwrap();
        assert!(!bench.changes(|spec| {
            spec.initramfs = other.join("initramfs");
            spec.qmp_socket = other.join(spec.qmp_socket.file_name().unwrap());
            spec.control_socket = Some(other.join("control"));
            spec.virtiofs[0].socket = other.join("root.sock");
            spec.console_log = other.join("console.log");
            spec.counter_khz = spec.counter_khz.map(|khz| khz + 1);
        }));
    }

    #[test]
    fn each_part_of_a_vm_changes_the_key() {
        let bench = Bench::new();
        assert!(bench.changes(|spec| spec.memory += 1 << 20));
        assert!(bench.changes(|spec| spec.cpus += 1));
        assert!(bench.changes(|spec| spec.cpu = Some("max".to_owned())));
        assert!(bench.changes(|spec| spec.accelerator = Accelerator::Kvm));
        assert!(bench.changes(|spec| spec.kernel_args.push("nokaslr".to_owned())));
        assert!(bench.changes(|spec| spec.qemu_args.push("-s".to_owned())));
        assert!(bench.changes(|spec| spec.dump_on_panic = true));
        assert!(bench.changes(|spec| spec.counter_khz = None));
        assert!(bench.changes(|spec| spec.means.machine = crate::config::Machine::Q35));
        assert!(bench.changes(|spec| {
            let one = spec.virtiofs[0].clone();
            spec.virtiofs.push(VirtiofsSpec {
                tag: "modules".to_owned(),
                ..one
            });
        }));
        assert!(bench.changes(|spec| {
            spec.nine_p.push(NinePSpec {
                tag: "root".to_owned(),
                dir: "/".into(),
                writable: false,
            });
        }));
    }

    #[test]
    fn each_file_of_a_vm_changes_the_key() {
        let bench = Bench::new();
        let before = bench.key();
        for file in [
            &bench.spec.initramfs,
            &bench.spec.kernel.image,
            &bench.qemu.path,
        ] {
            let old = bench.key();
            fs::write(file, "new content").unwrap();
            assert_ne!(bench.key(), old, "{}", file.display());
        }
        assert_ne!(bench.key(), before);
        let mut bench = bench;
        let old = bench.key();
        bench.qemu.full_version = "10.0.3".to_owned();
        assert_ne!(bench.key(), old);
    }

    #[test]
    fn a_kernel_that_is_gone_has_no_key() {
        let bench = Bench::new();
        fs::remove_file(&bench.spec.kernel.image).unwrap();
        let error = of(&bench.spec, &bench.qemu).unwrap_err();
        assert!(error.to_string().contains("vmlinux"), "{error}");
    }
}
