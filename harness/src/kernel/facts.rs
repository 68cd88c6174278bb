//! What is known about a kernel without booting it: from its configuration, its modules and its
//! image.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::kconfig::ORIGIN;
use super::modules::{self, Availability, Index};
use super::options::{Options, OptionsError, Value};
use super::{KernelImage, image};
use crate::config::numbers;

/// Options that can be modules, with the names of these where they matter here.
const MODULES: [(&str, &str); 18] = [
    ("9P_FS", "9p"),
    ("BINFMT_SCRIPT", "binfmt_script"),
    ("DUMMY", "dummy"),
    ("FUSE_FS", "fuse"),
    ("IKCONFIG", "configs"),
    ("IKHEADERS", "kheaders"),
    ("KVM", "kvm"),
    ("NET_9P", "9pnet"),
    ("NET_9P_VIRTIO", "9pnet_virtio"),
    ("NF_TABLES", "nf_tables"),
    ("OVERLAY_FS", "overlay"),
    ("VIRTIO", "virtio"),
    ("VIRTIO_CONSOLE", "virtio_console"),
    ("VIRTIO_FS", "virtiofs"),
    ("VIRTIO_MMIO", "virtio_mmio"),
    ("VIRTIO_PCI", "virtio_pci"),
    ("VSOCKETS", "vsock"),
    ("XFS_FS", "xfs"),
];

/// The module that an option builds, where kiln knows it.
pub fn module_of(option: &str) -> Option<&'static str> {
    let found = MODULES.iter().find(|(known, _)| *known == option);
    found.map(|(_, module)| *module)
}

/// The option that builds a module.
pub fn option_of(module: &str) -> Option<&'static str> {
    let found = MODULES.iter().find(|(_, known)| *known == module);
    found.map(|(option, _)| *option)
}

/// How a kernel has something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// In the image.
    BuiltIn,
    /// As a module that is there.
    Module,
    /// As a module that is not there.
    ModuleNotThere,
    /// Not at all.
    Missing,
    /// Nothing says.
    Unknown,
}

impl Presence {
    /// Whether a guest can use it.
    pub fn is_there(self) -> bool {
        matches!(self, Self::BuiltIn | Self::Module)
    }
}

/// A configuration that is there but cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {why}", path.display())]
pub struct BadConfig {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

impl BadConfig {
    fn new(path: &Path, error: &OptionsError) -> Self {
        Self {
            path: path.to_owned(),
            line: error.line(),
            why: error.to_string(),
        }
    }
}

/// What is known about a kernel.
#[derive(Debug)]
pub struct Facts {
    options: Option<Options>,
    bad_config: Option<BadConfig>,
    /// The modules, and where they are if there are any.
    index: Index,
    modules: Option<PathBuf>,
    /// Version of Linux, major and minor, from the release.
    version: Option<(u64, u64)>,
}

impl Facts {
    /// Reads what lies beside the image of a kernel.
    pub fn of(kernel: &KernelImage) -> Result<Self, modules::Error> {
        let mut facts = Self {
            options: None,
            bad_config: None,
            index: kernel.index()?,
            modules: kernel.modules.clone(),
            version: version(&kernel.release),
        };
        if let Some(path) = &kernel.config {
            match read(path, &kernel.release) {
                Ok(options) => facts.options = Some(options),
                Err(bad) => facts.bad_config = Some(bad),
            }
        }
        Ok(facts)
    }

    /// A kernel of which these modules and this configuration are known.
    #[cfg(test)]
    pub fn made(index: Index, options: Option<&str>) -> Self {
        let options = options.map(|text| Options::parse_part(text).unwrap_or_default());
        Self {
            options,
            bad_config: None,
            modules: index.is_of_directory().then(PathBuf::new),
            index,
            version: Some((6, 12)),
        }
    }

    /// Its modules.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Whether its configuration is known.
    pub fn has_config(&self) -> bool {
        self.options.is_some()
    }

    /// Why the configuration that lies beside the kernel is not used.
    pub fn bad_config(&self) -> Option<&BadConfig> {
        self.bad_config.as_ref()
    }

    /// What most of this is known by.
    pub fn source(&self) -> &'static str {
        match (&self.options, &self.modules) {
            (Some(_), _) => "its configuration",
            (None, Some(_)) => "its modules",
            (None, None) => "nothing: all is taken to be built in",
        }
    }

    /// Version of Linux: major and minor.
    pub fn version(&self) -> Option<(u64, u64)> {
        self.version
    }

    /// Whether modules are there that it can load.
    pub fn has_modules(&self) -> bool {
        self.modules.is_some() && self.index.has_files()
    }

    /// How the kernel has an option, without `CONFIG_`.
    pub fn option(&self, option: &str) -> Presence {
        let module = module_of(option);
        let listed = module.map(|module| self.listed(module));
        let Some(options) = &self.options else {
            return match listed {
                Some(Some(presence)) => presence,
                // Only a list of the built-in modules tells.
                Some(None) if self.index.lists_builtins() => Presence::Missing,
                _ => Presence::Unknown,
            };
        };
        match (options.get(option), listed.flatten()) {
            (Some(Value::Yes | Value::Text(_)), _) => Presence::BuiltIn,
            // A module may also have been built apart from the kernel.
            (_, Some(presence)) => presence,
            (Some(Value::Module), None) if module.is_some() => Presence::ModuleNotThere,
            (Some(Value::Module), None) => Presence::Module,
            (None, None) => Presence::Missing,
        }
    }

    /// The value of an option that is a number, if the configuration is known.
    pub fn number(&self, option: &str) -> Option<u64> {
        match self.options.as_ref()?.get(option)? {
            Value::Text(number) => number.parse().ok(),
            Value::Yes | Value::Module => None,
        }
    }

    /// How the kernel has a module, by its name.
    pub fn module(&self, module: &str) -> Presence {
        match (option_of(module), self.listed(module)) {
            (_, Some(presence)) => presence,
            (Some(option), None) => self.option(option),
            (None, None) if self.index.lists_builtins() => Presence::Missing,
            (None, None) => Presence::Unknown,
        }
    }

    /// How the kernel has a module, by what lies in its directory; `None` if that says nothing.
    pub fn listed(&self, module: &str) -> Option<Presence> {
        self.modules.as_ref()?;
        match self.index.provides(module) {
            Availability::Module => Some(Presence::Module),
            Availability::Builtin => Some(Presence::BuiltIn),
            Availability::Absent => None,
        }
    }
}

/// Facts that take longer, as they are in the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageFacts {
    /// It has type information (`.BTF`); `None` if the image cannot be looked into.
    pub btf: Option<bool>,
    /// QEMU enters it directly.
    pub pvh: bool,
}

impl ImageFacts {
    /// Looks into the image of a kernel.
    pub fn of(kernel: &KernelImage) -> Self {
        // What cannot be unpacked here may still boot.
        let vmlinux = image::vmlinux(&kernel.image).ok().flatten();
        Self {
            btf: vmlinux.as_deref().and_then(image::has_btf),
            pvh: is_elf(&kernel.image),
        }
    }
}

/// Whether a prepared image is an ELF file: one without a PVH entry is not taken.
fn is_elf(image: &Path) -> bool {
    let mut magic = [0; 4];
    File::open(image)
        .and_then(|mut file| file.read_exact(&mut magic))
        .is_ok_and(|()| magic == *b"\x7fELF")
}

/// Whether a text is the whole configuration of a kernel.
pub fn is_config(text: &str) -> bool {
    Options::parse(text).is_ok()
}

fn read(path: &Path, release: &str) -> Result<Options, BadConfig> {
    // The user's own file, of which this is a copy.
    let shown = fs::read(path.with_file_name(ORIGIN))
        .ok()
        .and_then(|origin| Some(PathBuf::from(String::from_utf8(origin).ok()?)))
        .unwrap_or_else(|| path.to_owned());
    let text = fs::read(path).map_err(|error| BadConfig {
        path: shown.clone(),
        line: 1,
        why: error.to_string(),
    })?;
    let options = Options::parse(&String::from_utf8_lossy(&text))
        .map_err(|error| BadConfig::new(&shown, &error))?;
    let of = options.version().and_then(version);
    match (of, version(release)) {
        (Some(of), Some(of_release)) if of != of_release => Err(BadConfig {
            path: shown,
            line: 1,
            why: format!(
                "it is the configuration of Linux {}, and the kernel is {release}",
                options.version().unwrap_or_default()
            ),
        }),
        _ => Ok(options),
    }
}

/// Major and minor version of a release, such as `6.1.0-50-cloud`.
pub(super) fn version(release: &str) -> Option<(u64, u64)> {
    let numbers = numbers(release);
    Some((*numbers.first()?, *numbers.get(1)?))
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
