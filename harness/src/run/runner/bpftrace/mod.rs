//! Runs a suite of bpftrace's runtime tests in one VM: asks bpftrace once for its features, and
//! takes each test from its pre-checks to its verdict.

mod befores;
mod context;
mod execute;
mod preflight;

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::LocalBoxFuture;

use self::context::TestContext;
use self::execute::{Executed, execute};
use super::exit;
use super::{Ended, Prepared, Runner, Suite};
use crate::blocking::blocking;
use crate::run::aslr::Aslr;
use crate::run::session::Session;
use crate::run::settings::Settings;
use crate::run::stay::Moment;
use crate::suite::bpftrace::{
    End, FeatureCheck, Features, Job, JobContext, Observation, Rule, Rules, RuntimeSuite,
    RuntimeTest, SkipReason, judge, precheck,
};
use crate::suite::{Facts, Judgement, Refusal};
use crate::vm::control::Error;

impl Suite for RuntimeSuite {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn subject(&self, _tests: &[usize]) -> String {
        self.bpftrace.to_string_lossy().into_owned()
    }

    fn check(&self, tests: &[usize]) -> Result<(), Refusal> {
        Ok(self.check_patterns(tests)?)
    }

    fn spares_aslr(&self, aslr: Aslr, vm: &Session) -> bool {
        aslr.is_off_for_runtime_tests(vm.vm.spec.accelerator, vm.qemu.version)
    }

    fn prepare<'s: 'v, 'v>(
        &'s self,
        vm: &'v mut Session,
        settings: &'s Settings,
        tests: &'v [usize],
    ) -> LocalBoxFuture<'v, Result<Prepared<'s>, Error>> {
        async move {
            let tests = tests.iter().map(|&test| &*self.tests[test]);
            let mut warnings = preflight::gaps(vm, settings, self, tests.clone()).await?;
            let wants_features = tests.clone().any(|test| !test.features.is_empty());
            let features = if wants_features {
                let (features, warning) = features(vm, settings, self).await?;
                warnings.extend(warning);
                Some(features)
            } else {
                None
            };
            let runner = Box::new(BpftraceRunner {
                suite: self,
                settings,
                features,
            });
            Ok(Prepared { runner, warnings })
        }
        .boxed_local()
    }
}

/// What bpftrace can do on this kernel, and warnings.
async fn features(
    vm: &mut Session,
    settings: &Settings,
    suite: &RuntimeSuite,
) -> Result<(Features, Option<String>), Error> {
    let bpftrace = suite.bpftrace.to_string_lossy().into_owned();
    let argv = [bpftrace.clone(), "--info".to_owned()];
    let (info, succeeded) = vm.auxiliary(settings, &argv).await?;
    let features = Features::parse(&info, &suite.vocabulary, None);
    let warning = (!succeeded).then(|| format!("`{bpftrace} --info` failed: {}", info.trim()));
    Ok((features, warning))
}

/// A suite of runtime tests in one VM.
struct BpftraceRunner<'s> {
    suite: &'s RuntimeSuite,
    settings: &'s Settings,
    /// What bpftrace can do on this kernel, if a test needs to know.
    features: Option<Features>,
}

impl Runner for BpftraceRunner<'_> {
    fn run<'v>(
        &'v mut self,
        vm: &'v mut Session,
        test: usize,
    ) -> LocalBoxFuture<'v, Result<Ended, Error>> {
        self.test(vm, &self.suite.tests[test]).boxed_local()
    }
}

impl BpftraceRunner<'_> {
    async fn test(&self, vm: &mut Session, test: &Arc<RuntimeTest>) -> Result<Ended, Error> {
        let suite = self.suite;
        let rules = Rules::new(suite.vocabulary.dialect, self.settings.compat);
        if let Some(ended) = self.left_out(vm, test, rules) {
            return Ok(ended);
        }
        let bpftrace = suite.bpftrace.to_string_lossy();
        let job_context = JobContext {
            bpftrace: &bpftrace,
            env: &self.settings.env,
        };
        let job = Job::new(test, rules, &job_context);
        let cwd = suite.dir.to_string_lossy();
        let context = TestContext {
            cwd: &cwd,
            factor: vm.factor,
            local_time: test.localize_timestamps,
            rules,
            addr_no_randomize: suite.spares_aslr(self.settings.aslr, vm),
        };
        let verdict = async |rules: Rules, observed: &Observation| {
            let judged = judged(test, rules, suite, observed.clone()).await;
            judged.0.verdict
        };
        let executed = {
            let (control, lost) = vm.vm.watched();
            let moment = vm.moment.as_ref();
            tokio::select! {
                executed = execute(control, &job, &context, &verdict, moment) => executed?,
                loss = Moment::watch(moment, lost) => return Err(loss.into()),
            }
        };
        let Executed {
            observation,
            mut notes,
            unclean,
            rules: applied,
        } = executed;
        vm.unclean |= unclean;
        if let Some(End::Exited(exit)) = observation.end {
            notes.extend(exit::note(vm, exit));
        }
        let (mut judgement, observation) = judged(test, rules, suite, observation).await;
        for rule in applied {
            judgement.note_rule(rule);
        }
        Ok(Ended {
            judgement,
            output: observation.output,
            notes,
            cases: Vec::new(),
        })
    }

    /// The verdict on a test that does not apply to this VM.
    fn left_out(&self, vm: &Session, test: &RuntimeTest, rules: Rules) -> Option<Ended> {
        let env = |name: &str| std::env::var(name).ok();
        match precheck(test, &vm.vm.hello.release, env) {
            Ok(None) => {}
            Ok(Some(reason)) => return Some(Ended::without_run(Judgement::skip(&reason))),
            Err(error) => return Some(Ended::without_run(Judgement::error(error.to_string()))),
        }
        let unknown_is_missing = !rules.hold(Rule::UnknownFeature);
        let features = self.features.as_ref()?;
        match features.check(&test.features, unknown_is_missing) {
            FeatureCheck::Met => None,
            FeatureCheck::Missing(names) => {
                let reason = SkipReason::Features(names);
                Some(Ended::without_run(Judgement::skip(&reason)))
            }
            FeatureCheck::Unknown(names) => {
                let reason = SkipReason::UnknownFeatures(names);
                let mut ended = Ended::without_run(Judgement::skip(&reason));
                ended.judgement.note_rule(Rule::UnknownFeature);
                ended.notes.push(reason.to_string());
                Some(ended)
            }
        }
    }
}

/// Judges off the threads that wait for guests, because searching for a pattern may take long.
async fn judged(
    test: &Arc<RuntimeTest>,
    rules: Rules,
    suite: &RuntimeSuite,
    observation: Observation,
) -> (Judgement, Observation) {
    let (test, dir) = (Arc::clone(test), suite.dir.clone());
    blocking(move || (judge(&test, rules, &dir, &observation), observation)).await
}
