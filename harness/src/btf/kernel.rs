//! The BTF of one kernel: its image's and its modules'.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::bytes::{Bytes, Numbers};
use super::names::{Entry, Names, Unit, VMLINUX};
use super::raw::{Damage, Sections};
use super::types::{Btf, Type};
use super::{Error, distilled};

/// The BTF of a kernel and its modules, by name.
#[derive(Debug)]
pub struct KernelBtf {
    origin: PathBuf,
    vmlinux: Arc<Btf>,
    modules: Vec<Module>,
    names: Names,
}

/// The BTF of a module, which is read when somebody asks for it.
#[derive(Debug)]
struct Module {
    name: String,
    bytes: Bytes,
    parsed: OnceLock<Arc<Btf>>,
}

/// What was found of a module, before it is known to fit its kernel.
#[derive(Debug)]
pub(super) struct RawModule {
    /// As `lsmod` names it.
    pub(super) name: String,
    /// The file, for messages.
    pub(super) path: PathBuf,
    pub(super) btf: Vec<u8>,
    pub(super) base: Option<Vec<u8>>,
}

impl KernelBtf {
    /// That of an image without modules.
    pub fn of_image(vmlinux: Vec<u8>) -> Result<Self, Error> {
        Self::read(Path::new("vmlinux"), vmlinux, Vec::new())
    }

    /// Reads all BTF of a kernel from `origin`, and indexes it.
    pub(super) fn read(
        origin: &Path,
        vmlinux: Vec<u8>,
        modules: Vec<RawModule>,
    ) -> Result<Self, Error> {
        let vmlinux = Arc::new(Btf::parse(vmlinux).map_err(Error::damaged(origin))?);
        let mut parsed = Vec::with_capacity(modules.len());
        for raw in modules {
            let btf = read_module(&raw, &vmlinux, origin)?;
            parsed.push((raw.name, Arc::new(btf)));
        }
        let units = std::iter::once(&*vmlinux).chain(parsed.iter().map(|(_, btf)| &**btf));
        let names = Names::index(units);
        let modules = parsed
            .into_iter()
            .map(|(name, btf)| Module {
                name,
                bytes: Bytes::default(),
                parsed: OnceLock::from(btf),
            })
            .collect();
        Ok(Self {
            origin: origin.to_path_buf(),
            vmlinux,
            modules,
            names,
        })
    }

    /// Puts together what was stored.
    pub(super) fn stored(
        origin: &Path,
        vmlinux: Bytes,
        offsets: Numbers,
        names: Names,
        modules: Vec<(String, Bytes)>,
    ) -> Result<Self, Error> {
        Ok(Self {
            origin: origin.to_path_buf(),
            vmlinux: Arc::new(Btf::stored(vmlinux, offsets).map_err(Error::damaged(origin))?),
            modules: modules
                .into_iter()
                .map(|(name, bytes)| Module {
                    name,
                    bytes,
                    parsed: OnceLock::new(),
                })
                .collect(),
            names,
        })
    }

    /// The BTF of the image.
    pub fn vmlinux(&self) -> &Arc<Btf> {
        &self.vmlinux
    }

    /// All names in it.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The units: the image's first, then the modules'.
    pub fn units(&self) -> std::ops::Range<Unit> {
        // More modules than that are nowhere.
        let count = Unit::try_from(self.modules.len() + 1).unwrap_or(Unit::MAX);
        VMLINUX..count
    }

    /// The name of the module that a unit is; `None` for the image.
    pub fn module(&self, unit: Unit) -> Option<&str> {
        let module = self.modules.get(usize::from(unit).checked_sub(1)?)?;
        Some(&module.name)
    }

    /// The unit of the module with this name.
    pub fn unit_of(&self, module: &str) -> Option<Unit> {
        let index = self.modules.iter().position(|other| other.name == module)?;
        Unit::try_from(index + 1).ok()
    }

    /// The BTF of a unit. That of a module is read now, unless it has been.
    pub fn unit(&self, unit: Unit) -> Result<&Arc<Btf>, Error> {
        let module = usize::from(unit).checked_sub(1);
        let Some(module) = module.and_then(|index| self.modules.get(index)) else {
            return Ok(&self.vmlinux);
        };
        if let Some(btf) = module.parsed.get() {
            return Ok(btf);
        }
        let base = Some(Arc::clone(&self.vmlinux));
        let btf = Btf::trust(module.bytes.clone(), base).map_err(Error::damaged(&self.origin))?;
        Ok(module.parsed.get_or_init(|| Arc::new(btf)))
    }

    /// The type of an entry of [`KernelBtf::names`]; for a value, its enum.
    pub fn ty(&self, entry: Entry) -> Result<Type<'_>, Error> {
        Ok(self.unit(entry.unit)?.ty(entry.id))
    }
}

/// Reads the BTF of a module over that of its kernel, which comes from `origin`.
fn read_module(raw: &RawModule, kernel: &Arc<Btf>, origin: &Path) -> Result<Btf, Error> {
    let other_base = |source| Error::OtherBase {
        module: raw.path.clone(),
        base: origin.to_path_buf(),
        source,
    };
    if let Some(base) = &raw.base {
        let base = Btf::parse(base.clone()).map_err(Error::damaged(&raw.path))?;
        let split = Btf::parse_split(raw.btf.clone(), Arc::new(base));
        let split = split.map_err(Error::damaged(&raw.path))?;
        let bytes = distilled::relocate(&split, kernel).map_err(other_base)?;
        return Btf::parse_split(bytes, Arc::clone(kernel)).map_err(Error::damaged(&raw.path));
    }
    let split = Btf::parse_split(raw.btf.clone(), Arc::clone(kernel)).and_then(belongs);
    split.map_err(|damage| {
        // What is cut short is so over any base.
        match Sections::parse(&raw.btf).and_then(|sections| sections.records(&raw.btf)) {
            Ok(_) => other_base(damage),
            Err(_) => Error::damaged(&raw.path)(damage),
        }
    })
}

/// Refuses split BTF over another base than its own: its names are then found within others, since
/// the offsets of its strings begin where those of its base end.
fn belongs(split: Btf) -> Result<Btf, Damage> {
    for ty in split.own() {
        for (at, offset) in ty.string_references() {
            if !split.begins_string(offset) {
                let what = format!(
                    "a name of {} {} begins within the string that ends in '{}'",
                    ty.kind(),
                    ty.id(),
                    split.string(offset)
                );
                return Err(Damage::at(split.offset_of(ty.id()) + at, what));
            }
        }
    }
    Ok(split)
}
