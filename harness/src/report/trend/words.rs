//! A trend as text and JSON.

use std::fmt::Write as _;

use serde::Serialize;

use super::flake::Rate;
use super::{Name, Series, Trend};
use crate::report::class::Class;
use crate::report::escape;
use crate::report::words::{counted, seconds};

/// Runs in a strip; of more, the newest.
const MAX_STRIP: usize = 60;
/// Flaky tests to list.
const MAX_FLAKY: usize = 50;

/// What a trend is written in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum TrendFormat {
    /// For a terminal
    #[default]
    Text,
    /// For programs
    Json,
}

/// One character for a result.
fn mark(class: Class) -> char {
    match class {
        Class::Pass => '.',
        Class::Flaky => '~',
        Class::XPass => 'X',
        Class::Fail => 'F',
        Class::Timeout => 'T',
        Class::XFail => 'x',
        Class::Skip => 's',
        Class::Lost => 'L',
        Class::Error => 'E',
    }
}

impl Series {
    /// A character for each run, the newest last; a space for a run without the test. Of several
    /// tests of one name in one run the worst counts.
    fn strip(&self, runs: usize) -> String {
        let mut strip = vec![' '; runs];
        for point in &self.points {
            let known = &mut strip[point.run];
            if *known == ' ' || point.class.is_unexpected() {
                *known = mark(point.class);
            }
        }
        strip[runs.saturating_sub(MAX_STRIP)..].iter().collect()
    }
}

/// `8 % (2 to 25 %)`.
fn rate_words(rate: Rate) -> String {
    let percent = |part: f64| format!("{:.0}", part * 100.0);
    format!(
        "{} % ({} to {} %)",
        percent(rate.part()),
        percent(rate.low()),
        percent(rate.high())
    )
}

impl Trend {
    /// The trend in this format; `flaky` lists only flaky tests.
    pub fn text_in(&self, format: TrendFormat, flaky: bool) -> Result<String, serde_json::Error> {
        match (format, flaky) {
            (TrendFormat::Json, flaky) => {
                let mut json = serde_json::to_string(&self.json(flaky))?;
                json.push('\n');
                Ok(json)
            }
            (TrendFormat::Text, true) => Ok(self.flaky_text()),
            (TrendFormat::Text, false) => Ok(self.text()),
        }
    }

    fn heading(&self) -> String {
        let day = |run: Option<&super::RunFacts>| {
            run.map_or_else(String::new, |run| {
                run.started.format("%Y-%m-%d").to_string()
            })
        };
        format!(
            "{}, {} to {}\n",
            counted(self.runs.len(), "run"),
            day(self.runs.first()),
            day(self.runs.last())
        )
    }

    fn text(&self) -> String {
        let mut text = self.heading();
        for ((suite, id), kernels) in &self.tests {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "\n{}  ({})", escape::line(id), escape::line(suite));
            let width = kernels
                .iter()
                .map(|(kernel, _)| escape::line(kernel).chars().count())
                .max();
            for (kernel, series) in kernels {
                let _ = write!(
                    text,
                    "  {:<width$}  [{}]  {}",
                    escape::line(kernel),
                    series.strip(self.runs.len()),
                    counted(series.points.len(), "run"),
                    width = width.unwrap_or_default()
                );
                let rate = series.rate();
                if rate.flakes > 0 {
                    let _ = write!(text, ", flakes in {}: {}", rate.flakes, rate_words(rate));
                }
                match series.failing() {
                    0 => {}
                    1 => text.push_str(", fails now"),
                    runs => {
                        let _ = write!(text, ", fails in the last {runs}");
                    }
                }
                if let Some((median, last)) = series.times() {
                    let _ = write!(text, ", {} (last pass {})", seconds(median), seconds(last));
                }
                text.push('\n');
            }
        }
        text.push('\n');
        text.push_str(LEGEND);
        text
    }

    fn flaky_text(&self) -> String {
        let mut text = self.heading();
        let flaky = self.flaky();
        if flaky.is_empty() {
            text.push_str("no test has flaked\n");
            return text;
        }
        text.push_str("\nflake rate (95 % likely)\n");
        for ((_, id), kernel, series, rate) in flaky.iter().take(MAX_FLAKY) {
            let _ = writeln!(
                text,
                "{:<22}  {}  {}  [{}]",
                rate_words(*rate),
                escape::line(kernel),
                escape::line(id),
                series.strip(self.runs.len())
            );
        }
        if flaky.len() > MAX_FLAKY {
            let _ = writeln!(text, "[{} more]", flaky.len() - MAX_FLAKY);
        }
        text.push('\n');
        text.push_str(LEGEND);
        text
    }

    fn json(&self, flaky: bool) -> Json<'_> {
        let all = self.tests.iter().flat_map(|(name, kernels)| {
            kernels
                .iter()
                .map(move |(kernel, series)| (name, kernel.as_str(), series))
        });
        let tests: Vec<_> = if flaky {
            let flaky = self.flaky().into_iter();
            flaky
                .map(|(name, kernel, series, _)| self.json_test(name, kernel, series))
                .collect()
        } else {
            all.map(|(name, kernel, series)| self.json_test(name, kernel, series))
                .collect()
        };
        Json { format: 1, tests }
    }

    fn json_test<'t>(
        &'t self,
        (suite, id): &'t Name,
        kernel: &'t str,
        series: &Series,
    ) -> JsonTest<'t> {
        let rate = series.rate();
        JsonTest {
            suite,
            id,
            kernel,
            flakes: rate.flakes,
            runs: rate.runs,
            rate: rate.part(),
            rate_low: rate.low(),
            rate_high: rate.high(),
            results: series
                .points
                .iter()
                .map(|point| JsonPoint {
                    run: &self.runs[point.run].name,
                    class: point.class.word(),
                    duration_ms: point.ms,
                })
                .collect(),
        }
    }
}

const LEGEND: &str =
    "Oldest run first: . pass, ~ flaky, F fail, T timeout, L lost, E error, s skip,
x known to fail, X passes though known to fail. A flake is a run whose attempts differ, or
that fails between two that pass with the same kernel image and program.
";

#[derive(Serialize)]
struct Json<'t> {
    format: u32,
    tests: Vec<JsonTest<'t>>,
}

#[derive(Serialize)]
struct JsonTest<'t> {
    suite: &'t str,
    id: &'t str,
    kernel: &'t str,
    flakes: usize,
    runs: usize,
    rate: f64,
    rate_low: f64,
    rate_high: f64,
    results: Vec<JsonPoint<'t>>,
}

#[derive(Serialize)]
struct JsonPoint<'t> {
    run: &'t str,
    class: &'static str,
    duration_ms: u64,
}
