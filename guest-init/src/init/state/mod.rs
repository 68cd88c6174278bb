//! The state of the guest's kernel and files: recorded before the tests, and restored after each
//! one if that is safe.
//!
//! The check after a test may take at most 5 ms under emulation. So it keeps kernel files open and
//! reads them again, lets the kernel report changes (fanotify(7), netlink(7), timerfd), and asks
//! filesystems how much they contain. It does more only if something differs.

mod block;
mod bpf;
mod cgroups;
mod clock;
mod devices;
mod events;
mod found;
mod ipc;
mod limits;
mod modules;
mod names;
mod network;
mod overlay;
mod replay;
mod scratch;
mod settings;
mod sysctls;
mod tracing;

use found::Found;
pub(super) use found::shown;

use guest_init::message::Remnant;

/// The state of the guest when it was last clean.
#[derive(Debug)]
pub(super) struct State {
    names: names::Names,
    clock: clock::Clock,
    limits: limits::Limits,
    sysctls: sysctls::Sysctls,
    settings: settings::Settings,
    tracing: tracing::Tracing,
    ipc: ipc::Ipc,
    network: network::Network,
    cgroups: cgroups::Cgroups,
    block: block::Block,
    files: Files,
    bpf: bpf::Bpf,
    modules: modules::Modules,
}

impl State {
    /// Records the state of the guest.
    pub(super) fn take() -> Self {
        Self {
            names: names::Names::take(),
            clock: clock::Clock::take(),
            limits: limits::Limits::take(),
            settings: settings::Settings::take(),
            tracing: tracing::Tracing::take(),
            ipc: ipc::Ipc::take(),
            network: network::Network::take(),
            cgroups: cgroups::Cgroups::take(),
            block: block::Block::take(),
            files: Files::take(),
            bpf: bpf::Bpf::take(),
            modules: modules::Modules::take(),
            // Last, because it watches what is written from now on.
            sysctls: sysctls::Sysctls::take(),
        }
    }

    /// Accepts loaded modules and existing files as clean: a command from the host has run.
    pub(super) fn again(&mut self) {
        self.modules = modules::Modules::take();
        self.files.rebase();
        self.network.rebase();
        self.clock_was_set();
    }

    /// Accepts the clock as right: it was set for the host.
    pub(super) fn clock_was_set(&mut self) {
        self.clock.was_set_by_us();
    }

    /// Restores what differs. No job may be open.
    pub(super) fn restore(&mut self) -> Vec<Remnant> {
        let mut found = Found::new();
        // First what would block the rest, such as limits on forking or opening files.
        self.limits.restore(&mut found);
        self.sysctls.restore(&mut found);
        self.names.restore(&mut found);
        self.clock.restore(&mut found);
        self.tracing.restore(&mut found);
        self.settings.restore(&mut found);
        self.ipc.restore(&mut found);
        self.network.restore(&mut found);
        self.cgroups.restore(&mut found);
        self.block.restore(&mut found);
        self.files.restore(&mut found);
        // After what may hold them.
        self.bpf.restore(&mut found);
        self.modules.restore(&mut found);
        found.remnants
    }
}

/// Everything that contains files: a change of one moves the counts of another.
#[derive(Debug)]
struct Files {
    devices: devices::Devices,
    scratch: Vec<scratch::Scratch>,
    overlays: Vec<overlay::Overlay>,
}

impl Files {
    fn take() -> Self {
        Self {
            devices: devices::Devices::take(),
            scratch: scratch::all(),
            overlays: super::layers::take()
                .into_iter()
                .filter_map(overlay::Overlay::take)
                .collect(),
        }
    }

    fn rebase(&mut self) {
        for scratch in &mut self.scratch {
            scratch.rebase();
        }
        for overlay in &mut self.overlays {
            overlay.rebase();
        }
    }

    fn restore(&mut self, found: &mut Found) {
        self.devices.restore(found);
        let mut changed = false;
        // Read both before restoring anything: a share's upper layer is on a tmpfs that others
        // write to.
        let overlays: Vec<bool> = self
            .overlays
            .iter()
            .map(overlay::Overlay::changed)
            .collect();
        for scratch in &mut self.scratch {
            changed |= scratch.restore(found);
        }
        for (overlay, _) in self
            .overlays
            .iter_mut()
            .zip(overlays)
            .filter(|(_, changed)| *changed)
        {
            overlay.restore(found);
            changed = true;
        }
        if changed {
            self.rebase();
        }
    }
}
