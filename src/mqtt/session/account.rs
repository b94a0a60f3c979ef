//! Who a session is, over all its connections: it logs in, and keeps its tokens valid. It must never know what the
//! session is for.

use std::future::pending;

use super::{
    super::{
        login::{Connection, Login, LoginError},
        packet::Incoming,
        tokens::{Heard, Keeper},
    },
    Link, say_goodbye,
};
use crate::settings::MqttVersion;

/// Who a session is, over all its connections.
pub(super) struct Account<'a> {
    pub(super) login: &'a Login,
    /// Where it logs in by token.
    keeper: Option<Keeper>,
}

impl<'a> Account<'a> {
    pub(super) fn new(login: &'a Login) -> Self {
        Self { login, keeper: Keeper::new(&login.broker, &login.client_id) }
    }

    /// Logged in.
    pub(super) fn connected(&self, link: &mut Link) {
        if self.keeper.is_some() {
            // One is kept for uploads.
            link.limits.receive_maximum = link.limits.receive_maximum.saturating_sub(1).max(1);
        }
    }

    /// Writes what [`Self::renewed`] waited for.
    pub(super) fn upload(&mut self, link: &mut Link) {
        if let Some(keeper) = &mut self.keeper {
            keeper.write(link);
        }
    }

    /// Takes what is for the session itself out of what the broker sends.
    pub(super) fn heard(&mut self, packet: Incoming, link: &mut Link) -> Option<Incoming> {
        let Some(keeper) = &mut self.keeper else { return Some(packet) };
        match keeper.heard(packet, link) {
            Heard::Pass(packet) => Some(packet),
            Heard::Taken => None,
        }
    }

    /// Waits until there are tokens to upload, for ever where there are none at all.
    pub(super) async fn renewed(&mut self) {
        match &mut self.keeper {
            Some(keeper) => keeper.next().await,
            None => pending().await,
        }
    }

    /// Connects and logs in.
    pub(super) async fn open(&mut self, clean_start: bool) -> Result<Connection, LoginError> {
        let opened = self.open_once(clean_start).await;
        if let Some(keeper) = &mut self.keeper {
            match &opened {
                Ok(_) => keeper.accepted(),
                Err(error) if error.is_about_credentials() => keeper.refused(),
                Err(LoginError::Closed) => keeper.doubted(),
                Err(_) => {}
            }
        }
        opened
    }

    async fn open_once(&mut self, clean_start: bool) -> Result<Connection, LoginError> {
        let login = self.login;
        let as_who = login.credentials(self.keeper.as_mut()).await?;
        if clean_start && !login.throw_away && login.broker.version == MqttVersion::V4 {
            // In 3.1.1 a clean session also ends with its connection, so the old one is ended by a connection of its own.
            let connection = login.open(true, &as_who).await?;
            say_goodbye(connection).await;
            return login.open(false, &as_who).await;
        }
        login.open(clean_start, &as_who).await
    }
}
