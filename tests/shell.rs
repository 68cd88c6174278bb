//! `kiln shell` on a real terminal.

use std::time::Duration;

use crate::support::terminal::Terminal;
use crate::support::{KERNELS, Kiln};
use nix::sys::signal::Signal;

/// How long a line may take to come back from a guest.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_dry_run_of_a_shell_prints_the_command_line_only() {
    let kiln = Kiln::new();
    let output = kiln.plain(["shell", "-k", "6.1", "--dry-run"]).run();
    output.assert_code(0);
    let words = shlex::split(&output.out()).expect("a line for a shell");
    assert!(words[0].ends_with("qemu-system-x86_64"), "{words:?}");
    kiln.assert_nothing_left();
}

#[test]
fn a_shell_has_a_prompt_job_control_and_a_status_on_each_kernel() {
    let kiln = Kiln::new();
    for kernel in KERNELS {
        let mut terminal = shell(&kiln, kernel);
        terminal.say("uname -r; tty; echo job=$-\n");
        terminal.wait_for(&format!("{kernel}."), SOON);
        terminal.wait_for("/dev/pts/", SOON);
        terminal.say("sleep 1000 &\n");
        terminal.wait_for("[1]", SOON);
        terminal.say("jobs; kill %1; fg; echo e''nd\n");
        terminal.wait_for("end", SOON);
        terminal.say("exit 23\n");
        let (code, all) = terminal.wait(SOON);
        assert_eq!(code, 23, "{all}");
        assert!(!all.contains("no job control"), "{all}");
        assert!(!all.contains("cannot set terminal"), "{all}");
        assert!(all.contains("Running"), "{all}");
        kiln.assert_nothing_left();
    }
}

#[test]
fn the_terminal_is_afterwards_as_it_was_before() {
    let kiln = Kiln::new();
    let mut terminal = shell(&kiln, "6.1");
    assert_ne!(terminal.settings(), terminal.settings_before(), "not raw");
    terminal.say("exit\n");
    assert_eq!(terminal.wait_only(SOON), 0);
    assert_eq!(terminal.settings(), terminal.settings_before());
}

#[test]
fn a_resize_reaches_the_guest() {
    let kiln = Kiln::new();
    let mut terminal = shell(&kiln, "6.1");
    terminal.say("stty size\n");
    terminal.wait_for("31 97", SOON);
    terminal.resize(44, 123);
    terminal.say("sleep 0.5; stty size\n");
    terminal.wait_for("44 123", SOON);
    terminal.say("exit\n");
    assert_eq!(terminal.wait_only(SOON), 0);
}

#[test]
fn ctrl_c_interrupts_the_program_and_not_the_shell() {
    let kiln = Kiln::new();
    let mut terminal = shell(&kiln, "6.1");
    // The program that prints this is in the foreground by then.
    terminal.say("sh -c 'echo be\"\"gin; exec sleep 1000'\n");
    terminal.wait_for("begin", SOON);
    terminal.say("\x03");
    terminal.say("echo status=$?\n");
    terminal.wait_for("status=130", SOON);
    terminal.say("sh -c 'echo ag\"\"ain; exec sleep 1000'\n");
    terminal.wait_for("again", SOON);
    // Ctrl-Z stops it, and the shell continues.
    terminal.say("\x1a");
    terminal.wait_for("Stopped", SOON);
    terminal.say("kill -9 %1; exit 5\n");
    terminal.say("exit 5\n");
    assert_eq!(terminal.wait_only(SOON), 5);
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}

#[test]
fn ctrl_d_ends_the_shell() {
    let kiln = Kiln::new();
    let mut terminal = shell(&kiln, "6.1");
    terminal.say("\x04");
    assert_eq!(terminal.wait_only(SOON), 0);
}

#[test]
fn the_escape_three_times_ends_a_shell_that_reads_nothing() {
    let kiln = Kiln::new();
    let mut terminal = shell(&kiln, "6.1");
    terminal.say("trap '' INT QUIT TSTP; stty raw -isig -echo; echo d''eaf; sleep 1000\n");
    terminal.wait_for("deaf", SOON);
    // More than the buffers of the guest's terminal and everything before it.
    for _ in 0..64 {
        terminal.say(&"x".repeat(4000));
    }
    terminal.say("\x1d\x1d\x1d");
    assert_eq!(terminal.wait_only(SOON), 130);
    assert_eq!(terminal.settings(), terminal.settings_before());
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}

#[test]
fn a_lost_guest_leaves_a_sane_terminal() {
    let kiln = Kiln::new();
    let mut terminal = shell(&kiln, "6.1");
    terminal.say("echo c >/proc/sysrq-trigger\n");
    let (code, all) = terminal.wait(SOON);
    assert_eq!(code, 125, "{all}");
    assert!(all.contains("Kernel panic"), "{all}");
    assert_eq!(terminal.settings(), terminal.settings_before());
}

#[test]
fn sigterm_ends_a_shell_and_leaves_a_sane_terminal() {
    let kiln = Kiln::new();
    let mut terminal = shell(&kiln, "6.1");
    // An interactive shell ignores SIGTERM.
    terminal.signal(Signal::SIGTERM);
    assert_eq!(terminal.wait_only(SOON), 143);
    assert_eq!(terminal.settings(), terminal.settings_before());
    kiln.assert_nothing_left();
}

#[test]
fn a_hangup_of_the_terminal_ends_everything() {
    let kiln = Kiln::new();
    let terminal = shell(&kiln, "6.1");
    terminal.hang_up(SOON);
    kiln.assert_nothing_left();
}

#[test]
fn without_a_terminal_a_shell_reads_its_commands_from_a_pipe() {
    let kiln = Kiln::new();
    for kernel in KERNELS {
        let output = kiln
            .vm(["shell", "-k", kernel])
            .stdin("uname -r\necho again >&2\nexit 3\necho never\n")
            .run();
        output.assert_code(3);
        assert!(output.out().starts_with(kernel), "{}", output.out());
        assert!(!output.out().contains("never"));
        assert_eq!(output.err(), "again\n");
    }
}

#[test]
fn a_shell_runs_in_one_kernel_only() {
    let kiln = Kiln::new();
    let output = kiln.plain(["shell", "-k", "@quick"]).run();
    output.assert_code(2).assert_err_contains("@quick");
}

#[test]
fn another_shell_can_be_named() {
    let kiln = Kiln::new();
    let output = kiln
        .vm(["shell", "-k", "6.1", "--shell", "/bin/dash"])
        .stdin("readlink /proc/$$/exe\n")
        .run();
    output.assert_code(0);
    assert!(output.out().ends_with("/dash\n"), "{}", output.out());
}

/// A shell with its prompt.
fn shell(kiln: &Kiln, kernel: &str) -> Terminal {
    let mut terminal = Terminal::start(kiln.vm(["shell", "-k", kernel]).env("TERM", "dumb"));
    terminal.wait_for("# ", Duration::from_secs(90));
    terminal
}
