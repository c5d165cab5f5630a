//! Clients that send when it is time, whether those before are answered or not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::load::{is_success, read_answer};

/// What a server was offered at a pace of its clients' own, and what it made of that.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pressed {
    /// How long each answer that was a success took.
    pub(crate) served: Vec<Duration>,
    /// How long each refusal took that said when to come again.
    pub(crate) refused: Vec<Duration>,
    /// Answers of any other kind, and connections that broke.
    pub(crate) failures: usize,
}

/// Sends so many requests a second for this long, whether those before are answered or not, as far as there are
/// connections that wait for nothing.
pub(crate) fn press(address: &str, requests: &[String], rate: f64, connections: usize, turn: Duration) -> Pressed {
    let begin = Instant::now();
    let pace = Arc::new(Pace {
        address: address.to_owned(),
        requests: requests.to_vec(),
        begin,
        interval: Duration::from_secs_f64(1.0 / rate),
        end: begin + turn,
        next: AtomicUsize::new(0),
    });
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let pace = Arc::clone(&pace);
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(join_all((0..connections / 2).map(|_| pace.send())))
            })
        })
        .collect();
    let mut total = Pressed::default();
    for one in threads.into_iter().flat_map(|thread| thread.join().unwrap()) {
        total.served.extend(one.served);
        total.refused.extend(one.refused);
        total.failures += one.failures;
    }
    total
}

/// What connections share that send in turn, each when it is time.
struct Pace {
    address: String,
    requests: Vec<String>,
    begin: Instant,
    interval: Duration,
    end: Instant,
    next: AtomicUsize,
}

impl Pace {
    async fn send(&self) -> Pressed {
        let mut pressed = Pressed::default();
        let mut connected: Option<TcpStream> = None;
        let mut buffer = Vec::with_capacity(1 << 12);
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            #[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^53")]
            let due = self.begin + self.interval.mul_f64(number as f64);
            if due.max(Instant::now()) >= self.end {
                return pressed;
            }
            tokio::time::sleep_until(due.into()).await;
            let sent = Instant::now();
            let mut stream = match connected.take() {
                Some(stream) => stream,
                None => TcpStream::connect(&self.address).await.unwrap(),
            };
            stream.set_nodelay(true).unwrap();
            let request = &self.requests[number % self.requests.len()];
            stream.write_all(request.as_bytes()).await.unwrap();
            // What is answered after the end counts to nobody.
            let read = read_answer(&mut stream, &mut buffer);
            let Ok(head) = tokio::time::timeout_at(self.end.into(), read).await else { return pressed };
            if is_success(&head) {
                pressed.served.push(sent.elapsed());
            } else if head.starts_with("http/1.1 503") && head.contains("\r\nretry-after:") {
                pressed.refused.push(sent.elapsed());
            } else {
                pressed.failures += 1;
            }
            connected = Some(stream);
        }
    }
}
