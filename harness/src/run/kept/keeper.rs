//! Keeps a VM for its clients.

use std::time::Duration;

use guest_init::message::GuestEvent;
use tokio::net::UnixListener;
use tokio::time::{sleep_until, timeout};

use super::desk::{Desk, Inbox};
use super::switchboard::Switchboard;
use super::wire::{MAX_TEXT, News};
use crate::run::leftovers;
use crate::vm::control::Error;
use crate::vm::cpu;
use crate::vm::machine::Vm;
use crate::vm::relief::{self, RAISE_LIMIT};

/// How long clients may take to read their last message.
const FAREWELL: Duration = Duration::from_secs(5);

/// Why a keeper ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Nobody has used the VM for as long as it may be idle.
    Idle,
    /// A client or a signal asked for it.
    Asked,
    /// What a command did to the VM cannot be undone, and its last client has gone.
    Unclean,
    /// The VM is lost; its clients know why.
    Lost,
}

/// Keeps `vm`, in which nothing has run yet, for whoever connects to `listener`. Ends when nobody
/// has used it for as long as `idle`, when `asked` to, or when it can no longer be used. Calls `retire`
/// once no new client is wanted, which must remove the socket's name. The VM is stopped afterwards.
pub async fn keep(
    mut vm: Vm,
    listener: UnixListener,
    idle: Duration,
    asked: impl Future,
    retire: impl Fn(),
) -> End {
    let board = Switchboard::default();
    let (mut desk, inbound) = Desk::new(vm.control.requests(), board, true);
    let ended = serve(&mut vm, &mut desk, inbound, &listener, idle, asked, &retire).await;
    retire();
    // Who connects from now on gets an error, and starts another keeper.
    drop(listener);
    let end = match ended {
        Ok(end) => {
            vm.stop().await;
            end
        }
        Err(error) => {
            let evidence = vm.evidence().await;
            let text = format!("{}\n{evidence}", evidence.reason(&error));
            desk.tell_all(&News::Lost {
                text: start_of(text, MAX_TEXT),
            });
            vm.kill().await;
            End::Lost
        }
    };
    // Their channels end, and then the tasks that write.
    desk.clients.clear();
    let written = async { while desk.tasks.join_next().await.is_some() {} };
    let _ = timeout(FAREWELL, written).await;
    end
}

async fn serve(
    vm: &mut Vm,
    desk: &mut Desk,
    mut inbound: Inbox,
    listener: &UnixListener,
    idle: Duration,
    asked: impl Future,
    retire: &impl Fn(),
) -> Result<End, Error> {
    leftovers::take_stock(&mut vm.control).await?;
    let spec = &vm.spec;
    let platform = (spec.kernel.arch, spec.accelerator, spec.cpu.clone());
    let relief = vm.relief.clone();
    let (control, console, lost) = vm.parts();
    tokio::pin!(lost, asked);
    loop {
        if desk.unclean {
            retire();
            if desk.clients.is_empty() {
                return Ok(End::Unclean);
            }
        }
        let idle_until = desk.idle_since + idle;
        tokio::select! {
            loss = &mut lost => return Err(loss.into()),
            _ = &mut asked => return Ok(End::Asked),
            () = sleep_until(idle_until), if desk.clients.is_empty() => return Ok(End::Idle),
            accepted = listener.accept(), if !desk.unclean => match accepted {
                Ok((stream, _)) => desk.welcome(stream),
                // Out of descriptors: the others go on, and the client tries again.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            event = control.next() => {
                let event = event.unwrap_or_else(|| Err(Error::Closed {
                    what: "the next event".to_owned(),
                }));
                let event = match event {
                    Err(Error::Refused(message)) => {
                        tracing::warn!(message, "guest-init refused a request");
                        continue;
                    }
                    event => event?,
                };
                if let GuestEvent::Exited { process, outcome } = &event {
                    let (arch, accelerator, model) = &platform;
                    let lacks = cpu::illegal_instruction(
                        outcome.status.into(),
                        *arch,
                        *accelerator,
                        model.as_deref(),
                    );
                    if let (Some(note), Some(owner)) = (lacks, desk.board.owner(*process)) {
                        desk.note(owner, format!("the command was {note}"));
                    }
                }
                if let Some(client) = desk.event(event) {
                    desk.observe(console).await;
                    if relief.take_refused() {
                        desk.note(client, relief::refusal());
                        desk.note(client, RAISE_LIMIT.to_owned());
                    }
                    desk.dismiss(client);
                }
            },
            Some((client, inbound)) = inbound.recv() => {
                if desk.inbound(client, inbound) {
                    return Ok(End::Asked);
                }
            }
        }
    }
}

/// The start of a text, of at most so many bytes.
fn start_of(mut text: String, most: usize) -> String {
    let fits = |at: &usize| text.is_char_boundary(*at);
    let end = (0..=most.min(text.len())).rev().find(fits);
    text.truncate(end.unwrap_or_default());
    text
}
