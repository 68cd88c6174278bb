//! `--shard`: parts of a run for several machines, which together are the whole.

use crate::support::Kiln;
use crate::support::suite::{events, junit, out, run, suite, verdicts};

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
    let parts = ["part-1", "part-2", "part-3"];
    std::fs::rename(out(&kiln), kiln.work().join("unsharded")).unwrap();
    for (number, part) in parts.iter().enumerate() {
        let shard = format!("slice:{}/3", number + 1);
        let output = run(&kiln, &kernels).args(["-j1", "--shard", &shard]).run();
        let verdicts = verdicts(&out(&kiln));
        let failed = verdicts.iter().any(|(_, _, verdict)| verdict == "fail");
        output.assert_code(if failed { 100 } else { 0 });
        assert_eq!(events(&out(&kiln))[0]["shard"], shard.as_str());
        std::fs::rename(out(&kiln), kiln.work().join(part)).unwrap();
    }

    let merge = |into: &str| kiln.plain(["merge", "--run-dir", into]);
    let output = merge("merged").args(parts).run();
    output.assert_code(100);
    let merged = kiln.work().join("merged");
    assert_eq!(verdicts(&merged), whole);
    assert_eq!(junit(&merged).matches("<testcase").count(), whole.len());
    let report = output.out();
    assert!(!report.contains("warning"), "{report}");
    assert!(!report.contains("not run"), "{report}");

    let output = merge("two-thirds").args(&parts[..2]).run();
    output.assert_code(97);
    let report = output.out();
    assert!(
        report.contains("no run has the part slice:3/3 of 5.10 6.1"),
        "{report}"
    );
    // The whole run has the verdicts of the part.
    let output = merge("again").args(["unsharded", "part-1"]).run();
    output.assert_code(97);
    assert_eq!(verdicts(&kiln.work().join("again")), whole);
}

#[test]
fn runs_that_cannot_be_merged_are_refused() {
    let kiln = Kiln::new();
    let start = |schema: u32| {
        format!(
            "{{\"at_ms\":0,\"event\":\"run_started\",\"schema\":{schema},\"version\":\"0.1.0\",\
             \"started_at\":\"2026-11-22T16:00:00.000Z\",\
             \"kernels\":[{{\"name\":\"6.1\",\"tests\":1}}],\"suites\":[\"s\"]}}\n"
        )
    };
    let verdict = |verdict: &str| {
        format!(
            "{{\"at_ms\":9,\"event\":\"test_finished\",\"kernel\":\"6.1\",\"vm\":0,\"suite\":\"s\",\
             \"id\":\"a.b\",\"attempt\":1,\"verdict\":\"{verdict}\",\"duration_ms\":5}}\n"
        )
    };
    kiln.file("empty/other", "");
    kiln.file("future/events.jsonl", start(2));
    kiln.file("passes/events.jsonl", start(1) + &verdict("pass"));
    kiln.file("fails/events.jsonl", start(1) + &verdict("fail"));
    let cut = start(1) + &verdict("pass") + "{\"at_ms\":10,\"ev";
    kiln.file("cut/events.jsonl", cut);

    for (runs, said) in [
        (["passes", "empty"], "empty is not a run directory"),
        (["passes", "gone"], "cannot read gone/events.jsonl"),
        (["passes", "future"], "schema version 2"),
        (["passes", "fails"], "disagree on 6.1 a.b (pass, fail)"),
    ] {
        let output = kiln.plain(["merge", "--run-dir", "no"]).args(runs).run();
        output.assert_code(96);
        assert!(output.err().contains(said), "{}", output.err());
        assert!(!kiln.work().join("no").exists());
    }
    let output = kiln.plain(["merge", "--run-dir", "yes", "cut"]).run();
    output.assert_code(0);
    assert!(output.out().contains("cut off"), "{}", output.out());
    let output = kiln.plain(["merge", "--run-dir", "yes", "cut"]).run();
    output.assert_code(96);
    assert!(output.err().contains("already contains a run"));
    kiln.plain(["merge"]).run().assert_code(2);
}

#[test]
fn empty_and_invalid_parts_are_refused() {
    let kiln = suite("NAME 1 only\nRUN echo hello\nEXPECT hello\nTIMEOUT 20\n");
    let output = run(&kiln, &["6.1"]).args(["--shard", "slice:2/2"]).run();
    output.assert_code(4);
    for part in ["slice:0/2", "slice:3/2", "some:1/2", "1/2"] {
        let output = run(&kiln, &["6.1"]).args(["--shard", part]).run();
        output.assert_code(2);
    }
}
