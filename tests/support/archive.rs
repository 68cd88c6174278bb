//! A Debian archive on the loopback, signed with a key made here: it knows what was
//! changed since when, and says what it was asked for.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, SystemTime};

use pgp::composed::{
    ArmorOptions, CleartextSignedMessage, KeyType, SecretKeyParamsBuilder, SignedPublicKey,
    SignedSecretKey,
};
use pgp::ser::Serialize as _;
use pgp::types::Password;

use super::material::sha256;

/// What is published of a package: its name, its version, and its file below the
/// archive's root.
pub(crate) struct Package<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    pub(crate) path: &'a str,
}

/// The archive.
pub(crate) struct Archive {
    root: PathBuf,
    key: SignedSecretKey,
    address: String,
    asked: Arc<Asked>,
}

/// What was asked of it.
#[derive(Default)]
struct Asked {
    log: Mutex<Vec<String>>,
    /// Requests for packages that wait, and whether they wait for another.
    waiting: Mutex<(usize, bool)>,
    come: Condvar,
}

/// A key for one archive.
fn key() -> SignedSecretKey {
    let mut params = SecretKeyParamsBuilder::default();
    params
        .key_type(KeyType::Ed25519Legacy)
        .can_certify(true)
        .can_sign(true)
        .primary_user_id("Archive <archive@example.org>".into());
    params
        .build()
        .unwrap()
        .generate(rand::thread_rng())
        .unwrap()
}

impl Archive {
    /// An empty archive in the directory `root`, served on the loopback.
    pub(crate) fn new(root: PathBuf) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Asked::default());
        let (served, heard) = (root.clone(), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (served, heard) = (served.clone(), Arc::clone(&heard));
                std::thread::spawn(move || {
                    // A client may disconnect.
                    let _ = stream.and_then(|stream| answer(&stream, &served, &heard));
                });
            }
        });
        fs::create_dir_all(&root).unwrap();
        Self {
            root,
            key: key(),
            address,
            asked,
        }
    }

    /// `mirror` and `keyring` as they stand in `kernels.toml`; the keyring is a file
    /// beside the archive.
    pub(crate) fn source(&self) -> String {
        let keyring = self.root.with_extension("gpg");
        let public = SignedPublicKey::from(self.key.clone());
        fs::write(&keyring, public.to_bytes().unwrap()).unwrap();
        format!(
            "mirror = \"{}\", keyring = \"{}\"",
            self.address,
            keyring.display()
        )
    }

    /// Where it is served.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Signs with another key from now on, and says its fingerprint.
    pub(crate) fn change_key(&mut self) -> String {
        use pgp::types::KeyDetails as _;
        self.key = key();
        self.key.fingerprint().to_string()
    }

    /// A path below its root.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        let path = self.root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    /// Makes these packages all that a suite has. A file that is not there is made
    /// of noise.
    pub(crate) fn publish(&self, suite: &str, packages: &[Package<'_>]) {
        let stanzas = packages.iter().map(|package| self.stanza(package, ""));
        self.publish_index(suite, &stanzas.collect::<String>());
    }

    /// What an index says of a package; `more` are further fields, a line each.
    pub(crate) fn stanza(&self, package: &Package<'_>, more: &str) -> String {
        let Package {
            name,
            version,
            path,
        } = package;
        let file = self.path(path);
        if !file.exists() {
            fs::write(&file, format!("{name} {version}")).unwrap();
        }
        let bytes = fs::read(&file).unwrap();
        format!(
            "Package: {name}\nVersion: {version}\n{more}Filename: {path}\nSize: {}\nSHA256: {}\n\n",
            bytes.len(),
            sha256(&bytes)
        )
    }

    /// Publishes and signs an index.
    pub(crate) fn publish_index(&self, suite: &str, index: &str) {
        let hash = sha256(index.as_bytes());
        let directory = format!("dists/{suite}/main/binary-amd64/by-hash/SHA256/{hash}");
        fs::write(self.path(&directory), index).unwrap();
        let release = format!(
            "Suite: {suite}\nDate: Thu, 26 Nov 2026 21:03:35 UTC\nAcquire-By-Hash: yes\n\
             SHA256:\n {hash} {} main/binary-amd64/Packages\n",
            index.len()
        );
        let signed = CleartextSignedMessage::sign(
            rand::thread_rng(),
            &release,
            &*self.key,
            &Password::empty(),
        );
        let text = signed.unwrap().to_armored_string(ArmorOptions::default());
        let path = self.path(&format!("dists/{suite}/InRelease"));
        // Seconds are all that HTTP knows.
        let later = fs::metadata(&path).map_or(SystemTime::now(), |meta| {
            meta.modified().unwrap() + Duration::from_secs(2)
        });
        fs::write(&path, text.unwrap()).unwrap();
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(later)
            .unwrap();
    }

    /// What was asked for since the last time: status and path, sorted.
    pub(crate) fn asked(&self) -> Vec<String> {
        let mut log = std::mem::take(&mut *self.asked.log.lock().unwrap());
        log.sort();
        log
    }

    /// From now on a request for a package is answered when another is there, too.
    pub(crate) fn answer_two_at_once(&self) {
        self.asked.waiting.lock().unwrap().1 = true;
    }
}

fn answer(mut stream: &TcpStream, root: &Path, asked: &Asked) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line.trim().is_empty() {
                break;
            }
            head.push(line.trim().to_owned());
        }
        let path = head[0].split_whitespace().nth(1).unwrap_or("/").to_owned();
        if path.starts_with("/pool/") {
            wait_for_another(asked);
        }
        let since = head.iter().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("if-modified-since")
                .then_some(value)
        });
        let file = root.join(path.trim_start_matches('/'));
        let (status, modified, body) = match fs::read(&file) {
            Ok(body) => {
                let time = fs::metadata(&file)?.modified()?;
                let time = chrono::DateTime::<chrono::Utc>::from(time);
                let modified = time.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
                if since == Some(modified.as_str()) {
                    ("304 Not Modified", modified, Vec::new())
                } else {
                    ("200 OK", modified, body)
                }
            }
            Err(_) => ("404 Not Found", String::new(), Vec::new()),
        };
        let line = format!("{} {path}", &status[..3]);
        asked.log.lock().unwrap().push(line);
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nLast-Modified: {modified}\r\n\r\n",
            body.len()
        )?;
        stream.write_all(&body)?;
    }
}

/// Waits until two requests are here, if it is to; a client that asks for one after
/// the other waits for long.
fn wait_for_another(asked: &Asked) {
    let mut waiting = asked.waiting.lock().unwrap();
    if waiting.1 {
        waiting.0 += 1;
        asked.come.notify_all();
        let limit = Duration::from_secs(100);
        let together = |waiting: &mut (usize, bool)| waiting.0 < 2;
        drop(asked.come.wait_timeout_while(waiting, limit, together));
    }
}
