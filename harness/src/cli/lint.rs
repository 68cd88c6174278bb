//! `kiln lint`: checks a directory of bpftrace's runtime tests, without booting
//! anything.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Failure;
use super::output;
use super::suite_args::parse_dialect;
use crate::arch::Arch;
use crate::exit_code;
use crate::report::escape;
use crate::suite::bpftrace::{
    By, Choice, Dialect, EngineBeside, Lint, Severity, Vocabulary, choose,
};

/// How findings are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// `FILE:LINE: severity: message [rule]`
    #[default]
    Text,
    /// One object with all findings
    Json,
}

/// Arguments of `kiln lint`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Exits with 0 where nothing is wrong, with 100 where something is.

Example:
  kiln lint bpftrace/tests"
)]
pub(super) struct LintArgs {
    /// The directory that holds runtime/, such as bpftrace's tests
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Version of bpftrace whose rules the tests follow, such as 0.17, or head [default: that of
    /// the engine beside the tests, else the newest]
    #[arg(long, value_name = "VERSION", value_parser = parse_dialect)]
    dialect: Option<&'static Dialect>,
    /// Treat warnings as errors
    #[arg(long)]
    strict: bool,
    /// How findings are printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

impl LintArgs {
    /// Prints the findings to stdout.
    pub(super) fn run(&self) -> Result<u8, Failure> {
        let arch = Arch::default();
        let choice = self.choose();
        let dialect = choice.vocabulary.dialect.name;
        if let Some(note) = &choice.note {
            output::note(&format!("warning: {}", escape::line(note)));
        }
        let lint = Lint::new(&self.dir, &choice.vocabulary, arch)?;
        let (errors, warnings) = (lint.count(Severity::Error), lint.count(Severity::Warning));
        if lint.tests + lint.excluded + errors == 0 {
            let dir = self.dir.display();
            return Err(Failure::new(
                exit_code::NOTHING_SELECTED,
                format!("no tests in {dir}/runtime"),
            ));
        }
        let text = match self.format {
            Format::Text => {
                let mut text = String::new();
                for finding in &lint.findings {
                    let severity = match finding.severity {
                        Severity::Error => "error",
                        Severity::Warning => "warning",
                    };
                    let path = finding.path.display();
                    let line = format!(
                        "{path}:{}: {severity}: {} [{}]",
                        finding.line, finding.message, finding.rule
                    );
                    text.push_str(&escape::line(&line));
                    text.push('\n');
                }
                let summary = format!(
                    "{} tests in dialect {dialect}, {} more never run on {}: {errors} errors, {warnings} warnings\n",
                    lint.tests,
                    lint.excluded,
                    arch.machine()
                );
                text + &summary
            }
            Format::Json => {
                let all = serde_json::json!({
                    "dialect": dialect,
                    "dialect_by": choice.by.as_str(),
                    "machine": arch.machine(),
                    "tests": lint.tests,
                    "excluded": lint.excluded,
                    "findings": lint.findings,
                });
                format!("{all}\n")
            }
        };
        output::print("the findings", &text)?;
        Ok(if errors > 0 || self.strict && warnings > 0 {
            exit_code::TESTS_FAILED
        } else {
            exit_code::OK
        })
    }

    /// The dialect to use. Here an unknown name is a mistake, unless the engine beside the tests
    /// may know it.
    fn choose(&self) -> Choice {
        let engine = EngineBeside::read(&self.dir);
        let choice = choose(self.dialect, &engine, None);
        let other = choice.by == By::Option && choice.note.is_some();
        if engine == EngineBeside::Absent || other {
            Choice {
                vocabulary: Vocabulary::of(choice.vocabulary.dialect),
                ..choice
            }
        } else {
            choice
        }
    }
}
