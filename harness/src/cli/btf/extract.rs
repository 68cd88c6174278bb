//! `kiln btf extract`.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::Failure;
use super::super::context::Context;
use super::super::output;
use super::kernels::{each, failure, select, without_btf};
use crate::blocking::blocking;
use crate::bpf::{self, KernelTypes, Object};
use crate::btf::{KernelBtf, hub};
use crate::config::{Selected, Source};
use crate::exit_code;
use crate::report::escape;
use crate::whole_file;

/// Arguments of `kiln btf extract`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  kiln btf extract -k 6.12 btf/
  kiln btf extract -k debian:series --hub archive/
  kiln btf extract -k 6.12 btf/ --min prog.bpf.o")]
pub(super) struct ExtractArgs {
    /// Directory to write to: the files vmlinux and one for each module, as /sys/kernel/btf has
    /// them; for several kernels, in a directory for each
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Kernel, as for `kiln btf show` [default: all of kernels.toml]
    #[arg(short, long = "kernel", value_name = "KERNEL")]
    kernels: Vec<String>,
    /// Write only what these BPF objects need of the kernel's types, for libbpf's btf_custom_path, as
    /// `bpftool gen min_core_btf` does
    #[arg(long, value_name = "OBJECT", num_args = 1.., conflicts_with = "hub")]
    min: Vec<PathBuf>,
    /// Write archives in BTFHub's layout instead: DISTRIBUTION/VERSION/ARCHITECTURE/RELEASE.btf.tar.xz
    #[arg(long)]
    hub: bool,
    /// Distribution and version for --hub, such as ubuntu/24.04, of kernels that do not tell
    #[arg(long, value_name = "DISTRIBUTION/VERSION", requires = "hub", value_parser = two_words)]
    hub_distribution: Option<String>,
}

/// Becomes two directories.
fn two_words(text: &str) -> Result<String, String> {
    let is_word = |word: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        !word.is_empty() && !word.starts_with('.') && word.chars().all(fits)
    };
    match text.split_once('/') {
        Some((name, version)) if is_word(name) && is_word(version) => Ok(text.to_owned()),
        _ => Err("not DISTRIBUTION/VERSION".to_owned()),
    }
}

impl ExtractArgs {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Failure> {
        let paths = self.min.clone();
        let objects = blocking(move || {
            let objects = paths.iter().map(|path| Object::read(path));
            objects.collect::<Result<Vec<_>, _>>()
        });
        let objects = objects.await?;
        let selected = select(context, &self.kernels).await?;
        let several = selected.len() > 1;
        let written = each(context, selected, move |selected, kernel| {
            let name = selected.name();
            let kernel = kernel.map_err(|error| failure(name, &error))?;
            let btf = kernel.btf.as_ref().ok_or_else(|| without_btf(name))?;
            if self.hub {
                self.write_to_hub(selected, kernel.release.as_deref(), btf)
            } else {
                let directory = if several {
                    self.directory.join(directory_name(name))
                } else {
                    self.directory.clone()
                };
                if objects.is_empty() {
                    write_all(&directory, btf, name)
                } else {
                    write_minimal(&directory, btf, name, &objects)
                }
            }
        })
        .await;
        let (mut failed, mut any) = (None, false);
        for written in written {
            match written {
                Ok(line) => {
                    any = true;
                    output::line(&escape::block(&line))?;
                }
                // The others are written all the same; the last failure ends it.
                Err(failure) => {
                    if let Some(earlier) = failed.replace(failure) {
                        let _ = earlier.report();
                    }
                }
            }
        }
        match failed {
            // A kernel without BTF does not matter beside one that has some.
            Some(failure) if any && failure.code == exit_code::TESTS_FAILED => {
                let _ = failure.report();
                Ok(exit_code::OK)
            }
            Some(failure) => Err(failure),
            None => Ok(exit_code::OK),
        }
    }

    fn write_to_hub(
        &self,
        selected: &Selected,
        release: Option<&str>,
        btf: &KernelBtf,
    ) -> Result<String, Failure> {
        let name = selected.name();
        let unknown = |what: &str| {
            let message = format!("kernel {name}: its {what} is not known, and --hub needs it");
            Failure::new(exit_code::SETUP_FAILED, message)
        };
        let release = release.ok_or_else(|| unknown("release"))?;
        let distribution = hub::distribution(suite(selected), release)
            .or_else(|| self.hub_distribution.clone())
            .ok_or_else(|| {
                unknown("distribution").hint("give it: --hub-distribution ubuntu/24.04")
            })?;
        let relative = hub::path(&distribution, selected.arch().machine(), release);
        let path = self.directory.join(relative);
        let archive = hub::archive(release, btf.vmlinux().bytes());
        let written = archive.and_then(|archive| {
            fs::create_dir_all(path.parent().unwrap_or(&self.directory))?;
            whole_file::write(&path, &archive)
        });
        written.map_err(|error| cannot_write(&path, &error))?;
        Ok(format!("{name}\t{}", path.display()))
    }
}

/// The suite of a kernel that is from a Debian archive.
fn suite(selected: &Selected) -> Option<&str> {
    match selected {
        Selected::Pooled(kernel) => Some(&kernel.source.suite),
        Selected::Named(kernel) => match &kernel.source {
            Source::Apt(source) => Some(&source.suite),
            _ => None,
        },
        _ => None,
    }
}

/// A kernel's name as that of a directory.
fn directory_name(name: &str) -> String {
    let name = name.trim_matches(|c| matches!(c, '/' | '.'));
    name.replace('/', "_")
}

fn write_all(directory: &Path, btf: &KernelBtf, name: &str) -> Result<String, Failure> {
    let write = |file: &str, bytes: &[u8]| {
        let path = directory.join(file);
        whole_file::write(&path, bytes).map_err(|error| cannot_write(&path, &error))
    };
    fs::create_dir_all(directory).map_err(|error| cannot_write(directory, &error))?;
    let mut modules = 0;
    for unit in btf.units() {
        let bytes = btf
            .unit(unit)
            .map_err(|error| failure(name, &error))?
            .bytes();
        match btf.module(unit) {
            None => write("vmlinux", bytes)?,
            Some(module) => {
                modules += 1;
                write(module, bytes)?;
            }
        }
    }
    Ok(format!(
        "{name}\t{}\t{modules} modules",
        directory.display()
    ))
}

/// Writes what the objects need of the image's BTF; modules are not in it.
fn write_minimal(
    directory: &Path,
    btf: &KernelBtf,
    name: &str,
    objects: &[Object],
) -> Result<String, Failure> {
    let bytes = bpf::minimal(objects, KernelTypes::new(btf), btf.vmlinux());
    let path = directory.join("vmlinux");
    fs::create_dir_all(directory).map_err(|error| cannot_write(directory, &error))?;
    whole_file::write(&path, &bytes).map_err(|error| cannot_write(&path, &error))?;
    Ok(format!("{name}\t{}\t{} bytes", path.display(), bytes.len()))
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    let message = format!("cannot write {}: {error}", path.display());
    Failure::new(exit_code::SETUP_FAILED, message)
}
