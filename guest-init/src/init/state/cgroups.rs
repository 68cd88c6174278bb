//! Cgroups that do not belong to a job, and the controllers that the root cgroup enables for its
//! children.

use std::ffi::CString;

use guest_init::message::RemnantKind::{Cgroup as Kind, Setting};
use rustix::fs::OFlags;

use super::found::{Found, beyond};
use crate::init::kept::{Kept, View, text};
use crate::init::tree::{self, Budget};

/// Most cgroups to remove.
const MOST: usize = 2000;

#[derive(Debug)]
pub(super) struct Cgroups(Option<Known>);

#[derive(Debug)]
struct Known {
    view: View,
    /// Number of links of the directory, which counts the cgroups in it.
    links: u64,
    cgroups: Vec<CString>,
    control: Option<(Kept, Vec<u8>)>,
}

impl Cgroups {
    pub(super) fn take() -> Self {
        let known = || {
            let view = View::of("/sys/fs/cgroup")?;
            let control = view.keep("cgroup.subtree_control").and_then(|file| {
                let value = file.read()?;
                Some((file, value))
            });
            Some(Known {
                links: links(&view)?,
                cgroups: directories(&view),
                control,
                view,
            })
        };
        Self(known())
    }

    pub(super) fn restore(&mut self, found: &mut Found) {
        let Some(known) = &mut self.0 else { return };
        if links(&known.view) != Some(known.links) {
            for name in beyond(&directories(&known.view), &known.cgroups) {
                let mut budget = Budget::new(MOST, found.deadline);
                let gone = tree::remove_directories(known.view.fd(), name, &mut budget);
                found.add(Kind, &name.to_string_lossy(), gone);
            }
            known.links = links(&known.view).unwrap_or_default();
        }
        let Some((file, was)) = &known.control else {
            return;
        };
        let Some(now) = file.read().filter(|now| now != was) else {
            return;
        };
        for change in changes(&text(&now), &text(was)) {
            let path = "cgroup.subtree_control";
            known.view.write(path, OFlags::empty(), change.as_bytes());
        }
        let gone = file.read().as_ref() == Some(was);
        found.add(
            Setting,
            &format!("cgroup.subtree_control to {}", text(&now)),
            gone,
        );
    }
}

/// What to write to change the first list of controllers into the second.
fn changes(from: &str, to: &str) -> Vec<String> {
    let from: Vec<&str> = from.split_ascii_whitespace().collect();
    let to: Vec<&str> = to.split_ascii_whitespace().collect();
    let less = beyond(&from, &to).map(|name| format!("-{name}"));
    less.chain(beyond(&to, &from).map(|name| format!("+{name}")))
        .collect()
}

fn links(view: &View) -> Option<u64> {
    view.stat_self().map(|stat| tree::links(&stat))
}

fn directories(view: &View) -> Vec<CString> {
    let names = view.names(".").unwrap_or_default();
    names
        .into_iter()
        .filter(|name| tree::is_directory(view.fd(), name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_are_taken_away_and_given_back() {
        assert_eq!(changes("cpu memory", "cpu io"), ["-memory", "+io"]);
        assert!(changes("cpu", "cpu").is_empty());
    }
}
