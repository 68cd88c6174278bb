//! The door of a VM that a kiln runs for itself: others may start programs there beside its own, such
//! as `kiln shell --attach`.

use std::io;
use std::path::Path;

use tokio::net::UnixListener;
use tokio::task::JoinHandle;

use super::desk::{Desk, Inbound};
use super::place::{self, Error};
use super::switchboard::Switchboard;
use super::wire::News;
use crate::vm::card::ATTACH_SOCKET;
use crate::vm::control::{SIDE, Side};
use crate::vm::machine::Vm;

/// Open until it is dropped, which ends what came in through it.
#[derive(Debug)]
pub struct Door(JoinHandle<()>);

impl Door {
    /// Listens in the VM's own directory.
    pub fn open(vm: &mut Vm) -> Result<Option<Self>, Error> {
        let Some(side) = vm.control.take_side() else {
            return Ok(None);
        };
        let socket = vm.spec.dir().join(ATTACH_SOCKET);
        let listener = place::listen(&socket)?;
        Ok(Some(Self(tokio::spawn(serve(listener, side)))))
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Lets clients of a kept VM in by the door of its directory, too.
pub fn link(keeper: &Path, vm: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(keeper, vm.join(ATTACH_SOCKET))
}

async fn serve(listener: UnixListener, mut side: Side) {
    // What belongs to the one who runs the VM is theirs to undo.
    let (mut desk, mut inbound) = Desk::new(side.requests, Switchboard::after(SIDE), false);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => desk.welcome(stream),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            },
            event = side.events.recv() => match event {
                Some(event) => if let Some(client) = desk.event(event) {
                    desk.dismiss(client);
                },
                None => break,
            },
            Some((client, request)) = inbound.recv() => {
                // The end of the VM is not theirs to ask for: `kiln stop` is.
                if desk.inbound(client, request) {
                    desk.inbound(client, Inbound::Gone);
                }
            }
        }
    }
    desk.tell_all(&News::Lost {
        text: "the VM has ended".to_owned(),
    });
    desk.clients.clear();
    while desk.tasks.join_next().await.is_some() {}
}
