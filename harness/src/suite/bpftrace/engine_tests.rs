#![allow(clippy::unwrap_used)]
use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::suite::bpftrace::Directive;

/// A parser that accepts these words; the newest also checks the byte order.
fn parser(words: &[&str], endianness: bool) -> String {
    let mut text = "# 'OLD' is gone\ndef read(line):\n".to_owned();
    for word in words {
        writeln!(text, "    if word == '{word}': take(line)").unwrap();
    }
    if endianness {
        text.push_str("    order = 'be' if big else 'le'\n");
    }
    text
}

/// A runner with these lines for features.
fn runner(lines: &[String]) -> String {
    let mut text = "MARKER = '__BPFTRACE_NOTIFY_PROBES_ATTACHED'\nclass Any:\n".to_owned();
    for line in lines {
        writeln!(text, "    {line}").unwrap();
    }
    text
}

fn read(parser: &str, runner: &str) -> Option<Engine> {
    Engine::parse(&[parser, runner])
}

fn line_of(feature: &KnownFeature) -> String {
    let name = &feature.name;
    match &feature.probe {
        Probe::Printed(probe) => format!("bpffeature[\"{name}\"] = out.find(\"{probe}\") != -1"),
        Probe::Build => format!("bpffeature['{name}'] = cmake_vars.ANY"),
        Probe::Unreadable => format!("bpffeature['{name}'] = look(out)"),
    }
}

/// The engine of a dialect, with more directives and lines of features.
fn engine_of(dialect: &Dialect, words: &[&str], lines: &[&str]) -> Engine {
    let directives = dialect.directives.iter().map(|d| d.word());
    let words: Vec<_> = directives.chain(words.iter().copied()).collect();
    let features = dialect.features.iter().map(|f| line_of(&f.into()));
    let more = lines.iter().map(|line| (*line).to_owned());
    let lines: Vec<_> = features.chain(more).collect();
    let endianness = dialect.arch == ArchSyntax::EndianAndNegation;
    read(&parser(&words, endianness), &runner(&lines)).unwrap()
}

#[test]
fn every_dialect_is_known_by_its_engine() {
    for dialect in Dialect::all() {
        let engine = engine_of(dialect, &[], &[]);
        assert_eq!(engine.dialect(None).unwrap().name, dialect.name);
        // The program's version does not change it.
        let other = Dialect::for_version("0.17");
        assert_eq!(engine.dialect(other).unwrap().name, dialect.name);
    }
}

#[test]
fn an_engine_with_more_is_of_the_dialect_that_it_adds_to() {
    for dialect in Dialect::all() {
        let engine = engine_of(
            dialect,
            &["WARP", "WEFT"],
            &["bpffeature['warp'] = 'warp: yes' in out"],
        );
        assert_eq!(engine.dialect(None).unwrap().name, dialect.name);
    }
}

#[test]
fn a_part_that_cannot_be_read_leaves_the_other() {
    let words: Vec<_> = Directive::until(Directive::Setup)
        .iter()
        .map(|d| d.word())
        .collect();
    let engine = read(&parser(&words, false), "").unwrap();
    assert_eq!(engine.features, None);
    assert_eq!(engine.dialect(None).unwrap().name, "0.24");
    let preferred = Dialect::for_version("0.23");
    assert_eq!(engine.dialect(preferred).unwrap().name, "0.23");
    let features = Dialect::for_version("0.20").unwrap().features;
    let lines: Vec<_> = features.iter().map(|f| line_of(&f.into())).collect();
    let engine = read("import words\n", &runner(&lines)).unwrap();
    assert_eq!(engine.directives, None);
    assert_eq!(engine.dialect(None).unwrap().name, "0.20");
}

#[test]
fn what_is_like_no_engine_has_no_dialect() {
    assert_eq!(read("import yaml\n", "def run(): pass\n"), None);
    assert_eq!(read("", ""), None);
    // A parser of something else that happens to have the core.
    let engine = read(&parser(&CORE, false), "").unwrap();
    assert!(engine.dialect(None).is_none());
    let few = runner(&["feature['btf'] = 'btf: yes' in out".to_owned()]);
    let engine = read("", &few).unwrap();
    assert!(engine.dialect(None).is_none());
    // Before 0.14 it did not wait for the line about attached probes.
    let engine = Engine {
        marker: false,
        ..engine_of(Dialect::oldest(), &[], &[])
    };
    assert!(engine.dialect(None).is_none());
    let mut engine = engine_of(Dialect::oldest(), &[], &[]);
    engine.features = None;
    engine
        .directives
        .as_mut()
        .unwrap()
        .retain(|word| word != "PROG");
    assert!(engine.dialect(None).is_none());
}

/// Between two releases the engine had the newer one's directive and the older
/// one's features.
#[test]
fn directives_count_before_features() {
    let features = Dialect::for_version("0.21").unwrap().features;
    let engine = Engine {
        features: Some(features.iter().map(KnownFeature::from).collect()),
        ..engine_of(Dialect::for_version("0.22").unwrap(), &[], &[])
    };
    assert_eq!(engine.dialect(None).unwrap().name, "0.22");
    // A directive that a distribution backported does not make the engine newer.
    let engine = engine_of(Dialect::for_version("0.20").unwrap(), &["SETUP"], &[]);
    assert_eq!(engine.dialect(None).unwrap().name, "0.20");
}

#[test]
fn probes_are_read_in_the_ways_in_which_they_are_written() {
    let text = runner(&[
        "bpffeature = {}".to_owned(),
        "bpffeature['a'] = \\\n        out.find('a: '\n            'yes') != -1".to_owned(),
        "bpffeature[\"b\"] = out.find(\"b: yes\") >= 0 # as ever".to_owned(),
        "bpffeature['c'] = 'c: yes' in out".to_owned(),
        "bpffeature['d'] = cmake_vars.D".to_owned(),
        "bpffeature['e'] = out.find('e: yes') == -1".to_owned(),
        "bpffeature['f'] = f'{x}: yes' in out".to_owned(),
        "if bpffeature['g'] == 1: pass".to_owned(),
        "features = {'h': 'h: yes' in out, 'i': look(out, {1: 2}),}".to_owned(),
        "os.environ['j'] = 'j: yes' in out".to_owned(),
    ]);
    let printed = |text: &str| Probe::Printed(text.to_owned());
    let expected = [
        ("a", printed("a: yes")),
        ("b", printed("b: yes")),
        ("c", printed("c: yes")),
        ("d", Probe::Build),
        ("e", Probe::Unreadable),
        ("f", Probe::Unreadable),
        ("h", printed("h: yes")),
        ("i", Probe::Unreadable),
    ];
    let found = read("", &text).unwrap().features.unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|known| (known.name.as_str(), known.probe.clone()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn lines_may_end_as_elsewhere() {
    let text = "bpffeature['a'] = \\\r\n  'a: yes' in out\r\nbpffeature['b'] = no()\r";
    let found = read("", text).unwrap().features.unwrap();
    let probes: Vec<_> = found.iter().map(|known| &known.probe).collect();
    let printed = Probe::Printed("a: yes".to_owned());
    assert_eq!(probes, [&printed, &Probe::Unreadable]);
}

#[test]
fn names_may_be_in_any_module() {
    let newest = Dialect::newest();
    let words: Vec<_> = newest.directives.iter().map(|d| d.word()).collect();
    let lines: Vec<_> = newest.features.iter().map(|f| line_of(&f.into())).collect();
    let modules = [
        "import b\n",
        &runner(&lines),
        &parser(&words, true),
        "x = 'NAME'",
    ];
    let engine = Engine::parse(&modules).unwrap();
    assert_eq!(engine.dialect(None), Some(newest));
    assert!(engine.endianness);
}

#[test]
fn words_in_comments_are_not_the_parser_s() {
    let words = read(&parser(&CORE, false), "").unwrap().directives.unwrap();
    assert_eq!(words, ["EXPECT", "NAME", "RUN", "TIMEOUT"]);
}

#[test]
fn an_engine_that_cannot_be_read_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let reason = || match EngineBeside::read(dir.path()) {
        EngineBeside::Unreadable { reason, .. } => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(EngineBeside::read(dir.path()), EngineBeside::Absent);
    let engine = dir.path().join("runtime/engine");
    std::fs::create_dir_all(&engine).unwrap();
    assert!(reason().contains("no directives and no features"));
    std::fs::create_dir(engine.join("parser.py")).unwrap();
    assert!(reason().contains("parser.py is not a file"));
    std::fs::remove_dir(engine.join("parser.py")).unwrap();
    std::os::unix::fs::symlink("parser.py", engine.join("parser.py")).unwrap();
    assert!(reason().contains("parser.py: "), "{}", reason());
    std::fs::remove_file(engine.join("parser.py")).unwrap();
    let file = File::create(engine.join("parser.py")).unwrap();
    file.set_len(MAX_SIZE + 1).unwrap();
    assert!(reason().contains("larger than 4 MiB"));
    let mut bytes = parser(&CORE, false).into_bytes();
    bytes.insert(0, 0xff);
    std::fs::write(engine.join("parser.py"), bytes).unwrap();
    // An editor's lock file is not one of its modules.
    std::os::unix::fs::symlink("me@host.1", engine.join(".#parser.py")).unwrap();
    assert!(matches!(
        EngineBeside::read(dir.path()),
        EngineBeside::Read { .. }
    ));
}

proptest! {
    #[test]
    fn any_text_is_read(
        parser in "\\PC*",
        runner in "(feature|bpffeature|\\[|\\]|=|\\{|\\}|'a'|:|,|\\(|\n| )*",
    ) {
        if let Some(engine) = read(&parser, &runner) {
            let _ = engine.dialect(None);
        }
    }
}
