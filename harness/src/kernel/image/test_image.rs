//! Images for tests.

/// A minimal bzImage with a release, and a payload that is left to the guest.
pub(crate) fn image(release: &str) -> Vec<u8> {
    const PAYLOAD: &[u8] = b"a payload";
    let mut bytes = bare_image(release);
    bytes[0x24c] = PAYLOAD.len().to_le_bytes()[0];
    bytes.extend_from_slice(PAYLOAD);
    bytes
}

/// An image that says only its release.
pub(crate) fn bare_image(release: &str) -> Vec<u8> {
    let mut bytes = vec![0; 0x400];
    bytes[0x1f1] = 1;
    bytes[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    bytes[0x202..0x206].copy_from_slice(b"HdrS");
    bytes[0x206..0x208].copy_from_slice(&0x020f_u16.to_le_bytes());
    bytes[0x236] = 1;
    bytes[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
    let version = format!("{release} (build@host) #1 SMP\0");
    bytes[0x300..0x300 + version.len()].copy_from_slice(version.as_bytes());
    bytes
}
