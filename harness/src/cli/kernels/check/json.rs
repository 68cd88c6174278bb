//! The checked kernels for programs.

use std::io::Write;

use serde::Serialize;

use super::super::KernelsError;
use super::checked::{Checked, has, words};
use crate::kernel::wants::{Wanted, WantedBy};

/// A kernel.
#[derive(Serialize)]
struct Kernel<'a> {
    #[serde(rename = "kernel")]
    name: &'a str,
    release: &'a str,
    /// Whether its configuration is known.
    configuration: bool,
    /// How it boots; `null` if it does not.
    boots: Option<Boots<'a>>,
    /// Why it does not.
    refused: Option<&'a str>,
    hints: &'a [String],
    options: Vec<OptionOf>,
    modules: Vec<Module<'a>>,
}

/// How a kernel boots.
#[derive(Serialize)]
struct Boots<'a> {
    machine: String,
    transport: String,
    share: String,
    overlay: bool,
    reasons: &'a [String],
}

/// An option.
#[derive(Serialize)]
struct OptionOf {
    option: String,
    wanted_by: WantedBy,
    wanted: &'static str,
    /// As in the table.
    has: &'static str,
    /// Whether that is what is wanted; `null` if it is not known.
    met: Option<bool>,
    /// What it costs, if that is not what is wanted.
    cost: Option<&'static str>,
}

/// A module that tests look for.
#[derive(Serialize)]
struct Module<'a> {
    #[serde(rename = "module")]
    name: &'a str,
    by: &'a str,
    has: &'static str,
}

pub(super) fn print(all: &[Checked], out: &mut dyn Write) -> Result<(), KernelsError> {
    let kernels: Vec<Kernel<'_>> = all.iter().map(of).collect();
    let text = serde_json::to_string_pretty(&kernels).map_err(std::io::Error::from)?;
    Ok(writeln!(out, "{text}")?)
}

fn of(kernel: &Checked) -> Kernel<'_> {
    let refused = kernel.boots.as_ref().err();
    Kernel {
        name: &kernel.name,
        release: &kernel.release,
        configuration: kernel.facts.has_config(),
        boots: kernel.boots.as_ref().ok().map(|means| Boots {
            machine: means.machine.to_string(),
            transport: means.transport.to_string(),
            share: means.share.to_string(),
            overlay: means.overlay,
            reasons: &means.reasons,
        }),
        refused: refused.map(|refused| refused.why.as_str()),
        hints: refused.map_or(&[], |refused| &refused.hints),
        options: kernel
            .findings
            .iter()
            .map(|finding| OptionOf {
                option: format!("CONFIG_{}", finding.want.option),
                wanted_by: finding.want.by,
                wanted: match finding.want.wanted {
                    Wanted::On => "on",
                    Wanted::Module => "module",
                    Wanted::Off => "off",
                },
                has: has(finding),
                met: finding.met,
                cost: finding.cost(),
            })
            .collect(),
        modules: kernel
            .modules
            .iter()
            .map(|module| Module {
                name: &module.name,
                by: &module.by,
                has: words(Some(module.presence)),
            })
            .collect(),
    }
}
