//! Splits a line of the console into a kernel message and what comes before it.

use std::sync::LazyLock;

use regex::Regex;

/// Facilities of syslog(3) other than the kernel's begin here: a level of 3 bits, then the
/// facility. `/dev/kmsg` gives a program's line no facility below `LOG_USER`
/// (kernel/printk/printk.c, devkmsg_write).
const FIRST_USER_LEVEL: u16 = 8;

/// A kernel message that a line may contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message<'l> {
    /// Time on the guest's clock, in microseconds; `None` for a line without a timestamp, which any
    /// program may have printed.
    pub(super) stamp: Option<u64>,
    /// What follows the timestamp and the caller's id.
    pub(super) text: &'l str,
}

/// What the kernel prints before a message: `<LEVEL>` with
/// `console_msg_format=syslog`, the time with `printk.time=1`, a thread or a
/// processor with `CONFIG_PRINTK_CALLER` (kernel/printk/printk.c, print_syslog,
/// print_time, print_caller).
static PREFIX: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?:<([0-9]{1,3})>)?\[ {0,5}([0-9]{1,10})\.([0-9]{6})\](?:\[ {0,12}[TC][0-9]{1,10}\])? ?",
    )
    .ok()
});

/// The same without a time, at the beginning of a line.
static BARE_PREFIX: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^(?:<([0-9]{1,3})>)?(?:\[ {0,12}[TC][0-9]{1,10}\] )?").ok());

/// The messages that a line may contain, those with a timestamp first. If a program has begun the
/// line, the kernel's output follows on it; such a line may contain several timestamps, only one of
/// which comes from the kernel.
pub(super) fn messages(line: &str) -> Vec<Message<'_>> {
    let mut found = Vec::new();
    for prefix in PREFIX.iter().flat_map(|regex| regex.captures_iter(line)) {
        let Some(whole) = prefix.get(0) else { continue };
        if of_a_program(prefix.get(1).map(|level| level.as_str())) {
            continue;
        }
        let number = |group| -> u64 {
            let digits: Option<regex::Match<'_>> = prefix.get(group);
            digits
                .and_then(|digits| digits.as_str().parse().ok())
                .unwrap_or(0)
        };
        found.push(Message {
            stamp: Some(number(2) * 1_000_000 + number(3)),
            text: &line[whole.end()..],
        });
        if found.len() >= MAX_MESSAGES {
            break;
        }
    }
    if found.is_empty()
        && let Some(prefix) = BARE_PREFIX.as_ref().and_then(|regex| regex.captures(line))
        && let Some(whole) = prefix.get(0)
        && !of_a_program(prefix.get(1).map(|level| level.as_str()))
        && !PREFIX.as_ref().is_some_and(|regex| regex.is_match(line))
    {
        found.push(Message {
            stamp: None,
            text: &line[whole.end()..],
        });
    }
    found
}

/// How many timestamps of a line to look at.
const MAX_MESSAGES: usize = 16;

fn of_a_program(level: Option<&str>) -> bool {
    level
        .and_then(|level| level.parse::<u16>().ok())
        .is_some_and(|level| level >= FIRST_USER_LEVEL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefixes_of_the_kernel_are_taken_off() {
        for (line, stamp) in [
            ("[    9.000123] BUG: x", Some(9_000_123)),
            ("[12345.678901] BUG: x", Some(12_345_678_901)),
            ("[    9.000123][   T71] BUG: x", Some(9_000_123)),
            ("[    9.000123][    C0] BUG: x", Some(9_000_123)),
            ("<4>[    9.000123] BUG: x", Some(9_000_123)),
            ("half a line[    9.000123] BUG: x", Some(9_000_123)),
            ("50%\r[    9.000123] BUG: x", Some(9_000_123)),
            ("BUG: x", None),
            ("<0>BUG: x", None),
            ("[   T71] BUG: x", None),
        ] {
            let text = "BUG: x";
            assert_eq!(messages(line), [Message { stamp, text }], "{line}");
        }
    }

    #[test]
    fn what_a_program_writes_to_kmsg_is_known_where_levels_are_printed() {
        assert_eq!(messages("<12>[    9.000123] BUG: x"), []);
        assert_eq!(messages("<12>BUG: x"), []);
    }

    #[test]
    fn a_line_with_two_timestamps_may_be_the_kernels_from_either_on() {
        let found = messages("[    1.000000] mine [    9.000123] BUG: x");
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].text, "BUG: x");
    }
}
