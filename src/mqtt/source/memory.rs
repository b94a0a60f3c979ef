//! Which filters a session has been subscribed with, kept in the data folder: a broker does not tell, and keeps on
//! sending what nobody wants any more.
//!
//! A filter is noted before it is asked for and forgotten once the broker has confirmed that it is gone, so that no
//! kill can lose one. It never holds up a route: without it, an old filter stays subscribed, and nothing is lost.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use tracing::warn;

#[derive(Debug)]
pub(super) struct Memory {
    file: PathBuf,
    /// As they were asked for, with `$share/group/` where they are shared.
    filters: BTreeSet<String>,
    /// The file says the same.
    saved: bool,
}

impl Memory {
    /// What is known of a session. Creates nothing yet.
    pub(super) fn open(data_dir: &Path, broker: &str, client_id: &str) -> Self {
        let file = data_dir.join("subscriptions").join(file_name(broker, client_id));
        let (filters, saved) = match read(&file) {
            Ok(filters) => (filters, true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (BTreeSet::new(), false),
            Err(error) => {
                warn!(file = %file.display(), %error, "cannot read which filters a session had: old ones may stay");
                (BTreeSet::new(), false)
            }
        };
        Self { file, filters, saved }
    }

    /// Notes what is about to be asked for. A session that is new knows of nothing else.
    pub(super) fn asks(&mut self, wanted: &[String], session_present: bool) {
        let mut filters: BTreeSet<String> = wanted.iter().cloned().collect();
        if session_present {
            filters.extend(self.filters.iter().cloned());
        }
        self.set(filters);
    }

    /// Filters that the session has and that are not wanted.
    pub(super) fn unwanted(&self, wanted: &[String]) -> Vec<String> {
        self.filters.iter().filter(|filter| !wanted.contains(filter)).cloned().collect()
    }

    /// The broker has confirmed that the session has this filter no more.
    pub(super) fn gone(&mut self, filter: &str) {
        let mut filters = self.filters.clone();
        filters.remove(filter);
        self.set(filters);
    }

    fn set(&mut self, filters: BTreeSet<String>) {
        if self.saved && self.filters == filters {
            return;
        }
        self.filters = filters;
        let written = write(&self.file, &self.filters);
        self.saved = written.is_ok();
        if let Err(error) = written {
            warn!(file = %self.file.display(), %error,
                "cannot note the filters of a session: one that the mapping drops later may stay subscribed");
        }
    }
}

fn read(file: &Path) -> io::Result<BTreeSet<String>> {
    Ok(serde_json::from_slice(&fs::read(file)?)?)
}

/// Whole or not at all, and on disk when it returns.
fn write(file: &Path, filters: &BTreeSet<String>) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let fresh = file.with_extension("fresh");
    let mut text = File::create(&fresh)?;
    text.write_all(&serde_json::to_vec(filters)?)?;
    text.sync_all()?;
    fs::rename(fresh, file)?;
    File::open(folder)?.sync_all()
}

/// A client id may hold anything; a broker's name holds no point.
fn file_name(broker: &str, client_id: &str) -> String {
    let mut name = format!("{broker}.");
    for byte in client_id.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            // Writing to a string cannot fail.
            _ => drop(write!(name, "%{byte:02X}")),
        }
    }
    name + ".json"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_filter_is_known_until_the_broker_has_confirmed_that_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let open = |client_id| Memory::open(folder.path(), "edge", client_id);
        open("c").asks(&filters(&["a/#", "b"]), false);
        let wanted = filters(&["b", "c"]);
        open("c").asks(&wanted, true);
        let mut memory = open("c");
        assert_eq!(memory.unwanted(&wanted), ["a/#"]);
        memory.gone("a/#");
        assert_eq!(open("c").unwanted(&[]), ["b", "c"]);
        assert_eq!(open("C").unwanted(&[]), filters(&[]), "each session has its own");
    }

    #[test]
    fn a_new_session_has_no_old_filters() {
        let folder = tempfile::tempdir().unwrap();
        let mut memory = Memory::open(folder.path(), "edge", "c");
        memory.asks(&filters(&["a"]), false);
        memory.asks(&filters(&["b"]), false);
        assert_eq!(Memory::open(folder.path(), "edge", "c").unwanted(&[]), ["b"]);
    }

    #[test]
    fn what_cannot_be_read_or_written_stops_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("subscriptions");
        fs::write(&path, "a file in the place of the folder").unwrap();
        let mut memory = Memory::open(folder.path(), "edge", "c");
        memory.asks(&filters(&["a"]), true);
        assert_eq!(memory.unwanted(&[]), ["a"], "known as long as the process lives");
        fs::remove_file(&path).unwrap();
        memory.asks(&filters(&["a"]), true);
        let file = path.join("edge.c.json");
        assert_eq!(fs::read_to_string(&file).unwrap(), "[\"a\"]", "written at the next login");
        fs::write(&file, "[\"a").unwrap();
        assert_eq!(Memory::open(folder.path(), "edge", "c").unwanted(&[]), filters(&[]));
    }

    #[test]
    fn any_client_id_is_a_file_of_its_own() {
        assert_eq!(file_name("edge", "a-1_Z"), "edge.a-1_Z.json");
        assert_eq!(file_name("edge", "../ä"), "edge.%2E%2E%2F%C3%A4.json");
    }
}
