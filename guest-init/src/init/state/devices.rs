//! `/dev`: nodes that a test removes, replaces or makes inaccessible, and files that it leaves
//! there. New nodes come from the kernel.

use std::ffi::CString;

use guest_init::message::RemnantKind::File as Kind;
use nix::libc;
use rustix::fs::{AtFlags, FileType, Mode, mknodat};

use super::found::Found;
use super::scratch::{Stamp, Usage, usage};
use crate::init::kept::View;
use crate::init::tree::{self, Budget};

/// Programs die without it, and a test may make it inaccessible.
const NULL: &str = "null";
/// How many entries a test may leave.
const MOST: usize = 2000;

/// The identity of a node, without its times, which change with use.
type Node = (u32, u32, u32, u64);

#[derive(Debug)]
pub(super) struct Devices(Option<Known>);

#[derive(Debug)]
struct Known {
    view: View,
    usage: Option<Usage>,
    /// When something in it was last created, removed or renamed.
    changed: Option<(i64, u64)>,
    nodes: Vec<(CString, Node)>,
}

impl Devices {
    pub(super) fn take() -> Self {
        Self(View::of("/dev").map(|view| Known {
            usage: usage(view.fd()),
            changed: changed(&view),
            nodes: nodes(&view),
            view,
        }))
    }

    pub(super) fn restore(&mut self, found: &mut Found) {
        if let Some(known) = &mut self.0 {
            known.restore(found);
        }
    }
}

impl Known {
    fn restore(&mut self, found: &mut Found) {
        let known = |(one, _): &&(CString, Node)| one.to_bytes() == NULL.as_bytes();
        let null = self.nodes.iter().find(known).map(|(_, node)| *node);
        if usage(self.view.fd()) == self.usage
            && changed(&self.view) == self.changed
            && null == self.view.stat(NULL).map(node)
        {
            return;
        }
        let now = nodes(&self.view);
        let mut budget = Budget::new(MOST, found.deadline);
        for (name, (mode, ..)) in &now {
            let kernel_s = matches!(
                FileType::from_raw_mode(*mode),
                FileType::CharacterDevice | FileType::BlockDevice | FileType::Directory
            );
            if get(&self.nodes, name).is_none()
                && !kernel_s
                && !tree::remove(self.view.fd(), name, &mut budget)
            {
                found.add(Kind, &format!("/dev/{}", name.to_string_lossy()), false);
            }
        }
        for (name, was) in &self.nodes {
            let is = get(&now, name);
            if is == Some(*was) {
                continue;
            }
            let gone = self.put_back(name, *was, is, &mut budget);
            found.add(Kind, &format!("/dev/{}", name.to_string_lossy()), gone);
        }
        self.usage = usage(self.view.fd());
        self.changed = changed(&self.view);
    }

    fn put_back(&self, name: &CString, was: Node, now: Option<Node>, budget: &mut Budget) -> bool {
        let (mode, uid, gid, device) = was;
        let kind = FileType::from_raw_mode(mode);
        if !matches!(kind, FileType::CharacterDevice | FileType::BlockDevice) {
            return false;
        }
        let another =
            now.is_none_or(|now| (now.0 & libc::S_IFMT, now.3) != (mode & libc::S_IFMT, device));
        if another {
            let cleared = now.is_none() || tree::remove(self.view.fd(), name, budget);
            if !cleared || mknodat(self.view.fd(), name, kind, Mode::RUSR, device).is_err() {
                return false;
            }
        }
        let stamp = Stamp::node(mode, uid, gid, device);
        stamp.give(self.view.fd(), name)
    }
}

fn changed(view: &View) -> Option<(i64, u64)> {
    let stat = view.stat_self()?;
    Some((stat.st_mtime, stat.st_mtime_nsec))
}

fn node(stat: rustix::fs::Stat) -> Node {
    (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_rdev)
}

fn get(nodes: &[(CString, Node)], name: &CString) -> Option<Node> {
    nodes
        .iter()
        .find(|(one, _)| one == name)
        .map(|(_, node)| *node)
}

/// Everything directly below `/dev`.
fn nodes(view: &View) -> Vec<(CString, Node)> {
    let names = view.names(".").unwrap_or_default();
    names
        .into_iter()
        .take(MOST)
        .filter_map(|name| {
            let stat = rustix::fs::statat(view.fd(), &*name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
            Some((name, node(stat)))
        })
        .collect()
}
