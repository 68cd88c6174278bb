//! Fresh randomness for a guest that was restored: until then it draws what every other guest of the
//! same state draws.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use nix::libc::c_int;

/// Where the kernel takes it.
const DEVICE: &str = "/dev/urandom";
/// Most bytes of one request.
const MOST: usize = 64;

/// `struct rand_pool_info` of linux/random.h, with room for [`MOST`] bytes.
#[repr(C)]
struct PoolInfo {
    /// In bits.
    entropy_count: c_int,
    /// In bytes.
    buf_size: c_int,
    buf: [u8; MOST],
}

mod ioctls {
    use nix::libc::c_int;

    use super::PoolInfo;

    nix::ioctl_write_ptr_bad!(
        /// RNDADDENTROPY: mixes bytes into the pool, and counts them. Its number has the size of
        /// the two integers alone.
        add,
        nix::request_code_write!(b'R', 0x03, 2 * size_of::<c_int>()),
        PoolInfo
    );
    nix::ioctl_none!(
        /// RNDRESEEDCRNG: what is drawn from now on depends on the pool as it is now.
        reseed,
        b'R',
        0x07
    );
}

/// Adds random bytes to the kernel's pool, [`MOST`] at most, and makes it draw from them from now
/// on.
pub(super) fn add(bytes: &[u8]) -> io::Result<()> {
    let device = File::open(DEVICE)?;
    let info = pool_info(bytes);
    // SAFETY: the kernel reads `buf_size` bytes of `buf`, which has more, and keeps nothing.
    unsafe { ioctls::add(device.as_raw_fd(), &raw const info) }?;
    // SAFETY: this request has no argument.
    unsafe { ioctls::reseed(device.as_raw_fd()) }?;
    Ok(())
}

fn pool_info(bytes: &[u8]) -> PoolInfo {
    let mut info = PoolInfo {
        entropy_count: 0,
        buf_size: 0,
        buf: [0; MOST],
    };
    for (to, from) in info.buf.iter_mut().zip(bytes) {
        *to = *from;
        info.buf_size += 1;
        info.entropy_count += 8;
    }
    info
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bits_of_the_bytes_count_and_what_is_too_much_is_left_out() {
        let info = pool_info(&[7; 3]);
        assert_eq!((info.entropy_count, info.buf_size), (24, 3));
        assert_eq!(info.buf.get(..4), Some(&[7, 7, 7, 0][..]));
        let info = pool_info(&[7; MOST + 1]);
        assert_eq!(info.buf_size, 64);
    }
}
