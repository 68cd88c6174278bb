//! Connects a guest to a port of the host's loopback interface: QEMU starts one of these for each
//! connection, with the guest at its standard input and output.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use clap::Args;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Name of the hidden subcommand.
pub const SUBCOMMAND: &str = "relay";

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

/// Passes on both directions until both have ended, or QEMU has.
pub fn serve(options: RelayOptions) -> io::Result<()> {
    let mut host = TcpStream::connect((Ipv4Addr::LOCALHOST, options.port))?;
    let mut to_host = host.try_clone()?;
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut to_host);
        let _ = to_host.shutdown(Shutdown::Write);
    });
    std::thread::spawn(|| {
        // Only a hang-up wakes this: QEMU has ended, or dropped the connection.
        let stdin = io::stdin();
        let mut ends = [PollFd::new(
            std::os::fd::AsFd::as_fd(&stdin),
            PollFlags::empty(),
        )];
        while poll(&mut ends, PollTimeout::NONE) == Err(nix::errno::Errno::EINTR) {}
        std::process::exit(0);
    });
    io::copy(&mut host, &mut io::stdout().lock())?;
    Ok(())
}
