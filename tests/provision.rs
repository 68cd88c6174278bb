//! `kiln run` provides kernels while it tests others; an unavailable one affects only its own
//! tests.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::material;
use crate::support::suite::{events, junit, out, run, suite, verdicts};
use crate::support::web;
use crate::support::{Kiln, checkout};

const TESTS: &str = "NAME 1 first\nRUN echo hello\nEXPECT hello\nTIMEOUT 20\n\n\
                     NAME 2 second\nRUN echo hello\nEXPECT hello\nTIMEOUT 20\n\n";

/// A kiln with the kernels of this checkout, and `far` on a web server.
fn with_far_kernel(url: &str) -> Kiln {
    let kiln = suite(TESTS);
    let shared = fs::read_to_string(checkout().join("kernels.toml")).unwrap();
    let far = format!(
        "\n[kernels.far]\nurl = \"{url}\"\nsha256 = \"{}\"\n",
        "0".repeat(64)
    );
    let lock = fs::read(checkout().join("kernels.lock")).unwrap();
    kiln.file("kernels.lock", lock);
    let config = kiln.file("kernels.toml", format!("{shared}{far}"));
    kiln.config(config)
}

/// A server of one download that drips until the test aborts it.
fn dripping() -> (String, Arc<AtomicBool>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/kernel", listener.local_addr().unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = BufReader::new(stream.try_clone().unwrap()).lines();
        while request.next().is_some_and(|line| !line.unwrap().is_empty()) {}
        let mut send = |bytes: &[u8]| stream.write_all(bytes);
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
        let mut sent = send(head);
        // It also ends if kiln does.
        while sent.is_ok() && !told.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(100));
            sent = send(b"x");
        }
    });
    (url, stop)
}

#[test]
fn a_kernel_that_cannot_be_fetched_fails_alone_and_the_other_is_tested_meanwhile() {
    let (url, break_off) = dripping();
    let kiln = with_far_kernel(&url);
    let mut running = run(&kiln, &["far", "6.1"]).arg("-j").arg("2").start();
    // All tests of 6.1 run during the download.
    for id in ["suite.1 first", "suite.2 second"] {
        running.wait_for(&format!("PASS  6.1  {id}"));
    }
    assert!(!running.out().contains("NO KERNEL"), "{}", running.out());
    break_off.store(true, Ordering::SeqCst);
    let output = running.wait();
    output.assert_code(96);
    let pass = |id: &str| ("6.1".to_owned(), id.to_owned(), "pass".to_owned());
    assert_eq!(
        verdicts(&out(&kiln)),
        [pass("suite.1 first"), pass("suite.2 second")]
    );
    let text = output.out();
    let told = text
        .lines()
        .find(|line| line.starts_with("NO KERNEL  far  "));
    assert!(told.unwrap().contains(&url), "{text}");
    assert!(text.contains("2 pass, 2 not run in "), "{text}");
    let all = events(&out(&kiln));
    let of = |name: &str| -> Vec<_> { all.iter().filter(|event| event["event"] == name).collect() };
    let [failed] = of("kernel_failed")[..] else {
        panic!("one kernel failed: {all:#?}");
    };
    assert_eq!(failed["kernel"], "far");
    let reason = failed["reason"].as_str().unwrap();
    assert!(reason.contains("it ended after "), "{reason}");
    let [ready] = of("kernel_ready")[..] else {
        panic!("one kernel was ready: {all:#?}");
    };
    assert_eq!(ready["kernel"], "6.1");
    assert_eq!(ready["sha256"].as_str().unwrap().len(), 64);
    assert!(
        ready["release"].as_str().unwrap().starts_with("6.1."),
        "{ready}"
    );
    assert_eq!(all.last().unwrap()["exit_code"], 96);
    let report = junit(&out(&kiln));
    assert!(
        report.contains("tests=\"3\"") && report.contains("errors=\"1\""),
        "{report}"
    );
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}

#[test]
fn a_run_whose_only_kernel_is_unavailable_boots_nothing_and_says_why() {
    let server = web::WebServer::start([]);
    let url = server.url("/gone.tar");
    let kiln = with_far_kernel(&url);
    let output = run(&kiln, &["far"]).run();
    output.assert_code(96);
    let text = output.out();
    assert!(
        text.contains(&format!(
            "NO KERNEL  far  kernel \"far\" is not in the cache: cannot download {url}: "
        )) && text.contains("404"),
        "{text}"
    );
    assert!(text.contains("2 not run in "), "{text}");
    assert_eq!(verdicts(&out(&kiln)), []);
    // The command line is checked before: an unknown name is not a problem of one kernel.
    let output = kiln
        .plain(["run", "-k", "far", "-k", "fra", "--tests", "tests"])
        .args(["--dialect", "0.17"])
        .run();
    output
        .assert_code(96)
        .assert_out("")
        .assert_err_contains("there is no kernel \"fra\"");
}

#[test]
fn a_kernel_that_lacks_what_a_guest_needs_costs_its_own_tests_only() {
    let material = material::Material::of(&suite(TESTS));
    let kiln = Kiln::with_empty_cache();
    kiln.file("tests/runtime/suite", TESTS);
    let [good, bad] = ["good", "bad"].map(|name| kiln.path(name));
    material.unpack(&good, &[]);
    material.unpack(&bad, &["virtio_console"]);
    let [good, bad] = [good.to_str().unwrap(), bad.to_str().unwrap()];
    let output = run(&kiln, &[bad, good]).run();
    output.assert_code(96);
    let text = output.out();
    assert!(
        text.contains(&format!("NO KERNEL  {bad}  "))
            && text.contains("the kernel has no virtio_console")
            && text.contains("CONFIG_VIRTIO_CONSOLE"),
        "{text}"
    );
    let pass = |id: &str| (good.to_owned(), id.to_owned(), "pass".to_owned());
    assert_eq!(
        verdicts(&out(&kiln)),
        [pass("suite.1 first"), pass("suite.2 second")]
    );
}
