//! Kernels in the order of their versions, and ranges of them.

use crate::config::numbers;

/// Names of kernels in the order of their versions.
#[derive(Debug)]
pub struct Versions {
    names: Vec<String>,
    /// How many of them, from the first, have a version that is known.
    known: usize,
}

/// Sorts by the numbers at the start of a release; what has none stays in order, at the end.
pub fn sort_by_release<T>(kernels: &mut [T], release: impl Fn(&T) -> Option<&str>) {
    kernels.sort_by_cached_key(|kernel| {
        let release = release(kernel);
        (
            release.is_none(),
            release.map(numbers),
            release.map(str::to_owned),
        )
    });
}

impl Versions {
    /// Names in order, the first `known` of them by known versions.
    pub fn new(names: Vec<String>, known: usize) -> Self {
        Self { names, known }
    }

    /// A kernel's name.
    pub fn name(&self, kernel: usize) -> &str {
        self.names.get(kernel).map_or("", String::as_str)
    }

    /// Some of the kernels, by their indices in rising order: `5.10, 6.1 to 6.12, 7.0 on`.
    pub fn range(&self, kernels: &[usize]) -> String {
        let mut parts: Vec<(usize, usize)> = Vec::new();
        for &kernel in kernels {
            match parts.last_mut() {
                Some((_, last)) if *last + 1 == kernel && kernel < self.known => *last = kernel,
                _ => parts.push((kernel, kernel)),
            }
        }
        let text: Vec<String> = parts
            .into_iter()
            .map(|(first, last)| {
                let (from, to) = (self.name(first), self.name(last));
                match last - first {
                    0 => from.to_owned(),
                    // All of them: there is nothing that it could have begun after.
                    _ if last + 1 == self.known && first > 0 => format!("{from} on"),
                    1 => format!("{from}, {to}"),
                    _ => format!("{from} to {to}"),
                }
            })
            .collect();
        text.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(known: usize) -> Versions {
        let names = ["5.10", "6.1", "6.6", "6.12", "7.0", "7.3", "./raw"];
        Versions::new(names.map(str::to_owned).to_vec(), known)
    }

    #[test]
    fn neighbours_are_ranges_and_the_last_ones_are_open() {
        let range = |kernels: &[usize]| versions(6).range(kernels);
        assert_eq!(range(&[0]), "5.10");
        assert_eq!(range(&[1, 2, 3]), "6.1 to 6.12");
        assert_eq!(range(&[0, 2, 3, 4]), "5.10, 6.6 to 7.0");
        assert_eq!(range(&[1, 2]), "6.1, 6.6");
        assert_eq!(range(&[4, 5]), "7.0 on");
        assert_eq!(range(&[5]), "7.3");
        assert_eq!(range(&[0, 1, 2, 3, 4, 5]), "5.10 to 7.3");
        assert_eq!(range(&[4, 5, 6]), "7.0 on, ./raw");
        assert_eq!(range(&[]), "");
    }

    #[test]
    fn kernels_are_sorted_by_the_numbers_of_their_releases() {
        let mut kernels = [
            Some("6.12.118+deb13-cloud-amd64"),
            None,
            Some("6.1.0-56-amd64"),
            Some("5.10.0-46"),
            Some("6.9"),
        ];
        sort_by_release(&mut kernels, |release| *release);
        assert_eq!(
            kernels,
            [
                Some("5.10.0-46"),
                Some("6.1.0-56-amd64"),
                Some("6.9"),
                Some("6.12.118+deb13-cloud-amd64"),
                None
            ]
        );
    }
}
