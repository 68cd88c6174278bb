//! Limits count in the guest's own time.

use crate::support::suite::{ATTACH, assert_verdicts, finished, out, run_scaled, suite};

#[test]
fn limits_count_sleep_in_full_and_work_by_the_vms_slowness() {
    let kiln = suite(&format!(
        "NAME 1 computes\nRUN {ATTACH}; timeout 2 sh -c 'while :; do :; done'; echo hello\n\
         EXPECT hello\nTIMEOUT 1\n\n\
         NAME 2 sleeps\nRUN {ATTACH}; sleep 5; echo hello\nEXPECT hello\nTIMEOUT 6\n\n\
         NAME 3 waits\nRUN {ATTACH}; sleep 1000\nEXPECT hello\nTIMEOUT 2\n"
    ));
    let output = run_scaled(&kiln, &["6.1"], "10").arg("-j1").run();
    assert_verdicts(
        &kiln,
        &output,
        &["1 computes pass", "2 sleeps pass", "3 waits timeout"],
    );
    // What the host's clock shows depends on what else the host does.
    let guest_ms = |id: &str| finished(&out(&kiln), id)["guest_ms"].as_u64().unwrap();
    assert!(guest_ms("suite.2 sleeps") < 8000, "{}", output.out());
    let waited = guest_ms("suite.3 waits");
    assert!((2000..5000).contains(&waited), "{waited}");
    assert!(
        output
            .out()
            .contains(" of the guest's time): TIMEOUT passed"),
        "{}",
        output.out()
    );
}
