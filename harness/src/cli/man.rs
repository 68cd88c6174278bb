//! `kiln man`: manual pages of kiln and its subcommands, for packages.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::Failure;
use crate::exit_code;

/// Write manual pages.
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Directory for kiln.1, kiln-exec.1, …; it is created
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

impl ManArgs {
    /// Writes a page for each command that is not hidden.
    pub(super) fn run(&self, kiln: clap::Command) -> Result<u8, Failure> {
        write(kiln, &self.dir).map_err(|error| {
            Failure::new(
                exit_code::SETUP_FAILED,
                format!(
                    "cannot write manual pages to {}: {error}",
                    self.dir.display()
                ),
            )
        })?;
        Ok(exit_code::OK)
    }
}

fn write(kiln: clap::Command, dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    clap_mangen::generate_to(of_any_machine(kiln), dir)
}

/// Without the values that variables have here.
fn of_any_machine(command: clap::Command) -> clap::Command {
    command
        .mut_args(|arg| arg.hide_env_values(true))
        .mut_subcommands(of_any_machine)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn each_command_has_a_page_and_hidden_ones_have_none() {
        let dir = tempfile::tempdir().unwrap();
        write(crate::cli::command(), &dir.path().join("man1")).unwrap();
        let page = |name: &str| fs::read_to_string(dir.path().join("man1").join(name));
        let exec = page("kiln-exec.1").unwrap();
        assert!(exec.contains("\\-\\-as\\-runner"), "{exec}");
        assert!(!exec.contains("keep\\-kernel"), "{exec}");
        for name in [
            "kiln.1",
            "kiln-run.1",
            "kiln-kernels-fetch.1",
            "kiln-btf-show.1",
        ] {
            assert!(page(name).is_ok(), "{name}");
        }
        assert!(page("kiln-share.1").is_err());
        assert!(page("kiln-man.1").is_err());
    }
}
