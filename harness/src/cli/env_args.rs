//! Options for the environment of a command in a guest.

use std::ffi::OsString;

use clap::Args;
use globset::GlobMatcher;

use super::Failure;
use crate::environment::{self, Passed, Wanted};
use crate::exit_code;
use crate::run::command::Environment;

/// Which variables a command gets.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct EnvArgs {
    /// Set an environment variable in the guest (KEY=VALUE), or pass one on (KEY)
    #[arg(short = 'e', long = "env", value_name = "KEY[=VALUE]")]
    pub(super) env: Vec<OsString>,
    /// Pass on the variables whose names match, such as 'CARGO_*'; may be repeated. Credentials
    /// and what is true of the host only, such as HOME, stay outside
    #[arg(long, value_name = "GLOB", value_parser = environment::glob)]
    env_pass: Vec<GlobMatcher>,
    /// Pass on all variables, with the same exceptions
    #[arg(long)]
    pub(super) env_all: bool,
}

impl EnvArgs {
    /// What `--env-pass` and `--env-all` pass to a guest, whose root may be the host's.
    pub(super) fn passed(&self, same_root: bool) -> Passed {
        let wanted = Wanted {
            all: self.env_all,
            globs: self.env_pass.clone(),
        };
        environment::pass(std::env::vars_os(), &wanted, same_root)
    }

    /// Sets what `--env` names.
    pub(super) fn set(&self, environment: &mut Environment) -> Result<(), Failure> {
        for setting in &self.env {
            let setting = setting.as_encoded_bytes();
            let (key, value) = match setting.iter().position(|&byte| byte == b'=') {
                Some(0) => {
                    return Err(Failure::new(
                        exit_code::USAGE,
                        "--env needs a name before the `=`",
                    ));
                }
                Some(at) => (&setting[..at], setting[at + 1..].to_vec()),
                None => {
                    let name = String::from_utf8_lossy(setting).into_owned();
                    let value = std::env::var_os(&name).ok_or_else(|| {
                        Failure::new(
                            exit_code::USAGE,
                            format!("--env {name}: no such variable in the environment"),
                        )
                        .hint(format!("give it a value: --env {name}=VALUE"))
                    })?;
                    (setting, value.into_encoded_bytes())
                }
            };
            environment.retain(|(other, _)| other != key);
            environment.push((key.to_vec(), value));
        }
        Ok(())
    }
}
