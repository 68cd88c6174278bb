//! `LINUX_KERNEL_VERSION`, as libbpf finds it.

/// The code of a version such as `6.1.0-50-cloud-amd64`.
pub fn code(version: &str) -> Option<u32> {
    let mut parts = version.splitn(3, '.').map(|part| {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        part[..digits].parse::<u32>().ok()
    });
    let (major, minor) = (parts.next()??, parts.next()??);
    let patch = parts.next().flatten().unwrap_or(0);
    Some((major << 16) + (minor << 8) + patch.min(255))
}

/// The code of the kernel in this image. A release of Debian's does not say which patch level it
/// is of, its banner does: `… Debian 6.1.192-3 (2026-…)`; libbpf knows that.
pub fn of_image(vmlinux: &[u8]) -> Option<u32> {
    const BANNER: &[u8] = b"Linux version ";
    memchr::memmem::find_iter(vmlinux, BANNER).find_map(|at| {
        let line = &vmlinux[at..vmlinux.len().min(at + 1024)];
        let line = &line[..memchr::memchr2(0, b'\n', line)?];
        let line = std::str::from_utf8(line).ok()?;
        let debian = line.rsplit_once(" Debian ").map(|(_, version)| version);
        code(debian.or_else(|| line.get(BANNER.len()..))?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_becomes_what_programs_compare() {
        assert_eq!(code("6.1.0-50-cloud-amd64"), Some(0x06_01_00));
        assert_eq!(code("5.10.262"), Some(0x05_0a_ff));
        assert_eq!(code("7.3-rc1"), Some(0x07_03_00));
        assert_eq!(code("unknown"), None);
        let banner = b"xLinux version 6.1.0-50-cloud-amd64 (debian-kernel@lists.debian.org) \
            (gcc-12 (Debian 12.2.0-14) 12.2.0) #1 SMP PREEMPT_DYNAMIC Debian 6.1.192-3 (2026-01-01)\n";
        assert_eq!(of_image(banner), Some(0x06_01_c0));
        assert_eq!(
            of_image(b"Linux version 6.12.4 (x@y) #1 SMP\n"),
            Some(0x06_0c_04)
        );
    }
}
