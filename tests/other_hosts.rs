//! Kernels on machines that are not Debian: another distribution's apt, and no apt at all.
//! A machine is a mount namespace with files of its own over this one's.

use std::fs;
use std::path::Path;

use super::support::{Kiln, Output, mount_namespace};

/// What Ubuntu 24.04 says of itself (its package base-files), shortened.
const UBUNTU: &str = "PRETTY_NAME=\"Ubuntu 24.04.3 LTS\"\nNAME=\"Ubuntu\"\nVERSION_ID=\"24.04\"\n\
                      VERSION_CODENAME=noble\nID=ubuntu\nID_LIKE=debian\n";

/// Its sources, on a mirror that answers nothing: nothing may ask it for Debian's kernels.
const UBUNTU_SOURCES: &str = "Types: deb\nURIs: http://127.0.0.1:9/ubuntu\nSuites: noble \
                              noble-updates noble-security\nComponents: main\n";

const FEDORA: &str = "NAME=\"Fedora Linux\"\nID=fedora\nVERSION_ID=43\n";

/// The programs of Debian's package management and of GnuPG.
const APT: [&str; 7] = [
    "apt",
    "apt-get",
    "apt-cache",
    "dpkg",
    "dpkg-deb",
    "gpg",
    "gpgv",
];

/// The mirror of Debian's main archive that this machine uses, for its sources are hidden.
fn mirror() -> Option<String> {
    let directory = Path::new("/etc/apt/sources.list.d");
    let mut files = vec![directory.with_file_name("sources.list")];
    files.extend(
        fs::read_dir(directory)
            .ok()?
            .filter_map(|entry| Some(entry.ok()?.path())),
    );
    let texts = files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok());
    let text: String = texts.collect::<Vec<_>>().join("\n");
    text.split_whitespace()
        .map(|word| word.trim_end_matches('/'))
        .find(|word| word.starts_with("http") && word.ends_with("/debian"))
        .map(str::to_owned)
}

/// Boots three kernels, with an empty cache, on a machine of this distribution.
fn boot_three(kiln: &Kiln, os_release: &str, apt: &Path, hidden: &[&str]) -> Option<Output> {
    if !mount_namespace::is_allowed() {
        return None;
    }
    let release = kiln.file("os-release", os_release);
    let mut script = format!(
        "mount --bind '{}' \"$(readlink -f /etc/os-release)\" && mount --bind '{}' /etc/apt",
        release.display(),
        apt.display()
    );
    for program in hidden.iter().map(|name| format!("/usr/bin/{name}")) {
        if Path::new(&program).exists() {
            script.push_str(" && mount --bind /dev/null ");
            script.push_str(&program);
        }
    }
    script.push_str(" && exec \"$@\"");
    let mut kernels = kiln.vm(["exec", "-k", "@quick", "--", "uname", "-r"]).by(&[
        "unshare",
        mount_namespace::options(),
        "sh",
        "-c",
        &script,
        "sh",
    ]);
    if let Some(mirror) = mirror() {
        kernels = kernels.env("KILN_APT_MIRROR", mirror);
    }
    Some(kernels.run())
}

fn assert_three(output: &Output) {
    output.assert_code(0);
    let releases = String::from_utf8_lossy(&output.stdout);
    let starts: Vec<&str> = releases
        .lines()
        .filter_map(|line| line.split_once('-').map(|(version, _)| version))
        .collect();
    assert_eq!(starts.len(), 3, "{releases}");
    for (start, series) in starts.iter().zip(["5.10.", "6.1.", "6.12."]) {
        assert!(start.starts_with(series), "{releases}");
    }
}

#[test]
fn an_ubuntu_machine_fetches_and_boots_debians_kernels() {
    let kiln = Kiln::with_empty_cache();
    let apt = kiln.path("apt");
    fs::create_dir_all(apt.join("sources.list.d")).unwrap();
    fs::write(apt.join("sources.list.d/ubuntu.sources"), UBUNTU_SOURCES).unwrap();
    if let Some(output) = boot_three(&kiln, UBUNTU, &apt, &[]) {
        assert_three(&output);
    }
}

#[test]
fn a_machine_without_apt_dpkg_and_gpg_fetches_and_boots_debians_kernels() {
    let kiln = Kiln::with_empty_cache();
    let apt = kiln.path("apt");
    fs::create_dir(&apt).unwrap();
    if let Some(output) = boot_three(&kiln, FEDORA, &apt, &APT) {
        assert_three(&output);
    }
}
