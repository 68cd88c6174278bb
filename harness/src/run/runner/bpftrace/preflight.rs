//! Finds what the selected tests need but a VM does not have, before any of them runs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::run::session::Session;
use crate::run::settings::Settings;
use crate::suite::bpftrace::{Need, RuntimeSuite, RuntimeTest, needs, precheck};
use crate::vm::control::Error;

/// A line for each gap, with how many of these tests it costs.
pub(super) async fn gaps(
    vm: &mut Session,
    settings: &Settings,
    suite: &RuntimeSuite,
    tests: impl Iterator<Item = &RuntimeTest>,
) -> Result<Vec<String>, Error> {
    let env = |name: &str| std::env::var(name).ok();
    let release = vm.vm.hello.release.clone();
    // Ignore tests that this kernel skips.
    let tests = tests.filter(|test| matches!(precheck(test, &release, env), Ok(None)));
    let wanted = wanted(tests, &suite.bpftrace.to_string_lossy());
    let checks: Vec<(&Need, usize, String)> = wanted
        .iter()
        .filter_map(|(need, &tests)| Some((need, tests, need.check(&vm.modules)?)))
        .collect();
    if checks.is_empty() {
        return Ok(Vec::new());
    }
    let directory = suite.dir.to_string_lossy().into_owned();
    let argv = ["/bin/sh", "-c", &script(&checks), "preflight", &directory].map(str::to_owned);
    let (output, succeeded) = vm.auxiliary(settings, &argv).await?;
    if !succeeded {
        return Ok(vec![format!(
            "cannot look for what the tests need: {}",
            output.trim()
        )]);
    }
    let missing = |line: &str| {
        let &(need, tests, _) = checks.get(line.parse::<usize>().ok()?)?;
        Some(gap(need, tests, &vm.modules))
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

fn gap(need: &Need, tests: usize, modules: &[String]) -> String {
    let tests = match tests {
        1 => "1 test needs".to_owned(),
        tests => format!("{tests} tests need"),
    };
    match need {
        Need::Module(name) if !modules.contains(name) => format!(
            "{tests} {need}, which is not loaded: `modules` in kernels.toml does not name it"
        ),
        _ => format!("{tests} {need}, which is not in this VM"),
    }
}
