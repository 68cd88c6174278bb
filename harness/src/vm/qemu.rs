//! The QEMU binary: its path, version and features.

mod memory;

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

use super::arch::platform;
use crate::arch::Arch;
use crate::child::Supervised;
use crate::hint::Hint;
use crate::program::on_path;

/// Oldest usable QEMU: the first whose `microvm` has `acpi=on`, without which a stock kernel finds
/// no virtio-mmio device and cannot power off (QEMU's change log for 5.2).
pub const MINIMUM_VERSION: Version = Version { major: 5, minor: 2 };

/// From this QEMU on `doctor` does not recommend a newer one: 11.1 took a third less time than 7.2
/// for our load under TCG, and 10.0 is the newest in Debian 12 (in backports).
pub const FAST_TCG_VERSION: Version = Version {
    major: 10,
    minor: 0,
};

/// How long QEMU may take to describe itself.
const DESCRIBE_DEADLINE: Duration = Duration::from_secs(20);

/// Why there is no usable QEMU.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No binary of the usual name.
    #[error("{} is not on PATH", arch.qemu())]
    NotOnPath {
        /// The architecture of the guests.
        arch: Arch,
    },
    /// The given binary cannot be executed.
    #[error("cannot run QEMU {}: {source}", path.display())]
    Run {
        /// The architecture of the guests.
        arch: Arch,
        /// The binary.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// It ran but does not look like QEMU.
    #[error("{} did not answer `{question}` like QEMU: {answer}", path.display())]
    NotQemu {
        /// The architecture of the guests.
        arch: Arch,
        /// The binary.
        path: PathBuf,
        /// The options that it was run with.
        question: &'static str,
        /// Its output, shortened.
        answer: String,
    },
    /// It answered nothing in time.
    #[error("{} did not answer `{question}` within {} s", path.display(), DESCRIBE_DEADLINE.as_secs())]
    Silent {
        /// The architecture of the guests.
        arch: Arch,
        /// The binary.
        path: PathBuf,
        /// The options that it was run with.
        question: &'static str,
    },
    /// Older than [`MINIMUM_VERSION`].
    #[error("QEMU {version} at {} is too old; kiln needs at least {MINIMUM_VERSION}", path.display())]
    TooOld {
        /// The binary.
        path: PathBuf,
        /// Its version.
        version: Version,
    },
    /// Built without something that every VM needs.
    #[error("QEMU {version} at {} was built without {}", path.display(), missing.join(", "))]
    Missing {
        /// The architecture of the guests.
        arch: Arch,
        /// The binary.
        path: PathBuf,
        /// Its version.
        version: Version,
        /// Names of machines and devices it lacks.
        missing: Vec<String>,
    },
}

impl Hint for Error {
    fn hints(&self) -> Vec<String> {
        vec![match self {
            Self::NotOnPath { arch }
            | Self::Run { arch, .. }
            | Self::NotQemu { arch, .. }
            | Self::Silent { arch, .. } => install(*arch),
            Self::TooOld { .. } => format!(
                "get QEMU {MINIMUM_VERSION} or later (on Debian it is in backports), or name one with --qemu"
            ),
            Self::Missing { arch, .. } => format!("a full build has them; {}", install(*arch)),
        }]
    }
}

fn install(arch: Arch) -> String {
    let how = platform(arch).install;
    format!("install it: {how}, or name one with --qemu")
}

/// A QEMU version, without the patch level, which never mattered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Before the first dot.
    pub major: u32,
    /// After it.
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A QEMU that can run our VMs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qemu {
    /// The binary.
    pub path: PathBuf,
    /// Its version.
    pub version: Version,
    /// The full version, as QEMU prints it: `7.2.22 (Debian 1:7.2+...)`.
    pub full_version: String,
    /// Whether it has `-sandbox` (its own seccomp filter).
    pub sandbox: bool,
    /// Whether it was built with KVM.
    pub kvm: bool,
    /// Machines and devices that only some guests need, and that it was built without.
    pub lacks: Vec<String>,
}

/// Devices that only some guests need.
const SOME_NEED: [&str; 6] = [
    "virtio-serial-pci",
    "vhost-user-fs-pci",
    "virtio-9p-device",
    "virtio-9p-pci",
    "virtconsole",
    "isa-serial",
];
/// Machines that only some guests need.
const SOME_RUN_ON: &str = "q35";

impl Qemu {
    /// Finds a QEMU that can run our VMs of `arch`: `chosen`, or the first on
    /// `PATH`.
    pub async fn find(chosen: Option<&Path>, arch: Arch) -> Result<Self, Error> {
        Self::describe(locate(chosen, arch)?, arch).await
    }

    /// [`find`](Self::find), but caches the answers of an unchanged binary in the cache directory.
    pub async fn find_remembered(
        chosen: Option<&Path>,
        arch: Arch,
        cache_dir: &Path,
    ) -> Result<Self, Error> {
        let path = locate(chosen, arch)?;
        if let Some(qemu) = Self::recall(cache_dir, &path) {
            return Ok(qemu);
        }
        let qemu = Self::describe(path, arch).await?;
        if let Err(error) = qemu.remember(cache_dir) {
            tracing::debug!("QEMU will be queried again the next time: {error}");
        }
        Ok(qemu)
    }

    /// Checks that it has what a guest needs, by the names of [`Self::lacks`].
    pub fn check(&self, arch: Arch, needs: &[String]) -> Result<(), Error> {
        let missing: Vec<String> = needs
            .iter()
            .filter(|need| self.lacks.contains(need))
            .cloned()
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Error::Missing {
            arch,
            path: self.path.clone(),
            version: self.version,
            missing,
        })
    }

    /// Queries the binary at `path`.
    async fn describe(path: PathBuf, arch: Arch) -> Result<Self, Error> {
        // Four short processes at once: one after another they would be a noticeable delay at each
        // start.
        let (version_text, machines, devices, help) = tokio::try_join!(
            ask(&path, arch, "--version", &["--version"]),
            ask(&path, arch, "-machine help", &["-machine", "help"]),
            ask(
                &path,
                arch,
                "-machine none -device help",
                &["-machine", "none", "-device", "help"]
            ),
            ask(&path, arch, "-help", &["-help"]),
        )?;
        let (version, full_version) =
            parse_version(&version_text).ok_or_else(|| Error::NotQemu {
                arch,
                path: path.clone(),
                question: "--version",
                answer: version_text.chars().take(200).collect(),
            })?;
        if version < MINIMUM_VERSION {
            return Err(Error::TooOld { path, version });
        }
        let without = |machine: &str, wanted: &[&str]| {
            let has_machine = machines
                .lines()
                .any(|line| line.split_whitespace().next() == Some(machine));
            let machine = (!has_machine).then(|| machine_name(machine));
            let wanted = wanted
                .iter()
                .filter(|device| !devices.contains(&format!("name \"{device}\"")))
                .map(|&device| device.to_owned());
            machine.into_iter().chain(wanted).collect::<Vec<_>>()
        };
        let missing = without(
            platform(arch).machine,
            &[
                "virtio-serial-device",
                "virtserialport",
                "vhost-user-fs-device",
            ],
        );
        if !missing.is_empty() {
            return Err(Error::Missing {
                arch,
                path,
                version,
                missing,
            });
        }
        Ok(Self {
            sandbox: help.lines().any(|line| line.starts_with("-sandbox on")),
            kvm: help.lines().any(|line| line.starts_with("-enable-kvm")),
            lacks: without(SOME_RUN_ON, &SOME_NEED),
            path,
            version,
            full_version,
        })
    }
}

/// What a machine is called among what a QEMU lacks.
pub(super) fn machine_name(machine: &str) -> String {
    format!("the {machine} machine")
}

/// The binary at `chosen`, or the usual one of `arch` on `PATH`.
fn locate(chosen: Option<&Path>, arch: Arch) -> Result<PathBuf, Error> {
    match chosen {
        Some(path) if path.components().count() > 1 => Ok(path.to_owned()),
        Some(name) => on_path(name.as_os_str()).ok_or_else(|| Error::Run {
            arch,
            path: name.to_owned(),
            source: io::ErrorKind::NotFound.into(),
        }),
        None => on_path(OsStr::new(arch.qemu())).ok_or(Error::NotOnPath { arch }),
    }
}

/// Runs QEMU with options that make it print something and exit.
async fn ask(
    path: &Path,
    arch: Arch,
    question: &'static str,
    args: &[&str],
) -> Result<String, Error> {
    let run = |source| Error::Run {
        arch,
        path: path.to_owned(),
        source,
    };
    let mut command = Command::new(path);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = tokio::time::timeout(DESCRIBE_DEADLINE, Supervised::output(command))
        .await
        .map_err(|_| Error::Silent {
            arch,
            path: path.to_owned(),
            question,
        })?
        .map_err(run)?;
    let Output {
        status,
        stdout,
        stderr,
    } = output;
    if status.success() {
        Ok(String::from_utf8_lossy(&stdout).into_owned())
    } else {
        let said = String::from_utf8_lossy(&stderr);
        Err(Error::NotQemu {
            arch,
            path: path.to_owned(),
            question,
            answer: format!(
                "{status}: {}",
                said.trim().chars().take(200).collect::<String>()
            ),
        })
    }
}

/// Version and full version from `QEMU emulator version 7.2.22 (Debian ...)`.
fn parse_version(text: &str) -> Option<(Version, String)> {
    let full = text
        .lines()
        .next()?
        .strip_prefix("QEMU emulator version ")?
        .trim();
    let mut numbers = full
        .split(|c: char| !c.is_ascii_digit())
        .map(str::parse::<u32>);
    let version = Version {
        major: numbers.next()?.ok()?,
        minor: numbers.next()?.ok()?,
    };
    Some((version, full.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    /// A shell script instead of QEMU.
    fn fake(dir: &Path, body: &str) -> PathBuf {
        let path = dir.join("qemu");
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn versions_of_distributions_are_read() {
        let debian = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright";
        let (version, full) = parse_version(debian).unwrap();
        assert_eq!(version, Version { major: 7, minor: 2 });
        assert_eq!(full, "7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)");
        let plain = parse_version("QEMU emulator version 10.0.2\n").unwrap().0;
        assert_eq!(plain.to_string(), "10.0");
        assert!(plain > version);
    }

    #[tokio::test]
    async fn an_old_qemu_is_refused_with_a_hint() {
        let dir = tempfile::tempdir().unwrap();
        let path = fake(dir.path(), "echo 'QEMU emulator version 4.2.1'");
        let error = Qemu::find(Some(&path), Arch::X86_64).await.unwrap_err();
        assert!(matches!(error, Error::TooOld { .. }), "{error}");
        assert!(!error.hints().is_empty());
    }

    #[tokio::test]
    async fn a_qemu_without_microvm_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = fake(dir.path(), "echo 'QEMU emulator version 8.0.0'");
        let error = Qemu::find(Some(&path), Arch::X86_64).await.unwrap_err();
        assert!(error.to_string().contains("microvm"), "{error}");
        assert!(
            error.to_string().contains("vhost-user-fs-device"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn what_only_some_guests_need_is_named_when_one_of_them_is_to_run() {
        let dir = tempfile::tempdir().unwrap();
        let answers = "case $* in
             --version) echo 'QEMU emulator version 8.0.0' ;;
             '-machine help') echo 'microvm  microvm (i386)' ;;
             *-device*) for name in virtio-serial-device virtserialport vhost-user-fs-device \
                 virtio-serial-pci virtio-9p-device; do echo \"name \\\"$name\\\"\"; done ;;
             esac";
        let path = fake(dir.path(), answers);
        let qemu = Qemu::find(Some(&path), Arch::X86_64).await.unwrap();
        let check = |needs: &[&str]| {
            let needs: Vec<String> = needs.iter().map(|&need| need.to_owned()).collect();
            qemu.check(Arch::X86_64, &needs)
        };
        check(&["virtio-serial-pci", "virtio-9p-device"]).unwrap();
        let error = check(&["virtio-serial-pci", "virtio-9p-pci", "the q35 machine"]).unwrap_err();
        let told = error.to_string();
        assert!(
            told.ends_with("was built without virtio-9p-pci, the q35 machine"),
            "{told}"
        );
    }

    #[tokio::test]
    async fn a_qemu_that_will_not_do_is_asked_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = fake(dir.path(), "echo 'QEMU emulator version 4.2.1'");
        let cache = dir.path().join("cache");
        for _ in 0..2 {
            let error = Qemu::find_remembered(Some(&path), Arch::X86_64, &cache)
                .await
                .unwrap_err();
            assert!(matches!(error, Error::TooOld { .. }), "{error}");
        }
        assert!(!cache.exists());
    }

    #[tokio::test]
    async fn a_program_that_is_not_qemu_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = fake(dir.path(), "echo hello");
        let error = Qemu::find(Some(&path), Arch::X86_64).await.unwrap_err();
        assert!(matches!(error, Error::NotQemu { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_missing_qemu_is_refused() {
        let error = Qemu::find(Some(Path::new("/nonexistent/qemu")), Arch::X86_64)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Run { .. }), "{error}");
    }

    proptest! {
        #[test]
        fn reading_a_version_never_panics(text in ".*") {
            let _ = parse_version(&text);
            let _ = parse_version(&format!("QEMU emulator version {text}"));
        }
    }
}
