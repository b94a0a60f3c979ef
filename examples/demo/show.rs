//! What the demo prints: one line for each thing that happens, and a last line that sums up.

use std::{
    collections::HashMap,
    io::IsTerminal as _,
    sync::{
        LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// A step of progress, as the scripts print theirs.
pub(crate) fn step(text: &str) {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    eprintln!("{} [{:>3}s] {text}", styled("1", "==>"), BEGAN.elapsed().as_secs());
}

fn styled(style: &str, text: &str) -> String {
    static COLOURED: LazyLock<bool> =
        LazyLock::new(|| std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    if *COLOURED { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
}

/// How often it is looked at what has flowed.
const GLANCE: Duration = Duration::from_millis(20);

/// Everything that has flowed.
#[derive(Debug)]
pub(crate) struct Flow {
    began: Instant,
    stopped: AtomicBool,
    published: AtomicU64,
    stored: AtomicU64,
    commanded: AtomicU64,
    delivered: AtomicU64,
    /// When what is on its way was sent, by where it goes and what it says.
    on_the_way: Mutex<HashMap<String, Instant>>,
    delays: Mutex<Vec<Duration>>,
}

impl Flow {
    /// Prints the heading.
    pub(crate) fn start() -> Self {
        let heading = format!("{:>7}  {:<22} {:<27} {:<10} {}", "", "who", "topic", "payload", "took");
        println!("\n{}", styled("2", &heading));
        Self {
            began: Instant::now(),
            stopped: AtomicBool::new(false),
            published: AtomicU64::new(0),
            stored: AtomicU64::new(0),
            commanded: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            on_the_way: Mutex::default(),
            delays: Mutex::default(),
        }
    }

    /// Nothing new is sent from now on.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// A device publishes; false if it shall not any more.
    pub(crate) fn published(&self, machine: &str, topic: &str, payload: &str) -> bool {
        let sent = self.leaves(&self.published, topic.trim_start_matches("plant"), payload);
        if sent {
            self.line("36", &format!("{machine} publishes"), topic, payload, None);
        }
        sent
    }

    /// Waits until the back end has read something.
    pub(crate) async fn first_stored(&self) {
        while self.stored.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Waits until nothing is on its way.
    pub(crate) async fn settled(&self) {
        while !lock(&self.on_the_way).is_empty() {
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// The back end has read what a device published.
    pub(crate) fn stored(&self, topic: &str, subtopic: &str, key: Option<&str>, tag: Option<&str>, payload: &str) {
        let took = self.arrives(&self.stored, subtopic, payload);
        let marks = format!("back end reads {} {}", tag.unwrap_or("-"), key.unwrap_or("-"));
        self.line("32", &marks, &format!("{topic}  {subtopic}"), payload, took);
    }

    /// The back end sends a command; false if it shall not any more.
    pub(crate) fn commanded(&self, subtopic: &str, payload: &str) -> bool {
        let sent = self.leaves(&self.commanded, subtopic, payload);
        if sent {
            self.line("33", "back end sends", &format!("cmd  {subtopic}"), payload, None);
        }
        sent
    }

    /// A device has received a command.
    pub(crate) fn delivered(&self, machine: &str, topic: &str, payload: &str) {
        let took = self.arrives(&self.delivered, topic.trim_start_matches("cmd"), payload);
        self.line("35", &format!("{machine} receives"), topic, payload, took);
    }

    /// Prints what arrived of what was sent. Says whether that is all of it, and there was something.
    pub(crate) fn sum_up(&self) -> bool {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut delays = lock(&self.delays).clone();
        delays.sort_unstable();
        println!(
            "\n{} of {} readings and alarms arrived in RocketMQ, {} of {} commands at the devices; the median took {}",
            count(&self.stored),
            count(&self.published),
            count(&self.delivered),
            count(&self.commanded),
            delays.get(delays.len() / 2).map_or_else(|| "-".to_owned(), |delay| milliseconds(*delay)),
        );
        let whole = |arrived: &AtomicU64, sent: &AtomicU64| count(arrived) >= count(sent);
        count(&self.published) > 0 && whole(&self.stored, &self.published) && whole(&self.delivered, &self.commanded)
    }

    fn leaves(&self, counter: &AtomicU64, place: &str, payload: &str) -> bool {
        if self.stopped.load(Ordering::Relaxed) {
            return false;
        }
        counter.fetch_add(1, Ordering::Relaxed);
        lock(&self.on_the_way).insert(format!("{place} {payload}"), Instant::now());
        true
    }

    fn arrives(&self, counter: &AtomicU64, place: &str, payload: &str) -> Option<Duration> {
        counter.fetch_add(1, Ordering::Relaxed);
        let took = lock(&self.on_the_way).remove(&format!("{place} {payload}"))?.elapsed();
        lock(&self.delays).push(took);
        Some(took)
    }

    fn line(&self, colour: &str, who: &str, topic: &str, payload: &str, took: Option<Duration>) {
        let at = self.began.elapsed().as_secs_f64();
        let took = took.map_or_else(String::new, milliseconds);
        println!("{at:>6.1}s  {} {topic:<27} {payload:<10} {took}", styled(colour, &format!("{who:<22}")));
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
