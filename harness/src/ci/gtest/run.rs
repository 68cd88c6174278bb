//! Runs the tests in batches, each in a process, and says how each ended.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::unix::pipe;
use tokio::process::Command;
use tokio::sync::mpsc::UnboundedSender;

use super::list::UnitTest;
use super::output::{Ended, Follower, reason};
use crate::child::Supervised;
use crate::run::event::bounded_text;
use crate::suite::{Location, Verdict};

/// Tests of a batch, at most: a process that dies takes no more with it, and a filter must fit
/// into an argument (128 KiB).
const MAX_BATCH: usize = 50;
/// Batches for each process at once, so that all end at about the same time.
const BATCHES_PER_JOB: usize = 4;
/// How long a process may take to end after its last test, and its output after that.
const DRAIN: Duration = Duration::from_secs(10);

/// How to run the tests.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The program.
    pub program: PathBuf,
    /// Processes at once.
    pub jobs: usize,
    /// How long a single test may take.
    pub limit: Duration,
}

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Its name.
    pub name: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, in one line.
    pub reason: Option<String>,
    /// Where it failed, or where it is defined.
    pub source: Option<Location>,
    /// Wall time.
    pub took: Duration,
    /// What it printed; untrusted.
    pub output: String,
}

/// Runs `tests`; sends how each ended, once, in the order in which they end.
pub async fn run(settings: &Settings, tests: Vec<UnitTest>, ended: &UnboundedSender<Finished>) {
    let mut queue = VecDeque::new();
    for test in tests {
        if test.disabled {
            let finished = Finished {
                reason: Some("disabled".to_owned()),
                ..judged(&test, Verdict::Skip, &[], Duration::ZERO)
            };
            // If nobody listens, the run has ended.
            let _ = ended.send(finished);
        } else {
            queue.push_back(test);
        }
    }
    let batch = queue.len().div_ceil(settings.jobs * BATCHES_PER_JOB);
    let batch = batch.clamp(1, MAX_BATCH);
    let queue = Mutex::new(queue);
    let take = || {
        let mut queue = queue.lock().ok()?;
        let taken = batch.min(queue.len());
        (taken > 0).then(|| queue.drain(..taken).collect::<Vec<_>>())
    };
    let worker = async || {
        while let Some(mut left) = take() {
            while !left.is_empty() {
                left = process(settings, left, ended).await;
            }
        }
    };
    join_all((0..settings.jobs).map(|_| worker())).await;
}

/// Runs tests in one process until it ends; returns those that it did not begin, fewer than it
/// got.
async fn process(
    settings: &Settings,
    mut left: Vec<UnitTest>,
    ended: &UnboundedSender<Finished>,
) -> Vec<UnitTest> {
    let mut follower = Follower::default();
    let mut begun = Instant::now();
    let tell = |test: &UnitTest, finished: Finished| {
        let _ = ended.send(Finished {
            source: finished.source.or_else(|| test.source.clone()),
            ..finished
        });
    };
    let (mut child, output) = match start(settings, &left).await {
        Ok(started) => started,
        Err(error) => {
            for test in &left {
                let why = format!("cannot start {}: {error}", settings.program.display());
                tell(test, failed(test, Verdict::Error, why, &[], Duration::ZERO));
            }
            return Vec::new();
        }
    };
    let mut lines = BufReader::new(output).split(b'\n');
    let mut over_limit = false;
    loop {
        let line = match tokio::time::timeout(settings.limit, lines.next_segment()).await {
            Ok(Ok(Some(line))) => line,
            // Its end, or an error, which its status explains.
            Ok(_) => break,
            Err(_) => {
                over_limit = true;
                break;
            }
        };
        let running = follower.running.is_some();
        if let Some(Ended {
            name,
            verdict,
            output,
        }) = follower.line(&line)
        {
            if let Some(at) = left.iter().position(|test| test.name == name) {
                let test = left.remove(at);
                tell(&test, judged(&test, verdict, &output, begun.elapsed()));
            }
            begun = Instant::now();
        } else if !running && follower.running.is_some() {
            begun = Instant::now();
        }
        // One that prints all the time is not idle, and yet hangs.
        if follower.running.is_some() && begun.elapsed() > settings.limit {
            over_limit = true;
            break;
        }
    }
    let status = if over_limit {
        child.stop(Duration::ZERO).await
    } else {
        match tokio::time::timeout(DRAIN, child.wait()).await {
            Ok(status) => status,
            Err(_) => child.stop(Duration::ZERO).await,
        }
    };
    let culprit = match &follower.running {
        Some(name) => left.iter().position(|test| test.name == *name),
        // It ended before its first test, or between two.
        None => (!left.is_empty()).then_some(0),
    };
    if let Some(at) = culprit {
        let test = left.remove(at);
        let (verdict, why) = if over_limit {
            let limit = settings.limit.as_secs_f64();
            (Verdict::Timeout, format!("it ran for more than {limit} s"))
        } else if follower.running.is_some() {
            (
                Verdict::Fail,
                format!("the program ended in this test: {}", how(status)),
            )
        } else {
            let why = format!("the program ended before this test: {}", how(status));
            (Verdict::Error, why)
        };
        tell(
            &test,
            failed(&test, verdict, why, &follower.output, begun.elapsed()),
        );
    }
    left
}

async fn start(
    settings: &Settings,
    tests: &[UnitTest],
) -> io::Result<(Supervised, pipe::Receiver)> {
    let names: Vec<&str> = tests.iter().map(|test| test.name.as_str()).collect();
    // One pipe for both streams keeps their order.
    let (reader, writer) = io::pipe()?;
    let mut command = Command::new(&settings.program);
    command
        .arg(format!("--gtest_filter={}", names.join(":")))
        .arg("--gtest_color=no")
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let output = pipe::Receiver::from_owned_fd(reader.into())?;
    Ok((Supervised::spawn(command).await?, output))
}

fn judged(test: &UnitTest, verdict: Verdict, output: &[u8], took: Duration) -> Finished {
    let output = bounded_text(output);
    let (reason, source) = match reason(&output) {
        Some((reason, source)) if verdict != Verdict::Pass => (Some(reason), source),
        _ if verdict == Verdict::Fail => (Some("it failed".to_owned()), None),
        _ => (None, None),
    };
    Finished {
        name: test.name.clone(),
        verdict,
        reason,
        source,
        took,
        output,
    }
}

fn failed(
    test: &UnitTest,
    verdict: Verdict,
    why: String,
    output: &[u8],
    took: Duration,
) -> Finished {
    Finished {
        reason: Some(why),
        ..judged(test, verdict, output, took)
    }
}

fn how(status: io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => status.to_string(),
        Err(error) => format!("its status is unknown: {error}"),
    }
}
