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
fn in_a_pid_namespace_a_before_is_ready_by_its_first_word() {
    for compat in [false, true] {
        let text = "NAME a\nRUN b\nEXPECT y\nNEW_PIDNS\nBEFORE sleep 60\n";
        let job = job_by("0.23", text, compat);
        assert_eq!(job.befores[0].comm, "sleep");
        assert_eq!(job.rules, []);
    }
}

#[test]
fn a_limit_ends_a_command_as_the_engine_of_its_version_does() {
    let text = "NAME a\nRUN b\nEXPECT y\nTIMEOUT 2\n";
    for (dialect, end) in [
        ("0.14", LimitEnd::Kill),
        ("0.15", LimitEnd::Term),
        ("0.22", LimitEnd::Term),
        ("0.23", LimitEnd::TermThenKill),
        ("head", LimitEnd::TermThenKill),
    ] {
        assert_eq!(job(dialect, text).limit_end, end, "{dialect}");
    }
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
fn a_pipe_takes_the_marker_away_from_the_stream_it_is_on() {
    let redirected = |dialect, run: &str| {
        let text = format!("NAME a\nRUN {run}\nEXPECT y\nTIMEOUT 1\n");
        job(dialect, &text).redirected
    };
    for run in ["{{BPFTRACE}} -e 'a | b > c'", "{{BPFTRACE}} -e \"a->b\""] {
        assert!(
            !redirected("0.17", run) && !redirected("0.23", run),
            "{run}"
        );
    }
    for run in ["{{BPFTRACE}} | grep x", "{{BPFTRACE}} > /dev/null"] {
        assert!(!redirected("0.17", run) && redirected("0.23", run), "{run}");
    }
    for run in ["{{BPFTRACE}} |& grep x", "{{BPFTRACE}} &> /dev/null"] {
        assert!(redirected("0.17", run) && redirected("0.23", run), "{run}");
    }
    assert!(redirected("0.17", "{{BPFTRACE}} 2> /dev/null"));
    assert!(!redirected("0.23", "{{BPFTRACE}} 2> /dev/null"));
    assert!(redirected("0.17", "{{BPFTRACE}} 2>&1 | grep x"));
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
