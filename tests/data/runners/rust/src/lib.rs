//! Loads a BPF program, with nothing but the C library.

use std::ffi::{c_char, c_int, c_long};

extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

#[cfg(target_arch = "x86_64")]
const BPF: c_long = 321;
#[cfg(target_arch = "aarch64")]
const BPF: c_long = 280;
const BPF_PROG_LOAD: c_int = 5;
const BPF_PROG_TYPE_SOCKET_FILTER: u32 = 1;

/// The part of `union bpf_attr` for `BPF_PROG_LOAD` up to `log_buf`.
#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: *const c_char,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
}

/// Loads a socket filter of these instructions; returns its file descriptor.
pub fn load(instructions: &[u64]) -> std::io::Result<c_int> {
    let attributes = Load {
        prog_type: BPF_PROG_TYPE_SOCKET_FILTER,
        insn_cnt: instructions.len() as u32,
        insns: instructions.as_ptr() as u64,
        license: c"GPL".as_ptr(),
        log_level: 0,
        log_size: 0,
        log_buf: 0,
    };
    // SAFETY: the attributes and the instructions live until the call returns.
    let fd = unsafe { syscall(BPF, BPF_PROG_LOAD, &raw const attributes, size_of::<Load>()) };
    if fd < 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(fd as c_int)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `r0 = 0; exit`.
    const RETURN_ZERO: [u64; 2] = [0xb7, 0x95];

    #[test]
    fn the_kernel_loads_a_program() {
        assert!(load(&RETURN_ZERO).unwrap() > 2);
    }

    #[test]
    fn the_verifier_refuses_a_program_without_an_end() {
        let refused = load(&RETURN_ZERO[..1]).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(22));
    }

    #[test]
    fn the_package_is_where_cargo_says() {
        let dir = std::env::var("CARGO_MANIFEST_DIR").unwrap();
        assert_eq!(std::env::current_dir().unwrap().to_str(), Some(dir.as_str()));
        let fixture = std::fs::read_to_string(format!("{dir}/fixture.txt"));
        assert_eq!(fixture.unwrap(), "found\n");
    }

    #[test]
    fn no_credential_is_here() {
        assert_eq!(std::env::var("SOME_TOKEN").ok(), None);
        assert_eq!(std::env::var("HOME").unwrap(), "/root");
    }

    #[test]
    #[should_panic = "no such"]
    fn a_panic_can_be_right() {
        panic!("no such luck");
    }

    #[test]
    #[ignore = "fails to show how that looks"]
    fn one_and_one_are_three() {
        println!("adding");
        assert_eq!(1 + 1, 3);
    }
}
