//! Bytes as text.

/// Decodes UTF-8 like Python's `errors="backslashreplace"`: each invalid byte becomes `\xNN`.
pub fn decode(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_not_utf8_are_escaped() {
        assert_eq!(decode(b"a\xffb\xc3\xa4"), "a\\xffb\u{e4}");
    }
}
