#![allow(clippy::unwrap_used)]
use std::path::{Path, PathBuf};

use super::*;
use crate::suite::bpftrace::feature::{KnownFeature, Probe};
use crate::suite::bpftrace::vocabulary::{FeatureName as F, Word};
use crate::suite::bpftrace::{Directive, Engine, Parsed, SkipReason, parse, precheck};

fn dialect(name: &str) -> &'static Dialect {
    Dialect::for_version(name).unwrap()
}

/// The engine of a dialect with one more directive and two more features, one of which shows how to
/// detect it.
fn beside(name: &str) -> EngineBeside {
    let dialect = dialect(name);
    let words = dialect.directives.iter().map(|d| d.word().to_owned());
    let mut features: Vec<_> = dialect.features.iter().map(KnownFeature::from).collect();
    for (name, probe) in [
        ("seen", Probe::Printed("seen: yes".to_owned())),
        ("unseen", Probe::Unreadable),
    ] {
        let name = name.to_owned();
        features.push(KnownFeature { name, probe });
    }
    EngineBeside::Read {
        path: PathBuf::from("tests/runtime/engine"),
        engine: Engine {
            directives: Some(words.chain(["WARP".to_owned()]).collect()),
            features: Some(features),
            endianness: name == "head",
            marker: true,
        },
    }
}

fn unreadable() -> EngineBeside {
    EngineBeside::Unreadable {
        path: PathBuf::from("tests/runtime/engine"),
        reason: "it is written in something else".to_owned(),
    }
}

/// Dialect, what decided, and the note.
fn chosen(
    option: Option<&str>,
    engine: &EngineBeside,
    version: Option<&str>,
) -> (&'static str, By, String) {
    let choice = choose(option.map(dialect), engine, version);
    let note = choice.note.unwrap_or_default();
    (choice.vocabulary.dialect.name, choice.by, note)
}

#[test]
fn the_engine_beside_the_tests_decides_before_the_version() {
    let quiet = (dialect("0.17").name, By::Engine, String::new());
    assert_eq!(chosen(None, &beside("0.17"), Some("v0.17.1")), quiet);
    assert_eq!(chosen(None, &beside("0.17"), None), quiet);
    for version in ["v0.26.0", "v0.26.0-e1b7c3934", "v0.26.0-rc1"] {
        let (name, by, note) = chosen(None, &beside("head"), Some(version));
        assert_eq!((name, by), ("head", By::Engine));
        let expected = format!(
            "using the rules of head, from the engine beside the tests \
             (tests/runtime/engine), although bpftrace reports version {version}"
        );
        assert_eq!(note, expected);
    }
}

#[test]
fn the_user_decides_before_the_engine_and_gets_a_note_if_they_differ() {
    let (name, by, note) = chosen(Some("0.26"), &beside("head"), Some("v0.26.0"));
    assert_eq!((name, by), ("0.26", By::Option));
    assert!(note.contains("is of head"), "{note}");
    let quiet = ("head", By::Option, String::new());
    assert_eq!(chosen(Some("head"), &beside("head"), None), quiet);
    assert_eq!(chosen(Some("head"), &EngineBeside::Absent, None), quiet);
    assert_eq!(chosen(Some("head"), &unreadable(), None), quiet);
}

#[test]
fn the_version_decides_where_no_engine_does() {
    let absent = EngineBeside::Absent;
    let quiet = ("0.26", By::Version, String::new());
    assert_eq!(chosen(None, &absent, Some("v0.26.0-rc1")), quiet);
    let quiet = ("head", By::Default, String::new());
    assert_eq!(chosen(None, &absent, None), quiet);
    assert_eq!(chosen(None, &absent, Some("UNKNOWN")), quiet);
    let (name, by, note) = chosen(None, &unreadable(), Some("v0.26.0"));
    assert_eq!((name, by), ("0.26", By::Version));
    assert!(note.contains("it is written in something else; using the rules of 0.26"));
    let (name, by, note) = chosen(None, &absent, Some("v0.13.1"));
    assert_eq!((name, by), ("0.14", By::Version));
    assert!(note.contains("v0.13.1 is older than 0.14"), "{note}");
    let EngineBeside::Read { path, mut engine } = beside("0.14") else {
        unreachable!()
    };
    engine.marker = false;
    let old = EngineBeside::Read { path, engine };
    let (name, by, note) = chosen(None, &old, Some("v0.17.0"));
    assert_eq!((name, by), ("0.14", By::Engine));
    assert!(note.contains("(tests/runtime/engine) is older than 0.14"));
}

#[test]
fn what_is_newer_than_kiln_is_known_by_the_engine_or_where_nothing_speaks_against_it() {
    let words = |option: Option<&str>, engine: &EngineBeside, version: Option<&str>| {
        let choice = choose(option.map(dialect), engine, version);
        let vocabulary = choice.vocabulary;
        (
            vocabulary.word("WARP"),
            vocabulary.word("WEFT"),
            vocabulary.feature("seen"),
            vocabulary.feature("unseen"),
            vocabulary.feature("other"),
        )
    };
    let by_engine = (Word::Newer, Word::Unknown, F::Known, F::Newer, F::Unknown);
    let open = (Word::Newer, Word::Newer, F::Newer, F::Newer, F::Newer);
    let closed = (
        Word::Unknown,
        Word::Unknown,
        F::Unknown,
        F::Unknown,
        F::Unknown,
    );
    let absent = EngineBeside::Absent;
    assert_eq!(words(None, &beside("head"), Some("v0.26.0")), by_engine);
    assert_eq!(words(Some("head"), &beside("head"), None), by_engine);
    // A distribution may have added to the tests of a release.
    assert_eq!(words(None, &beside("0.24"), Some("v0.24.1")), by_engine);
    assert_eq!(words(Some("0.26"), &beside("head"), None), closed);
    assert_eq!(words(None, &absent, Some("v0.26.0")), closed);
    assert_eq!(words(None, &absent, Some("v0.26.0-e1b7c3934")), open);
    assert_eq!(words(None, &absent, Some("v0.27.0")), open);
    assert_eq!(words(None, &absent, None), open);
    assert_eq!(words(None, &unreadable(), Some("v0.26.0")), open);
    // Names of later dialects are known if the tests may be of one.
    let vocabulary = choose(None, &unreadable(), Some("v0.22.0")).vocabulary;
    assert_eq!(vocabulary.word("SETUP"), Word::Known(Directive::Setup));
    assert_eq!(vocabulary.feature("blazesym"), F::Known);
    assert_eq!(vocabulary.feature(""), F::Unknown);
    assert_eq!(vocabulary.word("warp"), Word::Unknown);
}

fn read(text: &str) -> Parsed {
    let choice = choose(None, &beside("head"), None);
    parse(Path::new("suite"), text.as_bytes(), &choice.vocabulary)
}

fn skipped(parsed: &Parsed, index: usize) -> Option<String> {
    let reason = precheck(&parsed.tests[index], "6.12", |_| None).unwrap();
    reason.as_ref().map(SkipReason::to_string)
}

#[test]
fn what_is_newer_costs_its_own_test_and_no_other() {
    let parsed = read(
        "NAME a\nRUN b\nWARP 9\n     and more\n     NAME no\n\n\
         NAME c\nWARP 9\nREQUIRES_FEATURE btf unseen\n\n\
         NAME d\nRUN e\nEXPECT f\nREQUIRES_FEATURE seen\n",
    );
    assert_eq!(parsed.problems, []);
    let ids: Vec<_> = parsed.tests.iter().map(|t| t.id.to_string()).collect();
    assert_eq!(ids, ["suite.a", "suite.c", "suite.d"]);
    let directive = "this kiln does not know the directive WARP; a newer one may";
    assert_eq!(skipped(&parsed, 0).as_deref(), Some(directive));
    let both = "this kiln does not know the directive WARP and the feature unseen; a newer one may";
    assert_eq!(skipped(&parsed, 1).as_deref(), Some(both));
    assert_eq!(skipped(&parsed, 2), None);
    // A test without a program that we know has none to compile.
    assert!(parsed.tests[1].aot_clone().is_none());
    // One that can be compiled is also skipped.
    let parsed_again = read("NAME a\nPROG b\nWARP 9\n");
    let clone = parsed_again.tests[0].aot_clone().unwrap();
    assert_eq!(clone.newer, ["the directive WARP"]);
    let lines: Vec<_> = parsed.warnings.iter().map(|warning| warning.line).collect();
    assert_eq!(lines, [3, 8, 9]);
}

#[test]
fn what_the_engine_does_not_know_is_an_error_with_what_it_knows() {
    let parsed = read("NAME a\nRUN b\nEXPECT c\nWARB 9\nREQUIRES_FEATURE sewn\n");
    let problems: Vec<_> = parsed.problems.iter().map(ToString::to_string).collect();
    assert!(problems[0].contains("`WARB` is not a directive (did you mean WARP?)"));
    assert!(problems[1].contains("`sewn` is not a feature; allowed are "));
    assert!(problems[1].contains("blazesym, seen, unseen"));
    // Its name is required to report it.
    let parsed = read("WARP 9\n");
    assert_eq!(parsed.problems.len(), 1);
}
