//! Verdicts on objects and scripts.

use crate::bpf::{Finding, Level, Report, Verdict as Checked};
use crate::suite::{Judgement, Verdict};

/// The verdict on an object that was only checked.
pub fn judge_static(report: &Report) -> Judgement {
    let mut judgement = match report.verdict {
        Checked::Loads => Judgement::new(Verdict::Pass, ""),
        Checked::Unattached | Checked::Fails => Judgement::new(Verdict::Fail, reason(report)),
        Checked::NoBtf => Judgement::skip(&reason(report)),
    };
    judgement.diff = details(report);
    judgement
}

/// The verdict on an object that was loaded as well: the kernel's counts. `said` is the last line of
/// what it said.
pub fn judge_load(report: &Report, loads: bool, said: &str) -> Judgement {
    let mut judgement = match (loads, report.verdict) {
        (true, Checked::Unattached) | (false, Checked::Fails) => {
            Judgement::new(Verdict::Fail, reason(report))
        }
        (true, _) => Judgement::new(Verdict::Pass, ""),
        (false, Checked::Loads | Checked::Unattached) => Judgement::new(
            Verdict::Fail,
            format!("the kernel refuses it, which its types do not tell: {said}"),
        ),
        (false, Checked::NoBtf) => Judgement::skip(&reason(report)),
    };
    judgement.diff = details(report);
    judgement
}

/// The verdict on a script that bpftrace has tried to attach: bpftrace's counts. `refusal` is what
/// it said against it.
pub fn judge_script(report: &Report, refusal: Option<(Checked, &str)>) -> Judgement {
    let mut judgement = match (refusal, report.verdict) {
        (None, _) => Judgement::new(Verdict::Pass, ""),
        (Some(_), Checked::NoBtf) => Judgement::skip(&reason(report)),
        (Some((said, _)), checked) if said == checked => {
            Judgement::new(Verdict::Fail, reason(report))
        }
        (Some((_, said)), _) => Judgement::new(Verdict::Fail, said),
    };
    judgement.diff = details(report);
    judgement
}

/// A note where the kernel takes what its types speak against.
pub fn contradiction(report: &Report, loads: bool) -> Option<String> {
    let foreseen = matches!(report.verdict, Checked::Fails | Checked::NoBtf);
    (loads && foreseen).then(|| format!("it loads, although {}", reason(report)))
}

/// The first finding, in a line.
fn reason(report: &Report) -> String {
    let first = report.findings.first();
    first.map_or_else(String::new, |finding| {
        let Finding {
            subject, reason, ..
        } = finding;
        match &finding.source {
            Some(source) => format!("{}:{}: {subject}: {reason}", source.file, source.line),
            None => format!("{subject}: {reason}"),
        }
    })
}

/// All findings that count, for people.
fn details(report: &Report) -> Option<String> {
    let counting = report.findings.iter();
    let counting = counting.filter(|finding| finding.level != Level::Guarded);
    let text: String = counting.map(Finding::to_string).collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdict: Checked) -> Report {
        Report {
            verdict,
            findings: vec![Finding {
                level: Level::Refused,
                program: Some("p".to_owned()),
                section: None,
                function: None,
                insn: None,
                source: None,
                subject: "kfunc f".to_owned(),
                reason: "this kernel has no such function".to_owned(),
            }],
            relocations: Vec::new(),
            modules: Vec::new(),
        }
    }

    #[test]
    fn the_kernel_has_the_last_word_where_it_was_asked() {
        let verdict = |checked, loads| judge_load(&report(checked), loads, "EINVAL").verdict;
        assert_eq!(verdict(Checked::Loads, true), Verdict::Pass);
        assert_eq!(verdict(Checked::Loads, false), Verdict::Fail);
        assert_eq!(verdict(Checked::Fails, true), Verdict::Pass);
        assert_eq!(verdict(Checked::Unattached, true), Verdict::Fail);
        assert_eq!(verdict(Checked::NoBtf, false), Verdict::Skip);
        let judgement = judge_load(&report(Checked::Loads), false, "EINVAL");
        assert!(judgement.reason.ends_with("do not tell: EINVAL"));
        assert!(contradiction(&report(Checked::Fails), true).is_some());
        assert!(contradiction(&report(Checked::Loads), true).is_none());
    }

    #[test]
    fn bpftrace_has_the_last_word_on_a_script() {
        let judge = |checked, said| judge_script(&report(checked), said);
        assert_eq!(judge(Checked::Fails, None).verdict, Verdict::Pass);
        let foreseen = judge(Checked::Fails, Some((Checked::Fails, "ERROR")));
        assert_eq!(foreseen.verdict, Verdict::Fail);
        assert_eq!(foreseen.reason, "kfunc f: this kernel has no such function");
        let other = judge(Checked::Loads, Some((Checked::Unattached, "ERROR")));
        assert_eq!(
            (other.verdict, other.reason.as_str()),
            (Verdict::Fail, "ERROR")
        );
        let without = judge(Checked::NoBtf, Some((Checked::Fails, "ERROR")));
        assert_eq!(without.verdict, Verdict::Skip);
        assert!(
            without.reason.contains("has no such function"),
            "{without:?}"
        );
    }

    #[test]
    fn a_check_alone_says_what_it_found() {
        let judgement = judge_static(&report(Checked::Fails));
        assert_eq!(judgement.verdict, Verdict::Fail);
        assert_eq!(
            judgement.reason,
            "kfunc f: this kernel has no such function"
        );
        assert!(judgement.diff.is_some_and(|text| text.contains("kfunc f")));
        assert_eq!(
            judge_static(&report(Checked::Unattached)).verdict,
            Verdict::Fail
        );
        assert_eq!(judge_static(&report(Checked::NoBtf)).verdict, Verdict::Skip);
    }
}
