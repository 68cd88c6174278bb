//! `kiln exec` in real VMs: streams, statuses, environment.
#![allow(clippy::unwrap_used)]

mod support;

use support::{KERNELS, Kiln};

#[test]
fn a_command_runs_as_root_on_each_kernel() {
    let kiln = Kiln::new();
    for kernel in KERNELS {
        let output = kiln.sh(kernel, "id -u; uname -r").run();
        output.assert_code(0);
        let text = output.out();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "0");
        assert!(
            lines[1].starts_with(&format!("{kernel}.")),
            "{kernel}: {text}"
        );
        assert_eq!(output.err(), "", "a quiet command makes a quiet kiln");
    }
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}
