//! A run as one JSON object, for programs: its results without the way there.

use serde::Serialize;

use super::cause::causes;
use super::class::Class;
use super::differences::differences;
use super::history::{History, Outcome};
use super::interface::ReportError;
use super::reproduce;
use crate::run::event::{KernelFailed, KernelReady, KernelReport, SuiteReady, TestResult, Warning};

/// Version of this format: increases when a field changes its meaning or is removed.
const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Run<'h> {
    format: u32,
    version: &'h str,
    started_at: &'h str,
    command: &'h [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<u8>,
    duration_ms: u64,
    planned: usize,
    #[serde(rename = "not_run")]
    missing: usize,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'h [String],
    kernels: &'h [KernelReady],
    #[serde(skip_serializing_if = "<[KernelFailed]>::is_empty")]
    failed_kernels: &'h [KernelFailed],
    suites: &'h [SuiteReady],
    #[serde(skip_serializing_if = "<[Warning]>::is_empty")]
    warnings: &'h [Warning],
    results: Vec<One<'h>>,
    causes: Vec<CauseOf<'h>>,
    differences: Vec<DifferenceOf<'h>>,
}

#[derive(Serialize)]
struct One<'h> {
    /// The verdict, and whether it was expected: `xfail`, `flaky`, …
    class: &'static str,
    #[serde(flatten)]
    result: &'h TestResult,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<&'h [TestResult]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel_reports: Option<&'h [KernelReport]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    again: Option<String>,
}

#[derive(Serialize)]
struct CauseOf<'h> {
    class: &'static str,
    message: String,
    results: Vec<Named<'h>>,
}

#[derive(Serialize)]
struct Named<'h> {
    kernel: &'h str,
    suite: &'h str,
    id: &'h str,
}

#[derive(Serialize)]
struct DifferenceOf<'h> {
    suite: &'h str,
    id: &'h str,
    what: String,
}

/// The run; `notes` say what is wrong with it.
pub(super) fn text(history: &History, notes: &[String]) -> Result<String, ReportError> {
    let start = &history.start;
    let run = Run {
        format: FORMAT,
        version: &start.version,
        started_at: &start.started_at,
        command: &start.command,
        exit_code: history.exit_code,
        duration_ms: history.at_ms,
        planned: history.tally.planned(),
        missing: history.tally.missing(),
        notes,
        kernels: &history.images,
        failed_kernels: &history.failed,
        suites: &history.suites,
        warnings: &history.warnings,
        results: history
            .outcomes
            .iter()
            .map(|outcome| one(history, outcome))
            .collect(),
        causes: causes(history.unexpected())
            .into_iter()
            .map(|cause| CauseOf {
                class: cause.class.word(),
                message: cause.message,
                results: cause.outcomes.into_iter().map(named).collect(),
            })
            .collect(),
        differences: differences(history)
            .iter()
            .map(|difference| DifferenceOf {
                suite: difference.suite,
                id: difference.id,
                what: difference.words(),
            })
            .collect(),
    };
    let mut text = serde_json::to_string(&run).map_err(|error| ReportError::Json(error.into()))?;
    text.push('\n');
    Ok(text)
}

fn one<'h>(history: &History, outcome: &'h Outcome) -> One<'h> {
    One {
        class: Class::of(&outcome.result).word(),
        result: &outcome.result,
        attempts: Some(outcome.attempts.as_slice()).filter(|list| !list.is_empty()),
        kernel_reports: Some(outcome.reports.as_slice()).filter(|list| !list.is_empty()),
        again: outcome
            .is_unexpected()
            .then(|| reproduce::line(history, outcome)),
    }
}

fn named(outcome: &Outcome) -> Named<'_> {
    Named {
        kernel: &outcome.result.kernel,
        suite: &outcome.result.suite,
        id: &outcome.result.id,
    }
}
