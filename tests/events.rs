//! What real brokers say of clients that come and go: the words and their order that the bridge's event sources rest
//! on. Each test prints what it saw (`--nocapture`), so that another release can be compared.

#![expect(clippy::print_stderr, reason = "the words themselves are a result")]

mod mosquitto;
mod mosquitto_sessions;
mod rmqtt;

use std::time::Duration;

use crate::servers::device::{Arrival, Device, Version};

/// Longer than any event takes to come.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long nothing may come to be sure that nothing will.
const QUIET: Duration = Duration::from_millis(700);

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Disconnect,
    Close,
    Reset,
    /// Its keep-alive of 1 s runs out.
    Silence,
}

/// All of them.
pub(super) const ENDS: [End; 4] = [End::Disconnect, End::Close, End::Reset, End::Silence];

impl End {
    /// The keep-alive of a device that ends so.
    pub(super) fn keep_alive(self) -> u16 {
        if self == Self::Silence { 1 } else { 600 }
    }

    pub(super) async fn of(self, mut device: Device) {
        match self {
            Self::Disconnect => device.disconnect().await,
            Self::Close => device.close(),
            Self::Reset => device.reset(),
            Self::Silence => device.closed().await,
        }
    }
}

/// A device that comes and goes in good order; its address.
async fn passes(port: u16, client_id: &str) -> String {
    let device = Device::connect(&Arrival::new(port, client_id)).await;
    let address = device.address.to_string();
    device.disconnect().await;
    address
}
