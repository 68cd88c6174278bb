//! `kiln list`: ids on stdout, all mistakes with their lines on stderr.

use crate::support::debian_tests::debian_tests;
use crate::support::{Kiln, upstream_tests};

const GOOD: &str = "\
NAME second
PROG BEGIN { exit() }
EXPECT x
TIMEOUT 5

NAME first one
RUN echo hello
EXPECT hello
TIMEOUT 5
";

/// A directory of tests with these files below `runtime/`.
fn suite(files: &[(&str, &str)]) -> Kiln {
    let kiln = Kiln::with_empty_cache();
    for (name, text) in files {
        kiln.file(&format!("tests/runtime/{name}"), text);
    }
    kiln
}

/// `kiln list` without bpftrace: the dialect is given.
const LIST: [&str; 5] = ["list", "--dialect", "0.17", "--tests", "tests"];

#[test]
fn ids_are_listed_one_a_line_and_sorted() {
    let kiln = suite(&[("zebra", GOOD), ("ant", GOOD)]);
    let output = kiln.plain(LIST).run();
    output
        .assert_code(0)
        .assert_out("ant.first one\nant.second\nzebra.first one\nzebra.second\n");
    assert_eq!(output.err(), "");
}

#[test]
fn filters_select_and_exclude() {
    let kiln = suite(&[("zebra", GOOD), ("ant", GOOD)]);
    let listed = |filters: &[&str]| {
        let mut command = kiln.plain(LIST);
        for filter in filters {
            command = command.arg("-t").arg(filter);
        }
        let output = command.run();
        output.assert_code(0);
        output.out()
    };
    assert_eq!(listed(&["^ant"]), "ant.first one\nant.second\n");
    assert_eq!(listed(&["^ant:-first"]), "ant.second\n");
    assert_eq!(
        listed(&["^ant:-first", "zebra.first"]),
        "ant.second\nzebra.first one\n"
    );
}

#[test]
fn an_allowlist_selects_and_reports_lines_that_match_no_test() {
    let kiln = suite(&[("zebra", GOOD), ("ant", GOOD)]);
    kiln.file("list", "# some\nant.first one\n^zebra:-first\nant.secnd\n");
    let output = kiln.plain(LIST).args(["--allowlist", "list"]).run();
    output
        .assert_code(0)
        .assert_out("ant.first one\nzebra.second\n")
        .assert_err_contains("list:4: there is no test `ant.secnd` (did you mean ant.second?)");
    let filtered = ["--allowlist", "list", "-t", "-zebra"];
    let output = kiln.plain(LIST).args(filtered).run();
    output.assert_code(0).assert_out("ant.first one\n");
}

#[test]
fn an_allowlist_that_cannot_be_used_has_an_exit_code_of_its_own() {
    let kiln = suite(&[("ant", GOOD)]);
    kiln.file("none", "# nothing\n");
    kiln.file("bad", "ant.second\n(\n");
    for (file, code, told) in [
        ("none", 4, "none of 2 tests is in the allow-list none"),
        ("bad", 96, "bad:2: filter `(`"),
        ("nowhere", 96, "cannot read the allow-list nowhere"),
    ] {
        let output = kiln.plain(LIST).args(["--allowlist", file]).run();
        output
            .assert_code(code)
            .assert_out("")
            .assert_err_contains(told);
    }
}

#[test]
fn a_filter_that_selects_nothing_exits_with_4() {
    let kiln = suite(&[("ant", GOOD)]);
    let output = kiln.plain(LIST).arg("-t").arg("bee").run();
    output
        .assert_code(4)
        .assert_out("")
        .assert_err_contains("no test of 2 matches `bee`");
}

#[test]
fn an_invalid_filter_is_a_usage_error() {
    let kiln = suite(&[("ant", GOOD)]);
    let output = kiln.plain(LIST).arg("-t").arg("(").run();
    output
        .assert_code(2)
        .assert_out("")
        .assert_err_contains("filter `(`");
}

#[test]
fn all_errors_of_all_files_are_reported_with_their_lines_and_what_is_allowed() {
    let kiln = suite(&[
        ("good", GOOD),
        (
            "bad",
            "NAME a\nPROG x\nEXPCT y\nTIMEOUT 5\n\nNAME b\nPROG x\nEXPECT y\nTIMEOUT soon\n",
        ),
        (
            "worse",
            "# nothing\nNAME c\nEXPECT y\nTIMEOUT 5\n\nNAME d\nPROG x\nEXPECT y\nREQUIRES_FEATURE warp\nTIMEOUT 5\n",
        ),
    ]);
    let output = kiln.plain(LIST).run();
    output.assert_code(96).assert_out("");
    for (place, what) in [
        ("runtime/bad:3: ", "`EXPCT` is not a directive"),
        ("runtime/bad:3: ", "EXPECT"),
        ("runtime/bad:9: ", "TIMEOUT takes a whole number"),
        (
            "runtime/worse:2: ",
            "a test without RUN and PROG; it needs one of them",
        ),
        ("runtime/worse:9: ", "`warp` is not a feature; allowed are "),
    ] {
        let told = output.err();
        let found = told
            .lines()
            .any(|line| line.contains(place) && line.contains(what));
        assert!(found, "{place}… {what} is not told:\n{told}");
    }
}

#[test]
fn a_directory_without_runtime_tests_is_named() {
    let kiln = Kiln::with_empty_cache();
    let output = kiln.plain(LIST).run();
    output
        .assert_code(96)
        .assert_err_contains("cannot find its tests in tests");
    let empty = kiln.file("tests/nothing", "");
    let output = kiln.plain(LIST).run();
    output.assert_code(96).assert_out("");
    let dir = empty.parent().unwrap().join("runtime");
    output.assert_err_contains(&dir.display().to_string());
}

#[test]
fn an_unknown_suite_or_dialect_gets_a_list_of_known_ones() {
    let kiln = Kiln::with_empty_cache();
    let output = kiln.plain(["list", "bpftarce"]).run();
    output
        .assert_code(96)
        .assert_err_contains("there is no suite `bpftarce`")
        .assert_err_contains("known suites: bpftrace");
    let output = kiln.plain(["list", "--dialect", "0.1"]).run();
    output
        .assert_code(2)
        .assert_err_contains("there is no such dialect; known are ");
}

#[test]
fn hostile_names_do_not_reach_the_terminal_as_they_are() {
    let kiln = suite(&[("ant", "NAME \x1b[31mred\nPROG x\nEXPECT y\nTIMEOUT 5\n")]);
    let output = kiln.plain(LIST).run();
    assert!(!output.stdout.contains(&0x1b), "{:?}", output.out());
    assert!(!output.stderr.contains(&0x1b), "{:?}", output.err());
}

#[test]
fn a_closed_stdout_ends_it_without_a_panic() {
    let kiln = suite(&[("ant", GOOD)]);
    let (mut command, _) = kiln.plain(LIST).into_command();
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = command.stdout(full).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(96), "{told}");
    assert!(told.contains("cannot write the list"), "{told}");
}

#[test]
fn the_tests_of_debian_s_bpftrace_are_all_listed() {
    let (tests, known) = (upstream_tests(), debian_tests());
    let kiln = Kiln::with_empty_cache();
    let output = kiln
        .plain(["list", "--dialect", known.dialect, "--tests"])
        .arg(&tests)
        .run();
    output.assert_code(0);
    let out = output.out();
    let ids: Vec<&str> = out.lines().collect();
    assert_eq!(ids.len(), known.count);
    assert!(ids.is_sorted());
    for id in ["call.printf", "probe.kprobe", "other.if_gt"] {
        assert!(ids.contains(&id), "{id} is missing");
    }
}

#[test]
fn the_tests_are_those_of_the_bpftrace_that_the_root_has() {
    let kiln = suite(&[("ant", "NAME none\nPROG x\nEXPECT_NONE y\nTIMEOUT 5\n")]);
    // Programs of a root are read and not run.
    for (root, version) in [("old", "v0.17.0"), ("new", "v0.23.2")] {
        let path = format!("{root}/usr/bin/bpftrace");
        kiln.file(&path, format!("\x7fELF\0{version}\0"));
    }
    for command in ["list", "matrix"] {
        let of = |root: &str| {
            kiln.plain([command, "--tests", "tests", "--root", root])
                .run()
        };
        of("dir:new").assert_code(0);
        of("dir:old")
            .assert_code(96)
            .assert_out("")
            .assert_err_contains("EXPECT_NONE is not a directive of bpftrace 0.17");
        of("dir:none")
            .assert_code(96)
            .assert_err_contains("cannot share none: No such file");
        let output = kiln
            .plain([command, "--tests", "tests", "--root", "host"])
            .args(["--package", ".#bpftrace"])
            .run();
        output
            .assert_code(2)
            .assert_err_contains("--root names another root");
    }
}
