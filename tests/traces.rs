//! `--trace`: ftrace's record of a command or a test, opened with Debian's trace-cmd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::suite::{finished, out, run, suite};
use crate::support::{Kiln, Output};
use crate::tiny_kernel::kernel as tiny_kernel;

/// What trace-cmd says of a trace.
fn report(trace: &Path) -> String {
    let output = Command::new("trace-cmd")
        .args(["report", "-i"])
        .arg(trace)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    // It warns of what it cannot read.
    assert_eq!(errors.trim(), "", "{text}");
    text
}

/// Whether a line names this event and has this.
fn has(text: &str, event: &str, what: &str) -> bool {
    let mut lines = text.lines().filter(|line| line.contains(event));
    lines.any(|line| line.contains(what))
}

/// Where kiln says that the trace is, without `.dat`.
fn told(output: &Output) -> PathBuf {
    let err = output.err();
    let line = err.lines().find(|line| line.contains("trace of "));
    let line = line.unwrap_or_else(|| panic!("no trace: {err}"));
    let (_, path) = line.split_once(": /").unwrap();
    let (path, rest) = path.split_once(".dat").unwrap();
    assert_eq!(rest, " and .txt");
    PathBuf::from(format!("/{path}"))
}

#[test]
fn a_command_and_the_boot_before_it_are_traced() {
    let kiln = Kiln::new();
    let script = "cat /sys/kernel/tracing/set_event; /bin/true; exit 3";
    let output = kiln
        .vm(["exec", "-k", "6.1", "--cpus", "2", "--trace-boot"])
        .args(["--trace", "sched_process_exec,timer:timer_start,irq:*"])
        .args(["--", "sh", "-c", script])
        .run();
    // Its own tracing has no events.
    output.assert_code(3).assert_out("");
    let trace = told(&output);
    let text = report(&trace.with_extension("dat"));
    assert!(text.starts_with("cpus=2\n"), "{text}");
    assert!(
        has(&text, "sched_process_exec:", "filename=/bin/true"),
        "{text}"
    );
    // The address of a function has its name.
    assert!(
        has(&text, "timer_start:", "function=process_timeout"),
        "{text}"
    );
    assert!(has(&text, "softirq_entry:", "action=TIMER"), "{text}");
    assert!(
        !has(&text, "sched_process_exec:", "filename=/init"),
        "{text}"
    );
    // What Perfetto reads.
    let plain = fs::read_to_string(trace.with_extension("txt")).unwrap();
    assert!(plain.starts_with("# tracer: nop\n"), "{plain}");
    assert!(
        has(&plain, " sched_process_exec: ", "filename=/bin/true"),
        "{plain}"
    );
    let count = |text: &str, event: &str| text.matches(event).count();
    assert_eq!(
        count(&plain, " timer_start: "),
        count(&text, " timer_start: "),
    );
    let boot = trace.with_file_name("boot");
    let text = report(&boot.with_extension("dat"));
    assert!(
        has(&text, "sched_process_exec:", "filename=/init"),
        "{text}"
    );
    assert!(
        !has(&text, "sched_process_exec:", "filename=/bin/true"),
        "{text}"
    );
    kiln.assert_nothing_left();
}

const TESTS: &str = "NAME traces itself
RUN cd /sys/kernel/tracing && echo sched:sched_process_exec >set_event && echo >trace && /bin/true; grep -c exec:.*/bin/true trace; ls instances
EXPECT 1
EXPECT kiln
TIMEOUT 10

NAME fails
RUN /bin/false; echo wrong
EXPECT right
TIMEOUT 10
";

#[test]
fn each_test_has_its_own_trace_and_does_not_see_it() {
    let kiln = suite(TESTS);
    let output = run(&kiln, &["6.1"])
        .args(["-j", "1", "--trace", "sched:sched_process_exec"])
        .run();
    output.assert_code(100);
    let out = out(&kiln);
    let itself = finished(&out, "suite.traces itself");
    assert_eq!(itself["verdict"], "pass", "{itself}");
    let traces = out.join("logs/6_1/vm-0/traces");
    let first = report(&traces.join("suite.traces_itself-1.dat"));
    assert!(
        has(&first, "sched_process_exec:", "filename=/bin/true"),
        "{first}"
    );
    assert!(
        !has(&first, "sched_process_exec:", "filename=/bin/false"),
        "{first}"
    );
    let second = report(&traces.join("suite.fails-1.dat"));
    assert!(
        has(&second, "sched_process_exec:", "filename=/bin/false"),
        "{second}"
    );
    assert!(
        !has(&second, "sched_process_exec:", "filename=/bin/true"),
        "{second}"
    );
    // The failure says where it is.
    let fails = finished(&out, "suite.fails");
    let details = fails["details"].as_str().unwrap();
    let path = traces.join("suite.fails-1.dat");
    assert!(details.contains(path.to_str().unwrap()), "{details}");
    assert!(
        output.out().contains("suite.fails-1.dat"),
        "{}",
        output.out()
    );
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}

#[test]
fn what_cannot_be_traced_is_refused_with_what_can() {
    let kiln = suite("NAME a\nRUN true\nEXPECT x\nTIMEOUT 1\n");
    let exec = |args: &[&str]| {
        let command = kiln.vm(["exec"]).args(args);
        command.args(["--", "echo", "ran"]).run()
    };
    let unknown = exec(&["-k", "6.1", "--trace", "sched_switch,sched_wakup"]);
    unknown
        .assert_code(125)
        .assert_out("")
        .assert_err_contains("error: kernel 6.1 has no event sched_wakup\n")
        .assert_err_contains("it has events like sched_wakeup");
    let unknown = run(&kiln, &["6.1"])
        .args(["--trace", "sched:sched_swich"])
        .run();
    unknown.assert_code(96);
    let said = unknown.out() + &unknown.err();
    assert!(
        said.contains("kernel 6.1 has no event sched:sched_swich"),
        "{said}"
    );
    assert!(
        said.contains("it has events like sched:sched_switch"),
        "{said}"
    );
    // These boot nothing.
    let tiny = tiny_kernel(&kiln);
    let without = exec(&["-k", tiny.to_str().unwrap(), "--trace", "sched_switch"]);
    without
        .assert_code(125)
        .assert_err_contains("cannot trace events: its configuration has no CONFIG_EVENT_TRACING");
    exec(&["-k", "6.1", "--trace", "a b"])
        .assert_code(2)
        .assert_err_contains("a b: an event is named like sched:sched_switch");
    exec(&["-k", "6.1", "--trace", "sched_switch", "--reuse"])
        .assert_code(2)
        .assert_err_contains("--trace is for a VM of one command");
    exec(&["-k", "6.1", "--trace-boot"])
        .assert_code(2)
        .assert_err_contains("--trace");
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}
