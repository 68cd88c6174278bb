#![allow(clippy::unwrap_used)]

use super::*;
use crate::config::Origin;
use proptest::prelude::*;

fn catalogue() -> Catalogue {
    let text = r#"
[kernels."6.1"]
path = "/a"
[kernels."7.0"]
path = "/b"
[kernels."7.3"]
path = "/c"
[kernels.mine]
path = "/d"
[groups]
lts = ["7.*", "6.1"]
none = []
"#;
    Catalogue::parse(text, Origin::BuiltIn).unwrap()
}

fn names(patterns: &[&str]) -> Vec<String> {
    let selected = catalogue()
        .select(patterns, Path::new("/nonexistent"))
        .unwrap();
    selected.iter().map(|s| s.name().to_owned()).collect()
}

fn error(pattern: &str) -> SelectError {
    catalogue()
        .select(&[pattern], Path::new("/nonexistent"))
        .unwrap_err()
}

#[test]
fn names_globs_and_groups_select_in_the_order_asked_for_and_once() {
    assert_eq!(names(&["mine", "6.1", "mine"]), ["mine", "6.1"]);
    assert_eq!(names(&["7.*"]), ["7.0", "7.3"]);
    assert_eq!(names(&["@lts"]), ["7.0", "7.3", "6.1"]);
    assert_eq!(names(&["7.3", "@lts", "*"]), ["7.3", "7.0", "6.1", "mine"]);
}

#[test]
fn an_unknown_name_lists_the_names_there_are_nearest_first() {
    let error = error("mime");
    let text = error.to_string();
    assert!(
        text.starts_with("there is no kernel \"mime\"; the kernels are: mine, "),
        "{text}"
    );
    assert!(text.contains("6.1") && text.contains("7.3"), "{text}");
    assert!(error.hints()[0].contains("-k mine"));
}

#[test]
fn without_a_name_the_kernels_are_those_of_the_first_group_there_is_or_all() {
    let default = |text: &str| {
        let catalogue = Catalogue::parse(text, Origin::BuiltIn).unwrap();
        catalogue.default_kernels(&["ci", "quick"])
    };
    let kernel = "[kernels.a]\npath = \"/a\"\n";
    let grouped = |groups: &str| default(&format!("{kernel}[groups]\n{groups}"));
    assert_eq!(grouped("quick = [\"a\"]\nci = [\"a\"]\n"), "@ci");
    assert_eq!(grouped("quick = [\"a\"]\n"), "@quick");
    assert_eq!(default(kernel), "*");
}

#[test]
fn an_unknown_group_lists_the_groups() {
    assert!(
        error("@ltz")
            .to_string()
            .contains("the groups are: @lts, @none")
    );
    assert!(matches!(error("@none"), SelectError::EmptyGroup { .. }));
}

#[test]
fn a_glob_that_matches_nothing_or_is_invalid_is_an_error() {
    assert!(matches!(error("9.*"), SelectError::NoMatch { .. }));
    assert!(matches!(error("[7"), SelectError::BadGlob { .. }));
}

#[test]
fn a_path_is_recognised_by_its_slash_or_by_existing() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("bzImage"), b"").unwrap();
    std::fs::write(dir.path().join("6.1"), b"").unwrap();
    let selected = catalogue()
        .select(&["bzImage", "./bzImage", "6.1"], dir.path())
        .unwrap();
    assert_eq!(selected.len(), 2, "the same file twice is one kernel");
    assert_eq!(selected[0].name(), "bzImage");
    assert!(
        matches!(&selected[1], Selected::Named(kernel) if kernel.name == "6.1"),
        "a name wins over a file"
    );
    assert!(matches!(error("./vmlinux"), SelectError::NoSuchPath { .. }));
}

proptest! {
    #[test]
    fn no_pattern_panics(pattern in ".{0,20}") {
        let _ = catalogue().select(&[pattern], Path::new("/nonexistent"));
    }
}

#[test]
fn packages_between_commas_are_one_kernel() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a.rpm", "b.rpm", "c,d.deb"] {
        std::fs::write(dir.path().join(name), "").unwrap();
    }
    let catalogue = Catalogue::built_in().unwrap();
    let select = |patterns: &[&str]| catalogue.select(patterns, dir.path());
    let files = |given: &str, names: &[&str]| Selected::Files {
        given: given.to_owned(),
        paths: names.iter().map(|name| dir.path().join(name)).collect(),
    };
    for given in ["a.rpm,b.rpm", "./a.rpm,./b.rpm"] {
        assert_eq!(
            select(&[given]).unwrap(),
            [files(given, &["a.rpm", "b.rpm"])]
        );
    }
    // A file may have a comma in its name.
    assert!(matches!(
        &select(&["c,d.deb"]).unwrap()[..],
        [Selected::Path { .. }]
    ));
    let error = select(&["./a.rpm,./none.rpm"]).unwrap_err();
    assert!(
        error.to_string().contains("none.rpm: no such file"),
        "{error}"
    );
}

#[test]
fn the_kernel_of_this_machine_is_host_unless_the_catalogue_has_another() {
    let dir = tempfile::tempdir().unwrap();
    let select = |text: &str| {
        let catalogue = Catalogue::parse(text, Origin::BuiltIn).unwrap();
        catalogue.select(&["host", "host"], dir.path()).unwrap()
    };
    assert_eq!(select(""), [Selected::Host]);
    assert!(matches!(
        &select("[kernels.host]\npath = \"/a\"\n")[..],
        [Selected::Named(_)]
    ));
}
