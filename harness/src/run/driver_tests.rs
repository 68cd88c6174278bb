#![allow(clippy::unwrap_used)]

use guest_init::frame;
use guest_init::message::Status;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::*;

/// The first process of a control port.
const PROCESS: ProcessId = 1;

async fn say(guest: &mut UnixStream, events: &[GuestEvent]) {
    for event in events {
        guest
            .write_all(&frame::encode(event).unwrap())
            .await
            .unwrap();
    }
}

/// Starts a process.
async fn running(control: &mut Control, guest: &mut UnixStream) -> ProcessId {
    let started = GuestEvent::Started {
        process: PROCESS,
        pid: 7,
    };
    say(guest, &[started]).await;
    let mut driver = Driver::open(control).unwrap();
    let process = driver
        .spawn::<_, String>(&["true"], &[], "/")
        .await
        .unwrap();
    assert_eq!(process, PROCESS);
    process
}

fn printed() -> GuestEvent {
    GuestEvent::Output {
        process: PROCESS,
        stream: Stream::Stdout,
        data: b"y\n".to_vec(),
    }
}

fn exited() -> GuestEvent {
    GuestEvent::Exited {
        process: PROCESS,
        outcome: ProcessExit {
            status: Status::Exited(0),
            deadline_passed: false,
        },
    }
}

#[tokio::test]
async fn what_the_guest_said_counts_however_late_we_look() {
    // A moment ago, and long ago, as if kiln had been stopped meanwhile.
    for late in [Duration::ZERO, Duration::from_secs(600)] {
        let (host, mut guest) = UnixStream::pair().unwrap();
        let mut control = Control::over(host);
        let process = running(&mut control, &mut guest).await;
        let mut driver = Driver::open(&mut control).unwrap();
        driver.processes.insert(process, Process::default());
        let mut said = vec![printed(); 5];
        said.push(exited());
        say(&mut guest, &said).await;
        // The reader of the port has it by then.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let Some(deadline) = Instant::now().checked_sub(late) else {
            continue;
        };
        let over = |driver: &Driver<'_>| driver.process(process).over();
        assert!(driver.until(deadline, over).await.unwrap(), "{late:?} late");
        assert_eq!(driver.process(process).output, b"y\ny\ny\ny\ny\n");
    }
}

#[tokio::test]
async fn page_faults_are_asked_for_in_the_job_that_waits_for_them() {
    let (host, mut guest) = UnixStream::pair().unwrap();
    let mut control = Control::over(host);
    let mut driver = Driver::open(&mut control).unwrap();
    driver.cause_page_faults().await.unwrap();
    let job = driver.job;
    let mut decoder = frame::Decoder::new();
    let mut requests = Vec::new();
    while requests.len() < 2 {
        let mut bytes = [0; 256];
        let length = guest.read(&mut bytes).await.unwrap();
        assert_ne!(length, 0);
        let more = decoder.push::<Request>(&bytes[..length]);
        requests.extend(more.into_iter().map(Result::unwrap));
    }
    assert_eq!(
        requests,
        [Request::OpenJob { job }, Request::CausePageFaults { job }]
    );
}

#[tokio::test]
async fn a_guest_that_prints_without_end_does_not_outlast_its_deadline() {
    let (host, mut guest) = UnixStream::pair().unwrap();
    let mut control = Control::over(host);
    let process = running(&mut control, &mut guest).await;
    let mut driver = Driver::open(&mut control).unwrap();
    driver.processes.insert(process, Process::default());
    let endless = tokio::spawn(async move {
        let frame = frame::encode(&printed()).unwrap();
        while guest.write_all(&frame).await.is_ok() {}
    });
    let over = |driver: &Driver<'_>| driver.process(process).over();
    let deadline = Instant::now() + Duration::from_millis(50);
    assert!(!driver.until(deadline, over).await.unwrap());
    drop(control);
    endless.abort();
}
