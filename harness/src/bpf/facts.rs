//! Everything that an object is checked against of one kernel.

use std::path::PathBuf;
use std::sync::OnceLock;

use super::kernel::KernelTypes;
use super::version;
use crate::btf::{self, KernelBtf};
use crate::config::{Catalogue, Selected};
use crate::kernel::{self, Cache, Progress, Symbols};

/// What is known of one kernel.
#[derive(Debug)]
pub struct Facts {
    /// The name by which it was selected.
    pub name: String,
    /// `uname -r`, where it is known.
    pub release: Option<String>,
    /// Its types; `None` if it was built without BTF.
    pub btf: Option<KernelBtf>,
    /// Its configuration, where it is known.
    pub config: Option<String>,
    /// Its image, where there is one.
    pub image: Option<PathBuf>,
    /// What has to be read from the image for it.
    pub of_image: OnceLock<OfImage>,
}

/// What is read from the image when somebody asks for it.
#[derive(Debug, Default)]
pub struct OfImage {
    symbols: Option<Symbols>,
    version_code: Option<u32>,
}

impl Facts {
    /// Of `selected`. Fetches the kernel if it is not at hand.
    ///
    /// Blocks while it downloads and unpacks; call it where blocking is allowed.
    pub fn load(
        catalogue: &Catalogue,
        selected: &Selected,
        cache: &Cache,
        progress: &Progress,
    ) -> Result<Self, btf::Error> {
        let found = btf::open(catalogue, selected, cache, progress)?;
        // Raw BTF is no kernel that could be booted.
        let kernel = kernel::provide(catalogue, selected, cache, progress).ok();
        let config = kernel.as_ref().and_then(|kernel| kernel.config.clone());
        let config = config.and_then(|path| std::fs::read(path).ok());
        Ok(Self {
            name: found.name,
            release: found
                .release
                .or_else(|| Some(kernel.as_ref()?.release.clone())),
            btf: found.btf,
            config: config.map(|text| String::from_utf8_lossy(&text).into_owned()),
            image: kernel.map(|kernel| kernel.image),
            of_image: OnceLock::new(),
        })
    }

    /// Its types; `None` if it was built without BTF.
    pub fn types(&self) -> Option<KernelTypes<'_>> {
        self.btf.as_ref().map(KernelTypes::new)
    }

    /// Its functions and variables, where its image tells them.
    pub fn symbols(&self) -> Option<&Symbols> {
        self.of_image().symbols.as_ref()
    }

    /// Its version as C programs compare it (`LINUX_VERSION_CODE`).
    pub fn version_code(&self) -> Option<u32> {
        let of_release = || version::code(self.release.as_deref()?);
        self.of_image().version_code.or_else(of_release)
    }

    fn of_image(&self) -> &OfImage {
        self.of_image.get_or_init(|| {
            let vmlinux = self.image.as_ref();
            let vmlinux = vmlinux.and_then(|image| kernel::image::vmlinux(image).ok().flatten());
            let Some(vmlinux) = vmlinux else {
                return OfImage::default();
            };
            OfImage {
                symbols: Symbols::parse(&vmlinux),
                version_code: version::of_image(&vmlinux),
            }
        })
    }
}
