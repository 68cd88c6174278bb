//! `trace.dat`, version 6: trace-cmd.dat.v6(5). What tracefs has in pieces, in one file.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::libc;

/// Magic number, name, version, byte order (little), bytes of a `long`.
const START: &[u8] = b"\x17\x08\x44tracing6\0\x00\x08";
/// Bytes of a page of the ring buffer.
const PAGE: usize = 4096;
/// Most bytes of one CPU's pages: a buffer is smaller.
const LIMIT: u64 = 256 << 20;

/// Where the pieces are.
#[derive(Debug)]
pub(super) struct Source {
    /// tracefs.
    pub(super) tracefs: PathBuf,
    /// The instance whose buffer is written; its events are off.
    pub(super) instance: PathBuf,
    /// `/proc/kallsyms`.
    pub(super) kallsyms: PathBuf,
}

impl Source {
    /// Writes what the buffer has, and empties it.
    pub(super) fn write(&self, out: &mut (impl Write + Seek)) -> io::Result<()> {
        out.write_all(START)?;
        put_u32(out, PAGE)?;
        let events = self.tracefs.join("events");
        for name in ["header_page", "header_event"] {
            out.write_all(name.as_bytes())?;
            out.write_all(b"\0")?;
            put(out, &whole(&events.join(name))?)?;
        }
        let own = formats(&events.join("ftrace"))?;
        put_u32(out, own.len())?;
        for format in &own {
            put(out, format)?;
        }
        let mut with_symbols = false;
        let enabled = self.enabled()?;
        put_u32(out, enabled.len())?;
        for (system, names) in &enabled {
            out.write_all(system.as_bytes())?;
            out.write_all(b"\0")?;
            put_u32(out, names.len())?;
            for name in names {
                let format = fs::read(events.join(system).join(name).join("format"))?;
                // Such a field has the address of a function.
                with_symbols |= format.windows(2).any(|two| two == b"%p");
                put(out, &format)?;
            }
        }
        let symbols = if with_symbols {
            functions(&self.kallsyms)?
        } else {
            Vec::new()
        };
        put_u32(out, symbols.len())?;
        out.write_all(&symbols)?;
        let printed = fs::read(self.tracefs.join("printk_formats")).unwrap_or_default();
        put_u32(out, printed.len())?;
        out.write_all(&printed)?;
        let names = fs::read(self.tracefs.join("saved_cmdlines")).unwrap_or_default();
        put(out, &names)?;
        self.write_pages(out)
    }

    /// The events that are recorded, by system.
    fn enabled(&self) -> io::Result<BTreeMap<String, Vec<String>>> {
        let mut systems: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let list = fs::read_to_string(self.instance.join("set_event"))?;
        for (system, name) in list.lines().filter_map(|line| line.split_once(':')) {
            if !system.is_empty() && !name.contains(':') {
                let names = systems.entry(system.to_owned()).or_default();
                names.push(name.to_owned());
            }
        }
        Ok(systems)
    }

    /// The pages of each CPU, and before them where they are.
    fn write_pages(&self, out: &mut (impl Write + Seek)) -> io::Result<()> {
        let cpus = cpus(&self.instance)?;
        put_u32(out, cpus)?;
        out.write_all(b"flyrecord\0")?;
        let table = out.stream_position()?;
        out.write_all(&vec![0; cpus * 16])?;
        let mut places = Vec::new();
        for cpu in 0..cpus {
            let at = align(out)?;
            let pages = format!("per_cpu/cpu{cpu}/trace_pipe_raw");
            copy_pages(&self.instance.join(pages), out)?;
            places.push((at, out.stream_position()? - at));
        }
        out.seek(SeekFrom::Start(table))?;
        for (at, size) in places {
            out.write_all(&at.to_le_bytes())?;
            out.write_all(&size.to_le_bytes())?;
        }
        out.flush()
    }
}

/// How many CPUs an instance of tracefs has.
pub(super) fn cpus(instance: &Path) -> io::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(instance.join("per_cpu"))? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("cpu"));
        if let Some(number) = number.and_then(|number| number.parse::<usize>().ok()) {
            count = count.max(number + 1);
        }
    }
    Ok(count)
}

/// The content of a file of tracefs. Some give all with the first read or never
/// (`show_header` of kernel/trace/trace_events.c), and [`fs::read`] begins with 32 bytes.
fn whole(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    copy(&mut File::open(path)?, &mut content)?;
    Ok(content)
}

/// Copies until nothing is left; tracefs has no size to go by.
pub(super) fn copy(from: &mut impl io::Read, to: &mut impl Write) -> io::Result<()> {
    let mut piece = vec![0; 64 << 10];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => to.write_all(piece.get(..count).unwrap_or_default())?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Copies the pages of one CPU. Each read gives one.
fn copy_pages(path: &Path, out: &mut impl Write) -> io::Result<()> {
    let mut options = File::options();
    let file = options.read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let mut file = match file {
        Ok(file) => file.take(LIMIT),
        // A CPU that is not there.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut page = [0; PAGE];
    loop {
        match file.read(&mut page) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                page.get_mut(count..).unwrap_or_default().fill(0);
                out.write_all(&page)?;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Nothing is left.
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Goes on at the start of a page; returns where that is.
fn align(out: &mut (impl Write + Seek)) -> io::Result<u64> {
    let at = out.stream_position()?;
    let next = at.next_multiple_of(PAGE as u64);
    for _ in at..next {
        out.write_all(b"\0")?;
    }
    Ok(next)
}

/// The formats of a system's events.
fn formats(system: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(system)?
        .flatten()
        .map(|entry| entry.path().join("format"))
        .filter(|path| path.exists())
        .collect();
    paths.sort();
    paths.iter().map(fs::read).collect()
}

/// The lines of functions.
fn functions(kallsyms: &Path) -> io::Result<Vec<u8>> {
    let mut file = BufReader::new(File::open(kallsyms)?);
    let (mut line, mut lines) = (Vec::new(), Vec::new());
    while file.read_until(b'\n', &mut line)? > 0 {
        let kind = line.split(|&byte| byte == b' ').nth(1);
        if matches!(kind, Some(b"t" | b"T" | b"w" | b"W")) {
            lines.extend_from_slice(&line);
        }
        line.clear();
    }
    Ok(lines)
}

/// A size of 8 bytes, and the content.
fn put(out: &mut impl Write, content: &[u8]) -> io::Result<()> {
    out.write_all(&(content.len() as u64).to_le_bytes())?;
    out.write_all(content)
}

fn put_u32(out: &mut impl Write, number: usize) -> io::Result<()> {
    let number = u32::try_from(number).map_err(|_| ErrorKind::InvalidData)?;
    out.write_all(&number.to_le_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Cursor;

    use super::*;

    fn file(dir: &Path, path: &str, content: impl AsRef<[u8]>) {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Takes bytes from the front.
    struct Bytes<'a>(&'a [u8]);

    impl<'a> Bytes<'a> {
        fn take(&mut self, count: usize) -> &'a [u8] {
            let (taken, rest) = self.0.split_at(count);
            self.0 = rest;
            taken
        }

        fn number(&mut self, bytes: usize) -> usize {
            let mut number = [0; 8];
            number[..bytes].copy_from_slice(self.take(bytes));
            usize::try_from(u64::from_le_bytes(number)).unwrap()
        }

        fn sized(&mut self, bytes: usize) -> &'a str {
            let size = self.number(bytes);
            std::str::from_utf8(self.take(size)).unwrap()
        }

        fn word(&mut self) -> &'a str {
            let end = self.0.iter().position(|&byte| byte == 0).unwrap();
            let word = self.take(end + 1);
            std::str::from_utf8(&word[..end]).unwrap()
        }
    }

    #[test]
    fn a_trace_has_its_formats_its_functions_and_the_pages_of_each_cpu() {
        let dir = tempfile::tempdir().unwrap();
        let place = |path: &str, content: &[u8]| file(dir.path(), path, content);
        place("events/header_page", b"field: u64 timestamp");
        place("events/header_event", b"type_len");
        place("events/ftrace/print/format", b"name: print");
        place("events/ftrace/function/format", b"name: function");
        place("events/sched/sched_switch/format", b"name: sched_switch %d");
        place("events/timer/timer_start/format", b"name: timer_start %ps");
        place("printk_formats", b"0x1 : \"x\"\n");
        place("saved_cmdlines", b"1 init\n");
        place(
            "kallsyms",
            b"1 t a\n2 D data\n3 T b\t[module]\n4 r read\n5 W weak\n",
        );
        place(
            "instances/kiln/set_event",
            b"sched:sched_switch\ntimer:timer_start\n",
        );
        place(
            "instances/kiln/per_cpu/cpu0/trace_pipe_raw",
            &[1; 2 * PAGE - 5],
        );
        place("instances/kiln/per_cpu/cpu1/trace_pipe_raw", b"");
        let source = Source {
            tracefs: dir.path().to_owned(),
            instance: dir.path().join("instances/kiln"),
            kallsyms: dir.path().join("kallsyms"),
        };
        let mut out = Cursor::new(Vec::new());
        source.write(&mut out).unwrap();
        let all = out.into_inner();
        let mut bytes = Bytes(&all);
        assert_eq!(bytes.take(10), b"\x17\x08\x44tracing");
        assert_eq!(bytes.word(), "6");
        assert_eq!(bytes.take(2), [0, 8]);
        assert_eq!(bytes.number(4), PAGE);
        assert_eq!(bytes.word(), "header_page");
        assert_eq!(bytes.sized(8), "field: u64 timestamp");
        assert_eq!(bytes.word(), "header_event");
        assert_eq!(bytes.sized(8), "type_len");
        assert_eq!(bytes.number(4), 2);
        assert_eq!(bytes.sized(8), "name: function");
        assert_eq!(bytes.sized(8), "name: print");
        assert_eq!(bytes.number(4), 2);
        assert_eq!((bytes.word(), bytes.number(4)), ("sched", 1));
        assert_eq!(bytes.sized(8), "name: sched_switch %d");
        assert_eq!((bytes.word(), bytes.number(4)), ("timer", 1));
        assert_eq!(bytes.sized(8), "name: timer_start %ps");
        assert_eq!(bytes.sized(4), "1 t a\n3 T b\t[module]\n5 W weak\n");
        assert_eq!(bytes.sized(4), "0x1 : \"x\"\n");
        assert_eq!(bytes.sized(8), "1 init\n");
        assert_eq!(bytes.number(4), 2);
        assert_eq!(bytes.word(), "flyrecord");
        let (first, size) = (bytes.number(8), bytes.number(8));
        assert_eq!((first % PAGE, size), (0, 2 * PAGE));
        assert_eq!(all[first..][..2 * PAGE - 5], [1; 2 * PAGE - 5]);
        assert_eq!(all[first + 2 * PAGE - 5..], [0; 5]);
        assert_eq!((bytes.number(8), bytes.number(8)), (first + 2 * PAGE, 0));
    }

    #[test]
    fn events_without_addresses_need_no_functions() {
        let dir = tempfile::tempdir().unwrap();
        for (path, content) in [
            ("events/header_page", ""),
            ("events/header_event", ""),
            ("events/ftrace/print/format", "name: print"),
            ("events/sched/sched_switch/format", "name: sched_switch"),
            ("set_event", "sched:sched_switch\n:mod:later\n"),
            ("per_cpu/cpu0/stats", ""),
        ] {
            file(dir.path(), path, content);
        }
        let source = Source {
            tracefs: dir.path().to_owned(),
            instance: dir.path().to_owned(),
            kallsyms: dir.path().join("not there"),
        };
        source.write(&mut Cursor::new(Vec::new())).unwrap();
    }
}
