//! One connection per address, made when first needed and made anew after a loss.
//!
//! The kernel accepts connections and requests on behalf of a process that is stopped or dying. So after a loss the
//! server has to answer something small before requests go there again: else each try would leave a copy of them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::mpsc, time::Instant};

use crate::{
    rocketmq::{
        connection::{Connection, ConnectionError, Push},
        wire::frame::Request,
    },
    settings::TlsFiles,
};

/// After a failed connect, calls fail at once for this long, doubling up to the second value.
const PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

/// A request code that means nothing.
const NO_REQUEST: i32 = 0;

#[derive(Debug)]
pub(super) struct Pool {
    tls: Option<TlsFiles>,
    connect_timeout: Duration,
    pushes: mpsc::Sender<Push>,
    slots: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Slot>>>>,
}

/// One address. Whoever holds its lock connects; the others wait for the outcome.
#[derive(Debug, Default)]
struct Slot {
    connection: Option<Connection>,
    /// There was a connection, or it could not be made.
    lost: bool,
    failure: Option<(ConnectionError, Instant)>,
    pause: Duration,
}

impl Pool {
    pub(super) fn new(tls: Option<TlsFiles>, connect_timeout: Duration, pushes: mpsc::Sender<Push>) -> Self {
        Self { tls, connect_timeout, pushes, slots: Mutex::default() }
    }

    /// The open connection to an address, or a new one.
    pub(super) async fn connection(&self, address: &str) -> Result<Connection, ConnectionError> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            match slots.get(address) {
                Some(slot) => slot.clone(),
                None => slots.entry(address.to_owned()).or_default().clone(),
            }
        };
        let mut slot = slot.lock().await;
        if let Some(connection) = slot.connection.as_ref().filter(|connection| connection.is_open()) {
            return Ok(connection.clone());
        }
        if let Some((failure, until)) = &slot.failure
            && Instant::now() < *until
        {
            return Err(failure.clone());
        }
        // Noted before anything is awaited: whoever waits may give up.
        slot.lost |= slot.connection.take().is_some();
        match self.open(address, slot.lost).await {
            Ok(connection) => {
                *slot = Slot { connection: Some(connection.clone()), ..Slot::default() };
                Ok(connection)
            }
            Err(failure) => {
                slot.pause = (slot.pause * 2).clamp(PAUSE, LONGEST_PAUSE);
                let jittered = slot.pause.mul_f64(0.5 + fastrand::f64() / 2.0);
                slot.lost = true;
                slot.failure = Some((failure.clone(), Instant::now() + jittered));
                Err(failure)
            }
        }
    }

    async fn open(&self, address: &str, after_loss: bool) -> Result<Connection, ConnectionError> {
        let connection =
            Connection::open(address, self.tls.as_ref(), self.connect_timeout, self.pushes.clone()).await?;
        if after_loss {
            // No server knows this code, and every server says so.
            connection.call(Request::new(NO_REQUEST), self.connect_timeout).await?;
        }
        Ok(connection)
    }
}
