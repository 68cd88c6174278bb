//! QEMU's command line, as a fold over devices.
//!
//! A [`Device`] is anything that yields QEMU options and kernel arguments, which often belong
//! together: a serial port is a chardev, a device and a `console=`.

mod devices;
mod extras;
mod option;

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use guest_init::plan::Control;

use self::devices::{
    Accel, Boot, ControlPort, EndsOnPanic, Gdb, Machine, Monitor, NinePDevice, Sandbox,
    SerialConsole, SerialControl, VirtioConsole, VirtiofsDevice, VmCoreInfo,
};
use self::extras::{Card, ScratchDisk};
use self::option::Device;
use super::arch::platform;
use super::card::ADMIN_SOCKET;
use super::extras::Extras;
use super::means::Console;
use super::spec::VmSpec;

/// Longest path of a UNIX socket in bytes (`sun_path` without its NUL, unix(7)).
pub const MAX_SOCKET_PATH: usize = 107;

/// The command line that runs `spec`: the program, then its arguments.
///
/// The guest's console is QEMU's stdout.
pub fn command(spec: &VmSpec) -> Vec<OsString> {
    let mut devices = devices(spec);
    devices.push(Box::new(Boot {
        image: &spec.kernel.image,
        initramfs: &spec.initramfs,
        command_line: kernel_command_line(spec),
    }));
    let mut line = vec![spec.qemu.clone().into_os_string()];
    line.extend(devices.iter().flat_map(|device| device.qemu()));
    line.extend(spec.qemu_args.iter().map(OsString::from));
    if spec.incoming {
        line.extend(["-incoming", "defer"].map(OsString::from));
    }
    line
}

/// The command line of the guest's kernel.
pub fn kernel_command_line(spec: &VmSpec) -> String {
    let mut words: Vec<String> = devices(spec)
        .iter()
        .flat_map(|device| device.kernel())
        .collect();
    words.push("rdinit=/init".to_owned());
    // Last, so that the user's arguments take precedence.
    words.extend(spec.kernel_args.iter().cloned());
    words.join(" ")
}

/// The devices of the VM.
fn devices(spec: &VmSpec) -> Vec<Box<dyn Device + '_>> {
    let platform = platform(spec.kernel.arch);
    let transport = spec.means.transport;
    let mut devices: Vec<Box<dyn Device + '_>> = vec![
        Box::new(Machine {
            with_properties: (platform.machine_type)(spec.means.machine, spec.means.transport),
            memory: spec.memory,
            memory_file: spec.memory_file.as_deref(),
            cpus: spec.cpus,
            numa: spec.qemu_args.iter().any(|arg| arg == "-numa"),
        }),
        Box::new(Accel {
            platform,
            accelerator: spec.accelerator,
            cpu: spec.cpu.as_deref(),
            counter_khz: spec.counter_khz,
        }),
    ];
    if spec.qemu_sandbox {
        // Of those that relay a guest's connections.
        let network = spec.extras.network.as_ref();
        let spawns = network.is_some_and(|network| !network.host_ports.is_empty());
        devices.push(Box::new(Sandbox { spawns }));
    }
    devices.push(Box::new(EndsOnPanic {
        platform,
        keep: spec.dump_on_panic || spec.gdb.is_some(),
    }));
    match spec.means.console {
        Console::Serial => devices.push(Box::new(SerialConsole { platform })),
        Console::Virtio => devices.push(Box::new(VirtioConsole { transport })),
    }
    devices.push(Box::new(Monitor {
        id: "qmp",
        socket: spec.qmp_socket.clone(),
    }));
    if spec.control_socket.is_some() {
        devices.push(Box::new(Monitor {
            id: "admin",
            socket: spec.dir().join(ADMIN_SOCKET),
        }));
        devices.push(Box::new(VmCoreInfo));
    }
    if let Some(stub) = &spec.gdb {
        devices.push(Box::new(Gdb { stub }));
    }
    if let Some(socket) = &spec.control_socket {
        match spec.means.control {
            Control::Virtio => devices.push(Box::new(ControlPort {
                socket,
                // That of the console, if it has one.
                bus: (spec.means.console == Console::Serial).then_some(transport),
            })),
            Control::Serial => devices.push(Box::new(SerialControl { socket })),
        }
    }
    for (index, share) in spec.virtiofs.iter().enumerate() {
        devices.push(Box::new(VirtiofsDevice {
            index,
            share,
            transport,
        }));
    }
    for (index, share) in spec.nine_p.iter().enumerate() {
        devices.push(Box::new(NinePDevice {
            index,
            share,
            transport,
        }));
    }
    if let Some(network) = &spec.extras.network {
        devices.push(Box::new(Card { network, transport }));
    }
    for index in 0..spec.extras.disks.len() {
        devices.push(Box::new(ScratchDisk {
            index,
            file: Extras::disk_file(spec.dir(), index),
            transport,
        }));
    }
    devices
}

/// `command` in POSIX shell syntax.
pub fn shell_line(command: &[OsString]) -> OsString {
    let mut line = Vec::new();
    for word in command {
        if !line.is_empty() {
            line.push(b' ');
        }
        let word = word.as_bytes();
        // Only NUL cannot be quoted, and no argument can contain one.
        let quoted = shlex::bytes::Quoter::new().allow_nul(true).quote(word);
        line.extend_from_slice(&quoted.unwrap_or(Cow::Borrowed(word)));
    }
    OsString::from_vec(line)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) use tests::spec as example;
