//! `kiln matrix`: kernels × parts as the job matrix of a CI service that runs jobs on several
//! machines.

use std::path::Path;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::Failure;
use super::context::Context;
use super::output;
use super::root_args::RootArgs;
use super::run::QUICK;
use super::suite_args::SuiteArgs;
use crate::exit_code;
use crate::run::partition::{self, Load, Partition};
use crate::run::times::Times;

/// Jobs that GitHub Actions takes in one matrix ("Running variations of jobs in
/// a workflow": "A matrix will generate a maximum of 256 jobs per workflow
/// run").
const MOST_JOBS: usize = 256;

/// The format of the matrix.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One line, {"include":[…]}, for `fromJSON` in `strategy.matrix`
    #[default]
    Github,
    /// The list of jobs
    Json,
}

/// Arguments of `kiln matrix`.
#[derive(Debug, Args)]
#[command(
    after_help = "Each job is `kiln run -k KERNEL --shard SHARD`, with the same choice of tests and root.

Example:
  echo \"matrix=$(kiln matrix -k @lts --shards 2)\" >> \"$GITHUB_OUTPUT\""
)]
pub(super) struct MatrixArgs {
    /// Kernel: a name or glob of kernels.toml, @group, POOL:VERSION such as
    /// debian:6.18, host, or a path: a build tree, an image, or packages
    /// separated by commas [default: @quick, or all of a kernels.toml without that group]
    #[arg(short, long = "kernel", value_name = "KERNEL")]
    kernels: Vec<String>,
    /// Which tests
    #[command(flatten)]
    suite: SuiteArgs,
    /// Parts per kernel, on average
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    shards: u16,
    /// The output format
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
    /// Root options
    #[command(flatten)]
    root: RootArgs,
}

/// One job.
#[derive(Debug, Serialize)]
struct MatrixJob {
    /// For `-k`.
    kernel: String,
    /// For `--shard`.
    shard: String,
    /// Names the job and its artifact: letters, digits, `.`, `_`, `-`.
    name: String,
    /// The number of tests in it.
    tests: usize,
}

impl MatrixArgs {
    /// Prints the matrix to stdout.
    pub(super) async fn run(mut self, config: Option<&Path>) -> Result<u8, Failure> {
        let context = Context::load(config)?;
        let kernels = match self.kernels.as_slice() {
            [] => {
                let kernels = context.catalogue.default_kernels(&[QUICK]);
                context.select(&[kernels]).await?
            }
            kernels => context.select(kernels).await?,
        };
        let selection = self.suite.select_from(&context, &mut self.root).await?;
        let tests = selection.tests.len();
        let times = Times::load(context.cache.root());
        let known: Vec<Option<Duration>> = kernels
            .iter()
            .map(|kernel| {
                let tests = selection.tests.iter().map(|&test| {
                    let suite = selection.suite_of(test).name.as_str();
                    (suite, selection.test(test).id.to_string())
                });
                let estimates = times.estimate(kernel.name(), tests)?;
                Some(estimates.iter().sum())
            })
            .collect();
        // Assume that a kernel that never ran is as slow as the slowest that did.
        let guess = known.iter().flatten().max().copied().unwrap_or_default();
        let loads: Vec<Load> = known
            .iter()
            .map(|time| Load {
                tests,
                time: time.unwrap_or(guess),
            })
            .collect();
        let parts = partition::apportion(&loads, kernels.len() * usize::from(self.shards));
        let mut jobs = Vec::new();
        for (kernel, parts) in kernels.iter().zip(parts) {
            for part in 1..=parts {
                jobs.push(MatrixJob {
                    kernel: kernel.name().to_owned(),
                    shard: Partition::slice(part, parts).to_string(),
                    name: name(kernel.name(), part, parts),
                    tests: partition::dealt(tests, part, parts),
                });
            }
        }
        let json = match self.format {
            Format::Github if jobs.len() > MOST_JOBS => {
                return Err(Failure::new(
                    exit_code::USAGE,
                    format!(
                        "{} jobs are too many: GitHub Actions allows {MOST_JOBS} in a matrix",
                        jobs.len()
                    ),
                )
                .hint("make --shards smaller, or select fewer kernels"));
            }
            Format::Github => serde_json::to_string(&serde_json::json!({ "include": jobs })),
            Format::Json => serde_json::to_string_pretty(&jobs),
        };
        let text = json.map_err(|error| {
            let message = format!("cannot write the matrix: {error}");
            Failure::new(exit_code::SETUP_FAILED, message)
        })?;
        output::print("the matrix", &format!("{text}\n"))?;
        Ok(exit_code::OK)
    }
}

/// A name that GitHub accepts for a job and for an artifact, which must not contain `/` or `:`.
fn name(kernel: &str, part: u32, parts: u32) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let kernel: String = kernel
        .trim_start_matches(['.', '/'])
        .chars()
        .map(|c| if plain(c) { c } else { '_' })
        .collect();
    if parts == 1 {
        kernel
    } else {
        format!("{kernel}-{part}-of-{parts}")
    }
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn a_job_s_name_is_a_file_s_too() {
        assert_eq!(name("6.1", 1, 1), "6.1");
        assert_eq!(name("6.1", 2, 3), "6.1-2-of-3");
        assert_eq!(name("../linux a/vm:x", 1, 2), "linux_a_vm_x-1-of-2");
    }
}
