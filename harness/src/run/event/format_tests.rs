//! The bytes of `events.jsonl`: other programs and other versions of kiln read them.

#![allow(clippy::unwrap_used)]

use super::Record;

/// One of each event, with all of its fields.
pub(super) const FULL: [&str; 17] = [
    r#"{"at_ms":0,"event":"run_started","schema":1,"version":"0.1.0","started_at":"2026-11-22T16:00:00.000Z","command":["kiln","run"],"again":["kiln","run","-j1"],"cwd":"/home/u","kernels":[{"name":"6.1","tests":2,"suites":[1,1],"expected_ms":8000}],"suites":["a","b"],"shard":"hash:1/2","rerun_of":"2026-11-22T15:00:00.000Z"}"#,
    r#"{"at_ms":1,"event":"kernel_ready","kernel":"6.1","release":"6.1.0-40-amd64","sha256":"00ff","packages":{"suite":"bookworm","component":"main","mirror":"http://127.0.0.1","files":[{"package":"linux-image-6.1.0-40-amd64","version":"6.1.150-1","path":"pool/main/l/linux/k.deb","size":7,"sha256":"aa00","sha1":"bb00"}]}}"#,
    r#"{"at_ms":2,"event":"kernel_failed","kernel":"6.1","reason":"no such package","hints":["run apt"]}"#,
    r#"{"at_ms":3,"event":"suite_ready","suite":"bpftrace","subject":"/bin/bpftrace","version":"0.17.0","dialect":"0.17","options":["--dialect"]}"#,
    r#"{"at_ms":4,"event":"vm_starting","kernel":"6.1","vm":0}"#,
    r#"{"at_ms":5,"event":"vm_started","kernel":"6.1","release":"6.1.0","accelerator":"tcg","qemu":"7.2.22 (Debian)","addr_no_randomize":true,"boot_ms":1700,"restored":true,"vm":3,"machine":"microvm","transport":"pci","share":"9p","no_overlay":true,"chosen_because":["9p by --share"],"memory":4294967296,"cpus":2,"cpu":"max","append":["nokaslr"],"qemu_args":["-s"],"modules":["xfs"],"asked":["cpus 2 by --cpus"]}"#,
    r#"{"at_ms":6,"event":"speed_measured","kernel":"6.1","vm":3,"factor":2.25}"#,
    r#"{"at_ms":7,"event":"test_started","kernel":"6.1","vm":3,"suite":"a","id":"a.b","attempt":2,"expected_ms":4000}"#,
    r#"{"at_ms":8,"event":"test_slow","kernel":"6.1","vm":3,"id":"a.b","elapsed_ms":60000,"guest_ms":6000}"#,
    r#"{"at_ms":9,"event":"attempt_finished","kernel":"6.1","vm":3,"suite":"a","id":"a.b.c","case_of":"a.b","source":{"file":"/t/a","line":7},"attempt":1,"verdict":"fail","reason":"exit code 1","flaky":true,"known":{"result":"flaky","reason":"races","link":"https://example.org/1"},"duration_ms":12,"guest_ms":4,"output":"out\n","details":"- a\n+ b","rules":["exit-code"],"console":"[1.0] x"}"#,
    r#"{"at_ms":10,"event":"test_finished","kernel":"6.1","vm":3,"suite":"a","id":"a.b.c","case_of":"a.b","source":{"file":"/t/a","line":7},"attempt":2,"verdict":"pass","reason":"exit code 0","flaky":true,"known":{"result":"flaky","reason":"races","link":"https://example.org/1"},"duration_ms":12,"guest_ms":4,"output":"out\n","details":"- a\n+ b","rules":["exit-code"],"console":"[1.0] x"}"#,
    r#"{"at_ms":11,"event":"kernel_report","kernel":"6.1","vm":3,"kind":"oops","test":"a.b","fails":true,"allowed":"known","denied":"ours","text":"BUG: \u001b[31m"}"#,
    r#"{"at_ms":12,"event":"vm_stopped","kernel":"6.1","vm":3}"#,
    r#"{"at_ms":13,"event":"vm_lost","kernel":"6.1","vm":3,"reason":"panic","test":"a.b","console":"Kernel panic","qmp_status":"running"}"#,
    r#"{"at_ms":14,"event":"run_stopped","why":"max_fail","message":"1 test failed"}"#,
    r#"{"at_ms":15,"event":"warning","kernel":"6.1","message":"slow disk"}"#,
    r#"{"at_ms":16,"event":"run_finished","exit_code":1,"duration_ms":17}"#,
];

/// Events with only their required fields.
const SPARSE: [&str; 10] = [
    r#"{"at_ms":0,"event":"run_started","schema":1,"version":"","started_at":"","command":[],"kernels":[{"name":"6.1","tests":2}],"suites":[]}"#,
    r#"{"at_ms":0,"event":"kernel_failed","kernel":"6.1","reason":""}"#,
    r#"{"at_ms":0,"event":"suite_ready","suite":"a","subject":""}"#,
    r#"{"at_ms":0,"event":"vm_started","kernel":"6.1","release":"6.1.0","accelerator":"kvm","qemu":"7.2","boot_ms":0,"vm":0}"#,
    r#"{"at_ms":0,"event":"test_slow","kernel":"6.1","vm":0,"id":"a.b","elapsed_ms":0}"#,
    r#"{"at_ms":0,"event":"attempt_finished","kernel":"6.1","vm":0,"suite":"a","id":"a.b","attempt":1,"verdict":"lost","duration_ms":0}"#,
    r#"{"at_ms":0,"event":"test_finished","kernel":"6.1","vm":0,"suite":"a","id":"a.b","attempt":1,"verdict":"error","known":{"result":"skip","reason":""},"duration_ms":0}"#,
    r#"{"at_ms":0,"event":"kernel_report","kernel":"6.1","vm":0,"kind":"lockdep","text":""}"#,
    r#"{"at_ms":0,"event":"vm_lost","kernel":"6.1","vm":0,"reason":"","console":""}"#,
    r#"{"at_ms":0,"event":"warning","message":""}"#,
];

#[test]
fn the_bytes_of_events_stay_as_they_are() {
    for line in FULL.iter().chain(&SPARSE) {
        let record = Record::from_json(line.as_bytes()).unwrap();
        let again = String::from_utf8(record.to_json_line().unwrap()).unwrap();
        assert_eq!(again, format!("{line}\n"));
    }
}

#[test]
fn the_fields_of_an_event_may_stand_in_any_order() {
    for line in FULL {
        // In the order of the alphabet.
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let sorted = serde_json::to_vec(&value).unwrap();
        let record = Record::from_json(&sorted).unwrap();
        assert_eq!(record, Record::from_json(line.as_bytes()).unwrap());
    }
}
