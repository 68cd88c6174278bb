//! A first run: outside of any checkout, without configuration, on a machine whose only tool is QEMU.

use std::io::{BufRead as _, BufReader, Lines};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::support::{Invocation, Kiln, mount_namespace, suite};

/// Without a `kernels.toml`, and with QEMU as the only program on the PATH.
fn first<'k>(kiln: &'k Kiln, args: &[&str]) -> Invocation<'k> {
    kiln.vm(args)
        // As if it were not set.
        .env("KILN_CONFIG", "")
        .env("PATH", kiln.path("bin"))
}

fn kiln_beside_qemu() -> Kiln {
    let kiln = Kiln::new();
    let path = std::env::var_os("PATH").unwrap();
    let qemu = std::env::split_paths(&path)
        .map(|dir| dir.join("qemu-system-x86_64"))
        .find(|file| file.exists());
    std::fs::create_dir(kiln.path("bin")).unwrap();
    symlink(qemu.unwrap(), kiln.path("bin/qemu-system-x86_64")).unwrap();
    kiln
}

#[test]
fn commands_and_bpftraces_tests_run_without_any_configuration() {
    let kiln = kiln_beside_qemu();
    let output = first(&kiln, &["exec", "-k", "6.1", "--", "uname", "-r"]).run();
    output.assert_code(0);
    assert!(output.out().starts_with("6.1."), "{}", output.out());
    assert_eq!(output.err(), "");

    kiln.file(
        "tests/runtime/suite",
        "NAME prints\nPROG BEGIN { printf(\"%s\\n\", \"here\"); exit(); }\nEXPECT here\nTIMEOUT 20\n",
    );
    let args = ["run", "-k", "6.1", "--tests", "tests"];
    let output = first(&kiln, &args)
        .args(["--bpftrace", "/usr/bin/bpftrace"])
        .run();
    output.assert_code(0);
    // Where the results are is the last that it says.
    let out = output.out();
    let run_dir = out.lines().find_map(|line| line.strip_prefix("results: "));
    let passed = ("6.1", "suite.prints", "pass");
    let verdicts = suite::verdicts(run_dir.unwrap().as_ref());
    let verdicts: Vec<_> = verdicts
        .iter()
        .map(|(kernel, id, verdict)| (&kernel[..], &id[..], &verdict[..]))
        .collect();
    assert_eq!(verdicts, [passed], "{out}\n{}", output.err());
    kiln.assert_nothing_left();
}

/// A server that no authority vouches for; `openssl` ends when this is dropped.
struct Untrusted {
    server: Child,
    port: String,
    /// Open, because it says more later.
    _said: Lines<BufReader<ChildStdout>>,
}

impl Untrusted {
    fn start(dir: &Path) -> Self {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "2"])
            .args([
                "-subj",
                "/CN=nobody",
                "-addext",
                "subjectAltName=IP:127.0.0.1",
                "-addext",
                "basicConstraints=critical,CA:FALSE",
            ])
            .args(["-keyout", "key.pem", "-out", "cert.pem"])
            .current_dir(dir)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let mut server = Command::new("openssl")
            .args(["s_server", "-www", "-accept", "127.0.0.1:0"])
            .args(["-key", "key.pem", "-cert", "cert.pem"])
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(server.stdout.take().unwrap()).lines();
        let port = said
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("ACCEPT 127.0.0.1:").map(str::to_owned));
        Self {
            server,
            port: port.unwrap(),
            _said: said,
        }
    }
}

impl Drop for Untrusted {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn a_machine_without_certificates_checks_servers_by_those_that_kiln_has() {
    if !mount_namespace::is_allowed() {
        return;
    }
    let kiln = Kiln::with_empty_cache();
    let server = Untrusted::start(&kiln.work());
    let catalogue = kiln.file(
        "kernels.toml",
        format!(
            "[kernels.far]\nurl = \"https://127.0.0.1:{}/\"\nsha256 = \"{:064}\"\n",
            server.port, 0
        ),
    );
    let hide = "unset SSL_CERT_FILE; mount -t tmpfs none /etc/ssl && exec \"$@\"";
    let output = kiln
        .plain(["kernels", "fetch", "-k", "far"])
        .by(&mount_namespace::running(hide))
        .env("KILN_CONFIG", catalogue)
        .env("no_proxy", "127.0.0.1")
        .run();
    output
        .assert_code(96)
        .assert_err_contains("invalid peer certificate: UnknownIssuer");
}
