#![allow(clippy::unwrap_used)]
use super::*;

fn problems(dialect: &str, text: &str) -> Vec<String> {
    let dialect = Dialect::for_version(dialect).unwrap();
    parse(
        Path::new("runtime/suite"),
        text.as_bytes(),
        &Vocabulary::of(dialect),
    )
    .problems
    .iter()
    .map(ToString::to_string)
    .collect()
}

const BASE: &str = "NAME a\nRUN b\nEXPECT c\nTIMEOUT 1\n";

fn problem(dialect: &str, directives: &str) -> String {
    let found = problems(dialect, &format!("{BASE}{directives}\n"));
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

#[test]
fn a_whole_test_is_read() {
    let test = one(
        "0.17",
        "NAME  a   b\nPROG  i:s:1   { exit(); }\nEXPECT  x\nTIMEOUT 3\nBEFORE ./p\nAFTER ./q\n\
         MIN_KERNEL 5.1\nREQUIRES true\nREQUIRES false\nREQUIRES_FEATURE btf !dpath\n\
         ENV A=1 B=2 A=3\nARCH x86_64|aarch64\nWILL_FAIL\n",
    );
    assert_eq!(test.id.to_string(), "suite.a b");
    assert_eq!(test.line, 1);
    let program = Program::Prog("i:s:1 { exit(); }".to_owned());
    assert_eq!(test.program, program);
    assert_eq!(test.timeout, Some(Duration::from_secs(3)));
    assert_eq!(test.befores, ["./p"]);
    assert_eq!(test.requires, ["true", "false"]);
    assert!(test.features[1].negated);
    let env = [("B", "2"), ("A", "3")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    assert_eq!(test.env, env);
    assert!(test.will_fail);
}

#[test]
fn inner_blanks_are_kept_since_0_22() {
    let text = "NAME a  b\nRUN b\nEXPECT c\nTIMEOUT 1\n";
    assert_eq!(one("0.21", text).id.name, "a b");
    assert_eq!(one("0.22", text).id.name, "a  b");
}

#[test]
fn values_continue_by_dialect() {
    let text = "NAME a\nPROG b {\n       c }\nEXPECT d\n        e \nTIMEOUT 1\n";
    let test = one("0.21", text);
    assert_eq!(test.program, Program::Prog("b {\n  c }".to_owned()));
    assert_eq!(test.expectations[0].value, "d\n e ");
    assert_eq!(problems("0.20", text).len(), 2);
    // Upstream drops the last character of a file without a last newline.
    let test = one("0.21", "NAME a\nTIMEOUT 1\nRUN b\nEXPECT d\n       ef");
    assert_eq!(test.expectations[0].value, "d\nef");
}

#[test]
fn an_invalid_number_is_reported_with_its_line() {
    assert_eq!(
        problem("0.17", "TIMEOUT soon"),
        "runtime/suite:5: TIMEOUT takes a whole number of seconds, not `soon`"
    );
}

#[test]
fn an_unknown_directive_is_reported_with_the_nearest_and_all_others() {
    let told = problem("0.17", "REQUIRE x");
    assert!(
        told.starts_with("runtime/suite:5: `REQUIRE` is not a directive (did you mean REQUIRES?)"),
        "{told}"
    );
    assert!(told.contains("allowed are NAME, RUN, PROG"), "{told}");
}

#[test]
fn a_directive_of_a_later_version_is_reported_with_that_version() {
    assert_eq!(
        problem("0.17", "SETUP x"),
        "runtime/suite:5: SETUP is not a directive of bpftrace 0.17's tests; it came with 0.23"
    );
}

#[test]
fn all_missing_directives_of_a_test_are_reported_at_once() {
    assert_eq!(problems("0.17", "ARCH x86_64\n").len(), 4);
    assert_eq!(problems("head", "ARCH x86_64\n").len(), 3);
    assert_eq!(problems("head", "NAME a\nRUN b\nRETURN_CODE 0\n").len(), 0);
}

#[test]
fn conflicting_directives_are_reported() {
    assert!(problem("head", "PROG x").contains("RUN beside PROG"));
    assert!(problem("head", "EXPECT_JSON x").contains("must be the only one"));
    assert!(problem("head", "WILL_FAIL\nRETURN_CODE 1").contains("beside WILL_FAIL"));
    assert!(problem("head", "NEW_PIDNS").contains("without BEFORE"));
    assert!(problem("head", "REQUIRES_FEATURE btf  dpath").contains("`` is not a feature"));
    assert!(problem("head", "ENV A=b=c").contains("exactly one `=`"));
    assert!(problem("head", "SKIP_IF_ENV_HAS CI").contains("NAME=VALUE"));
    let two = "NAME a\nRUN {{BEFORE_PID}}\nEXPECT c\nBEFORE x\nBEFORE y\n";
    assert_eq!(problems("0.23", two).len(), 1);
    assert_eq!(problems("0.24", two).len(), 0);
}

fn warnings(dialect: &str, text: &str) -> Vec<(usize, WarningKind)> {
    let dialect = Dialect::for_version(dialect).unwrap();
    parse(Path::new("s"), text.as_bytes(), &Vocabulary::of(dialect))
        .warnings
        .into_iter()
        .map(|warning| (warning.line, warning.kind))
        .collect()
}

#[test]
fn what_replaces_an_earlier_line_is_warned_of_by_dialect() {
    let duplicate = |directive| WarningKind::DuplicateDirective { directive };
    let text = format!("{BASE}REQUIRES a\nREQUIRES b\nBEFORE c\nBEFORE d\nTIMEOUT 2\n");
    let requires = (6, duplicate(Directive::Requires));
    let before = (8, duplicate(Directive::Before));
    let timeout = (9, duplicate(Directive::Timeout));
    let old = [requires, before.clone(), timeout.clone()];
    assert_eq!(warnings("0.15", &text), old);
    assert_eq!(warnings("0.18", &text), [before, timeout.clone()]);
    assert_eq!(warnings("0.19", &text), [timeout]);
    let text = format!("{BASE}EXPECT d\nEXPECT_FILE e\n");
    let replaced = WarningKind::ReplacedExpectation {
        directive: Directive::ExpectFile,
        replaced: Directive::Expect,
    };
    let old = [(5, duplicate(Directive::Expect)), (6, replaced)];
    assert_eq!(warnings("0.20", &text), old);
    assert_eq!(one("0.20", &text).expectations[0].line, 6);
}

#[test]
fn an_empty_before_counts_as_none_until_it_is_split_into_words() {
    let text = format!("{BASE}BEFORE x\nBEFORE\n");
    assert!(one("0.18", &text).befores.is_empty());
    assert!(problems("0.19", &text)[0].contains("BEFORE has no value"));
}

#[test]
fn the_line_of_each_directive_is_known() {
    let test = one("head", &format!("{BASE}REQUIRES a\n# c\nREQUIRES b\n"));
    assert_eq!(test.line_of(Directive::Run), 2);
    assert_eq!(test.line_of(Directive::Requires), 7);
    let lines: Vec<_> = test.lines_of(Directive::Requires).collect();
    assert_eq!(lines, [5, 7]);
    assert_eq!(test.line_of(Directive::After), 1);
}

#[test]
fn lines_of_blanks_alone_are_not_a_test() {
    let text = format!("  \n\n{BASE}\n\t\n");
    assert_eq!(problems("0.17", &text), Vec::<String>::new());
    assert_eq!(warnings("0.17", &text).len(), 2);
}

#[test]
fn a_bad_pattern_is_reported_with_its_line() {
    let test = one("0.17", "NAME a\nRUN b\nTIMEOUT 1\nEXPECT (c\n");
    let found = test.pattern_problems();
    let told = found[0].to_string();
    assert!(told.starts_with("runtime/suite:4: `(c` is not a regular expression"));
}

#[test]
fn newlines_may_be_those_of_other_systems() {
    let text = BASE.replace('\n', "\r\n");
    assert_eq!(one("0.17", &text), one("0.17", BASE));
}

#[test]
fn a_file_that_is_not_utf8_is_reported_with_its_line() {
    let dialect = Dialect::newest();
    let parsed = parse(
        Path::new("s"),
        b"NAME a\nRUN \xff\n",
        &Vocabulary::of(dialect),
    );
    assert_eq!(
        parsed.problems[0].to_string(),
        "s:2: the file is not UTF-8 from here on"
    );
}

/// A line of a test: any directive of any dialect, with a value that suits many of them, or a
/// separator.
fn any_line() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;
    let words: Vec<&str> = Directive::ALL.map(Directive::word).to_vec();
    let values = [
        "",
        "a",
        "1",
        "0",
        "-1",
        "A=b",
        "btf !dpath",
        "x86_64|!le",
        "{{BEFORE_PID}}",
    ];
    let directive = (
        prop::sample::select(words),
        prop::sample::select(values.to_vec()),
    )
        .prop_filter("names are counted", |(word, _)| *word != "NAME")
        .prop_map(|(word, value)| format!("{word} {value}"));
    prop_oneof![
        2 => Just("NAME n".to_owned()),
        6 => directive,
        2 => "(#c|       more| |\t|)",
    ]
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2000))]

    #[test]
    fn no_file_panics_in_any_dialect(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        for name in Dialect::names() {
            parse(Path::new("s"), &bytes, &Vocabulary::of(Dialect::for_version(name).unwrap()));
        }
    }

    #[test]
    fn no_mix_of_directives_panics_or_loses_a_name(
        lines in proptest::collection::vec(any_line(), 0..24),
        last_newline: bool,
    ) {
        let mut text = lines.join("\n");
        if last_newline {
            text.push('\n');
        }
        for name in Dialect::names() {
            let dialect = Dialect::for_version(name).unwrap();
            let parsed = parse(Path::new("s"), text.as_bytes(), &Vocabulary::of(dialect));
            let names = lines.iter().filter(|line| *line == "NAME n").count();
            proptest::prop_assert!(parsed.tests.len() <= names);
            // Each NAME makes a test, or a message says why not.
            let overridden = parsed
                .warnings
                .iter()
                .filter(|w| {
                    let directive = Directive::Name;
                    w.kind == WarningKind::DuplicateDirective { directive }
                })
                .count();
            let told = parsed.tests.len() + parsed.problems.len() + overridden;
            proptest::prop_assert!(names <= told);
        }
    }
}
