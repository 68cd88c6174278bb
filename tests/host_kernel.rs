//! `-k host`, on machines that are mount namespaces: with a kernel in `/boot`, with
//! one that only root may read, and a container that has none.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::support::material::Material;
use crate::support::packages::CONFIG;
use crate::support::{Kiln, Output, mount_namespace};

/// Longest release, with the NUL behind it (`__NEW_UTS_LEN`).
const UTS: usize = 65;

/// What this machine runs.
fn running() -> String {
    let uname = nix::sys::utsname::uname().unwrap();
    uname.release().to_str().unwrap().to_owned()
}

/// An uncompressed kernel image that says another release: in its banners and in
/// `uname -r`. It still takes modules that were built for the old one.
fn renamed(mut image: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    let find = |image: &[u8], what: &[u8]| -> Vec<usize> {
        image
            .windows(what.len())
            .enumerate()
            .filter(|(_, window)| *window == what)
            .map(|(at, _)| at)
            .collect()
    };
    let banner = b"Linux version ";
    for at in find(&image, format!("Linux version {from} ").as_bytes()) {
        let at = at + banner.len();
        let text = format!("{to} (");
        image[at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    let mut field = from.as_bytes().to_vec();
    field.resize(UTS, 0);
    let fields = find(&image, &field);
    assert!(!fields.is_empty(), "no init_uts_ns");
    for at in fields {
        image[at..at + UTS].fill(0);
        image[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    image
}

/// Makes `boot` the machine's `/boot`; its `/usr/lib` has what lies in `lib` as well.
fn machine(boot: &Path, lib: &Path) -> String {
    let work = lib.with_extension("work");
    fs::create_dir_all(&work).unwrap();
    format!(
        "mount --bind '{}' /boot && \
         mount -t overlay -o 'lowerdir=/usr/lib,upperdir={},workdir={}' overlay /usr/lib && \
         mount -t tmpfs tmpfs /run",
        boot.display(),
        lib.display(),
        work.display()
    )
}

#[test]
fn the_kernel_of_this_machine_boots_from_its_boot_directory() {
    let own = Kiln::new();
    let material = Material::of(&own);
    let release = running();
    let kiln = Kiln::with_empty_cache();
    let (boot, lib) = (kiln.path("boot"), kiln.path("lib"));
    material.unpack(&kiln.path("tree"), &[]);
    fs::create_dir(&boot).unwrap();
    let image = renamed(
        fs::read(&material.image).unwrap(),
        &material.release,
        &release,
    );
    fs::write(boot.join(format!("vmlinuz-{release}")), image).unwrap();
    fs::write(boot.join(format!("config-{release}")), CONFIG).unwrap();
    // Another one that is installed.
    fs::write(boot.join("vmlinuz-0.1"), "").unwrap();
    let modules = lib.join("modules");
    fs::create_dir_all(&modules).unwrap();
    fs::rename(
        kiln.path("tree/lib/modules").join(&material.release),
        modules.join(&release),
    )
    .unwrap();
    if !mount_namespace::is_allowed() {
        // Some containers allow no mounts: then they have no kernel either.
        no_kernel(&kiln.plain(["exec", "-k", "host", "--", "true"]).run());
        return;
    }
    let script = format!("{} && exec \"$@\"", machine(&boot, &lib));
    let output = kiln
        .sh("host", "uname -r; cat /boot/config-$(uname -r)")
        .by(&mount_namespace::running(&script))
        .run();
    output
        .assert_code(0)
        .assert_out(&format!("{release}\n{CONFIG}"));
}

fn no_kernel(output: &Output) {
    output.assert_code(125).assert_err_contains(&format!(
        "there is no image of the kernel that runs here, {}",
        running()
    ));
}

#[test]
fn an_image_that_only_root_may_read_is_told_with_the_command_that_mends_it() {
    let kiln = Kiln::as_ordinary_user();
    if !nix::unistd::geteuid().is_root() || !mount_namespace::is_allowed() {
        // Whoever owns a file can make it readable: root's are the case.
        return;
    }
    let boot = kiln.path("boot");
    fs::create_dir(&boot).unwrap();
    let image = boot.join(format!("vmlinuz-{}", running()));
    fs::write(&image, "").unwrap();
    fs::set_permissions(&image, fs::Permissions::from_mode(0o600)).unwrap();
    let script = format!("mount --bind '{}' /boot && exec \"$@\"", boot.display());
    let output = kiln
        .plain(["exec", "-k", "host", "--", "true"])
        .by(&["unshare", "-Urm", "sh", "-c", &script, "sh"])
        .run();
    output
        .assert_code(125)
        .assert_err_contains(&format!("cannot read /boot/vmlinuz-{}", running()))
        .assert_err_contains(&format!("sudo chmod -R a+rX /boot/vmlinuz-{}", running()));
}

#[test]
fn a_container_has_no_kernel_of_its_own() {
    let kiln = Kiln::with_empty_cache();
    let invocation = kiln.plain(["exec", "-k", "host", "--", "true"]);
    if !mount_namespace::is_allowed() {
        no_kernel(&invocation.run());
        return;
    }
    let empty = kiln.path("empty");
    fs::create_dir(&empty).unwrap();
    let script = format!(
        "mount --bind '{0}' /boot && mount -t tmpfs tmpfs /run && touch /run/.containerenv && \
         for dir in /lib/modules /usr/lib/modules; do \
           if [ -d $dir ]; then mount --bind '{0}' $dir || exit; fi; \
         done && exec \"$@\"",
        empty.display()
    );
    let output = invocation.by(&mount_namespace::running(&script)).run();
    no_kernel(&output);
    output
        .assert_err_contains("this is a container")
        .assert_err_contains("--volume /boot:/boot:ro");
}
