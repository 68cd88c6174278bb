//! The phases of PID 1: boot, serve, power off.

mod account;
mod activity;
mod boot;
mod caches;
mod cgroup;
mod children;
mod clock;
mod cores;
mod entropy;
mod failure;
mod job;
mod kept;
mod laid;
mod layers;
mod limits;
mod mount_options;
mod mountinfo;
mod mounts;
mod net;
mod netlink;
mod nftables;
mod nodes;
mod port;
mod process;
mod procfs;
mod program;
mod remnants;
mod server;
mod state;
mod taint;
mod trace;
mod tree;
mod upper;
mod wait;

use std::path::Path;

use guest_init::console::gave_up;
use guest_init::message::GuestEvent;
use nix::sys::reboot::{RebootMode, reboot};

pub(crate) use cores::{KEEP as KEEP_CORE, keep as keep_core};
use failure::Failure;
pub(crate) use failure::console;
use port::Port;

/// Runs PID 1 from hand-over to power-off.
pub(crate) fn run() {
    let mut port = None;
    if let Err(failure) = phases(&mut port) {
        console(&gave_up(failure.stage, &failure.message));
        if let Some(port) = &mut port {
            // If this fails, the console still has the message.
            let _ = port.queue(&GuestEvent::Failed {
                stage: failure.stage.to_owned(),
                message: failure.message,
            });
            let _ = port.flush();
        }
    }
    power_off();
}

fn phases(port: &mut Option<Port>) -> Result<(), Failure> {
    let mut clock = boot::Clock::start();
    boot::early_mounts()?;
    let mut plan = boot::read_plan(Path::new(guest_init::plan::PLAN_PATH))?;
    if plan.probe {
        return Ok(());
    }
    boot::load_modules(&plan.modules)?;
    clock.timings.modules = clock.now();
    let port = port.insert(Port::open(plan.control)?);
    if plan.waits {
        plan = wait::for_plan(port)?;
    }
    let mut warnings = boot::enter_root(&plan)?;
    clock.timings.root = clock.now();
    warnings.extend(boot::settle(&plan)?);
    warnings.extend(limits::set());
    clock.timings.ready = clock.now();
    server::Server::new(port)?.serve(boot::hello(&clock, warnings)?)
}

/// Ends the VM. Returns only if the kernel cannot; then the end of PID 1 makes the kernel panic,
/// which also ends the VM.
fn power_off() {
    nix::unistd::sync();
    let Err(error) = reboot(RebootMode::RB_POWER_OFF);
    console(&format!("failed to power off: {error}"));
}
