//! Takes changed mapping files over while the bridge runs: on SIGHUP, and when a file in their folder changes.
//!
//! A set of files with a fault changes nothing: what runs goes on, and the log says what is wrong. It never reads
//! the settings again: brokers, listeners and limits need a restart.

use std::{path::Path, time::Duration};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::sleep,
};
use tracing::{error, info, warn};

use crate::mapping::Route;

/// Editors write a file in several steps; this long after the last of them it is read.
const SETTLE: Duration = Duration::from_millis(300);

/// Watches until the receiver of routes is gone. `load` reads all files again, or gives the faults as a person reads
/// them.
pub async fn watch(folder: &Path, load: impl Fn() -> Result<Vec<Route>, String>, routes: mpsc::Sender<Vec<Route>>) {
    let (notes, mut changes) = mpsc::channel(1);
    let _watcher = match watcher(folder, notes) {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            warn!(folder = %folder.display(), %error, "cannot watch the mapping files; SIGHUP still reloads them");
            None
        }
    };
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => return warn!(%error, "cannot listen to SIGHUP; mapping files are read at the next start"),
    };
    loop {
        tokio::select! {
            _ = hangup.recv() => {}
            Some(()) = changes.recv() => {
                sleep(SETTLE).await;
                while changes.try_recv().is_ok() {
                    sleep(SETTLE).await;
                }
            }
            () = routes.closed() => return,
        }
        match load() {
            Ok(fresh) => {
                info!(routes = fresh.len(), "mapping files read again");
                if routes.send(fresh).await.is_err() {
                    return;
                }
            }
            Err(faults) => error!("mapping files have faults, nothing changes:\n{faults}"),
        }
    }
}

fn watcher(folder: &Path, changed: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let matters =
            event.is_ok_and(|event| !event.kind.is_access() && event.paths.iter().any(|path| is_mapping(path)));
        if matters {
            // Full means that a change is noted already.
            let _noted = changed.try_send(());
        }
    })?;
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

fn is_mapping(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml")
}
