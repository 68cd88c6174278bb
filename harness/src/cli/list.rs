//! `kiln list`: the tests of a suite, without booting anything.

use std::io::Write;
use std::path::Path;

use thiserror::Error;

use super::Failure;
use super::context::Context;
use super::output;
use super::root_args::RootArgs;
use super::suite_args::SuiteArgs;
use crate::exit_code;
use crate::hint::Hint;
use crate::report::escape;

/// Arguments of `kiln list`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Example:\n  kiln list --tests bpftrace/tests -t '^call:-kstack'")]
pub(super) struct ListArgs {
    /// Which tests
    #[command(flatten)]
    suite: SuiteArgs,
    /// Root options
    #[command(flatten)]
    root: RootArgs,
}

impl ListArgs {
    /// Prints the ids to stdout.
    pub(super) async fn run(mut self, config: Option<&Path>) -> Result<u8, Failure> {
        let context = Context::load(config)?;
        let selection = self.suite.select_from(&context, &mut self.root).await?;
        let tests = selection.tests.iter();
        let mut ids: Vec<String> = tests.map(|&t| selection.test(t).id.to_string()).collect();
        ids.sort();
        print(&ids, &mut std::io::BufWriter::new(output::stdout()))?;
        Ok(exit_code::OK)
    }
}

/// Standard output is closed or full.
#[derive(Debug, Error)]
#[error("cannot write the list: {0}")]
struct WriteError(#[from] std::io::Error);

impl Hint for WriteError {}

fn print(ids: &[String], out: &mut dyn Write) -> Result<(), WriteError> {
    for id in ids {
        // A name may contain anything.
        writeln!(out, "{}", escape::line(id))?;
    }
    out.flush()?;
    Ok(())
}
