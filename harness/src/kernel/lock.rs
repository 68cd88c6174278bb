//! `kernels.lock`: the exact package files of each apt kernel, the store paths of each Nix
//! kernel, and the digest of each container image.
//!
//! It names no host: paths are below the mirror in use, or in a store.

use std::fs;
use std::io::Write;
use std::ops::Range;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::Error;
use crate::arch::Arch;
use crate::config::{AptSource, line_of};
use crate::store::{STORE_DIR, name_of};
use crate::whole_file;

/// Version of the file's format.
const FORMAT: u32 = 1;

const HEADER: &str = "# Written by `kiln kernels update`; pins the files of each kernel.\n";

/// The content of a `kernels.lock`, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    pins: Vec<Pin>,
}

/// One kernel's pin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedKernel {
    /// Name in `kernels.toml`.
    pub name: String,
    /// The source's suite when it was pinned.
    pub suite: String,
    /// The source's component when it was pinned.
    pub component: String,
    /// The source's package name or glob when it was pinned.
    pub package: String,
    /// What the kernel is for.
    #[serde(default, skip_serializing_if = "Arch::is_default")]
    pub arch: Arch,
    /// The files, the matched one first.
    #[serde(rename = "file")]
    pub files: Vec<LockedFile>,
}

/// The pin of a kernel from Nix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedNix {
    /// Name in `kernels.toml`.
    pub name: String,
    /// The source's installable when it was pinned.
    pub installable: String,
    /// What the kernel is for.
    #[serde(default, skip_serializing_if = "Arch::is_default")]
    pub arch: Arch,
    /// Store paths of its outputs, `out` first.
    pub paths: Vec<String>,
}

/// The pin of a kernel from a container image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedOci {
    /// Name in `kernels.toml`.
    pub name: String,
    /// The source's image when it was pinned.
    pub image: String,
    /// What the kernel is for.
    #[serde(default, skip_serializing_if = "Arch::is_default")]
    pub arch: Arch,
    /// Digest of its manifest: `sha256:` and 64 lower-case hexadecimal digits.
    pub digest: String,
}

/// The pin of one kernel: its contents when it was pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    /// Of a package.
    Apt(LockedKernel),
    /// Of store paths.
    Nix(LockedNix),
    /// Of a container image.
    Oci(LockedOci),
}

/// One package file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedFile {
    /// Package name.
    pub package: String,
    /// Debian version.
    pub version: String,
    /// Path below the mirror's root.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// SHA-1, 40 lower-case hexadecimal digits: Debian's snapshot service serves files that have
    /// left the mirrors by this name. The result is checked against `sha256`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha1: Option<String>,
    /// Whether no signed index listed the file when it was pinned. It may contain modules and
    /// nothing else, and the kernel boots with enforced module signatures.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unlisted: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLock {
    version: Spanned<u32>,
    #[serde(default)]
    kernel: Vec<Spanned<LockedKernel>>,
    #[serde(default)]
    nix: Vec<Spanned<LockedNix>>,
    #[serde(default)]
    oci: Vec<Spanned<LockedOci>>,
}

#[derive(Serialize)]
struct WrittenLock<'a> {
    version: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kernel: Vec<&'a LockedKernel>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nix: Vec<&'a LockedNix>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    oci: Vec<&'a LockedOci>,
}

impl Pin {
    /// The kernel's name in `kernels.toml`.
    pub fn name(&self) -> &str {
        match self {
            Pin::Apt(pin) => &pin.name,
            Pin::Nix(pin) => &pin.name,
            Pin::Oci(pin) => &pin.name,
        }
    }

    /// What the kernel is for.
    pub fn arch(&self) -> Arch {
        match self {
            Pin::Apt(pin) => pin.arch,
            Pin::Nix(pin) => pin.arch,
            Pin::Oci(pin) => pin.arch,
        }
    }

    /// A description for people: Debian's version, store paths, or a digest.
    pub fn version(&self) -> String {
        match self {
            Pin::Apt(pin) => pin.version().to_owned(),
            Pin::Nix(pin) => pin.paths.join(" "),
            Pin::Oci(pin) => pin.digest.clone(),
        }
    }

    /// The contents of a lock become parts of paths and addresses.
    fn check(&self) -> Result<(), String> {
        match self {
            Pin::Apt(pin) => check(pin),
            Pin::Nix(pin) => check_nix(pin),
            Pin::Oci(pin) => check_oci(pin),
        }
    }
}

impl LockedKernel {
    /// Whether this pin was made for `source`: one for another suite or package does not count.
    pub fn is_of(&self, source: &AptSource) -> bool {
        self.suite == source.suite
            && self.component == source.component
            && self.package == source.package
    }

    /// The package with its image, if the archive has it, and the release that its name ends with.
    pub fn image(&self) -> Option<(&LockedFile, &str)> {
        self.files.iter().find_map(|file| {
            let release = file.package.strip_prefix("linux-image-")?;
            let release = release.strip_suffix("-unsigned").unwrap_or(release);
            (!file.unlisted).then_some((file, release))
        })
    }

    /// Debian version of the kernel.
    pub fn version(&self) -> &str {
        self.files.first().map_or("", |file| &file.version)
    }
}

impl Lock {
    /// Reads the file at `path`; a missing one is empty.
    pub fn load(path: &Path) -> Result<Self, Error> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, &path.display().to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Lock::default()),
            Err(error) => Err(Error::io("read", path)(error)),
        }
    }

    /// Parses `text`; `origin` names the file in errors.
    pub fn parse(text: &str, origin: &str) -> Result<Self, Error> {
        let bad = |at: Range<usize>, message: String| Error::BadLock {
            origin: origin.to_owned(),
            line: line_of(text, at.start),
            message,
        };
        let raw: RawLock = toml::from_str(text)
            .map_err(|error| bad(error.span().unwrap_or(0..0), error.message().to_owned()))?;
        if *raw.version.get_ref() != FORMAT {
            let message = format!(
                "lock format {} is unknown; allowed: {FORMAT}",
                raw.version.get_ref()
            );
            return Err(bad(raw.version.span(), message));
        }
        let apt = raw.kernel.into_iter().map(|pin| spanned(pin, Pin::Apt));
        let nix = raw.nix.into_iter().map(|pin| spanned(pin, Pin::Nix));
        let mut lock = Lock::default();
        let oci = raw.oci.into_iter().map(|pin| spanned(pin, Pin::Oci));
        for (at, pin) in apt.chain(nix).chain(oci) {
            pin.check().map_err(|message| bad(at.clone(), message))?;
            if lock.get(pin.name()).is_some() {
                let message = format!("kernel \"{}\" is pinned twice; allowed: once", pin.name());
                return Err(bad(at, message));
            }
            lock.set(pin);
        }
        Ok(lock)
    }

    /// The pin of `name`.
    pub fn get(&self, name: &str) -> Option<&Pin> {
        self.pins.iter().find(|pin| pin.name() == name)
    }

    /// Adds a pin, or replaces the one of that name.
    pub fn set(&mut self, pin: Pin) {
        self.retain(|other| other != pin.name());
        let at = self.pins.partition_point(|other| other.name() < pin.name());
        self.pins.insert(at, pin);
    }

    /// Drops the pins that `keep` rejects.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.pins.retain(|pin| keep(pin.name()));
    }

    /// The file's text: equal locks give equal bytes.
    pub fn to_text(&self) -> String {
        let mut written = WrittenLock {
            version: FORMAT,
            kernel: Vec::new(),
            nix: Vec::new(),
            oci: Vec::new(),
        };
        for pin in &self.pins {
            match pin {
                Pin::Apt(pin) => written.kernel.push(pin),
                Pin::Nix(pin) => written.nix.push(pin),
                Pin::Oci(pin) => written.oci.push(pin),
            }
        }
        // Strings and numbers in structs always serialize.
        let body = toml::to_string(&written).unwrap_or_default();
        format!("{HEADER}{body}")
    }

    /// Replaces the file at `path` atomically.
    pub fn store(&self, path: &Path) -> Result<(), Error> {
        whole_file::write_with(path, |file| {
            file.write_all(self.to_text().as_bytes())?;
            file.sync_all()
        })
        .map_err(Error::io("write", path))
    }
}

fn spanned<T>(pin: Spanned<T>, of: fn(T) -> Pin) -> (Range<usize>, Pin) {
    (pin.span(), of(pin.into_inner()))
}

fn check(kernel: &LockedKernel) -> Result<(), String> {
    if kernel.files.is_empty() {
        return Err(format!("kernel \"{}\" has no file", kernel.name));
    }
    if let Some(file) = kernel.files.first().filter(|file| file.unlisted) {
        return Err(format!(
            "{} of kernel \"{}\" is unlisted; allowed: further files, which have modules only",
            file.package, kernel.name
        ));
    }
    for file in &kernel.files {
        let word = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
        let path = Path::new(&file.path);
        let below = path
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if !word(&file.package) || file.package.contains('/') || !word(&file.version) {
            return Err(format!(
                "{:?} {:?} is not a package and its version",
                file.package, file.version
            ));
        }
        if !word(&file.path) || !below {
            return Err(format!("{:?} is not a path below a mirror", file.path));
        }
        let sha1 = file.sha1.iter().map(|hash| (hash, 40));
        for (hash, digits) in sha1.chain([(&file.sha256, 64)]) {
            if !is_hash(hash, digits) {
                return Err(format!(
                    "{hash:?} is not a hash; allowed: {digits} lower-case hexadecimal digits"
                ));
            }
        }
    }
    Ok(())
}

/// So many lower-case hexadecimal digits.
fn is_hash(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn check_oci(kernel: &LockedOci) -> Result<(), String> {
    match kernel.digest.strip_prefix("sha256:") {
        Some(hash) if is_hash(hash, 64) => Ok(()),
        _ => Err(format!(
            "{:?} is not a digest; allowed: sha256: and 64 lower-case hexadecimal digits",
            kernel.digest
        )),
    }
}

fn check_nix(kernel: &LockedNix) -> Result<(), String> {
    if kernel.paths.is_empty() {
        return Err(format!("kernel \"{}\" has no store path", kernel.name));
    }
    for path in &kernel.paths {
        let whole = Path::new(STORE_DIR).join(name_of(Path::new(path)).unwrap_or_default());
        if whole.as_os_str() != path.as_str() || path.contains("..") {
            return Err(format!("{path:?} is not a store path"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
