//! A run whose output nobody reads: a full pipe, a terminal after Ctrl-S. It still gets its
//! verdicts, and ends on a signal.

use std::fs;
use std::io::{PipeReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::suite::{count, events, finished, out, run, suite, verdicts};
use crate::support::terminal::Terminal;
use crate::support::web::dead_url;
use crate::support::{Invocation, Kiln, Slot, wait_for_child};

/// How long a boot and some short tests may take on a busy machine.
const RUN: Duration = Duration::from_secs(90);
/// How long things without a VM may take there.
const SOON: Duration = Duration::from_secs(60);
/// The longest limit of a test here.
const LIMIT: Duration = Duration::from_secs(4);

/// Three tests that pass and one that runs into its limit.
fn tests() -> Kiln {
    let test = |name: &str, command: &str, limit: u64| {
        format!("NAME {name}\nRUN {command}\nEXPECT hello\nTIMEOUT {limit}\n\n")
    };
    let long = LIMIT.as_secs();
    suite(
        &[
            test("1", "echo hello", long),
            test("2", "echo hello", long),
            test("3 hangs", "sleep 100", 1),
            test("4", "echo hello", long),
        ]
        .concat(),
    )
}

const VERDICTS: [(&str, &str); 4] = [
    ("suite.1", "pass"),
    ("suite.2", "pass"),
    ("suite.3 hangs", "timeout"),
    ("suite.4", "pass"),
];

#[track_caller]
fn assert_verdicts(kiln: &Kiln) {
    let found = verdicts(&out(kiln));
    let found: Vec<(&str, &str)> = found
        .iter()
        .map(|(_, id, verdict)| (id.as_str(), verdict.as_str()))
        .collect();
    assert_eq!(found, VERDICTS);
}

/// Waits until the log of the run has an event of this name.
#[track_caller]
fn wait_for_event(run_dir: &Path, name: &str, deadline: Duration) {
    let start = Instant::now();
    let wanted = format!("\"event\":\"{name}\"");
    let log = run_dir.join("events.jsonl");
    while !fs::read_to_string(&log).is_ok_and(|text| text.contains(&wanted)) {
        assert!(
            start.elapsed() < deadline,
            "waited {deadline:?} for {name}:\n{}",
            fs::read_to_string(&log).unwrap_or_default()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A kiln whose standard output is a pipe that is full from the start.
struct Unread {
    child: Child,
    reader: PipeReader,
    filled: usize,
    _slot: Option<Slot>,
}

impl Unread {
    fn start(invocation: Invocation<'_>) -> Self {
        let (mut command, slot) = invocation.into_command();
        let (reader, mut writer) = std::io::pipe().unwrap();
        fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let mut filled = 0;
        while let Ok(count) = writer.write(&[b'.'; 4096]) {
            filled += count;
        }
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            reader,
            filled,
            _slot: slot,
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    fn wait(&mut self) -> i32 {
        wait_for_child(&mut self.child, SOON).code().unwrap()
    }

    /// All that it writes, to its end.
    fn read(&mut self) -> String {
        let mut text = Vec::new();
        self.reader.read_to_end(&mut text).unwrap();
        String::from_utf8(text.split_off(self.filled)).unwrap()
    }
}

#[test]
fn a_full_pipe_changes_no_verdict_and_delays_no_event() {
    let kiln = tests();
    let mut unread = Unread::start(run(&kiln, &["6.1"]).arg("-j1"));
    wait_for_event(&out(&kiln), "run_finished", RUN);
    assert_verdicts(&kiln);
    let all = events(&out(&kiln));
    assert_eq!(all.last().unwrap()["exit_code"], 100);
    assert_eq!(count(&all, "vm_lost"), 0);
    // As long as the longest limit.
    std::thread::sleep(LIMIT);
    assert!(
        unread.child.try_wait().unwrap().is_none(),
        "nobody has read it yet"
    );
    assert!(out(&kiln).join("junit.xml").exists());
    let text = unread.read();
    for (id, verdict) in VERDICTS {
        let line = format!("{}  6.1  {id}  (", verdict.to_uppercase());
        assert!(text.contains(&line), "{line}:\n{text}");
    }
    assert!(text.contains("3 pass, 1 timeout"), "{text}");
    assert_eq!(unread.wait(), 100);
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}

#[test]
fn a_terminal_stopped_by_ctrl_s_changes_no_verdict_and_shows_all_after_ctrl_q() {
    let kiln = tests();
    let mut terminal = Terminal::start(run(&kiln, &["6.1"]).arg("-j1"));
    terminal.wait_for("4 tests on 1 kernel", SOON);
    terminal.say("\x13");
    wait_for_event(&out(&kiln), "run_finished", RUN);
    assert_verdicts(&kiln);
    std::thread::sleep(LIMIT);
    let shown = terminal.shown();
    assert!(
        !shown.contains("suite.4"),
        "the terminal stands still:\n{shown}"
    );
    terminal.say("\x11");
    for (id, verdict) in VERDICTS {
        let line = format!("{}  6.1  {id}  (", verdict.to_uppercase());
        terminal.wait_for(&line, SOON);
    }
    terminal.wait_for("results: ", SOON);
    assert_eq!(terminal.wait_only(SOON), 100);
    assert_eq!(terminal.settings(), terminal.settings_before());
    kiln.assert_nothing_left();
}

#[test]
fn a_stopped_kiln_counts_the_guest_s_messages_and_a_signal_ends_it_unread() {
    let seconds = LIMIT.as_secs();
    let kiln = suite(&format!(
        "NAME naps\nRUN sleep 2; echo hello\nEXPECT hello\nTIMEOUT {seconds}\n\n\
         NAME sleeps\nRUN sleep 100\nEXPECT x\nTIMEOUT 100\n"
    ));
    let mut unread = Unread::start(run(&kiln, &["6.1"]).arg("-j1"));
    wait_for_event(&out(&kiln), "test_started", RUN);
    // The command has started by then; the guest continues without us.
    std::thread::sleep(Duration::from_millis(500));
    unread.signal(Signal::SIGSTOP);
    std::thread::sleep(2 * LIMIT);
    unread.signal(Signal::SIGCONT);
    wait_for_event(&out(&kiln), "test_finished", RUN);
    unread.signal(Signal::SIGTERM);
    assert_eq!(unread.wait(), 143);
    let found = verdicts(&out(&kiln));
    let [(_, id, verdict)] = &found[..] else {
        panic!("not one verdict: {found:?}");
    };
    assert_eq!((id.as_str(), verdict.as_str()), ("suite.naps", "pass"));
    // And not `after the attach limit`, which had passed meanwhile.
    assert!(finished(&out(&kiln), id)["reason"].is_null());
    let all = events(&out(&kiln));
    assert_eq!(all.last().unwrap()["event"], "run_finished");
    assert!(out(&kiln).join("junit.xml").exists());
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}

#[test]
fn a_signal_ends_a_kiln_that_waits_for_a_reader_after_its_run() {
    let kiln = tests();
    // Nothing listens there: the run ends before anything boots.
    let catalogue = format!(
        "[kernels.gone]\nurl = \"{}\"\nsha256 = \"{}\"\n",
        dead_url("/gone.tar"),
        "0".repeat(64)
    );
    let file = kiln.file("kernels.toml", catalogue);
    let kiln = kiln.config(file);
    // Grouped, the failures would fit into the pipe.
    let mut unread = Unread::start(run(&kiln, &["gone"]).args(["--group", "off"]));
    wait_for_event(&out(&kiln), "run_finished", SOON);
    assert!(
        unread.child.try_wait().unwrap().is_none(),
        "it waits for a reader"
    );
    unread.signal(Signal::SIGINT);
    assert_eq!(unread.wait(), 130);
}
