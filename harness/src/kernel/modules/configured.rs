//! What a kernel has by its configuration, where its modules say too little.

use super::index::{Index, Knowledge};
use crate::kernel::options::{Options, Value};

/// The modules that a guest boots with, and the option that builds each.
const OPTIONS: [(&str, &str); 9] = [
    ("virtio_mmio", "VIRTIO_MMIO"),
    ("virtio_pci", "VIRTIO_PCI"),
    ("virtio_console", "VIRTIO_CONSOLE"),
    ("fuse", "FUSE_FS"),
    ("virtiofs", "VIRTIO_FS"),
    ("9p", "9P_FS"),
    ("9pnet_virtio", "NET_9P_VIRTIO"),
    ("overlay", "OVERLAY_FS"),
    ("8250", "SERIAL_8250"),
];

/// The option that builds a module, with `CONFIG_`.
pub(super) fn option(module: &str) -> String {
    let known = OPTIONS.iter().find(|(name, _)| *name == module);
    match known {
        Some((_, option)) => format!("CONFIG_{option}"),
        None => format!("CONFIG_{}", module.to_uppercase()),
    }
}

impl Index {
    /// The same kernel with its configuration, which says what is built in if its modules do not:
    /// there are none, or they came without `modules.builtin`.
    #[must_use]
    pub fn configured(mut self, options: Options) -> Self {
        if self.knowledge
            == (Knowledge::Directory {
                lists_builtins: true,
            })
        {
            self.options = Some(options);
            return self;
        }
        for (module, option) in OPTIONS {
            match options.get(option) {
                Some(Value::Yes) => _ = self.builtins.insert(module.to_owned()),
                Some(Value::Module) => {
                    self.absent.insert(module.to_owned());
                    if !self.by_name.contains_key(module) {
                        self.elsewhere.insert(module.to_owned());
                    }
                }
                _ => _ = self.absent.insert(module.to_owned()),
            }
        }
        if let Knowledge::Directory { lists_builtins } = &mut self.knowledge {
            *lists_builtins = true;
        }
        self.options = Some(options);
        self
    }

    /// The kernel's configuration, if it is known.
    pub fn options(&self) -> Option<&Options> {
        self.options.as_ref()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::fixture::tree;
    use super::super::index::Availability;
    use super::*;
    use crate::hint::Hint as _;

    const TEXT: &str = "CONFIG_VIRTIO_PCI=y\nCONFIG_9P_FS=y\nCONFIG_FUSE_FS=m\n";

    fn options() -> Options {
        Options::parse_part(TEXT).unwrap()
    }

    #[test]
    fn an_image_alone_has_what_its_configuration_says() {
        let index = Index::all_builtin().configured(options());
        for (name, expected) in [
            ("virtio_pci", Availability::Builtin),
            ("virtio_mmio", Availability::Absent),
            ("fuse", Availability::Absent),
            // Nobody asks the configuration about others.
            ("xfs", Availability::Builtin),
        ] {
            assert_eq!(index.provides(name), expected, "{name}");
        }
        let error = index.cannot_boot(&["fuse".to_owned()]);
        assert!(error.hints()[0].contains("make modules"), "{error:?}");
        let error = index.cannot_boot(&["virtio_mmio".to_owned()]);
        assert!(!error.hints()[0].contains("make modules"), "{error:?}");
    }

    #[test]
    fn modules_without_a_list_of_builtins_are_joined_by_what_is_built_in() {
        let dir = tree(&[("kernel/fuse.ko", &[]), ("kernel/virtio_mmio.ko", &[])]);
        let index = Index::open(dir.path()).unwrap().configured(options());
        for (name, expected) in [
            ("fuse", Availability::Module),
            ("virtio_mmio", Availability::Module),
            ("virtio_pci", Availability::Builtin),
            ("overlay", Availability::Absent),
        ] {
            assert_eq!(index.provides(name), expected, "{name}");
        }
        let hints = index.cannot_boot(&["overlay".to_owned()]).hints();
        assert!(!hints[0].contains("modules.builtin"), "{hints:?}");
    }

    #[test]
    fn a_list_of_builtins_counts_more_than_the_configuration() {
        let dir = tree(&[]);
        let builtin = dir.path().join("modules.builtin");
        std::fs::write(builtin, "kernel/fs/overlayfs/overlay.ko\n").unwrap();
        let index = Index::open(dir.path()).unwrap().configured(options());
        assert_eq!(index.provides("overlay"), Availability::Builtin);
        assert_eq!(index.provides("virtio_pci"), Availability::Absent);
        assert!(index.options().is_some());
    }
}
