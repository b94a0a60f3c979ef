//! Events that brokers post: from the listener of hooks to the status route that reads them.
//!
//! A post is answered only when all that it makes is stored, so that a broker that asks again loses nothing. It must
//! never keep more posts than the route has room for.

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, PoisonError, RwLock},
};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::adapter::{Adapter, Unreadable};
use crate::{
    delivery::{Delivery, SourceLink, Ticket},
    message::{Message, Topic},
};

/// Posts that wait for a route.
const WAITING: usize = 64;
/// Posts of a route that are being stored.
const UNDER_WAY: usize = 4_096;

/// The routes that take posts. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Doors {
    routes: Arc<RwLock<HashMap<String, Door>>>,
}

/// The way to a route, and how its broker speaks.
type Door = (Adapter, mpsc::Sender<Post>);

/// Something that a broker posted.
#[derive(Debug)]
pub struct Post {
    hook: String,
    body: Bytes,
    stored: oneshot::Sender<()>,
}

/// Why a post was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// No status route of that name reads a webhook.
    #[error("there is no status route of this name that reads a webhook")]
    NoRoute,
    /// It cannot be read: it would be no better if it came again.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The route ended, or was started anew. It may be posted again.
    #[error("the route stopped before the event was stored: post it again")]
    Stopped,
}

impl Doors {
    /// Opens the door of a route; what was open for one of that name before is closed.
    pub fn open(&self, route: &str, adapter: Adapter) -> mpsc::Receiver<Post> {
        let (sender, receiver) = mpsc::channel(WAITING);
        self.routes.write().unwrap_or_else(PoisonError::into_inner).insert(route.to_owned(), (adapter, sender));
        receiver
    }

    /// Hands a post to its route, and waits until all that it makes is stored.
    pub async fn post(&self, route: &str, hook: &str, body: Bytes) -> Result<(), NotTaken> {
        let door = self.routes.read().unwrap_or_else(PoisonError::into_inner).get(route).cloned();
        let (adapter, door) = door.ok_or(NotTaken::NoRoute)?;
        // The route reads it again; what it cannot read is better told to whoever posts it.
        adapter.from_webhook(Some(hook).filter(|hook| !hook.is_empty()), &body, 0)?;
        let (stored, waiting) = oneshot::channel();
        let post = Post { hook: hook.to_owned(), body, stored };
        door.send(post).await.map_err(|_| NotTaken::Stopped)?;
        waiting.await.map_err(|_| NotTaken::Stopped)
    }
}

/// A source of events: hands on what is posted until the link closes.
pub async fn run(mut posts: mpsc::Receiver<Post>, link: SourceLink) {
    let SourceLink { deliveries, mut settled, state } = link;
    // What was posted while nobody listened is gone.
    state.began(false);
    state.up();
    let (mut under_way, mut first) = (VecDeque::<Option<Post>>::new(), 0);
    let mut reading = true;
    loop {
        tokio::select! { biased;
            tickets = settled.recv() => match tickets {
                Some(tickets) => tickets.into_iter().for_each(|ticket| answer(&mut under_way, &mut first, ticket)),
                None => return,
            },
            () = deliveries.closed(), if reading => {
                reading = false;
                posts.close();
            }
            post = posts.recv(), if reading && under_way.len() < UNDER_WAY => {
                let Some(post) = post else { reading = false; continue };
                let ticket = first + under_way.len() as Ticket;
                let message = Message::new(Topic::from_mqtt(post.hook.clone()), post.body.clone());
                let delivery = Delivery { ticket, message, suspected_duplicate: false, packet_id: None, unreadable: None };
                under_way.push_back(Some(post));
                reading = deliveries.send(vec![delivery]).await.is_ok();
            }
        }
    }
}

fn answer(under_way: &mut VecDeque<Option<Post>>, first: &mut Ticket, ticket: Ticket) {
    let index = ticket.checked_sub(*first).and_then(|index| usize::try_from(index).ok());
    if let Some(post) = index.and_then(|index| under_way.get_mut(index)).and_then(Option::take) {
        // Whoever posted it has gone: it may be posted again, which makes nothing twice for a view.
        let _gone = post.stored.send(());
    }
    while let Some(None) = under_way.front() {
        under_way.pop_front();
        *first += 1;
    }
}
