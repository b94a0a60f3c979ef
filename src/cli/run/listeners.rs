//! The listeners of `run`, each opened before anything starts, so that a port that is taken ends it at once.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context;
use tokio::{net::TcpListener, task::JoinHandle};
use tracing::{error, info};

use crate::{
    clock::epoch_millis,
    http::{self, tls::Tls},
    logins::Logins,
    presence::{board::Board, webhook::Doors},
    settings::{CurrentCredentials, Settings},
    status::Status,
    telemetry::Telemetry,
    tokens::Tokens,
};

/// What there is to ask and to post to.
pub(super) struct Asked<'a> {
    pub(super) status: &'a Status,
    pub(super) telemetry: &'a Telemetry,
    pub(super) doors: &'a Doors,
    pub(super) board: &'a Arc<Board>,
    pub(super) tokens: &'a Option<Arc<Tokens>>,
}

/// Opens those that the settings name.
pub(super) async fn open(
    settings: &Settings,
    credentials: &CurrentCredentials,
    Asked { status, telemetry, doors, board, tokens }: Asked<'_>,
) -> anyhow::Result<Vec<JoinHandle<()>>> {
    let http = &settings.http;
    let tls = || http.tls.as_ref().map(Tls::open).transpose().context("`http.tls` cannot be used");
    let scheme = if http.tls.is_some() { "https" } else { "http" };
    let mut listeners = Vec::new();
    if let Some(address) = http.admin {
        let (listener, address) = bind(address, "admin").await?;
        info!("live, ready and metrics on http://{address}/");
        let shown = http::Shown { status: status.clone(), telemetry: telemetry.clone(), tokens: tokens.clone() };
        listeners.push(tokio::spawn(async move { ended("admin", http::serve(listener, shown).await) }));
    }
    if let Some(address) = http.lmq {
        let (listener, address) = bind(address, "lmq").await?;
        info!("status query{} on {scheme}://{address}/", if tokens.is_some() { " and token service" } else { "" });
        let (tls, board, tokens) = (tls()?, board.clone(), tokens.clone());
        let known = (settings.lmq.instance.clone(), credentials.clone());
        listeners.push(tokio::spawn(async move {
            ended("lmq", http::lmq::serve(listener, tls, known, board, tokens, epoch_millis).await);
        }));
    }
    if let Some(hooks) = &http.hooks {
        let (listener, address) = bind(hooks.address, "hooks").await?;
        let logins = if settings.lmq.credentials.is_some() { ", logins on /login/FORM/BROKER/user" } else { "" };
        info!("events of clients on {scheme}://{address}/events/ROUTE{logins}");
        let (tls, doors, secret) = (tls()?, doors.clone(), hooks.secret.clone());
        let logins = Logins::new(settings, credentials.clone(), tokens.clone(), telemetry.clone(), epoch_millis);
        listeners.push(tokio::spawn(async move {
            ended("hooks", http::hooks::serve(listener, tls, doors, Arc::new(logins), secret).await);
        }));
    }
    Ok(listeners)
}

async fn bind(address: SocketAddr, key: &str) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address} (`http.{key}`); is another rocketbridge running? Give each its own address")
    })?;
    let address = listener.local_addr().unwrap_or(address);
    Ok((listener, address))
}

fn ended(key: &str, result: std::io::Result<()>) {
    if let Err(error) = result {
        error!(listener = key, %error, "a listener ended");
    }
}
