#![allow(clippy::unwrap_used)]

use super::*;
use crate::kernel::modules::Index;

const BOTH: [WantedBy; 2] = [WantedBy::Kiln, WantedBy::Bpftrace];

fn image(btf: Option<bool>) -> ImageFacts {
    ImageFacts { btf, pvh: true }
}

fn of(options: &str) -> (Facts, Vec<Finding>) {
    let facts = Facts::made(Index::all_builtin(), Some(options));
    let found = findings(&facts, image(None), &BOTH);
    (facts, found)
}

fn finding(found: &[Finding], option: &str) -> Finding {
    *found
        .iter()
        .find(|finding| finding.want.option == option)
        .unwrap()
}

#[test]
fn every_want_is_named_once_and_what_it_names_is_an_option() {
    let mut seen = BTreeSet::new();
    let is_option = |text: &str| {
        text.chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    };
    for want in WANTS {
        assert!(seen.insert(want.option), "{}", want.option);
        let needs = want.needs.iter().map(|need| need.trim_start_matches('!'));
        let named = needs.chain(want.or.iter().copied()).chain([want.option]);
        for option in named {
            assert!(is_option(option), "{option}");
            assert!(!option.starts_with("CONFIG_"), "{option}");
        }
        // What stands in for it is wanted as well.
        assert!(want.or.iter().all(|other| wants::of(other).is_some()));
        assert!(!want.cost.ends_with('.') && !want.cost.is_empty());
    }
}

#[test]
fn findings_say_what_is_missing_and_what_that_costs() {
    let (_, found) = of("CONFIG_VIRTIO_PCI=y\nCONFIG_BPF_SYSCALL=y\nCONFIG_XFS_FS=y\n");
    let mmio = finding(&found, "VIRTIO_MMIO");
    assert_eq!(
        (mmio.presence, mmio.met),
        (Some(Presence::Missing), Some(false))
    );
    assert!(mmio.replaced);
    assert_eq!(mmio.cost(), Some("virtio goes by PCI"));
    assert_eq!(finding(&found, "BPF_SYSCALL").cost(), None);
    // lsmod shows no module that is built in.
    assert_eq!(finding(&found, "XFS_FS").met, Some(false));
    assert_eq!(
        finding(&found, "LOCK_DOWN_KERNEL_FORCE_INTEGRITY").met,
        Some(true)
    );
    let (_, found) = of("CONFIG_LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY=y\n");
    let locked = finding(&found, "LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY");
    assert!(locked.cost().unwrap().contains("bpftrace does not run"));
}

#[test]
fn the_image_says_whether_it_has_types_and_how_it_is_entered() {
    let facts = Facts::made(Index::all_builtin(), None);
    for (btf, met) in [
        (Some(true), Some(true)),
        (Some(false), Some(false)),
        (None, None),
    ] {
        let found = findings(&facts, image(btf), &BOTH);
        assert_eq!(finding(&found, "DEBUG_INFO_BTF").met, met);
        assert_eq!(finding(&found, "PVH").met, Some(true));
        assert_eq!(finding(&found, "BPF_SYSCALL").met, None, "nothing says");
    }
}

#[test]
fn an_old_kernel_cannot_have_what_is_newer() {
    let fprobe = wants::of("FPROBE").unwrap();
    assert!(!fprobe.is_in(Some((5, 10))) && fprobe.is_in(Some((5, 18))) && fprobe.is_in(None));
    assert_eq!(met(fprobe, None), Some(false));
    let lockdown = wants::of("LOCK_DOWN_KERNEL_FORCE_INTEGRITY").unwrap();
    assert_eq!(met(lockdown, None), Some(true));
    let old = whole(&BOTH, Some((5, 10)));
    assert!(
        !old.contains("FPROBE") && old.contains("CONFIG_BPF_LSM=y"),
        "{old}"
    );
}

#[test]
fn the_whole_fragment_has_each_line_once_and_what_it_needs_before_it() {
    let text = whole(&BOTH, Some((6, 12)));
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("# W"))
        .collect();
    let unique: BTreeSet<_> = lines.iter().collect();
    assert_eq!(unique.len(), lines.len(), "{text}");
    let place = |option: &str| {
        let found = lines.iter().position(|line| {
            *line == format!("CONFIG_{option}=y") || *line == format!("CONFIG_{option}=m")
        });
        found.unwrap_or_else(|| panic!("{option} is not in\n{text}"))
    };
    for want in WANTS.iter().filter(|want| want.wanted != Wanted::Off) {
        for need in want.needs.iter().filter(|need| !need.starts_with('!')) {
            assert!(place(need) < place(want.option), "{need}, {}", want.option);
        }
    }
    assert!(whole(&[WantedBy::Kiln], None).len() < text.len());
    assert!(
        !whole(&BOTH, None).contains("PROC_SYSCTL"),
        "the newest has no such option"
    );
}

#[test]
fn a_fix_has_what_is_missing_and_what_that_needs_and_nothing_else() {
    let kernel = "CONFIG_VIRTIO_MMIO=y\nCONFIG_FUSE_FS=y\nCONFIG_VIRTIO_FS=y\nCONFIG_DEBUG_KERNEL=y\n\
                  CONFIG_DEBUG_INFO=y\nCONFIG_DEBUG_INFO_DWARF5=y\nCONFIG_DEBUG_INFO_REDUCED=y\n\
                  CONFIG_BPF_SYSCALL=y\nCONFIG_VIRTIO_CONSOLE=y\nCONFIG_TTY=y\n";
    let (facts, found) = of(kernel);
    let text = fix(&found, &facts);
    for line in [
        "CONFIG_SHMEM=y\nCONFIG_TMPFS=y",
        "CONFIG_OVERLAY_FS=y",
        "# CONFIG_DEBUG_INFO_REDUCED is not set",
        "CONFIG_DEBUG_INFO_BTF=y",
        "CONFIG_XFS_FS=m",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    for option in ["VIRTIO_PCI", "9P", "VIRTIO_MMIO", "DWARF", "TTY", "64BIT"] {
        assert!(
            !text.contains(&format!("CONFIG_{option}")),
            "{option}\n{text}"
        );
    }
    let (facts, found) = of("CONFIG_XFS_FS=m\n");
    assert!(!fix(&found, &facts).contains("XFS"), "it is built");
    // With that, nothing is missing.
    let mended = format!("{kernel}{}", text.replace("=m", "=y"));
    let facts = Facts::made(Index::all_builtin(), Some(&mended));
    let again = findings(&facts, image(None), &[WantedBy::Kiln]);
    assert_eq!(fix(&again, &facts), "", "{mended}");
}
