#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::exercise;
use super::tests::types;

/// Pieces of which scripts are made.
const PIECES: [&str; 40] = [
    "BEGIN",
    "tracepoint:a:switch",
    "fentry:open",
    "iter:task",
    "kprobe:vfs_*",
    ",",
    "/",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ";",
    "=",
    "==",
    "*",
    "->",
    ".",
    "$a",
    "$b",
    "@m",
    "args",
    "ctx",
    "retval",
    "curtask",
    "(struct task_struct *)",
    "(union x*)",
    "pid",
    "se",
    "cfs_rq",
    "far",
    "queues",
    "\n#ifndef BPFTRACE_HAVE_BTF\n",
    "\n#else\n",
    "\n#endif\n",
    "\"text",
    "//",
    "/*",
    "é",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_text_is_read(text in ".{0,200}") {
        exercise(&text, Some(&types()));
        exercise(&text, None);
    }

    #[test]
    fn any_pieces_of_scripts_are_read(
        pieces in prop::collection::vec(prop::sample::select(PIECES.as_slice()), 0..60),
    ) {
        let text = pieces.join(" ");
        exercise(&text, Some(&types()));
        exercise(&text, None);
    }

    /// A field that the kernel has is never said to be missing, whatever is around it.
    #[test]
    fn what_is_there_is_never_missing(
        pieces in prop::collection::vec(prop::sample::select(PIECES.as_slice()), 0..60),
    ) {
        let rest: Vec<&str> = pieces.into_iter().filter(|piece| *piece != "(union x*)").collect();
        let script = format!("BEGIN {{ print(curtask->pid); {}", rest.join(" "));
        let said = exercise(&script, Some(&types()));
        prop_assert!(!said.contains("task_struct has no field pid\n"), "{said}");
        prop_assert!(!said.contains("no struct task_struct"), "{said}");
    }
}

#[test]
fn a_large_or_deep_script_is_read() {
    for piece in [
        "(",
        "[",
        "{",
        "$a = $a->b;",
        "((struct x *)",
        "BEGIN {",
        "*",
        "#if A\n",
        "\"",
        "/*",
        "BEGIN { $b = curtask; $a = $b->se.cfs_rq",
    ] {
        let script = format!("BEGIN {{ {}", piece.repeat(200_000 / piece.len()));
        let said = exercise(&script, Some(&types()));
        assert!(said.lines().count() < 100, "{piece}: {said}");
    }
}
