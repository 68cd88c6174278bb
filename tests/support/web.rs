//! A web server on the loopback, as good or bad as a test needs.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// The response for a path.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    /// The body.
    pub(crate) body: Arc<[u8]>,
    /// The value of `Content-Length`, if it is wrong.
    pub(crate) announced: Option<usize>,
    /// How long the server waits before it answers.
    pub(crate) delay: Duration,
    /// The `Authorization` without which it answers 401.
    pub(crate) login: Option<String>,
}

impl Page {
    pub(crate) fn new(body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into().into(),
            announced: None,
            delay: Duration::ZERO,
            login: None,
        }
    }
}

/// Serves until dropped; answers 404 to every path it does not know.
#[derive(Debug)]
pub(crate) struct WebServer {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl WebServer {
    pub(crate) fn start(pages: impl IntoIterator<Item = (&'static str, Page)>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let pages: Arc<HashMap<&str, Page>> = Arc::new(pages.into_iter().collect());
        let thread = {
            let (requests, stop) = (Arc::clone(&requests), Arc::clone(&stop));
            std::thread::spawn(move || {
                let serving = Mutex::new(Vec::new());
                for stream in listener.incoming() {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let (pages, requests) = (Arc::clone(&pages), Arc::clone(&requests));
                    let one = std::thread::spawn(move || {
                        // A client may disconnect.
                        let _ = stream.and_then(|stream| answer(&stream, &pages, &requests));
                    });
                    serving.lock().unwrap().push(one);
                }
            })
        };
        Self {
            address,
            requests,
            stop,
            thread: Some(thread),
        }
    }

    /// The address of a path, which begins with a slash.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How many requests there have been.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(
    mut stream: &TcpStream,
    pages: &HashMap<&str, Page>,
    requests: &AtomicUsize,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let mut authorization = None;
    while let Some(line) = lines.next().transpose()?.filter(|line| !line.is_empty()) {
        if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("authorization")
        {
            authorization = Some(value.to_owned());
        }
    }
    requests.fetch_add(1, Ordering::SeqCst);
    let path = request.split_whitespace().nth(1).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    let Some(page) = pages.get(path) else {
        let nothing = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        return stream.write_all(nothing.as_bytes());
    };
    std::thread::sleep(page.delay);
    if page.login.is_some() && page.login != authorization {
        let body = "{\"details\":\"incorrect username or password\"}";
        return write!(
            stream,
            "HTTP/1.1 401 Unauthorized\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
    }
    let length = page.announced.unwrap_or(page.body.len());
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(&page.body)
}

/// The address of a loopback port at which nobody listens.
pub(crate) fn dead_url(path: &str) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    format!("http://{address}{path}")
}
