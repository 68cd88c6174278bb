//! `--shard`: parts of a run for several machines, which together are the whole.
#![allow(clippy::unwrap_used)]

mod support;

#[path = "support/suite.rs"]
mod suite;

use suite::{events, out, run, suite, verdicts};

#[test]
fn the_parts_of_a_run_are_together_verdict_for_verdict_the_whole() {
    let kiln = suite(
        "NAME 1 passes\nRUN echo hello\nEXPECT hello\nTIMEOUT 20\n\n\
         NAME 2 fails\nRUN echo no\nEXPECT hello\nTIMEOUT 20\n\n",
    );
    let kernels = ["5.10", "6.1"];
    run(&kiln, &kernels).arg("-j1").run().assert_code(100);
    let whole = verdicts(&out(&kiln));
    assert_eq!(whole.len(), 4);
    let mut union = Vec::new();
    for shard in ["slice:1/3", "slice:2/3", "slice:3/3"] {
        std::fs::remove_dir_all(out(&kiln)).unwrap();
        let output = run(&kiln, &kernels).args(["-j1", "--shard", shard]).run();
        let part = verdicts(&out(&kiln));
        let failed = part.iter().any(|(_, _, verdict)| verdict == "fail");
        output.assert_code(if failed { 100 } else { 0 });
        assert_eq!(events(&out(&kiln))[0]["shard"], shard);
        union.extend(part);
    }
    union.sort();
    assert_eq!(union, whole);
}

#[test]
fn a_part_without_a_test_and_what_is_no_part_are_refused() {
    let kiln = suite("NAME 1 only\nRUN echo hello\nEXPECT hello\nTIMEOUT 20\n");
    let output = run(&kiln, &["6.1"]).args(["--shard", "slice:2/2"]).run();
    output.assert_code(4);
    for part in ["slice:0/2", "slice:3/2", "some:1/2", "1/2"] {
        let output = run(&kiln, &["6.1"]).args(["--shard", part]).run();
        output.assert_code(2);
    }
}
