//! Help, completions, usage errors and `kiln doctor`.

use std::process::Command;

use crate::support::Kiln;

const SUBCOMMANDS: [&[&str]; 13] = [
    &["exec"],
    &["shell"],
    &["run"],
    &["list"],
    &["kernels"],
    &["kernels", "list"],
    &["kernels", "fetch"],
    &["kernels", "update"],
    &["kernels", "search"],
    &["kernels", "pin"],
    &["kernels", "prune"],
    &["doctor"],
    &["completions"],
];

#[test]
fn the_help_of_each_subcommand_carries_an_example_of_it() {
    let kiln = Kiln::with_empty_cache();
    let help = kiln.plain(["--help"]).run();
    help.assert_code(0);
    assert!(
        help.out().contains("Examples:\n  kiln exec -k "),
        "{}",
        help.out()
    );
    for subcommand in SUBCOMMANDS {
        let help = kiln.plain(subcommand).arg("--help").run();
        help.assert_code(0);
        let text = help.out();
        let example = format!("kiln {}", subcommand.join(" "));
        let after = text.split_once("Example").map(|(_, after)| after);
        assert!(
            after.is_some_and(|after| after.contains(&example)),
            "the help of {subcommand:?} has no example:\n{text}"
        );
    }
}

#[test]
fn the_help_of_kernels_names_every_way_to_select_one() {
    let kiln = Kiln::with_empty_cache();
    for subcommand in [
        &["exec"][..],
        &["shell"],
        &["run"],
        &["matrix"],
        &["ci"],
        &["kernels", "fetch"],
    ] {
        let help = kiln.plain(subcommand).arg("-h").run();
        help.assert_code(0);
        let text = help.out();
        let words: Vec<&str> = text.split_whitespace().collect();
        let text = words.join(" ");
        for way in [
            "a name ",
            "POOL:VERSION such as debian:6.18",
            " host, ",
            "a path: a build tree, an image, or packages separated by commas",
        ] {
            assert!(text.contains(way), "{subcommand:?} lacks {way:?}:\n{text}");
        }
    }
}

#[test]
fn the_top_level_help_names_every_subcommand_and_hides_the_helper() {
    let kiln = Kiln::with_empty_cache();
    let text = kiln.plain(["--help"]).run().out();
    for subcommand in SUBCOMMANDS {
        let name = subcommand[0];
        let listed = text
            .lines()
            .any(|line| line.split_whitespace().next() == Some(name));
        assert!(listed, "{name} is not listed:\n{text}");
    }
    assert!(!text.contains("virtiofs"), "{text}");
}

#[test]
fn an_unknown_option_is_a_usage_error() {
    let kiln = Kiln::with_empty_cache();
    for subcommand in SUBCOMMANDS {
        let output = kiln.plain(subcommand).arg("--warp-speed").run();
        output
            .assert_code(2)
            .assert_out("")
            .assert_err_contains("--warp-speed");
    }
    kiln.plain(["frobnicate"]).run().assert_code(2);
    kiln.plain([] as [&str; 0]).run().assert_code(2);
    kiln.plain(["exec", "-k", "6.1"]).run().assert_code(2);
    kiln.plain(["exec", "--", "true"]).run().assert_code(2);
}

#[test]
fn completions_are_scripts_of_their_shells() {
    let kiln = Kiln::with_empty_cache();
    for shell in ["bash", "zsh", "fish"] {
        let output = kiln.plain(["completions", shell]).run();
        output.assert_code(0);
        for word in ["exec", "kernels", "doctor"] {
            assert!(output.out().contains(word), "{shell}: no {word}");
        }
        let script = kiln.file(&format!("completions.{shell}"), &output.stdout);
        // bash is everywhere; check the others where they exist.
        match Command::new(shell).arg("-n").arg(&script).output() {
            Ok(checked) => assert!(checked.status.success(), "{shell}: {checked:?}"),
            Err(error) => assert!(shell != "bash", "bash: {error}"),
        }
    }
    kiln.plain(["completions", "cobol"]).run().assert_code(2);
}

/// Every prerequisite that `doctor` checks.
const CHECKS: [&str; 11] = [
    "QEMU",
    "QEMU sandbox",
    "accelerator",
    "memory",
    "shared memory",
    "open files",
    "Landlock",
    "temporary files",
    "cache",
    "disk space",
    "Nix",
];

#[test]
fn doctor_names_every_prerequisite_and_finds_this_machine_fit() {
    let kiln = Kiln::new();
    let output = kiln.vm(["doctor"]).run();
    output.assert_code(0);
    let out = output.out();
    for check in CHECKS {
        let line = out
            .lines()
            .find(|line| line.get(6..).is_some_and(|rest| rest.starts_with(check)));
        let line = line.unwrap_or_else(|| panic!("{check} is not told:\n{out}"));
        assert!(
            line.starts_with("ok ") || line.starts_with("warn"),
            "{line}"
        );
    }
}

#[test]
fn doctor_says_what_the_accelerator_probe_said() {
    let kiln = Kiln::new();
    let output = kiln.vm(["doctor"]).run();
    let out = output.out();
    let line = out
        .lines()
        .find(|line| line.contains("accelerator"))
        .unwrap();
    assert!(
        line.contains("KVM runs a kernel") || line.contains("TCG, which is slower; no KVM: "),
        "{line}"
    );
    assert!(!line.contains("not tried"), "{line}");
}

#[test]
fn doctor_fails_without_qemu_and_says_how_to_install_it() {
    let kiln = Kiln::with_empty_cache();
    let missing = kiln.work().join("qemu-system-x86_64");
    let by_option = kiln.plain(["doctor", "--qemu"]).arg(&missing).run();
    by_option.assert_code(96);
    let named = by_option.out();
    assert!(named.contains(&missing.display().to_string()), "{named}");
    let on_path = kiln.plain(["doctor"]).env("PATH", kiln.work()).run();
    on_path.assert_code(96);
    assert!(on_path.out().contains("warn  Nix"), "{}", on_path.out());
    for out in [named, on_path.out()] {
        assert!(out.starts_with("fail  QEMU"), "{out}");
        assert!(out.contains("apt-get install qemu-system-x86"), "{out}");
        // The rest is still checked.
        assert!(out.contains("disk space"), "{out}");
    }
}

#[test]
fn doctor_reports_a_qemu_that_is_too_old_or_has_no_microvm() {
    let kiln = Kiln::with_empty_cache();
    let fake = |name: &str, version: &str, machines: &str| {
        kiln.program(
            name,
            format!(
                "#!/bin/sh\ncase \"$*\" in\n*version*) echo 'QEMU emulator version {version}' ;;\n\
                 *machine*) printf '%b' '{machines}' ;;\nesac\n"
            ),
        )
    };
    let machines =
        "Supported machines are:\\nmicrovm              microvm (i386)\\npc   Standard PC\\n";
    let old = fake("old-qemu", "2.11.1", machines);
    let output = kiln.plain(["doctor", "--qemu"]).arg(&old).run();
    output.assert_code(96);
    assert!(output.out().contains("QEMU 2.11 at "), "{}", output.out());
    let lean = fake(
        "lean-qemu",
        "7.2.0",
        "Supported machines are:\\npc   Standard PC\\n",
    );
    let output = kiln.plain(["doctor", "--qemu"]).arg(&lean).run();
    output.assert_code(96);
    assert!(output.out().contains("microvm"), "{}", output.out());
}

#[test]
fn a_missing_qemu_stops_exec_with_the_way_to_install_it() {
    let kiln = Kiln::new();
    let output = kiln
        .plain(["exec", "-k", "6.1", "--", "true"])
        .env("KILN_QEMU", "/nonexistent/qemu")
        .run();
    output
        .assert_code(125)
        .assert_err_contains("/nonexistent/qemu")
        .assert_err_contains("apt-get install qemu-system-x86");
}

#[test]
fn doctor_reports_a_cache_that_cannot_be_written() {
    let kiln = Kiln::with_empty_cache();
    let output = kiln
        .plain(["doctor"])
        .env("KILN_CACHE_DIR", "/dev/null/cache")
        .run();
    output.assert_code(96);
    let out = output.out();
    assert!(out.contains("cannot write to /dev/null/cache"), "{out}");
}

#[test]
fn an_empty_variable_counts_as_one_that_is_not_set() {
    let kiln = Kiln::with_empty_cache();
    let empty = [
        "KILN_CONFIG",
        "KILN_QEMU",
        "KILN_ACCEL",
        "KILN_STATUS_LEVEL",
        "KILN_FINAL_STATUS_LEVEL",
        "KILN_LOG",
        "KILN_NIX_STORE",
        "KILN_APT_MIRROR",
    ];
    let run = |args: &[&str]| {
        let mut invocation = kiln.plain(args);
        for name in empty {
            invocation = invocation.env(name, "");
        }
        invocation.run()
    };
    let list = run(&["kernels", "list"]);
    list.assert_code(0);
    assert!(list.out().contains("6.1"), "{}", list.out());
    for command in [
        &["exec", "-k", "no-such-kernel", "--", "true"][..],
        &["run", "-k", "no-such-kernel"],
    ] {
        let output = run(command);
        output.assert_err_contains("no-such-kernel");
        assert!(
            !output.err().contains("a value is required"),
            "{}",
            output.err()
        );
    }
    let doctor = run(&["doctor"]);
    assert!(doctor.out().contains("with microvm"), "{}", doctor.out());
    // With a value it counts.
    let output = kiln
        .plain(["exec", "-k", "6.1", "--", "true"])
        .env("KILN_ACCEL", "steam")
        .run();
    output.assert_code(2).assert_err_contains("steam");
}
