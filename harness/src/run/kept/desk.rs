//! The clients of a VM: passes their requests on to its guest, and the guest's events to them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use guest_init::frame::{self, Decoder, MAX_DATA};
use guest_init::message::{GuestEvent, Request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::switchboard::{ClientId, Order, Switchboard};
use super::wire::{News, Over};
use crate::run::leftovers;
use crate::vm::console::Console;
use crate::vm::control::Requests;

/// Requests of clients that may wait; beyond that, clients do.
const INBOX: usize = 64;
/// Bytes that may wait for a client before the guest stops reading its processes' output, and
/// below which it goes on.
const HOLD_ABOVE: usize = 1024 * 1024;
const RELEASE_BELOW: usize = 256 * 1024;

/// What comes from one client.
pub(super) enum Inbound {
    Request(Request),
    /// It has ended its half of the connection, or has gone.
    Gone,
    /// It has taken enough of what waited for it.
    Drained,
}

/// One client.
pub(super) struct Client {
    news: mpsc::UnboundedSender<Vec<u8>>,
    /// Bytes that wait for it.
    waiting: Arc<AtomicUsize>,
    /// Its processes' output is not read.
    held: bool,
    /// It sends no more requests.
    gone: bool,
    over: Over,
}

/// Sends requests without waiting for the guest, which may wait for us to read its events. Clients
/// bound how many there are: see [`STDIN_WINDOW`](guest_init::message::STDIN_WINDOW).
fn pump(requests: Requests) -> mpsc::UnboundedSender<Request> {
    let (outbox, mut orders) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(request) = orders.recv().await {
            // Who listens to the guest sees that the port is closed.
            if requests.send(&request).await.is_err() {
                return;
            }
        }
    });
    outbox
}

/// What clients ask for, in order.
pub(super) type Inbox = mpsc::Receiver<(ClientId, Inbound)>;

/// The clients, and what they have in the guest.
pub(super) struct Desk {
    pub(super) board: Switchboard,
    pub(super) clients: BTreeMap<ClientId, Client>,
    next_client: ClientId,
    inbox: mpsc::Sender<(ClientId, Inbound)>,
    outbox: mpsc::UnboundedSender<Request>,
    /// What writes to clients.
    pub(super) tasks: JoinSet<()>,
    /// When the last client went.
    pub(super) idle_since: Instant,
    /// Something cannot be undone: no new clients.
    pub(super) unclean: bool,
    /// Whether to undo what a client did once nobody has a job.
    tidies: bool,
}

impl Desk {
    /// Without clients so far. `board` numbers what they have in the guest.
    pub(super) fn new(requests: Requests, board: Switchboard, tidies: bool) -> (Self, Inbox) {
        let (inbox, inbound) = mpsc::channel(INBOX);
        let desk = Self {
            board,
            clients: BTreeMap::new(),
            next_client: 1,
            inbox,
            outbox: pump(requests),
            tasks: JoinSet::new(),
            idle_since: Instant::now(),
            unclean: false,
            tidies,
        };
        (desk, inbound)
    }

    fn send(&self, request: Request) {
        // Who listens to the guest sees that the port is closed.
        let _ = self.outbox.send(request);
    }

    pub(super) fn welcome(&mut self, stream: UnixStream) {
        let id = self.next_client;
        self.next_client += 1;
        let (read, write) = stream.into_split();
        let (news, outgoing) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        tokio::spawn(read_requests(read, id, self.inbox.clone()));
        self.tasks.spawn(write_news(
            write,
            outgoing,
            Arc::clone(&waiting),
            (id, self.inbox.clone()),
        ));
        // Those that have ended.
        while self.tasks.try_join_next().is_some() {}
        self.clients.insert(
            id,
            Client {
                news,
                waiting,
                held: false,
                gone: false,
                over: Over::default(),
            },
        );
        self.tell(id, &News::Welcome);
    }

    /// Takes what comes from a client; true if it asks for the end.
    pub(super) fn inbound(&mut self, id: ClientId, inbound: Inbound) -> bool {
        match inbound {
            Inbound::Request(request) => match self.board.request(id, request) {
                Ok(Order::Send(request)) => self.send(request),
                Ok(Order::Nothing) => {}
                Ok(Order::End) => return true,
                Err(refusal) => self.tell(
                    id,
                    &News::Guest(GuestEvent::Refused {
                        message: refusal.to_string(),
                    }),
                ),
            },
            Inbound::Drained => self.hold(id, false),
            Inbound::Gone => {
                let Some(client) = self.clients.get_mut(&id) else {
                    return false;
                };
                client.gone = true;
                let jobs = self.board.jobs_of(id);
                if jobs.is_empty() {
                    self.dismiss(id);
                }
                for job in jobs {
                    self.send(Request::CloseJob { job });
                }
            }
        }
        false
    }

    /// Passes on an event of the guest. Returns the client whose last job this closed, if it has
    /// gone.
    pub(super) fn event(&mut self, event: GuestEvent) -> Option<ClientId> {
        if let GuestEvent::Tidied { remnants, micros } = &event {
            tracing::debug!(micros, "the guest is tidy");
            self.unclean |= leftovers::stay(remnants);
        }
        let closed = match &event {
            GuestEvent::JobClosed { leftovers, .. } => {
                self.unclean |= leftovers.iter().any(|leftover| !leftover.killed);
                true
            }
            _ => false,
        };
        let (id, event) = self.board.event(event)?;
        self.tell(id, &News::Guest(event));
        if closed && self.tidies && self.board.is_idle() {
            self.send(Request::Tidy);
        }
        let gone = self.clients.get(&id).is_some_and(|client| client.gone);
        (closed && gone && self.board.jobs_of(id).is_empty()).then_some(id)
    }

    /// Takes what the kernel has reported, for all clients: any may have caused it.
    pub(super) async fn observe(&mut self, console: &Console) {
        console.settled().await;
        console.whole_report().await;
        let reports = console.take_reports();
        // A kernel may report only once, and after an oops it may hold locks.
        self.unclean |= reports.iter().any(|report| report.allowed.is_none());
        for client in self.clients.values_mut() {
            for report in &reports {
                let report = (report.kind.to_owned(), report.summary());
                client.over.reports.push(report);
            }
        }
    }

    pub(super) fn note(&mut self, id: ClientId, note: String) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.over.notes.push(note);
        }
    }

    /// Says good-bye to a client that has gone.
    pub(super) fn dismiss(&mut self, id: ClientId) {
        if let Some(client) = self.clients.get_mut(&id) {
            let over = std::mem::take(&mut client.over);
            self.tell(id, &News::Over(over));
            self.clients.remove(&id);
        }
        if self.clients.is_empty() {
            self.idle_since = Instant::now();
        }
    }

    pub(super) fn tell_all(&mut self, news: &News) {
        let ids: Vec<ClientId> = self.clients.keys().copied().collect();
        for id in ids {
            self.tell(id, news);
        }
    }

    fn tell(&mut self, id: ClientId, news: &News) {
        let Some(client) = self.clients.get(&id) else {
            return;
        };
        let frame = match frame::encode(news) {
            Ok(frame) => frame,
            Err(error) => {
                tracing::warn!(%error, "cannot pass on a message");
                return;
            }
        };
        let waiting = client.waiting.fetch_add(frame.len(), Ordering::Relaxed) + frame.len();
        // If it has gone, its reader says so.
        let _ = client.news.send(frame);
        if waiting > HOLD_ABOVE {
            self.hold(id, true);
        }
    }

    /// Makes the guest stop reading what a client's processes write, or go on.
    fn hold(&mut self, id: ClientId, held: bool) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        if std::mem::replace(&mut client.held, held) != held {
            for process in self.board.processes_of(id) {
                self.send(Request::Hold { process, held });
            }
        }
    }
}

async fn read_requests(
    mut from: OwnedReadHalf,
    id: ClientId,
    inbox: mpsc::Sender<(ClientId, Inbound)>,
) {
    let mut decoder = Decoder::new();
    let mut buffer = vec![0; MAX_DATA];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        for request in decoder.push::<Request>(&buffer[..length]) {
            // Of another version, or no client at all.
            let Ok(request) = request else {
                let _ = inbox.send((id, Inbound::Gone)).await;
                return;
            };
            if inbox.send((id, Inbound::Request(request))).await.is_err() {
                return;
            }
        }
    }
    let _ = inbox.send((id, Inbound::Gone)).await;
}

async fn write_news(
    mut to: OwnedWriteHalf,
    mut outgoing: mpsc::UnboundedReceiver<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
    (id, inbox): (ClientId, mpsc::Sender<(ClientId, Inbound)>),
) {
    while let Some(frame) = outgoing.recv().await {
        if to.write_all(&frame).await.is_err() {
            return;
        }
        let before = waiting.fetch_sub(frame.len(), Ordering::Relaxed);
        let after = before - frame.len();
        if after < RELEASE_BELOW
            && before >= RELEASE_BELOW
            && inbox.send((id, Inbound::Drained)).await.is_err()
        {
            return;
        }
    }
}
