//! The connections of a broker's clients on disk, so that a bridge that was killed goes on where it was.
//!
//! One file per status route, a JSON object a line: what is known of one client since one event, or what is known of
//! the broker. A line counts once the one after it is whole; the file is written anew when most of it is old. It must
//! never say that an event is done before its notices are stored.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap},
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::{
    connections::{Channel, Client, Connections},
    ledger::{Event, Key, Ledger},
    lifeline::Known,
};

/// The folder below `data_dir`.
const FOLDER: &str = "clients";
/// The file is written anew when it has more lines than this, and four times as many as there is to say.
const LINES: usize = 10_000;

/// One line.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Line {
    /// A client id, with what is known of it.
    #[serde(rename = "c", skip_serializing_if = "Option::is_none")]
    client: Option<(String, Client)>,
    /// The event that it is known from.
    #[serde(rename = "k", skip_serializing_if = "Option::is_none")]
    key: Option<Key>,
    /// Events that are recognised.
    #[serde(rename = "r", skip_serializing_if = "Vec::is_empty")]
    keys: Vec<Key>,
    /// A peer that has opened a connection and not said who it is.
    #[serde(rename = "o", skip_serializing_if = "Option::is_none")]
    opened: Option<String>,
    /// When the broker started.
    #[serde(rename = "b", skip_serializing_if = "Option::is_none")]
    broker: Option<Known>,
    /// A client id, with a connection of which others are about to be told.
    #[serde(rename = "t", skip_serializing_if = "Option::is_none")]
    tells: Option<(String, Channel)>,
    /// A group that has had notices.
    #[serde(rename = "g", skip_serializing_if = "Option::is_none")]
    group: Option<String>,
}

/// What the last process left.
#[derive(Debug)]
pub struct Restored {
    /// The connections of all clients.
    pub connections: Connections,
    /// The events that are recognised when they come again.
    pub ledger: Ledger,
    /// What was known of the broker; nothing when nobody listened before.
    pub known: Option<Known>,
    /// The groups that have had notices.
    pub groups: Vec<String>,
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// Up to when all has been heard of the broker, in a file of its own that is written over.
    heard: File,
    lines: usize,
    /// Lines to be written.
    text: Vec<u8>,
}

impl Journal {
    /// Opens the journal of a status route, and reads what it says.
    pub fn open(data_dir: &Path, route: &str, in_order: bool) -> io::Result<(Self, Restored)> {
        let folder = data_dir.join(FOLDER);
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{route}.jsonl"));
        let mut restored = Restored {
            connections: Connections::new(in_order),
            ledger: Ledger::default(),
            known: None,
            groups: Vec::new(),
        };
        let (lines, whole, unsure) = match File::open(&path) {
            Ok(file) => read(&file, &mut restored)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => (0, 0, Vec::new()),
            Err(error) => return Err(error),
        };
        let mut options = OpenOptions::new();
        options.create(true).write(true).mode(0o600);
        let file = options.clone().append(true).open(&path)?;
        // What was being written when the last process was killed is no line.
        file.set_len(whole)?;
        let heard = options.read(true).truncate(false).open(folder.join(format!("{route}.heard")))?;
        File::open(&folder)?.sync_all()?;
        if let Some(known) = &mut restored.known {
            // Unreadable is as if never: what happened since is not known then.
            (known.heard, known.ahead) = last_heard(&heard).unwrap_or((0, None));
        }
        let mut journal = Self { path, file, heard, lines, text: Vec::new() };
        for client_id in unsure {
            // Else the next process would find it unsure again, whatever came of it.
            let client = restored.connections.client(&client_id).cloned().unwrap_or_default();
            journal.line(&Line { client: Some((client_id, client)), ..Line::default() });
        }
        Ok((journal, restored))
    }

    /// Notes events that are done.
    pub fn note(&mut self, events: &[Event]) {
        for Event { key, changed, opened, broker, .. } in events {
            let mut key = *key;
            if let Some(peer) = opened {
                self.line(&Line { opened: Some(peer.clone()), key: key.take(), ..Line::default() });
            }
            if let Some(known) = broker {
                self.line(&Line { broker: Some(*known), ..Line::default() });
            }
            for (client_id, client) in changed {
                self.line(&Line {
                    client: Some((client_id.clone(), client.clone())),
                    key: key.take(),
                    ..Line::default()
                });
            }
        }
    }

    /// Notes, before anybody is told, that a connection has begun. For what nobody tells the bridge twice: whoever has
    /// been told must some time be told of its end.
    pub fn tells(&mut self, client_id: &str, channel: &Channel) {
        self.line(&Line { tells: Some((client_id.to_owned(), channel.clone())), ..Line::default() });
    }

    /// Notes that a group has notices.
    pub fn group(&mut self, group: &str) {
        self.line(&Line { group: Some(group.to_owned()), ..Line::default() });
    }

    /// Writes what was noted, and waits until it is safe.
    pub async fn sync(&mut self) -> io::Result<()> {
        if self.text.is_empty() {
            return Ok(());
        }
        let (text, mut file) = (std::mem::take(&mut self.text), self.file.try_clone()?);
        let written =
            spawn_blocking(move || file.write_all(&text).and_then(|()| file.sync_data()).map_err(|e| (e, text)));
        match written.await.map_err(io::Error::other)? {
            Ok(()) => Ok(()),
            Err((error, text)) => {
                // Part of it may be there: the same again after the end of the line is the same.
                self.text = [b"\n".to_vec(), text].concat();
                Err(error)
            }
        }
    }

    /// Writes over up to when all has been heard of the broker, and how far the bridge's clock is ahead of its; no harm
    /// is done where that is lost.
    pub fn heard(&self, at: u64, ahead: Option<i64>) -> io::Result<()> {
        let ahead = ahead.map_or_else(String::new, |ahead| ahead.to_string());
        self.heard.write_all_at(format!("{at:020} {ahead:>20}").as_bytes(), 0)
    }

    /// Whether the file must be written anew before it grows on: no quieter time has come for long.
    pub fn is_overdue(&self, connections: &Connections) -> bool {
        self.lines >= 2 * LINES.max(4 * connections.count())
    }

    /// Writes the file anew when most of it is old. Where that fails, it is not tried again before as much was added.
    pub async fn compact(
        &mut self,
        connections: &Connections,
        ledger: &Ledger,
        known: Known,
        groups: &BTreeSet<String>,
    ) -> io::Result<()> {
        // What is not done yet must not get into the file: there is a quieter time.
        if !ledger.is_empty() || self.lines < LINES.max(4 * connections.count()) {
            return Ok(());
        }
        self.lines = connections.count();
        let mut fresh = Self {
            path: self.path.with_extension("new"),
            file: self.file.try_clone()?,
            heard: self.heard.try_clone()?,
            lines: 0,
            text: Vec::new(),
        };
        fresh.line(&Line { broker: Some(known), ..Line::default() });
        for group in groups {
            fresh.group(group);
        }
        for peer in connections.nameless() {
            fresh.line(&Line { opened: Some(peer.to_owned()), ..Line::default() });
        }
        for (client_id, client) in connections.clients() {
            fresh.line(&Line { client: Some((client_id.to_owned(), client.clone())), ..Line::default() });
        }
        fresh.line(&Line { keys: ledger.keys().collect(), ..Line::default() });
        let (text, path, old) = (std::mem::take(&mut fresh.text), fresh.path.clone(), self.path.clone());
        let replaced = spawn_blocking(move || replace(&path, &old, &text));
        self.file = replaced.await.map_err(io::Error::other)??;
        Ok(())
    }

    fn line(&mut self, line: &Line) {
        serde_json::to_writer(&mut self.text, line).expect("text and numbers are JSON");
        self.text.push(b'\n');
        self.lines += 1;
    }
}

/// Puts a new file in the place of the old one; gives it to be added to.
fn replace(path: &Path, old: &Path, text: &[u8]) -> io::Result<File> {
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(path, old)?;
    if let Some(folder) = old.parent() {
        File::open(folder)?.sync_all()?;
    }
    OpenOptions::new().append(true).open(old)
}

/// How many lines there are, how many bytes up to the end of the last whole one, and the clients with a connection of
/// which others may have been told or not.
fn read(file: &File, restored: &mut Restored) -> io::Result<(usize, u64, Vec<String>)> {
    let mut reader = BufReader::new(file);
    let (mut lines, mut whole, mut text) = (0, 0, Vec::new());
    let mut unsure = HashMap::new();
    loop {
        text.clear();
        let length = reader.read_until(b'\n', &mut text)?;
        if text.last() != Some(&b'\n') {
            break;
        }
        lines += 1;
        whole += length as u64;
        // A line that was cut off by a full disk and written again is no line.
        let Ok(line) = serde_json::from_slice::<Line>(&text) else { continue };
        unsure.extend(line.tells.map(|(client_id, channel)| (channel.id, (client_id, channel))));
        if let Some((client_id, client)) = line.client {
            client.open().iter().for_each(|open| drop(unsure.remove(&open.id)));
            restored.connections.restore(client_id, client);
        }
        if let Some(peer) = line.opened {
            restored.connections.opened(&peer);
        }
        restored.ledger.restore(line.keys.into_iter().chain(line.key));
        restored.known = line.broker.or(restored.known);
        restored.groups.extend(line.group);
    }
    let mut clients = Vec::new();
    for (client_id, channel) in unsure.into_values() {
        restored.connections.restore_unsure(client_id.clone(), channel);
        clients.push(client_id);
    }
    Ok((lines, whole, clients))
}

fn last_heard(file: &File) -> Option<(u64, Option<i64>)> {
    let mut text = [0; 41];
    file.read_exact_at(&mut text, 0).ok()?;
    let (at, ahead) = std::str::from_utf8(&text).ok()?.split_once(' ')?;
    Some((at.parse().ok()?, ahead.trim_start().parse().ok()))
}
