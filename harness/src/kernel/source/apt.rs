//! A kernel from a Debian archive, by the host's own apt.
//!
//! apt works in a private state directory of the cache, so it needs no
//! privilege and sees nothing of the host but its configuration (proxies,
//! certificates, whether an expired Release file is accepted). What is new is
//! found in signed indices; what is pinned is fetched by its path and accepted
//! by its hash alone, so a pin needs no index.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::super::cache::Key;
use super::super::layout::Layout;
use super::super::lock::{LockedFile, LockedKernel, Pin};
use super::super::prepare::Taking;
use super::super::{Error, Progress, Status, archive, digest, layout};
use super::apt_index::{self, Newest};
use super::mirror::{self, Mirror};
use super::{Asked, Content, Pinning};
use crate::config::AptSource;
use crate::program::{self, Limit, Output};

/// Downloads without an index (package `apt`; on no `PATH`).
const APT_HELPER: &str = "/usr/lib/apt/apt-helper";

/// Indices of a whole distribution, on a slow line.
const UPDATE_DEADLINE: Duration = Duration::from_secs(15 * 60);

/// How long a download may stand still; longer than apt's own time-out and
/// retries take.
const STALL_DEADLINE: Duration = Duration::from_secs(180);

/// For programs that only compute.
const LOCAL_DEADLINE: Duration = Duration::from_secs(120);

/// A source in a Debian archive.
pub(super) struct Archive<'s>(pub(super) &'s AptSource);

/// The files that a pin of it names.
struct Packages<'p> {
    source: &'p AptSource,
    pin: &'p LockedKernel,
}

impl Pinning for Archive<'_> {
    /// Asks the archive for the newest match.
    fn resolve(&self, asked: &Asked<'_>) -> Result<Pin, Error> {
        let source = self.0;
        let mirror = mirror::resolve(source)?;
        let id = Key::new(
            "apt-state",
            [
                mirror.uri.as_bytes(),
                source.suite.as_bytes(),
                source.component.as_bytes(),
            ],
        );
        let waiting = || asked.progress.waiting(asked.name);
        let _lock = asked.cache.lock(&id.to_string(), waiting)?;
        let state = asked.cache.subdirectory("apt")?.join(id.to_string());
        let apt = Apt::with_mirror(source, mirror, &state)?;
        asked.progress.line(&format!(
            "reading the package index of {}/{}",
            source.suite, source.component
        ));
        let packages = apt_index::parse(&apt.index(source)?);
        let files = match apt_index::newest(&packages, &source.package, compare_versions)? {
            Newest::Found(files) => files,
            Newest::NoMatch => {
                return Err(Error::NoPackage {
                    package: source.package.clone(),
                    suite: source.suite.clone(),
                    component: source.component.clone(),
                });
            }
            Newest::Incomplete { package, missing } => {
                return Err(Error::IncompletePackage {
                    package,
                    missing,
                    suite: source.suite.clone(),
                });
            }
        };
        Ok(Pin::Apt(LockedKernel {
            name: asked.name.to_owned(),
            suite: source.suite.clone(),
            component: source.component.clone(),
            package: source.package.clone(),
            files,
        }))
    }

    fn content<'p>(&'p self, pin: &'p Pin) -> Option<Box<dyn Content + 'p>> {
        match pin {
            Pin::Apt(pin) if pin.is_of(self.0) => Some(Box::new(Packages {
                source: self.0,
                pin,
            })),
            _ => None,
        }
    }
}

impl Content for Packages<'_> {
    fn key(&self) -> Result<Key, Error> {
        let hashes = self.pin.files.iter().map(|file| file.sha256.as_bytes());
        Ok(Key::new("apt", hashes))
    }

    fn get(&self, asked: &Asked<'_>, work: &Path) -> Result<(Layout, Taking), Error> {
        let apt = Apt::new(self.source, &work.join("apt"))?;
        let tree = work.join("tree");
        fs::create_dir(&tree).map_err(Error::io("create", &tree))?;
        for file in &self.pin.files {
            let deb = work.join(format!("{}.deb", file.package));
            apt.download(asked.name, file, &deb, asked.progress)?;
            archive::unpack_deb(&deb, &tree)?;
            fs::remove_file(&deb).map_err(Error::io("remove", &deb))?;
        }
        let layout = layout::find(&tree).map_err(|error| match error {
            // The temporary directory means nothing to the user.
            Error::NoImage { .. } => Error::NoImage {
                path: format!("package {}", self.pin.files[0].package).into(),
            },
            other => other,
        })?;
        Ok((layout, Taking::Move))
    }

    fn status(&self, asked: &Asked<'_>) -> Result<Status, Error> {
        Ok(Status {
            version: Some(self.pin.version().to_owned()),
            cached: asked.cache.prepared(&self.key()?, asked.name).is_some(),
        })
    }
}

/// By dpkg, which defines the order (deb-version(7)).
fn compare_versions(a: &str, b: &str) -> Result<Ordering, Error> {
    let mut command = program::of_system("dpkg");
    command.args(["--compare-versions", a, "lt", b]);
    let output = program::run_within(command, "dpkg --compare-versions", LOCAL_DEADLINE)?;
    match output.status.code() {
        Some(0) => Ok(Ordering::Less),
        // Not lower: equal ones are not asked about.
        Some(1) => Ok(Ordering::Greater),
        _ => Err(failure(
            &format!("dpkg could not compare the versions {a} and {b}"),
            &output,
        )),
    }
}

/// apt with a state directory of its own.
struct Apt {
    mirror: Mirror,
    config: PathBuf,
}

impl Apt {
    fn new(source: &AptSource, state: &Path) -> Result<Self, Error> {
        Self::with_mirror(source, mirror::resolve(source)?, state)
    }

    fn with_mirror(source: &AptSource, mirror: Mirror, state: &Path) -> Result<Self, Error> {
        for directory in ["state/lists/partial", "cache/archives/partial", "log"] {
            let path = state.join(directory);
            fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
        }
        let write = |name: &str, text: String| {
            let path = state.join(name);
            fs::write(&path, text).map_err(Error::io("write", &path))?;
            Ok::<_, Error>(path)
        };
        // Without a status file apt would take the host's installed packages
        // for available ones.
        let status = write("status", String::new())?;
        let sources = write("kiln.sources", source_stanza(source, &mirror))?;
        let config = write("apt.conf", configuration(state, &status, &sources))?;
        Ok(Apt { mirror, config })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = program::of_system(program);
        command.arg("-c").arg(&self.config);
        command
    }

    /// The text of the suite's `Packages` index, fresh and checked by apt
    /// against the signed Release file.
    fn index(&self, source: &AptSource) -> Result<String, Error> {
        let what = format!("apt could not update {}/{}", source.suite, source.component);
        let mut update = self.command("apt-get");
        update.args(["-q", "update"]);
        checked(
            &what,
            program::run_within(update, "apt-get update", UPDATE_DEADLINE)?,
        )?;

        let mut targets = self.command("apt-get");
        targets.args([
            "indextargets",
            "--format",
            "$(FILENAME)",
            "Created-By: Packages",
        ]);
        let output = program::run_within(targets, "apt-get indextargets", LOCAL_DEADLINE)?;
        let files = String::from_utf8_lossy(&checked(&what, output)?).into_owned();
        let mut index = String::new();
        for file in files.lines().filter(|line| !line.is_empty()) {
            let mut cat = self.command(APT_HELPER);
            cat.args(["cat-file", file]);
            let output = program::run_within(cat, "apt-helper cat-file", LOCAL_DEADLINE)?;
            index.push_str(&String::from_utf8_lossy(&checked(&what, output)?));
            index.push_str("\n\n");
        }
        Ok(index)
    }

    /// Fetches a pinned file of the kernel `name` to `dest`.
    fn download(
        &self,
        name: &str,
        file: &LockedFile,
        dest: &Path,
        progress: &Progress,
    ) -> Result<(), Error> {
        let uri = format!("{}/{}", self.mirror.uri, file.path);
        let shown = progress.file(
            &format!("{} {}", file.package, file.version),
            Some(file.size),
        );
        let mut fetch = self.command(APT_HELPER);
        fetch.arg("download-file").arg(&uri).arg(dest);
        let output = program::run(
            fetch,
            &format!("the download of {} {}", file.package, file.version),
            &mut Limit {
                patience: STALL_DEADLINE,
                progress: &mut |_| {
                    let length = fs::metadata(dest).map_or(0, |meta| meta.len());
                    shown.set(length);
                    length
                },
            },
        )?;
        if !output.status.success() {
            // apt's http and file methods, apt 2.6.
            let gone = ["404 ", "410 ", "File not found"];
            if gone.iter().any(|text| output.stderr.contains(text)) {
                return Err(Error::PinGone {
                    name: name.to_owned(),
                    package: file.package.clone(),
                    version: file.version.clone(),
                    mirror: self.mirror.uri.clone(),
                });
            }
            let what = format!("apt could not fetch {} {}", file.package, file.version);
            return Err(failure(&what, &output));
        }
        let actual = digest::of_file(dest)?;
        if actual == file.sha256 {
            Ok(())
        } else {
            Err(Error::WrongHash {
                what: format!("{} {} from {uri}", file.package, file.version),
                expected: file.sha256.clone(),
                actual,
            })
        }
    }
}

fn source_stanza(source: &AptSource, mirror: &Mirror) -> String {
    let signed_by = mirror
        .signed_by
        .as_ref()
        .map(|file| format!("Signed-By: {file}\n"))
        .unwrap_or_default();
    format!(
        "Types: deb\nURIs: {}\nSuites: {}\nComponents: {}\nArchitectures: amd64\nTargets: Packages\n{signed_by}",
        mirror.uri, source.suite, source.component
    )
}

/// Read after the host's configuration (apt.conf(5): `-c`), so that it can undo
/// the host's hooks, which are meant for the host's own package state.
fn configuration(state: &Path, status: &Path, sources: &Path) -> String {
    let state = state.display();
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid())
        .ok()
        .flatten()
        .map_or_else(|| "root".to_owned(), |user| user.name);
    format!(
        r#"#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear DPkg::Pre-Install-Pkgs;
#clear AptCli::Hooks;
Dir::State "{state}/state";
Dir::State::lists "{state}/state/lists";
Dir::State::status "{status}";
Dir::Cache "{state}/cache";
Dir::Cache::archives "{state}/cache/archives";
Dir::Log "{state}/log";
Dir::Etc::sourcelist "{sources}";
Dir::Etc::sourceparts "-";
Dir::Etc::preferences "-";
Dir::Etc::preferencesparts "-";
APT::Architecture "amd64";
APT::Sandbox::User "{user}";
APT::Update::Error-Mode "any";
APT::Color "false";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
"#,
        status = status.display(),
        sources = sources.display(),
    )
}

fn checked(what: &str, output: Output) -> Result<Vec<u8>, Error> {
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(failure(what, &output))
    }
}

/// apt's errors, without what it says about the way there.
fn failure(what: &str, output: &Output) -> Error {
    let mut lines: Vec<&str> = output
        .stderr
        .lines()
        .filter_map(|line| line.strip_prefix("E: "))
        .collect();
    if lines.is_empty() {
        lines = output
            .stderr
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
    }
    let reason = if lines.is_empty() {
        format!("it ended with {}", output.status)
    } else {
        lines.truncate(5);
        lines.join("; ")
    };
    Error::Apt {
        what: what.to_owned(),
        reason,
    }
}
