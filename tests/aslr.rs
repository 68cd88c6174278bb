//! Running without ASLR to save time: the command does, what it traces does not.

use crate::support::suite::{assert_verdicts, events, finished, out, run, suite};

/// proc_pid_personality(5), with `ADDR_NO_RANDOMIZE` of personality(2).
const WITHOUT: &str = "00040000";
const WITH: &str = "00000000";

/// The personality of a command, a REQUIRES and a BEFORE.
fn tests(command: &str) -> String {
    format!(
        "NAME command\nRUN cat /proc/self/personality\nEXPECT {command}\nTIMEOUT 20\n\n\
         NAME requires\nRUN echo hello\nEXPECT hello\nTIMEOUT 20\n\
         REQUIRES grep {command} /proc/self/personality\n\n\
         NAME before\nRUN cat /proc/$(pidof sleep)/personality\nEXPECT {WITH}\nTIMEOUT 20\n\
         BEFORE sleep 99\n"
    )
}

const PASS: [&str; 3] = ["before pass", "command pass", "requires pass"];

#[test]
fn commands_have_aslr_as_requested_and_a_before_always_has_it() {
    for (aslr, command) in [("off", WITHOUT), ("on", WITH)] {
        let kiln = suite(&tests(command));
        let output = run(&kiln, &["6.1"]).args(["--aslr", aslr]).run();
        output.assert_code(0);
        assert_verdicts(&kiln, &output, &PASS);
        assert_eq!(output.out().contains(", no ASLR)"), aslr == "off");
    }
}

#[test]
fn commands_run_without_aslr_where_it_costs_time() {
    let kiln = suite(&tests(WITHOUT));
    run(&kiln, &["6.1"]).run();
    let all = events(&out(&kiln));
    let mut started = all.iter().filter(|event| event["event"] == "vm_started");
    let vm = started.next().unwrap();
    let (major, _) = vm["qemu"].as_str().unwrap().split_once('.').unwrap();
    let without = vm["accelerator"] == "tcg" && major.parse::<u32>().unwrap() < 10;
    assert_eq!(vm["addr_no_randomize"] == true, without, "{vm}");
    let command = finished(&out(&kiln), "suite.command");
    assert_eq!(command["verdict"] == "pass", without, "{command}");
}
