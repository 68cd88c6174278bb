//! `--shard`: a part of a run's kernels × tests, for several machines.
//!
//! The parts `1/n` to `n/n` are disjoint and their union is the whole run. A part depends only on
//! the selected kernels and tests and their order on the command line and in the suite, so machines
//! agree without talking to each other.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sha2::{Digest, Sha256};

/// One part of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    way: Way,
    /// From 1.
    part: u32,
    parts: u32,
}

/// How to divide into parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Dealt like cards: kernel after kernel, test after test, one to each part
    /// in turn. The sizes differ by at most one.
    Slice,
    /// By the SHA-256 of kernel, suite and id: a test stays in its part when others are added or
    /// removed.
    Hash,
}

impl Partition {
    /// Part `part` of `parts`, from 1, dealt in turn.
    pub fn slice(part: u32, parts: u32) -> Self {
        Self {
            way: Way::Slice,
            part,
            parts,
        }
    }

    /// Whether a test is in this part. `position` counts the tests of all
    /// kernels, kernel after kernel, from 0.
    pub fn has(&self, position: usize, kernel: &str, suite: &str, id: &str) -> bool {
        let number = match self.way {
            Way::Slice => position as u64,
            Way::Hash => hash([kernel, suite, id]),
        };
        number % u64::from(self.parts) == u64::from(self.part - 1)
    }
}

/// The work of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// How many tests.
    pub tests: usize,
    /// How long they take, one after another.
    pub time: Duration,
}

/// The number of parts for each kernel, so that there are `total` parts of about the same duration:
/// each kernel has one, and each further part goes to the kernel with the longest parts. No part is
/// empty, so there may be fewer than `total`.
pub fn apportion(kernels: &[Load], total: usize) -> Vec<u32> {
    let mut parts: Vec<u32> = vec![1; kernels.len()];
    for _ in kernels.len()..total {
        let each = |index: usize| kernels[index].time / parts[index];
        let next = (0..kernels.len())
            .filter(|&index| (parts[index] as usize) < kernels[index].tests)
            // The first of several equal ones.
            .max_by_key(|&index| (each(index), std::cmp::Reverse((parts[index], index))));
        match next {
            Some(index) => parts[index] += 1,
            None => break,
        }
    }
    parts
}

/// How many of one kernel's `tests` are in the part from [`Partition::slice`].
pub fn dealt(tests: usize, part: u32, parts: u32) -> usize {
    let (part, parts) = (part as usize, parts as usize);
    tests / parts + usize::from(part <= tests % parts)
}

fn hash(words: [&str; 3]) -> u64 {
    let mut hash = Sha256::new();
    for word in words {
        hash.update((word.len() as u64).to_le_bytes());
        hash.update(word);
    }
    hash.finalize()
        .iter()
        .take(8)
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.way {
            Way::Slice => "slice",
            Way::Hash => "hash",
        };
        write!(f, "{way}:{}/{}", self.part, self.parts)
    }
}

impl FromStr for Partition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not slice:I/N or hash:I/N, as in slice:1/3");
        let (way, numbers) = text.split_once(':').ok_or_else(wrong)?;
        let way = match way {
            "slice" => Way::Slice,
            "hash" => Way::Hash,
            _ => return Err(wrong()),
        };
        let (part, parts) = numbers.split_once('/').ok_or_else(wrong)?;
        let part: u32 = part.parse().map_err(|_| wrong())?;
        let parts: u32 = parts.parse().map_err(|_| wrong())?;
        if part == 0 || part > parts {
            return Err(format!("`{text}`: the part must be between 1 and {parts}"));
        }
        Ok(Self { way, part, parts })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_invalid_part_is_refused() {
        for text in [
            "",
            "1/3",
            "slice:0/3",
            "slice:4/3",
            "slice:1",
            "hash:1/0",
            "count:1/2",
            "slice:a/b",
        ] {
            assert!(text.parse::<Partition>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_hash_is_the_same_on_every_machine_and_for_ever() {
        assert_eq!(hash(["6.1", "bpftrace", "call.str"]), 0xd206_0f02_adcb_28f1);
    }

    #[test]
    fn a_kernel_that_takes_longer_is_cut_into_more_parts() {
        let load = |seconds| Load {
            tests: 10,
            time: Duration::from_secs(seconds),
        };
        let same = [load(5), load(5)];
        assert_eq!(apportion(&same, 4), [2, 2]);
        assert_eq!(apportion(&same, 3), [2, 1]);
        assert_eq!(apportion(&[load(1), load(6)], 4), [1, 3]);
        assert_eq!(
            apportion(&[load(0), load(0)], 4),
            [2, 2],
            "nothing is known"
        );
        assert_eq!(apportion(&same, 1), [1, 1], "each kernel has a job");
        assert_eq!(apportion(&same, 99), [10, 10], "no part is empty");
    }

    proptest! {
        #[test]
        fn a_part_has_as_many_tests_as_announced(tests in 0usize..200, parts in 1u32..20) {
            for part in 1..=parts {
                let slice = Partition::slice(part, parts);
                let has = (0..tests).filter(|&at| slice.has(at, "", "", "")).count();
                prop_assert_eq!(dealt(tests, part, parts), has);
            }
        }

        #[test]
        fn every_test_is_in_exactly_one_part(
            parts in 1u32..20, position in 0usize..5000, kernel: String, id: String, sliced: bool,
        ) {
            let way = if sliced { "slice" } else { "hash" };
            let having: Vec<u32> = (1..=parts)
                .filter(|part| {
                    let text = format!("{way}:{part}/{parts}");
                    let partition: Partition = text.parse().unwrap();
                    assert_eq!(partition.to_string(), text);
                    partition.has(position, &kernel, "suite", &id)
                })
                .collect();
            prop_assert_eq!(having.len(), 1);
        }
    }
}
