//! `--snapshot`: what a restored guest has in common with one that booted, and what it must not
//! have. Where the QEMU of the tests cannot save a guest, each test checks that kiln says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::suite::{events, out, verdicts};
use crate::support::{Invocation, Kiln, Output, checkout};

/// `kiln exec --snapshot`, which says on stderr how it got its guest.
fn exec<'a>(kiln: &'a Kiln, kernel: &str, options: &[&str], script: &str) -> Invocation<'a> {
    kiln.vm(["exec", "-v", "--snapshot", "-k", kernel])
        .args(options)
        .args(["--", "sh", "-c", script])
}

/// How a guest came up.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    Booted,
    Saved,
    Restored,
}

fn way(output: &Output) -> Way {
    let err = output.err();
    let said = |words: &str| err.contains(words);
    match (
        said(" was restored in "),
        said(" came up in "),
        said(" is saved, "),
    ) {
        (true, false, false) => Way::Restored,
        (false, true, true) => Way::Saved,
        (false, true, false) => Way::Booted,
        other => panic!("{other:?}: {err}"),
    }
}

/// A kiln with a cache of its own, if the QEMU of the tests can save a guest; checks the refusal
/// otherwise.
fn able() -> Option<Kiln> {
    static ABLE: OnceLock<bool> = OnceLock::new();
    let qemu = std::env::var_os("KILN_QEMU").unwrap_or_else(|| "qemu-system-x86_64".into());
    let is_able = *ABLE.get_or_init(|| {
        let output = Command::new(&qemu).arg("--version").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let version = text.split_whitespace().nth(3).unwrap();
        let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap());
        (numbers.next().unwrap(), numbers.next().unwrap()) >= (8, 2)
    });
    let kiln = Kiln::with_linked_cache();
    if is_able {
        return Some(kiln);
    }
    let output = exec(&kiln, "6.1", &[], "true").run();
    output.assert_code(125);
    output.assert_err_contains("--snapshot needs QEMU 8.2 or later, and ");
    output.assert_err_contains("hint: leave --snapshot out");
    assert_eq!(states(&kiln), Vec::<PathBuf>::new());
    None
}

/// The directories of the saved states.
fn states(kiln: &Kiln) -> Vec<PathBuf> {
    let entries = fs::read_dir(kiln.cache().join("snapshots"));
    let paths = entries
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_dir()).collect()
}

#[test]
fn a_restored_guest_gives_the_answers_of_one_that_booted() {
    let Some(kiln) = able() else { return };
    kiln.file("answer", "42\n");
    let script = "uname -a; hostname; id; nproc; ls / /dev /sys/class/net; cat answer; ulimit -n; \
                  cut -d ' ' -f 1-3 /proc/mounts; cut -d ' ' -f 1 /proc/modules; \
                  cat /proc/sys/kernel/modprobe /proc/sys/kernel/tainted; \
                  cat /sys/devices/system/clocksource/clocksource0/current_clocksource; \
                  echo said >&2; exit 7";
    for kernel in ["6.1", "6.12"] {
        let plain = kiln.sh(kernel, script).run();
        plain.assert_code(7);
        for expected in [Way::Saved, Way::Restored, Way::Restored] {
            let output = exec(&kiln, kernel, &[], script).run();
            output.assert_code(7).assert_out(&plain.out());
            output.assert_err_contains("said\n");
            assert_eq!(way(&output), expected);
        }
    }
    assert_eq!(states(&kiln).len(), 2);
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}

#[test]
fn a_restored_guest_sees_the_host_as_it_is_now_and_draws_its_own_random_numbers() {
    let Some(kiln) = able() else { return };
    let script = "date +%s; cat file; cat only-now 2>/dev/null; \
                  head -c 16 /dev/urandom | od -An -tx1; cd /proc/sys/kernel/random; cat uuid; cat boot_id";
    kiln.file("file", "a file that will be cut short\n");
    kiln.file("only-then", "");
    exec(&kiln, "6.1", &[], script).run().assert_code(0);
    let file = kiln.file("file", "new\n");
    fs::remove_file(file.with_file_name("only-then")).unwrap();
    kiln.file("only-now", "more\n");
    let mut random = Vec::new();
    for _ in 0..2 {
        let before = now();
        let output = exec(&kiln, "6.1", &[], script).run();
        assert_eq!(way(&output), Way::Restored);
        let text = output.out();
        let lines: Vec<&str> = text.lines().collect();
        let date: u64 = lines[0].parse().unwrap();
        assert!((before..=now() + 1).contains(&date), "{before} {text}");
        assert_eq!(lines[1..3], ["new", "more"]);
        assert_eq!(lines.len(), 6, "{text}");
        random.push(
            lines[3..]
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
        );
    }
    for (one, other) in random[0].iter().zip(&random[1]) {
        assert_ne!(one, other);
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

/// A file of a state, and what happens to it.
type Damage = (&'static str, fn(&Path));

#[test]
fn a_state_that_is_damaged_is_replaced() {
    let Some(kiln) = able() else { return };
    assert_eq!(way(&exec(&kiln, "6.1", &[], "true").run()), Way::Saved);
    let [state] = &states(&kiln)[..] else {
        panic!("one state")
    };
    let damage: [Damage; 4] = [
        ("memory", |path| {
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_len(path.metadata().unwrap().len() / 2).unwrap();
        }),
        ("memory", flip),
        ("devices", flip),
        ("record.json", |path| fs::write(path, "{").unwrap()),
    ];
    for (name, damage) in damage {
        damage(&state.join(name));
        let output = exec(&kiln, "6.1", &[], "echo ran").run();
        output.assert_code(0).assert_out("ran\n");
        assert_eq!(way(&output), Way::Saved, "{name}");
        if name != "record.json" {
            output
                .assert_err_contains("6.1 was not restored, and boots: the saved state is damaged");
        }
    }
    assert_eq!(way(&exec(&kiln, "6.1", &[], "true").run()), Way::Restored);
    kiln.assert_nothing_left();
}

/// Changes a byte in the middle.
fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    fs::write(path, bytes).unwrap();
}

#[test]
fn another_vm_does_not_take_the_state_and_two_at_once_do() {
    let Some(kiln) = able() else { return };
    let with = |options: &[&str]| way(&exec(&kiln, "6.1", options, "true").run());
    assert_eq!(with(&[]), Way::Saved);
    let others: [&[&str]; 5] = [
        &["--memory", "1G"],
        &["--cpus", "2"],
        &["--cpu", "max"],
        &["--append", "quiet"],
        &["--machine", "q35"],
    ];
    for other in others {
        assert_eq!(with(other), Way::Saved, "{other:?}");
    }
    for other in [others[1], others[4]] {
        assert_eq!(with(other), Way::Restored, "{other:?}");
    }
    let script = "echo up; cat; exec cat /proc/sys/kernel/random/uuid";
    // Within the turn of one VM.
    let mut one = exec(&kiln, "6.1", &[], script).start();
    let words = [
        "exec",
        "-v",
        "--snapshot",
        "-k",
        "6.1",
        "--",
        "sh",
        "-c",
        script,
    ];
    let mut other = kiln.plain(words).start();
    one.wait_for("up\n");
    other.wait_for("up\n");
    let outputs = [one, other].map(|mut running| {
        running.write_stdin(Vec::new());
        running.wait()
    });
    for output in &outputs {
        output.assert_code(0);
        assert_eq!(way(output), Way::Restored);
    }
    assert_ne!(outputs[0].out(), outputs[1].out());
    kiln.assert_nothing_left();
}

#[test]
fn what_happens_to_a_restored_guest_is_noticed() {
    let Some(kiln) = able() else { return };
    exec(&kiln, "6.1", &[], "true").run().assert_code(0);
    let panics = "echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger; sleep 60";
    let output = exec(&kiln, "6.1", &[], panics).run();
    output.assert_code(125);
    assert_eq!(way(&output), Way::Restored);
    output.assert_err_contains("the kernel panicked: ");
    output.assert_err_contains("sysrq");
    // No signs of life come while all that runs is a program in real time.
    let hangs = "exec chrt -f 99 sh -c 'echo -1 > /proc/sys/kernel/sched_rt_runtime_us; \
                 while :; do :; done'";
    let output = exec(&kiln, "6.1", &["--hang-timeout", "8s"], hangs).run();
    output.assert_code(125);
    output.assert_err_contains("the guest hangs: no sign of life for ");
    assert_eq!(way(&output), Way::Restored);
    let timed = exec(&kiln, "6.1", &["--timeout", "3s"], "sleep 100").run();
    timed.assert_code(124);
    assert_eq!(way(&timed), Way::Restored);
    kiln.assert_nothing_left();
}

#[test]
fn tests_run_in_restored_guests() {
    let Some(kiln) = able() else { return };
    let text = fs::read_to_string(checkout().join("kernels.toml")).unwrap();
    let kernels = text.split("\n[suites.").next().unwrap();
    let suite = "[suites.each]\nrunner = \"command\"\ncommand = [\"/bin/sh\", \"{file}\"]\n\
                 each = \"*.sh\"\n";
    let config = kiln.file("kernels.toml", format!("{kernels}\n{suite}"));
    fs::copy(
        checkout().join("kernels.lock"),
        config.with_file_name("kernels.lock"),
    )
    .unwrap();
    let kiln = kiln.config(config);
    for (name, script) in [
        ("a", "test -e a.sh"),
        ("b", "dmesg | grep -q Linux"),
        ("c", "exit 3"),
    ] {
        kiln.file(&format!("{name}.sh"), script);
    }
    let words = ["run", "--fresh-vm", "--snapshot", "-k", "6.1", "each"];
    let output = kiln.vm(words).arg("--run-dir").arg(out(&kiln)).run();
    output.assert_code(100);
    let events = events(&out(&kiln));
    let started = events.iter().filter(|event| event["event"] == "vm_started");
    let restored = |event: &serde_json::Value| event["restored"].as_bool().unwrap_or_default();
    let restored: Vec<bool> = started.map(restored).collect();
    assert!(restored.len() >= 3, "{restored:?}");
    assert!(restored[1..].contains(&true), "{restored:?}");
    let verdicts: Vec<String> = verdicts(&out(&kiln))
        .into_iter()
        .map(|(_, _, verdict)| verdict)
        .collect();
    assert_eq!(verdicts, ["pass", "pass", "fail"]);
    kiln.assert_nothing_left();
}

#[test]
fn options_of_vms_that_boot_do_not_go_with_it() {
    let kiln = Kiln::new();
    for options in [
        &["--gdb"][..],
        &["--network"],
        &["--disk", "64M"],
        &["--qemu-arg=-s"],
    ] {
        let words = ["exec", "--snapshot", "-k", "6.1"];
        let output = kiln.plain(words).args(options).args(["--", "true"]).run();
        output.assert_code(2);
        output.assert_err_contains("is for a VM that boots, and --snapshot restores one");
    }
}
