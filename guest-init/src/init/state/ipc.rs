//! System V IPC objects, and POSIX message queues.

use std::os::fd::AsFd;

use guest_init::message::RemnantKind::Ipc as Kind;
use nix::libc;
use rustix::fs::{AtFlags, unlinkat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::found::{Found, beyond};
use crate::init::kept::{Kept, View};

/// Each read of a list ends after some hundreds of objects.
const ROUNDS: usize = 100;
/// How many objects of a kind to name.
const NAMED: usize = 10;

const LISTS: [(&str, &str, Remove); 3] = [
    ("sysvipc/shm", "shared memory", remove_memory),
    ("sysvipc/sem", "semaphores", remove_semaphores),
    ("sysvipc/msg", "message queue", remove_queue),
];

type Remove = fn(i32) -> bool;

#[derive(Debug)]
struct List {
    file: Kept,
    known: Vec<i32>,
    name: &'static str,
    remove: Remove,
}

#[derive(Debug)]
pub(super) struct Ipc {
    lists: Vec<List>,
    /// A detached mount of mqueue(7), its size and its contents. The size counts its queues
    /// (`mqueue_create_attr` of `ipc/mqueue.c`).
    queues: Option<(View, u64, Vec<Vec<u8>>)>,
}

impl Ipc {
    pub(super) fn take() -> Self {
        let list = |(path, name, remove): (&str, &'static str, Remove)| {
            let file = View::of("/proc")?.keep(path)?;
            let known = ids(&file);
            Some(List {
                file,
                known,
                name,
                remove,
            })
        };
        let queues = queues().and_then(|view| {
            let size = size(&view)?;
            let known = queue_names(&view);
            Some((view, size, known))
        });
        Self {
            lists: LISTS.into_iter().filter_map(list).collect(),
            queues,
        }
    }

    pub(super) fn restore(&mut self, found: &mut Found) {
        for list in &self.lists {
            list.restore(found);
        }
        let Some((view, known_size, known)) = &mut self.queues else {
            return;
        };
        if size(view) == Some(*known_size) {
            return;
        }
        let new = queue_names(view);
        let mut more = 0_usize;
        let mut all_gone = true;
        for (index, name) in beyond(&new, known).enumerate() {
            let gone = !found.late() && unlinkat(view.fd(), &name[..], AtFlags::empty()).is_ok();
            all_gone &= gone;
            if index < NAMED || !gone {
                let name = String::from_utf8_lossy(name);
                found.add(Kind, &format!("message queue /{name}"), gone);
            } else {
                more += 1;
            }
            if !gone {
                break;
            }
        }
        add_more(found, more, all_gone);
        *known_size = size(view).unwrap_or_default();
    }
}

impl List {
    fn restore(&self, found: &mut Found) {
        let mut named = 0;
        let mut more = 0;
        for _ in 0..ROUNDS {
            let now = ids(&self.file);
            let mut new = beyond(&now, &self.known).peekable();
            if new.peek().is_none() {
                return add_more(found, more, true);
            }
            for &id in new {
                let gone = (self.remove)(id);
                if named < NAMED || !gone {
                    named += 1;
                    found.add(Kind, &format!("{} {id}", self.name), gone);
                } else {
                    more += 1;
                }
                if !gone {
                    return;
                }
            }
            if found.late() {
                break;
            }
        }
        add_more(found, more, true);
        if beyond(&ids(&self.file), &self.known).next().is_some() {
            found.add(Kind, &format!("{}: too many", self.name), false);
        }
    }
}

fn add_more(found: &mut Found, more: usize, gone: bool) {
    if more > 0 {
        found.add(Kind, &format!("{more} more"), gone);
    }
}

/// The second column of a list, proc_sysvipc_shm(5).
fn ids(file: &Kept) -> Vec<i32> {
    parse(&file.read().unwrap_or_default())
}

fn parse(list: &[u8]) -> Vec<i32> {
    String::from_utf8_lossy(list)
        .lines()
        .skip(1)
        .filter_map(|line| line.split_ascii_whitespace().nth(1)?.parse().ok())
        .collect()
}

fn remove_memory(id: i32) -> bool {
    // SAFETY: IPC_RMID reads nothing through the pointer (shmctl(2)); neither
    // `nix` nor `rustix` has System V IPC.
    unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) == 0 }
}

fn remove_semaphores(id: i32) -> bool {
    // SAFETY: IPC_RMID takes no fourth argument (semctl(2)).
    unsafe { libc::semctl(id, 0, libc::IPC_RMID) == 0 }
}

fn remove_queue(id: i32) -> bool {
    // SAFETY: IPC_RMID reads nothing through the pointer (msgctl(2)).
    unsafe { libc::msgctl(id, libc::IPC_RMID, std::ptr::null_mut()) == 0 }
}

fn queues() -> Option<View> {
    let context = fsopen("mqueue", FsOpenFlags::FSOPEN_CLOEXEC).ok()?;
    fsconfig_create(context.as_fd()).ok()?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    let fd = fsmount(context.as_fd(), flags, MountAttrFlags::empty()).ok()?;
    Some(View::from_fd(fd))
}

fn size(view: &View) -> Option<u64> {
    u64::try_from(view.stat_self()?.st_size).ok()
}

fn queue_names(view: &View) -> Vec<Vec<u8>> {
    let names = view.names(".").unwrap_or_default();
    names
        .into_iter()
        .map(std::ffi::CString::into_bytes)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stand_in_the_second_column_under_the_heading() {
        let list = b"       key      semid perms      nsems   uid\n\
            \x20        0          3   600          1     0\n\
            1627389953      65539   644          4  1000\n\
            \x20        7";
        assert_eq!(parse(list), [3, 65539]);
        assert!(parse(b"").is_empty());
    }
}
