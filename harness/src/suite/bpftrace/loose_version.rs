//! Compares versions like Python's `distutils.version.LooseVersion`.
//!
//! `MIN_KERNEL` and `MAX_KERNEL` use it, surprises included: `6.12` is less than `6.12.0`, and
//! `6.12-rc3` is more than `6.12`.

use std::cmp::Ordering;

use thiserror::Error;

/// Two versions that have no order, because a number meets a word.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{left}` and `{right}` cannot be compared: a number meets a word")]
pub struct Incomparable {
    left: String,
    right: String,
}

#[derive(Debug, PartialEq, Eq)]
enum Part<'v> {
    /// Without leading zeros, so that length and text order it.
    Number(&'v str),
    Word(&'v str),
}

/// Compares two versions.
pub(super) fn compare(left: &str, right: &str) -> Result<Ordering, Incomparable> {
    let (a, b) = (parts(left), parts(right));
    for pair in a.iter().zip(&b) {
        let order = match pair {
            (Part::Number(a), Part::Number(b)) => a.len().cmp(&b.len()).then(a.cmp(b)),
            (Part::Word(a), Part::Word(b)) => a.cmp(b),
            _ => {
                return Err(Incomparable {
                    left: left.to_owned(),
                    right: right.to_owned(),
                });
            }
        };
        if order != Ordering::Equal {
            return Ok(order);
        }
    }
    Ok(a.len().cmp(&b.len()))
}

/// Runs of digits, of lower-case letters, and of anything else; dots vanish.
fn parts(version: &str) -> Vec<Part<'_>> {
    let class = |c: char| match c {
        '0'..='9' => 0,
        'a'..='z' => 1,
        '.' => 2,
        _ => 3,
    };
    let mut parts = Vec::new();
    let mut rest = version;
    while let Some(first) = rest.chars().next() {
        let kind = class(first);
        let end = rest.find(|c| class(c) != kind).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        rest = after;
        match kind {
            0 => parts.push(Part::Number(run.trim_start_matches('0'))),
            2 => {}
            _ => parts.push(Part::Word(run)),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn order(left: &str, right: &str) -> Ordering {
        compare(left, right).unwrap()
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        assert_eq!(order("5.10", "5.9.1"), Ordering::Greater);
        assert_eq!(order("6.1", "6.1.0-50-cloud-amd64"), Ordering::Less);
        assert_eq!(order("5.08", "5.8"), Ordering::Equal);
        assert_eq!(order("5.0", "5"), Ordering::Greater);
    }

    #[test]
    fn a_longer_version_is_greater_whatever_follows() {
        assert_eq!(order("6.12", "6.12.0"), Ordering::Less);
        assert_eq!(order("6.12", "6.12-rc3"), Ordering::Less);
        assert_eq!(order("6.12", "6.12.0-rc1"), Ordering::Less);
    }

    #[test]
    fn a_word_against_a_number_has_no_order() {
        assert!(compare("v5.4", "6.1").is_err());
        assert!(compare("6.12", "6-12").is_err());
    }

    proptest::proptest! {
        #[test]
        fn comparison_is_antisymmetric(a in "[0-9a-zA-Z.+-]{0,12}", b in "[0-9a-zA-Z.+-]{0,12}") {
            match (compare(&a, &b), compare(&b, &a)) {
                (Ok(ab), Ok(ba)) => assert_eq!(ab, ba.reverse()),
                (ab, ba) => assert_eq!(ab.is_err(), ba.is_err()),
            }
        }
    }
}
