//! The end of a bisection: what it found, and what differs between the two neighbours.

use std::collections::BTreeSet;
use std::path::Path;

use super::super::again;
use super::super::btf::diff;
use super::super::context::Context;
use super::super::{Failure, output};
use super::ask::OUTPUT;
use super::place::{STEPS, resume_hint};
use crate::bisect::{Ends, Found, State, Verdict};
use crate::blocking::blocking;
use crate::btf::diff::{Filter, Step};
use crate::cli::text_or_json::TextOrJson;
use crate::exit_code;
use crate::kernel::{self, Progress, changed_options};
use crate::report::bisection::{self, Differences, Neighbour, Report};
use crate::report::escape;
use crate::whole_file;

/// Bytes of an output to show.
const MAX_OUTPUT: usize = 64 << 10;
/// Bytes of a script in which names are looked for.
const MAX_SCRIPT: u64 = 1 << 20;
/// Shorter words are hardly names of functions or types.
const MIN_NAME: usize = 4;
/// Names to compare.
const MAX_NAMES: usize = 2000;

/// Prints what was found, and writes it into the directory; returns the exit code.
pub(super) async fn end(
    context: &Context,
    state: &State,
    dir: &Path,
    words: &[String],
    format: TextOrJson,
) -> Result<u8, Failure> {
    let Some(found) = state.found() else {
        return Err(not_found(state, dir));
    };
    let before = neighbour(state, found.before, dir, words);
    let after = neighbour(state, found.after, dir, words);
    let differences = differences(context, [&before, &after], words).await;
    let report = Report {
        before,
        after,
        differences,
        ..report(state, Some(&found))
    };
    write(dir, "result.json", &json(&report)?)?;
    write(dir, "report.html", &bisection::page(&report)?)?;
    match format {
        TextOrJson::Json => output::print("the result", &json(&report)?)?,
        TextOrJson::Text => {
            output::print("the result", &bisection::text(&report))?;
            output::note(&format!(
                "kiln: {} has it as a page",
                dir.join("report.html").display()
            ));
        }
    }
    Ok(exit_code::OK)
}

/// Prints what has been found so far.
pub(super) fn log(state: &State, dir: &Path, format: TextOrJson) -> Result<u8, Failure> {
    let found = state.found();
    let report = report(state, found.as_ref());
    match format {
        TextOrJson::Json => output::print("the log", &json(&report)?)?,
        TextOrJson::Text => {
            output::print("the log", &bisection::log(&report))?;
            if found.is_none() && !matches!(state.ends(), Ends::Same(_) | Ends::Swapped) {
                output::note(&format!("kiln: it is not over; {}", resume_hint(dir)));
            }
        }
    }
    Ok(exit_code::OK)
}

fn json(report: &Report) -> Result<String, Failure> {
    let mut text = serde_json::to_string_pretty(report).map_err(|error| {
        Failure::new(
            exit_code::SETUP_FAILED,
            format!("cannot write the result as JSON: {error}"),
        )
    })?;
    text.push('\n');
    Ok(text)
}

fn write(dir: &Path, name: &str, text: &str) -> Result<(), Failure> {
    let path = dir.join(name);
    whole_file::write(&path, text.as_bytes()).map_err(|error| {
        Failure::new(
            exit_code::SETUP_FAILED,
            format!("cannot write {}: {error}", path.display()),
        )
    })
}

fn report(state: &State, found: Option<&Found>) -> Report {
    let asked = state.asked();
    let answers = (0..asked.kernels.len()).flat_map(|kernel| state.answers(kernel));
    let (first, last) = (0, asked.kernels.len().saturating_sub(1));
    let plain = |kernel: usize| Neighbour {
        kernel: state.name(kernel).to_owned(),
        version: asked
            .kernels
            .get(kernel)
            .map_or("", |one| &one.package)
            .to_owned(),
        verdict: state.verdict(kernel).map(Verdict::word),
        ..Neighbour::default()
    };
    Report {
        format: 1,
        over: found.is_some(),
        look_for: asked.look_for,
        confirm: asked.confirm,
        kernels: asked.kernels.len(),
        before: plain(found.map_or(first, |found| found.before)),
        after: plain(found.map_or(last, |found| found.after)),
        skipped: found
            .iter()
            .flat_map(|found| &found.skipped)
            .map(|kernel| state.name(*kernel).to_owned())
            .collect(),
        chance: found.and_then(|found| found.chance),
        boots: state.boots(),
        took_ms: answers.clone().map(|answer| answer.took_ms).sum(),
        answers: answers.cloned().collect(),
        differences: Differences::default(),
    }
}

/// One side: what it printed, and the command that shows it.
fn neighbour(state: &State, kernel: usize, dir: &Path, words: &[String]) -> Neighbour {
    // Of a flaky kernel, the run that showed the bug.
    let answers = state.answers(kernel);
    let telling = answers
        .iter()
        .find(|answer| Some(answer.verdict) == state.verdict(kernel))
        .or(answers.last());
    let printed = telling.map(|answer| {
        let dir = dir.join(&answer.dir);
        let again = dir.with_file_name(format!(
            "{}-again",
            dir.file_name().unwrap_or_default().to_string_lossy()
        ));
        let text = std::fs::read(again.join(OUTPUT)).or_else(|_| std::fs::read(dir.join(OUTPUT)));
        shortened(&text.unwrap_or_default())
    });
    let candidate = state.asked().kernels.get(kernel);
    Neighbour {
        kernel: state.name(kernel).to_owned(),
        version: candidate.map_or("", |one| &one.package).to_owned(),
        verdict: state.verdict(kernel).map(Verdict::word),
        reason: telling
            .map(|answer| answer.reason.clone())
            .unwrap_or_default(),
        output: printed.unwrap_or_default(),
        command: command(state.name(kernel), words),
    }
}

fn shortened(bytes: &[u8]) -> String {
    let left_out = bytes.len().saturating_sub(MAX_OUTPUT);
    let text = String::from_utf8_lossy(&bytes[left_out..]);
    if left_out == 0 {
        return text.into_owned();
    }
    format!("[kiln: {left_out} bytes left out]\n{text}")
}

/// The command that shows one side.
fn command(kernel: &str, words: &[String]) -> String {
    let question = words.iter().position(|word| word == "--");
    let question = question.map_or(&[][..], |at| &words[at..]);
    let program = words.first().map_or("kiln", String::as_str).to_owned();
    let subcommand = if question.len() > 1 { "exec" } else { "run" };
    let mut line = vec![
        program,
        subcommand.to_owned(),
        "-k".to_owned(),
        kernel.to_owned(),
    ];
    line.extend(again::step(words, subcommand));
    if subcommand == "exec" {
        line.extend_from_slice(question);
    } else {
        line.extend(again::suites(words));
    }
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    bisection::command_line(&line)
}

/// Why there is no result.
fn not_found(state: &State, dir: &Path) -> Failure {
    let last = state.asked().kernels.len().saturating_sub(1);
    let (first, last) = (state.name(0), state.name(last));
    let seen = format!("{} has what each printed", dir.join(STEPS).display());
    let failure = |message: String| Failure::new(exit_code::SETUP_FAILED, message);
    match state.ends() {
        Ends::Same(verdict) => failure(format!(
            "{first} and {last} are both {}: nothing changes between them",
            verdict.word()
        ))
        .hint("choose other ends with --good and --bad")
        .hint(seen),
        Ends::Swapped => {
            let (is, should) = (state.expected().1.word(), state.expected().0.word());
            failure(format!(
                "the wrong way round: {first}, which should be {should}, is {is}, and {last} is {should}"
            ))
            .hint(match state.asked().look_for {
                crate::bisect::LookFor::Broken => "--look-for fixed finds the kernel that mends it; its good kernel is the newer one",
                crate::bisect::LookFor::Fixed => "without --look-for fixed it finds the kernel that breaks it; its good kernel is the older one",
            })
            .hint(seen)
        }
        Ends::Mute(kernel) => {
            let answer = state.answers(kernel).last();
            let reason = answer.map_or("", |answer| answer.reason.as_str());
            let name = state.name(kernel);
            if answer.is_some_and(|answer| answer.verdict == Verdict::Unavailable) {
                return failure(format!(
                    "{name}, an end of the search, cannot be had: {reason}"
                ))
                .hint(resume_hint(dir));
            }
            failure(format!(
                "{name}, an end of the search, cannot say: {reason}"
            ))
            .hint("choose another one with --good or --bad")
            .hint(seen)
        }
        Ends::Untried | Ends::Differ => {
            failure("the bisection is not over".to_owned()).hint(resume_hint(dir))
        }
    }
}

/// What differs between the neighbours, as far as it can be known.
async fn differences(
    context: &Context,
    neighbours: [&Neighbour; 2],
    words: &[String],
) -> Differences {
    let names: Vec<String> = neighbours.iter().map(|one| one.kernel.clone()).collect();
    let mut selected = Vec::new();
    let mut configs = Vec::new();
    for name in &names {
        let Ok(mut found) = context.select(std::slice::from_ref(name)).await else {
            return Differences::default();
        };
        let Some(kernel) = found.pop() else {
            return Differences::default();
        };
        if let Ok(image) = context.provide(&kernel).await {
            configs.extend(image.config);
        }
        selected.push(kernel);
    }
    let configuration = match configs.as_slice() {
        [before, after] => {
            let (before, after) = (before.clone(), after.clone());
            blocking(move || changed_options(&before, &after)).await
        }
        _ => None,
    };
    let only = touched(words, &neighbours);
    let types = match Filter::new(&only) {
        Ok(filter) if !only.is_empty() => {
            let (context, selected) = (context.clone(), selected.clone());
            let mut steps = blocking(move || diff::steps(&context, &selected, &filter)).await;
            steps.pop()
        }
        _ => None,
    };
    let changelog = {
        let context = context.clone();
        let changelog = move || {
            let (catalogue, cache) = (&context.catalogue, &context.cache);
            let [before, after] = selected.as_slice() else {
                return Ok(None);
            };
            kernel::changelog_between(catalogue, [before, after], cache, &Progress::stderr())
        };
        blocking(changelog).await
    };
    Differences {
        configuration,
        changelog: changelog
            .inspect_err(|error| tracing::info!("no changelog: {error}"))
            .ok()
            .flatten()
            .unwrap_or_default(),
        types: types.filter(|step: &Step| step.not_compared.is_none()),
    }
}

/// Names of functions and types that the question touches: the words of the command, of its
/// scripts, and of what it printed. Files of the kernel, as in /proc, seem to be empty: they are
/// the host's, and may name everything.
fn touched(words: &[String], neighbours: &[&Neighbour; 2]) -> Vec<String> {
    let mut texts: Vec<String> = words.iter().skip(2).cloned().collect();
    for word in words {
        let path = Path::new(word);
        let is_script = path
            .metadata()
            .is_ok_and(|meta| meta.is_file() && (1..MAX_SCRIPT).contains(&meta.len()));
        if is_script && let Ok(text) = std::fs::read_to_string(path) {
            texts.push(text);
        }
    }
    texts.extend(neighbours.iter().map(|one| one.output.clone()));
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let names: BTreeSet<&str> = texts
        .iter()
        .flat_map(|text| text.split(|c: char| !is_name(c)))
        .filter(|word| word.len() >= MIN_NAME && !word.starts_with(|c: char| c.is_ascii_digit()))
        .collect();
    let names = names.into_iter().take(MAX_NAMES);
    // A name may be that of a type, of a function and of a tracepoint.
    let kinds = |name: &str| {
        [
            name.to_owned(),
            format!("func:{name}"),
            format!("tp:{name}"),
        ]
    };
    names
        .flat_map(kinds)
        .map(|name| escape::line(&name).into_owned())
        .collect()
}
