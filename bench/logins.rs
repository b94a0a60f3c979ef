//! Logins, straight at the hook: first at a set rate, then as many as go, over connections that stay open.
//!
//! Right is what this process computed itself: it signs the client ids and knows which passwords are wrong. A login at a
//! set rate is late from the time at which it was due, not from when it was sent.

use std::{
    fmt, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

use crate::{
    process::{Subject, usage},
    servers::free_port,
    world::World,
};

/// Logins a second of the first part: the demand.
pub(crate) const RATE: u32 = 5_000;
/// Connections that brokers keep, all together.
const CONNECTIONS: u32 = 16;
/// Clients that log in, one after the other, again and again.
const CLIENTS: u32 = 20_000;
/// What lets in, in an answer.
const ALLOW: &[u8] = br#""result":"allow""#;
/// One login of so many has a wrong password.
const WRONG: u32 = 50;
const KEY: &str = "bench-secret";
/// The bridge listens within this time.
const START: Duration = Duration::from_secs(20);

/// What came of it.
#[derive(Debug)]
pub(crate) struct Logins {
    /// Milliseconds of a login at [`RATE`]: the median, of a hundred the slowest but one, and the slowest.
    pub(crate) latency: [f64; 3],
    /// How late this process itself was woken for them, of a hundred the latest but one: what the machine adds.
    pub(crate) woken: f64,
    /// Logins a second, as many as went.
    pub(crate) rate: f64,
    /// CPU of rocketbridge for each of those, in microseconds.
    pub(crate) cpu: f64,
    /// Answers that were not right.
    pub(crate) wrong: u64,
}

impl fmt::Display for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { latency: [median, slow, slowest], woken, rate, cpu, wrong } = self;
        write!(f, "at {RATE} logins/s p50 {median:.2} ms, p99 {slow:.2} ms, at most {slowest:.1} ms ")?;
        write!(f, "(the clients themselves are woken late by {woken:.2} ms at p99); ")?;
        write!(f, "at most {rate:.0} logins/s, {cpu:.1} µs CPU each; {wrong} wrong answers")
    }
}

/// Logs clients in for a while, twice.
pub(crate) fn measure(world: &World, time: Duration) -> Result<Logins> {
    let port = free_port();
    let mut subject = Subject::start(&mut rocketbridge(world, port)?, &world.dir.join("logins.log"))?;
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        subject.must_run()?;
        ensure!(began.elapsed() < START, "nobody listens on {port}\n{}", subject.said()?);
        thread::sleep(Duration::from_millis(20));
    }
    let requests: Arc<[Request]> = (0..CLIENTS).map(Request::new).collect();
    let paced = run(port, &requests, time, Some(RATE))?;
    let before = usage(subject.pid())?;
    let most = run(port, &requests, time, None)?;
    let cpu = usage(subject.pid())?.cpu.saturating_sub(before.cpu);
    let logins = f64::from(u32::try_from(most.times.len())?);
    Ok(Logins {
        latency: [50, 99, 100].map(|percent| percentile(&paced.times, percent)),
        woken: percentile(&paced.woken, 99),
        rate: logins / time.as_secs_f64(),
        cpu: cpu.as_secs_f64() * 1e6 / logins,
        wrong: paced.wrong + most.wrong,
    })
}

fn rocketbridge(world: &World, port: u16) -> Result<Command> {
    let dir = world.dir.join(world.name("logins"));
    fs::create_dir_all(dir.join("mappings"))?;
    let settings = format!(
        "mappings = \"mappings\"\ndata_dir = \"data\"\n\n[mqtt.edge]\nurl = \"mqtt://{}\"\n\n\
         [lmq]\ncredentials = \"credentials.toml\"\n\n[http]\nadmin = \"127.0.0.1:0\"\nhooks = \"127.0.0.1:{port}\"\n",
        world.mosquitto.address(),
    );
    let credentials = format!(
        "[[access_key]]\nid = \"AK\"\nsecret = \"{KEY}\"\ngroups = \"GID_load\"\n\n\
         [[device]]\nid = \"DC\"\nsecret = \"{KEY}\"\ngroups = \"GID_load\"\ntopics = \"load/#\"\n\n\
         [[user]]\nname = \"user\"\nsecret = \"{KEY}\"\ngroups = \"GID_load\"\ntopics = \"load/#\"\n"
    );
    fs::write(dir.join("rocketbridge.toml"), settings)?;
    fs::write(dir.join("credentials.toml"), credentials)?;
    let mut command = Command::new(fs::canonicalize(&world.programs.rocketbridge).context("the release binary")?);
    command.arg("run").current_dir(dir);
    Ok(command)
}

/// A login as RMQTT asks about it, and whether it is right.
struct Request {
    bytes: Vec<u8>,
    right: bool,
}

impl Request {
    fn new(number: u32) -> Self {
        let client_id = format!("GID_load@@@{number:06}");
        let right = !number.is_multiple_of(WRONG);
        let username = ["Signature%7CAK%7Cany", "DeviceCredential%7CDC%7Cany", "user"][number as usize % 3];
        let password = sign(if right { &client_id } else { "another" });
        let password = password.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        let body = format!("clientid={}&username={username}&password={password}", client_id.replace('@', "%40"));
        let bytes = format!(
            "POST /login/rmqtt/edge/user HTTP/1.1\r\nhost: bench\r\ncontent-type: application/x-www-form-urlencoded\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        Self { bytes: bytes.into_bytes(), right }
    }
}

fn sign(text: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(KEY.as_bytes()).expect("HMAC takes keys of every length");
    mac.update(text.as_bytes());
    BASE64_STANDARD.encode(mac.finalize().into_bytes())
}

/// What connections saw.
#[derive(Default)]
struct Seen {
    times: Vec<Duration>,
    woken: Vec<Duration>,
    wrong: u64,
}

/// Of sorted times, in milliseconds.
fn percentile(times: &[Duration], percent: usize) -> f64 {
    let index = (times.len().max(1) - 1) * percent / 100;
    times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

/// Has all connections log clients in for a while, all together at a rate, or as fast as they are answered.
fn run(port: u16, requests: &Arc<[Request]>, time: Duration, rate: Option<u32>) -> Result<Seen> {
    let begin = Instant::now() + Duration::from_millis(100);
    let threads = (0..CONNECTIONS).map(|connection| {
        let requests = requests.clone();
        thread::spawn(move || log_in(port, &requests, connection, begin, time, rate))
    });
    let threads: Vec<_> = threads.collect();
    let mut all = Seen::default();
    for thread in threads {
        let seen = thread.join().map_err(|_| anyhow::anyhow!("a connection's thread panicked"))??;
        all.times.extend(seen.times);
        all.woken.extend(seen.woken);
        all.wrong += seen.wrong;
    }
    all.times.sort_unstable();
    all.woken.sort_unstable();
    Ok(all)
}

fn log_in(
    port: u16,
    requests: &[Request],
    connection: u32,
    begin: Instant,
    time: Duration,
    rate: Option<u32>,
) -> Result<Seen> {
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port))?);
    stream.get_ref().set_nodelay(true)?;
    let mut seen = Seen::default();
    for number in (connection..).step_by(CONNECTIONS as usize) {
        let due = rate.map_or_else(Instant::now, |rate| begin + Duration::from_secs(1) * number / rate);
        if due.saturating_duration_since(begin) >= time {
            break;
        }
        thread::sleep(due.saturating_duration_since(Instant::now()));
        seen.woken.push(due.elapsed());
        let request = &requests[number as usize % requests.len()];
        stream.get_mut().write_all(&request.bytes)?;
        let allowed = answer(&mut stream)?;
        seen.times.push(due.elapsed());
        seen.wrong += u64::from(allowed != request.right);
    }
    Ok(seen)
}

/// Whether an answer lets in.
fn answer(stream: &mut BufReader<TcpStream>) -> Result<bool> {
    let (mut line, mut length) = (String::new(), 0);
    loop {
        line.clear();
        ensure!(stream.read_line(&mut line)? > 0, "the bridge closed a connection");
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse()?,
            None if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(body.windows(ALLOW.len()).any(|part| part == ALLOW))
}
