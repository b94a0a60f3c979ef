//! A server as a child process that can be killed, paused and restarted, and never outlives this process.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    sync::{LazyLock, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

type Spawn = (Command, mpsc::Sender<io::Result<Child>>);

/// The kernel kills a child when the *thread* that started it ends, so one thread that never ends starts them all.
static SPAWNER: LazyLock<Mutex<mpsc::Sender<Spawn>>> = LazyLock::new(|| {
    let (sender, receiver) = mpsc::channel::<Spawn>();
    let serve = move || {
        for (mut command, answer) in receiver {
            let _ = answer.send(command.spawn());
        }
    };
    thread::Builder::new().name("spawner".into()).spawn(serve).expect("start the spawner thread");
    Mutex::new(sender)
});

/// A command that the kernel kills when this process is gone, in a process group of its own, so that Ctrl-C reaches
/// only us. Start it with [`spawn`].
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).process_group(0);
    command
}

/// Starts a [`command`].
pub fn spawn(command: Command) -> Child {
    let told = format!("{command:?}");
    let (answer, started) = mpsc::channel();
    let spawner = SPAWNER.lock().unwrap_or_else(PoisonError::into_inner);
    spawner.send((command, answer)).expect("the spawner lives");
    drop(spawner);
    started.recv().expect("the spawner answers").unwrap_or_else(|e| panic!("start {told}: {e}"))
}

/// A running server and its log file. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a [`command`] that writes what it prints to the end of `log`.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).expect("open a server's log");
        command.stdin(std::process::Stdio::null());
        command.stdout(file.try_clone().expect("clone a log's handle")).stderr(file);
        Self { name: name.to_owned(), child: spawn(command), log: log.to_owned() }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn alive(&mut self) -> bool {
        self.child.try_wait().expect("ask for a child's state").is_none()
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal by its name, such as `STOP`, `CONT`, `USR1`.
    pub fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status();
        assert!(sent.is_ok_and(|status| status.success()), "send {signal} to {}", self.name);
    }

    /// SIGTERM; waits until it is gone, at most `limit`, and panics if it is not by then.
    pub fn terminate(&mut self, limit: Duration) -> ExitStatus {
        self.signal("TERM");
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("ask for a child's state") {
                return status;
            }
            assert!(started.elapsed() < limit, "{} still runs {limit:?} after SIGTERM\n{}", self.name, self.tail());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// All it printed so far.
    pub fn printed(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines it printed, for messages.
    pub fn tail(&self) -> String {
        let printed = self.printed();
        let lines: Vec<&str> = printed.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
