//! `rocketbridge parked`: see what was put aside and why, and send it again once the reason is gone.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use clap::Subcommand;
use tokio::{signal, sync::watch};
use tracing::{level_filters::LevelFilter, warn};

use super::{End, loop_key, open, print, print_report};
use crate::{
    clock::epoch_millis,
    configuration::Configuration,
    mapping::{Park, Route},
    parking::{ParkedFile, Record},
    route::Order,
    settings::{Secret, Settings},
    supervisor::replay::{self, Replayed},
};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what is parked, and why
    List {
        /// Only this route's
        route: Option<String>,
    },
    /// Send a route's parked messages again, through its mapping as it is now
    ///
    /// Order is given up: replayed messages arrive after those that went past them. What is refused again is parked
    /// again. A running bridge need not be stopped.
    Replay {
        /// Whose parked messages
        route: String,
    },
}

impl Arguments {
    pub(super) fn run(&self, settings: &Path) -> anyhow::Result<End> {
        let opened = open(settings)?;
        let loop_key = opened.settings().map(loop_key).transpose()?.unwrap_or_else(|| Secret::new(""));
        let loaded = opened.load(&loop_key);
        let Some(Configuration { settings, mapping }) = loaded.configuration else {
            print_report(&loaded.report)?;
            return Ok(End::Rejected);
        };
        // A topic or a broker that cannot be reached is said, and waited for.
        tracing_subscriber::fmt()
            .with_max_level(LevelFilter::WARN)
            .with_target(false)
            .with_writer(std::io::stderr)
            .init();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start")?;
        let end = match &self.command {
            Command::List { route } => runtime.block_on(list(&settings, &mapping.routes, route.as_deref())),
            Command::Replay { route } => runtime.block_on(replay(&settings, mapping.routes, route)),
        };
        runtime.shutdown_background();
        end
    }
}

async fn list(settings: &Settings, routes: &[Route], only: Option<&str>) -> anyhow::Result<End> {
    let mut names: BTreeSet<String> = ParkedFile::routes(&settings.data_dir)
        .with_context(|| format!("cannot read {}", settings.data_dir.display()))?
        .into_iter()
        .chain(
            routes.iter().filter(|route| matches!(route.park, Park::RocketMq { .. })).map(|route| route.name.clone()),
        )
        .collect();
    if let Some(only) = only {
        if !names.contains(only) && !routes.iter().any(|route| route.name == only) {
            bail!("no route `{only}` in the mapping files, and nothing parked under that name");
        }
        names.retain(|name| name == only);
    }
    let mut count = 0;
    for name in &names {
        let file = ParkedFile::new(&settings.data_dir, name);
        for parked in file.list().with_context(|| format!("cannot read {}", file.path().display()))? {
            count += 1;
            match parked.record {
                Ok(record) => show(&record)?,
                Err(error) => print(&format!("{name}  {}:{}: {error}\n", parked.file.display(), parked.line))?,
            }
        }
        if let Some(route) = routes.iter().find(|route| route.name == *name) {
            let records = replay::list_topic(route, settings).await.with_context(|| cannot_read(route))?;
            count += records.len();
            records.iter().try_for_each(show)?;
        }
    }
    print(&format!("{count} parked\n"))?;
    Ok(End::Fine)
}

fn cannot_read(route: &Route) -> String {
    format!("cannot read what `{}` parked on {}", route.name, route.park.broker_name())
}

fn show(record: &Record) -> anyhow::Result<()> {
    let at = UNIX_EPOCH + Duration::from_millis(record.parked_at);
    let (route, topic, bytes) = (&record.route, record.topic(), record.payload_len());
    let at = humantime::format_rfc3339_seconds(at);
    print(&format!("{route}  {at}  {topic}  {bytes} B  {}: {}\n", record.kind, record.reason))
}

async fn replay(settings: &Settings, routes: Vec<Route>, name: &str) -> anyhow::Result<End> {
    let Some(route) = routes.into_iter().find(|route| route.name == name) else {
        bail!("no route `{name}` in the mapping files; put it back to replay what it parked");
    };
    let route = Arc::new(route);
    let (order, orders) = watch::channel(Order::Run);
    tokio::spawn(async move {
        if signal::ctrl_c().await.is_ok() {
            warn!("stopping; what is not confirmed stays parked");
            order.send_replace(Order::Abandon);
        }
        // The order must outlive the replay, which takes the end of its sender for an order to end.
        std::future::pending::<()>().await;
    });
    let begin = epoch_millis();
    let topic = replay::replay_topic(&route, settings, begin, orders.clone()).await;
    let mut all = vec![topic.with_context(|| cannot_read(&route))?];
    let file = ParkedFile::new(&settings.data_dir, name);
    if !file.list().with_context(|| format!("cannot read {}", file.path().display()))?.is_empty() {
        let taken = file.take().with_context(|| format!("cannot take {}", file.path().display()))?;
        print(&format!("sending {} from {}\n", taken.sendable(), file.path().display()))?;
        if taken.staying() > 0 {
            print(&format!("{} stay there: what could not be read cannot be sent\n", taken.staying()))?;
        }
        all.push(replay::replay_file(&route, settings, taken, orders.clone()).await);
    }
    let sum = |part: fn(&Replayed) -> u64| all.iter().map(part).sum::<u64>();
    let (stored, again) = (sum(|one| one.stored), sum(|one| one.parked_again));
    let left = sum(|one| one.left as u64);
    print(&format!("{stored} sent, {again} refused and parked again, {left} left parked\n"))?;
    Ok(if again + left == 0 { End::Fine } else { End::Rejected })
}
