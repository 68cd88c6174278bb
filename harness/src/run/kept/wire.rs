//! What a keeper sends to its clients. Clients send [`Request`](guest_init::message::Request)s.

use guest_init::frame::{MAX_EVENT, Message};
use guest_init::message::GuestEvent;
use serde::{Deserialize, Serialize};

/// A message from the keeper to a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum News {
    /// The first message: the keeper takes requests.
    Welcome,
    /// From the guest, about the client's own jobs and processes.
    Guest(GuestEvent),
    /// The last message: the client's jobs are closed.
    Over(Over),
    /// The last message: the VM is lost.
    Lost {
        /// Why, with what is known about it.
        text: String,
    },
}

/// What a client should know once its command is over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Over {
    /// What the kernel reported meanwhile: the kind, and what it is about.
    pub reports: Vec<(String, String)>,
    /// Other remarks, a line each.
    pub notes: Vec<String>,
}

impl Message for News {
    // An event as large as the guest may send, and the name of the variant.
    const MAX_FRAME: usize = MAX_EVENT + 1024;
}

/// Bytes to send at most of the text of a VM that was lost.
pub(super) const MAX_TEXT: usize = MAX_EVENT / 2;
