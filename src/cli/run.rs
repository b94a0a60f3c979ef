//! `run`: join the brokers until told to stop.
//!
//! Signal handling and the log live here alone. SIGTERM or SIGINT drains and stops; a second one stops at once.

mod listeners;

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use clap::ValueEnum;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};
use tracing::{info, level_filters::LevelFilter, warn};

use super::{End, loop_key, open, print_report};
use crate::{
    clock::epoch_millis,
    configuration::{self, Configuration},
    data_dir::DataDir,
    mapping::Route,
    presence::{arrivals::Arrivals, board::Board, webhook::Doors},
    reload::{self, Watched},
    settings::{Credentials, Environment, Secret, Settings},
    status::Status,
    supervisor::{self, LeftBehind, Shared, StatusRoutes, Supervisor},
    telemetry::Telemetry,
    tokens::Tokens,
};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// How the log is written to the standard error output
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// The least severe level that is logged: error, warn, info, debug or trace
    #[arg(long, default_value = "info")]
    log_level: LevelFilter,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    /// A line for a person
    Text,
    /// A JSON object a line
    Json,
}

impl Arguments {
    pub(super) fn run(&self, settings_file: &Path) -> anyhow::Result<End> {
        let opened = open(settings_file)?;
        let Some(settings) = opened.settings() else {
            // Only reading on gives the report of all files.
            print_report(&opened.load(&Secret::new("")).report)?;
            return Ok(End::Rejected);
        };
        let _data_dir = DataDir::open(&settings.data_dir)?;
        let loop_key = loop_key(settings)?;
        let loaded = opened.load(&loop_key);
        print_report(&loaded.report)?;
        let Some(configuration) = loaded.configuration else { return Ok(End::Rejected) };
        self.start_log();
        // Routes have threads of their own.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
        let served = runtime.block_on(serve(configuration, Reread { file: settings_file.to_owned(), loop_key }));
        // A name lookup that hangs must not hold up the end of the process.
        runtime.shutdown_background();
        served.map(|()| End::Fine)
    }

    fn start_log(&self) {
        let log = tracing_subscriber::fmt().with_max_level(self.log_level).with_target(false);
        let log = log.with_writer(std::io::stderr);
        match self.log_format {
            LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
            LogFormat::Json => log.json().flatten_event(true).init(),
        }
    }
}

/// Reads the files again for a reload.
struct Reread {
    file: PathBuf,
    loop_key: Secret,
}

impl Reread {
    /// The routes, or the faults as text for a person.
    fn routes(&self) -> Result<Vec<Route>, String> {
        let opened = configuration::open(&self.file, &Environment::of_process()).map_err(|error| error.to_string())?;
        let loaded = opened.load(&self.loop_key);
        loaded.configuration.map(|fresh| fresh.mapping.routes).ok_or_else(|| loaded.report.render(false))
    }
}

async fn serve(configuration: Configuration, reread: Reread) -> anyhow::Result<()> {
    let Configuration { settings, mapping } = configuration;
    let (telemetry, status) = (Telemetry::default(), Status::default());
    let stop = stop_signal()?;
    let (doors, board) = (Doors::default(), Arc::new(Board::default()));
    let (current, credentials) = watch::channel(settings.credentials.clone());
    let tokens = open_tokens(&settings, &telemetry)?;
    let asked =
        listeners::Asked { status: &status, telemetry: &telemetry, doors: &doors, board: &board, tokens: &tokens };
    let listeners = listeners::open(&settings, &credentials, asked).await?;
    let (reloads, fresh) = mpsc::channel(1);
    let mappings = Watched::mappings(&settings.mappings);
    let mut watching = vec![tokio::spawn(reload::watch(mappings, move || reread.routes(), reloads))];
    if let Some(file) = settings.lmq.credentials.clone() {
        watching.push(tokio::spawn(renew_credentials(file, current)));
    }
    let kept = tokens.map(|tokens| supervisor::tokens::keep(tokens, settings.clone(), telemetry.clone()));
    let shared = Shared { doors, credentials, arrivals: Arrivals::default(), board, statuses: StatusRoutes::default() };
    let supervisor = Supervisor::new(settings.clone(), telemetry, status, shared);
    let stopping = async {
        let _signal = stop.await;
        info!(
            deadline_s = settings.stop_deadline.as_secs_f64(),
            "stopping: reading ends, what is in flight is settled"
        );
    };
    let left = supervisor.run(mapping.routes, fresh, stopping).await;
    watching.iter().for_each(JoinHandle::abort);
    listeners.iter().for_each(JoinHandle::abort);
    if let Some(kept) = kept {
        kept.stop().await;
    }
    farewell(&left);
    Ok(())
}

/// What is known of tokens, where the settings have a token service.
fn open_tokens(settings: &Settings, telemetry: &Telemetry) -> anyhow::Result<Option<Arc<Tokens>>> {
    let Some(service) = &settings.lmq.tokens else { return Ok(None) };
    let now = epoch_millis();
    let tokens = Tokens::open(&settings.data_dir, service, now).context("cannot read what is kept of tokens")?;
    // Whoever asks at once must not be told that all is well.
    telemetry.tokens(0, 0, 0, tokens.is_behind(now));
    Ok(Some(Arc::new(tokens)))
}

/// Keeps the credentials as their file has them, until its task is ended.
async fn renew_credentials(file: PathBuf, current: watch::Sender<Arc<Credentials>>) {
    let (renewed, mut fresh) = mpsc::channel(1);
    let watched = Watched::credentials(&file);
    let load =
        move || configuration::credentials(&file, &Environment::of_process()).map_err(|report| report.render(false));
    let take = async {
        while let Some(credentials) = fresh.recv().await {
            current.send_replace(Arc::new(credentials));
        }
    };
    tokio::join!(reload::watch(watched, load, renewed), take);
}

/// Resolves at the first SIGTERM or SIGINT. The second ends the process: what is unsettled comes again.
fn stop_signal() -> anyhow::Result<oneshot::Receiver<()>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen to SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen to SIGINT")?;
    let (stop, stopped) = oneshot::channel();
    tokio::spawn(async move {
        let mut stop = Some(stop);
        loop {
            tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
            match stop.take() {
                Some(stop) => drop(stop.send(())),
                None => std::process::exit(2),
            }
        }
    });
    Ok(stopped)
}

fn farewell(left: &[LeftBehind]) {
    for LeftBehind { route, messages } in left {
        warn!(%route, messages, "left in flight at the deadline: their source hands them on again, duplicates may follow");
    }
    info!("stopped");
}
