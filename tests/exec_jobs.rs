//! `kiln exec -j`: several kernels at once.

use std::fs::File;

use crate::support::{KERNELS, Kiln};

/// Slower on the first kernel than on the others.
const SLOW_FIRST: &str = "case $(uname -r) in 5.*) sleep 8;; esac; uname -r; cat; echo err >&2";

#[test]
fn kernels_at_once_keep_their_output_together_in_the_order_asked_for() {
    let kiln = Kiln::new();
    let output = kiln
        .vm([
            "exec", "-j", "3", "-k", "@quick", "--", "sh", "-c", SLOW_FIRST,
        ])
        .stdin("to each\n")
        .run();
    output.assert_code(0);
    let text = output.out();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2 * KERNELS.len(), "{text}");
    for (pair, kernel) in lines.chunks(2).zip(KERNELS) {
        assert!(pair[0].starts_with(kernel), "{text}");
        assert_eq!(pair[1], "to each");
    }
    let headings = KERNELS.map(|kernel| format!("== {kernel}\nerr\n"));
    assert_eq!(output.err(), headings.concat());
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}

#[test]
fn lines_with_a_prefix_come_as_they_are_written_and_one_failure_ends_all() {
    let kiln = Kiln::new();
    let script =
        "case $(uname -r) in 6.1.*) echo bad; exit 3;; *) echo here; exec sleep 1000;; esac";
    let output = kiln
        .vm([
            "exec",
            "-j2",
            "--prefix",
            "--fail-fast",
            "-k",
            "5.10",
            "-k",
            "6.1",
            "-k",
            "6.12",
        ])
        .args(["--", "sh", "-c", script])
        .run();
    output.assert_code(3);
    let text = output.out();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert!(lines.contains(&"6.1  | bad"), "{text}");
    assert!(
        lines
            .iter()
            .all(|line| ["5.10 | here", "6.1  | bad"].contains(line)),
        "{text}"
    );
    output.assert_err_contains("stopped at the first failure; not finished: 5.10, 6.12");
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}

#[test]
fn output_that_cannot_be_written_to_a_full_disk_is_an_error_with_a_prefix_too() {
    let kiln = Kiln::new();
    let (mut command, _slot) = kiln
        .vm(["exec", "--prefix", "-k", "6.1", "--", "echo", "text"])
        .into_command();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = command.stdout(full).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{told}");
    assert!(told.contains("No space left on device"), "{told}");
}
