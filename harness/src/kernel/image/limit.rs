//! How large an image may be.

/// No image is larger in bytes, packed or not: one that claims to be is damaged or something else.
pub(super) const MAX_IMAGE: u64 = 1 << 30;
