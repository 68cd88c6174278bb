//! Keeps the BTF of kernels in the cache, with its index by name.
//!
//! `btf/HASH.btf` has everything of one kernel, under the hash of it; `btf/HASH.seen` says, for the
//! files that a kernel consists of, which that is. Both are written whole or not at all, and may
//! be removed at any time.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::bytes::{Bytes, Mapped, Numbers};
use super::kernel::KernelBtf;
use super::names::Names;
use crate::kernel::Cache;
use crate::whole_file;

/// The directory in the cache.
pub(super) const DIRECTORY: &str = "btf";

/// First bytes of a file; the last one is the version of the format.
const MAGIC: [u8; 8] = *b"kilnbtf\x02";

/// Bytes of the magic and of the length of the [`Header`] behind it.
const START: u64 = 16;

/// The directory with stored BTF.
#[derive(Debug, Clone)]
pub(super) struct Store {
    directory: PathBuf,
}

/// What is known of a kernel whose files were seen before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    /// Its release.
    pub(super) release: Option<String>,
    /// The hash of its BTF; `None` if it has none.
    pub(super) btf: Option<String>,
}

/// What follows the header, in this order.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    vmlinux: u64,
    /// Where its types begin.
    offsets: u64,
    names: u64,
    /// Names and lengths.
    modules: Vec<(String, u64)>,
}

/// Changes whenever one of some files does.
#[derive(Debug)]
pub(super) struct Fingerprint(Sha256);

impl Fingerprint {
    pub(super) fn new() -> Self {
        Self(Sha256::new_with_prefix(MAGIC))
    }

    pub(super) fn add(&mut self, path: &Path) -> io::Result<()> {
        let meta = fs::metadata(path)?;
        self.add_name(path);
        for number in [meta.ino(), meta.dev(), meta.size()] {
            self.0.update(number.to_le_bytes());
        }
        for number in [meta.mtime(), meta.mtime_nsec()] {
            self.0.update(number.to_le_bytes());
        }
        Ok(())
    }

    /// A file that never changes.
    pub(super) fn add_name(&mut self, path: &Path) {
        self.0.update(path.as_os_str().as_bytes());
        self.0.update([0]);
    }

    pub(super) fn finish(self) -> String {
        hex(self.0)
    }
}

/// Of a hash, as many digits as the names of kernels in the cache have.
fn hex(hash: Sha256) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for byte in &hash.finalize()[..12] {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

impl Store {
    pub(super) fn of(cache: &Cache) -> Self {
        Self {
            directory: cache.root().join(DIRECTORY),
        }
    }

    fn seen_file(&self, fingerprint: &str) -> PathBuf {
        self.directory.join(format!("{fingerprint}.seen"))
    }

    fn btf_file(&self, hash: &str) -> PathBuf {
        self.directory.join(format!("{hash}.btf"))
    }

    /// What is known of the files with this fingerprint.
    pub(super) fn seen(&self, fingerprint: &str) -> Option<Seen> {
        let file = File::open(self.seen_file(fingerprint)).ok()?;
        let seen = serde_json::from_reader(&file).ok()?;
        touch(&file);
        Some(seen)
    }

    /// The BTF with this hash; `None` if it is not stored, or damaged.
    pub(super) fn load(&self, hash: &str, origin: &Path) -> Option<KernelBtf> {
        let file = File::open(self.btf_file(hash)).ok()?;
        let mut rest = Mapped::of(&file).ok()?;
        let start = rest.take(START)?;
        let length = u64::from_le_bytes(*start.strip_prefix(&MAGIC)?.first_chunk()?);
        let header: Header = postcard::from_bytes(&rest.take(length)?).ok()?;
        let mut next = |length| rest.take(length).map(Bytes::Mapped);
        let vmlinux = next(header.vmlinux)?;
        let offsets = Numbers::of(next(header.offsets)?);
        let names = Names::from_bytes(next(header.names)?)?;
        let modules = header.modules.into_iter();
        let modules = modules.map(|(name, length)| Some((name, next(length)?)));
        let modules = modules.collect::<Option<Vec<_>>>()?;
        if !rest.is_empty() {
            return None;
        }
        touch(&file);
        KernelBtf::stored(origin, vmlinux, offsets, names, modules).ok()
    }

    /// Stores what was read from the files with this fingerprint. A cache that cannot be written to
    /// costs time the next time.
    pub(super) fn keep(&self, fingerprint: &str, release: Option<&str>, btf: Option<&KernelBtf>) {
        let keep = || -> io::Result<()> {
            fs::create_dir_all(&self.directory)?;
            let seen = Seen {
                release: release.map(str::to_owned),
                btf: btf.map(|btf| self.write(btf)).transpose()?,
            };
            whole_file::write(&self.seen_file(fingerprint), &serde_json::to_vec(&seen)?)
        };
        if let Err(error) = keep() {
            tracing::debug!("cannot keep BTF in {}: {error}", self.directory.display());
        }
    }

    fn write(&self, btf: &KernelBtf) -> io::Result<String> {
        let mut units = Vec::new();
        for unit in btf.units() {
            let bytes = btf.unit(unit).map_err(io::Error::other)?.bytes();
            units.push((btf.module(unit).unwrap_or_default(), bytes));
        }
        let mut hash = Sha256::new_with_prefix(MAGIC);
        for (name, bytes) in &units {
            for part in [name.as_bytes(), bytes] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
        }
        let hash = hex(hash);
        let path = self.btf_file(&hash);
        let modules = units.iter().skip(1);
        let header = Header {
            vmlinux: btf.vmlinux().bytes().len() as u64,
            offsets: btf.vmlinux().offsets().bytes().len() as u64,
            names: btf.names().bytes().len() as u64,
            modules: modules
                .map(|(name, bytes)| ((*name).to_owned(), bytes.len() as u64))
                .collect(),
        };
        let header = postcard::to_allocvec(&header).map_err(io::Error::other)?;
        whole_file::write_with(&path, |file| {
            let mut file = io::BufWriter::new(file);
            file.write_all(&MAGIC)?;
            file.write_all(&(header.len() as u64).to_le_bytes())?;
            file.write_all(&header)?;
            file.write_all(btf.vmlinux().bytes())?;
            file.write_all(btf.vmlinux().offsets().bytes())?;
            file.write_all(btf.names().bytes())?;
            for (_, bytes) in units.iter().skip(1) {
                file.write_all(bytes)?;
            }
            file.flush()
        })?;
        Ok(hash)
    }
}

/// Says that a file was used now; `kiln kernels prune` removes what was not for long.
fn touch(file: &File) {
    let _ = file.set_modified(SystemTime::now());
}
