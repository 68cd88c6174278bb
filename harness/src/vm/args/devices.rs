//! The devices of a VM, each with its QEMU options and kernel arguments.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use guest_init::plan::CONTROL_PORT;

use super::option::{Device, option, option_value, with_path};
use crate::config::Transport;
use crate::vm::accelerator::Accelerator;
use crate::vm::arch::Platform;
use crate::vm::spec::{GdbStub, NinePSpec, VirtiofsSpec};

/// The ending of a virtio device's name.
pub(super) fn on(transport: Transport) -> &'static str {
    match transport {
        Transport::Mmio => "device",
        Transport::Pci => "pci",
    }
}

/// The machine, its processors, and memory that the share processes can map.
pub(super) struct Machine<'a> {
    pub(super) with_properties: &'static str,
    pub(super) memory: u64,
    /// What is mapped as the memory, in place of a file of QEMU's own.
    pub(super) memory_file: Option<&'a Path>,
    pub(super) cpus: u32,
    /// Whether the user's own options divide the memory into NUMA nodes, which QEMU allows only
    /// where the machine does not name it as a whole.
    pub(super) numa: bool,
}

impl Device for Machine<'_> {
    fn qemu(&self) -> Vec<OsString> {
        let size = format!(",id=mem,share=on,size={}B", self.memory);
        let memory = match self.memory_file {
            None => OsString::from(format!("memory-backend-memfd{size}")),
            Some(path) => with_path("memory-backend-file,mem-path=", path, &size),
        };
        let backend = if self.numa { "" } else { ",memory-backend=mem" };
        [
            option("-M", format!("{}{backend}", self.with_properties)),
            option("-object", memory),
            option("-m", format!("{}B", self.memory)),
            option("-smp", self.cpus.to_string()),
            // vhost-user speaks virtio 1.0 only.
            option("-global", "virtio-mmio.force-legacy=false"),
            option("-display", "none"),
        ]
        .into_iter()
        .flatten()
        .chain(["-nodefaults".into(), "-no-user-config".into()])
        .collect()
    }
}

/// Accelerator, CPU model, and their clock.
pub(super) struct Accel<'a> {
    pub(super) platform: &'static Platform,
    pub(super) accelerator: Accelerator,
    /// The requested model.
    pub(super) cpu: Option<&'a str>,
    pub(super) counter_khz: Option<u64>,
}

impl Device for Accel<'_> {
    fn qemu(&self) -> Vec<OsString> {
        let (accelerator, cpu) = match self.accelerator {
            Accelerator::Kvm => ("kvm", "host"),
            Accelerator::Tcg => ("tcg", self.platform.emulated_cpu),
        };
        let cpu = self.cpu.unwrap_or(cpu);
        [option("-accel", accelerator), option("-cpu", cpu)]
            .into_iter()
            .flatten()
            .collect()
    }

    fn kernel(&self) -> Vec<String> {
        let mut arguments = vec!["random.trust_cpu=on".to_owned()];
        if self.accelerator == Accelerator::Tcg {
            let emulated = self.platform.emulated_arguments.iter().copied();
            arguments.extend(emulated.map(str::to_owned));
        }
        arguments.extend((self.platform.clock)(self.accelerator, self.counter_khz));
        arguments
    }
}

/// QEMU's own seccomp filter.
pub(super) struct Sandbox {
    /// Whether QEMU starts other programs.
    pub(super) spawns: bool,
}

impl Device for Sandbox {
    fn qemu(&self) -> Vec<OsString> {
        // Of a child, QEMU makes the leader of a session, which counts as a privilege.
        let rest = if self.spawns {
            "elevateprivileges=allow,spawn=allow"
        } else {
            "elevateprivileges=deny,spawn=deny"
        };
        option(
            "-sandbox",
            format!("on,obsolete=deny,{rest},resourcecontrol=deny"),
        )
        .into()
    }
}

/// A panic reboots at once, and a reboot ends QEMU.
pub(super) struct EndsOnPanic {
    pub(super) platform: &'static Platform,
    /// QEMU keeps the guest's memory until kiln tells it to quit.
    pub(super) keep: bool,
}

impl Device for EndsOnPanic {
    fn qemu(&self) -> Vec<OsString> {
        if self.keep {
            vec!["-no-reboot".into(), "-no-shutdown".into()]
        } else {
            vec!["-no-reboot".into()]
        }
    }

    fn kernel(&self) -> Vec<String> {
        let reboot = self.platform.reboot.iter().copied();
        std::iter::once("panic=-1")
            .chain(reboot)
            .map(str::to_owned)
            .collect()
    }
}

/// The serial port, written to QEMU's stdout.
///
/// Shows messages of level warning and above: oopses and `WARN` come through, and the hundreds of
/// lines of a normal boot do not slow it down.
pub(super) struct SerialConsole {
    pub(super) platform: &'static Platform,
}

impl Device for SerialConsole {
    fn qemu(&self) -> Vec<OsString> {
        [
            option("-chardev", "stdio,id=console,signal=off"),
            option("-serial", "chardev:console"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn kernel(&self) -> Vec<String> {
        console_on(self.platform.console)
    }
}

/// What the kernel must be told of its console.
fn console_on(device: &str) -> Vec<String> {
    vec![
        format!("console={device}"),
        "loglevel=5".to_owned(),
        // Timestamps identify the kernel's messages.
        "printk.time=1".to_owned(),
    ]
}

/// A console of virtio, in place of a serial port, and the bus for the control port.
pub(super) struct VirtioConsole {
    pub(super) transport: Transport,
}

impl Device for VirtioConsole {
    fn qemu(&self) -> Vec<OsString> {
        [
            option("-chardev", "stdio,id=console,signal=off"),
            option("-device", serial_bus(self.transport)),
            option("-device", "virtconsole,chardev=console"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn kernel(&self) -> Vec<String> {
        console_on("hvc0")
    }
}

/// The device to which ports of virtio-serial and consoles of virtio are attached.
fn serial_bus(transport: Transport) -> String {
    format!("virtio-serial-{},max_ports=2", on(transport))
}

/// QMP on a UNIX socket.
pub(super) struct Monitor {
    pub(super) id: &'static str,
    pub(super) socket: PathBuf,
}

impl Device for Monitor {
    fn qemu(&self) -> Vec<OsString> {
        let id = self.id;
        [
            option(
                "-chardev",
                with_path(
                    &format!("socket,id={id},path="),
                    &self.socket,
                    ",server=on,wait=off",
                ),
            ),
            option("-mon", format!("chardev={id},mode=control")),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Tells QEMU where the kernel keeps what readers of a dump must know.
pub(super) struct VmCoreInfo;

impl Device for VmCoreInfo {
    fn qemu(&self) -> Vec<OsString> {
        option("-device", "vmcoreinfo").into_iter().collect()
    }
}

/// gdb's stub.
pub(super) struct Gdb<'a> {
    pub(super) stub: &'a GdbStub,
}

impl Device for Gdb<'_> {
    fn qemu(&self) -> Vec<OsString> {
        let listen = match self.stub {
            GdbStub::Socket(path) => with_path(
                "unix:",
                path.as_deref().unwrap_or(Path::new("")),
                ",server=on,wait=off",
            ),
            GdbStub::Port(port) => format!("tcp:127.0.0.1:{port},server=on,wait=off").into(),
        };
        option("-gdb", listen).into_iter().collect()
    }
}

/// The virtio-serial port of the control protocol, on a UNIX socket.
pub(super) struct ControlPort<'a> {
    pub(super) socket: &'a Path,
    /// The transport of the bus to add for it, if the machine has none yet.
    pub(super) bus: Option<Transport>,
}

impl Device for ControlPort<'_> {
    fn qemu(&self) -> Vec<OsString> {
        let bus = self
            .bus
            .map(|transport| option("-device", serial_bus(transport)));
        let port = format!("virtserialport,chardev=control,name={CONTROL_PORT}");
        bus.into_iter()
            .chain([control_socket(self.socket), option("-device", port)])
            .flatten()
            .collect()
    }
}

/// The control protocol on the second serial port, on the same socket.
pub(super) struct SerialControl<'a> {
    pub(super) socket: &'a Path,
}

impl Device for SerialControl<'_> {
    fn qemu(&self) -> Vec<OsString> {
        [
            control_socket(self.socket),
            option("-device", "isa-serial,chardev=control,index=1"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn control_socket(socket: &Path) -> [OsString; 2] {
    let value = with_path("socket,id=control,path=", socket, ",server=on,wait=off");
    option("-chardev", value)
}

/// A share, served by the process behind its vhost-user socket.
pub(super) struct VirtiofsDevice<'a> {
    pub(super) index: usize,
    pub(super) share: &'a VirtiofsSpec,
    pub(super) transport: Transport,
}

impl Device for VirtiofsDevice<'_> {
    fn qemu(&self) -> Vec<OsString> {
        let id = format!("share{}", self.index);
        let mut device = OsString::from(format!(
            "vhost-user-fs-{},queue-size=1024,chardev={id},tag=",
            on(self.transport)
        ));
        device.push(option_value(Path::new(&self.share.tag)));
        [
            option(
                "-chardev",
                with_path(&format!("socket,id={id},path="), &self.share.socket, ""),
            ),
            option("-device", device),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// A share that QEMU serves over 9p.
///
/// Without a model of its own for owners and modes (`security_model=none`), the
/// guest has what the user who runs QEMU has. Directories of several file systems
/// get inode numbers that do not meet (`multidevs=remap`).
pub(super) struct NinePDevice<'a> {
    pub(super) index: usize,
    pub(super) share: &'a NinePSpec,
    pub(super) transport: Transport,
}

impl Device for NinePDevice<'_> {
    fn qemu(&self) -> Vec<OsString> {
        let id = format!("share{}", self.index);
        let read_only = if self.share.writable {
            ""
        } else {
            ",readonly=on"
        };
        let mut device = OsString::from(format!(
            "virtio-9p-{},fsdev={id},mount_tag=",
            on(self.transport)
        ));
        device.push(option_value(Path::new(&self.share.tag)));
        [
            option(
                "-fsdev",
                with_path(
                    &format!("local,id={id},path="),
                    &self.share.dir,
                    &format!(",security_model=none,multidevs=remap{read_only}"),
                ),
            ),
            option("-device", device),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Kernel, initramfs and the kernel's command line.
pub(super) struct Boot<'a> {
    pub(super) image: &'a Path,
    pub(super) initramfs: &'a Path,
    pub(super) command_line: String,
}

impl Device for Boot<'_> {
    fn qemu(&self) -> Vec<OsString> {
        // These take their argument as it is: nothing to escape.
        [
            option("-kernel", self.image),
            option("-initrd", self.initramfs),
            option("-append", self.command_line.as_str()),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
