#![allow(clippy::unwrap_used)]
use super::*;

#[test]
fn a_dialect_is_found_by_any_spelling_of_its_version() {
    for spelling in ["0.17", "v0.17", "0.17.3", "v0.17.0-1", " 0.17 "] {
        assert_eq!(Dialect::for_version(spelling).unwrap().name, "0.17");
    }
    assert_eq!(Dialect::for_version("HEAD").unwrap().name, "head");
    assert_eq!(Dialect::for_version("0.27").unwrap().name, "head");
    assert_eq!(Dialect::for_version("0.26-rc0").unwrap().name, "0.26");
    assert_eq!(Dialect::for_version("1.0").unwrap().name, "head");
    assert!(Dialect::for_version("0.13").is_none());
    assert!(Dialect::for_version("seventeen").is_none());
}

#[test]
fn what_bpftrace_prints_names_its_dialect() {
    assert_eq!(
        Dialect::from_info("bpftrace v0.17.0\n").unwrap().name,
        "0.17"
    );
    assert_eq!(Dialect::from_info("bpftrace 0.23.5").unwrap().name, "0.23");
    assert_eq!(
        Dialect::from_info("bpftrace v0.25.0-12-gabcdef")
            .unwrap()
            .name,
        "0.25"
    );
    assert!(Dialect::from_info("command not found").is_none());
}

#[test]
fn directives_only_ever_come() {
    for pair in DIALECTS.windows(2) {
        for directive in pair[0].1.directives {
            assert!(pair[1].1.has(*directive), "{directive:?}");
        }
    }
    assert_eq!(Dialect::first_with(Directive::Setup).unwrap().name, "0.23");
}

#[test]
fn the_table_is_in_order() {
    assert!(DIALECTS.is_sorted_by_key(|(number, _)| *number));
    assert_eq!(Dialect::names().next(), Some("0.14"));
}
