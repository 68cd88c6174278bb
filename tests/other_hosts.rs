//! Kernels on machines that are not Debian: another distribution's apt, and no apt at all.
//! A machine is a mount namespace with files of its own over this one's.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use super::support::{Invocation, Kiln, Output, checkout, mount_namespace, suite};

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

/// Runs `command` in place of `kiln exec` in three kernels, with an empty cache, on a machine of
/// this distribution.
fn on_machine<'k>(
    kiln: &'k Kiln,
    os_release: &str,
    apt: &Path,
    hidden: &[&str],
    command: &str,
) -> Option<Invocation<'k>> {
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
    script.push_str(" && exec ");
    script.push_str(command);
    let mut kernels = kiln
        .vm(["exec", "-k", "@quick", "--", "uname", "-r"])
        .by(&mount_namespace::running(&script));
    if let Some(mirror) = mirror() {
        kernels = kernels.env("KILN_APT_MIRROR", mirror);
    }
    // Three kernels, one after the other, on a machine that may be busy.
    Some(kernels.deadline(Duration::from_secs(300)))
}

/// The kernels that the action takes where a workflow names none.
fn kernels_of_the_action() -> String {
    let action = fs::read_to_string(checkout().join("action.yml")).unwrap();
    let (_, kernels) = action.split_once("\n  kernels:\n").unwrap();
    let (_, default) = kernels.split_once("default: '").unwrap();
    default.split('\'').next().unwrap().to_owned()
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

/// What a workflow on `ubuntu-latest` gets that names no kernels, in a repository that has none
/// itself.
#[test]
fn on_ubuntu_the_action_fetches_and_boots_its_default_kernels() {
    let kiln = Kiln::with_empty_cache();
    kiln.file(
        "tests/runtime/suite",
        "NAME runs\nRUN echo it runs\nEXPECT it runs\nTIMEOUT 30\n",
    );
    let apt = kiln.path("apt");
    fs::create_dir_all(apt.join("sources.list.d")).unwrap();
    fs::write(apt.join("sources.list.d/ubuntu.sources"), UBUNTU_SOURCES).unwrap();
    let bin = kiln.path("bin");
    fs::create_dir(&bin).unwrap();
    symlink(env!("CARGO_BIN_EXE_kiln"), bin.join("kiln")).unwrap();
    let script = format!("'{}/scripts/github-action' run", checkout().display());
    let Some(action) = on_machine(&kiln, UBUNTU, &apt, &[], &script) else {
        return;
    };
    let path = std::env::var("PATH").unwrap();
    let output = action
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("GITHUB_OUTPUT", kiln.file("output", ""))
        .env("RUNNER_TEMP", kiln.path("tmp"))
        .env("INPUT_KERNELS", kernels_of_the_action())
        .env("INPUT_TESTS", "tests")
        .env("INPUT_ARGS", "--dialect\n0.17")
        .run();
    output.assert_code(0);
    let said = fs::read_to_string(kiln.work().join("output")).unwrap();
    let run_dir = said.lines().find_map(|line| line.strip_prefix("run-dir="));
    let passed = ["5.10", "6.1", "6.12"].map(|kernel| {
        (
            kernel.to_owned(),
            "suite.runs".to_owned(),
            "pass".to_owned(),
        )
    });
    assert_eq!(suite::verdicts(Path::new(run_dir.unwrap())), passed);
}

#[test]
fn a_machine_without_apt_dpkg_and_gpg_fetches_and_boots_debians_kernels() {
    let kiln = Kiln::with_empty_cache();
    let apt = kiln.path("apt");
    fs::create_dir(&apt).unwrap();
    if let Some(kernels) = on_machine(&kiln, FEDORA, &apt, &APT, "\"$@\"") {
        assert_three(&kernels.run());
    }
}
