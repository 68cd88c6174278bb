#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use super::update::Update;
use super::*;
use crate::report::samples::{at, result};
use crate::run::event::{Event, Record, RunStopped, StopReason, TestResult, Verdict, VmStarted};

const FILE: &str = r#"
# Why BTF matters
[[known]]
test = "call.kstack"
kernel = ["5.10", ">=6.12"]
bpftrace = "<0.20"
result = "fail"
reason = "no BTF"
link = "https://example.org/1"

[[known]]
filter = "^probe\\.:-uprobe"
suite = "bpftrace"
result = "flaky"
reason = "slow"
"#;

fn parse(text: &str) -> Result<Expectations, ExpectationsError> {
    Expectations::parse(text, Path::new("/x/expectations.toml"))
}

fn known(id: (&str, &str), release: &str, bpftrace: Option<&str>) -> Option<KnownResult> {
    let id = TestId::new(id.0, id.1);
    let subject = Subject {
        id: &id,
        suite: "bpftrace",
        release,
        bpftrace,
    };
    parse(FILE)
        .unwrap()
        .known(subject)
        .map(|known| known.result)
}

#[test]
fn an_entry_holds_for_its_tests_kernels_and_versions() {
    let kstack = ("call", "kstack");
    let fail = Some(KnownResult::Fail);
    assert_eq!(known(kstack, "5.10.0-46-amd64", Some("0.17.0")), fail);
    assert_eq!(known(kstack, "7.3.4", Some("v0.17.0")), fail);
    assert_eq!(known(kstack, "6.1.0-56-amd64", Some("0.17.0")), None);
    assert_eq!(known(kstack, "5.10.0", Some("0.20.1")), None);
    assert_eq!(known(kstack, "5.10.0", None), None);
    assert_eq!(known(("call", "kstack_x"), "5.10.0", Some("0.17")), None);
    let flaky = Some(KnownResult::Flaky);
    assert_eq!(known(("probe", "kprobe"), "6.1", None), flaky);
    assert_eq!(known(("probe", "uprobe"), "6.1", None), None);
}

#[test]
fn every_mistake_is_reported_with_its_line() {
    for (text, line, message) in [
        (
            "[[known]]\ntest = \"a.b\"\nresult = \"fial\"\nreason = \"r\"\n",
            3,
            "unknown result",
        ),
        (
            "[[known]]\ntest = \"a.b\"\nresult = \"fail\"\nreason = \" \"\n",
            4,
            "the reason is empty",
        ),
        (
            "[[known]]\ntest = \"a.b\"\nresult = \"fail\"\n",
            1,
            "missing key `reason`",
        ),
        (
            "\n[[known]]\nresult = \"fail\"\nreason = \"r\"\n",
            2,
            "exactly one of `test`",
        ),
        (
            "[[known]]\nfilter = \"(\"\nresult = \"fail\"\nreason = \"r\"\n",
            2,
            "filter `(`",
        ),
        (
            "[[known]]\ntest = \"a\"\nkernel = \"6.*\"\nresult = \"fail\"\nreason = \"r\"\n",
            3,
            "not a range",
        ),
        (
            "[[known]]\ntests = \"a\"\nresult = \"fail\"\nreason = \"r\"\n",
            2,
            "unknown key `tests`",
        ),
        ("[known", 1, ""),
    ] {
        let error = parse(text).unwrap_err().to_string();
        let place = format!("/x/expectations.toml:{line}: ");
        assert!(
            error.starts_with(&place) && error.contains(message),
            "{error}"
        );
    }
}

#[test]
fn entries_about_no_test_of_the_suite_are_found() {
    let tests = [TestId::new("probe", "kprobe")];
    assert_eq!(parse(FILE).unwrap().about_none_of(&tests.each_ref()), [3]);
}

fn run(results: Vec<TestResult>) -> Vec<Record> {
    let vm = |kernel: &str, release: &str| {
        at(
            1,
            Event::VmStarted(VmStarted {
                kernel: kernel.into(),
                release: release.into(),
                accelerator: "tcg".into(),
                qemu: "7.2".into(),
                addr_no_randomize: false,
                boot_ms: 1,
                restored: false,
                vm: 0,
                machine: "microvm".into(),
                transport: "mmio".into(),
                share: "virtiofs".into(),
                no_overlay: false,
                chosen_because: Vec::new(),
                memory: 2 << 30,
                cpus: 1,
                cpu: None,
                append: Vec::new(),
                qemu_args: Vec::new(),
                modules: Vec::new(),
                asked: Vec::new(),
            }),
        )
    };
    let started = [vm("old", "5.10.0-46-amd64"), vm("new", "6.1.0-56-amd64")];
    let finished = results.into_iter().map(|r| at(2, Event::TestFinished(r)));
    started.into_iter().chain(finished).collect()
}

fn updated(text: &str, results: Vec<TestResult>) -> (String, Update) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("expectations.toml");
    std::fs::write(&path, text).unwrap();
    let versions = BTreeMap::from([("bpftrace".to_owned(), "v0.17.0".to_owned())]);
    let update = update::update(&path, &run(results), &versions).unwrap();
    (std::fs::read_to_string(&path).unwrap(), update)
}

#[test]
fn an_update_writes_failures_and_flaky_tests_and_keeps_comments() {
    let flaky = TestResult {
        flaky: true,
        ..result("new", "a.flaky", Verdict::Pass, "flaky: why")
    };
    let (text, update) = updated(
        FILE,
        vec![
            result("old", "a.bad", Verdict::Fail, "no line matches \"x\""),
            result("new", "a.bad", Verdict::Timeout, "too slow"),
            flaky,
            result("new", "a.good", Verdict::Pass, ""),
            result("new", "a.lost", Verdict::Lost, "panic"),
        ],
    );
    assert!(text.starts_with(FILE), "{text}");
    assert!(
        text.contains(
            "[[known]]\ntest = \"a.bad\"\nsuite = \"bpftrace\"\nkernel = [\"5.10\", \"6.1\"]\nbpftrace = \"0.17\"\nresult = \"fail\"\n"
        ),
        "{text}"
    );
    assert!(text.contains("test = \"a.flaky\""), "{text}");
    assert!(
        !text.contains("a.good") && !text.contains("a.lost"),
        "{text}"
    );
    assert_eq!(
        (update.added, update.removed, update.by_hand.len()),
        (3, 0, 1)
    );
    // The written file reads back the same.
    let id = TestId::new("a", "bad");
    let subject = Subject {
        id: &id,
        suite: "bpftrace",
        release: "6.1.7",
        bpftrace: Some("0.17.1"),
    };
    assert_eq!(
        parse(&text).unwrap().known(subject).unwrap().result,
        KnownResult::Fail
    );
}

#[test]
fn an_update_gives_no_command_a_version_of_bpftrace_and_no_kernel_twice() {
    let failed = || TestResult {
        suite: "self".into(),
        ..result("new", "self.x", Verdict::Fail, "why")
    };
    let (text, first) = updated("", vec![failed()]);
    assert!(!text.contains("bpftrace"), "{text}");
    let id = TestId::new("self", "x");
    let subject = Subject {
        id: &id,
        suite: "self",
        release: "6.1.7",
        bpftrace: None,
    };
    assert!(parse(&text).unwrap().known(subject).is_some());
    let (again, second) = updated(&text, vec![failed()]);
    assert_eq!(again, text);
    assert_eq!((first.added, second.added), (1, 0));
}

#[test]
fn an_update_ignores_tests_cut_short_by_the_end_of_the_run() {
    let mut records = run(vec![result("new", "a.bad", Verdict::Fail, "why")]);
    records.push(at(
        3,
        Event::RunStopped(RunStopped {
            why: StopReason::GlobalTimeout,
            message: "over".into(),
        }),
    ));
    let broken = result(
        "new",
        "a.healthy",
        Verdict::Timeout,
        "it ran when it was over",
    );
    records.push(at(3, Event::TestFinished(broken)));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("expectations.toml");
    let update = update::update(&path, &records, &BTreeMap::new()).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(update.added, 1);
    assert!(
        text.contains("a.bad") && !text.contains("a.healthy"),
        "{text}"
    );
}

#[test]
fn an_update_drops_failures_that_are_gone_where_an_entry_names_them() {
    let passes = |kernel: &str, id: &str, known: KnownResult| TestResult {
        known: Some(Known {
            result: known,
            reason: "why".into(),
            link: None,
        }),
        ..result(kernel, id, Verdict::Pass, "")
    };
    let file = "# kept\n[[known]]\ntest = \"a.bad\"\nkernel = [\"5.10\", \"6.1\"]\nresult = \"fail\"\nreason = \"r\"\n\n\
                [[known]]\ntest = \"a.worse\"\nkernel = \"6.1\"\nresult = \"fail\"\nreason = \"r\"\n\n\
                [[known]]\nfilter = \"b\"\nresult = \"fail\"\nreason = \"r\"\n";
    let (text, update) = updated(
        file,
        vec![
            passes("new", "a.bad", KnownResult::Fail),
            passes("new", "a.worse", KnownResult::Fail),
            passes("new", "b.all", KnownResult::Fail),
        ],
    );
    assert!(
        text.starts_with("# kept\n[[known]]\ntest = \"a.bad\"\nkernel = [\"5.10\"]"),
        "{text}"
    );
    assert!(!text.contains("a.worse"), "{text}");
    assert!(text.contains("filter = \"b\""), "{text}");
    assert_eq!((update.removed, update.by_hand.len()), (2, 1));
}
