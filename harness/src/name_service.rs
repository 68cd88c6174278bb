//! How kiln finds hosts and users where it is linked statically.

/// Uses what is in kiln itself: files of the machine, and DNS. The C library would load what
/// nsswitch.conf(5) names from the machine, such as systemd's `resolve` and `myhostname`, and a
/// statically linked one can only load what was made for its own version: with others it dies of
/// SIGFPE or SIGSEGV. Call this before anything looks up a name.
pub fn use_own() {
    use std::ffi::{CStr, c_char, c_int};

    unsafe extern "C" {
        // nss.h of glibc: since 2.0, and nowhere documented but there.
        fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
    }

    let lookups: [(&CStr, &CStr); 3] = [
        (c"hosts", c"files dns"),
        (c"passwd", c"files"),
        (c"group", c"files"),
    ];
    for (database, services) in lookups {
        // SAFETY: Both are strings that live as long as the program, and no other thread runs yet.
        // It fails if memory is short or for a database that does not exist.
        unsafe { __nss_configure_lookup(database.as_ptr(), services.as_ptr()) };
    }
}
