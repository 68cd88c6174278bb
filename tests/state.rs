//! What a test changes in its VM is undone before the next one runs, and named.

use std::fmt::Write as _;

use serde_json::Value;

use crate::support::suite::{count, events, finished, out};
use crate::support::{Kiln, checkout};

/// Prints the state of the guest, with few processes: each takes a tenth of a second.
const LOOK: &str = r#"
w=$PWD; cd /proc/sys
uname -n; cat kernel/domainname kernel/pid_max kernel/kptr_restrict kernel/printk \
    kernel/core_pattern net/ipv4/ip_forward vm/swappiness vm/nr_hugepages \
    user/max_user_namespaces /proc/1/limits /proc/1/oom_score_adj \
    /sys/kernel/mm/transparent_hugepage/enabled \
    /proc/swaps /proc/partitions /proc/sysvipc/* /sys/fs/cgroup/cgroup.subtree_control
cd /sys/kernel/tracing
cat dynamic_events set_event current_tracer tracing_on trace_clock trace_options \
    set_ftrace_filter
cut -d ' ' -f 1 /proc/modules
cut -d ' ' -f 2-4 /proc/mounts
ls instances /sys/fs/bpf
ls -d /sys/fs/cgroup/*/ /etc/kiln-new | grep -v kiln.[0-9]
find /tmp /dev/shm -xdev | sort; ls "$w"
stat -c '%n %A %u %g %F' / /tmp /dev/null /dev/full /dev/zero /etc/group /etc/passwd
cat /etc/hosts /etc/passwd
test "$(date +%Y)" -gt 2020 && echo the clock is right
ip -o link; ip -o addr; ip rule; ip -6 rule
ip route show table all | sort
"#;

/// Leftovers of tests, by kind: a script, and the text of the warning.
const SPOILS: [(&str, &str, &[&str]); 7] = [
    (
        "1-settings",
        r"
hostname spoiled; echo spoiled >/proc/sys/kernel/domainname
date -s 2001-02-03
echo 301 >/proc/sys/kernel/pid_max
echo 1 >/proc/sys/kernel/kptr_restrict
echo '|/bin/false' >/proc/sys/kernel/core_pattern
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 7 >/proc/sys/vm/swappiness
echo 2 >/proc/sys/vm/nr_hugepages
echo 0 >/proc/sys/user/max_user_namespaces
echo 1 >/proc/sys/vm/drop_caches
echo 1 >/proc/sys/kernel/printk
echo -500 >/proc/1/oom_score_adj
echo never >/sys/kernel/mm/transparent_hugepage/enabled
prlimit --pid 1 --nofile=64:64
",
        &[
            "changed settings, set back now: ",
            "host name spoiled",
            "domain name spoiled",
            "clock, ",
            "kernel.pid_max to 301",
            "kernel.kptr_restrict to 1",
            "kernel.core_pattern to |/bin/false",
            "net.ipv4.ip_forward to 1",
            "vm.swappiness to 7",
            "vm.nr_hugepages to 2",
            "user.max_user_namespaces to 0",
            "kernel.printk to 1 ",
            "1/oom_score_adj to -500",
            "kernel/mm/transparent_hugepage/enabled to never",
            "RLIMIT_NOFILE of PID 1 to 64",
        ],
    ),
    (
        "2-network",
        r"
ip addr add 10.1.2.3/24 dev lo
ip rule add from 1.2.3.4 table 7
ip link set lo mtu 1500
ip link add va type veth peer name vb
ip link set va up
ip addr add 10.7.0.1/16 dev va
ip link add dm0 type dummy
tc qdisc add dev lo clsact
ip nexthop add id 5 blackhole
ip route add blackhole 10.99.0.0/16
ip link set lo down
",
        &[
            "left network devices behind, deleted now: ",
            "va",
            "dm0",
            "changed the network, set back now: ",
            "lo is down",
            "address 10.1.2.3/24 of device 1",
            "rule 32765",
            "route 10.99.0.0/16 in table 254",
            "next hop 5",
            "qdisc clsact of device 1",
        ],
    ),
    (
        "3-objects",
        r#"
ipcmk -M 4096; ipcmk -S 3; ipcmk -Q
perl -e 'my $name = "left"; syscall(240, $name, 66, 0600, 0) >= 0 or die "mq_open: $!"'
mkdir -p /sys/fs/cgroup/left/below
echo +pids >/sys/fs/cgroup/cgroup.subtree_control
"#,
        &[
            "left IPC objects behind, deleted now: ",
            "shared memory 0",
            "semaphores 0",
            "message queue 0",
            "message queue /left",
            "left a cgroup behind, deleted now: left",
            "changed a setting, set back now: cgroup.subtree_control to pids",
        ],
    ),
    (
        "4-files",
        r"
echo spoiled >>/etc/hosts
rm /etc/passwd /dev/full
chmod 600 /etc/group /dev/zero
mkdir -p /etc/kiln-new/below; touch /etc/kiln-new/file here
rm /dev/null; echo x >/dev/null
head -c 10000000 /dev/zero >/tmp/big
mkdir -p '/tmp/a b/c'; touch '/tmp/a b/c/d' /dev/shm/x /run/y
chmod 700 /tmp
",
        &[
            "changed files, restored now: ",
            "/etc/hosts",
            "/etc/passwd",
            "/etc/group",
            "/dev/null",
            "/dev/full",
            "/dev/zero",
            "owner or mode of /tmp",
        ],
    ),
    (
        "5-files-again",
        "echo spoiled again >>/etc/hosts\n",
        &["changed a file, restored now: /etc/hosts"],
    ),
    (
        "6-tracing",
        r"
cd /sys/kernel/tracing
mkdir instances/left
echo p:left do_nanosleep >>kprobe_events
echo p:left_u /bin/sh:0x1000 >>uprobe_events
echo 1 >events/sched/sched_switch/enable
echo 1 >events/kprobes/left/enable
# Only then a tracer: without a filter it takes a minute to change every function.
echo do_nanosleep >set_ftrace_filter
echo function >current_tracer
echo nooverwrite >trace_options
echo global >trace_clock
echo 0 >tracing_on
",
        &[
            "changed the kernel's tracing, set back now: ",
            "instance left",
            "event p:kprobes/left",
            "event p:uprobes/left_u",
            "trace_options nooverwrite",
            "trace_clock global",
            "tracing_on 0",
            "current_tracer function",
            "set_event ",
            "set_ftrace_filter do_nanosleep",
        ],
    ),
    (
        "7-devices",
        r#"
head -c 4194304 /dev/zero >/tmp/image
modprobe loop
losetup /dev/loop0 /tmp/image
mkswap /dev/loop0; swapon /dev/loop0
modprobe dummy
mount -o remount,ro /dev/shm
# A socket filter that returns 0, pinned.
perl -e '
my $code = pack("C C s l", 0xb7, 0, 0, 0) . pack("C C s l", 0x95, 0, 0, 0);
my $gpl = "GPL\0";
my $load = pack("L L Q Q L L Q L L", 1, 2, unpack("Q", pack("P", $code)),
    unpack("Q", pack("P", $gpl)), 0, 0, 0, 0, 0);
my $fd = syscall(321, 5, $load, length $load);
$fd >= 0 or die "BPF_PROG_LOAD: $!";
my $path = "/sys/fs/bpf/left\0";
my $pin = pack("Q L L", unpack("Q", pack("P", $path)), $fd, 0);
syscall(321, 6, $pin, length $pin) >= 0 or die "BPF_OBJ_PIN: $!";
'
"#,
        &[
            "left on swap, turned off now: /dev/loop0",
            "left a block device behind, reset now: loop0",
            "changed the options of a mount, set back now: tmpfs at /dev/shm: ro",
            "left a BPF object behind, unpinned now: /sys/fs/bpf/left",
        ],
    ),
];

/// A kiln with the checkout's kernels and a suite `s` of these scripts.
fn kiln(scripts: &[(String, String)]) -> Kiln {
    let kiln = Kiln::new();
    let text = std::fs::read_to_string(checkout().join("kernels.toml")).unwrap();
    let kernels = text.split("\n[suites.").next().unwrap();
    let suite = "\n[suites.s]\nrunner = \"command\"\ncommand = [\"/bin/sh\", \"{file}\"]\n\
                 each = \"files/*.sh\"\ntimeout = \"60s\"\n";
    for (name, script) in scripts {
        kiln.file(&format!("files/{name}.sh"), script);
    }
    let lock = std::fs::read(checkout().join("kernels.lock")).unwrap();
    kiln.file("kernels.lock", lock);
    let file = kiln.file("kernels.toml", format!("{kernels}{suite}"));
    kiln.config(file)
}

fn run(kiln: &Kiln, kernels: &[&str]) -> Vec<Value> {
    let mut command = kiln
        .vm(["run", "-j1", "--timeout-scale", "5", "s"])
        .args(["--run-dir", out(kiln).to_str().unwrap()]);
    for kernel in kernels {
        command = command.args(["-k", kernel]);
    }
    let output = command.deadline(std::time::Duration::from_secs(600)).run();
    output.assert_code(0);
    events(&out(kiln))
}

/// The warnings of a test, with the name of its kernel.
fn warnings<'a>(all: &'a [Value], kernel: &str, test: &str) -> Vec<&'a str> {
    all.iter()
        .filter(|event| event["event"] == "warning" && event["kernel"] == kernel)
        .filter_map(|event| event["message"].as_str())
        .filter(|message| message.starts_with(&format!("s.{test}.sh: ")))
        .collect()
}

#[track_caller]
fn assert_told(warnings: &[&str], expected: &[&str]) {
    for part in expected {
        assert!(
            warnings.iter().any(|line| line.contains(part)),
            "{part:?} is not told: {warnings:#?}"
        );
    }
    let cannot = warnings.iter().find(|line| line.contains("cannot"));
    assert_eq!(cannot, None);
}

/// The printed state on a kernel.
fn looked(all: &[Value], kernel: &str, test: &str) -> String {
    let id = format!("s.{test}.sh");
    let event = all.iter().find(|event| {
        event["event"] == "test_finished" && event["kernel"] == kernel && event["id"] == *id
    });
    event.unwrap()["output"].as_str().unwrap().to_owned()
}

#[test]
fn after_each_kind_of_change_the_next_test_finds_the_vm_as_it_was() {
    let mut scripts = vec![("0-look".to_owned(), LOOK.to_owned())];
    for (name, script, _) in SPOILS {
        scripts.push((name.to_owned(), script.to_owned()));
        scripts.push((format!("{name}-then"), LOOK.to_owned()));
    }
    let kiln = kiln(&scripts);
    let all = run(&kiln, &["6.1"]);
    let before = looked(&all, "6.1", "0-look");
    assert!(before.contains("the clock is right"), "{before}");
    for (name, _, expected) in SPOILS {
        let then = format!("{name}-then");
        assert_told(&warnings(&all, "6.1", name), expected);
        assert_eq!(looked(&all, "6.1", &then), before, "after {name}");
        assert!(warnings(&all, "6.1", &then).is_empty());
    }
    assert!(warnings(&all, "6.1", "0-look").is_empty());
    assert_eq!(count(&all, "vm_started"), 1, "all of it is undone");
    kiln.assert_nothing_left();
}

#[test]
fn other_kernels_undo_all_changes_at_once() {
    let mut everything = String::new();
    for (name, script, _) in SPOILS {
        writeln!(everything, "( :; {script} ) # {name}").unwrap();
    }
    let kiln = kiln(&[
        ("0-look".to_owned(), LOOK.to_owned()),
        ("1-spoils".to_owned(), everything),
        ("2-then".to_owned(), LOOK.to_owned()),
    ]);
    let kernels = ["5.10", "6.12"];
    let all = run(&kiln, &kernels);
    for kernel in kernels {
        let told = warnings(&all, kernel, "1-spoils");
        for (_, _, expected) in SPOILS {
            let names = expected
                .iter()
                .copied()
                .filter(|part| !part.contains(" now: "));
            let names: Vec<&str> = names.collect();
            assert_told(&told, &names);
        }
        assert_eq!(
            looked(&all, kernel, "2-then"),
            looked(&all, kernel, "0-look"),
            "{kernel}: {told:#?}"
        );
    }
    assert_eq!(count(&all, "vm_started"), kernels.len());
}

#[test]
fn changes_that_cannot_be_undone_are_named_and_the_next_test_gets_a_fresh_vm() {
    let scripts = [
        (
            "0",
            "mkdir -p /tmp/a/b; echo x >/tmp/a/b/c; sort -o /tmp/d /etc/passwd",
        ),
        ("1", "echo 1 >/proc/sys/kernel/modules_disabled"),
        ("2", "cat /proc/sys/kernel/modules_disabled"),
        // The old value of this one is unknown.
        ("3", "echo 7 >/proc/sys/net/ipv4/igmp_max_memberships"),
        ("4", "cat /proc/sys/net/ipv4/igmp_max_memberships"),
        (
            "5",
            "perl -e 'for (1..20500) { open F, \">/tmp/$_\" }'; mount -t tmpfs x /mnt",
        ),
        ("6", "ls /tmp | wc -l"),
    ];
    let scripts: Vec<_> = scripts
        .map(|(name, script)| (name.to_owned(), format!("{script}\n")))
        .into();
    let kiln = kiln(&scripts);
    let all = run(&kiln, &["6.1"]);
    let told = |test: &str| warnings(&all, "6.1", test).join("\n");
    assert_eq!(told("0"), "");
    assert_eq!(
        told("1"),
        "s.1.sh: changed a setting, which cannot be set back: kernel.modules_disabled to 1"
    );
    assert_eq!(
        told("3"),
        "s.3.sh: changed a setting, which cannot be set back: net.ipv4.igmp_max_memberships"
    );
    assert!(
        told("5")
            .contains("changed a file, which cannot be restored: /tmp: more than can be removed"),
        "{}",
        told("5")
    );
    for (test, output) in [("2", "0\n"), ("4", "20\n")] {
        assert_eq!(looked(&all, "6.1", test), output);
    }
    // kiln's own directory below /tmp exists from the start.
    let left = looked(&all, "6.1", "6");
    assert!(left.trim().parse::<u32>().unwrap() < 3, "{left}");
    assert_eq!(count(&all, "vm_started"), 4);
    assert_eq!(finished(&out(&kiln), "s.6.sh")["verdict"], "pass");
    kiln.assert_nothing_left();
}
