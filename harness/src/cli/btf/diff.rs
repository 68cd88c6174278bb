//! `kiln btf diff`.

use std::path::PathBuf;

use super::super::Failure;
use super::super::context::Context;
use super::super::output;
use super::kernels::{open, reason, select, without_btf};
use crate::blocking::blocking;
use crate::bpf::{self, Input, KernelTypes, Uses};
use crate::btf::diff::{self, Change, Filter, Step};
use crate::btf::{Kernel, KernelBtf};
use crate::config::Selected;
use crate::exit_code;
use crate::report::escape;

/// Arguments of `kiln btf diff`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  kiln btf diff 6.1 6.12 --only task_struct
  kiln btf diff 5.15 6.1 6.12 --only 'func:tcp_*' --format markdown")]
pub(super) struct DiffArgs {
    /// Kernels, as for -k of `kiln btf show`, the older one first; of more than two, each is
    /// compared with the one before it
    #[arg(required = true, value_name = "KERNEL")]
    kernels: Vec<String>,
    /// Compare only what has this name, glob or prefix, such as 'sched_*' or 'func:vfs_*'; may be
    /// repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Compare only what these BPF objects and bpftrace scripts use: types and their members,
    /// functions, tracepoints
    #[arg(long, value_name = "FILE", num_args = 1..)]
    used_by: Vec<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// How differences are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
    Markdown,
}

impl DiffArgs {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Failure> {
        let selected = select(context, &self.kernels).await?;
        let used = used_by(self.used_by, context, &selected).await?;
        let mut only = self.only;
        only.extend(used.iter().flat_map(Uses::queries));
        let filter =
            Filter::new(&only).map_err(|error| Failure::from(error).with_code(exit_code::USAGE))?;
        if selected.len() < 2 {
            let failure = Failure::new(exit_code::USAGE, "one kernel cannot be compared");
            return Err(failure.hint("name two or more: kiln btf diff 6.1 6.12"));
        }
        let context = context.clone();
        let names: Vec<String> = selected.iter().map(|s| s.name().to_owned()).collect();
        let mut steps = blocking(move || steps(&context, &selected, &filter)).await;
        if let Some(used) = &used {
            for step in &mut steps {
                step.changes.retain_mut(|change| narrow(change, used));
            }
        }
        match self.format {
            Format::Text => output::print("the differences", &escape::block(&diff::text(&steps)))?,
            Format::Markdown => {
                output::print("the differences", &escape::block(&diff::markdown(&steps)))?;
            }
            Format::Json => {
                let json = serde_json::to_string_pretty(&steps).map_err(|error| {
                    Failure::new(
                        exit_code::SETUP_FAILED,
                        format!("cannot write JSON: {error}"),
                    )
                })?;
                output::line(&json)?;
            }
        }
        if steps.iter().all(|step| step.not_compared.is_some()) {
            // The reasons were printed.
            let name = names.first().map_or("", String::as_str);
            return Ok(without_btf(name).code);
        }
        Ok(exit_code::OK)
    }
}

/// What the files use together; `None` without any. What scripts use is looked up in the types of
/// each kernel.
async fn used_by(
    files: Vec<PathBuf>,
    context: &Context,
    selected: &[Selected],
) -> Result<Option<Uses>, Failure> {
    if files.is_empty() {
        return Ok(None);
    }
    let (context, selected) = (context.clone(), selected.to_vec());
    let uses = blocking(move || {
        let inputs = files.iter().map(|path| Input::read(path));
        let inputs = inputs.collect::<Result<Vec<_>, bpf::Error>>()?;
        let mut uses = Uses::default();
        let objects = inputs.iter().filter(|input| input.script().is_none());
        for object in objects {
            uses.extend(object.uses(None));
        }
        let scripts: Vec<&Input> = inputs
            .iter()
            .filter(|input| input.script().is_some())
            .collect();
        for kernel in selected.iter().filter(|_| !scripts.is_empty()) {
            // Whoever compares them says what is wrong with one.
            let Ok(Some(btf)) = open(&context, kernel).map(|kernel| kernel.btf) else {
                continue;
            };
            for script in &scripts {
                uses.extend(script.uses(Some(KernelTypes::new(&btf))));
            }
        }
        Ok::<_, bpf::Error>(uses)
    });
    let uses = uses.await?;
    if uses.queries().next().is_none() {
        let message = "the files use no types or functions of kernels";
        return Err(Failure::new(exit_code::NOTHING_SELECTED, message));
    }
    Ok(Some(uses))
}

/// Leaves out the members and values that nobody uses; `false` if nothing else changed.
fn narrow(change: &mut Change, used: &Uses) -> bool {
    let members = used.types.get(&change.name);
    let Some(members) = members.filter(|members| !members.is_empty()) else {
        return true;
    };
    if change.parts.is_empty() {
        return true;
    }
    change.parts.retain(|part| members.contains(&part.name));
    !change.parts.is_empty()
}

/// Each kernel against the one before; no more than two are in memory.
pub(in super::super) fn steps(
    context: &Context,
    selected: &[Selected],
    filter: &Filter,
) -> Vec<Step> {
    let open = |selected: &Selected| open(context, selected).map_err(|error| reason(&error));
    let mut steps = Vec::new();
    let mut kernels = selected.iter();
    let Some(first) = kernels.next() else {
        return steps;
    };
    let mut before = (first.name(), None);
    for selected in kernels {
        // The first two at once, and then one.
        let (was, is) = match before.1.take() {
            Some(was) => (was, open(selected)),
            None => std::thread::scope(|scope| {
                let was = scope.spawn(|| open(first));
                let is = open(selected);
                match was.join() {
                    Ok(was) => (was, is),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }),
        };
        steps.push(step((before.0, &was), (selected.name(), &is), filter));
        before = (selected.name(), Some(is));
    }
    steps
}

type Opened<'a> = (&'a str, &'a Result<Kernel, String>);

fn step(before: Opened<'_>, after: Opened<'_>, filter: &Filter) -> Step {
    let mut step = Step {
        before: before.0.to_owned(),
        after: after.0.to_owned(),
        not_compared: None,
        note: None,
        changes: Vec::new(),
    };
    let both = btf_of(before).and_then(|was| Ok((was, btf_of(after)?)));
    let compared = both.and_then(|(was, is)| {
        if !diff::has_modules(was, is) && was.units().len() + is.units().len() > 2 {
            let text = "modules are left out, since one of both has none with BTF";
            step.note = Some(text.to_owned());
        }
        diff::compare(was, is, filter).map_err(|error| reason(&error))
    });
    match compared {
        Ok(changes) => step.changes = changes,
        Err(reason) => step.not_compared = Some(reason),
    }
    step
}

fn btf_of((name, kernel): Opened<'_>) -> Result<&KernelBtf, String> {
    let kernel = kernel
        .as_ref()
        .map_err(|reason| format!("{name}: {reason}"))?;
    let btf = kernel.btf.as_ref();
    btf.ok_or_else(|| format!("{name}: this kernel has no BTF"))
}
