//! The command line: arguments, exit codes and printing.
//!
//! Exit codes: 0 fine, 1 rejected input, 2 could not run or was called wrongly. Faults go to the standard error
//! output, answers to the standard output. Nothing below this module prints.

mod check;
mod explain;
mod parked;
mod retire;
mod run;
mod sign;
mod test;

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::{
    configuration::{self, Configuration},
    data_dir,
    diagnostic::Report,
    settings::{Environment, Secret, Settings},
};

const EXAMPLES: &str = "\
Examples:
  rocketbridge check                                        look for faults in all files
  rocketbridge test                                         run the tests in the mapping files
  rocketbridge explain plant/a/m7/up/temp                   what becomes of this topic
  rocketbridge --settings /etc/rocketbridge.toml check      another settings file

Exit codes:
  0  fine
  1  rejected input: faulty files, failing tests, a topic that no route takes
  2  could not run, or called wrongly";

/// Joins MQTT brokers and Apache RocketMQ: both ways, at least once, in order.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, max_term_width = 100)]
struct Arguments {
    /// The settings file
    #[arg(long, value_name = "FILE", default_value = "rocketbridge.toml", global = true)]
    settings: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look for faults in the settings and in all mapping files
    Check(check::Arguments),
    /// Show which routes take a message, and what they make of it
    Explain(explain::Arguments),
    /// Run the tests in the mapping files; needs no broker
    Test(test::Arguments),
    /// Join the brokers, until SIGTERM or Ctrl-C
    Run(run::Arguments),
    /// End what a route leaves behind on its brokers
    Retire(retire::Arguments),
    /// See what was put aside and why, and send it again
    Parked(parked::Arguments),
    /// Print what a client or a caller of LMQ must send: user name and password, signatures
    Sign(sign::Arguments),
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Fine,
    Rejected,
}

/// Runs the command that the process was called with.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.command {
        Command::Check(command) => command.run(&arguments.settings),
        Command::Explain(command) => command.run(&arguments.settings),
        Command::Test(command) => command.run(&arguments.settings),
        Command::Run(command) => command.run(&arguments.settings),
        Command::Retire(command) => command.run(&arguments.settings),
        Command::Parked(command) => command.run(&arguments.settings),
        Command::Sign(command) => command.run(&arguments.settings),
    };
    match result {
        Ok(End::Fine) => ExitCode::SUCCESS,
        Ok(End::Rejected) => ExitCode::from(1),
        // Whoever reads has seen enough, as in `explain ... | head`.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&error);
            ExitCode::from(2)
        }
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Which faults a command shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Show {
    /// Errors and warnings.
    All,
    /// Errors alone, where warnings would stand before an answer that is about something else.
    Errors,
}

/// Reads the settings file.
fn open(settings: &std::path::Path) -> anyhow::Result<configuration::Opened> {
    configuration::open(settings, &Environment::of_process()).map_err(|error| {
        let hint = "\n\nhint: name another with `--settings FILE`";
        if error.is_missing() { anyhow::anyhow!("{error}{hint}") } else { error.into() }
    })
}

/// What signs the loop guard's marks: as the settings say, else a key that is kept in the data folder.
fn loop_key(settings: &Settings) -> anyhow::Result<Secret> {
    Ok(match &settings.loop_key {
        Some(key) => key.clone(),
        None => data_dir::loop_key(&settings.data_dir)?,
    })
}

/// Reads all files and shows their faults; `None` when they cannot be used.
fn load(settings: &std::path::Path, show: Show) -> anyhow::Result<Option<Configuration>> {
    // Nothing is sent, so the key of the loop guard's marks does not matter.
    let loaded = open(settings)?.load(&Secret::new("unused"));
    if show == Show::All || loaded.configuration.is_none() {
        print_report(&loaded.report)?;
    }
    Ok(loaded.configuration)
}

fn print_report(report: &Report) -> anyhow::Result<()> {
    let mut stderr = io::stderr().lock();
    let colour = stderr.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    stderr.write_all(report.render(colour).as_bytes()).context("cannot write to the standard error output")
}

fn print_error(error: &anyhow::Error) {
    // Nothing is left to do when this cannot be written either.
    let _ = writeln!(io::stderr(), "error: {error:#}");
}

/// Writes an answer.
fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// For the commands that dial.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start")
}

/// `1 test`, `2 tests`.
fn count(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Lines of columns, each as wide as its widest cell.
#[derive(Debug, Default)]
struct Columns(Vec<Vec<String>>);

impl Columns {
    fn row<const N: usize>(&mut self, cells: [&str; N]) {
        self.0.push(cells.into_iter().map(str::to_owned).collect());
    }

    fn render(&self, indent: &str) -> String {
        let columns = self.0.iter().map(Vec::len).max().unwrap_or(0);
        let width =
            |column| self.0.iter().filter_map(|row| row.get(column)).map(|cell: &String| cell.chars().count()).max();
        let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            format!("{indent}{}", cells.collect::<Vec<_>>().join("  ").trim_end()) + "\n"
        };
        self.0.iter().map(line).collect()
    }
}
