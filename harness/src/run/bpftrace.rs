//! Runs a suite of bpftrace's runtime tests in one VM: asks bpftrace once for its features, and
//! takes each test from its pre-checks to its verdict.

use std::sync::Arc;

use super::place::Place;
use super::plan::{BpftraceSuite, Plan, PlannedTest, Work};
use super::runtime_test::{Executed, execute};
use super::session::{Report, Session};
use crate::blocking::blocking;
use crate::suite::bpftrace::{
    End, FeatureCheck, Features, Job, JobContext, Judgement, Observation, Rule, Rules, RuntimeTest,
    SkipReason, judge, precheck,
};
use crate::vm::control::Error;

/// Asks bpftrace for its features, if a test needs them. Returns warnings.
pub(super) async fn prepare(
    session: &mut Session,
    plan: &Plan,
    index: usize,
    suite: &BpftraceSuite,
) -> Result<Vec<String>, Error> {
    let wants_features = |test: &PlannedTest| {
        let Work::Runtime(runtime) = &test.work else {
            return false;
        };
        test.suite == index && !runtime.features.is_empty()
    };
    if !plan.tests.iter().any(wants_features) {
        return Ok(Vec::new());
    }
    let bpftrace = suite.bpftrace.to_string_lossy().into_owned();
    let argv = [bpftrace.clone(), "--info".to_owned()];
    let (info, succeeded) = session.auxiliary(plan, &argv).await?;
    let features = Features::parse(&info, &suite.vocabulary, None);
    session.features.insert(index, features);
    Ok(if succeeded {
        Vec::new()
    } else {
        vec![format!("`{bpftrace} --info` failed: {}", info.trim())]
    })
}

/// Runs one test and judges it. An error means that the VM is lost.
pub(super) async fn test(
    session: &mut Session,
    plan: &Plan,
    index: usize,
    suite: &BpftraceSuite,
    test: &Arc<RuntimeTest>,
) -> Result<Report, Error> {
    let rules = Rules::new(suite.vocabulary.dialect, plan.compat);
    let env = |name: &str| std::env::var(name).ok();
    match precheck(test, &session.vm.hello.release, env) {
        Ok(None) => {}
        Ok(Some(reason)) => return Ok(Report::without_run(Judgement::skip(&reason))),
        Err(error) => return Ok(Report::without_run(Judgement::error(error.to_string()))),
    }
    if let Some(features) = session.features.get(&index) {
        match features.check(&test.features, !rules.hold(Rule::UnknownFeature)) {
            FeatureCheck::Met => {}
            FeatureCheck::Missing(names) => {
                let reason = SkipReason::Features(names);
                return Ok(Report::without_run(Judgement::skip(&reason)));
            }
            FeatureCheck::Unknown(names) => {
                let reason = SkipReason::UnknownFeatures(names);
                let mut report = Report::without_run(Judgement::skip(&reason));
                report.judgement.note_rule(Rule::UnknownFeature);
                report.notes.push(reason.to_string());
                return Ok(report);
            }
        }
    }
    let bpftrace = suite.bpftrace.to_string_lossy();
    let context = JobContext {
        bpftrace: &bpftrace,
        env: &plan.env,
    };
    let job = Job::new(test, rules, &context);
    let cwd = suite.tests_dir.to_string_lossy();
    let place = Place {
        cwd: &cwd,
        factor: session.factor,
        local_time: test.localize_timestamps,
        rules,
        addr_no_randomize: session.runtime_tests_without_aslr(plan),
    };
    // Upstream's verdict, which decides whether it runs CLEANUP.
    let upstream = Rules::new(rules.dialect, true);
    let verdict = async |observed: &Observation| {
        let judged = judged(test, upstream, suite, observed.clone()).await;
        judged.0.verdict
    };
    let executed = {
        let (control, lost) = session.vm.watched();
        tokio::select! {
            executed = execute(control, &job, &place, &verdict) => executed?,
            loss = lost => return Err(loss.into()),
        }
    };
    let Executed {
        observation,
        mut notes,
        unclean,
        rules: applied,
    } = executed;
    session.unclean |= unclean;
    if let Some(End::Exited(exit)) = observation.end {
        notes.extend(session.note_of(exit));
    }
    let (mut judgement, observation) = judged(test, rules, suite, observation).await;
    for rule in applied {
        judgement.note_rule(rule);
    }
    Ok(Report {
        judgement,
        output: observation.output,
        notes,
        kernel_reports: Vec::new(),
        cases: Vec::new(),
    })
}

/// Judges off the threads that wait for guests, because searching for a pattern may take long.
async fn judged(
    test: &Arc<RuntimeTest>,
    rules: Rules,
    suite: &BpftraceSuite,
    observation: Observation,
) -> (Judgement, Observation) {
    let (test, dir) = (Arc::clone(test), suite.tests_dir.clone());
    blocking(move || (judge(&test, rules, &dir, &observation), observation)).await
}
