//! Selected kernel → its BTF: from the cache, or out of its image and modules.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::kernel::{KernelBtf, RawModule};
use super::store::{Fingerprint, Store};
use super::{Error, elf};
use crate::config::{Catalogue, Selected};
use crate::kernel::modules::{self, ModuleFile};
use crate::kernel::{self, Cache, Progress, image};

/// Where the running kernel shows its BTF.
const RUNNING: &str = "/sys/kernel/btf";

/// The file in such a directory with the BTF of the image.
const VMLINUX: &str = "vmlinux";

/// A kernel, and its BTF.
#[derive(Debug)]
pub struct Kernel {
    /// The name by which it was selected.
    pub name: String,
    /// `uname -r`, where it is known: raw BTF does not say.
    pub release: Option<String>,
    /// Its BTF; `None` if it was built without.
    pub btf: Option<KernelBtf>,
}

/// Files with the BTF of one kernel.
#[derive(Debug)]
struct Files {
    release: Option<String>,
    /// The image, or raw BTF.
    image: PathBuf,
    /// More images of the same kernel, for where the first has no BTF.
    others: Vec<PathBuf>,
    modules: Modules,
}

/// The modules of a kernel: `.ko` files, or raw BTF.
#[derive(Debug)]
enum Modules {
    /// These.
    Files(Vec<ModuleFile>),
    /// Those of these that are raw BTF, which shows when they are read.
    Raw(Vec<ModuleFile>),
    /// Those below a directory of the cache, which never changes: listing thousands of files would
    /// take longer than an answer.
    Cached(PathBuf),
}

/// The BTF of `selected`. Fetches the kernel if it is not at hand.
///
/// Blocks while it downloads and unpacks; call it where blocking is allowed.
pub fn open(
    catalogue: &Catalogue,
    selected: &Selected,
    cache: &Cache,
    progress: &Progress,
) -> Result<Kernel, Error> {
    let files = match selected {
        Selected::Path { path, .. } => of_path(path)?,
        Selected::Host => match of_kernel(catalogue, selected, cache, progress) {
            // The image of the running kernel is often for root only, its BTF is for all.
            Err(error) => of_directory(Path::new(RUNNING))?.ok_or(error)?,
            Ok(files) => files,
        },
        _ => of_kernel(catalogue, selected, cache, progress)?,
    };
    let store = Store::of(cache);
    let fingerprint = files.fingerprint()?;
    if let Some(seen) = store.seen(&fingerprint) {
        let btf = seen.btf.as_ref();
        let btf = btf.map(|hash| store.load(hash, &files.image));
        if !matches!(btf, Some(None)) {
            return Ok(Kernel {
                name: selected.name().to_owned(),
                release: seen.release,
                btf: btf.flatten(),
            });
        }
    }
    let btf = files.read()?;
    let release = files.release.clone();
    store.keep(&fingerprint, release.as_deref(), btf.as_ref());
    Ok(Kernel {
        name: selected.name().to_owned(),
        release,
        btf,
    })
}

/// A kernel of the catalogue, a pool, packages or this machine.
fn of_kernel(
    catalogue: &Catalogue,
    selected: &Selected,
    cache: &Cache,
    progress: &Progress,
) -> Result<Files, Error> {
    let kernel = kernel::provide(catalogue, selected, cache, progress)?;
    let modules = match kernel.modules {
        Some(directory) if directory.starts_with(cache.root()) => Modules::Cached(directory),
        Some(directory) => Modules::Files(modules::files(&directory)?),
        None => Modules::Files(Vec::new()),
    };
    Ok(Files {
        release: Some(kernel.release),
        image: kernel.image,
        others: Vec::new(),
        modules,
    })
}

/// A kernel that the user named by its path: also one that kiln cannot boot.
fn of_path(path: &Path) -> Result<Files, Error> {
    if !modules::named(Path::new(""), &[path.to_path_buf()]).is_empty() {
        // The file of one module.
        return Err(Error::NoBase {
            path: path.to_path_buf(),
        });
    }
    if path.is_dir() {
        if let Some(files) = of_directory(path)? {
            return Ok(files);
        }
    } else {
        let start = start_of(path)?;
        let is_raw = is_btf(&start);
        // Such a kernel may be for another architecture, which says nothing about BTF.
        if is_raw || start.starts_with(&object::elf::ELFMAG) {
            let located = if is_raw {
                None
            } else {
                kernel::locate(path).ok()
            };
            let modules = located
                .as_ref()
                .map_or_else(Vec::new, |found| found.modules.clone());
            return Ok(Files {
                release: located.map(|found| found.release),
                image: path.to_path_buf(),
                others: Vec::new(),
                modules: Modules::Files(modules),
            });
        }
    }
    let found = kernel::locate(path).map_err(|error| match error {
        kernel::Error::NoImage { .. } if has_modules(path) => Error::NoBase {
            path: path.to_path_buf(),
        },
        error => error.into(),
    })?;
    Ok(Files {
        release: Some(found.release),
        image: found.image,
        others: found.others,
        modules: Modules::Files(found.modules),
    })
}

fn has_modules(path: &Path) -> bool {
    modules::files(path).is_ok_and(|modules| !modules.is_empty())
}

/// A directory of raw BTF, as `/sys/kernel/btf` and `kiln btf extract` have it; `None` if it is
/// something else.
fn of_directory(directory: &Path) -> Result<Option<Files>, Error> {
    let image = directory.join(VMLINUX);
    if !image.is_file() || !is_btf(&start_of(&image)?) {
        return Ok(None);
    }
    let mut modules = Vec::new();
    let entries = fs::read_dir(directory).map_err(Error::io("read", directory))?;
    for entry in entries {
        let entry = entry.map_err(Error::io("read", directory))?;
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let name = entry.file_name().into_string().ok();
        if let Some(name) = name.filter(|name| name != VMLINUX && !is_directory) {
            let path = entry.path();
            modules.push(ModuleFile { name, path });
        }
    }
    modules.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Some(Files {
        release: None,
        image,
        others: Vec::new(),
        modules: Modules::Raw(modules),
    }))
}

/// Whether a file begins as raw BTF does, in either byte order.
fn is_btf(start: &[u8]) -> bool {
    start.starts_with(&[0x9f, 0xeb, 1]) || start.starts_with(&[0xeb, 0x9f, 1])
}

/// The first bytes of a file.
fn start_of(path: &Path) -> Result<Vec<u8>, Error> {
    let mut start = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(8).read_to_end(&mut start))
        .map_err(Error::io("read", path))?;
    Ok(start)
}

impl Files {
    fn fingerprint(&self) -> Result<String, Error> {
        let mut fingerprint = Fingerprint::new();
        let mut add = |path: &Path| fingerprint.add(path).map_err(Error::io("read", path));
        add(&self.image)?;
        for other in &self.others {
            add(other)?;
        }
        match &self.modules {
            Modules::Files(files) => files.iter().try_for_each(|module| add(&module.path))?,
            Modules::Raw(files) => {
                for file in files {
                    // A link to nothing is not BTF.
                    if fingerprint.add(&file.path).is_err() {
                        fingerprint.add_name(&file.path);
                    }
                }
            }
            Modules::Cached(directory) => fingerprint.add_name(directory),
        }
        Ok(fingerprint.finish())
    }

    /// Reads it all; `None` if the image has no BTF.
    fn read(&self) -> Result<Option<KernelBtf>, Error> {
        for image in std::iter::once(&self.image).chain(&self.others) {
            if let Some(vmlinux) = of_image(image)? {
                let modules = match &self.modules {
                    Modules::Files(files) => read_modules(files)?,
                    Modules::Raw(files) => read_modules(&raw(files)?)?,
                    Modules::Cached(directory) => read_modules(&modules::files(directory)?)?,
                };
                return KernelBtf::read(image, vmlinux, modules).map(Some);
            }
        }
        Ok(None)
    }
}

/// Those of these files that are raw BTF.
fn raw(files: &[ModuleFile]) -> Result<Vec<ModuleFile>, Error> {
    let mut found = Vec::new();
    for file in files {
        if file.path.is_file() && is_btf(&start_of(&file.path)?) {
            found.push(file.clone());
        }
    }
    Ok(found)
}

/// The BTF in an image or a raw file.
fn of_image(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let start = start_of(path)?;
    if is_btf(&start) {
        return fs::read(path).map(Some).map_err(Error::io("read", path));
    }
    if start.starts_with(&object::elf::ELFMAG) {
        return Ok(elf::of_file(path)?.btf);
    }
    let Some(vmlinux) = image::vmlinux(path)? else {
        return Ok(None);
    };
    let found = elf::of_bytes(&vmlinux).map_err(|reason| Error::Elf {
        path: path.to_path_buf(),
        reason,
    })?;
    Ok(found.btf)
}

/// Reads the BTF of modules, which is mostly unpacking them: all processors share it.
fn read_modules(files: &[ModuleFile]) -> Result<Vec<RawModule>, Error> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, RawModule)>, Error> {
        let mut read = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = files.get(index) else {
                return Ok(read);
            };
            if let Some(module) = read_module(file)? {
                read.push((index, module));
            }
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let mut modules = thread::scope(|scope| {
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let mut modules = Vec::new();
        for handle in handles {
            match handle.join() {
                Ok(read) => modules.extend(read?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok::<_, Error>(modules)
    })?;
    modules.sort_by_key(|(index, _)| *index);
    Ok(modules.into_iter().map(|(_, module)| module).collect())
}

/// Reads a module; `None` if it has no BTF.
fn read_module(file: &ModuleFile) -> Result<Option<RawModule>, Error> {
    let bytes = modules::decompress(&file.path)?;
    let found = if is_btf(&bytes) {
        elf::ElfBtf {
            btf: Some(bytes),
            base: None,
        }
    } else {
        elf::of_bytes(&bytes).map_err(|reason| Error::Elf {
            path: file.path.clone(),
            reason,
        })?
    };
    Ok(found.btf.map(|btf| RawModule {
        name: file.name.clone(),
        path: file.path.clone(),
        btf,
        base: found.base,
    }))
}
