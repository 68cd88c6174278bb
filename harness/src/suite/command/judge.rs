//! Judges a command.

use std::time::Duration;

use super::{Case, CommandTest, Dialect, Results, read_go, read_libtest, read_tap, read_xml};
use crate::config::ResultsFormat;
use crate::suite::{Exit, Judgement, Verdict};

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// By itself.
    Exited(Exit),
    /// We killed it at its limit.
    Killed {
        /// The limit, in the guest's own time.
        limit: Duration,
        /// How long that took on the host.
        took: Duration,
    },
    /// It could not be started.
    NotStarted(String),
}

/// What the guest saw of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// How it ended.
    pub end: End,
    /// The text of its results, from standard output or a file, or why they could not be read.
    pub results: Result<Vec<u8>, String>,
    /// How many bytes of the results were dropped because there were too many.
    pub dropped: u64,
}

/// The verdict on the command itself, and its cases.
pub fn judge(test: &CommandTest, observed: &Observation) -> (Judgement, Vec<Case>) {
    let verdict = |verdict, reason: String| Judgement::new(verdict, reason);
    if let End::NotStarted(why) = &observed.end {
        let reason = format!("the command could not be started: {why}");
        return (verdict(Verdict::Error, reason), Vec::new());
    }
    let exit = match &observed.end {
        End::Exited(exit) => Some(*exit),
        _ => None,
    };
    let skips =
        matches!((exit, test.skip_code), (Some(Exit::Code(code)), Some(skip)) if code == skip);
    let results = read(test, observed);
    let (cases, problems) = match results {
        None => (Results::default(), Vec::new()),
        Some(Ok(mut results)) => {
            // Both its cases and the command itself are tests of the suite.
            if test.only {
                results.keep_apart_from(&test.id.name);
            }
            let mut problems = std::mem::take(&mut results.problems);
            if observed.dropped > 0 {
                problems.push(format!(
                    "its results are {} bytes too long",
                    observed.dropped
                ));
            }
            if results.cases.is_empty() && results.skip.is_none() && problems.is_empty() {
                problems.push("it reports no cases".to_owned());
            }
            (results, problems)
        }
        Some(Err(why)) => (Results::default(), vec![why]),
    };
    let Results {
        cases,
        skip,
        fails,
        notes,
        ..
    } = cases;
    let bad = cases
        .iter()
        .filter(|case| !matches!(case.verdict, Verdict::Pass | Verdict::Skip))
        .count();
    let judgement = if let End::Killed { limit, took } = &observed.end {
        let so_far = if cases.is_empty() {
            String::new()
        } else {
            format!("; it had reported {} cases", cases.len())
        };
        let reason = format!(
            "it ran longer than {:.0} s ({:.0} s on the host){so_far}",
            limit.as_secs_f64(),
            took.as_secs_f64()
        );
        verdict(Verdict::Timeout, reason)
    } else if skips && bad == 0 && !fails {
        let reason = skip.unwrap_or_else(|| match test.skip_code {
            Some(code) => format!("exit status {code}"),
            None => String::new(),
        });
        verdict(Verdict::Skip, reason)
    } else if !problems.is_empty() {
        let mut reason = problems.join("; ");
        if let Some(exit) = exit.filter(|exit| *exit != Exit::Code(0)) {
            reason = format!("{reason}; {exit}");
        }
        verdict(Verdict::Error, reason)
    } else if bad > 0 {
        let killed = match exit {
            Some(exit @ Exit::Signal(_)) => format!("; {exit}"),
            _ => String::new(),
        };
        let reason = format!("{bad} of {} cases did not pass{killed}", cases.len());
        verdict(Verdict::Fail, reason)
    } else {
        match exit {
            Some(Exit::Code(0)) if cases.is_empty() => match skip {
                Some(why) => verdict(Verdict::Skip, why),
                None => verdict(Verdict::Pass, String::new()),
            },
            Some(Exit::Code(0)) if cases.iter().all(|case| case.verdict == Verdict::Skip) => {
                verdict(
                    Verdict::Skip,
                    format!("all of {} cases were skipped", cases.len()),
                )
            }
            Some(Exit::Code(0)) | None => verdict(Verdict::Pass, String::new()),
            Some(exit) if cases.is_empty() => verdict(Verdict::Fail, exit.to_string()),
            Some(exit) => verdict(Verdict::Fail, format!("{exit}, though no case failed")),
        }
    };
    let mut judgement = judgement;
    for note in notes {
        if !judgement.reason.is_empty() {
            judgement.reason.push_str("; ");
        }
        judgement.reason.push_str(&note);
    }
    (judgement, cases)
}

/// What the command reported; `None` where only its exit status counts.
fn read(test: &CommandTest, observed: &Observation) -> Option<Result<Results, String>> {
    let bytes = match (test.results, &observed.results) {
        (ResultsFormat::Exit, _) => return None,
        (_, Err(why)) => return Some(Err(why.clone())),
        (_, Ok(bytes)) => bytes,
    };
    Some(match test.results {
        ResultsFormat::Exit => return None,
        ResultsFormat::Tap => Ok(read_tap(bytes, Dialect::Tap)),
        ResultsFormat::Ktap => Ok(read_tap(bytes, Dialect::Ktap)),
        ResultsFormat::Libtest => Ok(read_libtest(bytes)),
        ResultsFormat::Go => Ok(read_go(bytes)),
        ResultsFormat::Junit | ResultsFormat::Gtest => Ok(read_xml(bytes)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::TestId;

    fn command(results: ResultsFormat) -> CommandTest {
        CommandTest {
            id: TestId::new("s", "command"),
            argv: vec!["x".into()],
            cwd: "/".into(),
            env: Vec::new(),
            results,
            results_file: None,
            timeout: std::time::Duration::from_secs(1),
            skip_code: Some(4),
            only: true,
            source: None,
        }
    }

    fn judged(
        results: ResultsFormat,
        end: End,
        text: Result<&str, &str>,
    ) -> (Verdict, String, usize) {
        let test = command(results);
        let observed = Observation {
            end,
            results: text
                .map(|text| text.as_bytes().to_vec())
                .map_err(ToOwned::to_owned),
            dropped: 0,
        };
        let (judgement, cases) = judge(&test, &observed);
        (judgement.verdict, judgement.reason, cases.len())
    }

    fn exit(code: i32) -> End {
        End::Exited(Exit::Code(code))
    }

    #[test]
    fn a_case_does_not_share_its_id_with_the_command() {
        let observed = Observation {
            end: exit(0),
            results: Ok(b"1..2\nok 1 command\nok 2 other\n".to_vec()),
            dropped: 0,
        };
        let (_, cases) = judge(&command(ResultsFormat::Tap), &observed);
        let names: Vec<_> = cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names, ["command #2", "other"]);
    }

    #[test]
    fn an_exit_status_is_a_verdict() {
        let verdict = |end| judged(ResultsFormat::Exit, end, Err("")).0;
        assert_eq!(verdict(exit(0)), Verdict::Pass);
        assert_eq!(verdict(exit(1)), Verdict::Fail);
        assert_eq!(verdict(exit(4)), Verdict::Skip);
        assert_eq!(verdict(End::Exited(Exit::Signal(11))), Verdict::Fail);
        assert_eq!(verdict(End::NotStarted("no".into())), Verdict::Error);
    }

    #[test]
    fn status_and_cases_must_agree() {
        let tap = |end, text| judged(ResultsFormat::Tap, end, Ok(text));
        assert_eq!(tap(exit(0), "1..1\nok 1 a\n").0, Verdict::Pass);
        let (verdict, reason, cases) = tap(exit(1), "1..1\nok 1 a\n");
        assert_eq!((verdict, cases), (Verdict::Fail, 1));
        assert_eq!(reason, "exit status 1, though no case failed");
        assert_eq!(tap(exit(1), "1..1\nnot ok 1 a\n").0, Verdict::Fail);
        assert_eq!(tap(exit(0), "1..1\nnot ok 1 a\n").0, Verdict::Fail);
        assert_eq!(tap(exit(0), "1..1\nok 1 # SKIP x\n").0, Verdict::Skip);
        assert_eq!(tap(exit(0), "1..0 # SKIP none here\n").1, "none here");
        assert_eq!(tap(exit(4), "1..0 # SKIP none here\n").0, Verdict::Skip);
    }

    #[test]
    fn no_verdict_is_guessed_from_half_a_report() {
        let tap = |end, text| judged(ResultsFormat::Tap, end, Ok(text));
        let (verdict, reason, cases) = tap(exit(0), "1..5\nok 1\nok 2\nok 3\n");
        assert_eq!((verdict, cases), (Verdict::Error, 3));
        assert!(reason.contains("plan says 5, saw 3"), "{reason}");
        assert_eq!(tap(exit(0), "").0, Verdict::Error);
        assert_eq!(tap(exit(0), "hello\n").0, Verdict::Error);
        let missing = judged(ResultsFormat::Junit, exit(0), Err("no file"));
        assert_eq!((missing.0, missing.1.as_str()), (Verdict::Error, "no file"));
        let (limit, took) = (Duration::from_secs(3), Duration::from_secs(7));
        let (verdict, reason, cases) = tap(End::Killed { limit, took }, "1..2\nok 1 a\n");
        assert_eq!((verdict, cases), (Verdict::Timeout, 1));
        assert!(
            reason.starts_with("it ran longer than 3 s (7 s on the host)"),
            "{reason}"
        );
    }
}
