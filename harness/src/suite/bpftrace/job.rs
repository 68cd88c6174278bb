//! What the guest executes for a test, as plain data.
//!
//! Limits are those of upstream's engine; the run scales them.

use std::time::Duration;

use super::dialect::{BeforeStyle, Executable, LimitEnd, MarkerStream, ShellEnv, Verify};
use super::python;
use super::{Dialect, ExpectationKind, Program, Rule, Rules, RuntimeTest};

/// Bytes of a process's name that the kernel keeps: `TASK_COMM_LEN` without its NUL
/// (linux/sched.h).
const COMM_BYTES: usize = 15;
const BEFORE_PID: &str = "{{BEFORE_PID}}";

/// Where a job runs.
#[derive(Debug, Clone)]
pub struct JobContext<'c> {
    /// bpftrace's path in the guest; must be called `bpftrace`.
    pub bpftrace: &'c str,
    /// The environment of everything except bpftrace, with its `PATH`.
    pub env: &'c [(String, String)],
}

impl JobContext<'_> {
    fn path(&self) -> &str {
        let path = self.env.iter().find(|(name, _)| name == "PATH");
        path.map_or("", |(_, value)| value)
    }

    fn bpftrace_dir(&self) -> &str {
        match self.bpftrace.rsplit_once('/') {
            Some(("", _)) => "/",
            Some((dir, _)) => dir,
            None => ".",
        }
    }
}

/// A command for `/bin/sh -c`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShellCommand {
    /// The command's text.
    pub text: String,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
}

/// A process that runs beside the test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    /// What is executed.
    pub argv: Vec<String>,
    /// Its name when it is ready, as in `/proc/PID/comm`.
    pub comm: String,
    /// Whether the started process itself gets that name with its execve; otherwise it is a
    /// wrapper, and one of its descendants gets it.
    pub direct: bool,
}

/// Everything that the guest executes for one test, in the order of the
/// fields. The working directory is the tests' directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Commands; the first that fails skips the test. Their output is discarded.
    pub requires: Vec<ShellCommand>,
    /// Must succeed.
    pub setup: Option<ShellCommand>,
    /// Started together; ready when each has its name.
    pub befores: Vec<Before>,
    /// The environment of `befores`.
    pub before_env: Vec<(String, String)>,
    /// Everything after the first of `befores` runs in its PID namespace.
    pub new_pidns: bool,
    /// For `/bin/sh -c`, standard output and error in one pipe; see
    /// [`Self::command_with`].
    pub command: String,
    /// Whether the shell may divert bpftrace's output, including the marker: a pipe or a
    /// redirection in a RUN.
    pub redirected: bool,
    /// The whole environment of `command`.
    pub env: Vec<(String, String)>,
    /// The line of output that says that all probes are attached.
    pub marker: &'static [u8],
    /// Where bpftrace prints it.
    pub marker_stream: MarkerStream,
    /// Started at the marker.
    pub after: Option<ShellCommand>,
    /// Must succeed; last.
    pub cleanup: Option<ShellCommand>,
    /// The rules that make this job differ from upstream's.
    pub rules: Vec<Rule>,
    /// From the start of `command` to the marker, or to its end.
    pub attach_limit: Duration,
    /// From the marker to the end of `command`; also for `befores` to be
    /// ready. `None` is no limit.
    pub timeout: Option<Duration>,
    /// How to end `command` at a limit.
    pub limit_end: LimitEnd,
}

impl Job {
    /// The job of a test.
    pub fn new(test: &RuntimeTest, rules: Rules, context: &JobContext<'_>) -> Self {
        let dialect = rules.dialect;
        let mut applied = Vec::new();
        let shell = |text: &String| ShellCommand {
            text: text.clone(),
            env: context.env.to_vec(),
        };
        let requires_env = match dialect.requires_env {
            ShellEnv::Engine => context.env.to_vec(),
            ShellEnv::PathOnly => {
                let path = format!("{}:{}", context.bpftrace_dir(), context.path());
                vec![("PATH".to_owned(), path)]
            }
        };
        let before = |text: &String| {
            let arguments = rules.hold(Rule::BeforeArguments);
            let before = Before::new(text, dialect.before_style, test.new_pidns, arguments);
            let upstream = Before::new(text, dialect.before_style, test.new_pidns, false);
            if before.comm != upstream.comm && !applied.contains(&Rule::BeforeArguments) {
                applied.push(Rule::BeforeArguments);
            }
            before
        };
        let befores = test.befores.iter().map(before).collect();
        let mut after = test.after.as_ref().map(shell);
        if test.new_pidns && after.is_some() {
            if rules.hold(Rule::PidnsAfter) {
                applied.push(Rule::PidnsAfter);
            } else {
                after = None;
            }
        }
        Self {
            requires: test
                .requires
                .iter()
                .map(|text| ShellCommand {
                    text: text.clone(),
                    env: requires_env.clone(),
                })
                .collect(),
            setup: test.setup.as_ref().map(shell),
            befores,
            before_env: context.env.to_vec(),
            new_pidns: test.new_pidns,
            command: command(test, dialect, context),
            redirected: match &test.program {
                Program::Prog(_) => false,
                Program::Run(run) => takes_away(run, dialect.marker_stream),
            },
            env: environment(test, dialect, context),
            marker: dialect.marker.as_bytes(),
            marker_stream: dialect.marker_stream,
            after,
            cleanup: test.cleanup.as_ref().map(shell),
            rules: applied,
            attach_limit: dialect.attach_limit,
            timeout: test.timeout,
            limit_end: dialect.limit_end,
        }
    }

    /// Whether [`Self::command_with`] needs the process id of the first `BEFORE`.
    pub fn wants_before_pid(&self) -> bool {
        !self.befores.is_empty() && self.command.contains(BEFORE_PID)
    }

    /// The command, with the process id of the first `BEFORE` filled in. Without a `BEFORE` the
    /// text stays unchanged, as with upstream.
    pub fn command_with(&self, before_pid: Option<u32>) -> String {
        match before_pid {
            Some(pid) if self.wants_before_pid() => {
                self.command.replace(BEFORE_PID, &pid.to_string())
            }
            _ => self.command.clone(),
        }
    }

    /// Starts the first `BEFORE` in a new PID namespace, which dies with the process that this
    /// starts (unshare(1)).
    pub fn unshare_argv(before: &Before) -> Vec<String> {
        let options = [
            "unshare",
            "--fork",
            "--pid",
            "--mount-proc",
            "-r",
            "--kill-child",
            "--",
        ];
        options
            .iter()
            .map(ToString::to_string)
            .chain(before.argv.iter().cloned())
            .collect()
    }

    /// The prefix of every other command of a test with `NEW_PIDNS`; `pid` is the namespace's first
    /// process, as numbered in the guest's root namespace (nsenter(1)).
    pub fn nsenter_argv(pid: u32) -> [String; 5] {
        ["nsenter", "-p", "-m", "-t", &pid.to_string()].map(str::to_owned)
    }
}

impl Before {
    /// `arguments` says whether to skip a last word that is an argument.
    fn new(text: &str, style: BeforeStyle, in_namespace: bool, arguments: bool) -> Self {
        let words: Vec<&str> = python::words(text).collect();
        // Inside a namespace upstream looks for the first word (of the first
        // BEFORE for any process), else for the last: `mountns_wrapper
        // usdt_test` becomes `usdt_test`.
        let name = if in_namespace {
            words.first()
        } else {
            let program = words.iter().rfind(|word| !arguments || !is_argument(word));
            program.or(words.last())
        };
        let name = comm(base_name(name.copied().unwrap_or_default()));
        let direct = style == BeforeStyle::Argv
            && words
                .first()
                .is_some_and(|first| comm(base_name(first)) == name);
        let argv = match style {
            BeforeStyle::Argv => words.iter().map(ToString::to_string).collect(),
            BeforeStyle::Shell => ["/bin/sh", "-c", text].map(str::to_owned).to_vec(),
        };
        Self {
            argv,
            comm: name,
            direct,
        }
    }
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Whether a word of a BEFORE cannot be a program's name, because it is an option or a number.
fn is_argument(word: &str) -> bool {
    word.starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

/// The name that the kernel gives a process of this file.
fn comm(file: &str) -> String {
    let kept = |(at, c): &(usize, char)| at + c.len_utf8() <= COMM_BYTES;
    file.char_indices()
        .take_while(kept)
        .map(|(_, c)| c)
        .collect()
}

fn command(test: &RuntimeTest, dialect: &Dialect, context: &JobContext<'_>) -> String {
    let bpftrace = match dialect.verify {
        Verify::Flag => format!("{} --verify-llvm-ir", context.bpftrace),
        Verify::No | Verify::Environment => context.bpftrace.to_owned(),
    };
    let aot_runtime = || format!("{}/aot/bpftrace-aotrt", context.bpftrace_dir());
    let program = match &test.program {
        Program::Run(run) => {
            let run = run.replace("{{BPFTRACE}}", &bpftrace);
            return match dialect.executable {
                Executable::WithAotRuntime => run.replace("{{BPFTRACE_AOTRT}}", &aot_runtime()),
                Executable::Alone => run,
            };
        }
        Program::Prog(program) if dialect.quote_prog => program.replace('\'', r"'\''"),
        Program::Prog(program) => program.clone(),
    };
    let first = test.expectations.first().map(|e| e.kind);
    let json = match first {
        Some(ExpectationKind::Json) => " -q -f json",
        _ => "",
    };
    let verify = match dialect.verify {
        Verify::Flag => " --verify-llvm-ir",
        Verify::No | Verify::Environment => "",
    };
    let command = format!("{}{json}{verify} -e '{program}'", context.bpftrace);
    if !test.aot {
        return command;
    }
    let runtime = match dialect.executable {
        Executable::WithAotRuntime => format!("{} ", aot_runtime()),
        Executable::Alone => String::new(),
    };
    format!("{command} --aot /tmp/tmpprog.btaot && {runtime}/tmp/tmpprog.btaot")
}

/// Whether a shell command has a pipe or a redirection of this stream. Text in quotes belongs to
/// bpftrace.
fn takes_away(command: &str, stream: MarkerStream) -> bool {
    let mut quote = None;
    let mut before = ' ';
    for c in command.chars() {
        if let Some(open) = quote {
            quote = Some(open).filter(|&open| open != c);
            continue;
        }
        match c {
            '\'' | '"' => quote = Some(c),
            // `|&` takes both, and `||` neither; that is close enough.
            '|' if stream == MarkerStream::Stdout => return true,
            '&' if before == '|' => return true,
            '>' => match (before, stream) {
                ('&', _) | ('2', MarkerStream::Stderr) => return true,
                ('2' | '-', _) | (_, MarkerStream::Stderr) => {}
                (_, MarkerStream::Stdout) => return true,
            },
            _ => {}
        }
        before = c;
    }
    false
}

fn environment(
    test: &RuntimeTest,
    dialect: &Dialect,
    context: &JobContext<'_>,
) -> Vec<(String, String)> {
    let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut env = vec![
        set("test", &test.id.name),
        set("__BPFTRACE_NOTIFY_PROBES_ATTACHED", "1"),
        set("__BPFTRACE_NOTIFY_AOT_PORTABILITY_DISABLED", "1"),
    ];
    if dialect.verify == Verify::Environment {
        env.push(set("BPFTRACE_VERIFY_LLVM_IR", "1"));
    }
    if dialect.path_for_bpftrace {
        env.push(set("PATH", context.path()));
    }
    for (name, value) in &test.env {
        env.retain(|(known, _)| known != name);
        env.push((name.clone(), value.clone()));
    }
    env
}

#[cfg(test)]
#[path = "job_tests.rs"]
mod tests;
