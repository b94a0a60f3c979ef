//! Processes that hold clients, each of one broker: this program, started again.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    ops::Range,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

use super::{GROUP, ask::runtime};
use crate::servers::fleet::{End, Fleet};

/// A process that holds clients of one broker.
pub(super) struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    clients: Range<u32>,
    /// Orders that it has not carried out.
    under_way: usize,
}

impl Process {
    pub(super) fn start(port: u16, clients: Range<u32>) -> Result<Self> {
        // The clients would be on machines of their own: they must not take what little there is from the others.
        let mut command = Command::new("nice");
        command
            .args(["-n", "19"])
            .arg(std::env::current_exe()?)
            .arg("fleet")
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let input = child.stdin.take().context("no input")?;
        let output = BufReader::new(child.stdout.take().context("no output")?);
        Ok(Self { child, input, output, clients, under_way: 0 })
    }

    pub(super) fn whole(&self) -> Range<u32> {
        self.clients.clone()
    }

    /// The first of so many parts.
    pub(super) fn part(&self, parts: u32) -> Range<u32> {
        let Range { start, end } = self.clients;
        start..start + (end - start) / parts
    }

    pub(super) fn connect(&mut self, clients: Range<u32>) -> Result<()> {
        self.order("connect", clients)
    }

    pub(super) fn end(&mut self, clients: Range<u32>) -> Result<()> {
        self.order("end", clients)
    }

    fn order(&mut self, what: &str, Range { start, end }: Range<u32>) -> Result<()> {
        writeln!(self.input, "{what} {start} {end}")?;
        self.under_way += 1;
        Ok(())
    }

    pub(super) fn done(&mut self) -> Result<()> {
        while self.under_way > 0 {
            let mut line = String::new();
            self.output.read_line(&mut line)?;
            ensure!(line == "done\n", "the process that holds clients said {line:?}");
            self.under_way -= 1;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What such a process does: reads orders until its input ends.
pub(crate) fn hold(port: u16) -> Result<()> {
    let runtime = runtime()?;
    let mut fleet = Fleet::new(port, GROUP);
    for line in io::stdin().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        let &[what, start, end] = &words[..] else { bail!("not an order: {line}") };
        let clients = start.parse()?..end.parse()?;
        match what {
            "connect" => runtime.block_on(fleet.connect(clients))?,
            _ => runtime.block_on(async { fleet.end(clients, how) })?,
        }
        println!("done");
    }
    Ok(())
}

fn how(number: u32) -> End {
    [End::Said, End::Closed, End::Reset][number as usize % 3]
}
