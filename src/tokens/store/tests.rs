use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::{StorageBackend, backends::InMemoryBackend};

use super::*;
use crate::lmq::token::Grant;

const NOW: u64 = 1_566_000_000_000;
const END: u64 = NOW + 60_000;

fn entry(id: u8, expires: u64, revoked: bool) -> Entry {
    let (access_key, instance, resources) = ("YYYYY".to_owned(), String::new(), vec!["a/#".to_owned()]);
    let grant = Grant { id: TokenId([id; 16]), access_key, instance, resources, read: true, write: true, expires };
    Entry { grant, issued: NOW, revoked }
}

fn ids(entries: &[Entry]) -> Vec<u8> {
    entries.iter().map(|entry| entry.grant.id.0[0]).collect()
}

fn queue(id: u32) -> Queue {
    Queue { broker: "broker-0".into(), id }
}

fn open(folder: &tempfile::TempDir) -> (Store, Known) {
    Store::open(&folder.path().join("tokens.redb"), "main/topic").unwrap()
}

#[tokio::test]
async fn what_was_stored_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (store, known) = open(&folder);
    assert!(known.revoked.is_empty() && known.positions.is_empty());
    store.put(entry(1, END, false)).await.unwrap();
    store.put(entry(2, END, true)).await.unwrap();
    store.heard(vec![entry(3, END, true)], queue(1), 7, NOW).await.unwrap();
    store.close().await;
    let (store, known) = open(&folder);
    assert_eq!(known.revoked, [(TokenId([2; 16]), END), (TokenId([3; 16]), END)].into());
    assert_eq!(known.positions, [(queue(1), 7)].into());
    assert_eq!(store.page(None, 10).await.unwrap(), [entry(1, END, false), entry(2, END, true), entry(3, END, true)]);
    store.close().await;
    let (_, known) = Store::open(&folder.path().join("tokens.redb"), "main/another").unwrap();
    assert_eq!((known.positions.len(), known.revoked.len()), (0, 2), "another topic is read from its beginning");
}

#[tokio::test]
async fn the_others_are_told_of_what_is_new_and_again_of_what_is_old() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(&folder);
    store.put(entry(1, END, false)).await.unwrap();
    store.put(entry(2, END, false)).await.unwrap();
    assert_eq!(store.count().await, Ok((2, 2)));
    let untold = store.untold(1).await.unwrap();
    assert_eq!(ids(&untold), [1, 2]);
    store.told(untold, NOW).await.unwrap();
    assert_eq!((store.count().await, store.untold(NOW).await), (Ok((2, 0)), Ok(Vec::new())));
    // It is revoked: that is new, until it was told or heard.
    store.put(entry(1, END, true)).await.unwrap();
    assert_eq!(ids(&store.untold(NOW).await.unwrap()), [1]);
    store.heard(vec![entry(1, END, false)], queue(0), 1, NOW + 1).await.unwrap();
    assert_eq!(store.untold(NOW).await.unwrap(), [entry(1, END, true)], "the others know less than we do");
    // What says only that it is revoked is told as well.
    let mut revoked = entry(2, END, true);
    revoked.issued = 0;
    store.put(revoked).await.unwrap();
    assert_eq!(ids(&store.untold(1).await.unwrap()), [1, 2]);
    store.told(vec![entry(2, END, true)], NOW).await.unwrap();
    store.heard(vec![entry(1, END, true)], queue(0), 2, NOW + 1).await.unwrap();
    assert_eq!(store.untold(NOW).await, Ok(Vec::new()));
    assert_eq!(ids(&store.untold(NOW + 2).await.unwrap()), [2, 1], "oldest first");
}

#[tokio::test]
async fn what_is_over_is_forgotten_and_not_taken_up_again() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(&folder);
    store.put(entry(1, END, true)).await.unwrap();
    store.put(entry(2, END + 1, false)).await.unwrap();
    store.sweep(END).await.unwrap();
    assert_eq!(store.count().await, Ok((2, 2)));
    store.sweep(END + 1).await.unwrap();
    assert_eq!(ids(&store.page(None, 10).await.unwrap()), [2]);
    assert_eq!(ids(&store.untold(1).await.unwrap()), [2]);
    store.heard(vec![entry(1, END, true)], queue(0), 1, END + 1).await.unwrap();
    store.sweep(END + 2).await.unwrap();
    assert_eq!(store.count().await, Ok((0, 0)));
}

#[tokio::test]
async fn pages_hold_every_token_once() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(&folder);
    for id in [9, 255, 0, 4] {
        store.put(entry(id, END, false)).await.unwrap();
    }
    assert_eq!(ids(&store.page(None, 2).await.unwrap()), [0, 4]);
    assert_eq!(ids(&store.page(Some(TokenId([4; 16])), 2).await.unwrap()), [9, 255]);
    assert!(store.page(Some(TokenId([255; 16])), 2).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_message_tells_of_no_more_than_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(&folder);
    for id in 0..60 {
        let mut long = entry(id, END, false);
        long.grant.resources = vec!["x".repeat(8000)];
        store.put(long).await.unwrap();
    }
    let some = store.untold(1).await.unwrap();
    assert!((20..40).contains(&some.len()), "{}", some.len());
}

/// How Linux says that a disk is full.
const NO_SPACE: i32 = 28;

/// A store on a disk that has just become full.
pub(crate) fn full_disk() -> (Store, Known) {
    let floppy = Floppy::default();
    let opened = floppy.open();
    floppy.fill(true);
    opened
}

/// A disk that can be full, and outlives the database on it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Floppy {
    disk: Arc<InMemoryBackend>,
    full: Arc<AtomicBool>,
}

impl Floppy {
    /// A store on it.
    pub(crate) fn open(&self) -> (Store, Known) {
        let on = self.clone();
        Store::on(Box::new(move || Database::builder().create_with_backend(on.clone())), "main/t").unwrap()
    }

    /// Whether there is room.
    pub(crate) fn fill(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    fn room(&self) -> io::Result<()> {
        let full = self.full.load(Ordering::Relaxed);
        if full { Err(io::Error::from_raw_os_error(NO_SPACE)) } else { Ok(()) }
    }
}

impl StorageBackend for Floppy {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.room()?;
        self.disk.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.room()?;
        self.disk.write(offset, data)
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_is_used_again_once_there_is_room() {
    let floppy = Floppy::default();
    let (store, _) = floppy.open();
    store.put(entry(1, END, false)).await.unwrap();
    floppy.fill(true);
    for id in [2, 3] {
        let error = store.put(entry(id, END, false)).await.unwrap_err();
        assert!(error.to_string().starts_with("cannot write to `data_dir`: "), "{error}");
    }
    floppy.fill(false);
    store.put(entry(4, END, false)).await.unwrap();
    assert_eq!(ids(&store.page(None, 10).await.unwrap()), [1, 4], "what was refused is not there");
}
