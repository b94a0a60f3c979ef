//! Credentials, checked: who may log in to brokers and ask over HTTP, as what, and what for.
//!
//! Plain data, as `settings::load` makes it of the credentials file. Nothing of a secret is ever shown.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::sync::watch;

use super::Secret;
use crate::{lmq::notice::group_and_device, mapping::pattern::Pattern};

/// All of a credentials file.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// Access keys by id: what back ends and devices sign with (LMQ-1.1), and what tokens are applied for with.
    pub access_keys: BTreeMap<String, Credential>,
    /// Device credentials by id (LMQ-1.3).
    pub devices: BTreeMap<String, Credential>,
    /// Users of the custom mode by name (LMQ-1.4).
    pub users: BTreeMap<String, Credential>,
}

/// The credentials as they are now: the file may change while the process runs.
pub type CurrentCredentials = watch::Receiver<Arc<Credentials>>;

impl Credentials {
    /// Those of one access key that may ask for these groups.
    #[cfg(test)]
    pub fn asking_for<const N: usize>(groups: [&str; N]) -> Self {
        let clients = Clients { groups: groups.map(str::to_owned).into(), ids: BTreeSet::new() };
        let key = Credential { secret: Secret::new("s"), clients, permission: Permission::default() };
        Self { access_keys: [("AK".to_owned(), key)].into(), ..Self::default() }
    }

    /// The groups whose clients some access key may ask for; one may come several times.
    pub fn asked_groups(&self) -> impl Iterator<Item = &str> {
        self.access_keys.values().flat_map(|key| key.clients.groups.iter().map(String::as_str))
    }
}

/// One of them.
#[derive(Debug, Clone)]
pub struct Credential {
    /// Signs client ids and requests.
    pub secret: Secret,
    /// As which clients it may log in.
    pub clients: Clients,
    /// What they may do then.
    pub permission: Permission,
}

/// A set of client ids.
#[derive(Debug, Clone, Default)]
pub struct Clients {
    /// All clients of these groups: whole names.
    pub groups: BTreeSet<String>,
    /// Single clients: whole client ids.
    pub ids: BTreeSet<String>,
}

impl Clients {
    /// Whether a client id is one of them.
    pub fn contain(&self, client_id: &str) -> bool {
        let group = group_and_device(client_id).map(|(group, _)| group);
        group.is_some_and(|group| self.groups.contains(group)) || self.ids.contains(client_id)
    }
}

/// What a client may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permission {
    /// Where it may publish.
    pub publish: Vec<Pattern>,
    /// What it may subscribe to.
    pub subscribe: Vec<Pattern>,
    /// Whether it may also subscribe to the P2P topics of other clients, where `subscribe` holds them.
    pub reads_all_p2p: bool,
}
