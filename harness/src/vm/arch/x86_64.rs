//! 64-bit x86: QEMU's microvm.
//!
//! Placement of the initrd: QEMU puts one of S bytes at `(top - 1 - S) & ~4095`, where `top` is the
//! end of memory below 4 GiB (`x86_load_linux`, hw/i386/x86-common.c, the same for PVH and
//! bzImage): it ends at `top - 4096 + S % 4096`. SeaBIOS, the firmware of microvm in QEMU's own
//! builds, takes memory for the ACPI tables from `top` downwards (`romfile_loader_allocate`,
//! src/fw/romfile_loader.c, and `alloc_new`, src/malloc.c), and only then does its option ROM read
//! the initrd, which overwrites the tables if the two overlap: a guest with four devices does not
//! boot if S % 4096 is 0xc40 or more. qboot, Debian 12's firmware, keeps the tables below 1 MiB
//! (`malloc_align`, malloc.c), and works with any size. So `guest::initramfs` pads to whole pages.

mod tsc;

use super::platform::Platform;
use crate::config::{Machine, Transport};
use crate::vm::accelerator::Accelerator;

pub(super) static PLATFORM: Platform = Platform {
    install: "`apt-get install qemu-system-x86` (Debian, Ubuntu), \
              `dnf install qemu-system-x86-core` (Fedora)",
    debian_package: "qemu-system-x86",
    machine: "microvm",
    machine_type,
    emulated_cpu: EMULATED_CPU,
    emulated_arguments: &[NO_PTI],
    lacks_instruction,
    console: "ttyS0",
    // By a triple fault: microvm has no keyboard controller.
    reboot: &["reboot=t"],
    clock,
    counter_khz: tsc::khz,
    has_no_timer,
    // COMMAND_LINE_SIZE (arch/x86/include/asm/setup.h) without its NUL.
    max_command_line: 2047,
    // With more, SeaBIOS needs more than a page for its tables, which the initrd then overwrites
    // whatever its size: 1.4 KB for the ACPI tables of a guest with some shares, and for each vCPU
    // 8 bytes of them and some 48 of SMBIOS (`smbios_legacy_setup`, src/fw/smbios.c). 16 booted, 64
    // did not.
    most_vcpus: 32,
};

/// With ACPI: kernels of distributions find virtio-mmio devices by it alone, and
/// those without `CONFIG_PCI_MMCONFIG` by other means find no PCI on microvm.
///
/// Without the timer and the interrupt controller of the first PCs, which kernels with ACPI do not set
/// up here. The timer ticks all the same: with QEMU 10.0 one boot in seven got such a tick as vector
/// 0, a division error, and reset before its console was there.
fn machine_type(machine: Machine, transport: Transport) -> &'static str {
    match (machine, transport) {
        (Machine::Microvm, Transport::Mmio) => "microvm,acpi=on,pit=off,pic=off",
        (Machine::Microvm, Transport::Pci) => "microvm,acpi=on,pit=off,pic=off,pcie=on",
        // It has no other.
        (Machine::Q35, _) => "q35",
    }
}

/// Wide vectors cost translation time, so an old model is the fastest. Version 1, because later
/// ones need features that TCG lacks (spec-ctrl) and warn. With RDRAND (in TCG since 4.1) the
/// guest's random numbers are ready at once.
const EMULATED_CPU: &str = "Nehalem-v1,+rdrand";

/// A Nehalem has Meltdown, from which a kernel protects itself by page tables of its own for
/// programs (pti=, admin-guide/kernel-parameters). It changes them twice for each system call, and
/// TCG then forgets all translated addresses and where its translated code is. TCG does not
/// speculate. Kernels without that protection ignore it.
const NO_PTI: &str = "pti=off";

fn lacks_instruction(model: Option<&str>) -> String {
    match model {
        // QEMU 7.2 was the first whose TCG has AVX and AVX2 (its change log); up to 11.1 none has
        // AVX-512.
        None => "ended by SIGILL: without KVM the guest has QEMU's Nehalem processor, which lacks \
            AVX and later extensions; `--cpu max` has everything that QEMU can emulate (AVX2 since \
            7.2)"
            .to_owned(),
        Some(model) => format!(
            "ended by SIGILL: perhaps the guest's processor, `--cpu {model}` without KVM, lacks an \
             instruction that the program uses; `--cpu max` has everything that QEMU can emulate, \
             which does not include AVX-512"
        ),
    }
}

fn clock(accelerator: Accelerator, counter_khz: Option<u64>) -> Vec<String> {
    match accelerator {
        // The guest has kvm-clock, which gives the frequency.
        Accelerator::Kvm => Vec::new(),
        Accelerator::Tcg => counter_khz
            .map(|khz| format!("tsc_early_khz={khz}"))
            .into_iter()
            // No watchdog: on a busy host it mistakes a late tick for a bad TSC.
            .chain(["tsc=reliable".to_owned()])
            .collect(),
    }
}

/// The kernel measures the local APIC's timer in loops that each wait for a tick
/// of the TSC (`calibrate_APIC_clock`, arch/x86/kernel/apic/apic.c); a host that
/// stops the vCPU for 100 ms just then makes all of them end at once, and microvm
/// has no other timer that a kernel with ACPI would use.
fn has_no_timer(console: &str) -> bool {
    console.contains("APIC frequency too slow, disabling apic timer")
}
