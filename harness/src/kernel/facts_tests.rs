#![allow(clippy::unwrap_used)]

use super::*;
use crate::kernel::modules::fixture::{put, tree};

fn facts(files: &[&str], builtin: Option<&str>, options: Option<&str>) -> Facts {
    let files: Vec<(&str, &[&str])> = files.iter().map(|file| (*file, &[] as &[&str])).collect();
    let dir = tree(&files);
    if let Some(builtin) = builtin {
        put(dir.path(), "modules.builtin", builtin.as_bytes());
    }
    Facts::made(Index::open(dir.path()).unwrap(), options)
}

#[test]
fn an_option_is_what_the_configuration_says_and_a_module_is_looked_for() {
    let facts = facts(
        &["kernel/virtio_mmio.ko", "extra/xfs.ko"],
        Some("kernel/fuse.ko\n"),
        Some(
            "CONFIG_FUSE_FS=y\nCONFIG_VIRTIO_MMIO=m\nCONFIG_OVERLAY_FS=m\nCONFIG_SND=m\nCONFIG_HZ=250\n",
        ),
    );
    for (option, presence) in [
        ("FUSE_FS", Presence::BuiltIn),
        ("HZ", Presence::BuiltIn),
        ("VIRTIO_MMIO", Presence::Module),
        ("OVERLAY_FS", Presence::ModuleNotThere),
        // Built apart from the kernel.
        ("XFS_FS", Presence::Module),
        // Where its module would lie, kiln does not know.
        ("SND", Presence::Module),
        ("BPF_SYSCALL", Presence::Missing),
        ("VIRTIO_FS", Presence::Missing),
    ] {
        assert_eq!(facts.option(option), presence, "{option}");
    }
    assert_eq!(facts.source(), "its configuration");
}

#[test]
fn without_a_configuration_only_modules_and_builtins_are_known() {
    let modules = facts(&["kernel/virtio_mmio.ko"], Some("kernel/fuse.ko\n"), None);
    for (option, presence) in [
        ("VIRTIO_MMIO", Presence::Module),
        ("FUSE_FS", Presence::BuiltIn),
        ("OVERLAY_FS", Presence::Missing),
        ("BPF_SYSCALL", Presence::Unknown),
    ] {
        assert_eq!(modules.option(option), presence, "{option}");
    }
    // What is built in is not listed.
    let unlisted = facts(&["kernel/virtio_mmio.ko"], None, None);
    assert_eq!(unlisted.option("VIRTIO_MMIO"), Presence::Module);
    assert_eq!(unlisted.option("OVERLAY_FS"), Presence::Unknown);
    let alone = Facts::made(Index::all_builtin(), None);
    assert_eq!(alone.option("VIRTIO_MMIO"), Presence::Unknown);
}

#[test]
fn a_configuration_of_another_version_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config");
    let mut text = "# Linux/x86 6.6.9 Kernel Configuration\n".to_owned();
    for number in 0..300 {
        text = format!("{text}CONFIG_OPTION_{number}=y\n");
    }
    fs::write(&path, &text).unwrap();
    assert!(read(&path, "6.6.0-rc1").is_ok());
    fs::write(dir.path().join(ORIGIN), "/src/linux/.config").unwrap();
    let bad = read(&path, "6.1.0-56-cloud-amd64").unwrap_err();
    assert_eq!(
        bad.to_string(),
        "/src/linux/.config:1: it is the configuration of Linux 6.6.9, and the kernel is \
         6.1.0-56-cloud-amd64"
    );
    fs::write(&path, format!("{text}CONFIG_CUT")).unwrap();
    let bad = read(&path, "6.6.0").unwrap_err();
    assert_eq!(bad.line, 302);
}
