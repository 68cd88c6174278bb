//! Runners run the tests of a suite in a VM. This is the only place that knows both suites and
//! sessions.

mod bpftrace;
mod btf;
mod commands;
mod exit;
mod interface;

use crate::config::RunnerTable;
use crate::suite::bpftrace::RuntimeSuite;
use crate::suite::command::CommandSuite;
use crate::suite::{Location, Refusal, ResolveContext};

pub(crate) use interface::{Ended, EndedCase, Prepared, Runner, Suite};

/// The suite `name` of this table; `named` is its location, if that is in a file.
pub(super) fn resolve(
    name: &str,
    table: &RunnerTable,
    named: Option<&Location>,
    context: &ResolveContext<'_>,
) -> Result<Box<dyn Suite>, Refusal> {
    Ok(match table {
        RunnerTable::BpftraceRuntime(table) => {
            Box::new(RuntimeSuite::resolve(name, table, context)?)
        }
        RunnerTable::Command(table) => {
            Box::new(CommandSuite::resolve(name, table, named, context)?)
        }
        RunnerTable::Btf(table) => {
            Box::new(btf::CheckedSuite::resolve(name, table, named, context)?)
        }
    })
}
