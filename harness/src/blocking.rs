//! Runs long work (reading, hashing, unpacking, searching) off the threads that wait for guests.

/// Does `work` on a thread for blocking work. A panic in it continues here.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is ending, and with it everybody who waits here.
            Err(_) => std::future::pending().await,
        },
    }
}
