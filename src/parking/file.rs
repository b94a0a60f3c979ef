//! The file of a route's parked messages, under `<data_dir>/parked/`: one record a line, oldest first.
//!
//! A running bridge appends while a person lists or replays, so every change is made under a lock, and a replay
//! first takes the file away by renaming it. A line is on disk before its message is acknowledged.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::record::{Record, RecordError};
use crate::{
    data_dir::sync_folder,
    delivery::{Delivery, SourceLink, Ticket},
};

/// How many parked messages a replay passes on at a time.
const BATCH: usize = 64;

/// Where one route's parked messages are kept.
#[derive(Debug, Clone)]
pub struct ParkedFile {
    folder: PathBuf,
    route: String,
}

/// A line of a file: a record, or why it is none.
#[derive(Debug)]
pub struct Parked {
    /// Where it stands.
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
    /// What it holds.
    pub record: Result<Record, RecordError>,
}

impl Parked {
    /// The record that can be sent again: one that could be read, of a message that could be read.
    fn sendable(&self) -> Option<&Record> {
        self.record.as_ref().ok().filter(|record| !record.is_raw())
    }
}

impl ParkedFile {
    /// The file of a route. Nothing is created yet.
    pub fn new(data_dir: &Path, route: &str) -> Self {
        Self { folder: data_dir.join("parked"), route: route.to_owned() }
    }

    /// The routes that have parked messages under a data folder, sorted.
    pub fn routes(data_dir: &Path) -> io::Result<Vec<String>> {
        let folder = data_dir.join("parked");
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut routes = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let stem = name.to_str().and_then(|name| name.strip_suffix(".jsonl"));
            if let Some(stem) = stem {
                routes.push(stem.strip_suffix(".replaying").unwrap_or(stem).to_owned());
            }
        }
        routes.sort();
        routes.dedup();
        Ok(routes)
    }

    /// Where new records go.
    pub fn path(&self) -> PathBuf {
        self.folder.join(format!("{}.jsonl", self.route))
    }

    /// What a replay has taken away, and left.
    fn replaying(&self) -> PathBuf {
        self.folder.join(format!("{}.replaying.jsonl", self.route))
    }

    fn lock(&self, name: &str) -> io::Result<File> {
        fs::create_dir_all(&self.folder)?;
        let lock =
            OpenOptions::new().create(true).append(true).open(self.folder.join(format!("{}.{name}", self.route)))?;
        Ok(lock)
    }

    /// Appends records and returns once they are on disk. A torn last line of a crash is ended first, so that it
    /// cannot swallow what follows.
    pub fn append(&self, records: &[Record]) -> io::Result<()> {
        let lock = self.lock("lock")?;
        lock.lock()?;
        let path = self.path();
        let mut file = private().append(true).open(&path)?;
        let mut text = if ends_torn(&path)? { String::from("\n") } else { String::new() };
        for record in records {
            text.push_str(&record.to_line());
            text.push('\n');
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        // The names too, and each time: what a try that failed has made is not known to be on disk. Where nothing is
        // new it costs next to nothing.
        sync_folder(&self.folder)?;
        self.folder.parent().map_or(Ok(()), sync_folder)
    }

    /// Every parked message of this route, those that an earlier replay left first.
    pub fn list(&self) -> io::Result<Vec<Parked>> {
        let mut all = Vec::new();
        for path in [self.replaying(), self.path()] {
            match File::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                file => read_lines(&path, BufReader::new(file?), |parked| all.push(parked))?,
            }
        }
        Ok(all)
    }

    /// Takes the parked messages away for a replay, with what an earlier one left. Refused while another replay of
    /// this route is under way.
    pub fn take(&self) -> io::Result<Replay> {
        let guard = self.lock("replay.lock")?;
        guard.try_lock().map_err(|_| io::Error::new(io::ErrorKind::WouldBlock, "another replay of this route runs"))?;
        let lock = self.lock("lock")?;
        lock.lock()?;
        let (path, replaying) = (self.path(), self.replaying());
        if !replaying.exists() {
            fs::rename(path, &replaying)?;
        } else if path.exists() {
            // A crash in between costs duplicates.
            let mut all = private().append(true).open(&replaying)?;
            if ends_torn(&replaying)? {
                all.write_all(b"\n")?;
            }
            io::copy(&mut File::open(&path)?, &mut all)?;
            all.sync_all()?;
            fs::remove_file(path)?;
        }
        let mut lines = Vec::new();
        read_lines(&replaying, BufReader::new(File::open(&replaying)?), |parked| lines.push(parked))?;
        Ok(Replay { file: replaying, lines, _guard: guard })
    }
}

/// To open files of messages with, which are nobody else's to read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).mode(0o600);
    options
}

/// Whether the last byte is not an end of line.
fn ends_torn(path: &Path) -> io::Result<bool> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

fn read_lines(path: &Path, reader: impl BufRead, mut each: impl FnMut(Parked)) -> io::Result<()> {
    for (index, line) in reader.split(b'\n').enumerate() {
        let line = line?;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let record = Record::from_line(&String::from_utf8_lossy(&line));
        each(Parked { file: path.to_owned(), line: index + 1, record });
    }
    Ok(())
}

/// Parked messages on their way through their route again.
#[derive(Debug)]
pub struct Replay {
    file: PathBuf,
    lines: Vec<Parked>,
    _guard: File,
}

impl Replay {
    /// How many messages will be sent.
    pub fn sendable(&self) -> usize {
        self.lines.iter().filter(|parked| parked.sendable().is_some()).count()
    }

    /// How many lines stay where they are: they are no record, or hold what could not be read.
    pub fn staying(&self) -> usize {
        self.lines.len() - self.sendable()
    }
}

/// A source that reads parked messages. It ends when all are settled; then it removes the file, but for lines that
/// cannot be sent or were not settled, and says how many stay.
pub async fn replay_source(replay: Replay, link: SourceLink) -> io::Result<usize> {
    let SourceLink { deliveries, mut settled, state } = link;
    state.up();
    let mut waiting: Vec<Option<&Parked>> = replay.lines.iter().map(Some).collect();
    let mut sent: Ticket = 0;
    let mut to_send = replay.lines.iter().enumerate().filter_map(|(index, parked)| {
        let message = parked.sendable()?.message().ok()?;
        Some(Delivery {
            ticket: index as Ticket,
            message,
            suspected_duplicate: true,
            packet_id: None,
            unreadable: None,
        })
    });
    loop {
        let batch: Vec<Delivery> = to_send.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            break;
        }
        sent += batch.len() as Ticket;
        if deliveries.send(batch).await.is_err() {
            break;
        }
    }
    drop(deliveries);
    let mut done: Ticket = 0;
    while done < sent {
        let Some(tickets) = settled.recv().await else { break };
        for ticket in tickets {
            let slot = usize::try_from(ticket).ok().and_then(|index| waiting.get_mut(index));
            done += Ticket::from(slot.is_some_and(|slot| slot.take().is_some()));
        }
    }
    let left: Vec<usize> = waiting.into_iter().flatten().map(|parked| parked.line).collect();
    rewrite(&replay.file, &left)?;
    Ok(left.len())
}

/// Keeps only the lines of these numbers, which rise, byte for byte.
fn rewrite(path: &Path, left: &[usize]) -> io::Result<()> {
    if left.is_empty() {
        return fs::remove_file(path);
    }
    let fresh = path.with_extension("fresh");
    let mut file = BufWriter::new(private().write(true).truncate(true).open(&fresh)?);
    let mut left = left.iter().peekable();
    for (index, line) in BufReader::new(File::open(path)?).split(b'\n').enumerate() {
        let line = line?;
        if left.next_if_eq(&&(index + 1)).is_some() {
            file.write_all(&line)?;
            file.write_all(b"\n")?;
        }
    }
    file.into_inner()?.sync_all()?;
    fs::rename(fresh, path)
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::PermissionsExt,
        time::{Duration, Instant},
    };

    use super::*;
    use crate::{
        delivery::{Refusal, source_link},
        message::{Message, Topic},
        telemetry::Telemetry,
    };

    fn record(topic: &str) -> Record {
        Record::new("r", &Message::new(Topic::from_mqtt(topic), "x"), &Refusal::new("k", "why"), 1)
    }

    #[test]
    fn a_torn_line_does_not_swallow_the_next_record() {
        let data = tempfile::tempdir().expect("a folder");
        let parked = ParkedFile::new(data.path(), "r");
        parked.append(&[record("a")]).expect("written");
        let mode = fs::metadata(parked.path()).expect("the file").permissions().mode();
        assert_eq!(mode & 0o077, 0, "payloads are nobody else's to read");
        let mut file = OpenOptions::new().append(true).open(parked.path()).expect("the file");
        file.write_all(b"{\"version\":1,\"rou").expect("torn");
        parked.append(&[record("b")]).expect("written");
        let lines = parked.list().expect("read");
        let topics: Vec<_> = lines.iter().map(|line| line.record.as_ref().ok().map(Record::topic)).collect();
        assert_eq!(topics, [Some("a".into()), None, Some("b".into())]);
        assert_eq!(ParkedFile::routes(data.path()).expect("listed"), ["r"]);
    }

    #[tokio::test]
    async fn a_replay_keeps_what_was_not_settled_or_not_readable() {
        let data = tempfile::tempdir().expect("a folder");
        let parked = ParkedFile::new(data.path(), "r");
        parked.append(&[record("a"), record("b"), record("c")]).expect("written");
        fs::write(parked.path(), [fs::read(parked.path()).expect("read"), b"rubbish\n".to_vec()].concat())
            .expect("written");
        let telemetry = Telemetry::default().route("r", "file", "far", "file");
        let (link, mut handle) = source_link(telemetry.source.clone());
        let replay = parked.take().expect("taken");
        parked.append(&[record("later")]).expect("a running bridge goes on parking");
        assert!(parked.take().is_err(), "one replay at a time");
        let source = tokio::spawn(replay_source(replay, link));
        let batch = handle.deliveries.recv().await.expect("a batch");
        assert_eq!(batch.len(), 3);
        handle.settled.send(vec![0, 2, 2]).expect("the source listens");
        drop(handle);
        assert_eq!(source.await.expect("no panic").expect("written"), 2);
        let left: Vec<_> =
            parked.list().expect("read").into_iter().map(|line| line.record.ok().map(|r| r.topic())).collect();
        assert_eq!(left, [Some("b".into()), None, Some("later".into())]);
        let mode = fs::metadata(parked.replaying()).expect("what is left").permissions().mode();
        assert_eq!(mode & 0o077, 0, "what is left is still nobody else's to read");
    }

    #[tokio::test]
    async fn what_could_not_be_read_stays_and_is_never_sent() {
        let data = tempfile::tempdir().expect("a folder");
        let parked = ParkedFile::new(data.path(), "r");
        let raw = Message::new(Topic::from_mqtt("raw"), "half a record");
        let raw = Record::new("r", &raw, &Refusal::new(Refusal::UNDECODABLE, "cut short"), 1);
        parked.append(&[raw, record("a")]).expect("written");
        let replay = parked.take().expect("taken");
        assert_eq!((replay.sendable(), replay.staying()), (1, 1));
        assert_eq!(all_settled(replay).await, ["a"]);
        parked.append(&[record("later")]).expect("written");
        let topics = |lines: Vec<Parked>| lines.into_iter().map(|line| line.record.expect("ours").topic());
        assert_eq!(topics(parked.list().expect("read")).collect::<Vec<_>>(), ["raw", "later"]);
        assert_eq!(all_settled(parked.take().expect("taken")).await, ["later"], "what stays hides nothing");
        assert_eq!(topics(parked.list().expect("read")).collect::<Vec<_>>(), ["raw"]);
    }

    /// Replays, settles all that is sent, and gives its topics.
    async fn all_settled(replay: Replay) -> Vec<String> {
        let (link, mut handle) = source_link(Telemetry::default().route("r", "file", "far", "file").source);
        let source = tokio::spawn(replay_source(replay, link));
        let mut topics = Vec::new();
        while let Some(batch) = handle.deliveries.recv().await {
            topics.extend(batch.iter().map(|delivery| delivery.message.topic.as_str().to_owned()));
            let tickets = batch.iter().map(|delivery| delivery.ticket);
            handle.settled.send(tickets.collect()).expect("the source listens");
        }
        source.await.expect("no panic").expect("written");
        topics
    }

    /// Many thousands are nothing unusual after a wrong mapping.
    #[test]
    fn what_is_left_of_many_is_written_in_one_pass() {
        const LINES: usize = 100_000;
        let data = tempfile::tempdir().expect("a folder");
        let path = data.path().join("r.jsonl");
        let text = (1..=LINES).map(|line| line.to_string() + "\n").collect::<String>();
        fs::write(&path, text).expect("written");
        let left: Vec<usize> = (1..=LINES).filter(|line| line % 2 == 0).collect();
        let began = Instant::now();
        rewrite(&path, &left).expect("written");
        assert!(began.elapsed() < Duration::from_secs(3), "took {:?}", began.elapsed());
        let expected = left.iter().map(|line| line.to_string() + "\n").collect::<String>();
        assert_eq!(fs::read_to_string(&path).expect("read"), expected);
    }
}
