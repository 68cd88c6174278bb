//! What guests have that init systems and udev provide elsewhere.

use crate::support::{KERNELS, Kiln};

#[test]
fn a_guest_has_what_an_init_provides_on_each_kernel() {
    let kiln = Kiln::new();
    // Filesystems that these kernels have built in; nodes that load a module at
    // their first use; limits; files.
    let script = "
        for type in mqueue hugetlbfs securityfs fusectl pstore; do
            grep -q \" $type rw\" /proc/mounts || echo \"no $type\"
        done
        stat -c %a /dev/mqueue /run/lock /run/utmp
        grep -c '^loop \\|^tun ' /proc/modules
        (: <>/dev/loop-control) && (: <>/dev/net/tun)
        grep -c '^loop \\|^tun ' /proc/modules
        stat -c '%n %F %a' /dev/fuse /dev/net/tun /dev/loop-control /dev/btrfs-control
        ulimit -Sn; ulimit -Hn; ulimit -Hl
        readlink /dev/core
        getent hosts $(hostname) localhost >/dev/null && echo resolved
        test -e /etc/resolv.conf && test -s /etc/machine-id && echo files
        test -e /run/systemd/system || echo no systemd";
    let expected = "1777\n1777\n664\n0\n2\n\
        /dev/fuse character special file 666\n\
        /dev/net/tun character special file 666\n\
        /dev/loop-control character special file 600\n\
        /dev/btrfs-control character special file 600\n\
        1024\n524288\n8192\n/proc/kcore\nresolved\nfiles\nno systemd\n";
    for kernel in KERNELS {
        let bash = ["exec", "-k", kernel, "--", "bash", "-c", script];
        let output = kiln.vm(bash).run();
        output.assert_code(0).assert_out(expected);
        assert_eq!(output.err(), "", "{kernel}");
    }
}
