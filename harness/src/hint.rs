//! What an error tells its reader to do next.

/// An error that may know its remedy.
///
/// The message (`Display`) says what failed on which thing; the hints say what
/// to do about it, one line each. The CLI renders both in one place.
pub trait Hint: std::error::Error {
    /// Lines that tell the reader what to do next; empty when nothing helps.
    fn hints(&self) -> Vec<String> {
        Vec::new()
    }
}
