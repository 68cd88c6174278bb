#![allow(clippy::unwrap_used)]

use super::super::checked::{ModuleFinding, Refused};
use super::*;
use crate::kernel::check;
use crate::kernel::facts::{Facts, ImageFacts};
use crate::kernel::modules::Index;
use crate::vm::means::Means;

fn kernel(name: &str, options: Option<&str>) -> Checked {
    let facts = Facts::made(Index::all_builtin(), options);
    let image = ImageFacts {
        btf: Some(true),
        pvh: false,
    };
    let by = [WantedBy::Kiln, WantedBy::Bpftrace];
    Checked {
        name: name.to_owned(),
        release: "6.12.1-test".to_owned(),
        findings: check::findings(&facts, image, &by),
        facts,
        modules: vec![ModuleFinding {
            name: "xfs".to_owned(),
            by: "/k/kernels.toml:7".to_owned(),
            presence: Presence::Missing,
        }],
        boots: Ok(Means::default()),
    }
}

fn shown(all: &[Checked], width: u16, colours: bool) -> String {
    let style = TerminalStyle {
        colours,
        width: Some(width),
        progress: false,
    };
    let mut out = Vec::new();
    print(all, style, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn one_kernel_has_a_row_for_each_option_with_what_it_costs() {
    let text = shown(
        &[kernel(
            "mine",
            Some("CONFIG_VIRTIO_MMIO=y\nCONFIG_FUSE_FS=m\n"),
        )],
        80,
        false,
    );
    for line in [
        "mine, Linux 6.12.1-test, by its configuration",
        "  boots in kiln: microvm, virtio by mmio, virtiofs, overlayfs",
        "xfs: missing (/k/kernels.toml:7)",
        "not there: built as a module, and no such module is there",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
    }
    let row = |option: &str| {
        let begins = format!("{option} ");
        let found = text.lines().find(|line| line.starts_with(&begins));
        found.unwrap_or_else(|| panic!("{option} is not in\n{text}"))
    };
    assert!(row("VIRTIO_MMIO").ends_with("built in"));
    assert!(row("FUSE_FS").contains("  not there  directories come"));
    assert!(row("BPF_SYSCALL").ends_with("missing    bpftrace does not run"));
}

#[test]
fn no_line_is_wider_than_the_terminal_or_ends_with_blanks() {
    let name = "/a/rather/long/path/to/some/build/tree/of/linux";
    for (width, most) in [(60, 4), (80, 12), (120, 20)] {
        for count in [1, 2, 3, 4, most] {
            let all: Vec<Checked> = (0..count)
                .map(|_| kernel(name, Some("CONFIG_A=y\n")))
                .collect();
            for line in shown(&all, width, false).lines() {
                assert!(measure_text_width(line) <= width.into(), "{width}: {line}");
                assert_eq!(line, line.trim_end());
            }
        }
    }
}

#[test]
fn several_kernels_are_columns_and_many_have_letters() {
    let full = "CONFIG_VIRTIO_MMIO=y\n";
    let text = shown(
        &[kernel("a", Some(full)), kernel("b", Some("CONFIG_B=y\n"))],
        80,
        false,
    );
    let row = text
        .lines()
        .find(|line| line.starts_with("VIRTIO_MMIO "))
        .unwrap();
    let words: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(words, ["VIRTIO_MMIO", "built", "in", "missing"]);
    assert!(
        text.contains("\nVIRTIO_MMIO (b): virtio goes by PCI\n"),
        "{text}"
    );
    let many: Vec<Checked> = ["a", "b", "c", "d"]
        .map(|name| kernel(name, Some(full)))
        .into();
    let text = shown(&many, 80, false);
    assert!(text.contains("4: d, Linux 6.12.1-test"), "{text}");
    let row = text
        .lines()
        .find(|line| line.starts_with("VIRTIO_MMIO "))
        .unwrap();
    assert_eq!(row.split_whitespace().skip(1).collect::<String>(), "yyyy");
    assert!(
        text.contains("!: built as a module that is not there"),
        "{text}"
    );
}

#[test]
fn a_kernel_that_does_not_boot_says_why_and_what_to_do() {
    let refused = Checked {
        boots: Err(Refused {
            why: "the kernel has no virtio_console".to_owned(),
            hints: vec!["build the kernel with CONFIG_VIRTIO_CONSOLE".to_owned()],
        }),
        ..kernel("mine", Some("CONFIG_A=y\n"))
    };
    let text = shown(&[refused], 80, false);
    assert!(
        text.contains("does not boot in kiln: the kernel has no virtio_console\n"),
        "{text}"
    );
    assert!(
        text.contains("hint: build the kernel with CONFIG_VIRTIO_CONSOLE\n"),
        "{text}"
    );
}

#[test]
fn what_nobody_knows_is_counted_and_the_way_to_know_it_is_named() {
    let text = shown(&[kernel("mine", None)], 80, false);
    assert!(
        text.contains("options are unknown; its configuration is not"),
        "{text}"
    );
    assert!(text.contains("config-RELEASE"), "{text}");
}

#[test]
fn colours_are_only_where_they_are_wanted() {
    let all = [kernel("mine", Some("CONFIG_VIRTIO_MMIO=y\n"))];
    assert!(!shown(&all, 80, false).contains('\u{1b}'));
    let text = shown(&all, 80, true);
    assert!(text.contains("\u{1b}[32mbuilt in"), "{text}");
    assert!(text.contains("\u{1b}[31mmissing"), "{text}");
}
