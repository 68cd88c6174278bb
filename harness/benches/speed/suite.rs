//! Compares kiln with an earlier one on the whole suite of bpftrace's runtime tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kiln::internals::{Event, read_events};

use crate::jobs::run;
use crate::{KILN, Result};

/// Runs the suite with `before` and with this kiln, one after the other, since a run takes minutes;
/// prints wall times and every verdict that differs. `filter` selects tests.
pub(crate) fn measure(kernel: &str, before: Option<&Path>, filter: &str) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("kiln-bench-").tempdir()?;
    let kilns = before.map(|kiln| ("before", kiln.to_owned())).into_iter();
    let kilns = kilns.chain([("now", PathBuf::from(KILN))]);
    println!("the suite on {kernel}");
    let mut found: Vec<BTreeMap<String, String>> = Vec::new();
    let mut times: Vec<Duration> = Vec::new();
    for (name, kiln) in kilns {
        eprintln!("bench: the suite with the kiln of {name}");
        let run_dir = dir.path().join(name);
        let time = run(&kiln, &[kernel], filter, None, &run_dir)?;
        let (verdicts, sum) = results(&run_dir)?;
        println!(
            "  {name:6}  {:7.1} s   {} tests, which took {:.1} s",
            time.as_secs_f64(),
            verdicts.len(),
            sum.as_secs_f64()
        );
        found.push(verdicts);
        times.push(time);
    }
    if let ([before, now], [before_took, now_took]) = (&found[..], &times[..]) {
        let ratio = now_took.as_secs_f64() / before_took.as_secs_f64();
        println!("  ratio   {ratio:7.2}");
        for (id, verdict) in now {
            match before.get(id) {
                Some(before) if before != verdict => println!("  {id}: {before}, now {verdict}"),
                _ => {}
            }
        }
    }
    Ok(())
}

/// The verdict of each test, and the sum of their times.
fn results(run_dir: &Path) -> Result<(BTreeMap<String, String>, Duration)> {
    let (mut verdicts, mut sum) = (BTreeMap::new(), Duration::ZERO);
    for record in read_events(&run_dir.join("events.jsonl"))? {
        if let Event::TestFinished(result) = record.event {
            sum += Duration::from_millis(result.duration_ms);
            verdicts.insert(result.id, result.verdict.to_string());
        }
    }
    Ok((verdicts, sum))
}
