//! `kiln drgn`: drgn on the memory of a running VM.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use clap::Args;

use super::attach::{self, Program};
use super::debug_image::DebugImageArgs;
use super::input::{self, Interrupts, StdinSource};
use super::scratch_dir::scratch_dir;
use super::vms::find;
use super::{Failure, debugger, dump, output};
use crate::exit_code;
use crate::program::on_path;
use crate::report::escape;
use crate::run::command::Environment;
use crate::vm::card::Running;
use crate::vm::machine::VMCORE;

/// Looks in the guest for what drgn needs there: `sh -c PROBE sh DRGN [VMLINUX]`. The statuses are those
/// of [`Live::lacks`].
const PROBE: &str = r#"
exec >/dev/null 2>&1
true </proc/kcore || exit 3
command -v "$1" || exit 4
[ -z "$2" ] || [ -r "$2" ] || exit 5
"#;

/// Open drgn on the memory of a running VM.
#[derive(Debug, Args)]
#[command(
    after_help = "drgn runs in the guest, as root, on /proc/kcore: the memory changes as it looks at it.
Where the guest does not allow that, or does not see drgn or the debug information, drgn
runs here, on a dump of the memory, which goes when drgn ends. The VM goes on.

Examples:
  kiln drgn 6.1 --fetch-symbols
  kiln drgn 6.1 --dump
  kiln drgn 6.1 -- -e 'print(prog[\"UTS_RELEASE\"])'"
)]
pub(super) struct DrgnArgs {
    /// The VM: an id of kiln ps, or the name of its kernel
    vm: String,
    /// Where the debug information is
    #[command(flatten)]
    image: DebugImageArgs,
    /// Give drgn a dump of the memory even if it could run in the guest
    #[arg(long)]
    dump: bool,
    /// drgn to use
    #[arg(long, value_name = "PATH", default_value = "drgn")]
    drgn: PathBuf,
    /// Further arguments for drgn
    #[arg(last = true, value_name = "ARGS")]
    arguments: Vec<OsString>,
}

impl DrgnArgs {
    /// Runs drgn; its status is ours.
    pub(super) async fn run(&self, config: Option<&Path>) -> Result<u8, Failure> {
        let vm = find(&self.vm)?;
        let vmlinux = self.image.find(&vm.card, config).await?;
        let mut interrupts = Interrupts::listen()?;
        if !self.dump {
            let live = self.in_guest(vmlinux.as_deref());
            match live.probe(&vm, &mut interrupts).await? {
                _ if interrupts.seen() => return Ok(input::code_of(interrupts.next().await)),
                Ok(()) => return live.run(&vm, &self.arguments, &mut interrupts).await,
                Err(why) => output::note(&format!(
                    "kiln: drgn gets a dump of the memory: {}",
                    escape::line(&why)
                )),
            }
        }
        let dir = scratch_dir()?;
        let core = dir.path().join(VMCORE);
        if let Err(signal) = dump::write(&vm, &core, &mut interrupts).await? {
            return Ok(input::code_of(signal));
        }
        let mut drgn = tokio::process::Command::new(&self.drgn);
        drgn.arg("-c").arg(&core);
        if let Some(vmlinux) = vmlinux {
            drgn.arg("-s").arg(vmlinux);
        }
        drgn.args(&self.arguments).stdin(Stdio::inherit());
        debugger::run(drgn, &self.drgn, "pip install drgn", "--drgn PATH").await
    }

    /// What drgn is in the guest, which has another PATH and working directory.
    fn in_guest(&self, vmlinux: Option<&Path>) -> Live {
        let found = match self.drgn.components().count() {
            1 => on_path(self.drgn.as_os_str()),
            _ => std::path::absolute(&self.drgn).ok(),
        };
        Live {
            drgn: found.unwrap_or_else(|| self.drgn.clone()),
            vmlinux: vmlinux.map(|file| std::path::absolute(file).unwrap_or_else(|_| file.into())),
        }
    }
}

/// drgn in a guest, on its own memory.
struct Live {
    drgn: PathBuf,
    vmlinux: Option<PathBuf>,
}

impl Live {
    /// Whether it can run there; if not, why.
    async fn probe(
        &self,
        vm: &Running,
        interrupts: &mut Interrupts,
    ) -> Result<Result<(), String>, Failure> {
        let drgn = Some(self.drgn.as_os_str());
        let vmlinux = self.vmlinux.as_deref().map(Path::as_os_str);
        let words = ["/bin/sh", "-c", PROBE, "sh"].map(OsStr::new);
        let probe = program(words.into_iter().chain(drgn).chain(vmlinux), false);
        let nothing = File::open("/dev/null").map_err(|error| {
            let message = format!("cannot open /dev/null: {error}");
            Failure::new(exit_code::SETUP_FAILED, message)
        })?;
        Ok(match attach::run(vm, probe, nothing, interrupts).await {
            Ok(0) => Ok(()),
            Ok(code) => Err(self.lacks(code)),
            // A guest that stands still has its memory all the same.
            Err(failure) => Err(failure.message),
        })
    }

    /// What the guest lacks, by the status of [`PROBE`].
    fn lacks(&self, code: u8) -> String {
        let unseen = |file: &Path| format!("the guest does not see {}", file.display());
        match (code, &self.vmlinux) {
            (3, _) => "the guest cannot read /proc/kcore".to_owned(),
            (4, _) => unseen(&self.drgn),
            (5, Some(vmlinux)) => unseen(vmlinux),
            _ => format!("looking for drgn in the guest failed with status {code}"),
        }
    }

    /// Runs it; its status is ours.
    async fn run(
        &self,
        vm: &Running,
        arguments: &[OsString],
        interrupts: &mut Interrupts,
    ) -> Result<u8, Failure> {
        let mut words = vec![self.drgn.as_os_str(), OsStr::new("-k")];
        if let Some(vmlinux) = &self.vmlinux {
            words.extend([OsStr::new("-s"), vmlinux.as_os_str()]);
        }
        let words = words
            .into_iter()
            .chain(arguments.iter().map(OsString::as_os_str));
        let drgn = program(words, input::on_terminal());
        attach::run(vm, drgn, StdinSource::new(false)?.open()?, interrupts).await
    }
}

/// These words as root's program.
fn program<'w>(words: impl Iterator<Item = &'w OsStr>, terminal: bool) -> Program {
    Program {
        argv: words.map(|word| word.as_bytes().to_vec()).collect(),
        terminal,
        env: Environment::default(),
        user: None,
    }
}
