//! The contents of a pool: read from its suites, and cached so that a query needs neither a network
//! nor an index.

use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::super::at_once::{DOWNLOADS, at_once};
use super::super::cache::Key;
use super::super::debian::{self, Change, Known, Suite};
use super::super::source::{Place, place};
use super::super::{Cache, Error, Progress, digest};
use crate::config::{Pool, PoolFile, PoolKernel, UnlistedFile, numbers};
use crate::{offline, whole_file};

/// Increase this when the format of the cache changes.
const FORMAT: &[u8] = b"1";

/// How long, in seconds, before suites are queried again: Debian's archive changes four times a
/// day, and jobs of one pipeline should get the same kernels.
const FRESH: u64 = 60 * 60;

/// How long, in seconds, before a suite is queried again after a failure, if something is known
/// about it.
const AGAIN: u64 = 60;

/// Offline, warn about lists that are older than this, in seconds.
const OLD: u64 = 24 * 60 * 60;

/// The cached data of a pool: first what answers queries, then what makes the next update cheap.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Answer {
    suites: Vec<Query>,
    kernels: Vec<Found>,
}

/// When a suite was queried.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Query {
    mirror: String,
    /// When it answered, in seconds since 1970; 0 if it never did.
    answered: u64,
    /// When it was last queried and did not answer.
    failed: u64,
}

/// A kernel of the pool. Its name is without the pool's.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Found {
    name: String,
    upstream: String,
    /// Indices into the pool's suites.
    suites: Vec<usize>,
    parts: Parts,
}

/// The files of a kernel.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Parts {
    /// At least one.
    files: Vec<PoolFile>,
    unlisted: Vec<UnlistedFile>,
}

/// What is known about a suite.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Listed {
    modified: Option<String>,
    index: String,
    valid_until: Option<i64>,
    kernels: Vec<Parts>,
}

/// A pool, and where its suites are.
pub(super) struct Lists<'a> {
    pool: &'a Pool,
    cache: &'a Cache,
    progress: &'a Progress,
    places: Vec<Place>,
    key: Key,
}

impl<'a> Lists<'a> {
    pub(super) fn new(pool: &'a Pool, cache: &'a Cache, progress: &'a Progress) -> Self {
        let places: Vec<Place> = pool
            .suites
            .iter()
            .map(|suite| place(&pool.source(suite, &pool.package)))
            .collect();
        Self {
            key: key(pool, &places),
            pool,
            cache,
            progress,
            places,
        }
    }

    /// The kernels of the pool, sorted by version; queries suites that were not queried for a
    /// while, or all if `anew`.
    pub(super) fn kernels(&self, anew: bool) -> Result<Vec<PoolKernel>, Error> {
        let (answer, _) = self.kept();
        if !anew && self.stale(&answer, now()).is_empty() {
            return Ok(self.shown(answer));
        }
        if offline::is_on() {
            return self.offline(answer);
        }
        let name = self.key.to_string();
        let _lock = self
            .cache
            .lock(&name, || self.progress.waiting(&self.pool.name))?;
        // Another kiln may have queried it meanwhile.
        let (answer, listed) = self.kept();
        let stale = if anew {
            (0..self.places.len()).collect()
        } else {
            self.stale(&answer, now())
        };
        if stale.is_empty() {
            return Ok(self.shown(answer));
        }
        self.ask(answer, listed, &stale)
            .map(|answer| self.shown(answer))
    }

    /// What is known, however old.
    fn offline(&self, answer: Answer) -> Result<Vec<PoolKernel>, Error> {
        let missing = answer.suites.iter().position(|query| query.answered == 0);
        if let Some(missing) = missing {
            let url = self.suite(missing, None).release_url();
            return Err(self.no_lists(Error::Offline { url }));
        }
        let oldest = answer.suites.iter().map(|query| query.answered).min();
        let age = now().saturating_sub(oldest.unwrap_or(0));
        if age > OLD {
            self.progress.line(&format!(
                "what the pool \"{}\" has is known as of {} ago",
                self.pool.name,
                days(age)
            ));
        }
        Ok(self.shown(answer))
    }

    /// Indices of the suites to query.
    fn stale(&self, answer: &Answer, now: u64) -> Vec<usize> {
        let fresh = |time: u64, long: u64| time <= now && now - time < long;
        let queries = answer.suites.iter().zip(&self.places).enumerate();
        queries
            .filter(|(_, (query, place))| {
                let known = query.answered > 0 && query.mirror == place.mirror.uri;
                !known || !(fresh(query.answered, FRESH) || fresh(query.failed, AGAIN))
            })
            .map(|(index, _)| index)
            .collect()
    }

    /// Queries some suites, and caches the answers.
    fn ask(
        &self,
        mut answer: Answer,
        mut listed: Vec<Listed>,
        stale: &[usize],
    ) -> Result<Answer, Error> {
        let answers = at_once(stale, DOWNLOADS, |&index| {
            let place = &self.places[index];
            let same = answer.suites[index].mirror == place.mirror.uri;
            let known = (answer.suites[index].answered > 0).then(|| &listed[index]);
            self.ask_one(index, known, same)
        });
        let now = now();
        let mut failure = None;
        let mut absent = Vec::new();
        for (&index, answered) in stale.iter().zip(answers) {
            let (query, known) = (&mut answer.suites[index], &mut listed[index]);
            let mirror = &self.places[index].mirror.uri;
            let outcome = match answered {
                Err(Error::Download {
                    url, gone: true, ..
                }) if url.ends_with("/InRelease") => {
                    absent.push(index);
                    *known = Listed::default();
                    Ok(())
                }
                Err(error) => Err(error),
                Ok(change) => {
                    match change {
                        Change::None => {}
                        Change::Release(listing) => {
                            (known.modified, known.valid_until) =
                                (listing.modified, listing.valid_until);
                        }
                        Change::Index(listing, packages) => {
                            *known = Listed {
                                modified: listing.modified,
                                index: listing.index,
                                valid_until: listing.valid_until,
                                kernels: kernels(&packages, &self.pool.package),
                            };
                        }
                    }
                    Ok(())
                }
            };
            match outcome {
                Ok(()) => {
                    *query = Query {
                        mirror: mirror.clone(),
                        answered: now,
                        failed: 0,
                    };
                }
                Err(error @ Error::Download { .. })
                    if query.answered > 0 && query.mirror == *mirror =>
                {
                    query.failed = now;
                    self.progress.line(&format!(
                        "warning: {error}; what {} had {} ago is taken",
                        self.pool.suites[index],
                        days(now.saturating_sub(query.answered))
                    ));
                }
                Err(error) => {
                    *query = Query::default();
                    failure.get_or_insert(error);
                }
            }
        }
        answer.kernels = merged(&listed);
        self.keep(&answer, &listed);
        match failure {
            Some(error @ Error::Download { .. }) => return Err(self.no_lists(error)),
            Some(error) => return Err(error),
            None => {}
        }
        self.tell_absent(&absent)?;
        Ok(answer)
    }

    fn ask_one(&self, index: usize, known: Option<&Listed>, same: bool) -> Result<Change, Error> {
        let keyring = self.places[index].keyring()?;
        let known = known.map(|listed| {
            let expired = listed
                .valid_until
                .is_some_and(|until| u64::try_from(until).unwrap_or(0) < now());
            Known {
                // Read expired lists again, and warn about them.
                modified: listed.modified.as_deref().filter(|_| same && !expired),
                index: &listed.index,
            }
        });
        self.suite(index, keyring.as_ref())
            .changed(known.as_ref(), self.cache, self.progress)
    }

    fn suite<'s>(&'s self, index: usize, keyring: Option<&'s debian::Keyring>) -> Suite<'s> {
        Suite {
            arch: self.pool.arch,
            mirror: &self.places[index].mirror.uri,
            name: &self.pool.suites[index],
            component: &self.pool.component,
            keyring,
        }
    }

    /// Skip suites that a mirror does not have, unless it has none.
    fn tell_absent(&self, absent: &[usize]) -> Result<(), Error> {
        let Some(&first) = absent.first() else {
            return Ok(());
        };
        if absent.len() == self.places.len() {
            return Err(self.no_lists(Error::Index {
                url: self.suite(first, None).release_url(),
                reason: "it is not there, and no other suite of the pool either".to_owned(),
            }));
        }
        let names: Vec<&str> = absent
            .iter()
            .map(|&index| self.pool.suites[index].as_str())
            .collect();
        self.progress.line(&format!(
            "warning: the pool \"{}\" is without {}: not on {}",
            self.pool.name,
            names.join(", "),
            self.places[first].mirror.uri
        ));
        Ok(())
    }

    fn no_lists(&self, source: Error) -> Error {
        Error::NoLists {
            pool: self.pool.name.clone(),
            source: Box::new(source),
        }
    }

    fn shown(&self, answer: Answer) -> Vec<PoolKernel> {
        let pool = self.pool;
        let suite = |index: &usize| pool.suites.get(*index).cloned();
        let kernels = answer.kernels.into_iter().filter_map(|found| {
            let suites: Vec<String> = found.suites.iter().filter_map(suite).collect();
            Some(PoolKernel {
                name: format!("{}:{}", pool.name, found.name),
                arch: pool.arch,
                source: pool.source(suites.first()?, &found.parts.files.first()?.package),
                suites,
                upstream: found.upstream,
                files: found.parts.files,
                unlisted: found.parts.unlisted,
            })
        });
        kernels.collect()
    }

    fn path(&self) -> PathBuf {
        self.cache.root().join("pools").join(self.key.to_string())
    }

    /// The cached data; none counts as damaged.
    fn kept(&self) -> (Answer, Vec<Listed>) {
        let count = self.places.len();
        let nothing = || {
            let answer = Answer {
                suites: vec![Query::default(); count],
                kernels: Vec::new(),
            };
            (answer, vec![Listed::default(); count])
        };
        let Ok(bytes) = fs::read(self.path()) else {
            return nothing();
        };
        let read = postcard::take_from_bytes::<Answer>(&bytes)
            .and_then(|(answer, rest)| Ok((answer, postcard::from_bytes::<Vec<Listed>>(rest)?)));
        match read {
            Ok((answer, listed)) if answer.suites.len() == count && listed.len() == count => {
                (answer, listed)
            }
            _ => nothing(),
        }
    }

    fn keep(&self, answer: &Answer, listed: &[Listed]) {
        // If it is not cached, the suites are queried again the next time.
        let bytes =
            postcard::to_allocvec(answer).and_then(|bytes| postcard::to_extend(&listed, bytes));
        if let (Ok(bytes), Ok(_)) = (bytes, self.cache.subdirectory("pools")) {
            let _ = whole_file::write(&self.path(), &bytes);
        }
    }
}

/// Equal keys mean equal queries with the same trust.
fn key(pool: &Pool, places: &[Place]) -> Key {
    let mut trusted: Vec<PathBuf> = places.iter().flat_map(Place::keyrings).collect();
    trusted.sort();
    trusted.dedup();
    let keys: Vec<String> = trusted
        .iter()
        .map(|file| digest::of_bytes(&fs::read(file).unwrap_or_default()))
        .collect();
    let fixed = [
        FORMAT,
        pool.arch.debian().as_bytes(),
        pool.package.as_bytes(),
        pool.component.as_bytes(),
        pool.mirror.as_deref().unwrap_or_default().as_bytes(),
        if pool.trusted { b"trusted" } else { b"" },
    ];
    let suites = pool.suites.iter().map(String::as_bytes);
    let keys = keys.iter().map(String::as_bytes);
    Key::new(
        "pool",
        fixed
            .into_iter()
            .chain(suites)
            .chain([b"".as_slice()])
            .chain(keys),
    )
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |time| time.as_secs())
}

fn days(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX / 1000);
    debian::days(chrono::TimeDelta::seconds(seconds))
}

fn kernels(packages: &[debian::Package], pattern: &str) -> Vec<Parts> {
    let Some(names) = debian::KernelNames::matching(pattern) else {
        return Vec::new();
    };
    let kernels = debian::all(packages, &names);
    kernels.into_iter().filter_map(parts_of).collect()
}

fn parts_of(kernel: debian::Kernel) -> Option<Parts> {
    let first = kernel.files.first()?.path.clone();
    let unlisted = kernel.unlisted.into_iter().map(|(package, version)| {
        Some(UnlistedFile {
            path: beside(&first, &package, &version)?,
            package,
            version,
        })
    });
    let unlisted = unlisted.collect::<Option<_>>()?;
    let files = kernel.files.into_iter().map(|file| PoolFile {
        package: file.package,
        version: file.version,
        path: file.path,
        size: file.size,
        sha256: file.sha256,
    });
    Some(Parts {
        files: files.collect(),
        unlisted,
    })
}

/// The former path of a package that came from the source package `linux`, as modules do, beside
/// the signed image at `path` (Debian Wiki, DebianRepository/Format, `pool/`):
/// `pool/main/l/linux/NAME_VERSION_ARCH.deb`.
fn beside(path: &str, package: &str, version: &str) -> Option<String> {
    let (directory, file) = path.rsplit_once('/')?;
    let (parent, _) = directory.rsplit_once('/')?;
    let (_, architecture) = file.rsplit_once('_')?;
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    Some(format!("{parent}/linux/{package}_{version}_{architecture}"))
}

/// The kernels of all suites, each once, sorted by version, with their names. The
/// newest build of a version has the version's name.
fn merged(listed: &[Listed]) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for (suite, listed) in listed.iter().enumerate() {
        for parts in &listed.kernels {
            let Some(first) = parts.files.first() else {
                continue;
            };
            let same = found.iter_mut().find(|found| {
                let known = found.parts.files.first();
                known.is_some_and(|known| {
                    (&known.package, &known.version) == (&first.package, &first.version)
                })
            });
            if let Some(same) = same {
                same.suites.push(suite);
                // A suite may list packages that another does not.
                if parts.unlisted.len() < same.parts.unlisted.len() {
                    same.parts = parts.clone();
                    same.suites.rotate_right(1);
                }
                continue;
            }
            found.push(Found {
                name: String::new(),
                upstream: upstream(&first.version),
                suites: vec![suite],
                parts: parts.clone(),
            });
        }
    }
    found.retain(|found| !numbers(&found.upstream).is_empty());
    found.sort_by(|a, b| {
        let (a, b) = (&a.parts.files[0], &b.parts.files[0]);
        debian::compare(&a.version, &b.version).then_with(|| a.package.cmp(&b.package))
    });
    let mut names: Vec<String> = Vec::new();
    for kernel in found.iter_mut().rev() {
        let file = &kernel.parts.files[0];
        let release = file.package.strip_prefix("linux-image-");
        let name = [&kernel.upstream, &file.version]
            .into_iter()
            .find(|name| !names.contains(name))
            .map_or_else(|| release.unwrap_or(&file.package).to_owned(), Clone::clone);
        kernel.name.clone_from(&name);
        names.push(name);
    }
    found
}

/// The kernel's own version: `6.12.90` of `6.12.90-2~bpo12+1`, `7.3-rc7` of
/// `7.3~rc7-1~exp1` (deb-version(7)).
fn upstream(version: &str) -> String {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    let version = version.rsplit_once('-').map_or(version, |(first, _)| first);
    let version = version.replace("~rc", "-rc");
    let end = version.find(['~', '+']).unwrap_or(version.len());
    version[..end].to_owned()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
