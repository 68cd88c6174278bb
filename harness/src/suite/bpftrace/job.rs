//! What the guest has to execute for a test, as plain data.
//!
//! Limits are those of upstream's engine; the run scales them.

use std::time::Duration;

use super::dialect::{BeforeStyle, Executable, MarkerStream, ShellEnv, Verify};
use super::python;
use super::{Dialect, ExpectationKind, Program, Rule, Rules, RuntimeTest};

/// Bytes of a process's name that the kernel keeps: `TASK_COMM_LEN` less its
/// end (linux/sched.h).
const COMM_BYTES: usize = 15;
const BEFORE_PID: &str = "{{BEFORE_PID}}";

/// Where a job runs.
#[derive(Debug, Clone)]
pub struct JobContext<'c> {
    /// bpftrace's path in the guest; must be called `bpftrace`.
    pub bpftrace: &'c str,
    /// The environment of everything but bpftrace, with its `PATH`.
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
    /// The name that it has when it is ready, as in `/proc/PID/comm`.
    pub comm: String,
    /// Whether the started process itself gets that name, at its execve; else
    /// it is a wrapper, and one of its descendants does.
    pub direct: bool,
}

/// Everything that the guest executes for one test, in the order of the
/// fields. The working directory is the tests' directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Commands of which the first that fails skips the test; output is lost.
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
    /// Whether the shell may take bpftrace's output away, and the marker with
    /// it: a pipe or a redirection in a RUN.
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
    /// The rules by which this is another job than upstream's.
    pub rules: Vec<Rule>,
    /// From the start of `command` to the marker, or to its end.
    pub attach_limit: Duration,
    /// From the marker to the end of `command`; also for `befores` to be
    /// ready. `None` is no limit.
    pub timeout: Option<Duration>,
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
        let before = |(index, text): (usize, &String)| {
            let in_namespace = test.new_pidns && index > 0;
            let arguments = rules.hold(Rule::BeforeArguments);
            let before = Before::new(text, dialect.before_style, in_namespace, arguments);
            let upstream = Before::new(text, dialect.before_style, in_namespace, false);
            if before.comm != upstream.comm && !applied.contains(&Rule::BeforeArguments) {
                applied.push(Rule::BeforeArguments);
            }
            before
        };
        let befores = test.befores.iter().enumerate().map(before).collect();
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
                // `->` is bpftrace's.
                Program::Run(run) => run.replace("->", "").contains(['|', '>']),
            },
            env: environment(test, dialect, context),
            marker: dialect.marker.as_bytes(),
            marker_stream: dialect.marker_stream,
            after,
            cleanup: test.cleanup.as_ref().map(shell),
            rules: applied,
            attach_limit: dialect.attach_limit,
            timeout: test.timeout,
        }
    }

    /// Whether [`Self::command_with`] wants the process id of the first
    /// `BEFORE`.
    pub fn wants_before_pid(&self) -> bool {
        !self.befores.is_empty() && self.command.contains(BEFORE_PID)
    }

    /// The command, with the process id of the first `BEFORE` put in. Without
    /// a `BEFORE` the text stays as it stands, as upstream leaves it.
    pub fn command_with(&self, before_pid: Option<u32>) -> String {
        match before_pid {
            Some(pid) if self.wants_before_pid() => {
                self.command.replace(BEFORE_PID, &pid.to_string())
            }
            _ => self.command.clone(),
        }
    }

    /// What starts the first `BEFORE` in a PID namespace of its own; it dies
    /// with the process that this starts (unshare(1)).
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

    /// What goes before the arguments of every other command of a test with
    /// `NEW_PIDNS`; `pid` is the namespace's first process, as the guest's
    /// root namespace numbers it (nsenter(1)).
    pub fn nsenter_argv(pid: u32) -> [String; 5] {
        ["nsenter", "-p", "-m", "-t", &pid.to_string()].map(str::to_owned)
    }
}

impl Before {
    /// `arguments` says whether a last word that is an argument is passed over.
    fn new(text: &str, style: BeforeStyle, in_namespace: bool, arguments: bool) -> Self {
        let words: Vec<&str> = python::words(text).collect();
        // Inside a namespace upstream looks for the first word, else for the
        // last: `mountns_wrapper usdt_test` becomes `usdt_test`.
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

/// Whether a word of a BEFORE cannot be the name of a program: an option or a
/// number.
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
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::suite::bpftrace::parse::one;

    fn job(dialect: &str, text: &str) -> Job {
        job_by(dialect, text, false)
    }

    fn job_by(dialect: &str, text: &str, compat: bool) -> Job {
        let env = [
            ("HOME".to_owned(), "/root".to_owned()),
            ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
        ];
        let context = JobContext {
            bpftrace: "/opt/bpftrace",
            env: &env,
        };
        let test = one(dialect, text);
        let dialect = Dialect::for_version(dialect).unwrap();
        Job::new(&test, Rules::new(dialect, compat), &context)
    }

    fn env(job: &Job) -> Vec<String> {
        job.env.iter().map(|(n, v)| format!("{n}={v}")).collect()
    }

    #[test]
    fn the_environment_of_bpftrace_is_exact() {
        let text = "NAME a b\nRUN {{BPFTRACE}} -e x\nEXPECT y\nTIMEOUT 2\nENV K=V\n";
        let common = [
            "test=a b",
            "__BPFTRACE_NOTIFY_PROBES_ATTACHED=1",
            "__BPFTRACE_NOTIFY_AOT_PORTABILITY_DISABLED=1",
        ];
        let old = job("0.17", text);
        let mut want = common.to_vec();
        want.extend(["BPFTRACE_VERIFY_LLVM_IR=1", "K=V"]);
        assert_eq!(env(&old), want);
        let new = job("0.24", text);
        let mut want = common.to_vec();
        want.extend(["PATH=/usr/bin:/bin", "K=V"]);
        assert_eq!(env(&new), want);
        assert_eq!(new.command, "/opt/bpftrace --verify-llvm-ir -e x");
        assert_eq!(old.command, "/opt/bpftrace -e x");
    }

    #[test]
    fn requires_sees_only_a_path_until_0_18() {
        let text = "NAME a\nRUN b\nEXPECT y\nTIMEOUT 2\nREQUIRES true\nREQUIRES false\n";
        let old = job("0.17", text);
        assert_eq!(old.requires.len(), 2);
        let path = ("PATH".to_owned(), "/opt:/usr/bin:/bin".to_owned());
        assert_eq!(old.requires[0].env, [path]);
        assert_eq!(job("0.19", text).requires[1].env.len(), 2);
    }

    #[test]
    fn a_program_is_quoted_for_the_shell_since_0_21() {
        let text = "NAME a\nPROG p('x')\nEXPECT y\nTIMEOUT 2\n";
        assert_eq!(job("0.17", text).command, "/opt/bpftrace -e 'p('x')'");
        assert_eq!(
            job("0.21", text).command,
            r"/opt/bpftrace -e 'p('\''x'\'')'"
        );
        let json = "NAME a\nPROG p\nEXPECT_JSON y\nTIMEOUT 2\n";
        assert_eq!(
            job("head", json).command,
            "/opt/bpftrace -q -f json --verify-llvm-ir -e 'p'"
        );
    }

    #[test]
    fn a_before_goes_through_the_shell_until_0_18() {
        let text = "NAME a\nRUN {{BPFTRACE}} -p {{BEFORE_PID}}\nEXPECT y\nTIMEOUT 2\n\
                    BEFORE ./testprogs/wrapper ./two_usdt_semaphore_tests\n";
        let old = job("0.17", text);
        assert_eq!(
            old.befores[0].argv,
            [
                "/bin/sh",
                "-c",
                "./testprogs/wrapper ./two_usdt_semaphore_tests"
            ]
        );
        assert_eq!(old.befores[0].comm, "two_usdt_semaph");
        assert_eq!(job("0.19", text).befores[0].argv.len(), 2);
        assert!(old.wants_before_pid());
        assert_eq!(old.command_with(Some(42)), "/opt/bpftrace -p 42");
    }

    #[test]
    fn a_before_with_arguments_is_ready_when_its_program_runs() {
        let before = |line: &str, compat| {
            let text = format!("NAME a\nRUN b\nEXPECT y\nBEFORE {line}\n");
            let job = job_by("0.23", &text, compat);
            let rule = job.rules.contains(&Rule::BeforeArguments);
            (job.befores[0].comm.clone(), job.befores[0].direct, rule)
        };
        assert_eq!(before("sleep 5", false), ("sleep".to_owned(), true, true));
        assert_eq!(before("sleep 5", true), ("5".to_owned(), false, false));
        let wrapper = "./testprogs/mountns_wrapper usdt_test";
        let usdt = ("usdt_test".to_owned(), false, false);
        assert_eq!(before(wrapper, false), usdt);
        assert_eq!(before(wrapper, true), usdt);
        let plain = "./testprogs/uprobe_test";
        assert_eq!(
            before(plain, false),
            ("uprobe_test".to_owned(), true, false)
        );
    }

    #[test]
    fn after_runs_in_a_pid_namespace_where_upstream_runs_nothing() {
        let text = "NAME a\nRUN b\nEXPECT y\nNEW_PIDNS\nBEFORE x\nAFTER y\n";
        let job = job_by("0.23", text, false);
        assert_eq!(job.after.unwrap().text, "y");
        assert_eq!(job.rules, [Rule::PidnsAfter]);
        assert_eq!(job_by("0.23", text, true).after, None);
    }

    #[test]
    fn limits_are_two() {
        let text = "NAME a\nRUN b\nEXPECT y\nTIMEOUT 2\n";
        let old = job("0.17", text);
        assert_eq!(old.attach_limit, Duration::from_secs(5));
        assert_eq!(old.timeout, Some(Duration::from_secs(2)));
        assert_eq!(job("0.20", text).attach_limit, Duration::from_secs(10));
        let zero = "NAME a\nRUN b\nEXPECT y\nTIMEOUT 0\n";
        assert_eq!(job("0.17", zero).timeout, Some(Duration::from_secs(5)));
        assert_eq!(job("0.22", zero).timeout, None);
    }

    #[test]
    fn a_clone_compiles_ahead_of_time() {
        let text = "NAME a\nPROG p\nEXPECT y\nTIMEOUT 2\n";
        let context = JobContext {
            bpftrace: "/b/bpftrace",
            env: &[],
        };
        let clone = |dialect| {
            let test = one(dialect, text).aot_clone().unwrap();
            assert_eq!(test.id.to_string(), "aot.suite.a");
            let dialect = Dialect::for_version(dialect).unwrap();
            Job::new(&test, Rules::new(dialect, false), &context).command
        };
        assert_eq!(
            clone("0.17"),
            "/b/bpftrace -e 'p' --aot /tmp/tmpprog.btaot && /b/aot/bpftrace-aotrt /tmp/tmpprog.btaot"
        );
        assert_eq!(
            clone("0.21"),
            "/b/bpftrace -e 'p' --aot /tmp/tmpprog.btaot && /tmp/tmpprog.btaot"
        );
    }
}
