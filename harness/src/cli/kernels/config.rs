//! `kiln kernels config`: everything that is wanted of a kernel's configuration, as a fragment.

use std::io::Write;

use clap::Args;

use super::KernelsError;
use super::check::Whose;
use crate::config::numbers;
use crate::kernel::check;

/// Arguments of `kiln kernels config`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  kiln kernels config --linux 6.1 >kiln.config
  make tinyconfig
  scripts/kconfig/merge_config.sh .config kiln.config")]
pub(crate) struct ConfigArgs {
    /// Whose needs to print
    #[arg(long = "for", value_enum, default_value_t, value_name = "WHO")]
    wanted_by: Whose,
    /// Leave out what this version of Linux does not have, such as 5.10 [default: the newest]
    #[arg(long, value_name = "VERSION", value_parser = parse_version)]
    linux: Option<(u64, u64)>,
}

fn parse_version(text: &str) -> Result<(u64, u64), String> {
    let numbers = numbers(text);
    match (numbers.first(), numbers.get(1)) {
        (Some(&major), Some(&minor)) => Ok((major, minor)),
        _ => Err("must be a version of Linux, such as 6.1".to_owned()),
    }
}

impl ConfigArgs {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<(), KernelsError> {
        let fragment = check::whole(self.wanted_by.wanted_by(), self.linux);
        Ok(out.write_all(fragment.as_bytes())?)
    }
}
