//! The guest's wall clock, against the host's.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::support::{Kiln, Running, processes_naming};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How far the guest may be off, beyond the uncertainty of the measurement: its clock is moved once
/// it is 50 ms behind.
const TOLERANCE: f64 = 0.2;

#[test]
fn a_guest_has_the_hosts_time_and_make_finds_no_file_of_the_future() {
    let kiln = Kiln::new();
    let makefile = "out: in\n\tcp in out\n";
    kiln.file("shared/placeholder", "");
    // Answers each line with the time; a line may name a directory to create.
    let script = "echo ready; n=0; while read -r dir; do
            test -z \"$dir\" || make -C \"$dir\" 2>&1
            n=$((n + 1)); echo \"now $n $(date +%s.%N) end $n\"
        done";
    let args = ["exec", "-k", "6.1", "--rw", "shared", "--", "sh", "-c"];
    let mut guest = Guest {
        running: kiln.vm(args).arg(script).start(),
        asked: 0,
    };
    guest.running.wait_for("ready");
    for number in 0..3 {
        let name = format!("shared/{number}");
        kiln.file(&format!("{name}/Makefile"), makefile);
        kiln.file(&format!("{name}/in"), "input");
        guest.assert_on_time(&name);
        assert!(kiln.work().join(name).join("out").exists());
    }
    let text = guest.running.out();
    assert!(!text.contains("skew"), "{text}");
    assert!(!text.contains("in the future"), "{text}");

    // The VM is stopped for a while, as on a host that sleeps.
    let qemu = qemu_below(&kiln.path("tmp"));
    kill(qemu, Signal::SIGSTOP).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    kill(qemu, Signal::SIGCONT).unwrap();
    let start = Instant::now();
    while let Err(off) = guest.time("") {
        let waited = start.elapsed();
        assert!(
            waited < Duration::from_secs(60),
            "the clock stays off: {off}"
        );
        std::thread::sleep(Duration::from_millis(500));
    }
    guest.running.wait().assert_code(0);
}

struct Guest {
    running: Running,
    asked: u32,
}

impl Guest {
    fn assert_on_time(&mut self, line: &str) {
        if let Err(off) = self.time(line) {
            panic!("the guest's clock is off: {off}\n{}", self.running.out());
        }
    }

    /// Sends a line and checks the time in the answer against the host's before
    /// and after.
    fn time(&mut self, line: &str) -> Result<(), String> {
        self.asked += 1;
        let number = self.asked;
        let before = host_time();
        self.running.type_in(&format!("{line}\n"));
        self.running.wait_for(&format!("end {number}\n"));
        let after = host_time();
        let text = self.running.out();
        let prefix = format!("now {number} ");
        let answer = text.lines().find_map(|line| line.strip_prefix(&prefix));
        let told = answer.unwrap().split(' ').next().unwrap();
        let guest: f64 = told.parse().unwrap();
        if (before - TOLERANCE..=after + TOLERANCE).contains(&guest) {
            Ok(())
        } else {
            Err(format!("{guest} is not between {before} and {after}"))
        }
    }
}

fn host_time() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs_f64()
}

fn qemu_below(dir: &Path) -> Pid {
    let found = processes_naming(dir).into_iter().find(|(pid, _)| {
        fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|program| {
            program
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("qemu-system"))
        })
    });
    let (pid, _) = found.expect("QEMU runs");
    pid
}
