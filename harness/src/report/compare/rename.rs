//! Tests that only have another name.

use super::change::{Change, Changed};
use super::entry::Entry;

/// How alike two names must be, from 0 to 1, if no place tells.
const ALIKE: f64 = 0.75;
/// With more new or gone tests than this on a kernel, only places tell: comparing all names with
/// all would take too long.
const MAX_COMPARED: usize = 300;

/// Says of new and gone tests of one kernel and suite which may be the same.
pub(super) fn find(tests: &mut [Changed]) {
    let is_new = |test: &Changed| test.before.is_none();
    let new: Vec<usize> = (0..tests.len())
        .filter(|index| is_new(&tests[*index]))
        .collect();
    let mut gone: Vec<usize> = (0..tests.len())
        .filter(|index| tests[*index].after.is_none())
        .collect();
    let few = new.len().saturating_mul(gone.len()) <= MAX_COMPARED * MAX_COMPARED;
    for index in new {
        let same_place = |other: &usize| {
            let (new, old) = (&tests[index], &tests[*other]);
            let place =
                |entry: &Option<Entry>| entry.as_ref().and_then(|entry| entry.source.clone());
            is_beside(new, old)
                && place(&new.after).is_some()
                && place(&new.after) == place(&old.before)
        };
        let found = gone
            .iter()
            .copied()
            .find(|other| same_place(other))
            .map(|other| (other, true));
        let found = found.or_else(|| {
            let alike = |other: &usize| {
                strsim::normalized_levenshtein(&tests[index].key.id, &tests[*other].key.id)
            };
            gone.iter()
                .filter(|other| few && is_beside(&tests[index], &tests[**other]))
                .map(|other| (*other, alike(other)))
                .filter(|(_, alike)| *alike >= ALIKE)
                .max_by(|(_, one), (_, other)| one.total_cmp(other))
                .map(|(other, _)| (other, false))
        });
        if let Some((other, proven)) = found {
            gone.retain(|one| *one != other);
            let (new, old) = (tests[index].key.id.clone(), tests[other].key.id.clone());
            tests[index].renamed = Some((old, proven));
            tests[other].renamed = Some((new, proven));
            // What passed under its old name has regressed under the new one.
            let passed = tests[other]
                .before
                .as_ref()
                .is_some_and(|entry| !entry.class.is_unexpected());
            if tests[index].change == Change::NewFailure && passed && proven {
                tests[index].change = Change::Regressed;
            }
        }
    }
}

fn is_beside(one: &Changed, other: &Changed) -> bool {
    one.key.kernel == other.key.kernel && one.key.suite == other.key.suite
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::class::Class;
    use crate::report::compare::entry::{Entry, Key};

    fn test(id: &str, line: Option<usize>, is_new: bool) -> Changed {
        let entry = Entry {
            source: line.map(|line| ("call".to_owned(), line)),
            ..Entry::of(Class::Pass)
        };
        Changed {
            key: Key {
                kernel: "6.1".into(),
                suite: "s".into(),
                id: id.to_owned(),
            },
            change: if is_new { Change::New } else { Change::Gone },
            before: (!is_new).then(|| entry.clone()),
            after: is_new.then_some(entry),
            renamed: None,
        }
    }

    #[test]
    fn a_test_at_the_same_place_or_of_a_similar_name_is_the_same() {
        let mut tests = [
            test("call.str of a map", Some(7), true),
            test("call.kstack with 3 frames", None, true),
            test("probe.quite new", None, true),
            test("call.kstack with three frames", None, false),
            test("other name", Some(7), false),
            test("call.str of a map!", None, false),
        ];
        find(&mut tests);
        let told: Vec<_> = tests
            .iter()
            .map(|test| {
                test.renamed
                    .as_ref()
                    .map(|(id, proven)| (id.as_str(), *proven))
            })
            .collect();
        let expected = [
            Some(("other name", true)),
            Some(("call.kstack with three frames", false)),
            None,
            Some(("call.kstack with 3 frames", false)),
            Some(("call.str of a map", true)),
            None,
        ];
        assert_eq!(told, expected);
    }
}
