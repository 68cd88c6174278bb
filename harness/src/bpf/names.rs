//! Flavours: `task_struct___v2` stands for `task_struct`.

/// A name without its flavour: what stands before the last `___` that has neither `_` before nor
/// after it (libbpf: `bpf_core_essential_name_len`).
pub fn essential(name: &str) -> &str {
    let bytes = name.as_bytes();
    let separates = |at: &usize| {
        matches!(&bytes[*at..*at + 5], [before, b'_', b'_', b'_', after]
            if *before != b'_' && *after != b'_')
    };
    let last = bytes.len().checked_sub(5);
    let last = last.and_then(|last| (0..=last).rev().find(separates));
    // The byte at `last` may be one of several of a character.
    last.and_then(|last| name.get(..=last)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flavour_is_what_stands_behind_the_last_three_underscores() {
        for (name, expected) in [
            ("task_struct", "task_struct"),
            ("task_struct___v2", "task_struct"),
            ("a___b___c", "a___b"),
            ("a___b____c", "a"),
            ("a___", "a___"),
            ("___b", "___b"),
            ("a____b", "a____b"),
            ("", ""),
            ("ä___b", "ä"),
        ] {
            assert_eq!(essential(name), expected, "{name}");
        }
    }
}
