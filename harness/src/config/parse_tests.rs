#![allow(clippy::unwrap_used)]

use super::parse;
use crate::arch::Arch;
use crate::config::{AskedDevices, Machine, Transport};
use crate::config::{
    BpftraceTable, Catalogue, ConfigError, FilePlace, Origin, RunnerTable, Source,
};
use proptest::prelude::*;

fn parse_at(text: &str) -> Result<Catalogue, ConfigError> {
    parse(text, Origin::File("/etc/lab/kernels.toml".into()))
}

fn message(text: &str) -> String {
    parse_at(text).unwrap_err().to_string()
}

#[test]
fn the_checked_in_catalogue_is_valid() {
    let catalogue = Catalogue::built_in().unwrap();
    let quick = catalogue.groups.iter().find(|g| g.name == "quick").unwrap();
    assert_eq!(quick.kernels, ["5.10", "6.1", "6.12"]);
    let all = catalogue.groups.iter().find(|g| g.name == "all").unwrap();
    assert_eq!(all.kernels.len(), catalogue.kernels.len());
}

#[test]
fn a_kernel_has_an_architecture_that_kiln_boots() {
    let kernel = |arch: &str| format!("[kernels.a]\n{arch}path = \"linux\"\n");
    for text in [kernel(""), kernel("arch = \"x86_64\"\n")] {
        assert_eq!(parse_at(&text).unwrap().kernels[0].arch, Arch::X86_64);
    }
    let text = message(&kernel("arch = \"arm64\"\n"));
    assert!(
        text.contains(":2: unknown variant `arm64`; allowed here: `x86_64`"),
        "{text}"
    );
}

#[test]
fn every_source_is_read_and_relative_paths_are_relative_to_the_file() {
    let hash = "A".repeat(64);
    let catalogue = parse_at(&format!(
        r#"
[kernels.b]
apt = {{ suite = "s", package = "linux-image-*" }}
[kernels.a]
path = "../linux"
[kernels.c]
url = "https://example.org/k.tar.zst"
sha256 = "{hash}"
[kernels.d]
nix = ".#k"
[suites.t]
runner = "bpftrace-runtime"
tests = "build/tests"
bpftrace = "/usr/bin/bpftrace"
[suites.u]
runner = "command"
command = ["true"]
"#
    ))
    .unwrap();
    let names: Vec<&str> = catalogue.kernels.iter().map(|k| k.name.as_str()).collect();
    assert_eq!(names, ["b", "a", "c", "d"], "the order is the file's");
    assert_eq!(catalogue.kernels[1].line, 5);
    assert_eq!(
        catalogue.kernels[1].source,
        Source::Path("/etc/lab/../linux".into())
    );
    assert!(
        matches!(&catalogue.kernels[2].source, Source::Url(url) if url.sha256 == "a".repeat(64))
    );
    assert_eq!(
        catalogue.suites[0].runner,
        RunnerTable::BpftraceRuntime(BpftraceTable {
            tests: "/etc/lab/build/tests".into(),
            bpftrace: Some("/usr/bin/bpftrace".into()),
        })
    );
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_what_is_allowed() {
    let text = message("[defaults]\nmemory = \"1G\"\nmemroy = \"2G\"\n");
    assert!(
        text.starts_with("/etc/lab/kernels.toml:3: unknown key `memroy`; allowed here: "),
        "{text}"
    );
    assert!(text.contains("`memory`"), "{text}");
    let text = message("[kernels.a]\npath = \"x\"\ncolour = 1\n");
    assert!(text.contains(":3: unknown key `colour`"), "{text}");
    let text = message("[kernel.a]\npath = \"x\"\n");
    assert!(text.contains(":1: unknown key `kernel`"), "{text}");
}

#[test]
fn a_duplicate_name_is_refused_with_the_line_of_the_second() {
    let text = message("[kernels.a]\npath = \"x\"\n[kernels.a]\npath = \"y\"\n");
    assert!(
        text.starts_with("/etc/lab/kernels.toml:3: duplicate key"),
        "{text}"
    );
    assert!(text.contains("once"), "{text}");
}

#[test]
fn a_url_needs_its_hash() {
    let text = message("[kernels.a]\nurl = \"https://example.org/x\"\n");
    assert!(
        text.contains(":2: kernel \"a\" has a url without sha256; allowed: "),
        "{text}"
    );
    let text = message("[kernels.a]\nurl = \"https://example.org/x\"\nsha256 = \"12\"\n");
    assert!(
        text.contains(":3: ") && text.contains("64 hexadecimal digits"),
        "{text}"
    );
    let text = message("[kernels.a]\npath = \"x\"\nsha256 = \"12\"\n");
    assert!(
        text.contains(":3: kernel \"a\" has a sha256 without a url"),
        "{text}"
    );
}

#[test]
fn two_sources_and_no_source_are_refused() {
    let text = message("[kernels.a]\npath = \"x\"\nnix = \"y\"\n");
    assert!(
        text.contains("has 2 sources (path, nix); allowed: exactly one of"),
        "{text}"
    );
    let text = message("\n[kernels.a]\n");
    assert!(
        text.contains(":2: kernel \"a\" has no source; allowed: exactly one of"),
        "{text}"
    );
}

#[test]
fn a_wrong_type_is_refused_with_its_line() {
    let text = message("[defaults]\ncpus = \"four\"\n");
    assert!(
        text.contains(":2: invalid type: string \"four\"; allowed here: u32"),
        "{text}"
    );
    let text = message("[kernels.a]\napt = \"linux\"\n");
    assert!(text.contains(":2: "), "{text}");
}

#[test]
fn a_bad_memory_size_is_refused_with_its_line() {
    let text = message("[defaults]\nmemory = \"lots\"\n");
    assert!(
        text.contains(":2: defaults.memory: \"lots\" is not a memory size; allowed: "),
        "{text}"
    );
}

#[test]
fn all_problems_are_reported_at_once_in_the_order_of_the_file() {
    let text = message("[kernels.b]\n[kernels.a]\n[groups]\nx = [\"nope\"]\n");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4 - 1, "{text}");
    assert!(lines[0].contains(":1: "), "{text}");
    assert!(lines[1].contains(":2: "), "{text}");
    assert!(
        lines[2].contains(":4: group \"x\": there is no kernel \"nope\""),
        "{text}"
    );
}

#[test]
fn a_name_that_could_not_be_selected_is_refused() {
    for name in ["@a", "a/b", "a*", "", "a b"] {
        let text = message(&format!("[kernels.{name:?}]\npath = \"x\"\n"));
        assert!(text.contains(":1: kernel name"), "{text}");
    }
}

#[test]
fn suites_are_checked_against_their_runner() {
    let text = message("[suites.a]\nrunner = \"make\"\n");
    assert!(
        text.contains(":2: suite \"a\" has the unknown runner \"make\"; allowed: "),
        "{text}"
    );
    let text = message("[suites.a]\nrunner = \"command\"\ntests = \"x\"\n");
    assert!(
        text.contains(":2: suite \"a\" lacks the key command"),
        "{text}"
    );
    assert!(text.contains(":3: suite \"a\" has tests, a key"), "{text}");
    let text = message("[suites.a]\nrunner = \"command\"\ncommand = []\n");
    assert!(
        text.contains(":3: suite \"a\" has an empty command"),
        "{text}"
    );
}

#[test]
fn nothing_can_be_slipped_into_the_source_list_of_apt() {
    let text = message("[kernels.a]\napt = { suite = \"s\\nTrusted: yes\", package = \"p\" }\n");
    assert!(text.contains(":2: kernel \"a\": apt.suite"), "{text}");
}

proptest! {
    #[test]
    fn no_text_panics_and_every_problem_has_a_line_of_the_file(text in "[a-zé0-9\\[\\]\"'=.{}\n @*-]{0,200}") {
        if let Err(ConfigError::Invalid { problems }) = parse_at(&text) {
            prop_assert!(!problems.is_empty());
            for problem in problems {
                prop_assert!((1..=text.lines().count() + 1).contains(&problem.line));
            }
        }
    }
}

#[test]
fn files_of_a_kernel_have_one_place_each_and_a_hash_if_they_come_from_afar() {
    let hash = "ab".repeat(32);
    let text = format!(
        "[kernels.k]\nfiles = [{{ url = \"https://example.org/a.rpm\", sha256 = \"{hash}\" }}, {{ path = \"b.deb\" }}]\n"
    );
    let origin = Origin::File("/x/kernels.toml".into());
    let catalogue = Catalogue::parse(&text, origin.clone()).unwrap();
    let Source::Files(files) = &catalogue.kernels[0].source else {
        panic!("{:?}", catalogue.kernels[0]);
    };
    assert_eq!(files[0].sha256.as_ref(), Some(&hash));
    assert_eq!(files[1].place, FilePlace::Path("/x/b.deb".into()));
    for (files, told) in [
        ("[]", "has no files"),
        (
            "[{ url = \"https://example.org/a.rpm\" }]",
            "a url without sha256",
        ),
        (
            "[{ path = \"a\", sha256 = \"xyz\" }]",
            "sha256 is not a hash",
        ),
        ("[{ sha256 = \"ab\" }]", "a file has one place"),
        (
            "[{ path = \"a\", url = \"https://x\" }]",
            "a file has one place",
        ),
        ("[{ path = \"a\", hash = \"b\" }]", "unknown key"),
    ] {
        let text = format!("[kernels.k]\nfiles = {files}\n");
        let error = Catalogue::parse(&text, origin.clone())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("kernels.toml:2: ") && error.contains(told),
            "{error}"
        );
    }
}

#[test]
fn a_kernel_can_ask_for_its_machine_and_its_transport() {
    let text = "[kernels.a]\npath = \"x\"\nmachine = \"q35\"\ntransport = \"pci\"\n[kernels.b]\npath = \"y\"\n";
    let catalogue = Catalogue::parse(text, Origin::BuiltIn).unwrap();
    let devices = &catalogue.kernel("a").unwrap().settings.devices;
    let machine = devices.machine.as_ref().unwrap();
    assert_eq!(machine.value, Machine::Q35);
    assert_eq!(machine.by, "the built-in kernels.toml:3");
    assert_eq!(devices.transport.as_ref().unwrap().value, Transport::Pci);
    assert_eq!(
        catalogue.kernel("b").unwrap().settings.devices,
        AskedDevices::default()
    );
}

#[test]
fn a_machine_without_the_transport_is_refused_with_its_line() {
    let text = "[kernels.a]\npath = \"x\"\nmachine = \"q35\"\ntransport = \"mmio\"\n";
    let error = Catalogue::parse(text, Origin::BuiltIn)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(":4: kernel \"a\": the machine q35"),
        "{error}"
    );
    let text = "[kernels.a]\npath = \"x\"\ntransport = \"usb\"\n";
    let error = Catalogue::parse(text, Origin::BuiltIn)
        .unwrap_err()
        .to_string();
    assert!(error.contains("`mmio`"), "{error}");
}
