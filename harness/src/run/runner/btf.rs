//! Checks BPF objects and bpftrace scripts against a kernel, and loads them in a VM of it where the
//! suite wants that.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::{LocalBoxFuture, ready};

use super::interface::{Ended, Prepared, Runner, Suite};
use crate::bpf::{Facts as KernelFacts, Report};
use crate::config::BtfTable;
use crate::run::load::{self, Loader, Request};
use crate::run::session::Session;
use crate::run::settings::Settings;
use crate::suite::btf::{BtfSuite, contradiction, judge_load, judge_script, judge_static};
use crate::suite::{Facts, Judgement, Location, Refusal, ResolveContext};
use crate::vm::control::Error;

/// A suite of objects and scripts, and what is known of them on each kernel.
#[derive(Debug)]
pub(super) struct CheckedSuite {
    suite: BtfSuite,
    loader: Loader,
    /// By the name of the kernel and the index of the test.
    reports: Mutex<HashMap<(String, usize), Report>>,
}

impl CheckedSuite {
    /// The suite `name` of this table; `named` is its location, if that is in a file.
    pub(super) fn resolve(
        name: &str,
        table: &BtfTable,
        named: Option<&Location>,
        context: &ResolveContext<'_>,
    ) -> Result<Self, Refusal> {
        let suite = BtfSuite::resolve(name, table, named, context)?;
        let loader = suite.loader.as_deref().and_then(Loader::parse);
        Ok(Self {
            loader: loader.unwrap_or_default(),
            suite,
            reports: Mutex::default(),
        })
    }
}

impl Suite for CheckedSuite {
    fn facts(&self) -> &Facts {
        &self.suite.facts
    }

    fn subject(&self, tests: &[usize]) -> String {
        match tests {
            [test] => self.suite.tests[*test].path.to_string_lossy().into_owned(),
            tests => format!("{} files", tests.len()),
        }
    }

    fn boots(&self) -> bool {
        self.suite.load
    }

    fn wants_types(&self) -> bool {
        true
    }

    fn judge_types(&self, kernel: &KernelFacts, test: usize) -> Option<Ended> {
        let report = self.suite.tests[test].input.check(kernel);
        if self.suite.load {
            let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
            reports.insert((kernel.name.clone(), test), report);
            return None;
        }
        Some(Ended::without_run(judge_static(&report)))
    }

    fn prepare<'s: 'v, 'v>(
        &'s self,
        _vm: &'v mut Session,
        settings: &'s Settings,
        _tests: &'v [usize],
    ) -> LocalBoxFuture<'v, Result<Prepared<'s>, Error>> {
        let runner = Box::new(LoadRunner {
            suite: self,
            settings,
        });
        let warnings = Vec::new();
        ready(Ok(Prepared { runner, warnings })).boxed_local()
    }
}

/// The objects in one VM.
struct LoadRunner<'s> {
    suite: &'s CheckedSuite,
    settings: &'s Settings,
}

impl Runner for LoadRunner<'_> {
    fn run<'v>(
        &'v mut self,
        vm: &'v mut Session,
        test: usize,
    ) -> LocalBoxFuture<'v, Result<Ended, Error>> {
        self.load(vm, test).boxed_local()
    }
}

impl LoadRunner<'_> {
    async fn load(&self, vm: &mut Session, test: usize) -> Result<Ended, Error> {
        let kernel = vm.vm.spec.kernel.name.clone();
        let report = {
            let reports = self.suite.reports.lock();
            let reports = reports.unwrap_or_else(PoisonError::into_inner);
            reports.get(&(kernel, test)).cloned()
        };
        let Some(report) = report else {
            let why = "what the kernel's types say of it is not known";
            return Ok(Ended::without_run(Judgement::error(why)));
        };
        let BtfSuite {
            tests, bpftrace, ..
        } = &self.suite.suite;
        let request = Request::new(
            &tests[test].path,
            &tests[test].input,
            &report,
            (&self.suite.loader, bpftrace.as_ref()),
        );
        let loaded = load::load(vm, &self.settings.env, &request).await?;
        let judgement = if tests[test].input.script().is_some() {
            let refusal = (!loaded.loads).then(|| (loaded.verdict(), loaded.end.as_str()));
            judge_script(&report, refusal)
        } else {
            let said = loaded.log.last().unwrap_or(&loaded.end);
            judge_load(&report, loaded.loads, said)
        };
        Ok(Ended {
            judgement,
            output: loaded.output.into_bytes(),
            notes: contradiction(&report, loaded.loads).into_iter().collect(),
            cases: Vec::new(),
        })
    }
}
