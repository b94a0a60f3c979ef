//! The processes that are measured: what they cost, by `/proc`, and how they are stopped.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

/// `/proc` counts in hundredths of a second on every Linux that this runs on.
const TICK: Duration = Duration::from_millis(10);

/// What a process has cost so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// User and system time of all its threads.
    pub(crate) cpu: Duration,
    /// Memory now, in KiB.
    pub(crate) resident: u64,
    /// The most memory it ever had, in KiB.
    pub(crate) peak: u64,
}

impl Usage {
    /// Memory now, in MB (millions of bytes).
    pub(crate) fn resident_mb(&self) -> f64 {
        mb(self.resident)
    }

    /// The most memory it ever had, in MB.
    pub(crate) fn peak_mb(&self) -> f64 {
        mb(self.peak)
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn mb(kib: u64) -> f64 {
    kib as f64 * 1024.0 / 1e6
}

/// Reads a process's cost.
pub(crate) fn usage(pid: u32) -> Result<Usage> {
    let cpu = cpu(&format!("/proc/{pid}/stat"), 11)?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = |name: &str| -> Result<u64> {
        let line = status.lines().find_map(|l| l.strip_prefix(name)).with_context(|| format!("no {name}"))?;
        Ok(line.split_whitespace().next().context("no value")?.parse()?)
    };
    Ok(Usage { cpu, resident: kib("VmRSS:")?, peak: kib("VmHWM:")? })
}

/// CPU time of all children that have ended and were waited for.
pub(crate) fn children_cpu() -> Result<Duration> {
    cpu("/proc/self/stat", 13)
}

/// The sum of two neighbours, user and system time, among the fields behind the program's name.
fn cpu(stat: &str, at: usize) -> Result<Duration> {
    let stat = fs::read_to_string(stat).context("the process has ended")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| -> Result<u32> { Ok(fields.get(at).context("a short stat")?.parse()?) };
    Ok(TICK * (ticks(at)? + ticks(at + 1)?))
}

/// A running process, killed when dropped. What it says goes to a log file.
pub(crate) struct Subject {
    child: Child,
    log: std::path::PathBuf,
}

impl Subject {
    /// Starts a process.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::create(log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("starting {}", command.get_program().display()))?;
        Ok(Self { child, log: log.to_owned() })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails, with what it said last, if the process has ended.
    pub(crate) fn must_run(&mut self) -> Result<()> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(12).collect();
        bail!("it ended ({status}):\n{}", last.into_iter().rev().collect::<Vec<_>>().join("\n"));
    }

    /// All that it has said.
    pub(crate) fn said(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.log)?)
    }

    /// Asks it to stop, and says how long it took.
    pub(crate) fn stop(&mut self) -> Result<Duration> {
        let began = Instant::now();
        let asked = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status()?;
        ensure!(asked.success(), "there was nothing to stop");
        self.wait(Duration::from_secs(20))?;
        Ok(began.elapsed())
    }

    /// Waits for its own end.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(began.elapsed() < limit, "it did not end within {limit:?}");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a carrier made of a load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flow {
    /// Messages per second.
    pub(crate) rate: f64,
    /// CPU per message, in microseconds.
    pub(crate) cpu: f64,
    /// The most memory it had, in MB.
    pub(crate) peak: f64,
    /// Copies beyond one of each.
    pub(crate) duplicates: f64,
}

impl Flow {
    /// A flow of `messages` between two readings.
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    pub(crate) fn between(messages: u64, time: Duration, before: Usage, after: Usage) -> Self {
        let n = messages as f64;
        Self {
            rate: n / time.as_secs_f64(),
            cpu: after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6 / n,
            peak: mb(after.peak),
            duplicates: 0.0,
        }
    }

    /// Reads back what a bare carrier printed.
    pub(crate) fn parse(line: &str) -> Result<Self> {
        let numbers: Vec<f64> =
            line.split_whitespace().map(str::parse).collect::<Result<_, _>>().context(line.to_owned())?;
        let [rate, cpu, peak] = numbers[..] else { bail!("not a flow: {line}") };
        Ok(Self { rate, cpu, peak, duplicates: 0.0 })
    }
}

/// Watches a process move `messages`, from the first tenth (by then everything runs warm) to the last message.
pub(crate) fn watch(pid: u32, messages: u64, limit: Duration, mut moved: impl FnMut() -> Result<u64>) -> Result<Flow> {
    let began = Instant::now();
    let mut start = None;
    loop {
        let count = moved()?;
        let now = Instant::now();
        match start {
            None if count >= messages / 10 => start = Some((now, count, usage(pid)?)),
            Some((at, from, before)) if count >= messages => {
                let flow = Flow::between(messages - from, now - at, before, usage(pid)?);
                // Copies come right behind the originals, if they come.
                thread::sleep(Duration::from_millis(300));
                #[expect(clippy::cast_precision_loss)]
                return Ok(Flow { duplicates: moved()?.saturating_sub(messages) as f64, ..flow });
            }
            _ => {}
        }
        ensure!(began.elapsed() < limit, "{count} of {messages} messages after {limit:?}");
        thread::sleep(Duration::from_millis(5));
    }
}
