//! Parses `/proc/PID/stat`.

use std::fs;

/// `PF_EXITING` of the kernel's `include/linux/sched.h`: it has begun to exit.
const PF_EXITING: u32 = 0x4;

/// A part of `/proc/PID/stat`, proc_pid_stat(5).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Its name, at most 15 bytes; 63 for kernel threads.
    pub(crate) comm: String,
    /// Pid of its parent.
    pub(crate) parent: i32,
    /// Id of its session.
    pub(crate) session: i32,
    /// It no longer runs its own code.
    pub(crate) exiting: bool,
}

/// Reads it; `None` if the process has ended.
pub(crate) fn stat(pid: i32) -> Option<Stat> {
    parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// Finds the children of a process by looking at all processes, which takes milliseconds under
/// emulation.
pub(crate) fn children_of(parent: i32) -> Vec<i32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&pid| stat(pid).is_some_and(|stat| stat.parent == parent))
        .collect()
}

/// The name may hold spaces and parentheses, so its end is the last of them.
fn parse(line: &[u8]) -> Option<Stat> {
    let open = line.iter().position(|&byte| byte == b'(')?;
    let close = line.iter().rposition(|&byte| byte == b')')?;
    let comm = line.get(open + 1..close)?;
    let rest = std::str::from_utf8(line.get(close + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let flags: u32 = fields.get(6)?.parse().ok()?;
    Some(Stat {
        comm: String::from_utf8_lossy(comm).into_owned(),
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        exiting: flags & PF_EXITING != 0 || matches!(fields.first(), Some(&"Z" | &"X")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_parentheses() {
        let line = b"42 (a) (b) S 1 42 41 0 -1 4194560 95 0 0 0\n";
        let expected = Stat {
            comm: "a) (b".to_owned(),
            parent: 1,
            session: 41,
            exiting: false,
        };
        assert_eq!(parse(line), Some(expected));
    }

    #[test]
    fn a_child_is_found_among_all_processes() -> std::io::Result<()> {
        let mut child = std::process::Command::new("sleep").arg("60").spawn()?;
        let found = i32::try_from(std::process::id()).map(children_of);
        child.kill()?;
        child.wait()?;
        let pid = i32::try_from(child.id()).unwrap_or_default();
        assert!(found.is_ok_and(|found| found.contains(&pid)));
        Ok(())
    }

    #[test]
    fn a_zombie_and_an_exiting_process_are_recognised() {
        let exiting = |line: &[u8]| parse(line).map(|stat| stat.exiting);
        assert_eq!(exiting(b"42 (a) Z 1 42 41 0 -1 0 95"), Some(true));
        assert_eq!(exiting(b"42 (a) R 1 42 41 0 -1 4194308 95"), Some(true));
        assert_eq!(exiting(b"42 (a"), None);
    }
}
