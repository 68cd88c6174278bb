//! What `kiln run` says about a slow test, by itself and on request.

use std::time::Duration;

use crate::support::Kiln;
use crate::support::suite::{ATTACH, events, out, run_scaled, suite};
use crate::support::terminal::Terminal;
use nix::sys::signal::Signal;
use nix::sys::termios::LocalFlags;

const BOOT: Duration = Duration::from_secs(90);
const SOON: Duration = Duration::from_secs(20);

/// One quick test, and one that never ends.
fn slow() -> Kiln {
    suite(&format!(
        "NAME 1 quick\nRUN echo hello\nEXPECT hello\nTIMEOUT 20\n\n\
         NAME 2 slow\nRUN {ATTACH}; sleep 1000\nEXPECT hello\nTIMEOUT 100\n\n",
    ))
}

#[test]
fn a_slow_test_is_reported_once_and_sigusr1_shows_what_each_vm_does() {
    let kiln = slow();
    let mut running = run_scaled(&kiln, &["6.1"], "30")
        .args(["-j1", "--slow-timeout", "3s"])
        .start();
    running.wait_for("SLOW  6.1  suite.2 slow  (> 3.");
    running.signal(Signal::SIGUSR1);
    running.wait_for_err("VM 0  6.1  runs suite.2 slow, slow  (for ");
    running.signal(Signal::SIGINT);
    let output = running.wait();
    output.assert_code(130);
    assert_eq!(output.out().matches("SLOW").count(), 1, "{}", output.out());
    let all = events(&out(&kiln));
    let slow: Vec<_> = all
        .iter()
        .filter(|event| event["event"] == "test_slow")
        .collect();
    let [slow] = slow[..] else {
        panic!("one test was slow: {slow:#?}");
    };
    assert_eq!(
        (&slow["id"], &slow["vm"]),
        (&"suite.2 slow".into(), &0.into())
    );
    assert!(slow["elapsed_ms"].as_u64().unwrap() >= 3000, "{slow}");
    kiln.assert_nothing_left();
}

#[test]
fn the_key_t_shows_what_each_vm_does_and_the_terminal_is_restored() {
    let kiln = slow();
    let mut terminal = Terminal::start(run_scaled(&kiln, &["6.1"], "30").arg("-j1"));
    terminal.wait_for("2 tests on 1 kernel", BOOT);
    terminal.say("t");
    // Whatever it is doing by then: nothing, or booting.
    terminal.wait_for("VM", SOON);
    let keys = terminal.settings().local_flags;
    assert!(!keys.intersects(LocalFlags::ICANON | LocalFlags::ECHO));
    assert!(keys.contains(LocalFlags::ISIG), "Ctrl-C stays a signal");
    terminal.wait_for("PASS", BOOT);
    // Not a key without a meaning.
    terminal.say("xt");
    terminal.wait_for("VM 0  6.1  runs suite.2 slow  (for ", SOON);
    // Ctrl-C, as a terminal sends it.
    terminal.say("\x03");
    assert_eq!(terminal.wait_only(SOON), 130);
    assert_eq!(terminal.settings(), terminal.settings_before());
    kiln.assert_nothing_left();
}
