//! Devices and back ends of LMQ as programs of their own, in Java: `tests/java/`, run from their sources with the libraries
//! that `scripts/servers` fetches.

use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, Stdio},
    thread,
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use super::{
    cache, folder,
    process::{command, spawn},
};

/// A Java virtual machine may take long to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A running program that takes commands and prints lines, both with parts separated by tabs.
#[derive(Debug)]
pub struct Program {
    /// Killed when this is dropped.
    child: Child,
    name: String,
    input: ChildStdin,
    lines: mpsc::UnboundedReceiver<String>,
    /// Printed, and not asked for yet.
    waiting: VecDeque<Vec<String>>,
}

impl Program {
    /// Starts `tests/java/NAME.java`; [`Self::connected`] waits until it is there.
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        let libraries = cache().join("lmq");
        assert!(libraries.join("SHA256SUMS").exists(), "no libraries in {}: run scripts/servers", libraries.display());
        let folder = folder("java");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/java/{name}.java"));
        let mut java = command("java");
        java.args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            .arg(format!("-Duser.home={}", folder.display()))
            .arg("-cp")
            .arg(format!("{}/*", libraries.display()))
            .arg(source)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(folder.join("printed.log")).expect("create a program's log"));
        let mut child = spawn(java);
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (sender, lines) = mpsc::unbounded_channel();
        let output = BufReader::new(output.expect("its output is a pipe"));
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let input = input.expect("its input is a pipe");
        Self { child, name: name.to_owned(), input, lines, waiting: VecDeque::new() }
    }

    /// Waits until it is connected.
    pub async fn connected(mut self) -> Self {
        self.says("connected").await;
        self
    }

    /// Gives it a command and waits until that is done; what it answered.
    pub async fn tell(&mut self, parts: &[&str]) -> Vec<String> {
        writeln!(self.input, "{}", parts.join("\t")).expect("write to a program");
        self.says("done").await.split_off(1)
    }

    /// The next that it received, in its parts.
    pub async fn received(&mut self) -> Vec<String> {
        self.says("received").await
    }

    /// What it received and nobody asked for, after a while.
    pub async fn rest(&mut self, wait: Duration) -> Vec<Vec<String>> {
        tokio::time::sleep(wait).await;
        while let Ok(line) = self.lines.try_recv() {
            self.waiting.push_back(split(&line));
        }
        self.waiting.drain(..).collect()
    }

    /// Waits until it says a line of a kind; the further parts of it.
    pub async fn says(&mut self, kind: &str) -> Vec<String> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(index) = self.waiting.iter().position(|parts| parts[0] == kind) {
                return self.waiting.remove(index).unwrap_or_default().split_off(1);
            }
            let line = timeout_at(until, self.lines.recv()).await;
            let line = line.unwrap_or_else(|_| panic!("{} says nothing of {kind:?}: {:?}", self.name, self.waiting));
            let line = line.unwrap_or_else(|| panic!("{} ended; it said {:?}", self.name, self.waiting));
            self.waiting.push_back(split(&line));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn split(line: &str) -> Vec<String> {
    line.split('\t').map(str::to_owned).collect()
}
