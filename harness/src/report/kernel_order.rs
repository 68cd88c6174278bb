//! Kernels in the order of their versions.

/// Sorts `6.1.0-40` before `6.12.0`, and what has no number last.
pub(super) fn version_key(text: &str) -> (bool, Vec<u64>) {
    let start = text.find(|c: char| c.is_ascii_digit());
    let numbers = text[start.unwrap_or(text.len())..]
        .split(|c: char| !c.is_ascii_digit())
        .map_while(|digits| digits.parse().ok())
        .collect();
    (start.is_none(), numbers)
}
