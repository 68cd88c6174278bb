//! Finds what the selected tests need but a VM does not have, before any of them runs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::plan::{BpftraceSuite, Plan, PlannedKernel, Work};
use super::session::Session;
use crate::suite::bpftrace::{Need, RuntimeTest, needs, precheck};
use crate::vm::control::Error;

/// A line for each missing thing, with the number of tests that need it.
pub(super) async fn gaps(
    session: &mut Session,
    plan: &Plan,
    kernel: &PlannedKernel,
    index: usize,
    suite: &BpftraceSuite,
) -> Result<Vec<String>, Error> {
    let env = |name: &str| std::env::var(name).ok();
    let release = session.vm.hello.release.clone();
    let tests = kernel
        .tests
        .iter()
        .map(|&test| &plan.tests[test])
        .filter(|test| test.suite == index)
        .filter_map(|test| match &test.work {
            Work::Runtime(test) => Some(test.as_ref()),
            Work::Command(_) => None,
        })
        // Ignore tests that this kernel skips.
        .filter(|test| matches!(precheck(test, &release, env), Ok(None)));
    let wanted = wanted(tests, &suite.bpftrace.to_string_lossy());
    let checks: Vec<(&Need, usize, String)> = wanted
        .iter()
        .filter_map(|(need, &tests)| Some((need, tests, need.check(&plan.modules)?)))
        .collect();
    if checks.is_empty() {
        return Ok(Vec::new());
    }
    let directory = suite.tests_dir.to_string_lossy().into_owned();
    let argv = ["/bin/sh", "-c", &script(&checks), "preflight", &directory].map(str::to_owned);
    let (output, succeeded) = session.auxiliary(plan, &argv).await?;
    if !succeeded {
        return Ok(vec![format!(
            "cannot look for what the tests need: {}",
            output.trim()
        )]);
    }
    let missing = |line: &str| {
        let &(need, tests, _) = checks.get(line.parse::<usize>().ok()?)?;
        Some(gap(need, tests, plan))
    };
    Ok(output.lines().filter_map(missing).collect())
}

/// Each need with the number of tests that have it. Every test needs bpftrace itself.
fn wanted<'t>(
    tests: impl Iterator<Item = &'t RuntimeTest>,
    bpftrace: &str,
) -> BTreeMap<Need, usize> {
    let mut wanted = BTreeMap::new();
    let mut all = 0;
    for test in tests {
        all += 1;
        for need in needs(test) {
            *wanted.entry(need).or_default() += 1;
        }
    }
    if all > 0 {
        wanted.insert(Need::Tool(bpftrace.to_owned()), all);
    }
    wanted
}

/// Prints the number of every check that fails.
fn script(checks: &[(&Need, usize, String)]) -> String {
    let mut script = "cd \"$1\" || exit\n".to_owned();
    for (number, (_, _, check)) in checks.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = writeln!(script, "{{ {check}; }} >/dev/null 2>&1 || echo {number}");
    }
    script.push_str("exit 0\n");
    script
}

fn gap(need: &Need, tests: usize, plan: &Plan) -> String {
    let tests = match tests {
        1 => "1 test needs".to_owned(),
        tests => format!("{tests} tests need"),
    };
    match need {
        Need::Module(name) if !plan.modules.contains(name) => format!(
            "{tests} {need}, which is not loaded: `modules` in kernels.toml does not name it"
        ),
        _ => format!("{tests} {need}, which is not in this VM"),
    }
}
