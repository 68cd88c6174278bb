//! Modules that a test loads, directly or not, and those that it unloads.

use std::ffi::CString;
use std::time::{Duration, Instant};

use guest_init::message::RemnantKind::{LostModule, Module as Kind};
use nix::kmod::{DeleteModuleFlags, delete_module};
use nix::libc;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

use super::found::{Found, beyond};
use crate::init::kept::{Kept, View};

/// How long a user of a module may take to go: the kernel frees an nftables table, for example, in
/// the background (`nft_commit_release` of net/netfilter/nf_tables_api.c).
const SETTLE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(20);
/// How long a module may take to unload: its exit function may do anything.
const UNLOADING: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Modules {
    file: Option<Kept>,
    text: Vec<u8>,
    known: Vec<String>,
}

impl Modules {
    pub(super) fn take() -> Self {
        let file = View::of("/proc").and_then(|proc| proc.keep("modules"));
        let text = file.as_ref().and_then(Kept::read).unwrap_or_default();
        Self {
            known: names(&text),
            file,
            text,
        }
    }

    /// Unloads new modules, and reports only failures: the kernel loads modules by itself on
    /// demand.
    pub(super) fn restore(&mut self, found: &mut Found) {
        let Some(file) = &self.file else { return };
        let mut text = file.read().unwrap_or_default();
        if text == self.text {
            return;
        }
        let deadline = Instant::now() + SETTLE;
        loop {
            // The newest comes first.
            let mut any = false;
            for name in self.beyond(&text) {
                any |= !found.late() && unload(&name);
            }
            text = file.read().unwrap_or_default();
            let over = found.late() || Instant::now() > deadline;
            if self.beyond(&text).is_empty() || (!any && over) {
                break;
            }
            if !any {
                std::thread::sleep(PAUSE);
            }
        }
        for name in self.beyond(&text) {
            found.add(Kind, &name, false);
        }
        for name in beyond(&self.known, &names(&text)) {
            found.add(LostModule, name, false);
        }
        self.text = text;
    }

    fn beyond(&self, text: &[u8]) -> Vec<String> {
        let mut names = names(text);
        names.retain(|name| !self.known.contains(name));
        names
    }
}

/// Unloads a module and returns whether it is gone. Uses a child process, because unloading takes
/// as long as the module likes.
fn unload(name: &str) -> bool {
    let Ok(name) = CString::new(name) else {
        return false;
    };
    // SAFETY: the child makes one system call and ends, which is allowed whatever locks other
    // threads hold (fork(2)).
    match unsafe { fork() } {
        Err(_) => false,
        Ok(ForkResult::Child) => {
            let done = delete_module(&name, DeleteModuleFlags::O_NONBLOCK).is_ok();
            // SAFETY: ends this process without running the parent's exit handlers.
            unsafe { libc::_exit(i32::from(!done)) }
        }
        Ok(ForkResult::Parent { child }) => {
            let deadline = Instant::now() + UNLOADING;
            loop {
                match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
                    Ok(WaitStatus::StillAlive) if Instant::now() < deadline => {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    Ok(WaitStatus::Exited(_, status)) => return status == 0,
                    _ => return false,
                }
            }
        }
    }
}

/// The first column of `/proc/modules`.
fn names(text: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(text)
        .lines()
        .filter_map(|line| Some(line.split(' ').next()?.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_modules_come_in_the_order_in_which_they_can_go() {
        let modules = Modules {
            file: None,
            text: Vec::new(),
            known: vec!["fuse".to_owned()],
        };
        let text = b"nf_tables 200704 0 - Live 0x0\nnfnetlink 20480 1 nf_tables, Live 0x0\n\
                     fuse 1 1 virtiofs, Live 0x0\n";
        assert_eq!(modules.beyond(text), ["nf_tables", "nfnetlink"]);
    }
}
