//! `kiln kernels check` and the settings of kernels: what they say is what a booted kernel shows.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::material::{Material, run};
use crate::support::suite::{events, out, verdicts};
use crate::support::{Kiln, Output, checkout};

/// How long five boots may take on a busy machine.
const RUN: Duration = Duration::from_secs(10 * 60);

/// What `kernels check --format json` prints.
fn checked(output: &Output) -> Vec<serde_json::Value> {
    serde_json::from_str(&output.out()).unwrap_or_else(|error| panic!("{error}\n{output:?}"))
}

/// How a checked kernel has an option.
fn has<'a>(kernel: &'a serde_json::Value, option: &str) -> &'a str {
    let options = kernel["options"].as_array().unwrap();
    let found = options
        .iter()
        .find(|row| row["option"] == format!("CONFIG_{option}"));
    found.unwrap_or_else(|| panic!("no {option}"))["has"]
        .as_str()
        .unwrap()
}

/// Shows in a guest which options its kernel has: a line `OPTION yes` or `OPTION no` for each.
const LOOK: &str = r#"
cut -d' ' -f3 /proc/kallsyms | sort -u >/tmp/symbols
t=/sys/kernel/tracing
say() { option=$1; shift; if "$@" >/dev/null 2>&1; then echo $option yes; else echo $option no; fi; }
symbol() { grep -qxE "$1" /tmp/symbols; }
filesystem() { modprobe -q $1; grep -q "[[:blank:]]$1\$" /proc/filesystems; }
driver() { modprobe -q $2; test -d /sys/bus/$1/drivers/$3; }
loaded() { modprobe -q $1 && grep -q "^$1 " /proc/modules; }
say 64BIT test $(uname -m) = x86_64
say MODULES test -e /proc/modules
say BLK_DEV_INITRD symbol populate_rootfs
say TMPFS filesystem tmpfs
say DEVTMPFS filesystem devtmpfs
say CGROUPS filesystem cgroup2
say ACPI test -d /sys/firmware/acpi
say SERIAL_8250_CONSOLE grep -q ttyS0 /proc/consoles
say VIRTIO_CONSOLE test -d /sys/class/virtio-ports
say VIRTIO_MMIO driver platform virtio_mmio virtio-mmio
say VIRTIO_PCI driver pci virtio_pci virtio-pci
say PCI_MMCONFIG symbol pci_mmcfg_arch_init
say FUSE_FS filesystem fuse
say VIRTIO_FS filesystem virtiofs
say 9P_FS filesystem 9p
say NET_9P_VIRTIO driver virtio 9pnet_virtio 9pnet_virtio
say OVERLAY_FS filesystem overlay
say PVH symbol pvh_start_xen
say BPF_SYSCALL test -e /proc/sys/kernel/unprivileged_bpf_disabled
say PERF_EVENTS test -e /proc/sys/kernel/perf_event_paranoid
say BPF_EVENTS symbol trace_call_bpf
say BPF_JIT test -e /proc/sys/net/core/bpf_jit_enable
say DEBUG_FS filesystem debugfs
say FTRACE filesystem tracefs
say KPROBES symbol register_kprobe
say KPROBE_EVENTS test -e $t/kprobe_events
say KRETPROBES symbol register_kretprobe
say UPROBES symbol uprobe_register
say UPROBE_EVENTS test -e $t/uprobe_events
say FTRACE_SYSCALLS test -d $t/events/syscalls
say FUNCTION_TRACER grep -qw function $t/available_tracers
say DYNAMIC_FTRACE test -e $t/available_filter_functions
say DYNAMIC_FTRACE_WITH_DIRECT_CALLS symbol register_ftrace_direct
say FPROBE symbol register_fprobe
say DEBUG_INFO_BTF test -e /sys/kernel/btf/vmlinux
say XFS_FS loaded xfs
say DEBUG_INFO_BTF_MODULES test -e /sys/kernel/btf/xfs
say NF_TABLES loaded nf_tables
say KALLSYMS test -s /tmp/symbols
say KALLSYMS_ALL symbol 'modprobe_path'
say BPF_KPROBE_OVERRIDE symbol bpf_override_return
say IKHEADERS eval 'modprobe -q kheaders; test -e /sys/kernel/kheaders.tar.xz'
say IKCONFIG_PROC eval 'modprobe -q configs; test -e /proc/config.gz'
say CGROUP_BPF symbol __cgroup_bpf_run_filter_skb
say BPF_LSM symbol bpf_lsm_file_open
say PID_NS test -e /proc/self/ns/pid
say LOCK_DOWN_KERNEL_FORCE_INTEGRITY grep -F '[integrity]' /sys/kernel/security/lockdown
say LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY grep -F '[confidentiality]' /sys/kernel/security/lockdown
grep MemTotal: /proc/meminfo | tr -d :
echo cpus $(nproc)
echo cmdline $(tr ' ' _ </proc/cmdline)
"#;

/// What is compared: these kernels, and a build tree with the modules of 6.1.
const COMPARED: [&str; 5] = ["5.10", "6.1", "6.12", "7.3", "tree"];

fn built_tree(kiln: &Kiln) -> PathBuf {
    let tree = tree(kiln, &config_of_debian());
    let modules = Material::of(kiln).modules;
    for name in ["modules.order", "modules.builtin"] {
        fs::copy(modules.join(name), tree.join(name)).unwrap();
    }
    run(Command::new("cp")
        .args(["-R", "kernel/."])
        .arg(&tree)
        .current_dir(&modules));
    tree
}

/// Options that show nowhere in a guest: a processor that is old enough lacks KVM, and IKCONFIG
/// itself is what IKCONFIG_PROC shows.
const SHOW_NOWHERE: [&str; 2] = ["KVM", "IKCONFIG"];

#[test]
fn what_kernels_check_says_and_kernels_toml_asks_for_is_what_booted_kernels_show() {
    Material::of_kernel(&Kiln::new(), "7.3");
    let kiln = Kiln::with_copied_cache();
    fs::copy(
        checkout().join("kernels.lock"),
        kiln.work().join("kernels.lock"),
    )
    .unwrap();
    let text = fs::read_to_string(checkout().join("kernels.toml")).unwrap();
    let (text, _) = text.split_once("[suites.").unwrap();
    let text = text
        .replacen(
            "memory = \"2G\"",
            "memory = \"640M\"\nappend = \"kiln.seen=defaults\"",
            1,
        )
        .replacen(
            "[kernels.\"6.1\"]\n",
            "[kernels.\"6.1\"]\nmemory = \"800M\"\ncpus = 2\nappend = \"kiln.seen=own nokaslr\"\n\
             modules = [\"xfs\"]\nqemu-args = [\"-name\", \"mine\"]\n",
            1,
        );
    let suite = "[suites.look]\nrunner = \"command\"\ncommand = [\"/bin/sh\", \"-c\", \
                 \"/bin/sh ./look.sh >seen/$(uname -r)-$(grep -o 'kiln.seen=[a-z]*' /proc/cmdline) 2>&1\"]\n";
    kiln.file("look.sh", LOOK);
    kiln.file("seen/.keep", "");
    let tree = format!(
        "[kernels.tree]\npath = \"{}\"\nappend = \"kiln.seen=tree\"\n",
        built_tree(&kiln).display()
    );
    let file = kiln.file("kernels.toml", format!("{text}{tree}{suite}"));
    let kiln = kiln.config(&file);
    let selected = COMPARED.into_iter().flat_map(|kernel| ["-k", kernel]);
    let output = kiln
        .vm(["run", "-j1", "--timeout-scale", "9"])
        .args(selected)
        .args(["--run-dir", out(&kiln).to_str().unwrap()])
        .args(["--rw", kiln.work().join("seen").to_str().unwrap()])
        .deadline(RUN)
        .run();
    output.assert_code(0);
    assert_eq!(verdicts(&out(&kiln)).len(), COMPARED.len());

    let check = kiln
        .plain(["kernels", "check", "--format", "json"])
        .args(COMPARED)
        .run();
    check.assert_code(0);
    let all = events(&out(&kiln));
    for kernel in checked(&check) {
        let name = kernel["kernel"].as_str().unwrap();
        assert_eq!(kernel["configuration"], true, "{name}");
        let release = kernel["release"].as_str().unwrap();
        let append = match name {
            "6.1" => "kiln.seen=own nokaslr",
            "tree" => "kiln.seen=tree",
            _ => "kiln.seen=defaults",
        };
        let word = append.split_whitespace().next().unwrap();
        let seen = kiln.work().join(format!("seen/{release}-{word}"));
        let seen = fs::read_to_string(seen).unwrap();
        let seen: BTreeMap<&str, &str> = seen
            .lines()
            .filter_map(|line| line.split_once([' ', '\t']))
            .map(|(name, value)| (name, value.trim()))
            .collect();
        let mut wrong = Vec::new();
        for row in kernel["options"].as_array().unwrap() {
            let option = row["option"]
                .as_str()
                .unwrap()
                .trim_start_matches("CONFIG_");
            let has = row["has"].as_str().unwrap();
            let there = matches!(has, "built in" | "module");
            if has == "not needed" {
                continue;
            }
            match seen.get(option) {
                Some(&shown) => {
                    if (shown == "yes") != there {
                        wrong.push(format!("{option}: {has}, and the guest says {shown}"));
                    }
                }
                // What every program needs is there, as the guest ran programs.
                None if row["wanted_by"] == "kiln" => assert!(there, "{name} {option}: {has}"),
                None => assert!(SHOW_NOWHERE.contains(&option), "{option} is not looked for"),
            }
        }
        assert!(wrong.is_empty(), "{name}: {wrong:#?}");

        // How it boots is how it was said to.
        let up = all
            .iter()
            .find(|event| event["event"] == "vm_started" && event["kernel"] == name)
            .unwrap();
        for key in ["machine", "transport", "share"] {
            assert_eq!(up[key], kernel["boots"][key], "{name} {key}");
        }
        assert_eq!(
            up["no_overlay"] == true,
            kernel["boots"]["overlay"] == false
        );

        // The settings are those of the kernel, else of the file.
        let own = name == "6.1";
        let (memory, cpus) = if own { (800, 2) } else { (640, 1) };
        assert_eq!(up["memory"], memory << 20, "{up}");
        assert_eq!(up["cpus"], cpus, "{up}");
        assert_eq!(seen["cpus"], cpus.to_string());
        let total: u64 = seen["MemTotal"].trim_end_matches(" kB").parse().unwrap();
        assert!(
            total < memory << 10 && total > (memory - 200) << 10,
            "{total}"
        );
        assert_eq!(up["append"], serde_json::json!([append]));
        assert!(
            seen["cmdline"].contains(&append.replace(' ', "_")),
            "{seen:?}"
        );
        assert_eq!(
            up["modules"].as_array().unwrap().len(),
            if own { 1 } else { 3 }
        );
        let asked = up["asked"].as_array().unwrap();
        let by = format!("memory {memory}M by {}:", file.display());
        let is_by = |asked: &serde_json::Value| asked.as_str().unwrap().starts_with(&by);
        assert!(asked.iter().any(is_by), "{asked:?}");
        let script = out(&kiln).join(format!(
            "logs/{}/vm-{}/qemu.sh",
            name.replace('.', "_"),
            up["vm"]
        ));
        let script = fs::read_to_string(script).unwrap();
        assert!(script.contains(&by), "{script}");
        assert_eq!(script.contains("-name mine"), own, "{script}");
    }
    kiln.assert_nothing_left();
}

/// A build tree with the image of 6.1 and this configuration.
fn tree(kiln: &Kiln, config: &str) -> PathBuf {
    let material = Material::of(kiln);
    let tree = kiln.path("linux");
    let put = |path: &str, content: &[u8]| {
        let path = tree.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    put("include/config/kernel.release", material.release.as_bytes());
    put(".config", config.as_bytes());
    fs::copy(&material.image, tree.join("vmlinux")).unwrap();
    tree
}

/// The configuration that Debian's 6.1 was built with.
fn config_of_debian() -> String {
    let kiln = Kiln::new();
    let image = Material::of(&kiln).image;
    fs::read_to_string(image.with_file_name("config")).unwrap()
}

fn check(kiln: &Kiln, tree: &Path, args: &[&str]) -> Output {
    kiln.plain(["kernels", "check"]).arg(tree).args(args).run()
}

#[test]
fn a_build_tree_is_checked_by_its_configuration_and_mended_by_the_fragment() {
    let config = config_of_debian();
    let kiln = Kiln::with_copied_cache();
    let tree = tree(&kiln, &config);
    let output = check(&kiln, &tree, &["--format", "json"]);
    output.assert_code(100);
    let kernel = &checked(&output)[0];
    for (option, expected) in [
        ("BPF_SYSCALL", "built in"),
        ("SERIAL_8250_CONSOLE", "built in"),
        ("DEBUG_INFO_BTF", "built in"),
        // Nobody built the modules here.
        ("VIRTIO_MMIO", "not there"),
        ("9P_FS", "missing"),
        ("FPROBE", "missing"),
    ] {
        assert_eq!(has(kernel, option), expected, "{option}");
    }
    assert!(kernel["boots"].is_null());
    let refused = kernel["refused"].as_str().unwrap();
    assert!(
        refused.contains("no virtio_mmio or virtio_pci, fuse with virtiofs"),
        "{refused}"
    );
    // exec says the same before it boots.
    let told = kiln
        .plain(["exec", "-k"])
        .arg(&tree)
        .args(["--", "true"])
        .run();
    told.assert_code(125).assert_err_contains(refused);
    told.assert_err_contains("these were built as modules and are not there: virtio_mmio");

    let fix = check(&kiln, &tree, &["--fix", "--for", "kiln"]);
    fix.assert_code(100);
    let lines = fix.out();
    assert!(lines.contains("CONFIG_VIRTIO_MMIO=y\n"), "{lines}");
    assert!(!lines.contains("CONFIG_BPF"), "{lines}");
    // As merge_config.sh and a build would leave it.
    fs::write(tree.join(".config"), format!("{config}{lines}")).unwrap();
    let output = check(&kiln, &tree, &["--format", "json"]);
    output.assert_code(0);
    let kernel = &checked(&output)[0];
    assert_eq!(has(kernel, "VIRTIO_MMIO"), "built in");
    assert_eq!(kernel["boots"]["transport"], "mmio");
    let again = check(&kiln, &tree, &["--fix", "--for", "kiln"]);
    assert!(
        again.out().contains("lacks nothing that is known"),
        "{}",
        again.out()
    );
}

#[test]
fn a_configuration_that_is_cut_off_or_of_another_kernel_is_named_with_its_line() {
    let config = config_of_debian();
    let kiln = Kiln::with_copied_cache();
    let cut = &config[..config.len() / 2];
    let tree = tree(&kiln, cut);
    let place = |line: usize| format!("{}/.config:{line}: ", tree.display());
    let lines = cut.lines().count();
    check(&kiln, &tree, &[])
        .assert_code(96)
        .assert_err_contains(&place(lines))
        .assert_err_contains("hint: ");
    fs::write(
        tree.join(".config"),
        config.replace("Linux/x86 6.1.", "Linux/x86 6.6."),
    )
    .unwrap();
    check(&kiln, &tree, &[])
        .assert_code(96)
        .assert_err_contains(&place(1))
        .assert_err_contains("it is the configuration of Linux 6.6.");
    fs::write(tree.join(".config"), "CONFIG_VIRTIO_MMIO=y\n").unwrap();
    check(&kiln, &tree, &[])
        .assert_code(96)
        .assert_err_contains("it sets 1 options, so it is a fragment");
    let nothing = kiln.path("nothing");
    fs::create_dir(&nothing).unwrap();
    check(&kiln, &nothing, &[])
        .assert_code(96)
        .assert_err_contains("there is no kernel in ");
    kiln.plain(["kernels", "check", "6.2"])
        .run()
        .assert_code(96)
        .assert_err_contains("there is no kernel \"6.2\"")
        .assert_err_contains("did you mean");
}

#[test]
fn the_whole_fragment_and_the_table_are_printed_without_a_kernel_and_without_colours() {
    let kiln = Kiln::with_empty_cache();
    let print = |args: &[&str]| {
        let output = kiln.plain(["kernels", "config"]).args(args).run();
        output.assert_code(0);
        output.out()
    };
    let all = print(&[]);
    assert!(
        all.contains("CONFIG_FPROBE=y\n") && all.contains("CONFIG_VIRTIO_FS=y\n"),
        "{all}"
    );
    assert!(!print(&["--linux", "5.10"]).contains("CONFIG_FPROBE"));
    assert!(!print(&["--for", "kiln"]).contains("CONFIG_FPROBE"));
    kiln.plain(["kernels", "config", "--linux", "new"])
        .run()
        .assert_code(2);
    let kiln = Kiln::new();
    let table = kiln
        .plain(["kernels", "check", "6.1", "6.12"])
        .env("TERM", "xterm")
        .run();
    table.assert_code(0);
    assert!(!table.out().contains('\u{1b}'));
    assert!(
        table.out().lines().all(|line| line.chars().count() <= 80),
        "{}",
        table.out()
    );
}

#[test]
fn settings_of_a_kernel_reach_qemu_and_options_win() {
    let kiln = Kiln::new();
    let material = Material::of(&kiln);
    let tree = kiln.path("k");
    material.unpack(&tree, &[]);
    let catalogue = format!(
        "[kernels.mine]\npath = \"{}\"\nmemory = \"768M\"\ncpus = 3\ncpu = \"max\"\n\
         append = \"nokaslr\"\nqemu-args = [\"-device\", \"virtio-rng-device\"]\nshare = \"virtiofs\"\n",
        tree.display()
    );
    let file = kiln.file("kernels.toml", catalogue);
    let kiln = kiln.config(&file);
    let line = |args: &[&str]| {
        let output = kiln
            .plain(["exec", "-k", "mine", "--dry-run"])
            .args(args)
            .args(["--", "true"])
            .run();
        output.assert_code(0);
        output.out()
    };
    let shown = line(&[]);
    for part in [
        "-m 805306368B",
        "-smp 3",
        "-cpu max",
        " nokaslr'",
        "-device virtio-rng-device",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    let shown = line(&[
        "--memory",
        "1G",
        "--cpus",
        "1",
        "--append",
        "kaslr",
        "--qemu-arg=-s",
    ]);
    for part in [
        "-m 1073741824B",
        "-smp 1",
        " nokaslr kaslr'",
        "virtio-rng-device -s",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    let more = "modules = [\"virtio_mmio\", \"no_such\"]\n[suites.t]\nrunner = \"command\"\n\
                command = [\"true\"]\n";
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}{more}")).unwrap();
    let lacks = ":9 asks for modules that the kernel does not have: no_such\n";
    kiln.plain(["run", "-k", "mine", "--dry-run"])
        .run()
        .assert_code(96)
        .assert_err_contains(lacks);
    for args in [
        vec!["exec", "-k", "mine", "--", "true"],
        vec!["shell", "-k", "mine"],
    ] {
        let output = kiln.plain(args).run();
        output.assert_code(125).assert_err_contains(lacks);
    }
    let output = kiln
        .plain([
            "exec",
            "-k",
            "mine",
            "--qemu-arg",
            "-m",
            "--qemu-arg",
            "4G",
            "--",
            "true",
        ])
        .run();
    output
        .assert_code(2)
        .assert_err_contains("--qemu-arg: -m is set by kiln: use memory in kernels.toml");
}
