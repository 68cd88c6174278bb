//! What can be wrong with a kernel's modules.

use std::io;
use std::path::PathBuf;

use crate::hint::{Hint, readable};

/// Why the modules of a kernel cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A metadata file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file to be written.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A compressed module does not unpack.
    #[error("the {compression} module {} is damaged", path.display())]
    Unpack {
        /// The module.
        path: PathBuf,
        /// How it is compressed.
        compression: &'static str,
        /// The decoder's error.
        source: io::Error,
    },
    /// A file that is named like a module is not one.
    #[error("{} is not a kernel module: {reason}", path.display())]
    NotAModule {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The kernel does not have requested modules.
    #[error("the kernel has no module, alias or builtin {} ({})", list(names), dir.display())]
    Unknown {
        /// All of them.
        names: Vec<String>,
        /// The directory that was searched.
        dir: PathBuf,
    },
    /// A module needs one that does not exist.
    #[error("module {module} needs {dependency}, which is not in {}", dir.display())]
    MissingDependency {
        /// The module.
        module: String,
        /// What it needs.
        dependency: String,
        /// The directory that was searched.
        dir: PathBuf,
    },
    /// Modules depend on each other in a circle.
    #[error("modules need each other: {}", chain.join(" -> "))]
    Cycle {
        /// From a module through what it needs back to itself.
        chain: Vec<String>,
    },
    /// The kernel lacks something that every guest needs to boot.
    #[error(
        "the kernel has no {}, neither as a module nor built in{}",
        list(names),
        place(dir.as_ref())
    )]
    CannotBoot {
        /// Every missing module.
        names: Vec<String>,
        /// The directory that was searched, if there is one.
        dir: Option<PathBuf>,
        /// Whether it contains a `modules.builtin`, without which builtins are unknown.
        lists_builtins: bool,
        /// Whether its `modules.order` lists some of them: they were built, and
        /// lie elsewhere.
        built: bool,
    },
}

impl Hint for Error {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Unpack { .. } | Self::NotAModule { .. } | Self::MissingDependency { .. } => {
                vec!["fetch or install the kernel's modules again".to_owned()]
            }
            Self::CannotBoot {
                names,
                dir,
                lists_builtins,
                built,
            } => {
                let mut hints = Vec::new();
                if *built {
                    hints.push(
                        "modules.order lists some of them: they are in another package of this \
                         kernel (kernel-modules-core, linux-modules-extra-…): give both, -k A,B"
                            .to_owned(),
                    );
                }
                if let (Some(dir), false) = (dir, lists_builtins) {
                    hints.push(format!(
                        "there is no modules.builtin in {}: if these are built in, add that file \
                         from the kernel's build or package",
                        dir.display()
                    ));
                }
                let options: Vec<_> = names.iter().map(|name| config_options(name)).collect();
                hints.push(format!(
                    "build the kernel with {} (=m or =y), or choose another",
                    options.join(", ")
                ));
                hints
            }
            Self::Read { path, source } if source.kind() == io::ErrorKind::PermissionDenied => {
                vec![readable(path)]
            }
            Self::Read { .. } | Self::Write { .. } | Self::Unknown { .. } | Self::Cycle { .. } => {
                Vec::new()
            }
        }
    }
}

/// The options of modules that are alternatives, or belong together.
fn config_options(modules: &str) -> String {
    let words = modules.split(' ').map(|word| match word {
        "or" | "with" => word.to_owned(),
        module => config_option(module),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The kernel option that builds a boot module.
fn config_option(module: &str) -> String {
    match module {
        "fuse" => "CONFIG_FUSE_FS".to_owned(),
        "virtiofs" => "CONFIG_VIRTIO_FS".to_owned(),
        "9p" => "CONFIG_9P_FS".to_owned(),
        "9pnet_virtio" => "CONFIG_NET_9P_VIRTIO".to_owned(),
        "overlay" => "CONFIG_OVERLAY_FS".to_owned(),
        option if option.starts_with("CONFIG_") => option.to_owned(),
        other => format!("CONFIG_{}", other.to_uppercase()),
    }
}

fn list(names: &[String]) -> String {
    names.join(", ")
}

fn place(dir: Option<&PathBuf>) -> String {
    dir.map_or_else(String::new, |dir| format!(" ({})", dir.display()))
}
