//! Connects a guest to a port of the host's loopback interface: QEMU starts one of these for each
//! connection, with the guest at its standard input and output.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::time::Duration;

use clap::Args;

/// Name of the hidden subcommand.
pub const SUBCOMMAND: &str = "relay";

/// How long the host may go on to send after the guest's last byte.
const GRACE: Duration = Duration::from_secs(10);

/// The port.
#[derive(Debug, Clone, Copy, Args)]
pub struct RelayOptions {
    /// Of the loopback interface
    port: u16,
}

/// The command for QEMU, which it splits as a shell does.
pub(super) fn command(port: u16) -> OsString {
    let kiln = std::env::current_exe().unwrap_or_else(|_| "kiln".into());
    let quoter = shlex::bytes::Quoter::new().allow_nul(true);
    let quoted = quoter.quote(kiln.as_os_str().as_bytes());
    let mut command = quoted.unwrap_or_default().into_owned();
    command.extend(format!(" {SUBCOMMAND} {port}").into_bytes());
    OsString::from_vec(command)
}

/// Passes on both directions until both have ended; the host's at most ten seconds after the guest's.
pub fn serve(options: RelayOptions) -> io::Result<()> {
    let mut host = TcpStream::connect((Ipv4Addr::LOCALHOST, options.port))?;
    let mut to_host = host.try_clone()?;
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut to_host);
        let _ = to_host.shutdown(Shutdown::Write);
        // The guest wants nothing more, or its VM has ended, which looks the same.
        std::thread::sleep(GRACE);
        std::process::exit(0);
    });
    // Not Rust's stdout, which waits for the end of a line.
    let mut guest = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    io::copy(&mut host, &mut guest)?;
    Ok(())
}
