//! Reads numbers and words in an image.

/// The number at `offset`, least significant byte first.
pub(super) fn u16_at(data: &[u8], offset: usize) -> Option<u16> {
    let bytes = data.get(offset..)?.first_chunk()?;
    Some(u16::from_le_bytes(*bytes))
}

/// The number at `offset`, least significant byte first.
pub(super) fn u32_at(data: &[u8], offset: usize) -> Option<u32> {
    let bytes = data.get(offset..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

/// The first word of a version text. A release has at most 64 bytes (`__NEW_UTS_LEN`), which must
/// be printable, because it becomes part of a path.
pub(super) fn release_word(text: &[u8]) -> Option<String> {
    let text = &text[..text.len().min(65)];
    let end = text
        .iter()
        .position(|byte| matches!(byte, 0 | b' ' | b'\n'))?;
    let word = &text[..end];
    let names_a_directory = !matches!(word, b"" | b"." | b"..");
    (names_a_directory
        && word
            .iter()
            .all(|&byte| byte.is_ascii_graphic() && byte != b'/'))
    .then(|| String::from_utf8_lossy(word).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_that_could_leave_its_directory_is_refused() {
        assert_eq!(release_word(b".. x"), None);
        assert_eq!(release_word(b"../../etc passwd\0"), None);
        assert_eq!(release_word(b"without-end"), None);
        assert_eq!(release_word(b" "), None);
    }
}
