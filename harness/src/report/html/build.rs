//! Gathers the model of a page from a run's verdicts.

use std::collections::{BTreeMap, HashMap};

use super::model::{
    AgainParts, Attempt, Base, Detail, Group, Kernel, KnownWords, Loss, Model, Reported, Row,
    Suite, Vm, cell, kernel_order,
};
use super::texts::{Matters, Texts, one_line};
use super::timeline::{Timeline, VmTimes};
use crate::report::cause::causes;
use crate::report::class::Class;
use crate::report::compare::{Change, Comparison};
use crate::report::history::{History, Outcome};
use crate::report::reproduce::{self, Again};
use crate::report::words::{qmp_status, report_kind};
use crate::run::event::{KnownResult, SuiteReady, TestResult, Verdict};

/// With more passes than this, the page leaves out what they printed.
const MAX_PASSES_WITH_TEXT: usize = 20_000;

/// Suite, id, and the test of which it is a case.
type Key<'h> = (&'h str, &'h str, Option<&'h str>);

pub(super) struct Builder<'h> {
    history: &'h History,
    kernels: HashMap<&'h str, usize>,
    pub(super) suites: Vec<&'h str>,
    /// A name may belong to several tests, each with a row of its own.
    places: HashMap<Key<'h>, Vec<usize>>,
    pub(super) rows: Vec<Row>,
    /// The key in `details` of each outcome, in order.
    keys: Vec<usize>,
    pub(super) details: BTreeMap<usize, Detail>,
    pub(super) groups: Vec<Group>,
    pub(super) texts: Texts<'h>,
    pub(super) lines: Lines<'h>,
    pub(super) keeps_passes: bool,
}

/// Short texts, each once; the first is empty.
pub(super) struct Lines<'h> {
    places: HashMap<&'h str, usize>,
    pub(super) list: Vec<String>,
}

impl<'h> Lines<'h> {
    fn add(&mut self, line: &'h str) -> usize {
        if line.is_empty() {
            return 0;
        }
        *self.places.entry(line).or_insert_with(|| {
            self.list.push(one_line(line));
            self.list.len() - 1
        })
    }
}

impl<'h> Builder<'h> {
    /// For the kernels in this order.
    pub(super) fn new(history: &'h History, order: &[&'h str]) -> Self {
        let passes = history.tally.count(Verdict::Pass) + history.tally.count(Verdict::Skip);
        Self {
            history,
            kernels: order
                .iter()
                .enumerate()
                .map(|(index, name)| (*name, index))
                .collect(),
            suites: history.tally.suites(),
            places: HashMap::new(),
            rows: Vec::new(),
            keys: Vec::new(),
            details: BTreeMap::new(),
            groups: Vec::new(),
            texts: Texts::default(),
            lines: Lines {
                places: HashMap::new(),
                list: vec![String::new()],
            },
            keeps_passes: passes <= MAX_PASSES_WITH_TEXT,
        }
    }

    /// A row for each test, with its cells.
    pub(super) fn rows(&mut self) {
        let history = self.history;
        for outcome in &history.outcomes {
            let result = &outcome.result;
            let kernel = self
                .kernels
                .get(result.kernel.as_str())
                .copied()
                .unwrap_or_default();
            let key = (
                result.suite.as_str(),
                result.id.as_str(),
                result.case_of.as_deref(),
            );
            let places = self.places.entry(key).or_default();
            let free = places
                .iter()
                .find(|row| self.rows[**row].c[kernel] < 0)
                .copied();
            let row = free.unwrap_or_else(|| {
                places.push(self.rows.len());
                let suite = self.suites.iter().position(|suite| *suite == result.suite);
                self.rows.push(Row {
                    s: suite.unwrap_or_default(),
                    id: one_line(&result.id),
                    at: result.source.as_ref().map_or_else(String::new, |source| {
                        let file = history.short_path(&source.file);
                        one_line(&format!("{file}:{}", source.line))
                    }),
                    of: result.case_of.as_deref().map_or_else(String::new, one_line),
                    w: reproduce::filter_word(outcome.runs_as()),
                    c: vec![-1; self.kernels.len()],
                });
                self.rows.len() - 1
            });
            self.rows[row].c[kernel] = cell(result);
            self.keys.push(row * self.kernels.len() + kernel);
        }
    }

    /// What is known of the results, and the groups of failures.
    pub(super) fn details(&mut self) {
        let history = self.history;
        for (index, outcome) in history.outcomes.iter().enumerate() {
            let detail = self.detail(outcome);
            if detail != Detail::default() {
                self.details.insert(self.keys[index], detail);
            }
        }
        let places: HashMap<*const Outcome, usize> = history
            .outcomes
            .iter()
            .zip(&self.keys)
            .map(|(outcome, key)| (std::ptr::from_ref(outcome), *key))
            .collect();
        for (number, cause) in causes(history.unexpected()).into_iter().enumerate() {
            let class = Class::ALL.iter().position(|class| *class == cause.class);
            self.groups.push(Group {
                v: class.unwrap_or_default(),
                m: one_line(&cause.message),
                n: cause.outcomes.len(),
            });
            for outcome in cause.outcomes {
                if let Some(key) = places.get(&std::ptr::from_ref(outcome)) {
                    self.details.entry(*key).or_default().g = number + 1;
                }
            }
        }
    }

    fn detail(&mut self, outcome: &'h Outcome) -> Detail {
        let result = &outcome.result;
        let plain = matches!(Class::of(result), Class::Pass | Class::Skip);
        let matters = if plain {
            Matters::Second
        } else {
            Matters::First
        };
        let mut detail = Detail {
            r: self.reason(result),
            gms: result.guest_ms.filter(|_| !plain),
            known: result.known.as_ref().map(|known| KnownWords {
                result: match known.result {
                    KnownResult::Fail => "fail",
                    KnownResult::Flaky => "flaky",
                    KnownResult::Skip => "skip",
                }
                .to_owned(),
                reason: one_line(&known.reason),
                link: known.link.as_deref().map_or_else(String::new, one_line),
            }),
            rules: result.rules.iter().map(|rule| one_line(rule)).collect(),
            a: outcome
                .attempts
                .iter()
                .map(|attempt| Attempt {
                    n: attempt.attempt,
                    v: attempt.verdict.to_string(),
                    ms: attempt.duration_ms,
                    r: self.reason(attempt),
                    d: self.texts.add(&attempt.details, matters),
                    o: self.texts.add(&attempt.output, matters),
                })
                .collect(),
            k: outcome
                .reports_beside_details()
                .map(|report| Reported {
                    kind: one_line(&report_kind(report)),
                    t: self.texts.add(&report.text, matters),
                })
                .collect(),
            ..Detail::default()
        };
        detail.c = self.texts.add(&result.console, matters);
        if !plain || self.keeps_passes {
            detail.d = self.texts.add(&result.details, matters);
            detail.o = self.texts.add(&result.output, matters);
        }
        if let Some(loss) = self
            .history
            .loss(result)
            .filter(|_| result.verdict == Verdict::Lost)
        {
            detail.l = Some(Loss {
                r: self.lines.add(&loss.reason),
                qmp: loss
                    .qmp_status
                    .as_deref()
                    .map_or_else(String::new, |status| one_line(&qmp_status(status))),
                // The details of such a result end with the console.
                t: if result.details.is_empty() {
                    self.texts.add(&loss.console, matters)
                } else {
                    0
                },
            });
        }
        detail
    }

    /// What has changed, with a row for each test that is gone.
    pub(super) fn base(&mut self, comparison: &'h Comparison) -> Base {
        let mut rows: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
        for ((suite, id, _), places) in &self.places {
            rows.entry((*suite, *id)).or_default().extend(places);
        }
        let kernels = self.kernels.len();
        let mut cells = BTreeMap::new();
        for test in comparison
            .tests
            .iter()
            .filter(|test| test.change != Change::Same)
        {
            let Some(kernel) = self.kernels.get(test.key.kernel.as_str()).copied() else {
                continue;
            };
            let (suite, id) = (test.key.suite.as_str(), test.key.id.as_str());
            let places = rows.entry((suite, id)).or_insert_with(|| {
                let known = self.suites.iter().position(|known| *known == suite);
                let known = known.unwrap_or_else(|| {
                    self.suites.push(suite);
                    self.suites.len() - 1
                });
                self.rows.push(Row {
                    s: known,
                    id: one_line(id),
                    at: String::new(),
                    of: String::new(),
                    w: reproduce::filter_word(id),
                    c: vec![-1; kernels],
                });
                vec![self.rows.len() - 1]
            });
            let change = Change::ALL.iter().position(|change| *change == test.change);
            let before = test.before.as_ref();
            let class =
                before.and_then(|entry| Class::ALL.iter().position(|class| *class == entry.class));
            let class = class
                .and_then(|class| i64::try_from(class).ok())
                .unwrap_or(-1);
            let ms = before.map_or(0, |entry| entry.ms);
            for row in places {
                cells.insert(
                    *row * kernels + kernel,
                    (change.unwrap_or_default(), class, ms),
                );
            }
        }
        Base {
            title: one_line(&comparison.before),
            classes: Change::ALL.iter().map(|change| change.word()).collect(),
            cells,
        }
    }

    fn reason(&mut self, result: &'h TestResult) -> usize {
        self.lines.add(result.reason.as_deref().unwrap_or_default())
    }

    /// The VMs with what they did.
    pub(super) fn vms(&self, timeline: &Timeline) -> Vec<Vm> {
        timeline.vms.iter().map(|times| self.vm(times)).collect()
    }

    fn vm(&self, times: &VmTimes) -> Vm {
        let facts = self.history.vms.iter().find(|facts| facts.vm == times.vm);
        let mut end = times.starts;
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let spans = times.tests.iter().filter_map(|span| {
            let places = self
                .places
                .get(&(span.suite.as_str(), span.id.as_str(), None))?;
            let row = i64::try_from(*places.first()?).ok()?;
            let wait = signed(span.starts) - signed(end);
            end = span.starts.saturating_add(span.lasts);
            Some([
                if span.retried { -1 - row } else { row },
                wait,
                signed(span.lasts),
            ])
        });
        let spans = spans.flatten().collect();
        let up = facts.and_then(|facts| facts.up.as_ref());
        let mut what: Vec<String> = Vec::new();
        if let Some(up) = up {
            what.push(format!(
                "{}, QEMU {}, {}",
                up.release, up.qemu, up.accelerator
            ));
            what.extend(
                [&up.machine, &up.transport, &up.share]
                    .into_iter()
                    .filter(|word| !word.is_empty())
                    .cloned(),
            );
            what.extend(up.addr_no_randomize.then(|| "no ASLR".to_owned()));
        }
        what.extend(
            facts
                .and_then(|facts| facts.factor)
                .map(|factor| format!("time limits \u{d7} {factor:.1}")),
        );
        Vm {
            n: times.vm,
            k: self
                .kernels
                .get(times.kernel.as_str())
                .copied()
                .unwrap_or_default(),
            what: one_line(&what.join(", ")),
            starts: times.starts,
            ready: times.ready,
            ends: times.ends,
            lost: facts
                .and_then(|facts| facts.lost.as_ref())
                .map_or_else(String::new, |loss| one_line(&loss.reason)),
            t: spans,
        }
    }
}

impl Model {
    /// Of a run as far as it is known.
    pub(super) fn new(
        history: &History,
        timeline: &Timeline,
        baseline: Option<&Comparison>,
    ) -> Self {
        let order = kernel_order(history);
        let mut builder = Builder::new(history, &order);
        builder.rows();
        builder.details();
        let base = baseline.map(|comparison| builder.base(comparison));
        let vms = builder.vms(timeline);
        let again = Again::new(history);
        let (texts, cut) = builder.texts.finish();
        Self {
            classes: Class::ALL.iter().map(|class| class.word()).collect(),
            kernels: order.iter().map(|name| kernel(history, name)).collect(),
            again: AgainParts {
                program: again.program(),
                kernels: order.iter().map(|name| reproduce::word(name)).collect(),
                suites: builder
                    .suites
                    .iter()
                    .map(|suite| again.suite(suite))
                    .collect(),
            },
            suites: builder
                .suites
                .iter()
                .map(|name| suite(history, name))
                .collect(),
            tests: builder.rows,
            details: builder.details,
            groups: builder.groups,
            vms,
            base,
            texts,
            lines: builder.lines.list,
            ms: history.at_ms,
            cut,
            without_passes: !builder.keeps_passes,
        }
    }
}

fn kernel(history: &History, name: &str) -> Kernel {
    let image = history.images.iter().find(|image| image.kernel == name);
    let packages = image.and_then(|image| image.packages.as_ref());
    Kernel {
        name: one_line(name),
        release: image.map_or_else(String::new, |image| one_line(&image.release)),
        sha256: image.map_or_else(String::new, |image| one_line(&image.sha256)),
        packages: packages.map_or_else(Vec::new, |packages| {
            let files = packages.files.iter();
            files
                .map(|file| one_line(&format!("{} {}", file.package, file.version)))
                .collect()
        }),
    }
}

fn suite(history: &History, name: &str) -> Suite {
    let ready = history.suites.iter().find(|ready| ready.suite == name);
    let word = |of: fn(&SuiteReady) -> Option<&String>| {
        ready
            .and_then(of)
            .map_or_else(String::new, |text| one_line(text))
    };
    Suite {
        name: one_line(name),
        subject: ready.map_or_else(String::new, |ready| {
            one_line(history.short_path(&ready.subject))
        }),
        version: word(|ready| ready.version.as_ref()),
        dialect: word(|ready| ready.dialect.as_ref()),
    }
}
