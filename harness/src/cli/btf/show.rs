//! `kiln btf show`.

use super::super::Failure;
use super::super::context::Context;
use super::super::output;
use super::super::text_or_json::TextOrJson;
use super::kernels::{each, open, reason, select};
use crate::blocking::blocking;
use crate::btf::show::{Said, Shown, near};
use crate::btf::{Query, ask};
use crate::config::Selected;
use crate::exit_code;
use crate::report::escape;

/// Arguments of `kiln btf show`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  kiln btf show -k debian:series task_struct.pid
  kiln btf show -k '*' 'sock.__sk_common.skc_*' func:tcp_sendmsg enum:bpf_prog_type.BPF_PROG_TYPE_NETFILTER
  kiln btf show -k 6.1 -k 6.12 --c tp:sched:sched_switch")]
pub(super) struct ShowArgs {
    /// NAME of a type, NAME.MEMBER, func:NAME, enum:NAME, enum:NAME.VALUE, tp:SYSTEM:NAME,
    /// kfunc:NAME or var:NAME; names may be globs
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Kernel: a name or glob of kernels.toml, @group, POOL:VERSION such as debian:6.18, host, or a
    /// path: a build tree, an image, raw BTF or a directory of it [default: all of kernels.toml]
    #[arg(short, long = "kernel", value_name = "KERNEL")]
    kernels: Vec<String>,
    /// Print definitions in C, as bpftool does
    #[arg(long)]
    c: bool,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: TextOrJson,
}

impl ShowArgs {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Failure> {
        let queries = self.names.iter().map(|name| Query::parse(name));
        let queries: Vec<Query> = queries
            .collect::<Result<_, _>>()
            .map_err(|error| Failure::from(error).with_code(exit_code::USAGE))?;
        let selected = select(context, &self.kernels).await?;
        let asked = queries.clone();
        let said = each(context, selected.clone(), move |selected, kernel| {
            let kernel = kernel.map_err(|error| reason(&error));
            let answers = asked.iter().map(|query| match &kernel {
                Err(reason) => said(selected, None, Err(reason.clone())),
                Ok(kernel) => {
                    let answers = kernel.btf.as_ref().map(|btf| ask(btf, query)).transpose();
                    let answers = answers.map_err(|error| reason(&error));
                    said(selected, kernel.release.clone(), answers)
                }
            });
            answers.collect::<Vec<_>>()
        })
        .await;
        // From by kernel to by question.
        let mut by_query: Vec<Vec<Said>> = queries.iter().map(|_| Vec::new()).collect();
        for of_kernel in said {
            for (all, said) in by_query.iter_mut().zip(of_kernel) {
                all.push(said);
            }
        }
        let shown: Vec<Shown> = queries
            .iter()
            .zip(by_query)
            .map(|(query, said)| Shown::new(query, said))
            .collect();
        match self.format {
            TextOrJson::Json => {
                let json = serde_json::to_string_pretty(&shown).map_err(|error| {
                    Failure::new(
                        exit_code::SETUP_FAILED,
                        format!("cannot write JSON: {error}"),
                    )
                })?;
                output::line(&json)?;
            }
            TextOrJson::Text => {
                let text: Vec<String> = shown.iter().map(|shown| shown.text(self.c)).collect();
                output::print("the answer", &escape::block(&text.join("\n")))?;
            }
        }
        if shown.iter().any(Shown::has_failed) {
            return Ok(exit_code::SETUP_FAILED);
        }
        for (query, shown) in queries.into_iter().zip(&shown) {
            if shown.is_anything_found() {
                continue;
            }
            if !shown.is_anything_known() {
                return Ok(exit_code::TESTS_FAILED);
            }
            let text = query.text.clone();
            let near = near_names(context, selected, query).await;
            let failure = Failure::new(
                exit_code::NOTHING_SELECTED,
                format!("no kernel that was asked has `{text}`"),
            );
            return Err(match near.as_slice() {
                [] => failure,
                near => failure.hint(format!("the nearest names are: {}", near.join(", "))),
            });
        }
        Ok(exit_code::OK)
    }
}

fn said(
    selected: &Selected,
    release: Option<String>,
    answers: Result<Option<crate::btf::Answers>, String>,
) -> Said {
    Said {
        kernel: selected.name().to_owned(),
        release,
        answers,
    }
}

/// Names like the one that no kernel has, in the last kernel that can be asked: the newest, in a
/// catalogue.
async fn near_names(context: &Context, selected: Vec<Selected>, query: Query) -> Vec<String> {
    let context = context.clone();
    blocking(move || {
        let kernels = selected.iter().rev();
        let mut opened = kernels.filter_map(|selected| open(&context, selected).ok()?.btf);
        opened
            .next()
            .map_or_else(Vec::new, |btf| near(&btf, &query))
    })
    .await
}
