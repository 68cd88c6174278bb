//! What the guest sees as `/`: the host, a directory, a Nix store.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use crate::support::{KERNELS, Kiln};

/// From Debian's package busybox-static.
const BUSYBOX: &str = "/bin/busybox";

#[test]
fn a_directory_is_the_root_on_each_kernel() {
    let kiln = Kiln::new();
    let root = busybox_root(&kiln);
    let script = "id -u; cat /marker; stat -c '%a %u:%g' / /tmp /lib /root; uname -r; pwd
        touch /written /bin/written && echo wrote";
    // Like in the tree; the guest's own files belong to root.
    fs::set_permissions(&root, fs::Permissions::from_mode(0o2770)).unwrap();
    fs::set_permissions(root.join("lib"), fs::Permissions::from_mode(0o711)).unwrap();
    let owner = someone(&root);
    someone(&root.join("lib"));
    for kernel in KERNELS {
        let output = kiln
            .vm(["exec", "-k", kernel, "--root"])
            .arg(format!("dir:{}", root.display()))
            .args(["--", "sh", "-c", script])
            // The guest has its own `/`.
            .cwd("/")
            .run();
        output.assert_code(0);
        let text = output.out();
        let expected =
            format!("0\na tree of its own\n2770 {owner}\n1777 0:0\n711 {owner}\n700 0:0\n");
        assert!(text.starts_with(&expected), "{text}");
        assert!(text.ends_with("\n/\nwrote\n"), "{text}");
    }
    assert!(!root.join("written").exists() && !root.join("bin/written").exists());
}

#[test]
fn a_working_directory_below_tmp_keeps_owner_mode_and_time_and_so_do_those_above() {
    let kiln = Kiln::new();
    let dir = kiln.work().join("middle/inner");
    fs::create_dir_all(&dir).unwrap();
    let mut expected = String::from("1777 0:0\n");
    // Both mode bits and owners, which an overlay does not copy by itself.
    for (path, mode) in [
        (kiln.work(), 0o711),
        (kiln.work().join("middle"), 0o2750),
        (dir.clone(), 0o3777),
    ] {
        someone(&path);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let meta = fs::metadata(&path).unwrap();
        writeln!(expected, "{mode:o} {}:{}", meta.uid(), meta.gid()).unwrap();
    }
    let modified = fs::metadata(&dir).unwrap().mtime();
    let script = "stat -c '%a %u:%g' /tmp ../.. .. .; stat -c %Y .
        : >new && rm new && mkdir sub && rmdir sub && echo written";
    let output = kiln.sh("6.1", script).cwd(&dir).run();
    output.assert_code(0);
    output.assert_out(&format!("{expected}{modified}\nwritten\n"));
}

#[test]
fn the_working_directory_and_the_modules_are_seen_in_a_directory_root() {
    let kiln = Kiln::new();
    let root = busybox_root(&kiln);
    kiln.file("here", "content");
    let output = kiln
        .vm(["exec", "-k", "6.1", "--root"])
        .arg(format!("dir:{}", root.display()))
        .args(["--", "sh", "-c"])
        .arg("pwd -P; cat here; echo; ls /lib/modules/$(uname -r)/modules.dep >/dev/null; modprobe xfs; grep -c ^xfs /proc/modules")
        .run();
    output.assert_code(0);
    let dir = kiln.work().canonicalize().unwrap();
    output.assert_out(&format!("{}\ncontent\n1\n", dir.display()));
}

#[test]
fn any_store_directory_makes_a_nix_root_that_belongs_to_root() {
    let kiln = Kiln::as_ordinary_user();
    let store = kiln.path("a store");
    let package = store.join("0123456789abcdfghijklmnpqrsvwxyz-busybox-1.35");
    busybox(&package.join("bin"));
    kiln.give(&store);
    let script = "pwd -P; ls /nix/store; busybox stat -c '%a %u:%g' / /tmp /root /etc/passwd; cat /etc/passwd | head -n 1; readlink /bin/sh; \
        touch /nix/store/x 2>/dev/null || echo read-only";
    for kernel in KERNELS {
        let output = kiln
            .vm(["exec", "-k", kernel, "--root"])
            .arg(format!("nix:{}", store.display()))
            .args(["-e"])
            .arg("PATH=/nix/store/0123456789abcdfghijklmnpqrsvwxyz-busybox-1.35/bin")
            .args(["--", "/bin/sh", "-c", script])
            .run();
        output.assert_code(0);
        output.assert_out(&format!(
            "{}\n\
             0123456789abcdfghijklmnpqrsvwxyz-busybox-1.35\n\
             755 0:0\n1777 0:0\n700 0:0\n644 0:0\n\
             root:x:0:0:root:/root:/bin/sh\n\
             /nix/store/0123456789abcdfghijklmnpqrsvwxyz-busybox-1.35/bin/sh\n\
             read-only\n",
            kiln.work().canonicalize().unwrap().display()
        ));
    }
    kiln.assert_nothing_left();
}

#[test]
fn invalid_roots_are_named() {
    let kiln = Kiln::new();
    for (root, named) in [
        ("dir:/no/such/root", "/no/such/root"),
        ("dir:/etc/passwd", "/etc/passwd"),
        ("nix:/no/such/store", "/no/such/store"),
    ] {
        let output = kiln
            .vm(["exec", "-k", "6.1", "--root", root, "--", "true"])
            .run();
        output.assert_code(125).assert_err_contains(named);
    }
    let output = kiln
        .plain(["exec", "-k", "6.1", "--root", "elsewhere", "--", "true"])
        .run();
    output.assert_code(2).assert_err_contains("elsewhere");
}

#[test]
fn a_directory_to_share_that_is_not_there_is_named() {
    let kiln = Kiln::new();
    let output = kiln
        .vm(["exec", "-k", "6.1", "--rw", "/no/such/dir", "--", "true"])
        .run();
    output.assert_code(125).assert_err_contains("/no/such/dir");
}

/// Gives a directory to a user other than root and the tests' own, if the tests may do that;
/// returns its owner.
fn someone(dir: &Path) -> String {
    if nix::unistd::geteuid().is_root() {
        chown(dir, Some(1234), Some(4321)).unwrap();
    }
    let meta = fs::metadata(dir).unwrap();
    format!("{}:{}", meta.uid(), meta.gid())
}

/// A tree with only busybox in it.
pub(crate) fn busybox_root(kiln: &Kiln) -> PathBuf {
    let root = kiln.path("root tree");
    busybox(&root.join("bin"));
    for name in ["proc", "sys", "dev", "run", "tmp", "lib"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    fs::write(root.join("marker"), "a tree of its own\n").unwrap();
    root
}

fn busybox(bin: &Path) {
    fs::create_dir_all(bin).unwrap();
    fs::copy(BUSYBOX, bin.join("busybox"))
        .expect("the package busybox-static is installed: scripts/install-packages");
    for applet in [
        "cat", "grep", "head", "id", "ls", "modprobe", "readlink", "sh", "stat", "touch", "uname",
    ] {
        symlink("busybox", bin.join(applet)).unwrap();
    }
}
