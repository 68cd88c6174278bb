//! Saves and loads the state of a VM without the memory that its shares see: QEMU's migration, to
//! and from a file.
//!
//! The memory is a file, whose pages kiln copies itself: QEMU would read all of it, even what was
//! never used, which takes seconds and fills the host's memory.

use std::path::Path;
use std::time::Duration;

use qapi::Command as _;
use qapi::qmp::QmpCommand;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::{Error, Qmp, answered};

/// Leaves out memory that is a file with a name, and shared (QEMU 4.0; a memory-backend-memfd has no
/// name since 8.1). Both sides must have it.
const WITHOUT_SHARED_MEMORY: &str = "x-ignore-shared";
/// How often to ask whether it is done.
const LOOK: Duration = Duration::from_millis(3);

impl Qmp {
    /// Writes the state of a stopped VM to the new file `to`. The VM stays stopped, and can go on.
    pub async fn save_state(&self, to: &Path, within: Duration) -> Result<(), Error> {
        self.leave_out_shared_memory().await?;
        let uri = uri(to, Migrate::NAME)?;
        answered(Migrate::NAME, self.service.execute(Migrate { uri })).await?;
        self.migrated(Migrate::NAME, within).await
    }

    /// Reads the state of a VM that was started with `-incoming defer`, and whose memory is there.
    /// It is stopped then, as the saved one was.
    pub async fn load_state(&self, from: &Path, within: Duration) -> Result<(), Error> {
        self.leave_out_shared_memory().await?;
        let uri = uri(from, MigrateIncoming::NAME)?;
        let command = MigrateIncoming { uri };
        answered(MigrateIncoming::NAME, self.service.execute(command)).await?;
        self.migrated(MigrateIncoming::NAME, within).await
    }

    async fn leave_out_shared_memory(&self) -> Result<(), Error> {
        let command = SetCapabilities {
            capabilities: [Capability {
                capability: WITHOUT_SHARED_MEMORY,
                state: true,
            }],
        };
        answered(SetCapabilities::NAME, self.service.execute(command))
            .await
            .map(|_| ())
    }

    /// Waits until `command` is done.
    async fn migrated(&self, command: &'static str, within: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + within;
        loop {
            let query = self.service.execute(QueryMigrate {});
            let progress = answered(QueryMigrate::NAME, query).await?;
            match progress.status.as_deref() {
                Some("completed") => return Ok(()),
                Some("failed" | "cancelled") => {
                    return Err(Error::Command {
                        command,
                        message: progress.error_desc.unwrap_or_default(),
                    });
                }
                _ if Instant::now() > deadline => {
                    return Err(Error::Unanswered {
                        command,
                        waited: within,
                    });
                }
                _ => sleep(LOOK).await,
            }
        }
    }
}

fn uri(path: &Path, command: &'static str) -> Result<String, Error> {
    let path = path.to_str().ok_or_else(|| Error::Command {
        command,
        message: format!("{} is not UTF-8", path.display()),
    })?;
    Ok(format!("file:{path}"))
}

/// Declares a command: qapi's own types refuse what a newer QEMU answers.
macro_rules! command {
    ($type:ident, $name:literal, $ok:ty) => {
        impl QmpCommand for $type {}

        impl qapi::Command for $type {
            const NAME: &'static str = $name;
            const ALLOW_OOB: bool = false;

            type Ok = $ok;
        }
    };
}

#[derive(Debug, Serialize)]
struct SetCapabilities {
    capabilities: [Capability; 1],
}

#[derive(Debug, Serialize)]
struct Capability {
    capability: &'static str,
    state: bool,
}

#[derive(Debug, Serialize)]
struct Migrate {
    uri: String,
}

#[derive(Debug, Serialize)]
struct MigrateIncoming {
    uri: String,
}

#[derive(Debug, Serialize)]
struct QueryMigrate {}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Progress {
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    error_desc: Option<String>,
}

/// An answer without content.
#[derive(Debug, Deserialize)]
struct Nothing {}

command!(SetCapabilities, "migrate-set-capabilities", Nothing);
command!(Migrate, "migrate", Nothing);
command!(MigrateIncoming, "migrate-incoming", Nothing);
command!(QueryMigrate, "query-migrate", Progress);
