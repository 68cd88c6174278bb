//! What a VM has only if it is asked for: a network, disks, another user.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use crate::support::Kiln;

/// What the guest of a user sees of itself, of its disks and of its network.
const LOOK: &str = r#"
id -un; echo "$HOME $USER"; groups | tr ' ' '\n' | grep -c .
test -w /etc/passwd && echo 'may write'
cat /sys/block/vda/size /sys/block/vdb/size /sys/block/vda/serial; echo
# Linux says a moment later that a card is up.
for _ in $(seq 50); do grep -q up /sys/class/net/eth0/operstate && break; sleep 0.1; done
ip -br address show scope global | tr -s ' '
ask() {
    timeout 5 bash -c "exec 3<>/dev/tcp/$1/$2 && echo hello >&3 && head -n 1 <&3" 2>/dev/null ||
        echo "no $3"
}
ask 10.0.2.100 "$NAMED" named
ask 10.0.2.100 "$OTHER" other
ask 10.0.2.2 "$NAMED" gateway
ask 10.0.2.2 "$OTHER" gateway
ask "$ADDRESS" "$OTHER" address
ask 127.0.0.1 "$NAMED" loopback
"#;

/// Answers what connects with what it said.
fn echo() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = [0; 6];
            if stream.read_exact(&mut line).is_ok() {
                let _ = stream.write_all(&line);
            }
        }
    });
    port
}

/// An address of this host that is not the loopback interface's, if it has one.
fn own_address() -> String {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    // Sends nothing.
    let connected = socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9));
    let address = connected.and_then(|()| socket.local_addr());
    address.map_or("10.0.2.3".to_owned(), |address| address.ip().to_string())
}

#[test]
fn a_user_has_disks_and_a_network_on_which_only_named_ports_of_the_host_are() {
    let kiln = Kiln::new();
    let (named, other) = (echo(), echo());
    let exec = |more: &[&str]| {
        kiln.vm(["exec", "-k", "6.1", "--reuse"])
            .arg(format!("--network={named}"))
            .args(["--disk", "64M,ext4", "--disk", "1G"])
            .args(more)
            .run()
    };
    let variables = [
        format!("NAMED={named}"),
        format!("OTHER={other}"),
        format!("ADDRESS={}", own_address()),
    ];
    let mut look = vec!["--user", "nobody"];
    look.extend(variables.iter().flat_map(|variable| ["-e", variable]));
    look.extend(["--", "bash", "-c", LOOK]);
    let output = exec(&look);
    output.assert_code(0).assert_err_contains(&format!(
        "reaches these ports of the host: 10.0.2.100:{named}"
    ));
    let out = output.out();
    let lines: Vec<&str> = out.lines().map(str::trim).collect();
    let expected = [
        "nobody",
        "/nonexistent nobody",
        "1",
        "131072",
        "2097152",
        "disk0",
        "eth0 UP 10.0.2.15/24",
        "hello",
        "no other",
        "no gateway",
        "no gateway",
        "no address",
        "no loopback",
    ];
    assert_eq!(lines, expected, "{}", output.err());
    let mount = "modprobe ext4; mount /dev/vda /mnt && stat -c '%U %a' /mnt && echo x >/mnt/x";
    let mounted = exec(&["--", "sh", "-c", mount]);
    mounted.assert_code(0);
    assert_eq!(mounted.out(), "root 755\n", "{}", mounted.err());
    let stranger = exec(&["--user", "stranger", "--", "true"]);
    stranger
        .assert_code(125)
        .assert_err_contains("user stranger: the guest's /etc/passwd has no such user");

    // A kept VM is one like others.
    let attached = kiln.plain(["shell", "--attach", "6.1", "--user", "nobody"]);
    let attached = attached.stdin("id -un\n").run();
    assert_eq!(attached.out(), "nobody\n", "{}", attached.err());
    assert!(kiln.plain(["ps"]).run().out().contains("  6.1  "));
    kiln.plain(["stop", "6.1"]).run().assert_code(0);
    assert!(!kiln.plain(["ps"]).run().out().contains("  6.1  "));
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}

#[test]
fn what_a_vm_cannot_have_is_refused_before_anything_boots() {
    let kiln = Kiln::new();
    let refused = |args: &[&str], message: &str| {
        let command = kiln.plain(["exec", "-k", "6.1"]).args(args);
        let output = command.args(["--", "true"]).run();
        output.assert_code(2).assert_err_contains(message);
    };
    refused(&["--systemd"], "kiln's guests have no init system");
    refused(&["--systemd"], "systemd-vmspawn or mkosi");
    refused(
        &["--disk", "1G,ntfs"],
        "kiln makes these file systems: ext2",
    );
    refused(&["--disk", "lots"], "a disk has a size such as 512M or 2G");
    refused(&["--disk=1G"; 4], "4 disks; a VM has at most 3");
    refused(
        &["--cores", "--reuse"],
        "--cores is for a VM of one command",
    );
    refused(&["--network=http"], "a port of the host is a number");
}
