use super::*;

fn kind(message: &str, stamped: bool) -> Option<&'static str> {
    form_of(message, stamped).map(|found| found.kind)
}

#[test]
fn every_form_is_a_regular_expression() {
    for form in forms() {
        assert!(Regex::new(form.regex).is_ok(), "{}", form.regex);
    }
    assert!(COMPILED.is_some());
}

/// Lines of each kind as the kernel prints them. Those in the first list also count without a
/// timestamp.
#[test]
fn each_kind_is_known_by_its_form() {
    let strict = [
        // x86, before and from 6.10 on; build options of several kernels.
        ("divide error: 0000 [#1] SMP PTI", "oops"),
        ("divide error: 0000 [#1] PREEMPT SMP NOPTI", "oops"),
        ("Oops: divide error: 0000 [#1] PREEMPT SMP NOPTI", "oops"),
        ("Oops: 0002 [#12] PREEMPT(voluntary) SMP KASAN PTI", "oops"),
        ("invalid opcode: 0000 [#1] SMP", "oops"),
        ("stack segment: 0000 [#1] SMP", "oops"),
        (
            "general protection fault, probably for non-canonical address 0xdead000000000108: 0000 [#1] PREEMPT SMP PTI",
            "oops",
        ),
        ("int3: 0000 [#1] SMP", "oops"),
        ("double fault: 0000 [#1] PREEMPT SMP PTI", "oops"),
        ("control protection: 0003 [#1] SMP", "oops"),
        // arm64, arm, riscv, s390, powerpc, mips, loongarch, sparc.
        ("Internal error: Oops: 0000000096000004 [#1] SMP", "oops"),
        ("Internal error: Oops - BUG: 0 [#1] PREEMPT SMP ARM", "oops"),
        (
            "Internal error: Oops - BUG: 00000000f2000800 [#1] PREEMPT SMP",
            "oops",
        ),
        (
            "Internal error: synchronous external abort: 0000000096000410 [#1] SMP",
            "oops",
        ),
        ("Oops [#1]", "oops"),
        ("Kernel BUG [#1]", "oops"),
        ("Oops - load address misaligned [#1]", "oops"),
        ("Oops: 0004 ilc:2 [#1] SMP", "oops"),
        ("specification exception: 0006 ilc:2 [#1] SMP ", "oops"),
        ("Oops: Kernel access of bad area, sig: 11 [#1]", "oops"),
        ("Oops: Exception in kernel mode, sig: 5 [#2]", "oops"),
        ("Oops[#1]:", "oops"),
        ("sh(71): Oops [#1]", "oops"),
        ("kernel BUG at mm/usercopy.c:101!", "oops"),
        (
            "BUG: kernel NULL pointer dereference, address: 0000000000000000",
            "oops",
        ),
        (
            "BUG: unable to handle page fault for address: ffffc90000000000",
            "oops",
        ),
        (
            "BUG: unable to handle kernel paging request at ffffc90000000000",
            "oops",
        ),
        ("PANIC: double fault, error_code: 0x0", "oops"),
        (
            "Unable to handle kernel NULL pointer dereference at virtual address 0000000000000008",
            "oops",
        ),
        (
            "Unable to handle kernel pointer dereference in virtual kernel address space",
            "oops",
        ),
        (
            "CPU 0 Unable to handle kernel paging request at virtual address 00000000",
            "oops",
        ),
        ("Kernel panic - not syncing: sysrq triggered crash", "panic"),
        ("------------[ cut here ]------------", "warning"),
        ("---[ end trace 3b2c1d0e9f8a7b6c ]---", "oops"),
        ("---[ end trace ]---", "oops"),
        (
            "---[ end Kernel panic - not syncing: Fatal exception ]---",
            "oops",
        ),
        (
            "WARNING: CPU: 0 PID: 71 at kernel/trace/x.c:1 f+0x1/0x2",
            "warning",
        ),
        ("WARNING: CPU: 1 PID: 0 at f+0x1/0x2 [dummy]", "warning"),
        (
            "WARNING: kernel/trace/x.c:12 at f+0x1/0x2, CPU#0: insmod/71",
            "warning",
        ),
        ("WARNING: at f+0x1/0x2, CPU#3: kworker/3:1/71", "warning"),
        ("BUG: KASAN: slab-use-after-free in f+0x1/0x2", "kasan"),
        ("BUG: KASAN: null-ptr-deref in f+0x1/0x2", "kasan"),
        ("BUG: KFENCE: out-of-bounds read in f+0x1/0x2", "kfence"),
        ("BUG: KCSAN: data-race in f / g", "kcsan"),
        ("BUG: KMSAN: uninit-value in f+0x1/0x2", "kmsan"),
        ("UBSAN: shift-out-of-bounds in lib/x.c:12:3", "ubsan"),
        (
            "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [insmod:71]",
            "soft lockup",
        ),
        (
            "NMI watchdog: Watchdog detected hard LOCKUP on cpu 0",
            "hard lockup",
        ),
        (
            "watchdog: Watchdog detected hard LOCKUP on cpu 1",
            "hard lockup",
        ),
        (
            "watchdog: CPU1: Watchdog detected hard LOCKUP on cpu 0",
            "hard lockup",
        ),
        (
            "BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 30s!",
            "workqueue lockup",
        ),
        (
            "BUG: sleeping function called from invalid context at mm/slab.h:1",
            "atomic sleep",
        ),
        (
            "BUG: scheduling while atomic: insmod/71/0x00000002",
            "atomic sleep",
        ),
        (
            "WARNING: possible circular locking dependency detected",
            "lockdep",
        ),
        ("WARNING: possible recursive locking detected", "lockdep"),
        (
            "WARNING: possible irq lock inversion dependency detected",
            "lockdep",
        ),
        (
            "WARNING: SOFTIRQ-safe -> SOFTIRQ-unsafe lock order detected",
            "lockdep",
        ),
        ("WARNING: inconsistent lock state", "lockdep"),
        ("WARNING: bad unlock balance detected!", "lockdep"),
        ("WARNING: held lock freed!", "lockdep"),
        ("WARNING: Nested lock was not taken", "lockdep"),
        ("WARNING: suspicious RCU usage", "lockdep"),
        (
            "WARNING: lock held when returning to user space!",
            "lockdep",
        ),
        (
            "rcu: INFO: rcu_preempt self-detected stall on CPU",
            "rcu stall",
        ),
        (
            "rcu: INFO: rcu_sched detected stalls on CPUs/tasks:",
            "rcu stall",
        ),
        (
            "rcu: INFO: rcu_sched detected expedited stalls on CPUs/tasks: { 0-... }",
            "rcu stall",
        ),
        (
            "INFO: rcu_tasks_trace detected stalls on tasks:",
            "rcu stall",
        ),
        (
            "INFO: task sh:71 blocked for more than 120 seconds.",
            "hung task",
        ),
        (
            "INFO: task sh:71 blocked in I/O wait for more than 120 seconds.",
            "hung task",
        ),
        (
            "usercopy: Kernel memory exposure attempt detected from SLUB object 'x' (offset 0, size 9)!",
            "usercopy",
        ),
        ("BUG: Bad page state in process sh  pfn:01234", "bad page"),
        ("BUG: Bad page map in process sh  pte:80 pmd:01", "bad page"),
        ("BUG kmalloc-64 (Not tainted): Object already free", "slab"),
        (
            "BUG kmalloc-64 (Tainted: G    B   W        ): Redzone overwritten",
            "slab",
        ),
        (
            "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
            "kmemleak",
        ),
        (
            "sysfs: cannot create duplicate filename '/class/net/x'",
            "sysfs",
        ),
        (
            "unregister_netdevice: waiting for lo to become free. Usage count = 2",
            "netdevice",
        ),
    ];
    for (line, expected) in strict {
        assert_eq!(kind(line, false), Some(expected), "{line}");
        assert_eq!(kind(line, true), Some(expected), "{line}");
    }
    let with_a_timestamp = [
        ("Oops: Oops: 0000 [#1] SMP", "oops"),
        (
            "BUG: TASK stack guard page was hit at 0 (stack is 0..1)",
            "oops",
        ),
        ("Unhandled fault at 0xffff000012345678", "oops"),
        (
            "Bad mode in Synchronous Abort handler detected on CPU0, code 0x1",
            "oops",
        ),
        ("Insufficient stack space to handle exception!", "oops"),
        ("Thread overran stack, or stack corrupted", "oops"),
        ("Fixing recursive fault but reboot is needed!", "oops"),
        ("note: insmod[71] exited with preempt_count 1", "oops"),
        ("note: insmod[71] exited with irqs disabled", "oops"),
        ("general protection fault, probably for address", "oops"),
        ("Watchdog CPU:0 Hard LOCKUP", "hard lockup"),
        (
            "csd: Detected non-responsive CSD lock (#1) on CPU#0",
            "csd lock",
        ),
        (
            "BUG: using smp_processor_id() in preemptible [00000000] code: sh/71",
            "atomic sleep",
        ),
        ("[ BUG: Invalid wait context ]", "lockdep"),
        ("WARNING: sh/71 still has locks held!", "lockdep"),
        ("INFO: trying to register non-static key.", "lockdep"),
        ("BUG: MAX_LOCKDEP_CHAINS too low!", "lockdep"),
        ("refcount_t: underflow; use-after-free.", "refcount"),
        (
            "list_add corruption. prev->next should be next (0), but was 1. (prev=2).",
            "list corruption",
        ),
        (
            "list_del corruption, 0->next is LIST_POISON1 (1)",
            "list corruption",
        ),
        (
            "ODEBUG: free active (active state 0) object: 0 object type: timer_list hint: f+0x0/0x1",
            "odebug",
        ),
        ("detected buffer overflow in strcpy", "fortify"),
        (
            "verifier bug: REG INVARIANTS VIOLATION (x): range bounds violation",
            "bpf",
        ),
        (
            "REG INVARIANTS VIOLATION (true_reg1): range bounds violation u64=[0x1, 0x0]",
            "bpf",
        ),
        (
            "BUG: Bad rss-counter state mm:0 type:MM_ANONPAGES val:1",
            "bad page",
        ),
        (
            "sh: page allocation failure: order:0, mode:0x40a20(GFP_ATOMIC|__GFP_COMP), nodemask=(null)",
            "allocation failure",
        ),
        (
            "mce: [Hardware Error]: CPU 0: Machine Check Exception: 5 Bank 0: b200000000000000",
            "machine check",
        ),
        (
            "VFS: Busy inodes after unmount of tmpfs. Self-destruct in 5 seconds.  Have a nice day...",
            "bug",
        ),
        (
            "BUG: Dentry 0{i=1,n=x}  still in use (1) [unmount of tmpfs tmpfs]",
            "bug",
        ),
        ("WARNING: stack recursion on stack type 4", "warning"),
    ];
    for (line, expected) in with_a_timestamp {
        assert_eq!(kind(line, true), Some(expected), "{line}");
    }
}

#[test]
fn messages_of_a_sound_kernel_are_not_reports() {
    for line in [
        "WARNING: The mand mount option has been deprecated and",
        "WARNING: Unprivileged eBPF is enabled with eIBRS+LFENCE mitigation and SMT",
        "Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on",
        "WARNING: Underflow in clocksource 'tsc' observed, time update ignored.",
        "kmemleak: Kernel memory leak detector initialized (mem pool available: 15691)",
        "INFO: lockdep is turned off.",
        "rcu: INFO: Stall ended before state dump start",
        "watchdog: Delayed init of the lockup detector failed: -19",
        "sh[71]: segfault at 0 ip 00005 sp 00007 error 4 in sh[1+2]",
        "traps: sh[71] trap divide error ip:401000 sp:7ffc error:0 in sh[401000+1000]",
        "traps: sh[71] general protection fault ip:401000 sp:7ffc error:0",
        "Out of memory: Killed process 71 (head) total-vm:1kB",
        "head invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), order=0",
        "sh: page allocation failure: order:9, mode:0x40cc0(GFP_KERNEL|__GFP_COMP), nodemask=(null)",
        "dummy: loading out-of-tree module taints kernel.",
        "dummy: module verification failed: signature and/or required key missing - tainting kernel",
        "mce: [Hardware Error]: Machine check events logged",
        "sysrq: Trigger a crash",
        "PCI: Fatal: No config space access function found",
        "ODEBUG: selftest passed",
        "Disabling lock debugging due to kernel taint",
        "usb 1-1: device [#3] renamed",
        "reboot: Power down",
        " ? asm_exc_invalid_op+0x16/0x20",
    ] {
        assert_eq!(form_of(line, true), None, "{line}");
    }
}

#[test]
fn a_program_s_lines_are_not_reports() {
    for line in [
        "WARNING: this is mine",
        "BUG: mine too",
        "Oops: I did it again",
        "ERROR: KASAN",
        "fixes: see abc123 [#12] for more",
        "test 3: dead [#1] and more",
        "general protection fault",
        "INFO: task done",
        "refcount_t: underflow",
        "Kernel panic",
        "not ok 3 - kernel BUG",
    ] {
        assert_eq!(form_of(line, false), None, "{line}");
    }
}
