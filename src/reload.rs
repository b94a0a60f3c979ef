//! Takes changed files over while the bridge runs: mapping files and credentials, on SIGHUP and when one changes.
//!
//! Files with a fault change nothing: what runs goes on, and the log says what is wrong. It never takes up changed
//! settings: brokers, listeners and limits need a restart.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::spawn_blocking,
    time::sleep,
};
use tracing::{error, info, warn};

/// Editors write a file in several steps; this long after the last of them it is read.
const SETTLE: Duration = Duration::from_millis(300);

/// What is watched.
#[derive(Debug)]
pub struct Watched {
    /// What it is called in the log.
    pub what: &'static str,
    folder: PathBuf,
    /// One file of the folder; all that end in `.toml` where there is none.
    file: Option<PathBuf>,
}

impl Watched {
    /// The mapping files of a folder.
    pub fn mappings(folder: &Path) -> Self {
        Self { what: "mapping files", folder: folder.to_owned(), file: None }
    }

    /// The credentials file.
    pub fn credentials(file: &Path) -> Self {
        let folder = file.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        Self { what: "credentials", folder: folder.to_owned(), file: Some(file.to_owned()) }
    }

    fn concerns(&self, path: &Path) -> bool {
        match &self.file {
            Some(file) => path.file_name() == file.file_name(),
            None => path.extension() == Some(OsStr::new("toml")),
        }
    }
}

/// Watches until the receiver is gone. `load` reads all again, or gives the faults as a person reads them.
pub async fn watch<T: Send + 'static>(
    files: Watched,
    load: impl Fn() -> Result<T, String> + Send + Sync + 'static,
    taken: mpsc::Sender<T>,
) {
    let (what, load) = (files.what, Arc::new(load));
    let (notes, mut changes) = mpsc::channel(1);
    let folder = files.folder.clone();
    let _watcher = match watcher(files, notes) {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            warn!(folder = %folder.display(), %error, "cannot watch the {what}; SIGHUP still reloads them");
            None
        }
    };
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => return warn!(%error, "cannot listen to SIGHUP; {what} are read at the next start"),
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
            () = taken.closed() => return,
        }
        let load = load.clone();
        // A large file must not hold up those who ask meanwhile.
        let loaded = spawn_blocking(move || load()).await;
        match loaded.unwrap_or_else(|panic| Err(panic.to_string())) {
            Ok(fresh) => {
                info!("{what} read again");
                if taken.send(fresh).await.is_err() {
                    return;
                }
            }
            Err(faults) => error!("{what} have faults, nothing changes:\n{faults}"),
        }
    }
}

fn watcher(files: Watched, changed: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let folder = files.folder.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let matters =
            event.is_ok_and(|event| !event.kind.is_access() && event.paths.iter().any(|path| files.concerns(path)));
        if matters {
            // Full means that a change is noted already.
            let _noted = changed.try_send(());
        }
    })?;
    watcher.watch(&folder, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}
