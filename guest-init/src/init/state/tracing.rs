//! tracefs: instances, events that tests define, enabled events, tracers.

use std::ffi::CString;

use guest_init::message::RemnantKind::Tracing as Kind;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use rustix::fs::{AtFlags, OFlags, unlinkat};

use super::found::Found;
use super::settings::Form;
use crate::init::kept::{Kept, View, text};
use crate::init::tree;

const PLACE: &str = "/sys/kernel/tracing";
/// How many reads to do at most; each gives some hundreds of events.
const READS: usize = 100;
/// How many rounds of removing to try: an event may depend on another.
const ROUNDS: usize = 3;
/// Files to write back as they were read.
const FILES: [(&str, Form); 3] = [
    ("current_tracer", Form::Plain),
    ("tracing_on", Form::Plain),
    ("trace_clock", Form::Chosen),
];
/// Files that are empty, or say so in words, until a test writes to them. Opening them with
/// `O_TRUNC` empties them again.
const LISTS: [&str; 3] = ["set_event", "set_ftrace_pid", "set_event_pid"];
/// The same, but reading gives the content at the time of opening (`ftrace_regex_open` of
/// kernel/trace/ftrace.c), and opening is slow.
const FILTERS: [&str; 4] = [
    "set_ftrace_filter",
    "set_ftrace_notrace",
    "set_graph_function",
    "set_graph_notrace",
];
/// Files to write back if something was written to them.
const WHEN_WRITTEN: [&str; 6] = [
    "buffer_percent",
    "max_graph_depth",
    "saved_cmdlines_size",
    "tracing_cpumask",
    "tracing_thresh",
    "tracing_max_latency",
];
/// Files that trigger an action, or that are compared.
const HARMLESS: [&str; 8] = [
    "error_log",
    "synthetic_events",
    "trace",
    "trace_marker",
    "trace_marker_raw",
    "trace_options",
    "kprobe_events",
    "uprobe_events",
];
/// Since Linux 5.0 the first contains all of the others.
const DYNAMIC: [&str; 3] = ["dynamic_events", "kprobe_events", "uprobe_events"];

#[derive(Debug)]
pub(super) struct Tracing(Option<Trace>);

#[derive(Debug)]
struct Trace {
    view: View,
    instances: Option<(u64, Vec<CString>)>,
    dynamic: Option<(&'static str, Kept, Vec<u8>)>,
    lists: Vec<(&'static str, Kept, Vec<u8>)>,
    files: Vec<(&'static str, Form, Kept, Vec<u8>)>,
    options: Option<(Kept, Vec<u8>)>,
    /// Watches writes to the files at the top of tracefs, inotify(7).
    written: Option<Inotify>,
    /// Of [`FILTERS`] and [`WHEN_WRITTEN`].
    values: Vec<(&'static str, Vec<u8>)>,
}

impl Tracing {
    pub(super) fn take() -> Self {
        // Debugfs mounts it separately as soon as somebody looks there.
        let view = View::of(PLACE).filter(|view| view.stat("trace").is_some());
        Self(view.map(Trace::take))
    }

    pub(super) fn restore(&mut self, found: &mut Found) {
        if let Some(trace) = &mut self.0 {
            trace.restore(found);
        }
    }
}

impl Trace {
    fn take(view: View) -> Self {
        let read = |path: &'static str| {
            let file = view.keep(path)?;
            let value = file.read()?;
            Some((path, file, value))
        };
        Self {
            instances: instances(&view).zip(view.names("instances")),
            dynamic: DYNAMIC.into_iter().find_map(read),
            lists: LISTS.into_iter().filter_map(read).collect(),
            files: FILES
                .into_iter()
                .filter_map(|(path, form)| {
                    read(path).map(|(path, file, value)| (path, form, file, value))
                })
                .collect(),
            options: read("trace_options").map(|(_, file, value)| (file, value)),
            values: FILTERS
                .into_iter()
                .chain(WHEN_WRITTEN)
                .filter_map(|path| Some((path, view.read(path)?)))
                .collect(),
            written: watch(),
            view,
        }
    }

    fn restore(&mut self, found: &mut Found) {
        self.restore_instances(found);
        for (path, form, file, was) in &self.files {
            let Some(now) = file.read().filter(|now| now != was) else {
                continue;
            };
            if let Some(value) = form.to_write(was) {
                self.view.write(path, OFlags::empty(), &value);
            }
            let gone = file.read().as_ref() == Some(was);
            let value = form.to_write(&now).unwrap_or(now);
            found.add(Kind, &format!("{path} {}", text(&value)), gone);
        }
        for (path, file, was) in &self.lists {
            let Some(now) = file.read().filter(|now| now != was) else {
                continue;
            };
            self.view.open(path, OFlags::WRONLY | OFlags::TRUNC);
            let gone = file.read().as_ref() == Some(was);
            let first = text(now.split(|&byte| byte == b'\n').next().unwrap_or_default());
            found.add(Kind, &format!("{path} {first}"), gone);
        }
        if let Some((file, was)) = &self.options
            && let Some(now) = file.read().filter(|now| now != was)
        {
            for option in lost_lines(was, &now) {
                self.view
                    .write("trace_options", OFlags::empty(), option.as_bytes());
            }
            let gone = file.read().as_ref() == Some(was);
            let set = lost_lines(&now, was).join(" ");
            found.add(Kind, &format!("trace_options {set}"), gone);
        }
        self.restore_dynamic(found);
        self.restore_written(found);
    }

    fn restore_written(&mut self, found: &mut Found) {
        let Some(names) = self.written.as_ref().map(names) else {
            return;
        };
        for name in &names {
            if let Some((path, was)) = self.values.iter().find(|(path, _)| path == name) {
                let Some(now) = self.view.read(path).filter(|now| now != was) else {
                    continue;
                };
                if FILTERS.contains(path) {
                    self.view.open(path, OFlags::WRONLY | OFlags::TRUNC);
                } else {
                    let value = was.trim_ascii_end();
                    self.view.write(path, OFlags::empty(), value);
                }
                let gone = self.view.read(path).as_ref() == Some(was);
                let first = text(now.split(|&byte| byte == b'\n').next().unwrap_or_default());
                found.add(Kind, &format!("{path} {first}"), gone);
                continue;
            }
            let known = HARMLESS
                .iter()
                .chain(&LISTS)
                .chain(&DYNAMIC)
                .any(|known| known == name)
                || FILES.iter().any(|(path, _)| path == name);
            if !known {
                found.add(Kind, name, false);
            }
        }
        // The writes just now were our own.
        if !names.is_empty() {
            self.written = watch();
        }
    }

    fn restore_instances(&mut self, found: &mut Found) {
        let Some((links, known)) = &self.instances else {
            return;
        };
        if instances(&self.view) == Some(*links) {
            return;
        }
        for name in self.view.names("instances").unwrap_or_default() {
            if known.contains(&name) {
                continue;
            }
            let name = name.to_string_lossy();
            let path = format!("instances/{name}");
            let gone = !found.late() && unlinkat(self.view.fd(), &path, AtFlags::REMOVEDIR).is_ok();
            found.add(Kind, &format!("instance {name}"), gone);
        }
    }

    fn restore_dynamic(&mut self, found: &mut Found) {
        let Some((path, file, was)) = &self.dynamic else {
            return;
        };
        let Some(first) = file.read().filter(|now| now != was) else {
            return;
        };
        let all = lost_lines(&first, was);
        let mut left = all.clone();
        for _ in 0..ROUNDS {
            for line in &left {
                if let Some(removal) = removal(line)
                    && !found.late()
                {
                    self.view.write(path, OFlags::APPEND, removal.as_bytes());
                }
            }
            left = lost_lines(&file.read().unwrap_or_default(), was);
            if left.is_empty() {
                break;
            }
        }
        for line in all {
            let name = line.split(' ').next().unwrap_or_default();
            found.add(Kind, &format!("event {name}"), !left.contains(&line));
        }
    }
}

fn watch() -> Option<Inotify> {
    let watch = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).ok()?;
    watch.add_watch(PLACE, AddWatchFlags::IN_MODIFY).ok()?;
    Some(watch)
}

/// The files that were written to, each once.
fn names(watch: &Inotify) -> Vec<String> {
    let mut names = Vec::new();
    for _ in 0..READS {
        let Ok(events) = watch.read_events() else {
            break;
        };
        for event in events {
            let name = event.name.map(|name| name.to_string_lossy().into_owned());
            names.extend(name.filter(|name| !names.contains(name)));
        }
    }
    names
}

/// Number of links of the directory, which counts those in it.
fn instances(view: &View) -> Option<u64> {
    view.stat("instances").map(|stat| tree::links(&stat))
}

/// Lines of the first text that are not in the second.
fn lost_lines(first: &[u8], second: &[u8]) -> Vec<String> {
    let second: Vec<&[u8]> = second.split(|&byte| byte == b'\n').collect();
    first
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty() && !second.contains(line))
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect()
}

/// What to write to remove an event: for `p:GROUP/NAME WHERE …` it is `-:GROUP/NAME` (kernel doc,
/// trace/kprobetrace).
fn removal(line: &str) -> Option<String> {
    let (_, name) = line.split(' ').next()?.split_once(':')?;
    Some(format!("-:{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_removed_by_its_name() {
        let probe = "p:kprobes/left do_nanosleep+4 arg=%di";
        assert_eq!(removal(probe).as_deref(), Some("-:kprobes/left"));
        let probe = "r16:uprobes/p_bash_0x4245c0 /bin/bash:0x4245c0";
        assert_eq!(removal(probe).as_deref(), Some("-:uprobes/p_bash_0x4245c0"));
        assert_eq!(
            removal("s:synthetic/a int x").as_deref(),
            Some("-:synthetic/a")
        );
        assert_eq!(removal("nonsense"), None);
    }

    #[test]
    fn new_lines_are_found_among_those_that_were_there() {
        let now = b"a:b\np:kprobes/x y\n";
        assert_eq!(lost_lines(now, b"a:b\n"), ["p:kprobes/x y"]);
        assert!(lost_lines(b"", now).is_empty());
    }
}
