//! Clients that send the next request when the last one is answered: wrk where it is installed, else our own.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What a turn showed. Times are in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) requests: f64,
    pub(crate) rate: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Answers that were no success, and connections that broke.
    pub(crate) failures: usize,
}

/// A client with so many connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    Wrk,
    Own,
}

impl Client {
    pub(crate) fn choose(own: bool) -> Self {
        let is_installed = Command::new("wrk").arg("--version").output().is_ok();
        if is_installed && !own { Self::Wrk } else { Self::Own }
    }

    /// Sends these requests, each as it stands, over and over for this long.
    pub(crate) fn run(self, address: &str, requests: &[String], connections: usize, turn: Duration) -> Outcome {
        match self {
            Self::Wrk => wrk(address, requests, connections, turn),
            Self::Own => own(address, requests, connections, turn),
        }
    }
}

fn wrk(address: &str, requests: &[String], connections: usize, turn: Duration) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("requests.lua");
    write_script(&script, requests);
    let output = Command::new("wrk")
        .args(["--threads", &connections.min(2).to_string(), "--connections", &connections.to_string()])
        .args(["--duration", &format!("{}s", turn.as_secs()), "--script"])
        .arg(&script)
        .arg(format!("http://{address}"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let figures = text.lines().find_map(|line| line.strip_prefix("figures "));
    let figures: Vec<f64> =
        figures.unwrap_or_else(|| panic!("{text}")).split(' ').map(|figure| figure.parse().unwrap()).collect();
    let [requests, microseconds, p50, p99, failures] = figures[..] else { panic!("{text}") };
    Outcome {
        requests,
        rate: requests / microseconds * 1e6,
        p50: p50 / 1e3,
        p99: p99 / 1e3,
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a count")]
        failures: failures as usize,
    }
}

/// Each thread begins somewhere else.
fn write_script(path: &Path, requests: &[String]) {
    // Rust escapes what is in quotes as Lua does, as long as it is ASCII.
    let list: String = requests.iter().flat_map(|request| [format!("{request:?}"), ",\n".to_owned()]).collect();
    let script = format!(
        "local requests = {{\n{list}}}\nlocal next = 0\n\
         local started = 0\n\
         function setup(thread) thread:set('start', started); started = started + 1 end\n\
         function init(args) next = start * math.floor(#requests / 2) end\n\
         function request() next = next % #requests + 1; return requests[next] end\n\
         function done(summary, latency, requests)\n\
         local errors = summary.errors\n\
         io.write(string.format('figures %d %d %d %d %d\\n', summary.requests, summary.duration, latency:percentile(50), \
         latency:percentile(99), errors.connect + errors.read + errors.write + errors.status + errors.timeout))\nend\n"
    );
    std::fs::write(path, script).unwrap();
}

/// What the connections of our own client share.
struct Load {
    address: String,
    requests: Vec<String>,
    /// Which request is the next, whoever sends it.
    next: AtomicUsize,
    failures: AtomicUsize,
    end: Instant,
}

fn own(address: &str, requests: &[String], connections: usize, turn: Duration) -> Outcome {
    let begin = Instant::now();
    let load = Arc::new(Load {
        address: address.to_owned(),
        requests: requests.to_vec(),
        next: AtomicUsize::new(0),
        failures: AtomicUsize::new(0),
        end: begin + turn,
    });
    let threads = connections.min(2);
    let threads: Vec<_> = (0..threads)
        .map(|thread| {
            let load = Arc::clone(&load);
            std::thread::spawn(move || load.run((connections + 1 - thread) / threads))
        })
        .collect();
    let mut times: Vec<Duration> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    let elapsed = begin.elapsed();
    times.sort_unstable();
    let at = |percent: usize| times[times.len() * percent / 100].as_secs_f64() * 1e3;
    #[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^53")]
    let requests = times.len() as f64;
    let failures = load.failures.load(Ordering::Relaxed);
    Outcome { requests, rate: requests / elapsed.as_secs_f64(), p50: at(50), p99: at(99), failures }
}

impl Load {
    /// Sends on so many connections from this thread; how long each request took.
    fn run(&self, connections: usize) -> Vec<Duration> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let times = runtime.block_on(join_all((0..connections).map(|_| self.send_in_turn())));
        times.concat()
    }

    async fn send_in_turn(&self) -> Vec<Duration> {
        let mut times = Vec::new();
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut buffer = Vec::with_capacity(1 << 16);
        while Instant::now() < self.end {
            let request = &self.requests[self.next.fetch_add(1, Ordering::Relaxed) % self.requests.len()];
            let sent = Instant::now();
            stream.write_all(request.as_bytes()).await.unwrap();
            if !is_success(&read_answer(&mut stream, &mut buffer).await) {
                self.failures.fetch_add(1, Ordering::Relaxed);
            }
            times.push(sent.elapsed());
        }
        times
    }
}

/// Reads one answer, and returns its head, in lower case.
pub(crate) async fn read_answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> String {
    buffer.clear();
    loop {
        assert_ne!(stream.read_buf(buffer).await.unwrap(), 0, "the server keeps the connection");
        let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        let whole = end + 4 + length.unwrap_or(0_usize);
        while buffer.len() < whole {
            assert_ne!(stream.read_buf(buffer).await.unwrap(), 0, "the answer is whole");
        }
        return head;
    }
}

/// Whether this is the head of one.
pub(crate) fn is_success(head: &str) -> bool {
    head.starts_with("http/1.1 2")
}
