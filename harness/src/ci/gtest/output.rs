//! What a GoogleTest program prints while it runs: which test is running, and how each ended.

use crate::suite::{Location, Verdict};

/// Bytes of a test's output that are kept.
const MAX_OUTPUT: usize = 4 << 20;
/// Lines of a failure that its reason has.
const REASON_LINES: usize = 4;

/// A test that has ended, as the program says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) name: String,
    pub(super) verdict: Verdict,
    /// What was printed while it ran.
    pub(super) output: Vec<u8>,
}

/// Follows the output.
#[derive(Debug, Default)]
pub(super) struct Follower {
    /// The test that is running.
    pub(super) running: Option<String>,
    /// What was printed since it began, or since the last one ended.
    pub(super) output: Vec<u8>,
}

/// Begins the line of a test that begins.
const RUN: &[u8] = b"[ RUN      ] ";

/// What begins the line of a test that ends. It may follow what the test has printed without a
/// newline.
const ENDS: [(&[u8], Verdict); 3] = [
    (b"[       OK ] ", Verdict::Pass),
    (b"[  FAILED  ] ", Verdict::Fail),
    (b"[  SKIPPED ] ", Verdict::Skip),
];

impl Follower {
    /// Takes the next line, without its newline.
    pub(super) fn line(&mut self, line: &[u8]) -> Option<Ended> {
        let Some(name) = &self.running else {
            if let Some(name) = line.strip_prefix(RUN) {
                self.running = Some(String::from_utf8_lossy(name).trim_end().to_owned());
                self.output.clear();
            } else {
                self.keep(line);
            }
            return None;
        };
        for (mark, verdict) in ENDS {
            let mut end = mark.to_vec();
            end.extend_from_slice(name.as_bytes());
            let Some(at) = memchr::memmem::find(line, &end) else {
                continue;
            };
            // ` (3 ms)`, or `, where GetParam() = 4 (3 ms)`: not a longer name.
            if !matches!(line.get(at + end.len()), None | Some(b' ' | b',')) {
                continue;
            }
            if at > 0 {
                self.keep(&line[..at]);
            }
            return Some(Ended {
                name: self.running.take()?,
                verdict,
                output: std::mem::take(&mut self.output),
            });
        }
        self.keep(line);
        None
    }

    fn keep(&mut self, line: &[u8]) {
        if self.output.len() + line.len() > MAX_OUTPUT {
            return;
        }
        self.output.extend_from_slice(line);
        self.output.push(b'\n');
    }
}

/// Why a test failed or was skipped, in one line, and where: from the first failure that it
/// printed.
pub(super) fn reason(output: &str) -> Option<(String, Option<Location>)> {
    let mut lines = output.lines();
    let place = lines.find_map(|line| {
        let (place, _) = line
            .split_once(": Failure")
            .or_else(|| line.split_once(": Skipped"))?;
        place.rsplit_once(':')
    })?;
    let (file, line) = place;
    let said: Vec<&str> = lines
        .map(str::trim)
        .take_while(|line| !line.is_empty())
        .take(REASON_LINES)
        .collect();
    let source = line.parse().ok().filter(|line| *line > 0);
    let source = source.map(|line| Location {
        file: file.to_owned(),
        line,
    });
    Some((said.join(" "), source))
}

/// Follows a whole output: the names and verdicts of the tests that ended, in order, and the test
/// that was still running.
pub fn follow(output: &[u8]) -> (Vec<(String, Verdict)>, Option<String>) {
    let mut follower = Follower::default();
    let lines = output.split(|&byte| byte == b'\n');
    let ended = lines.filter_map(|line| follower.line(line)).map(|ended| {
        let _ = reason(&String::from_utf8_lossy(&ended.output));
        (ended.name, ended.verdict)
    });
    (ended.collect(), follower.running)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn follow(text: &str) -> (Vec<Ended>, Follower) {
        let mut follower = Follower::default();
        let ended = text
            .lines()
            .filter_map(|line| follower.line(line.as_bytes()))
            .collect();
        (ended, follower)
    }

    #[test]
    fn each_test_that_ends_has_a_verdict_and_its_output() {
        let (ended, follower) = follow(
            "Note: Google Test filter = A.*\n\
             [ RUN      ] A.b\n\
             half a line[       OK ] A.b (0 ms)\n\
             [ RUN      ] P/A.b/0\n\
             [       OK ] P/A.b/01 (0 ms)\n\
             /src/a.cpp:12: Failure\nExpected: x\n  Actual: y\n\n\
             [  FAILED  ] P/A.b/0, where GetParam() = 4 (1 ms)\n\
             [ RUN      ] A.c\n\
             /src/a.cpp:20: Skipped\nneeds BTF\n\n\
             [  SKIPPED ] A.c (0 ms)\n\
             [ RUN      ] A.dies\nlast words\n",
        );
        let verdicts: Vec<_> = ended
            .iter()
            .map(|test| (test.name.as_str(), test.verdict))
            .collect();
        assert_eq!(
            verdicts,
            [
                ("A.b", Verdict::Pass),
                ("P/A.b/0", Verdict::Fail),
                ("A.c", Verdict::Skip)
            ]
        );
        assert_eq!(ended[0].output, b"half a line\n");
        let text = |n: usize| String::from_utf8(ended[n].output.clone()).unwrap();
        let (why, place) = reason(&text(1)).unwrap();
        assert_eq!(why, "Expected: x Actual: y");
        let place = place.unwrap();
        assert_eq!((place.file.as_str(), place.line), ("/src/a.cpp", 12));
        assert_eq!(reason(&text(2)).unwrap().0, "needs BTF");
        assert_eq!(reason("nothing of the kind\n"), None);
        assert_eq!(follower.running.as_deref(), Some("A.dies"));
        assert_eq!(follower.output, b"last words\n");
    }

    proptest! {
        #[test]
        fn any_output_is_followed(lines in prop::collection::vec(prop_oneof![
            any::<Vec<u8>>(),
            Just(b"[ RUN      ] A.b".to_vec()),
            Just(b"[       OK ] A.b (0 ms)".to_vec()),
            Just(b"[  FAILED  ] A.b".to_vec()),
        ], 0..20)) {
            let mut follower = Follower::default();
            let mut begun = 0;
            for line in &lines {
                begun += usize::from(line.starts_with(RUN));
                if let Some(ended) = follower.line(line) {
                    prop_assert!(begun > 0);
                    prop_assert_eq!(follower.running.as_ref(), None);
                    let _ = reason(&String::from_utf8_lossy(&ended.output));
                }
            }
        }
    }
}
