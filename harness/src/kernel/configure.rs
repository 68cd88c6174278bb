//! Adds the configuration to kernels that an older kiln cached without it.

use std::fs;
use std::path::Path;

use super::cache::{Cache, Key};
use super::layout::Layout;
use super::prepare::{self, Taking};
use super::{Error, KernelImage, Progress};
use crate::hint::with_causes;

impl Cache {
    /// The cached `kernel` of `key`, with its configuration if `get` can find or fetch the kernel
    /// once more. Nothing else of it changes: other kilns may be using it.
    pub(super) fn with_configuration(
        &self,
        key: &Key,
        kernel: KernelImage,
        progress: &Progress,
        get: impl FnOnce(&Path) -> Result<(Layout, Taking), Error>,
    ) -> KernelImage {
        match self.add_configuration(key, &kernel, progress, get) {
            Ok(()) => self.prepared(key, &kernel.name).unwrap_or(kernel),
            // The user wants no network: nothing is wrong.
            Err(Error::Offline { .. }) => kernel,
            Err(error) => {
                let why = with_causes(&error);
                progress.line(&format!(
                    "kernel \"{}\" was cached by an older kiln without its configuration, which is \
                     still missing: {why}",
                    kernel.name
                ));
                prepare::put_off_configuration(&self.kernel_dir(key), &why);
                kernel
            }
        }
    }

    fn add_configuration(
        &self,
        key: &Key,
        kernel: &KernelImage,
        progress: &Progress,
        get: impl FnOnce(&Path) -> Result<(Layout, Taking), Error>,
    ) -> Result<(), Error> {
        let lock = self.lock(&key.to_string(), || progress.waiting(&kernel.name))?;
        let target = self.kernel_dir(key);
        // Somebody else may have added it meanwhile.
        if !prepare::wants_configuration(&target) {
            return Ok(());
        }
        let filling = self.begin(key, lock)?;
        let (layout, taking) = get(&filling.work())?;
        let added = filling.kernel();
        prepare::write_configuration(&layout, taking, &kernel.image, &added)?;
        for entry in fs::read_dir(&added).map_err(Error::io("read", &added))? {
            let from = entry.map_err(Error::io("read", &added))?.path();
            let to = target.join(from.file_name().unwrap_or_default());
            fs::rename(&from, &to).map_err(Error::io("create", &to))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::cell::Cell;
    use std::time::{Duration, SystemTime};

    use super::super::image::test_image::image;
    use super::super::layout::Modules;
    use super::*;

    /// A cached kernel as an older kiln left it, and the directory that it was made of.
    struct Old {
        dir: tempfile::TempDir,
        cache: Cache,
        gets: Cell<usize>,
    }

    impl Old {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let cache = Cache::at(dir.path().join("cache"));
            let old = Self {
                cache,
                gets: Cell::new(0),
                dir,
            };
            fs::create_dir(old.source()).unwrap();
            fs::write(old.source().join("vmlinuz"), image("6.1.0-1")).unwrap();
            old.provide(&|| Ok(old.layout()));
            for name in ["config", "config-none"] {
                let _ = fs::remove_file(old.kernel_dir().join(name));
            }
            old.gets.set(0);
            old
        }

        fn source(&self) -> std::path::PathBuf {
            self.dir.path().join("source")
        }

        fn kernel_dir(&self) -> std::path::PathBuf {
            self.cache.kernel_dir(&key())
        }

        fn layout(&self) -> (Layout, Taking) {
            let layout = Layout {
                image: self.source().join("vmlinuz"),
                others: Vec::new(),
                release: "6.1.0-1".to_owned(),
                modules: Modules::None,
            };
            (layout, Taking::Move)
        }

        /// The configuration of the kernel, if kiln has it.
        fn provide(
            &self,
            get: &dyn Fn() -> Result<(Layout, Taking), Error>,
        ) -> Option<std::path::PathBuf> {
            let got = |_: &Path| {
                self.gets.set(self.gets.get() + 1);
                get()
            };
            let kernel = self.cache.provide(&key(), "6.1", &Progress::silent(), got);
            kernel.unwrap().config
        }
    }

    fn key() -> Key {
        Key::new("test", [b"a".as_slice()])
    }

    #[test]
    fn a_kernel_that_was_cached_without_its_configuration_gets_it_once() {
        let old = Old::new();
        fs::write(old.source().join("config-6.1.0-1"), "CONFIG_HZ=250\n").unwrap();
        let before = fs::metadata(old.kernel_dir().join("image")).unwrap();
        for _ in 0..2 {
            let config = old.provide(&|| Ok(old.layout())).unwrap();
            assert_eq!(fs::read_to_string(config).unwrap(), "CONFIG_HZ=250\n");
        }
        assert_eq!(old.gets.get(), 1);
        let now = fs::metadata(old.kernel_dir().join("image")).unwrap();
        assert_eq!(before.modified().unwrap(), now.modified().unwrap());
        let left = fs::read_dir(old.cache.root().join("tmp")).unwrap().count();
        assert_eq!(left, 0);
    }

    #[test]
    fn a_kernel_without_any_configuration_is_looked_at_once() {
        let old = Old::new();
        for _ in 0..2 {
            assert_eq!(old.provide(&|| Ok(old.layout())), None);
        }
        assert_eq!(old.gets.get(), 1);
    }

    #[test]
    fn a_configuration_that_cannot_be_fetched_is_asked_for_again_a_day_later() {
        let old = Old::new();
        let gone = || {
            Err(Error::NoImage {
                path: "nowhere".into(),
            })
        };
        assert_eq!(old.provide(&gone), None);
        assert_eq!(old.provide(&gone), None);
        assert_eq!(old.gets.get(), 1);
        fs::write(old.source().join("config-6.1.0-1"), "CONFIG_HZ=250\n").unwrap();
        let marker = fs::File::options()
            .write(true)
            .open(old.kernel_dir().join("config-none"))
            .unwrap();
        let yesterday = SystemTime::now() - Duration::from_secs(25 * 60 * 60);
        marker.set_modified(yesterday).unwrap();
        assert!(old.provide(&|| Ok(old.layout())).is_some());
        assert_eq!(old.gets.get(), 2);
    }
}
