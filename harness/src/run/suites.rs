//! Resolves the suites that the user selects into [`Suite`]s.

use std::path::Path;

use thiserror::Error;

use super::runner::{Suite, resolve};
use crate::config::{BpftraceTable, Catalogue, Origin, RunnerTable};
use crate::exit_code;
use crate::hint::Hint;
use crate::suite::bpftrace::SUITES;
use crate::suite::{Location, Refusal, ResolveContext};

/// Name of the suite if neither the user nor the catalogue gives one.
const DEFAULT_SUITE: &str = "bpftrace";
/// The hint if the catalogue does not help.
const BY_HAND: &str = "name the directory of bpftrace's tests with --tests DIR";

/// Why suites cannot be selected.
#[derive(Debug, Error)]
pub(crate) enum SuitesError {
    /// The catalogue has none.
    #[error("{origin} has no suite")]
    None {
        /// The catalogue.
        origin: Origin,
    },
    /// It has no suite of this name.
    #[error("there is no suite `{name}`")]
    Unknown {
        /// The name.
        name: String,
        /// The known suites.
        known: Vec<String>,
    },
    /// `--tests` for several suites.
    #[error("--tests names the tests of one suite, but several suites are selected")]
    TestsOfSeveral,
    /// An option that is for none of the suites.
    #[error("{option} is for {SUITES}, but none is selected")]
    Unused {
        /// The option.
        option: &'static str,
    },
}

impl Hint for SuitesError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::None { .. } => vec![BY_HAND.to_owned()],
            Self::Unknown { known, .. } if known.is_empty() => vec![BY_HAND.to_owned()],
            Self::Unknown { known, .. } => vec![format!("known suites: {}", known.join(", "))],
            Self::TestsOfSeveral | Self::Unused { .. } => Vec::new(),
        }
    }
}

/// Looks up the suites of these names, or all if there are none, and fills in defaults for what
/// neither `catalogue` nor the user sets.
pub(crate) fn suites(
    catalogue: &Catalogue,
    names: &[String],
    context: &ResolveContext<'_>,
) -> Result<Vec<Box<dyn Suite>>, Refusal> {
    let tests = context.runtime.tests.as_deref();
    let found = look_up(catalogue, names, tests).map_err(|error| match error {
        SuitesError::TestsOfSeveral => Refusal::from(error).with_code(exit_code::USAGE),
        other => other.into(),
    })?;
    let mut suites: Vec<Box<dyn Suite>> = Vec::new();
    for (name, table) in found {
        let named = catalogue.place_of(&name).map(|(file, line)| Location {
            file: file.to_string_lossy().into_owned(),
            line,
        });
        suites.push(resolve(&name, &table, named.as_ref(), context)?);
    }
    let is_unused = |option: &&str| {
        let mut facts = suites.iter().map(|suite| suite.facts());
        !facts.any(|facts| facts.options.contains(option))
    };
    match context.runtime.given().find(is_unused) {
        Some(option) => {
            Err(Refusal::from(SuitesError::Unused { option }).with_code(exit_code::USAGE))
        }
        None => Ok(suites),
    }
}

/// The suites' names, each once, and their tables.
fn look_up(
    catalogue: &Catalogue,
    names: &[String],
    tests: Option<&Path>,
) -> Result<Vec<(String, RunnerTable)>, SuitesError> {
    let known = |name: &str| catalogue.suite(name).map(|suite| suite.runner.clone());
    let all = || catalogue.suites.iter().map(|suite| suite.name.clone());
    if let Some(tests) = tests {
        let name = match names {
            [] => DEFAULT_SUITE,
            [name] => name,
            _ => return Err(SuitesError::TestsOfSeveral),
        };
        let by_hand = || {
            RunnerTable::BpftraceRuntime(BpftraceTable {
                tests: tests.to_owned(),
                bpftrace: None,
            })
        };
        return Ok(vec![(name.to_owned(), known(name).unwrap_or_else(by_hand))]);
    }
    let wanted: Vec<String> = match names {
        [] => all().collect(),
        given => given.to_vec(),
    };
    if wanted.is_empty() {
        let origin = catalogue.origin.clone();
        return Err(SuitesError::None { origin });
    }
    let mut found: Vec<(String, RunnerTable)> = Vec::new();
    for name in wanted {
        let Some(table) = known(&name) else {
            let known = all().collect();
            return Err(SuitesError::Unknown { name, known });
        };
        if !found.iter().any(|(other, _)| *other == name) {
            found.push((name, table));
        }
    }
    Ok(found)
}
