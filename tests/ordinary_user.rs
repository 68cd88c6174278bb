//! `kiln` as a user who is not root.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use crate::support::{KERNELS, Kiln};

#[test]
fn an_ordinary_user_gets_the_same_output_as_whoever_runs_the_tests() {
    let ordinary = Kiln::as_ordinary_user();
    let usual = Kiln::new();
    // Leaves out what always differs, such as times.
    let script = "id; uname -srm; cat; pwd -P >/dev/null; ls /sys/fs/cgroup/cgroup.procs
        modprobe xfs && grep -c '^xfs ' /proc/modules
        mount -t tmpfs none /mnt && echo mounted; hostname; echo fails >&2; exit 9";
    for kernel in KERNELS {
        let as_ordinary = ordinary.sh(kernel, script).stdin("in\n").run();
        let as_usual = usual.sh(kernel, script).stdin("in\n").run();
        as_ordinary.assert_code(9);
        as_usual.assert_code(9);
        as_ordinary.assert_out(&as_usual.out());
        assert_eq!(as_ordinary.err(), as_usual.err());
        assert!(as_usual.out().contains("mounted"), "{}", as_usual.out());
    }
    ordinary.assert_nothing_left();
    ordinary.assert_no_temporary_files();
}

#[test]
fn no_process_of_an_ordinary_users_kiln_is_roots() {
    let kiln = Kiln::as_ordinary_user();
    let mut running = kiln.sh("6.1", "echo ready; exec sleep 1000").start();
    running.wait_for("ready");
    let processes = crate::support::processes_naming(&kiln.path("tmp"));
    assert!(processes.len() >= 3, "QEMU and its shares: {processes:?}");
    for (pid, arguments) in processes {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let uids = status.lines().find(|line| line.starts_with("Uid:"));
        assert!(
            uids.is_some_and(|line| line.split_whitespace().skip(1).all(|uid| uid != "0")),
            "{arguments}: {uids:?}"
        );
    }
}

#[test]
fn a_guests_root_reads_only_what_the_user_may_read() {
    let kiln = Kiln::as_ordinary_user();
    // Belongs to root if the tests do not run as root.
    let secret = std::path::Path::new("/etc/shadow");
    let meta = fs::metadata(secret).unwrap();
    assert_eq!((meta.uid(), meta.permissions().mode() & 0o004), (0, 0));
    // The guest's replacement has the same mode, and no password.
    let script = "id -u; stat -c '%a %u' /etc/shadow; wc -c </etc/passwd
        grep -c '^root:[*]:' /etc/shadow; cut -d: -f2 /etc/shadow | sort -u
        mount -t virtiofs root /mnt && cat /mnt/etc/shadow; echo $?";
    let output = kiln.sh("6.1", script).run();
    output.assert_code(0);
    let size = fs::metadata("/etc/passwd").unwrap().len();
    let mode = meta.permissions().mode() & 0o7777;
    output.assert_out(&format!("0\n{mode:o} 0\n{size}\n1\n*\n1\n"));
    output.assert_err_contains("Permission denied");
}

#[test]
fn an_ordinary_users_guest_has_a_home_and_can_do_what_root_does() {
    let kiln = Kiln::as_ordinary_user();
    let script = "set -e
        cd; pwd; touch file; mkdir -p .cache/deep; stat -c '%a %u:%g' .
        git config --global user.name somebody; git config user.name
        useradd -m tester; id -un tester; su tester -c 'cd && pwd && touch mine'
        touch /etc/file /var/tmp/file /var/log/file /var/lib/file /var/cache/file
        touch /var/lib/dpkg/lock; : >>/var/log/btmp
        tar -C / -cf /dev/null etc
        find / -xdev -maxdepth 1 -type d -exec ls {} + >/dev/null; echo all";
    let output = kiln.sh("6.1", script).run();
    output.assert_code(0);
    // As on this machine, also where that is not Debian's 700.
    let mode = fs::metadata("/root").unwrap().permissions().mode() & 0o7777;
    output.assert_out(&format!(
        "/root\n{mode:o} 0:0\nsomebody\ntester\n/home/tester\nall\n"
    ));
}

#[test]
fn a_directory_shared_writable_gets_the_users_own_files() {
    let kiln = Kiln::as_ordinary_user();
    let results = kiln.file("results/old", "old").parent().unwrap().to_owned();
    let owner = fs::metadata(&results).unwrap().uid();
    let output = kiln
        .vm(["exec", "-k", "6.1", "--rw"])
        .arg(&results)
        .args(["--", "sh", "-c", "echo new >results/new; rm results/old"])
        .run();
    output.assert_code(0);
    assert!(!results.join("old").exists());
    let new = results.join("new");
    assert_eq!(fs::read_to_string(&new).unwrap(), "new\n");
    assert_eq!(fs::metadata(&new).unwrap().uid(), owner);
}
