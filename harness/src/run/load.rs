//! Loads BPF objects in a VM, and has bpftrace attach scripts there: what the kernel itself says of
//! them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use guest_init::message::Status;
use serde::Serialize;

use super::driver::{Driver, SpawnOptions};
use super::helper::{Helped, Helper, Said};
use super::session::Session;
use crate::bpf::{Input, Report, Verdict};
use crate::hint::with_causes;
use crate::scratch::Scratch;
use crate::suite::bpftrace::UnderTest;
use crate::suite::btf::{Class, Refused, refused};
use crate::vm::control::Error;
use crate::vm::launch::{self, Launch};

/// Limit of one loader, before scaling. The verifier takes seconds for large programs.
const LIMIT: Duration = Duration::from_secs(30);
/// Between SIGTERM and SIGKILL then.
const GRACE: Duration = Duration::from_secs(2);
/// Lines of the verifier's log that are kept: the last ones say why.
const LOG_LINES: usize = 12;
/// Characters of such a line.
const LINE: usize = 300;
/// Where objects are pinned in the guest.
const PINS: &str = "/sys/fs/bpf/kiln-load";
/// Stands for the object in a loader's command.
const OBJECT: &str = "{object}";

/// The command that loads an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Loader {
    /// Program and arguments.
    argv: Vec<String>,
}

impl Default for Loader {
    fn default() -> Self {
        let argv = ["bpftool", "prog", "loadall", OBJECT, PINS];
        Self {
            argv: argv.map(str::to_owned).to_vec(),
        }
    }
}

impl Loader {
    /// One that gets the object, or the script, behind these words.
    pub(crate) fn of_words(mut argv: Vec<String>) -> Self {
        argv.push(OBJECT.to_owned());
        Self { argv }
    }

    /// From a command in shell syntax, without a shell. The object is its last argument unless
    /// `{object}` says where it goes.
    pub(crate) fn parse(command: &str) -> Option<Self> {
        let argv = shlex::split(command).filter(|argv| !argv.is_empty())?;
        if argv.iter().any(|word| word.contains(OBJECT)) {
            return Some(Self { argv });
        }
        Some(Self::of_words(argv))
    }

    fn command(&self, object: &Path) -> Vec<String> {
        let object = object.to_string_lossy();
        let words = self.argv.iter();
        words.map(|word| word.replace(OBJECT, &object)).collect()
    }
}

/// What to load.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The object or script, at the same path in the guest.
    pub(crate) file: PathBuf,
    /// What loads it.
    pub(crate) loader: Loader,
    /// Modules whose types it uses; loaded first.
    pub(crate) modules: Vec<String>,
    /// For a script: its lists of probes.
    pub(crate) probes: Option<Vec<Vec<String>>>,
}

impl Request {
    /// To load `input`, which is at `path` and was checked, with the loader of objects or with
    /// bpftrace.
    pub(crate) fn new(
        path: &Path,
        input: &Input,
        report: &Report,
        (loader, bpftrace): (&Loader, Option<&UnderTest>),
    ) -> Self {
        let script = input.script().zip(bpftrace);
        Self {
            file: path.to_owned(),
            loader: match script {
                Some((_, bpftrace)) => Loader::of_words(bpftrace.attach_only()),
                None => loader.clone(),
            },
            modules: report.modules.clone(),
            probes: script.map(|(script, _)| script.probes()),
        }
    }
}

/// How loading one file ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Loaded {
    /// Whether libbpf and the kernel took it.
    pub(crate) loads: bool,
    /// How the loader ended, in a line.
    pub(crate) end: String,
    /// The last lines of the verifier's log, or of what the loader printed.
    pub(crate) log: Vec<String>,
    /// All that the loader printed.
    pub(crate) output: String,
    /// For a script: why bpftrace does not run it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) class: Option<Class>,
}

impl Loaded {
    /// Reads what bpftrace printed.
    fn of_script(&mut self, probes: &[Vec<String>]) {
        let failed = (!self.loads).then_some(self.end.as_str());
        if let Some(Refused { class, message }) = refused(&self.output, failed, probes) {
            self.loads = false;
            self.end = format!("{}: {message}", class.word());
            self.class = Some(class);
            self.log = match class {
                Class::Verifier | Class::Other => last_lines(&self.output),
                _ => Vec::new(),
            };
        }
    }

    /// What it means for the object or script.
    pub(crate) fn verdict(&self) -> Verdict {
        match (self.loads, self.class) {
            (true, _) => Verdict::Loads,
            (false, Some(class)) => class.verdict(),
            (false, None) => Verdict::Fails,
        }
    }
}

/// Why nothing is known.
#[derive(Debug)]
pub(crate) enum LoadError {
    /// The kernel does not boot.
    Boot(launch::Error),
    /// The VM died or hung.
    Lost(String),
}

/// Boots a VM and loads the objects there, one after another.
pub(crate) async fn load_all(
    launch: impl FnOnce(&Scratch, &Path) -> Launch,
    logs: &Path,
    env: &[(String, String)],
    requests: &[Request],
) -> Result<Vec<Loaded>, LoadError> {
    let mut session = Session::boot(launch, logs, Vec::new())
        .await
        .map_err(LoadError::Boot)?;
    let mut all = Vec::new();
    let done = async {
        session.measure_speed().await?;
        for request in requests {
            all.push(load(&mut session, env, request).await?);
        }
        Ok::<_, Error>(())
    };
    match done.await {
        Ok(()) => {
            session.stop().await;
            Ok(all)
        }
        Err(error) => {
            let said = with_causes(&error);
            let lost = session.lost(&error).await;
            Err(LoadError::Lost(format!("{} ({said})", lost.reason)))
        }
    }
}

/// Loads one object, and unloads it; or has bpftrace attach a script, and end. An error means that the VM is lost.
pub(super) async fn load(
    session: &mut Session,
    env: &[(String, String)],
    request: &Request,
) -> Result<Loaded, Error> {
    if !request.modules.is_empty() {
        let argv = ["modprobe", "-a"].into_iter().map(str::to_owned);
        let argv: Vec<String> = argv.chain(request.modules.iter().cloned()).collect();
        // Without one, libbpf says what it does not find.
        helped(session, env, &argv).await?;
    }
    let argv = request.loader.command(&request.file);
    let mut loaded = loaded(helped(session, env, &argv).await?);
    if let Some(probes) = &request.probes {
        loaded.of_script(probes);
    } else if loaded.loads {
        let argv = ["rm", "-rf", PINS].map(str::to_owned);
        helped(session, env, &argv).await?;
    }
    Ok(loaded)
}

async fn helped(
    session: &mut Session,
    env: &[(String, String)],
    argv: &[String],
) -> Result<Helped, Error> {
    let helper = Helper {
        argv,
        env,
        cwd: "/",
        options: SpawnOptions {
            addr_no_randomize: session.addr_no_randomize,
            ..SpawnOptions::default()
        },
        limit: LIMIT,
        grace: GRACE,
        leaves_others: false,
    };
    let mut driver = Driver::open(&mut session.vm.control)?;
    let helped = helper.run(&mut driver).await?;
    driver.close().await?;
    Ok(helped)
}

fn loaded(helped: Helped) -> Loaded {
    let text = |said: &Said| String::from_utf8_lossy(&said.output).into_owned();
    let (loads, end, output) = match helped {
        Helped::NotStarted(why) => (
            false,
            format!("the loader did not start: {why}"),
            String::new(),
        ),
        Helped::TooLong(said) => (false, "the loader took too long".to_owned(), text(&said)),
        Helped::Ended(Status::Exited(0), said) => (true, "it loads".to_owned(), text(&said)),
        Helped::Ended(Status::Exited(code), said) => (
            false,
            format!("the loader exited with status {code}"),
            text(&said),
        ),
        Helped::Ended(Status::Signaled(signal), said) => (
            false,
            format!("signal {signal} ended the loader"),
            text(&said),
        ),
    };
    Loaded {
        loads,
        end,
        log: if loads {
            Vec::new()
        } else {
            last_lines(&output)
        },
        output,
        class: None,
    }
}

/// What the verifier said last, between libbpf's marks; else the last lines of the loader.
fn last_lines(output: &str) -> Vec<String> {
    let verifier = output
        .rsplit_once("-- BEGIN PROG LOAD LOG --")
        .map(|(_, rest)| rest.split("-- END PROG LOAD LOG --").next().unwrap_or(rest));
    let lines: Vec<&str> = match verifier {
        Some(log) => log
            .lines()
            .filter(|line| !line.starts_with("processed "))
            .collect(),
        None => output.lines().collect(),
    };
    // What Debian's bpftool says of itself, whatever the object.
    let tells = |line: &&str| {
        !line.is_empty()
            && !line.starts_with("Warning: bpftool is now running in libbpf strict mode")
            && !line.starts_with("If it used to work for this object file")
    };
    let lines = lines.into_iter().map(str::trim_end).filter(tells);
    let lines: Vec<String> = lines
        .map(|line| line.chars().take(LINE).collect())
        .collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loader_gets_the_object_where_it_says_or_at_its_end() {
        let of = |command: &str| {
            Loader::parse(command).map(|loader| loader.command(Path::new("/a b.o")))
        };
        let words =
            |words: &[&str]| Some(words.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(of("veristat -v"), words(&["veristat", "-v", "/a b.o"]));
        assert_eq!(
            of("x --file={object} y"),
            words(&["x", "--file=/a b.o", "y"])
        );
        assert_eq!(of(""), None);
        assert_eq!(of("'"), None);
    }

    #[test]
    fn the_last_lines_of_the_verifiers_log_are_kept() {
        let output = "libbpf: prog 'p': BPF program load failed: Invalid argument\n\
            libbpf: prog 'p': -- BEGIN PROG LOAD LOG --\n0: R1=ctx()\n\
            1: <invalid CO-RE relocation>\nfailed to resolve\nprocessed 2 insns\n\
            -- END PROG LOAD LOG --\nlibbpf: prog 'p': failed to load: -22\n";
        assert_eq!(
            last_lines(output),
            [
                "0: R1=ctx()",
                "1: <invalid CO-RE relocation>",
                "failed to resolve"
            ]
        );
        assert_eq!(last_lines("a\n\nError: b\n"), ["a", "Error: b"]);
    }
}
