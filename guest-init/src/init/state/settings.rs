//! Kernel settings outside `/proc/sys`: files to read and to write back.

use guest_init::message::RemnantKind::Setting;
use rustix::fs::OFlags;

use super::found::Found;
use crate::init::kept::{Kept, View, text};

/// How a file shows its value, and how to set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As it is written.
    Plain,
    /// The one in brackets among all choices.
    Chosen,
    /// It cannot be undone.
    OneWay,
}

/// The mount, the path below it, the form. Files that a kernel does not have are skipped.
const SETTINGS: &[(&str, &str, Form)] = &[
    // Every process of a test inherits it.
    ("/proc", "1/oom_score_adj", Form::Plain),
    (
        "/sys",
        "kernel/mm/transparent_hugepage/enabled",
        Form::Chosen,
    ),
    (
        "/sys",
        "kernel/mm/transparent_hugepage/defrag",
        Form::Chosen,
    ),
    ("/sys", "kernel/mm/ksm/run", Form::Plain),
    ("/sys", "devices/system/cpu/online", Form::OneWay),
    // A panic would start the kernel that was loaded.
    ("/sys", "kernel/kexec_loaded", Form::OneWay),
    // Without timestamps on the console, its lines are harder to recognise.
    ("/sys", "module/printk/parameters/time", Form::Plain),
    (
        "/sys",
        "module/printk/parameters/ignore_loglevel",
        Form::Plain,
    ),
    ("/sys/kernel/security", "lockdown", Form::OneWay),
    ("/sys/fs/selinux", "enforce", Form::Plain),
    ("/sys/kernel/debug", "kprobes/enabled", Form::Plain),
];

#[derive(Debug)]
struct One {
    view: View,
    path: &'static str,
    form: Form,
    file: Kept,
    value: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Settings(Vec<One>);

/// Whether a path of sysfs, without the mount, is one of [`SETTINGS`].
pub(super) fn is_compared(path: &str) -> bool {
    SETTINGS
        .iter()
        .any(|(mount, below, _)| *mount == "/sys" && *below == path)
}

impl Settings {
    pub(super) fn take() -> Self {
        let one = |&(mount, path, form): &(&'static str, &'static str, Form)| {
            let view = View::of(mount)?;
            let file = view.keep(path)?;
            let value = file.read()?;
            Some(One {
                view,
                path,
                form,
                file,
                value,
            })
        };
        Self(SETTINGS.iter().filter_map(one).collect())
    }

    pub(super) fn restore(&mut self, found: &mut Found) {
        for one in &self.0 {
            let Some(now) = one.file.read().filter(|now| *now != one.value) else {
                continue;
            };
            if let Some(value) = one.form.to_write(&one.value) {
                one.view.write(one.path, OFlags::empty(), &value);
            }
            let gone = one.file.read().as_ref() == Some(&one.value);
            let value = one.form.to_write(&now).unwrap_or(now);
            found.add(Setting, &format!("{} to {}", one.path, text(&value)), gone);
        }
    }
}

impl Form {
    /// What to write so that the file shows this again; `None` if that is impossible.
    pub(super) fn to_write(self, said: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Plain => Some(said.trim_ascii_end().to_vec()),
            Self::Chosen => {
                let from = said.iter().position(|&byte| byte == b'[')? + 1;
                let rest = said.get(from..)?;
                let to = rest.iter().position(|&byte| byte == b']')?;
                rest.get(..to).map(<[u8]>::to_vec)
            }
            Self::OneWay => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_in_brackets_is_written() {
        let said = b"always [madvise] never\n";
        assert_eq!(Form::Chosen.to_write(said), Some(b"madvise".to_vec()));
        assert_eq!(Form::Chosen.to_write(b"always [madv"), None);
        assert_eq!(Form::Plain.to_write(b"7 4\t1\n"), Some(b"7 4\t1".to_vec()));
        assert_eq!(Form::OneWay.to_write(b"1\n"), None);
    }
}
