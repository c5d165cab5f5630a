//! From a [`Config`] to a bound, running server that can be drained. Production and tests start it the same way.

mod files;
mod housekeeping;

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Duration;

use actix_cors::Cors;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName};
use actix_web::middleware::{Compress, Condition, from_fn};
use actix_web::web::Data;
use actix_web::{App, HttpServer};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::auth::setup::{self, SetupState};
use crate::auth::{Auth, Site};
use crate::config::Config;
use crate::db::Db;
use crate::db::migrations::PrepareError;
use crate::http::coding::prefer_gzip;
use crate::http::conditional::RequireIfMatch;
use crate::http::connection::Connections;
use crate::http::cursor::CursorKeys;
use crate::http::idempotency::FingerprintKeys;
use crate::http::json::BodyBudget;
use crate::http::middleware::{Draining, REQUEST_ID, check_head, observe, vary_by_origin};
use crate::http::read_after::{POSITION, Positions};
use crate::meta::{ApiCatalog, Document};
use crate::telemetry::Metrics;
use crate::{openapi, posts, routes};

/// How long to wait before the database is tried again, while it cannot be reached.
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);

/// How long the end waits for the connections to the database. Whoever asked has been answered or given up by then; what
/// is left is to close them, and statements that nobody waits for.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// How many connections the system may hold that nobody has taken yet. Linux makes it no more than `net.core.somaxconn`,
/// and other systems have a bound of their own: so this is large enough to leave the choice to them.
const BACKLOG: u32 = 4096;

/// How many threads may wait for the database, all workers' together. There are seldom more than connections.
const BLOCKING_THREADS: usize = 512;

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be had.
    #[error("cannot listen on {0} ({1}): choose another address with --bind")]
    Bind(SocketAddr, io::Error),
    /// The database is there and cannot be used.
    #[error("{0}")]
    Database(#[from] PrepareError),
    /// The system gives no threads.
    #[error("no thread can be started ({0}): allow this user more processes")]
    Threads(io::Error),
    /// A fault of the program's.
    #[error("no keys can be derived from the signing keys")]
    Keys,
    /// A fault of the program's.
    #[error("the OpenAPI document cannot be rendered: {0}")]
    Document(#[from] serde_json::Error),
}

/// A server that listens, and serves once it [runs](Server::run).
pub struct Server {
    running: actix_web::dev::Server,
    address: SocketAddr,
    stop: Stop,
    setup: Option<oneshot::Receiver<SetupState>>,
    /// What goes on besides requests. Ends when dropped.
    background: JoinSet<()>,
    /// Resolves once the database is no longer in use.
    closed: BoxFuture<'static, ()>,
}

/// Tells a server to stop, from anywhere.
#[derive(Clone, Debug)]
pub struct Stop(watch::Sender<bool>);

impl Stop {
    /// Begins the end: readiness off, a pause for load balancers to notice, then no new connections, and what is
    /// in flight gets its grace.
    pub fn now(&self) {
        self.0.send_replace(true);
    }
}

impl Server {
    /// Prepares the database and binds the address. Where PostgreSQL cannot be reached the server starts all the
    /// same, answers 503, and serves when it comes.
    pub async fn build(config: Config) -> Result<Self, StartError> {
        let metrics = Metrics::install();
        if let Some(metrics) = metrics.clone() {
            tokio::spawn(metrics.keep_up());
        }
        let db = Db::start(config.database.clone()).map_err(StartError::Threads)?;
        let auth = Data::new(Auth::start(config.auth.clone(), &db).map_err(StartError::Threads)?);
        let cursors = CursorKeys::new(config.auth.keys.derive("posts cursors")).map_err(|_| StartError::Keys)?;
        let cursors = Data::new(cursors);
        let reads = posts::Reads::start(&db, &cursors.clone().into_inner()).map_err(StartError::Threads)?;
        let reads = Data::new(reads);
        let creates = Data::new(posts::Creates::start(&db).map_err(StartError::Threads)?);
        let fingerprints = FingerprintKeys::new(config.auth.keys.derive("posts request fingerprints"));
        let fingerprints = Data::new(fingerprints.ok_or(StartError::Keys)?);
        let prepared = match db.prepare().await {
            Err(PrepareError::Unreachable(reason)) if !db.url().is_sqlite() => {
                tracing::warn!(reason, "the database cannot be reached; trying again until it can");
                false
            }
            outcome => outcome.map(|()| true)?,
        };

        let housekeeping_period = config.housekeeping_period;
        let (setup, setup_found) = oneshot::channel();
        let mut background = JoinSet::new();
        if prepared {
            look_for_users(&db, setup).await;
            background.spawn(housekeeping::keep_house(auth.clone(), db.clone(), housekeeping_period));
        } else {
            let (auth, db) = (auth.clone(), db.clone());
            background.spawn(async move {
                prepare_in_time(&db).await;
                look_for_users(&db, setup).await;
                housekeeping::keep_house(auth, db, housekeeping_period).await;
            });
        }
        let closed = db.closed().boxed();

        let draining = Draining::default();
        let (stop, stopped) = watch::channel(false);
        let document = openapi::render(&openapi::document(config.public_url.as_deref()))?;
        let document = Data::new(Document::new(document));
        let catalog = Data::new(ApiCatalog::new(config.public_url.as_deref()));
        let positions = Data::new(Positions::new(&db, config.public_url.as_deref()));
        let site = Data::new(Site::new(config.public_url.as_deref()));
        let signal = drained(stopped, draining.clone(), config.drain_delay);
        let Config { bind, body, head_timeout, keep_alive, grace, .. } = config;
        let bodies = Data::new(BodyBudget::for_bodies(body));
        let connections = Connections::new(keep_alive + head_timeout, keep_alive);
        background.spawn(connections.clone().keep());
        // Of the processors, those that the process may use: its affinity and the quota of its control group count.
        let workers = config.workers.or_else(|| available_parallelism().ok()).map_or(2, NonZeroUsize::get);

        let database_connections = config.database.pool_size as usize * (1 + config.database.replicas.len());
        let connections_max = files::connections_max(workers, database_connections);

        let server = HttpServer::new(move || {
            let speaks_cors = !config.cors_origins.is_empty();
            let cors = Condition::new(speaks_cors, cors(&config.cors_origins));
            App::new()
                .app_data(Data::new(db.clone()))
                .app_data(auth.clone())
                .app_data(cursors.clone())
                .app_data(reads.clone())
                .app_data(creates.clone())
                .app_data(fingerprints.clone())
                .app_data(Data::new(body))
                .app_data(bodies.clone())
                .app_data(Data::new(RequireIfMatch(config.require_if_match)))
                .app_data(Data::new(config.trusted_proxies.clone()))
                .app_data(Data::new(draining.clone()))
                .app_data(Data::new(metrics.clone()))
                .app_data(document.clone())
                .app_data(catalog.clone())
                .app_data(site.clone())
                .app_data(positions.clone())
                .configure(routes::configure)
                // The last one wrapped is the first to see a request.
                .wrap(Compress::default())
                .wrap(from_fn(prefer_gzip))
                .wrap(from_fn(check_head))
                .wrap(cors)
                .wrap(Condition::new(speaks_cors, from_fn(vary_by_origin)))
                .wrap(from_fn(observe))
        })
        .workers(workers)
        // By itself this would go by the processors, and be few where workers are fewer than these.
        .worker_max_blocking_threads((BLOCKING_THREADS / workers).max(1))
        .backlog(BACKLOG)
        .max_connections(connections_max)
        // An answer may go out in several pieces. None of them waits until the client has acknowledged the one before,
        // which clients put off by 40 ms.
        .tcp_nodelay(true)
        .client_request_timeout(head_timeout)
        .keep_alive(keep_alive)
        // Who hangs up waits for nothing any more. Otherwise it would keep its place in a queue, and what is done for it
        // would be missing to others, most of all where clients give up because there is too much to do.
        .h1_allow_half_closed(false)
        .on_connect(move |io, data| connections.admit(io, data))
        .shutdown_timeout(grace.as_secs())
        .disable_signals()
        .shutdown_signal(signal)
        .bind(bind)
        .map_err(|error| StartError::Bind(bind, error))?;

        let address = server.addrs().first().copied().unwrap_or(bind);
        Ok(Self { running: server.run(), address, stop: Stop(stop), setup: Some(setup_found), background, closed })
    }

    /// Where the server listens, with the port that it really has.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What ends it.
    #[must_use]
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Whether there is somebody who can sign in, and how the first admin is made: as soon as the database has been
    /// reached. `None` to who asks twice.
    pub fn setup(&mut self) -> impl Future<Output = Option<SetupState>> + use<> {
        let setup = self.setup.take();
        async { setup?.await.ok() }
    }

    /// Serves until it is stopped, what was in flight is done, and the connections to the database are closed.
    pub async fn run(self) -> io::Result<()> {
        let Self { running, background, closed, .. } = self;
        running.await?;
        drop(background);
        if tokio::time::timeout(CLOSE_WAIT, closed).await.is_err() {
            tracing::warn!("the database was still at work, and is left as it is");
        }
        Ok(())
    }
}

/// Looks once the database is ready whether there is anybody who can sign in.
async fn look_for_users(db: &Db, setup: oneshot::Sender<SetupState>) {
    match setup::look(db).await {
        // Who started the server may not want to know.
        Ok(state) => drop(setup.send(state)),
        Err(problem) => tracing::warn!(cause = problem.cause(), "whether there is a user could not be found out"),
    }
}

/// Tries to prepare the database until that succeeds. Says so when the reason for a failure changes.
async fn prepare_in_time(db: &Db) {
    let mut last = String::new();
    loop {
        tokio::time::sleep(RECONNECT_PAUSE).await;
        match db.prepare().await {
            Ok(()) => return tracing::info!("the database is ready"),
            Err(error) => {
                let reason = error.to_string();
                if reason != last {
                    tracing::warn!(reason, "the database is not ready");
                    last = reason;
                }
            }
        }
    }
}

/// Resolves when connections should no longer be taken.
async fn drained(mut stopped: watch::Receiver<bool>, draining: Draining, delay: Duration) {
    // An error means that nobody is left who could stop it: then it never is.
    if stopped.wait_for(|stopped| *stopped).await.is_err() {
        std::future::pending::<()>().await;
    }
    draining.begin();
    tracing::info!("stopping");
    tokio::time::sleep(delay).await;
}

/// Lets pages from these origins call the service.
fn cors(origins: &[String]) -> Cors {
    const REQUEST_HEADERS: [HeaderName; 11] = [
        header::ACCEPT,
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_UNMODIFIED_SINCE,
        HeaderName::from_static("idempotency-key"),
        POSITION,
        HeaderName::from_static("prefer"),
        REQUEST_ID,
    ];
    const ANSWER_HEADERS: [HeaderName; 20] = [
        HeaderName::from_static("accept-patch"),
        header::ALLOW,
        header::CONTENT_ENCODING,
        header::CONTENT_SECURITY_POLICY,
        header::DATE,
        header::ETAG,
        HeaderName::from_static("idempotency-replayed"),
        header::LAST_MODIFIED,
        header::LINK,
        header::LOCATION,
        POSITION,
        HeaderName::from_static("preference-applied"),
        HeaderName::from_static("ratelimit"),
        HeaderName::from_static("ratelimit-policy"),
        header::REFERRER_POLICY,
        header::RETRY_AFTER,
        header::VARY,
        header::WWW_AUTHENTICATE,
        header::X_CONTENT_TYPE_OPTIONS,
        REQUEST_ID,
    ];
    let cors = Cors::default()
        .allowed_methods([
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
            Method::OPTIONS,
        ])
        .allowed_headers(REQUEST_HEADERS)
        .expose_headers(ANSWER_HEADERS)
        // A page from another origin is answered as if there were no CORS: the browser keeps the answer from it.
        .block_on_origin_mismatch(false)
        .max_age(3600);
    if origins.iter().any(|origin| origin == "*") {
        return cors.send_wildcard().allow_any_origin();
    }
    origins.iter().fold(cors, |cors, origin| cors.allowed_origin(origin))
}
