//! `retire`: ends what a route leaves behind on its brokers.

use std::path::Path;

use anyhow::{Context, bail};

use super::{End, Show, load, print, runtime};
use crate::{
    mapping::{From, Route, To},
    mqtt, rocketmq,
};

const NOTE: &str = "\
A route's source outlives the process: an MQTT session or a RocketMQ consumer group, for which its broker keeps
messages. Before a route is removed from the mapping files, stop the bridge (or all replicas) and retire the route.

Messages that the broker still holds for an MQTT session are lost with it.";

#[derive(Debug, clap::Args)]
#[command(after_help = NOTE)]
pub(super) struct Arguments {
    /// The route, as it stands in the mapping files
    route: String,
}

impl Arguments {
    pub(super) fn run(&self, settings: &Path) -> anyhow::Result<End> {
        let Some(configuration) = load(settings, Show::Errors)? else { return Ok(End::Rejected) };
        let Some(route) = configuration.mapping.routes.iter().find(|route| route.name == self.route) else {
            bail!("there is no route `{}` in the mapping files", self.route);
        };
        print(&runtime()?.block_on(retire(route))?)?;
        Ok(End::Fine)
    }
}

async fn retire(route: &Route) -> anyhow::Result<String> {
    let source = match &route.from {
        From::RocketMq(from) => {
            let cluster = from.cluster.clone();
            let ended = rocketmq::source::retire(cluster, &from.group).await;
            ended.with_context(|| format!("cannot end the group `{}` on {}", from.group, from.cluster.name))?;
            format!("ended the consumer group `{}` on {}\n", from.group, from.cluster.name)
        }
        from => match from.session() {
            Some(session) => {
                mqtt::probe::retire(&session.broker, &session.client_id).await?;
                format!("ended the MQTT session `{}` on {}\n", session.client_id, session.broker.name)
            }
            None => String::new(),
        },
    };
    if let To::Mqtt { broker, client_id } = &route.to {
        mqtt::probe::retire(broker, client_id).await?;
        return Ok(format!("{source}ended the MQTT session `{client_id}` on {}\n", broker.name));
    }
    Ok(source)
}
