//! The kernels of a bisection, in their order.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use clap::Args;
use globset::GlobBuilder;
use tokio::process::Command;

use super::super::Failure;
use super::super::context::Context;
use crate::bisect::{Candidate, LookFor, Version, compare};
use crate::blocking::blocking;
use crate::child::Supervised;
use crate::config::{Selected, numbers};
use crate::exit_code;
use crate::kernel;

/// Which kernels a bisection searches.
#[derive(Debug, Args)]
pub(super) struct KernelArgs {
    /// Kernel without the bug [default: the oldest of -k, with --look-for fixed the newest]
    #[arg(long, value_name = "KERNEL")]
    pub(super) good: Option<String>,
    /// Kernel with the bug [default: the newest of -k, with --look-for fixed the oldest]
    #[arg(long, value_name = "KERNEL")]
    pub(super) bad: Option<String>,
    /// Kernels to search, as for kiln run; they are put into the order of their versions [default:
    /// the pool of both ends, or kernels.toml if they are from there]
    #[arg(short, long = "kernel", value_name = "KERNEL")]
    pub(super) kernels: Vec<String>,
    /// Builds to search: a path with a glob in its last part, such as 'builds/*'
    #[arg(long, value_name = "GLOB")]
    pub(super) path: Vec<String>,
    /// Put kernels into the order of their commits in this repository
    #[arg(long, value_name = "DIR")]
    pub(super) git: Option<PathBuf>,
    /// What to look for
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    pub(super) look_for: LookFor,
}

/// A kernel with its place in the order.
struct Placed {
    kernel: Selected,
    version: Version,
    /// Counts commits from the oldest.
    commit: Option<usize>,
}

/// The kernels between the ends, and the ends, the oldest first.
pub(super) async fn candidates(
    args: &KernelArgs,
    context: &Context,
) -> Result<Vec<Candidate>, Failure> {
    let good = end(context, "--good", args.good.as_deref()).await?;
    let bad = end(context, "--bad", args.bad.as_deref()).await?;
    let mut patterns = args.kernels.clone();
    for glob in &args.path {
        patterns.extend(paths(context, glob)?);
    }
    let mut selected = if patterns.is_empty() {
        between(context, good.as_ref(), bad.as_ref()).await?
    } else {
        context.select(&patterns).await?
    };
    for end in [&good, &bad].into_iter().flatten() {
        if !selected.iter().any(|kernel| kernel.name() == end.name()) {
            selected.push(end.clone());
        }
    }
    let mut placed = Vec::new();
    for kernel in selected {
        let version = version(context, &kernel).await?;
        placed.push(Placed {
            kernel,
            version,
            commit: None,
        });
    }
    if let Some(repository) = &args.git {
        by_commit(&mut placed, repository).await?;
    }
    placed.sort_by(|a, b| {
        let by_commit = a.commit.cmp(&b.commit);
        by_commit.then_with(|| compare(&a.version, &b.version))
    });
    let place = |end: &Option<Selected>| {
        let end = end.as_ref()?;
        placed
            .iter()
            .position(|one| one.kernel.name() == end.name())
    };
    let (good, bad) = (place(&good), place(&bad));
    let (first, last) = match args.look_for {
        LookFor::Broken => (good, bad),
        LookFor::Fixed => (bad, good),
    };
    let (first, last) = (
        first.unwrap_or(0),
        last.unwrap_or(placed.len().saturating_sub(1)),
    );
    if first >= last {
        return Err(order_failure(args, &placed, first, last));
    }
    let candidates = placed.drain(first..=last).map(|one| Candidate {
        name: one.kernel.name().to_owned(),
        upstream: one.version.upstream,
        package: one.version.package,
    });
    Ok(candidates.collect())
}

fn order_failure(args: &KernelArgs, placed: &[Placed], first: usize, last: usize) -> Failure {
    let name = |at: usize| placed.get(at).map_or("", |one| one.kernel.name());
    if first == last {
        return Failure::new(
            exit_code::USAGE,
            format!(
                "{} is all there is: a bisection needs two kernels",
                name(first)
            ),
        )
        .hint("name the ends with --good and --bad, and what is between them with -k");
    }
    let (older, other) = match args.look_for {
        LookFor::Broken => ("bad", "fixed"),
        LookFor::Fixed => ("good", "broken"),
    };
    Failure::new(
        exit_code::USAGE,
        format!(
            "the {older} kernel, {}, is older than the other, {}",
            name(last),
            name(first)
        ),
    )
    .hint(format!(
        "swap them, or use --look-for {other}, if that is what changed"
    ))
}

/// One end, if it is named.
async fn end(
    context: &Context,
    option: &str,
    name: Option<&str>,
) -> Result<Option<Selected>, Failure> {
    let Some(name) = name else {
        return Ok(None);
    };
    let mut selected = context.select(&[name.to_owned()]).await?;
    if selected.len() > 1 {
        return Err(Failure::new(
            exit_code::USAGE,
            format!(
                "{option} {name} is {} kernels; it must be one",
                selected.len()
            ),
        )
        .hint("name one of them; -k names several"));
    }
    Ok(selected.pop())
}

/// What is between the ends if nothing says so: all of their pool, or all of `kernels.toml`.
async fn between(
    context: &Context,
    good: Option<&Selected>,
    bad: Option<&Selected>,
) -> Result<Vec<Selected>, Failure> {
    match (good, bad) {
        (Some(Selected::Pooled(good)), Some(Selected::Pooled(bad)))
            if good.pool() == bad.pool() =>
        {
            context.select(&[format!("{}:*", good.pool())]).await
        }
        (Some(Selected::Named(_)), Some(Selected::Named(_))) => {
            let all = context.catalogue.kernels.iter().cloned();
            Ok(all.map(Selected::Named).collect())
        }
        _ => Err(
            Failure::new(exit_code::USAGE, "nothing says which kernels to search")
                .hint("name them: -k @group, -k 'debian:*', or --path 'builds/*'")
                .hint("between two kernels of one pool, all of the pool are searched"),
        ),
    }
}

/// The paths that a glob in the last part of a path means.
fn paths(context: &Context, glob: &str) -> Result<Vec<String>, Failure> {
    let usage = |message: String| Failure::new(exit_code::USAGE, message);
    let path = Path::new(glob);
    let (Some(dir), Some(pattern)) = (path.parent(), path.file_name().and_then(|n| n.to_str()))
    else {
        return Err(usage(format!("--path {glob} names no files")));
    };
    let matcher = GlobBuilder::new(pattern)
        .build()
        .map_err(|error| usage(format!("--path {glob} is not a glob: {}", error.kind())))?
        .compile_matcher();
    let entries = std::fs::read_dir(context.cwd.join(dir)).map_err(|error| {
        usage(format!(
            "--path {glob}: cannot read {}: {error}",
            dir.display()
        ))
    })?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| matcher.is_match(entry.file_name()))
        .map(|entry| dir.join(entry.file_name()))
        .collect();
    found.sort();
    if found.is_empty() {
        return Err(usage(format!("--path {glob} matches nothing"))
            .hint("quote it, and let it name a directory or an image for each kernel"));
    }
    let text = |path: PathBuf| {
        let path = path.to_string_lossy().into_owned();
        // Or it could be the name of a kernel.
        if path.contains('/') {
            path
        } else {
            format!("./{path}")
        }
    };
    Ok(found.into_iter().map(text).collect())
}

/// The version of a kernel; it is fetched only if nothing else says it.
async fn version(context: &Context, selected: &Selected) -> Result<Version, Failure> {
    if let Selected::Pooled(kernel) = selected {
        return Ok(Version {
            upstream: kernel.upstream.clone(),
            package: kernel.version().to_owned(),
        });
    }
    let of = |text: String| Version {
        upstream: text.clone(),
        package: text,
    };
    if let Selected::Path { path, .. } = selected {
        let path = path.clone();
        let located = blocking(move || kernel::locate(&path)).await?;
        return Ok(of(located.release));
    }
    let pinned = kernel::packages_of(&context.catalogue, selected, &context.cache)?;
    if let Some((_, pin)) = &pinned
        && let Some(file) = pin.files.first()
    {
        return Ok(of(file.version.clone()));
    }
    if !numbers(selected.name()).is_empty() {
        return Ok(of(selected.name().to_owned()));
    }
    Ok(of(context.provide(selected).await?.release))
}

/// Finds the commit of each kernel: in its release (`-gHASH`, CONFIG_LOCALVERSION_AUTO), else as
/// the name of its directory.
async fn by_commit(placed: &mut [Placed], repository: &Path) -> Result<(), Failure> {
    let mut commits = Vec::new();
    for one in placed.iter() {
        let release = &one.version.upstream;
        let name = Path::new(one.kernel.name()).file_name().unwrap_or_default();
        let hash = release.rsplit_once("-g").map(|(_, hash)| {
            let end = hash.find(|c: char| !c.is_ascii_hexdigit());
            hash[..end.unwrap_or(hash.len())].to_owned()
        });
        let candidates = hash
            .into_iter()
            .chain([name.to_string_lossy().into_owned()]);
        let mut found = None;
        for candidate in candidates {
            let commit = format!("{candidate}^{{commit}}");
            if let Some(line) = git(
                repository,
                &[
                    "rev-parse",
                    "--verify",
                    "--quiet",
                    "--end-of-options",
                    &commit,
                ],
            )
            .await?
            {
                found = Some(line.trim().to_owned());
                break;
            }
        }
        let Some(found) = found else {
            return Err(Failure::new(
                exit_code::USAGE,
                format!(
                    "{} has no commit in {}: neither its release, {release}, nor its name says one",
                    one.kernel.name(),
                    repository.display()
                ),
            )
            .hint(
                "build with CONFIG_LOCALVERSION_AUTO=y, or name directories after commits or tags",
            ));
        };
        commits.push(found);
    }
    let mut arguments = vec!["rev-list", "--topo-order", "--reverse"];
    arguments.extend(commits.iter().map(String::as_str));
    let listed = git(repository, &arguments).await?.unwrap_or_default();
    for (one, commit) in placed.iter_mut().zip(&commits) {
        one.commit = listed.lines().position(|line| line == commit);
    }
    Ok(())
}

/// What git prints; `None` if it fails.
async fn git(repository: &Path, arguments: &[&str]) -> Result<Option<String>, Failure> {
    let mut command = Command::new("git");
    command.arg("-C").arg(repository).args(arguments);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = Supervised::output(command).await.map_err(|error| {
        Failure::new(
            exit_code::SETUP_FAILED,
            format!("cannot run git for --git: {error}"),
        )
        .hint("install git, or leave out --git: kernels are then in the order of their releases")
    })?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(output.status.success().then_some(text))
}
