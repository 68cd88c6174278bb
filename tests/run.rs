//! `kiln run`: verdicts, reports and exit codes, with bpftrace's own tests and with difficult ones.

use std::fs;
use std::time::Duration;

use crate::support::suite::{
    assert_verdicts, events, finished, junit, out, run, suite, verdict_line, verdicts,
};
use crate::support::{KERNELS, Kiln, upstream_tests};

/// One test: a name, a shell command, its expected output.
fn test(name: &str, command: &str, expected: &str, limit: u32) -> String {
    format!("NAME {name}\nRUN {command}\nEXPECT {expected}\nTIMEOUT {limit}\n\n")
}

#[test]
fn bpftrace_s_own_tests_pass_on_three_kernels() {
    let tests = upstream_tests();
    let kiln = Kiln::new();
    let mut command = kiln
        .vm(["run", "--tests"])
        .arg(&tests)
        .arg("--run-dir")
        .arg(out(&kiln))
        .deadline(Duration::from_secs(300));
    for kernel in KERNELS {
        command = command.arg("-k").arg(kernel);
    }
    let ids = [
        "call.printf",
        "probe.interval",
        "probe.kprobe",
        "variable.global_int",
    ];
    for id in ids {
        command = command
            .arg("-t")
            .arg(format!("^{}$", id.replace('.', "\\.")));
    }
    let output = command.run();
    output.assert_code(0);
    let mut expected = Vec::new();
    for kernel in KERNELS {
        for id in ids {
            verdict_line(&output, &format!("PASS  {kernel}  "), id);
            expected.push((kernel.to_owned(), id.to_owned(), "pass".to_owned()));
        }
    }
    expected.sort();
    assert_eq!(verdicts(&out(&kiln)), expected);
    let text = output.out();
    // The table: a row for each kernel, four of four passed.
    for kernel in KERNELS {
        let row = text.lines().any(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words == [kernel, "4", "0"]
        });
        assert!(row, "no row of {kernel}:\n{text}");
    }
    assert!(text.contains("12 pass in "), "{text}");
    assert!(
        text.contains(&format!("results: {}", out(&kiln).display())),
        "{text}"
    );
    let report = junit(&out(&kiln));
    assert!(
        report.contains("tests=\"12\" failures=\"0\" errors=\"0\""),
        "{report}"
    );
    for id in ids {
        let count = report.matches(&format!("<testcase name=\"{id}\"")).count();
        assert_eq!(count, 3, "{id}");
    }
    let all = events(&out(&kiln));
    let factors = all
        .iter()
        .filter(|event| event["event"] == "speed_measured");
    for event in factors.clone() {
        assert!(event["factor"].as_f64().unwrap() > 0.0, "{event}");
    }
    assert!(factors.count() >= 3, "the speed of each VM is recorded");
    assert!(text.contains("time limits are multiplied by "), "{text}");
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}

#[test]
fn every_verdict_is_reported_and_a_lost_vm_is_replaced() {
    let kiln = suite(
        &[
            test("1 passes", "echo hello", "hello", 5),
            test("2 fails", "echo goodbye", "hello", 5),
            test("3 sleeps", "sleep 60", "hello", 2),
            test("4 skips", "echo hello", "hello\nREQUIRES false", 5),
            test(
                "5 dies",
                "echo c > /proc/sysrq-trigger; sleep 60",
                "hello",
                5,
            ),
            test("6 goes on", "echo hello", "hello", 5),
            test("7 fails too", "echo hello; exit 3", "hello", 5),
        ]
        .concat(),
    );
    let output = run(&kiln, &["6.1"]).arg("-j").arg("1").run();
    output.assert_code(97);
    assert_verdicts(
        &kiln,
        &output,
        &[
            "1 passes pass",
            "2 fails fail",
            "3 sleeps timeout",
            "4 skips skip",
            "5 dies lost",
            "6 goes on pass",
            "7 fails too fail",
        ],
    );
    for (word, id) in [
        ("PASS", "suite.1 passes"),
        ("FAIL", "suite.2 fails"),
        ("TIMEOUT", "suite.3 sleeps"),
        ("LOST", "suite.5 dies"),
        ("PASS", "suite.6 goes on"),
    ] {
        verdict_line(&output, word, id);
    }
    let text = output.out();
    assert!(
        text.contains("| expected: hello\n      | output:\n      |   goodbye\n"),
        "{text}"
    );
    assert!(verdict_line(&output, "SKIP", "suite.4 skips").ends_with(": unmet: false"));
    assert!(
        text.contains("2 pass, 2 fail, 1 timeout, 1 skip, 1 lost in "),
        "{text}"
    );
    let lost = finished(&out(&kiln), "suite.5 dies");
    let told = lost.to_string();
    assert!(
        told.contains("sysrq triggered crash"),
        "the panic is not in the evidence: {told}"
    );
    let all = events(&out(&kiln));
    let started = all
        .iter()
        .filter(|event| event["event"] == "vm_started")
        .count();
    assert_eq!(started, 2, "one VM was lost and replaced");
    assert_eq!(all.last().unwrap()["event"], "run_finished");
    assert_eq!(all.last().unwrap()["exit_code"], 97);
    let report = junit(&out(&kiln));
    assert!(
        report.contains("type=\"lost\"") && report.contains("type=\"timeout\""),
        "{report}"
    );
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}

#[test]
fn a_suite_that_kills_every_vm_still_ends() {
    let crash = "echo c > /proc/sysrq-trigger; sleep 60";
    let tests: String = (1..=5)
        .map(|number| test(&number.to_string(), crash, "hello", 5))
        .collect();
    let kiln = suite(&tests);
    let output = run(&kiln, &["6.1"]).arg("-j").arg("1").run();
    output.assert_code(97);
    // None counts as passed, whether it was tried or not.
    let found = verdicts(&out(&kiln));
    let lost = found
        .iter()
        .filter(|(_, _, verdict)| verdict == "lost")
        .count();
    assert!((1..=5).contains(&lost) && lost == found.len(), "{found:?}");
    assert!(!output.out().contains("PASS"), "{}", output.out());
    assert_eq!(events(&out(&kiln)).last().unwrap()["exit_code"], 97);
    junit(&out(&kiln));
    kiln.assert_nothing_left();
}

#[test]
fn failed_tests_exit_with_100_and_skipped_ones_with_0() {
    let kiln = suite(
        &[
            test("fails", "echo a; echo goodbye; echo b", "hello", 5),
            test("skips", "echo", "x\nREQUIRES exit 1", 5),
        ]
        .concat(),
    );
    let output = run(&kiln, &["6.1"]).run();
    output.assert_code(100);
    assert_verdicts(&kiln, &output, &["fails fail", "skips skip"]);
    fs::remove_dir_all(out(&kiln)).unwrap();
    let output = run(&kiln, &["6.1"]).arg("-t").arg("skips").run();
    output.assert_code(0);
    assert_verdicts(&kiln, &output, &["skips skip"]);
}

#[test]
fn before_and_after_run_in_their_places() {
    // bpftrace prints this, if asked to, once its probes are attached.
    const ATTACHED: &str = "__BPFTRACE_NOTIFY_PROBES_ATTACHED";
    let kiln = suite(&format!(
        "NAME order\nBEFORE ./tests/beside\n\
         RUN while ! test -e /tmp/beside; do sleep 0.1; done; echo beside; echo {ATTACHED}; \
         while ! test -e /tmp/after; do sleep 0.1; done; cat /tmp/after\n\
         AFTER echo later > /tmp/new; mv /tmp/new /tmp/after\n\
         EXPECT later\nTIMEOUT 10\n\n\
         NAME peace\nRUN pidof -x beside || echo alone\nEXPECT ^alone\nTIMEOUT 5\n"
    ));
    kiln.program(
        "tests/tests/beside",
        "#!/bin/sh\ntouch /tmp/beside\nwhile :; do sleep 1; done\n",
    );
    let output = run(&kiln, &["6.1"]).arg("-j").arg("1").run();
    output.assert_code(0);
    assert_verdicts(&kiln, &output, &["order pass", "peace pass"]);
    let text = finished(&out(&kiln), "suite.order").to_string();
    assert!(text.contains("beside") && text.contains("later"), "{text}");
}

#[test]
fn what_setup_leaves_running_is_there_until_cleanup_has_ended_it() {
    let kiln = suite(
        "NAME serves\n\
         SETUP sleep 1000 >/dev/null 2>&1 & echo $! >/tmp/server\n\
         RUN kill -0 $(cat /tmp/server) && echo there\nEXPECT there\n\
         CLEANUP kill $(cat /tmp/server)\n\n\
         NAME then\nRUN pgrep -c '^sleep$'\nEXPECT 0\nRETURN_CODE 1\n",
    );
    // SETUP came with 0.23.
    let output = kiln
        .vm(["run", "-k", "6.1", "--tests", "tests", "--dialect", "0.23"])
        .arg("--run-dir")
        .arg(out(&kiln))
        .run();
    assert_verdicts(&kiln, &output, &["serves pass", "then pass"]);
    output.assert_code(0);
}

#[test]
fn cleanup_finds_what_after_does_last() {
    let kiln = suite(
        "NAME made\nRUN echo __BPFTRACE_NOTIFY_PROBES_ATTACHED; echo hello\nEXPECT hello\n\
         AFTER sleep 0.3; touch /tmp/made\nCLEANUP rm /tmp/made\n",
    );
    let output = kiln
        .vm(["run", "-k", "6.1", "--tests", "tests", "--dialect", "0.23"])
        .arg("--run-dir")
        .arg(out(&kiln))
        .run();
    assert_verdicts(&kiln, &output, &["made pass"]);
    output.assert_code(0);
}

#[test]
fn a_test_that_misbehaves_delays_nobody_and_changes_no_other_verdict() {
    let check = "pidof sleep yes && echo left || echo alone";
    let tests = [
        (
            "daemon",
            "setsid sh -c \"trap '' HUP TERM INT; sleep 1000\" & echo hello",
            "hello",
            5,
        ),
        (
            "deaf",
            "trap '' TERM INT HUP; while :; do sleep 1000; done",
            "hello",
            2,
        ),
        ("flood", "yes kiln-flood", "hello", 2),
        (
            "herd",
            "for i in 1 2 3 4 5 6 7 8 9 10; do (setsid sleep 1000 &) ; done; echo hello",
            "hello",
            5,
        ),
        ("stopped", "kill -STOP $$; echo hello", "hello", 2),
    ];
    let text: String = tests
        .iter()
        .enumerate()
        .flat_map(|(at, (name, command, expected, limit))| {
            [
                test(&format!("{at}a {name}"), command, expected, *limit),
                test(&format!("{at}b after {name}"), check, "^alone", 5),
            ]
        })
        .collect();
    let kiln = suite(&text);
    let output = run(&kiln, &["6.1"]).arg("-j").arg("1").run();
    output.assert_code(100);
    assert_verdicts(
        &kiln,
        &output,
        &[
            "0a daemon pass",
            "0b after daemon pass",
            "1a deaf timeout",
            "1b after deaf pass",
            "2a flood timeout",
            "2b after flood pass",
            "3a herd pass",
            "3b after herd pass",
            "4a stopped timeout",
            "4b after stopped pass",
        ],
    );
    assert!(
        output.stdout.len() < 1 << 20,
        "the flood reached the terminal"
    );
    let log = fs::metadata(out(&kiln).join("events.jsonl")).unwrap().len();
    assert!(log < 4 << 20, "the flood reached the log: {log} bytes");
    let vms = events(&out(&kiln));
    let vms = vms
        .iter()
        .filter(|event| event["event"] == "vm_started")
        .count();
    assert_eq!(vms, 1, "one VM did it all");
    kiln.assert_nothing_left();
}

#[test]
fn hostile_output_is_escaped_in_every_report() {
    // Colours, a title, invalid UTF-8, a NUL, a direction mark, XML, and
    // commands to CI services.
    let kiln = suite(&test(
        "hostile",
        r"printf '\033[31mred\033]0;title\007 \377\376 \000 \342\200\256tfel ]]></x>&amp; ##[error]x\r\n::error::y\n'",
        "nothing",
        5,
    ));
    let output = run(&kiln, &["6.1"]).run();
    output.assert_code(100);
    for bytes in [&output.stdout, &output.stderr] {
        let text = std::str::from_utf8(bytes).unwrap();
        let raw = text
            .chars()
            .find(|c| c.is_control() && *c != '\n' || *c == '\u{202e}');
        assert_eq!(raw, None, "{text:?}");
        assert!(!text.contains("##[error]"), "{text}");
        assert!(!text.lines().any(|line| line.starts_with("::")), "{text}");
    }
    assert!(output.out().contains("\\x1b[31mred"), "{}", output.out());
    let report = junit(&out(&kiln));
    assert!(
        !report.contains('\u{1b}') && !report.contains('\0'),
        "{report:?}"
    );
    assert!(report.contains("\\x1b[31mred"), "{report}");
    events(&out(&kiln));
}

#[test]
fn an_ordinary_user_gets_the_same_verdicts() {
    let tests = [
        test("1 passes", "id -u", "^0", 5),
        test("2 fails", "echo goodbye", "hello", 5),
        test(
            "3 mounts",
            "mount -t tmpfs none /mnt && echo mounted",
            "^mounted",
            5,
        ),
    ]
    .concat();
    let mut all = Vec::new();
    for kiln in [Kiln::new(), Kiln::as_ordinary_user()] {
        kiln.file("tests/runtime/suite", &tests);
        run(&kiln, &["6.1"]).run().assert_code(100);
        all.push(verdicts(&out(&kiln)));
    }
    assert_eq!(all[0], all[1]);
}

#[test]
fn a_missing_variable_is_reported_before_the_run_starts() {
    let kiln = suite(&test("a", "echo a", "a", 5));
    for (variable, why) in [("NOT_HERE", "no such variable"), ("=x", "needs a name")] {
        let output = run(&kiln, &["6.1"]).args(["-e", variable]).run();
        output.assert_code(2).assert_err_contains(why);
        assert!(!out(&kiln).exists(), "no directory of a run");
    }
}

#[test]
fn a_filter_that_selects_nothing_exits_with_4_and_boots_nothing() {
    let kiln = suite(&test("a", "echo a", "a", 5));
    let output = run(&kiln, &["6.1"]).arg("-t").arg("bee").run();
    output
        .assert_code(4)
        .assert_err_contains("no test of 1 matches `bee`");
    assert!(!out(&kiln).exists(), "there was no run");
}

#[test]
fn all_errors_in_test_files_are_reported_before_anything_boots() {
    let kiln = suite("NAME a\nRUN echo\nEXPCT x\nTIMEOUT soon\n");
    let output = run(&kiln, &["6.1"]).run();
    output
        .assert_code(96)
        .assert_out("")
        .assert_err_contains("runtime/suite:3: `EXPCT` is not a directive")
        .assert_err_contains("runtime/suite:4: TIMEOUT takes a whole number");
    assert!(!out(&kiln).exists(), "there was no run");
}

#[test]
fn missing_prerequisites_are_reported_before_anything_boots() {
    let kiln = suite(&test("a", "echo a", "a", 5));
    let output = run(&kiln, &["6.1"])
        .env("KILN_QEMU", "/nonexistent/qemu")
        .run();
    output
        .assert_code(96)
        .assert_err_contains("/nonexistent/qemu")
        .assert_err_contains("apt-get install qemu-system-x86");
    assert!(!out(&kiln).exists(), "there was no run");
}

#[test]
fn without_run_dir_each_run_gets_its_own_directory_and_prints_it() {
    let kiln = suite(&test("a", "echo a", "a", 5));
    let mut dirs = Vec::new();
    for _ in 0..2 {
        let output = kiln
            .vm(["run", "-k", "6.1", "--tests", "tests", "--dialect", "0.17"])
            .run();
        output.assert_code(0);
        let text = output.out();
        let dir = text.lines().find_map(|line| line.strip_prefix("results: "));
        let dir = std::path::PathBuf::from(dir.unwrap());
        let runs = kiln.work().join("target/kiln/runs");
        assert!(dir.starts_with(runs), "{}", dir.display());
        assert_eq!(verdicts(&dir).len(), 1);
        junit(&dir);
        let page = fs::read_to_string(dir.join("summary.md")).unwrap();
        assert!(page.contains("kiln: all as expected"), "{page}");
        assert!(page.contains("/bpftrace</code>"), "{page}");
        for name in ["console.log", "qemu.sh"] {
            let log = dir.join("logs/6_1/vm-0").join(name);
            assert!(log.metadata().unwrap().len() > 0, "{}", log.display());
        }
        dirs.push(dir);
    }
    assert_ne!(dirs[0], dirs[1]);
}

/// `kiln run` with its stdout on a new terminal; returns what it showed.
fn on_a_terminal(kiln: &Kiln, variables: &[(&str, &str)]) -> String {
    use std::io::Read as _;
    let size = nix::pty::Winsize {
        ws_row: 24,
        ws_col: 60,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let pty = nix::pty::openpty(Some(&size), None).unwrap();
    let (mut command, _slot) = run(kiln, &["6.1"])
        .env("TERM", "xterm-256color")
        .into_command();
    command.envs(variables.iter().copied());
    command
        .stdin(std::process::Stdio::null())
        .stdout(pty.slave.try_clone().unwrap())
        .stderr(pty.slave);
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut bytes = Vec::new();
    // Ends with EIO once the other side is closed.
    let _ = fs::File::from(pty.master).read_to_end(&mut bytes);
    child.wait().unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let kiln = suite(&test("fails", "echo a", "b", 5));
    let shown = on_a_terminal(&kiln, &[]);
    assert!(shown.contains("\x1b[31m"), "{shown:?}");
    fs::remove_dir_all(out(&kiln)).unwrap();
    let plain = on_a_terminal(&kiln, &[("NO_COLOR", "1")]);
    assert!(
        !plain.contains("[31m") && plain.contains("FAIL"),
        "{plain:?}"
    );
    fs::remove_dir_all(out(&kiln)).unwrap();
    let output = run(&kiln, &["6.1"]).env("TERM", "xterm-256color").run();
    output.assert_code(100);
    assert!(!output.stdout.contains(&0x1b), "{:?}", output.out());
    assert!(!output.stderr.contains(&0x1b), "{:?}", output.err());
}
