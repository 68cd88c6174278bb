//! Waits for the host before the root is entered: at this point the guest can be saved, and each
//! guest that is restored from that state gets a plan of its own.

use guest_init::frame::FrameError;
use guest_init::message::{GuestEvent, PROTOCOL_VERSION, Request, Restored};
use guest_init::plan::BootPlan;

use super::failure::{Context, Failure, console};
use super::port::Port;
use super::{clock, entropy};

const STAGE: &str = "wait for the plan";
const PORT: &str = "control port";

/// Says that the guest waits, and returns the plan that the host sends.
pub(super) fn for_plan(port: &mut Port) -> Result<BootPlan, Failure> {
    send(
        port,
        &GuestEvent::Waiting {
            protocol: PROTOCOL_VERSION,
        },
    )?;
    loop {
        let received = port.receive().during(STAGE, &PORT)?;
        let Some(requests) = received else {
            port.wait_for_host()?;
            continue;
        };
        for request in requests {
            match go_on(request) {
                Ok((plan, restored)) => {
                    if let Some(restored) = restored {
                        catch_up(&restored);
                    }
                    return Ok(plan);
                }
                Err(message) => send(port, &GuestEvent::Refused { message })?,
            }
        }
    }
}

/// What a request brings, or why it is refused.
fn go_on(request: Result<Request, FrameError>) -> Result<(BootPlan, Option<Restored>), String> {
    match request {
        Ok(Request::GoOn { plan, restored }) => Ok((*plan, restored)),
        Ok(_) => Err("the guest waits for its plan".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Makes up for the time for which the guest was a file. The host sets the clock again, and more
/// exactly, once it has its hello.
fn catch_up(restored: &Restored) {
    if let Err(error) = entropy::add(&restored.entropy) {
        console(&format!("add entropy: {error}"));
    }
    if let Err(error) = clock::adjust(restored.realtime_ns.saturating_sub(clock::realtime())) {
        console(&format!("set the clock: {error}"));
    }
}

fn send(port: &mut Port, event: &GuestEvent) -> Result<(), Failure> {
    port.queue(event).during(STAGE, &PORT)?;
    port.flush().during(STAGE, &PORT)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_guest_that_waits_goes_on_with_the_plan_that_comes_and_refuses_all_else() {
        let plan = BootPlan {
            hostname: "kiln-6-1".to_owned(),
            ..BootPlan::default()
        };
        let restored = Restored {
            realtime_ns: 7,
            entropy: vec![1; 32],
        };
        let request = Request::GoOn {
            plan: Box::new(plan.clone()),
            restored: Some(restored.clone()),
        };
        assert_eq!(go_on(Ok(request)), Ok((plan, Some(restored))));
        assert!(go_on(Ok(Request::AskTime)).is_err());
        assert!(go_on(Err(FrameError::Cobs)).is_err());
    }
}
