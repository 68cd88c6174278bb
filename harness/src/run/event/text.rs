//! Texts of a guest, limited in size.

use crate::suite::decode;

/// Maximum size in bytes of one guest text (output, details, console) in an event.
pub const MAX_TEXT: usize = 64 * 1024;

/// Guest bytes as text of at most about [`MAX_TEXT`] bytes.
///
/// Bytes that are not UTF-8 become `\xNN`. Of a long text the beginning and the end stay, since
/// errors may be at either; a line between them says what is missing.
pub fn bounded_text(bytes: &[u8]) -> String {
    if bytes.len() <= MAX_TEXT {
        return decode(bytes);
    }
    let half = MAX_TEXT / 2;
    let (head, rest) = bytes.split_at(half);
    let (middle, tail) = rest.split_at(rest.len() - half);
    format!(
        "{}\n[{} bytes left out]\n{}",
        decode(head),
        middle.len(),
        decode(tail)
    )
}
