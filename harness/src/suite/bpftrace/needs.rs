//! What a test needs from its guest, according to its text: programs, files, modules, mounts, a
//! PMU.

use std::collections::BTreeSet;
use std::fmt;

use super::{Program, RuntimeTest};

/// One thing that a test needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// A program: a name in `PATH`, or a path, relative to the tests'
    /// directory unless absolute.
    Tool(String),
    /// A file or directory, by its absolute path.
    File(String),
    /// A module that lsmod shows.
    Module(String),
    /// A mounted filesystem of this type.
    Mount(String),
    /// Counters of the processor.
    Pmu,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tool(name) => write!(f, "the program {name}"),
            Self::File(path) => f.write_str(path),
            Self::Module(name) => write!(f, "the module {name}"),
            Self::Mount(fstype) => write!(f, "a mounted {fstype}"),
            Self::Pmu => f.write_str("a processor's PMU"),
        }
    }
}

impl Need {
    /// A shell command that succeeds, in the tests' directory, if the guest has it. `None` if the
    /// name cannot be part of one. `modules` are loaded before the tests that look for them.
    pub fn check(&self, modules: &[String]) -> Option<String> {
        let plain = |name: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || "/._+-".contains(c);
            name.chars().all(fits).then(|| name.to_owned())
        };
        Some(match self {
            Self::Tool(name) => format!("command -v {}", plain(name)?),
            Self::File(path) => format!("[ -e {} ]", plain(path)?),
            // lsmod does not show built-in modules.
            Self::Module(name) => {
                let later = if modules.contains(name) {
                    format!(" || {{ modprobe -nq {name} && ! [ -d /sys/module/{name} ]; }}")
                } else {
                    String::new()
                };
                format!("grep -q '^{} ' /proc/modules{later}", plain(name)?)
            }
            Self::Mount(fstype) => {
                format!("grep -q '^[^ ]* [^ ]* {} ' /proc/mounts", plain(fstype)?)
            }
            Self::Pmu => "[ -d /sys/bus/event_source/devices/cpu ]".to_owned(),
        })
    }
}

/// Shell keywords and builtins, and utilities of every root.
const SHELL: &[&str] = &[
    "!", "[", "{", "}", ".", ":", "break", "case", "cd", "command", "continue", "do", "done",
    "echo", "elif", "else", "esac", "eval", "exec", "exit", "export", "false", "fi", "for", "if",
    "kill", "printf", "read", "return", "set", "shift", "test", "then", "time", "trap", "true",
    "type", "ulimit", "umask", "unset", "until", "wait", "while",
];

/// Probes that are set through tracefs.
const TRACEFS_PROBES: &[&str] = &["kprobe:", "kretprobe:", "tracepoint:"];

/// What this test needs.
pub fn needs(test: &RuntimeTest) -> BTreeSet<Need> {
    let mut needs = BTreeSet::new();
    let commands = [&test.after, &test.setup, &test.cleanup];
    let commands = commands.into_iter().flatten();
    for command in commands.chain(&test.befores).chain(&test.requires) {
        of_command(command, &mut needs);
    }
    let (program, lists) = match &test.program {
        Program::Prog(program) => (program, false),
        Program::Run(command) => {
            of_command(command, &mut needs);
            (command, command.contains("{{BPFTRACE}} -l"))
        }
    };
    if !lists {
        if program.contains("hardware:") {
            needs.insert(Need::Pmu);
        }
        if TRACEFS_PROBES.iter().any(|probe| program.contains(probe)) {
            needs.insert(Need::Mount("tracefs".to_owned()));
        }
    }
    needs
}

/// What a shell command needs. Skips anything that is not plain: a wrong need would be worse than a
/// missed one.
fn of_command(command: &str, needs: &mut BTreeSet<Need>) {
    let simple = simple_commands(&without_arithmetic(command));
    let words = |at: usize| -> Vec<String> {
        let text = simple.get(at).map_or("", String::as_str);
        shlex::split(text).unwrap_or_default()
    };
    for at in 0..simple.len() {
        let words = words(at);
        let is_assignment = |word: &&String| {
            word.split_once('=')
                .is_some_and(|(name, _)| !name.is_empty() && !name.contains(['/', '-']))
        };
        let mut words = words.iter().skip_while(is_assignment);
        let Some(first) = words.next() else { continue };
        let second = words.next().map(String::as_str);
        match (first.as_str(), second) {
            ("command", Some("-v")) => {
                if let Some(name) = words.next() {
                    needs.insert(Need::Tool(name.clone()));
                }
            }
            ("lsmod", _) => {
                needs.insert(Need::Tool(first.clone()));
                let next = simple.get(at + 1).map_or("", String::as_str);
                if let Some(name) = grepped(next, "") {
                    needs.insert(Need::Module(name));
                }
            }
            ("grep", _) if command.contains("/proc/mounts") => {
                if let Some(name) =
                    grepped(simple.get(at).map_or("", String::as_str), "/proc/mounts")
                {
                    needs.insert(Need::Mount(name));
                }
            }
            ("ls", Some(path)) if path.starts_with("/sys/devices/cpu/") => {
                needs.insert(Need::Pmu);
            }
            ("ls", Some(path)) if path.starts_with('/') => {
                needs.insert(Need::File(path.to_owned()));
            }
            (name, _)
                if name.is_empty()
                    || SHELL.contains(&name)
                    || name.contains(['$', '{', '`', '*', '<', '>', '=']) => {}
            (name, _) => {
                needs.insert(Need::Tool(name.to_owned()));
            }
        }
    }
}

/// The name in `grep [-q] '^name' [file]`, if that is the complete command.
fn grepped(command: &str, file: &str) -> Option<String> {
    let words = shlex::split(command)?;
    let mut words = words.iter().filter(|word| *word != "-q" && *word != file);
    let (grep, pattern) = (words.next()?, words.next()?);
    let name = pattern.strip_prefix('^').unwrap_or(pattern);
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (grep == "grep" && is_name && words.next().is_none()).then(|| name.to_owned())
}

/// The command with a number for each `$((…))`, since operators and names in there are not
/// commands.
fn without_arithmetic(command: &str) -> String {
    let (mut plain, mut rest) = (String::new(), command);
    while let Some((before, expression)) = rest.split_once("$((")
        && let Some((_, after)) = expression.split_once("))")
    {
        plain.push_str(before);
        plain.push('0');
        rest = after;
    }
    plain.push_str(rest);
    plain
}

/// Splits at the shell's operators outside of quotes.
fn simple_commands(command: &str) -> Vec<String> {
    let mut commands = vec![String::new()];
    let mut quote = None;
    let mut before = ' ';
    for c in command.chars() {
        match quote {
            Some(open) if open == c => quote = None,
            None if matches!(c, '\'' | '"') => quote = Some(c),
            None if matches!(c, '|' | ';' | '\n' | '(' | ')') || (c == '&' && before != '>') => {
                commands.push(String::new());
                before = c;
                continue;
            }
            _ => {}
        }
        before = c;
        if let Some(last) = commands.last_mut() {
            last.push(c);
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::bpftrace::parse::one;

    fn needs_of(directives: &str) -> Vec<String> {
        let test = one(
            "0.17",
            &format!("NAME a\n{directives}\nEXPECT c\nTIMEOUT 5\n"),
        );
        needs(&test).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn programs_are_found_in_every_shell_command() {
        assert_eq!(
            needs_of(
                "RUN {{BPFTRACE}} -e 'BEGIN { exit(); }' | sort\nBEFORE ./testprogs/a 1 && X=1 nc -l"
            ),
            [
                "the program ./testprogs/a",
                "the program nc",
                "the program sort"
            ]
        );
        assert_eq!(
            needs_of("RUN b\nREQUIRES command -v strace\nAFTER kill -s USR1 $(pidof bpftrace)"),
            ["the program b", "the program pidof", "the program strace"]
        );
        assert!(needs_of("PROG BEGIN { printf(\"a|b;c\"); }").is_empty());
        // A comparison is not an assignment before a program.
        assert_eq!(
            needs_of("RUN test $(uname -r) = 6 && echo c"),
            ["the program uname"]
        );
        assert!(needs_of("RUN i=0; i=$((i+1)); echo $((i|1 & 2)) $((").is_empty());
        assert_eq!(
            needs_of("RUN i=$((i+1)); c $((2)) | d"),
            ["the program c", "the program d"]
        );
    }

    #[test]
    fn modules_mounts_files_and_the_pmu_are_found() {
        assert_eq!(
            needs_of("PROG BEGIN {}\nREQUIRES lsmod | grep '^nf_tables'"),
            [
                "the program grep",
                "the program lsmod",
                "the module nf_tables"
            ]
        );
        assert_eq!(
            needs_of("PROG BEGIN {}\nREQUIRES grep -q '^cgroup2' /proc/mounts"),
            ["a mounted cgroup2"]
        );
        assert_eq!(
            needs_of("PROG hardware:cache-misses:10 { }\nREQUIRES ls /usr/include/sys/xattr.h"),
            ["/usr/include/sys/xattr.h", "a processor's PMU"]
        );
        assert!(needs_of("RUN {{BPFTRACE}} -l 'hardware:*'").is_empty());
        assert_eq!(needs_of("PROG kprobe:f { }"), ["a mounted tracefs"]);
    }

    #[test]
    fn only_plain_names_get_into_a_shell_command() {
        let check = |name: &str| Need::Tool(name.to_owned()).check(&[]);
        assert_eq!(check("./a").as_deref(), Some("command -v ./a"));
        assert_eq!(check("a;b"), None);
        assert_eq!(
            Need::Module("a;b".to_owned()).check(&["a;b".to_owned()]),
            None
        );
    }
}
