//! Settings of VMs: those of one kernel, and of all kernels (`[defaults]`).

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::check::Checker;
use super::devices::{Asked, AskedDevices, Machine, ShareKind, Transport};
use super::qemu_args;
use super::size::MemorySize;

/// Guest memory if nothing else is said.
const MEMORY: MemorySize = MemorySize::from_mib(2048);

/// How the VMs of a kernel are made, as far as somebody asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VmSettings {
    /// Guest memory.
    pub memory: Option<Asked<MemorySize>>,
    /// Number of vCPUs.
    pub cpus: Option<Asked<u32>>,
    /// CPU model, as for QEMU's `-cpu`.
    pub cpu: Option<Asked<String>>,
    /// Arguments at the end of the kernel's command line.
    pub append: Option<Asked<String>>,
    /// Arguments at the end of QEMU's command line.
    pub qemu_args: Option<Asked<Vec<String>>>,
    /// Modules to load before the tests that look for them.
    pub modules: Option<Asked<Vec<String>>>,
    /// Machine, transport and file system of the shares.
    pub devices: AskedDevices,
}

impl VmSettings {
    /// These, and those of `others` where these ask nothing.
    #[must_use]
    pub fn or(self, others: &Self) -> Self {
        Self {
            memory: self.memory.or_else(|| others.memory.clone()),
            cpus: self.cpus.or_else(|| others.cpus.clone()),
            cpu: self.cpu.or_else(|| others.cpu.clone()),
            append: self.append.or_else(|| others.append.clone()),
            qemu_args: self.qemu_args.or_else(|| others.qemu_args.clone()),
            modules: self.modules.or_else(|| others.modules.clone()),
            devices: self.devices.or(&others.devices),
        }
    }

    /// Guest memory in bytes.
    pub fn memory(&self) -> u64 {
        let asked = self.memory.as_ref();
        asked.map_or(MEMORY, |asked| asked.value).bytes()
    }

    /// Number of vCPUs.
    pub fn cpus(&self) -> u32 {
        self.cpus.as_ref().map_or(1, |asked| asked.value)
    }

    /// Modules to load before the tests that look for them.
    pub fn modules(&self) -> &[String] {
        self.modules.as_ref().map_or(&[], |asked| &asked.value)
    }

    /// What was asked for apart from the devices, each with who asked: `memory 4G by --memory`.
    pub fn reasons(&self) -> Vec<String> {
        fn reason<T: fmt::Display>(what: &str, asked: Option<&Asked<T>>) -> Option<String> {
            asked.map(|asked| format!("{what} {} by {}", asked.value, asked.by))
        }
        let list = |what: &str, asked: &Option<Asked<Vec<String>>>| {
            let asked = asked.as_ref()?;
            let value = Asked {
                value: asked.value.join(" "),
                by: asked.by.clone(),
            };
            reason(what, Some(&value))
        };
        [
            reason("memory", self.memory.as_ref()),
            reason("cpus", self.cpus.as_ref()),
            reason("cpu", self.cpu.as_ref()),
            reason("append", self.append.as_ref()),
            list("qemu-args", &self.qemu_args),
            list("modules", &self.modules),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// The keys of a table that are settings, as in the file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSettings {
    pub(super) memory: Option<Spanned<String>>,
    pub(super) cpus: Option<Spanned<u32>>,
    pub(super) modules: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) cpu: Option<Spanned<String>>,
    pub(super) append: Option<Spanned<String>>,
    #[serde(rename = "qemu-args")]
    pub(super) qemu_args: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) machine: Option<Spanned<Machine>>,
    pub(super) transport: Option<Spanned<Transport>>,
    pub(super) share: Option<Spanned<ShareKind>>,
}

impl Checker<'_> {
    /// The settings of a table, with the lines that say so, and `defaults` behind them. In messages
    /// their names follow `table`: `defaults.` or `kernel "6.1": `.
    pub(super) fn settings(
        &mut self,
        table: &str,
        raw: RawSettings,
        defaults: &VmSettings,
    ) -> VmSettings {
        let transport = raw.transport.as_ref().map(Spanned::span);
        let contradictory = transport.or_else(|| raw.machine.as_ref().map(Spanned::span));
        let settings = VmSettings {
            memory: raw.memory.and_then(|memory| self.memory(table, &memory)),
            cpus: raw.cpus.and_then(|cpus| self.cpus(table, &cpus)),
            cpu: raw.cpu.and_then(|cpu| self.cpu(table, cpu)),
            append: raw.append.and_then(|append| self.append(table, append)),
            qemu_args: raw.qemu_args.and_then(|args| self.qemu_args(table, args)),
            modules: raw.modules.and_then(|modules| self.modules(table, modules)),
            devices: AskedDevices {
                machine: raw.machine.map(|machine| self.asked(machine)),
                transport: raw.transport.map(|transport| self.asked(transport)),
                share: raw.share.map(|share| self.asked(share)),
            },
        };
        let devices = settings.devices.clone().or(&defaults.devices);
        if let (Some(why), Some(at)) = (devices.contradiction(), contradictory) {
            let table = table.trim_end_matches(['.', ':', ' ']);
            self.problem(&at, format!("{table}: {why}"));
        }
        settings
    }

    fn asked<T>(&self, value: Spanned<T>) -> Asked<T> {
        Asked {
            by: self.place(&value.span()),
            value: value.into_inner(),
        }
    }

    /// The file and the line, for messages about problems that show only later.
    fn place(&self, at: &Range<usize>) -> String {
        format!("{}:{}", self.origin, self.line(at))
    }

    fn memory(&mut self, table: &str, memory: &Spanned<String>) -> Option<Asked<MemorySize>> {
        match memory.get_ref().parse() {
            Ok(value) => Some(Asked {
                value,
                by: self.place(&memory.span()),
            }),
            Err(error) => {
                self.problem(&memory.span(), format!("{table}memory: {error}"));
                None
            }
        }
    }

    fn cpus(&mut self, table: &str, cpus: &Spanned<u32>) -> Option<Asked<u32>> {
        if (1..=256).contains(cpus.get_ref()) {
            return Some(self.asked(cpus.clone()));
        }
        self.problem(
            &cpus.span(),
            format!("{table}cpus is out of range; allowed: 1 to 256"),
        );
        None
    }

    fn cpu(&mut self, table: &str, cpu: Spanned<String>) -> Option<Asked<String>> {
        if cpu.get_ref().is_empty() || has_control(cpu.get_ref()) {
            self.problem(
                &cpu.span(),
                format!(
                    "{table}cpu is {:?}; allowed: a model as for QEMU's -cpu, such as \"max\"",
                    cpu.get_ref()
                ),
            );
            return None;
        }
        Some(self.asked(cpu))
    }

    fn append(&mut self, table: &str, append: Spanned<String>) -> Option<Asked<String>> {
        if has_control(append.get_ref()) {
            self.problem(
                &append.span(),
                format!(
                    "{table}append has control characters; allowed: arguments of the kernel, \
                     separated by blanks"
                ),
            );
            return None;
        }
        Some(self.asked(append))
    }

    fn qemu_args(
        &mut self,
        table: &str,
        args: Spanned<Vec<Spanned<String>>>,
    ) -> Option<Asked<Vec<String>>> {
        let before = self.count();
        let by = self.place(&args.span());
        let args = args.into_inner();
        for (index, arg) in args.iter().enumerate() {
            let value = args.get(index + 1).map(|next| next.get_ref().as_str());
            if let Some(taken) = qemu_args::taken(arg.get_ref(), value) {
                self.problem(&arg.span(), format!("{table}qemu-args: {taken}"));
            }
            if arg.get_ref().contains('\0') {
                self.problem(
                    &arg.span(),
                    format!("{table}qemu-args: no argument of a program can contain a NUL"),
                );
            }
        }
        (self.count() == before).then(|| Asked {
            value: args.into_iter().map(Spanned::into_inner).collect(),
            by,
        })
    }

    fn modules(
        &mut self,
        table: &str,
        modules: Spanned<Vec<Spanned<String>>>,
    ) -> Option<Asked<Vec<String>>> {
        let before = self.count();
        let by = self.place(&modules.span());
        for module in modules.get_ref() {
            let name = module.get_ref();
            // modprobe would take it for an option, or for several.
            let bad = name.is_empty()
                || name.starts_with('-')
                || name
                    .chars()
                    .any(|c| c == '/' || c.is_whitespace() || c.is_control());
            if bad {
                self.problem(
                    &module.span(),
                    format!(
                        "{table}modules: {name:?} is not the name of a module; allowed: names as \
                         lsmod prints them, such as \"xfs\""
                    ),
                );
            }
        }
        (self.count() == before).then(|| Asked {
            value: modules
                .into_inner()
                .into_iter()
                .map(Spanned::into_inner)
                .collect(),
            by,
        })
    }
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
