//! Files of a share are distinguished, owned and seen as on the host.

use std::fs;
use std::time::Duration;

use crate::support::terminal::Terminal;
use crate::support::{KERNELS, Kiln, mount_namespace};

/// How long a line may take to come back from a guest.
const SOON: Duration = Duration::from_secs(60);
/// When a guest must have seen a change on the host, with some margin.
const SEEN: Duration = Duration::from_millis(1_500);

/// Mounts two file systems in `$PWD`, with files of the same inode numbers; then runs its
/// arguments.
const TWO_FILE_SYSTEMS: &str = r#"set -e
mkdir a b bound
mount -t tmpfs a a
mount -t tmpfs b b
mount --bind a bound
for dir in a b; do
    echo "of $dir" >$dir/file
    mkdir $dir/dir
    ln -s file $dir/link
    ln $dir/file $dir/hard
done
test "$(stat -c %i a/file a/dir a/link)" = "$(stat -c %i b/file b/dir b/link)" || exit 90
exec "$@""#;

/// Checks them, and prints what is wrong. An overlay numbers directories itself, and changes the
/// numbers once it has dropped them from its cache (kernel doc, filesystems/overlayfs): `$0` says
/// whether there is none.
const TOLD_APART: &str = r#"
same() { [ "$1" -ef "$2" ] || echo "one file as two: $1 $2"; }
other() { [ "$1" -ef "$2" ] && echo "two files as one: $1 $2"; true; }
other a/file b/file; other a/dir b/dir; other a b; other a/hard b/hard
same a/file a/hard; same a/file bound/file
[ "$0" = overlay ] || same a/dir bound/dir
cmp -s a/file b/file && echo "cmp finds no difference"
diff -r a b >/dev/null && echo "diff finds no difference"
cp a/file b/copied-to || echo "cp fails"
cp a/file b/file || echo "cp treats them as one"
cmp -s a/file b/file || echo "cp copied nothing"
for file in a/file b/link a/dir; do
    [ "$(ls -id $file | cut -d' ' -f1)" = "$(stat -c %i $file)" ] || echo "ls and stat differ: $file"
done
numbers() {
    stat -c '%n %i' */file */link */hard
    [ "$0" = overlay ] || stat -c '%n %i' . */ */dir
}
numbers >/tmp/before
echo 2 >/proc/sys/vm/drop_caches
numbers >/tmp/after
cmp /tmp/before /tmp/after || echo "numbers changed"
[ "$(stat -c %h a/file)" = 2 ] || echo "links are lost"
echo end"#;

#[test]
fn files_of_two_file_systems_are_never_confused() {
    if !mount_namespace::is_allowed() {
        return;
    }
    let kiln = Kiln::new();
    let namespace = mount_namespace::options();
    for (kernel, view) in KERNELS.into_iter().zip(["overlay", "rw", "overlay"]) {
        let work = kiln.path(kernel);
        fs::create_dir(&work).unwrap();
        let mut command = kiln.vm(["exec", "-k", kernel]).cwd(&work);
        if view == "rw" {
            command = command.arg("--rw").arg(&work);
        }
        let output = command
            .args(["--", "/bin/sh", "-c", TOLD_APART, view])
            .by(&["unshare", namespace, "sh", "-c", TWO_FILE_SYSTEMS, "sh"])
            .run();
        output.assert_code(0);
        output.assert_out("end\n");
    }
}

/// In the directory `$0`, shared writable: owners, attributes, and changes on the host while the
/// guest watches.
const WRITABLE: &str = r#"cd "$0" || exit 9
refused() { "$@" 2>/dev/null && echo "did: $*"; true; }
taken() { "$@" || echo "did not: $*"; }
echo mine >mine
refused chown 12345 mine; refused chgrp 12345 mine; refused chown -h 12345:12345 mine
refused chown 12345 .
taken chown 0:0 mine; taken chown $(stat -c %u:%g mine) mine
taken cp -p mine copy; taken touch -d 2001-01-01 mine; taken chmod 640 mine
taken perl -e '
    ($file, $name, $value, $read) = ("mine", "user.kiln", "warm", "\0" x 64);
    syscall(188, $file, $name, $value, length $value, 0) == 0 or die "setxattr: $!";
    $n = syscall(191, $file, $name, $read, 64);
    substr($read, 0, $n) eq "warm" or die "getxattr: $!";
    $n = syscall(194, $file, $read, 64);
    substr($read, 0, $n) =~ /user.kiln\0/ or die "listxattr: $!";
    $file = "theirs"; $n = syscall(191, $file, $name, $read, 64);
    substr($read, 0, $n) eq "cold" or die "getxattr of the host: $!";
    syscall(197, $file, $name) == 0 or die "removexattr: $!";
    $name = "security.capability";
    syscall(188, $file, $name, $value, 4, 0) == -1 or die "a capability was set"'
cat edited replaced; ls gone; cat new 2>/dev/null && echo "not new"
cat <edited >/dev/null; exec 5<edited
echo ready; read -r line
cat edited replaced new; ls gone 2>/dev/null && echo "not gone"
cat <&5; ls | tr '\n' ' '; echo end"#;

#[test]
fn a_writable_share_keeps_owners_and_attributes_and_shows_what_the_host_changes() {
    let kiln = Kiln::as_ordinary_user();
    // A file system of the host's disk: an old tmpfs has no attributes.
    let dir = tempfile::Builder::new()
        .prefix("kiln-rw-")
        .tempdir_in("/var/tmp")
        .unwrap();
    let path = |name: &str| dir.path().join(name);
    for name in ["edited", "replaced", "gone", "theirs"] {
        fs::write(path(name), "old\n").unwrap();
    }
    kiln.give(dir.path());
    let perl = |script: &str| {
        let mut command = kiln.host_command("perl");
        let output = command
            .args(["-e", script])
            .arg(dir.path())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let set = r#"($file, $name, $value) = ("$ARGV[0]/theirs", "user.kiln", "cold");
        print syscall(188, $file, $name, $value, 4, 0)"#;
    assert_eq!(perl(set), "0", "the host's disk has no attributes");
    let mut running = kiln
        .vm(["exec", "-k", "6.1", "--rw"])
        .arg(dir.path())
        .args(["--", "sh", "-c", WRITABLE])
        .arg(dir.path())
        .start();
    running.wait_for("ready");
    assert_eq!(running.out(), "old\nold\ngone\nready\n");
    fs::write(path("edited"), "edited by the host\n").unwrap();
    fs::write(path("next"), "replaced by the host\n").unwrap();
    fs::rename(path("next"), path("replaced")).unwrap();
    fs::write(path("new"), "new\n").unwrap();
    fs::remove_file(path("gone")).unwrap();
    std::thread::sleep(SEEN);
    running.write_stdin(b"go\n".to_vec());
    let output = running.wait();
    output.assert_code(0);
    output.assert_out(
        "old\nold\ngone\nready\nedited by the host\nreplaced by the host\nnew\n\
         edited by the host\ncopy edited mine new replaced theirs end\n",
    );
    let get = r#"($file, $name, $read) = ("$ARGV[0]/mine", "user.kiln", "\0" x 64);
        $n = syscall(191, $file, $name, $read, 64); print substr($read, 0, $n)"#;
    assert_eq!(perl(get), "warm");
}

#[test]
fn a_shell_finds_the_hosts_files_as_they_are_at_each_line() {
    let kiln = Kiln::new();
    let work = kiln.work();
    for name in ["edited", "replaced", "gone"] {
        kiln.file(name, "old\n");
    }
    let shell = ["shell", "-k", "6.1", "--shell", "/bin/sh"];
    let mut terminal = Terminal::start(kiln.vm(shell).env("TERM", "dumb"));
    terminal.wait_for("# ", Duration::from_secs(90));
    terminal.say("cat edited replaced gone new; ls; echo fi''rst\n");
    terminal.wait_for("first", SOON);
    fs::write(work.join("edited"), "ed-ited\n").unwrap();
    fs::write(work.join("next"), "re-placed\n").unwrap();
    fs::rename(work.join("next"), work.join("replaced")).unwrap();
    fs::write(work.join("new"), "n-ew\n").unwrap();
    fs::remove_file(work.join("gone")).unwrap();
    std::thread::sleep(SEEN);
    terminal.say("cat edited replaced new; cat gone; ls -m; echo se''cond\n");
    for text in [
        "ed-ited",
        "re-placed",
        "n-ew",
        "gone: No such file",
        "edited, new, replaced",
        "second",
    ] {
        terminal.wait_for(text, SOON);
    }
    // The host's own files keep their owner.
    terminal.say("echo guest >edited; rm new; exit 7\n");
    assert_eq!(terminal.wait_only(SOON), 7);
    assert_eq!(
        fs::read_to_string(work.join("edited")).unwrap(),
        "ed-ited\n"
    );
    assert!(work.join("new").exists());
}
