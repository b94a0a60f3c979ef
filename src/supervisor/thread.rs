//! A thread for each route: its tasks hand messages on without waking another thread, which costs more than all the
//! rest. A process uses its cores by running routes side by side. It must never share a route's runtime with another.

use std::thread;

use tokio::{runtime::Builder, sync::oneshot};
use tracing::warn;

use crate::route::Ended;

/// Runs what `work` makes on a thread of its own, with a runtime of its own, where everything that it spawns stays.
/// Dropped, it ends all of that at once.
pub(super) async fn on_its_own<F>(name: &str, work: impl Fn() -> F + Clone + Send + 'static) -> Ended
where
    F: Future<Output = Ended> + Send,
{
    let (end, ended) = oneshot::channel();
    let (_wanted, unwanted) = oneshot::channel::<()>();
    let run = {
        let work = work.clone();
        move || {
            let runtime = Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime.inspect_err(|error| warn!(%error, "cannot make a runtime")) else { return };
            runtime.block_on(async {
                tokio::select! {
                    biased;
                    // Nobody waits for it any more when this cannot be told.
                    outcome = work() => drop(end.send(outcome)),
                    _ = unwanted => {}
                }
            });
            // A name lookup or a file that hangs must not hold the thread up.
            runtime.shutdown_background();
        }
    };
    match thread::Builder::new().name(name.to_owned()).spawn(run) {
        Ok(_detached) => ended.await.unwrap_or(Ended::Broken("thread")),
        Err(error) => {
            warn!(route = name, %error, "no thread of its own: it shares one");
            work().await
        }
    }
}

/// Runs a task to its end on a thread of its own, with a runtime of its own, where everything that it spawns stays. What
/// is returned tells of the end.
pub(super) fn start(name: &str, task: impl Future<Output = ()> + Send + 'static) -> oneshot::Receiver<()> {
    let (end, ended) = oneshot::channel();
    let run = move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime.inspect_err(|error| warn!(%error, "cannot make a runtime")) else { return };
        runtime.block_on(task);
        let _nobody_waits = end.send(());
        runtime.shutdown_background();
    };
    if let Err(error) = thread::Builder::new().name(name.to_owned()).spawn(run) {
        warn!(name, %error, "cannot start a thread");
    }
    ended
}

#[cfg(test)]
mod tests {
    use std::{future::pending, sync::mpsc, time::Duration};

    use super::*;

    #[tokio::test]
    async fn a_route_runs_on_its_own_thread_and_tells_how_it_ended() {
        let ended = on_its_own("its-name", || async {
            assert_eq!(thread::current().name(), Some("its-name"));
            let spawned = tokio::spawn(async { thread::current().name().map(str::to_owned) });
            assert_eq!(spawned.await.expect("runs").as_deref(), Some("its-name"));
            Ended::Left(3)
        });
        assert_eq!(ended.await, Ended::Left(3));
    }

    #[tokio::test]
    async fn a_panic_is_a_broken_route_and_not_a_hang() {
        assert_eq!(on_its_own("panics", || async { panic!("on purpose") }).await, Ended::Broken("thread"));
    }

    #[tokio::test]
    async fn dropped_it_ends_what_runs_there() {
        let (alive, gone) = mpsc::channel::<()>();
        let route = tokio::spawn(async move {
            on_its_own("dropped", move || {
                let alive = alive.clone();
                async move {
                    let _alive = alive;
                    pending().await
                }
            })
            .await
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        route.abort();
        let _aborted = route.await;
        let seen = gone.recv_timeout(Duration::from_secs(5));
        assert_eq!(seen, Err(mpsc::RecvTimeoutError::Disconnected));
    }
}
