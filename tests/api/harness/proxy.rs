//! A way to PostgreSQL that a test can break.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use posts_api::db::DatabaseUrl;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::runtime::Runtime;
use tokio::sync::{broadcast, watch};
use url::Url;

use super::TestDatabase;

/// What becomes of what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// It arrives.
    Passes,
    /// It arrives this much later, in each direction.
    Delayed(Duration),
    /// Nothing arrives, and nobody is told: not that a connection was made, nor that it ended.
    Swallowed,
    /// It arrives on connections that are there; further ones are reset.
    Refused,
}

/// How the connections that are there end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// As by a server that ends in peace.
    Closed,
    /// As by one that crashed.
    Reset,
    /// As by one that is gone without a word: who waits for an answer, or sends something later, is told then.
    Unnoticed,
}

/// Listens on TCP, and passes on what comes to PostgreSQL. Runs on a thread of its own, so that a test may block.
pub struct Proxy {
    url: Url,
    state: Arc<State>,
    runtime: Option<Runtime>,
}

struct State {
    target: Target,
    traffic: watch::Sender<Traffic>,
    cuts: broadcast::Sender<Command>,
    open: AtomicUsize,
    sent: Mutex<String>,
}

/// To end the connections. Whoever has done so drops it, and who said so waits for that.
#[derive(Clone)]
struct Command {
    how: Cut,
    _done: mpsc::Sender<()>,
}

enum Target {
    Socket(String),
    Address(String),
}

impl Proxy {
    /// Opens a way to this database, which must be on PostgreSQL.
    pub fn to(database: &TestDatabase) -> Self {
        let mut url = Url::parse(database.address()).unwrap();
        let target = take_target(&mut url);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        // Not `block_on`: the test's own runtime may be around this.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(address.port())).unwrap();
        let state = Arc::new(State {
            target,
            traffic: watch::Sender::new(Traffic::Passes),
            cuts: broadcast::Sender::new(16),
            open: AtomicUsize::new(0),
            sent: Mutex::default(),
        });
        runtime.spawn(accept(listener, Arc::clone(&state)));
        Self { url, state, runtime: Some(runtime) }
    }

    /// The URL of the database on this way.
    pub fn url(&self) -> DatabaseUrl {
        DatabaseUrl::parse(self.url.as_str()).unwrap()
    }

    /// Sets what becomes of what is sent from now on.
    pub fn set(&self, traffic: Traffic) {
        self.state.traffic.send_replace(traffic);
    }

    /// Ends the connections that are there, before it returns.
    pub fn cut(&self, how: Cut) {
        let (done, all_are_done) = mpsc::channel();
        // There may be none to hear it.
        let _ = self.state.cuts.send(Command { how, _done: done });
        all_are_done.recv().expect_err("nothing is ever sent");
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.state.open.load(Ordering::SeqCst)
    }

    /// What clients have sent since this was last asked: the first letter of each message, as the protocol has it. `Q` is
    /// a query by itself; `P` prepares one, `B` and `E` run it, `S` waits for the answer.
    pub fn take_sent(&self) -> String {
        std::mem::take(&mut self.state.sent())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl State {
    fn sent(&self) -> MutexGuard<'_, String> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the URL leads to, by its host or by a parameter, which goes.
fn take_target(url: &mut Url) -> Target {
    let parameters: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let parameter = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let host = parameter("host").or_else(|| url.host_str().map(str::to_owned)).expect("a host");
    let port = parameter("port").or_else(|| url.port().map(|port| port.to_string())).unwrap_or("5432".to_owned());
    let rest = parameters.iter().filter(|(key, _)| !["host", "port"].contains(&key.as_str()));
    url.query_pairs_mut().clear().extend_pairs(rest);
    if host.starts_with('/') {
        Target::Socket(format!("{host}/.s.PGSQL.{port}"))
    } else {
        Target::Address(format!("{host}:{port}"))
    }
}

async fn accept(listener: std::net::TcpListener, state: Arc<State>) {
    let listener = TcpListener::from_std(listener).unwrap();
    while let Ok((client, _)) = listener.accept().await {
        let cuts = state.cuts.subscribe();
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            state.open.fetch_add(1, Ordering::SeqCst);
            connection(client, &state, cuts).await;
            state.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn connection(mut client: TcpStream, state: &State, mut cuts: broadcast::Receiver<Command>) {
    let waits = AtomicBool::new(false);
    let command = {
        let (from_client, to_client) = client.split();
        tokio::select! {
            is_through = pass(from_client, to_client, state, &waits) => {
                if !is_through {
                    let _ = client.set_zero_linger();
                }
                return;
            }
            command = cuts.recv() => command.expect("no more commands than connections hear"),
        }
    };
    // It hears no further command: who gives one would wait for it.
    drop(cuts);
    if command.how == Cut::Unnoticed && !waits.load(Ordering::SeqCst) {
        drop(command);
        let _ = client.readable().await;
        let _ = client.set_zero_linger();
    } else {
        if command.how != Cut::Closed {
            let _ = client.set_zero_linger();
        }
        drop(client);
        drop(command);
    }
}

/// Passes on what either side sends, until one of them ends, and notes whether the client waits for an answer. Says
/// whether there was a way at all.
async fn pass(
    from_client: impl AsyncRead + Unpin,
    to_client: impl AsyncWrite + Unpin,
    state: &State,
    waits: &AtomicBool,
) -> bool {
    let mut traffic = state.traffic.subscribe();
    if flowing(&mut traffic).await == Traffic::Refused {
        return false;
    }
    match &state.target {
        Target::Socket(path) => match UnixStream::connect(path).await {
            Ok(server) => between(from_client, to_client, server, state, waits).await,
            Err(_) => return false,
        },
        Target::Address(address) => match TcpStream::connect(address).await {
            Ok(server) => between(from_client, to_client, server, state, waits).await,
            Err(_) => return false,
        },
    }
    true
}

async fn between(
    from_client: impl AsyncRead + Unpin,
    to_client: impl AsyncWrite + Unpin,
    server: impl AsyncRead + AsyncWrite,
    state: &State,
    waits: &AtomicBool,
) {
    let (from_server, to_server) = tokio::io::split(server);
    let mut messages = Messages::default();
    let asked = |bytes: &[u8]| {
        waits.store(true, Ordering::SeqCst);
        state.sent().push_str(&messages.read(bytes));
    };
    let answered = |_: &[u8]| waits.store(false, Ordering::SeqCst);
    tokio::select! {
        () = pump(from_client, to_server, state, asked) => {}
        () = pump(from_server, to_client, state, answered) => {}
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    state: &State,
    mut see: impl FnMut(&[u8]),
) {
    let mut traffic = state.traffic.subscribe();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = from.read(&mut buffer).await.unwrap_or(0);
        if let Traffic::Delayed(by) = flowing(&mut traffic).await {
            tokio::time::sleep(by).await;
        }
        see(&buffer[..length]);
        if length == 0 || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

/// Waits while all is swallowed.
async fn flowing(traffic: &mut watch::Receiver<Traffic>) -> Traffic {
    *traffic.wait_for(|traffic| *traffic != Traffic::Swallowed).await.expect("the proxy is there")
}

/// Cuts what a client sends into messages.
#[derive(Default)]
struct Messages {
    unread: Vec<u8>,
    has_started: bool,
}

impl Messages {
    /// The letters of the messages that are whole now. Those of the start have none.
    fn read(&mut self, bytes: &[u8]) -> String {
        self.unread.extend_from_slice(bytes);
        let mut letters = String::new();
        loop {
            let letter = usize::from(self.has_started);
            let Some(length) = self.unread.get(letter..letter + 4) else { return letters };
            let length = letter + u32::from_be_bytes(length.try_into().unwrap()) as usize;
            if self.unread.len() < length {
                return letters;
            }
            let message: Vec<u8> = self.unread.drain(..length).collect();
            if self.has_started {
                letters.push(char::from(message[0]));
            } else {
                // Before it, a client may have asked for encryption; the version of the protocol is 3.
                self.has_started = message[4..6] == [0, 3];
            }
        }
    }
}
