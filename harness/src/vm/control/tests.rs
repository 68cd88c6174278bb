#![allow(clippy::unwrap_used)]
use super::*;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

fn pair() -> (Control, UnixStream) {
    let (host, guest) = UnixStream::pair().unwrap();
    (Control::over(host), guest)
}

#[tokio::test]
async fn hello_is_found_after_noise() {
    let (mut control, mut guest) = pair();
    guest.write_all(b"boot noise\r\n").await.unwrap();
    let hello = Hello {
        protocol: PROTOCOL_VERSION,
        release: "6.1.0".to_owned(),
        ..Hello::default()
    };
    let frame = frame::encode(&GuestEvent::Hello(hello.clone())).unwrap();
    guest.write_all(&frame).await.unwrap();
    assert_eq!(control.hello(soon()).await.unwrap(), hello);
}

#[tokio::test]
async fn a_guest_that_greets_twice_has_started_another_kernel() {
    let (mut control, mut guest) = pair();
    let hello = GuestEvent::Hello(Hello {
        protocol: PROTOCOL_VERSION,
        ..Hello::default()
    });
    for event in [GuestEvent::Tainted { flags: 512 }, hello.clone(), hello] {
        guest
            .write_all(&frame::encode(&event).unwrap())
            .await
            .unwrap();
    }
    assert!(control.hello(soon()).await.is_ok());
    assert_eq!(control.taint(), 512);
    let error = control.event(soon(), "a test").await.unwrap_err();
    assert!(matches!(error, Error::Lost(Loss::Restarted)), "{error}");
}

#[tokio::test]
async fn another_version_is_refused() {
    let (mut control, mut guest) = pair();
    let frame = frame::encode(&GuestEvent::Hello(Hello {
        protocol: PROTOCOL_VERSION + 1,
        ..Hello::default()
    }))
    .unwrap();
    guest.write_all(&frame).await.unwrap();
    let error = control.hello(soon()).await.unwrap_err();
    assert!(matches!(error, Error::Version { guest } if guest == PROTOCOL_VERSION + 1));
}

#[tokio::test]
async fn a_silent_guest_runs_into_the_deadline() {
    let (mut control, _guest) = pair();
    let error = control
        .hello(Instant::now() + Duration::from_millis(20))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("the guest's hello"), "{error}");
}

#[tokio::test]
async fn a_guest_that_only_sends_garbage_is_given_up() {
    let (mut control, mut guest) = pair();
    for _ in 0..MAX_BAD_FRAMES {
        guest.write_all(b"\0garbage\0").await.unwrap();
    }
    let error = control.hello(soon()).await.unwrap_err();
    assert!(matches!(error, Error::Garbage(_)), "{error}");
}

#[tokio::test]
async fn a_guest_cannot_claim_to_be_endlessly_slow() {
    let (mut control, mut guest) = pair();
    let frame = frame::encode(&GuestEvent::Speed { micros: u64::MAX }).unwrap();
    guest.write_all(&frame).await.unwrap();
    let began = Instant::now();
    let factor = control.speed_factor(soon()).await.unwrap();
    let micros = u64::try_from(began.elapsed().as_micros()).unwrap();
    assert!(factor <= guest_init::speed::factor(micros), "{factor}");
}

#[tokio::test]
async fn a_closed_port_is_distinguished_from_a_deadline() {
    let (mut control, guest) = pair();
    drop(guest);
    assert!(matches!(
        control.hello(soon()).await.unwrap_err(),
        Error::Closed { .. }
    ));
}
