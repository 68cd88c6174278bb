//! Output of a command as TAP, or as KTAP if the first byte is odd.
#![no_main]

mod results;

use kiln::internals::fuzz::{Results, read_tap_output};
use libfuzzer_sys::fuzz_target;
use results::{assert_sound, is_clean};

fuzz_target!(|input: &[u8]| {
    let Some((first, output)) = input.split_first() else {
        return;
    };
    let is_ktap = first & 1 == 1;
    let results = read_tap_output(output, is_ktap);
    assert_sound(&results, output);
    // No failure is lost.
    let lines = || output.split(|byte| matches!(byte, b'\n' | b'\r'));
    let fails = |line: &[u8]| {
        let line = line.trim_ascii_end();
        let plain = line.iter().all(|byte| (b' '..=b'~').contains(byte));
        plain && (line == b"not ok" || (line.starts_with(b"not ok ") && !line.contains(&b'#')))
    };
    assert!(
        !lines().any(fails) || !is_clean(&results),
        "a failure vanished"
    );
    let more = [output, b"\nnot ok 7 - one more\n"].concat();
    assert!(
        !is_clean(&read_tap_output(&more, is_ktap)),
        "a failure vanished"
    );
    if is_clean(&results) && !is_ktap {
        assert_plan(lines(), &results);
    }
});

/// There is a plan, and it matches the number of results.
fn assert_plan<'l>(lines: impl Iterator<Item = &'l [u8]>, results: &Results) {
    let mut plan = None;
    let mut seen = 0;
    for line in lines {
        // Invisible characters are removed first.
        if line.contains(&0) || line.contains(&0x1b) || line.starts_with(b"\xef\xbb\xbf") {
            return;
        }
        let rest = line.strip_prefix(b"not ".as_slice()).unwrap_or(line);
        if let Some(rest) = rest.strip_prefix(b"ok".as_slice()) {
            let next = String::from_utf8_lossy(rest).chars().next();
            if next == Some(char::REPLACEMENT_CHARACTER) {
                return;
            }
            seen += u64::from(!next.is_some_and(|c| c.is_alphanumeric() || c == '_'));
        } else if let Some(rest) = line.strip_prefix(b"1..".as_slice()) {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let text = String::from_utf8_lossy(&rest[..digits]).into_owned();
            let after = String::from_utf8_lossy(&rest[digits..]).into_owned();
            if after.trim().is_empty() || after.trim().starts_with('#') {
                plan = plan.or(text.parse::<u64>().ok());
            }
        }
    }
    assert_eq!(plan, Some(seen), "{results:?}");
}
