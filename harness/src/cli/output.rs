//! Printing. The standard library's `println!` panics on a closed pipe, since Rust programs ignore
//! SIGPIPE; nothing here does.

use std::io::{self, Write};

use super::Failure;
use crate::exit_code;

/// Standard output; ignores a reader that has closed the pipe (`kiln list | head -1`).
#[derive(Debug)]
pub(super) struct Stdout(io::Stdout);

/// Standard output, as a writer.
pub(super) fn stdout() -> Stdout {
    Stdout(io::stdout())
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        unless_gone(self.0.write(bytes), bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        unless_gone(self.0.flush(), ())
    }
}

fn unless_gone<T>(written: io::Result<T>, all: T) -> io::Result<T> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(all),
        written => written,
    }
}

/// Prints `text` to standard output; errors name it as `what`.
pub(super) fn print(what: &str, text: &str) -> Result<(), Failure> {
    let mut out = stdout();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| {
            Failure::new(
                exit_code::SETUP_FAILED,
                format!("cannot write {what}: {error}"),
            )
        })
}

/// Prints a line, or a few, to the standard output.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    print("to stdout", &format!("{text}\n"))
}

/// Prints a line to standard error. Ignores errors: if it is closed, nobody reads it.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_has_gone_ends_quietly_and_a_full_disk_does_not() {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(unless_gone(Err(gone()), 3).ok(), Some(3));
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        assert!(unless_gone(Err(full()), 3).is_err());
    }
}
