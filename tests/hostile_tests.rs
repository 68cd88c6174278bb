//! `kiln run` of tests that behave badly: each gets its own verdict, and the next test finds the VM
//! as if nothing had happened.

use crate::support::suite::{assert_verdicts, count, events, finished, out, run, suite};

/// Prints what a test finds of the earlier ones. `[s]leep` does not match the
/// shell that looks.
const LOOK: &str = "echo $(pgrep -c '^sleep$') processes, \
    $(grep -c kiln-left /proc/self/mountinfo) mounts, \
    $(ls /run/netns 2>/dev/null | grep -c kiln-left) namespaces";
const CLEAN: &str = "0 processes, 0 mounts, 0 namespaces";
const MARKER: &str = "__BPFTRACE_NOTIFY_PROBES_ATTACHED";

/// A test that does harm, and one that looks for traces of it.
fn hostile(number: u32, name: &str, command: &str, expect: &str, timeout: u32) -> String {
    format!(
        "NAME {number} {name}\nRUN {command}\nEXPECT {expect}\nTIMEOUT {timeout}\n\n\
         NAME {number} then\nRUN {LOOK}\nEXPECT {CLEAN}\nTIMEOUT 20\n\n"
    )
}

#[test]
fn hostile_tests_have_their_verdicts_and_the_test_after_each_finds_nothing_of_it() {
    let ignore = format!("trap '' TERM; echo {MARKER}; while :; do sleep 1; done");
    let kiln = suite(
        &[
            hostile(
                1,
                "forks",
                "for i in 1 2 3; do sleep 1000 & done; echo forked",
                "forked",
                20,
            ),
            hostile(
                2,
                "daemonises",
                "setsid -f sh -c 'setsid -f sleep 1000 >/dev/null 2>&1'; sleep 2; echo gone",
                "gone",
                20,
            ),
            hostile(
                3,
                "escapes its cgroup",
                "echo $$ >/sys/fs/cgroup/cgroup.procs; \
                 setsid -f sh -c 'sleep 1000; :' >/dev/null 2>&1; sleep 2; echo out",
                "out",
                20,
            ),
            hostile(4, "ignores SIGTERM", &ignore, "never", 1),
            hostile(
                5,
                "fills a pipe",
                "yes | { sleep 1; echo full; }",
                "full",
                20,
            ),
            hostile(6, "prints a lot", "yes | head -c 6000000", "y", 40),
            hostile(
                7,
                "closes its stdout",
                "echo early; exec >&- 2>&-; sleep 1",
                "early",
                20,
            ),
            hostile(
                8,
                "mounts",
                "mkdir /tmp/kiln-left && mount -t tmpfs left /tmp/kiln-left && \
                 cd /tmp/kiln-left && { sleep 1000 >/dev/null 2>&1 & } && echo mounted",
                "mounted",
                20,
            ),
            hostile(
                9,
                "leaves a network namespace",
                "ip netns add kiln-left && echo added",
                "added",
                20,
            ),
            // Any use of nft loads nf_tables: only here.
            "NAME 10 leaves an nftables table\nRUN nft add table inet kiln-left && echo added\n\
             EXPECT added\nTIMEOUT 20\n\n\
             NAME 10 then\nRUN nft list tables && echo listed\nEXPECT ^listed$\nTIMEOUT 20\n\n"
                .to_owned(),
        ]
        .concat(),
    );
    let output = run(&kiln, &["6.1"]).args(["-j", "1"]).run();
    output.assert_code(100);
    let mut expected = vec![
        "1 forks pass",
        "2 daemonises pass",
        "3 escapes its cgroup pass",
        "4 ignores SIGTERM timeout",
        "5 fills a pipe pass",
        "6 prints a lot pass",
        "7 closes its stdout pass",
        "8 mounts pass",
        "9 leaves a network namespace pass",
        "10 leaves an nftables table pass",
    ]
    .into_iter()
    .map(str::to_owned)
    .collect::<Vec<_>>();
    expected.extend((1..=10).map(|number| format!("{number} then pass")));
    expected.sort();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    assert_verdicts(&kiln, &output, &expected);
    let all = events(&out(&kiln));
    assert_eq!(count(&all, "vm_started"), 1, "no VM was lost");

    let printed = finished(&out(&kiln), "suite.6 prints a lot");
    assert!(printed["output"].as_str().unwrap().len() < 100 << 10);

    // Each leftover is named with its test, and what kiln ends itself is not.
    let warnings: Vec<&str> = all
        .iter()
        .filter(|event| event["event"] == "warning")
        .map(|event| event["message"].as_str().unwrap())
        .collect();
    let assert_warned = |test: &str, what: &str| {
        assert!(
            warnings
                .iter()
                .any(|line| line.starts_with(&format!("suite.{test}: ")) && line.contains(what)),
            "no warning of {what} by {test}: {warnings:#?}"
        );
    };
    assert_warned("6 prints a lot", "bytes more than the limit of 4194304");
    assert_warned(
        "1 forks",
        "left processes behind, killed now: sleep, sleep, sleep",
    );
    assert_warned("2 daemonises", "left a process behind, killed now: sleep");
    assert_warned(
        "3 escapes its cgroup",
        "left processes behind, killed now: sh, sleep",
    );
    assert_warned(
        "8 mounts",
        "left a mount behind, unmounted now: tmpfs at /tmp/kiln-left",
    );
    assert_warned(
        "9 leaves a network namespace",
        "left a network namespace behind, deleted now: kiln-left",
    );
    assert_warned(
        "10 leaves an nftables table",
        "left an nftables table behind, deleted now: inet kiln-left",
    );
    assert_eq!(finished(&out(&kiln), "suite.10 then")["output"], "listed\n");
    assert!(
        !warnings.iter().any(|line| line.contains(" then: ")),
        "{warnings:#?}"
    );
    kiln.assert_nothing_left();
}

#[test]
fn after_what_cannot_be_undone_the_next_test_has_a_vm_of_its_own() {
    let kiln = suite(
        "NAME 1 takes a mount away\nRUN umount -l /usr/lib/modules/* && echo gone\n\
         EXPECT gone\nTIMEOUT 20\n\n\
         NAME 2 then\nRUN grep -c ^modules /proc/mounts\nEXPECT 1\nTIMEOUT 20\n\n\
         NAME 3 then\nRUN grep -c ^modules /proc/mounts\nEXPECT 1\nTIMEOUT 20\n\n",
    );
    let output = run(&kiln, &["6.1"]).args(["-j", "1"]).run();
    assert_verdicts(
        &kiln,
        &output,
        &["1 takes a mount away pass", "2 then pass", "3 then pass"],
    );
    output.assert_code(0);
    let all = events(&out(&kiln));
    assert_eq!(count(&all, "vm_started"), 2);
    assert_eq!(count(&all, "vm_lost"), 0);
    assert!(
        all.iter().any(|event| event["event"] == "warning"
            && event["message"]
                .as_str()
                .unwrap()
                .contains("took away a mount, missing from now on: virtiofs at /usr/lib/modules/")),
        "{all:#?}"
    );
    kiln.assert_nothing_left();
}

#[test]
fn a_test_that_cannot_be_started_is_an_error_and_no_skip() {
    // The tests' directory is the working directory of each.
    let kiln = suite(
        "NAME 1 removes\nREQUIRES rm -r \"$PWD\"\nRUN echo gone\nEXPECT gone\nTIMEOUT 20\n\n\
         NAME 2 then\nRUN echo hello\nEXPECT hello\nREQUIRES true\nTIMEOUT 20\n\n",
    );
    let output = run(&kiln, &["6.1"]).args(["-j", "1"]).run();
    assert_verdicts(&kiln, &output, &["1 removes error", "2 then pass"]);
    output.assert_code(100);
    let reason = finished(&out(&kiln), "suite.1 removes")["reason"].to_string();
    assert!(reason.contains("could not be started"), "{reason}");
    // The host's directory is as it was.
    assert!(kiln.work().join("tests/runtime/suite").is_file());
}
