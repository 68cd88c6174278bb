//! BPF programs and links that outlive the processes that created them: pinned in bpffs, or
//! attached to something that remains.

use std::ffi::CString;
use std::time::{Duration, Instant};

use guest_init::message::RemnantKind::Bpf as Kind;
use nix::libc;
use rustix::fd::{FromRawFd, OwnedFd};

use super::found::{Found, beyond};
use crate::init::kept::View;
use crate::init::tree::{self, Budget};

/// How long the kernel may take to free unreferenced objects: since Linux 6.9 links go after an RCU
/// grace period, and a work queue frees programs of cgroups.
const SETTLE: Duration = Duration::from_millis(500);
/// Most pins to remove.
const MOST_PINS: usize = 2000;
/// Most objects to name.
const NAMED: usize = 20;

// linux/bpf.h
const BPF_PROG_GET_NEXT_ID: libc::c_int = 11;
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_LINK_GET_NEXT_ID: libc::c_int = 31;
/// Bytes of `struct bpf_prog_info` up to `name`, and of that (`BPF_OBJ_NAME_LEN`).
const NAME_AT: usize = 64;
const NAME_LEN: usize = 16;

#[derive(Debug)]
pub(super) struct Bpf {
    fs: Option<View>,
    /// When something at its top was last pinned or removed.
    changed: Changed,
    pins: Vec<CString>,
    /// The highest ids so far. Ids count up (`idr_alloc_cyclic` of `kernel/bpf/syscall.c`).
    program: u32,
    link: u32,
}

impl Bpf {
    pub(super) fn take() -> Self {
        let fs = View::of("/sys/fs/bpf");
        Self {
            pins: fs.as_ref().map(pins).unwrap_or_default(),
            changed: fs.as_ref().and_then(changed),
            fs,
            program: last(BPF_PROG_GET_NEXT_ID),
            link: last(BPF_LINK_GET_NEXT_ID),
        }
    }

    pub(super) fn restore(&mut self, found: &mut Found) {
        if let Some(fs) = &self.fs
            && changed(fs) != self.changed
        {
            for name in beyond(&pins(fs), &self.pins) {
                let mut budget = Budget::new(MOST_PINS, found.deadline);
                let gone = tree::remove(fs.fd(), name, &mut budget);
                let name = name.to_string_lossy();
                found.add(Kind, &format!("/sys/fs/bpf/{name}"), gone);
            }
            self.changed = changed(fs);
        }
        let deadline = Instant::now() + SETTLE;
        while self.is_more() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        if !self.is_more() {
            return;
        }
        for id in after(BPF_PROG_GET_NEXT_ID, self.program).take(NAMED) {
            let name = program_name(id).unwrap_or_default();
            found.add(Kind, &format!("program {id} {name}"), false);
            self.program = id;
        }
        for id in after(BPF_LINK_GET_NEXT_ID, self.link).take(NAMED) {
            found.add(Kind, &format!("link {id}"), false);
            self.link = id;
        }
    }

    fn is_more(&self) -> bool {
        next(BPF_PROG_GET_NEXT_ID, self.program).is_some()
            || next(BPF_LINK_GET_NEXT_ID, self.link).is_some()
    }
}

/// Seconds and nanoseconds.
type Changed = Option<(i64, u64)>;

fn changed(fs: &View) -> Changed {
    let stat = fs.stat_self()?;
    Some((stat.st_mtime, stat.st_mtime_nsec))
}

fn pins(fs: &View) -> Vec<CString> {
    fs.names(".").unwrap_or_default()
}

fn last(command: libc::c_int) -> u32 {
    after(command, 0).last().unwrap_or(0)
}

fn after(command: libc::c_int, id: u32) -> impl Iterator<Item = u32> {
    std::iter::successors(next(command, id), move |id| next(command, *id))
}

/// The id after this one; `None` at the end, or if the kernel has no such objects.
fn next(command: libc::c_int, id: u32) -> Option<u32> {
    // start_id, next_id, open_flags
    let mut attributes = [id, 0, 0];
    bpf(command, &mut attributes).ok()?;
    attributes.get(1).copied()
}

fn program_name(id: u32) -> Option<String> {
    let mut attributes = [id, 0, 0];
    let fd = bpf(BPF_PROG_GET_FD_BY_ID, &mut attributes).ok()?;
    // SAFETY: the kernel has just made this descriptor for us.
    let _fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut info = [0_u8; NAME_AT + NAME_LEN];
    let at = info.as_mut_ptr() as u64;
    let [low, high] = [at & 0xffff_ffff, at >> 32].map(|half| u32::try_from(half).unwrap_or(0));
    // bpf_fd, info_len, info
    let length = u32::try_from(info.len()).ok()?;
    let mut attributes = [u32::try_from(fd).ok()?, length, low, high];
    bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attributes).ok()?;
    let name = info.get(NAME_AT..)?.split(|&byte| byte == 0).next()?;
    Some(String::from_utf8_lossy(name).into_owned())
}

fn bpf<const N: usize>(command: libc::c_int, attributes: &mut [u32; N]) -> nix::Result<i32> {
    // SAFETY: the kernel reads and writes within the size that is given, which is
    // the array's, and for BPF_OBJ_GET_INFO_BY_FD within the buffer of the length
    // in it, which outlives the call. Neither `nix` nor `rustix` has bpf(2).
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            attributes.as_mut_ptr(),
            size_of_val(attributes),
        )
    };
    nix::errno::Errno::result(result).map(|fd| i32::try_from(fd).unwrap_or(-1))
}
