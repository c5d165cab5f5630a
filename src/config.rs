//! Every setting, in one place: its flag, its variable, its default, its check. A flag wins over a variable.

use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgAction, Args, ValueEnum};
use ipnet::IpNet;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;
use uuid::Uuid;

use crate::auth::{self, SigningKey, SigningKeys};
use crate::db::{DatabaseUrl, Options};
use crate::http::client::TrustedProxies;
use crate::http::json::BodyLimits;

/// How often what has passed is forgotten, and what was written past the service is indexed: often enough that there is
/// little of either. Nobody has to set it.
const HOUSEKEEPING_PERIOD: Duration = Duration::from_mins(10);

/// How long a connection may be idle. Longer than balancers keep theirs, a minute as a rule: who closes first never sends a
/// request into a connection that the other is just closing. When the server stops, idle ones are closed at once.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// The settings, as flags and variables give them. [`Settings::check`] makes a [`Config`] of them.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, env = "POSTS_BIND", global = true, default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT", value_parser = bind)]
    bind: SocketAddr,

    /// How many threads serve requests [default: as many as there are processors for the process].
    #[arg(long, env = "POSTS_WORKERS", global = true, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=512))]
    workers: Option<u16>,

    /// Which database: `postgres://user@host/database`, or `sqlite:` and the path of a file
    /// [default: posts.db in the data folder].
    #[arg(long, env = "DATABASE_URL", global = true, hide_env_values = true, value_name = "URL")]
    // As text: what is refused while it is parsed is quoted, and this may hold a password.
    database_url: Option<SecretString>,

    /// A file that holds the PostgreSQL password, so that the URL need not.
    #[arg(long, env = "POSTS_DATABASE_PASSWORD_FILE", global = true, value_name = "FILE")]
    database_password_file: Option<PathBuf>,

    /// A standby of the PostgreSQL database that posts are read from, in place of the database itself; the same password
    /// file counts. Repeatable; in the variable, separated by commas.
    #[arg(long, env = "POSTS_REPLICA_URL", global = true, hide_env_values = true, value_delimiter = ',', action = ArgAction::Append, value_name = "URL")]
    // As text: what is refused while it is parsed is quoted, and this may hold a password.
    replica_url: Vec<SecretString>,

    /// Where the embedded database lives; made where it is missing.
    #[arg(long, env = "POSTS_DATA_DIR", global = true, default_value = "./data", value_name = "FOLDER")]
    data_dir: PathBuf,

    /// The most connections to the database.
    #[arg(long, env = "POSTS_POOL_SIZE", global = true, default_value = "16", value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pool_size: u32,

    /// Whether to bring an old schema up to date at start, or to refuse it.
    #[arg(long, env = "POSTS_MIGRATE", global = true, default_value = "on", value_name = "ON|OFF")]
    migrate: Switch,

    /// A file with a private key (Ed25519, PEM) that signs access tokens, as `posts key generate` makes one. The first
    /// signs, and what any of them signed counts. Repeatable; in the variable, separated by commas
    /// [default: made in the data folder; on PostgreSQL there is none].
    #[arg(long, env = "POSTS_SIGNING_KEYS", global = true, value_delimiter = ',', action = ArgAction::Append, value_name = "FILE")]
    signing_key: Vec<PathBuf>,

    /// The `iss` of access tokens: the same on every server.
    #[arg(long, env = "POSTS_ISSUER", global = true, default_value = "posts", value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    issuer: String,

    /// The `aud` of access tokens: the same on every server.
    #[arg(long, env = "POSTS_AUDIENCE", global = true, default_value = "posts", value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    audience: String,

    /// The address under which clients reach the service, where that is not the one it listens on.
    #[arg(long, env = "POSTS_PUBLIC_URL", global = true, value_name = "URL", value_parser = public_url)]
    public_url: Option<String>,

    /// An origin whose pages may call the service from a browser, as `https://app.example`; `*` for all.
    /// Repeatable; in the variable, separated by commas.
    #[arg(long, env = "POSTS_CORS_ORIGIN", global = true, value_delimiter = ',', action = ArgAction::Append, value_name = "ORIGIN", value_parser = origin)]
    cors_origin: Vec<String>,

    /// A proxy, or a network of them, as `10.0.0.0/8`, whose `Forwarded` and `X-Forwarded-For` say from where a request
    /// comes. Repeatable; in the variable, separated by commas.
    #[arg(long, env = "POSTS_TRUSTED_PROXY", global = true, value_delimiter = ',', action = ArgAction::Append, value_name = "NETWORK", value_parser = network)]
    trusted_proxy: Vec<IpNet>,

    /// Refuse a PUT, PATCH or DELETE that does not say by `If-Match` what it builds on (428).
    #[arg(long, env = "POSTS_REQUIRE_IF_MATCH", global = true, default_missing_value = "on", num_args = 0..=1, require_equals = true, default_value = "off", value_name = "ON|OFF")]
    require_if_match: Switch,

    /// The largest body of a request, in bytes. The default takes the longest content that is allowed, however
    /// it is escaped.
    #[arg(long, env = "POSTS_BODY_LIMIT", global = true, default_value = "16777216", value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1024..))]
    body_limit: u32,

    /// How long a request's head may take to arrive.
    #[arg(long, env = "POSTS_HEAD_TIMEOUT", global = true, default_value = "10", value_name = "SECONDS", value_parser = seconds)]
    head_timeout: Duration,

    /// How long a request's body may take to arrive, from the end of its head.
    #[arg(long, env = "POSTS_BODY_TIMEOUT", global = true, default_value = "20", value_name = "SECONDS", value_parser = seconds)]
    body_timeout: Duration,

    /// How long the work for a request may take once it has arrived.
    #[arg(long, env = "POSTS_REQUEST_TIMEOUT", global = true, default_value = "30", value_name = "SECONDS", value_parser = seconds)]
    request_timeout: Duration,

    /// How long requests in flight get to finish once the server was told to stop.
    #[arg(long, env = "POSTS_GRACE", global = true, default_value = "30", value_name = "SECONDS", value_parser = seconds)]
    grace: Duration,

    /// How long to go on taking requests, with readiness off, once the server was told to stop: the time that a
    /// load balancer needs to notice.
    #[arg(long, env = "POSTS_DRAIN_DELAY", global = true, default_value = "0", value_name = "SECONDS", value_parser = seconds)]
    drain_delay: Duration,

    /// What to log: error, warn, info, debug or trace, or directives as `info,posts_api::db=debug`.
    #[arg(long, env = "POSTS_LOG", global = true, default_value = "info", value_name = "FILTER", value_parser = log_filter)]
    log: String,

    /// How to log [default: text on a terminal, else json].
    #[arg(long, env = "POSTS_LOG_FORMAT", global = true, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// Do it.
    #[value(alias = "true", alias = "yes", alias = "1")]
    On,
    /// Don't.
    #[value(alias = "false", alias = "no", alias = "0")]
    Off,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: an object a line.
    Json,
}

/// A setting that is wrong: what, and the mend, in one sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSetting(String);

/// What the service runs by: every setting, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub bind: SocketAddr,
    /// How many threads serve requests; `None` for as many as there are processors for the process.
    pub workers: Option<NonZeroUsize>,
    /// The database.
    pub database: Options,
    /// What access tokens are signed with.
    pub auth: auth::Options,
    /// The address under which clients reach the service, without a slash at the end.
    pub public_url: Option<String>,
    /// The origins whose pages may call the service; `*` stands for all.
    pub cors_origins: Vec<String>,
    /// The proxies whose word on a client's address is taken.
    pub trusted_proxies: TrustedProxies,
    /// Whether a write must have `If-Match`.
    pub require_if_match: bool,
    /// What a request's body may be.
    pub body: BodyLimits,
    /// How long a request's head may take to arrive.
    pub head_timeout: Duration,
    /// How long a connection may be idle, and how long its client may take nothing of an answer. Only tests are in more of
    /// a hurry.
    pub keep_alive: Duration,
    /// How long requests in flight get to finish at the end.
    pub grace: Duration,
    /// How long readiness is off before the end begins.
    pub drain_delay: Duration,
    /// How often what has passed is forgotten, and what was written past the service is indexed. Only tests are in more of
    /// a hurry.
    pub housekeeping_period: Duration,
}

/// How the program speaks of what it does.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// Which events.
    pub filter: String,
    /// How they are written.
    pub format: Option<LogFormat>,
}

impl Settings {
    /// Checks what only shows when settings are seen together, and makes what is missing in the data folder.
    pub fn check(self) -> Result<Config, InvalidSetting> {
        let database = self.database()?;
        let keys = self.signing_keys(&database.url)?;
        Ok(Config {
            bind: self.bind,
            workers: self.workers.and_then(|count| NonZeroUsize::new(count.into())),
            database,
            auth: auth::Options { keys, issuer: self.issuer, audience: self.audience },
            public_url: self.public_url,
            cors_origins: self.cors_origin,
            trusted_proxies: TrustedProxies(self.trusted_proxy),
            require_if_match: self.require_if_match == Switch::On,
            body: BodyLimits { size: self.body_limit as usize, timeout: self.body_timeout },
            head_timeout: self.head_timeout,
            grace: self.grace,
            drain_delay: self.drain_delay,
            keep_alive: KEEP_ALIVE,
            housekeeping_period: HOUSEKEEPING_PERIOD,
        })
    }

    /// Checks what concerns the database alone, and makes the data folder where the embedded one needs it.
    pub fn database(&self) -> Result<Options, InvalidSetting> {
        let mut url = if let Some(url) = &self.database_url {
            DatabaseUrl::parse(url.expose_secret()).map_err(|error| InvalidSetting(error.to_string()))?
        } else {
            self.make_data_folder()?;
            DatabaseUrl::sqlite(&self.data_dir.join("posts.db"))
        };
        if let DatabaseUrl::Sqlite(path) = &url
            && path.parent().is_some_and(|folder| !folder.is_dir())
        {
            return Err(InvalidSetting(format!("there is no folder for {}: make it first", path.display())));
        }
        let mut replicas = self.replicas(&url)?;
        if let Some(file) = &self.database_password_file {
            let password = std::fs::read_to_string(file).map_err(|error| {
                InvalidSetting(format!(
                    "the password file {} cannot be read ({error}): name one that can",
                    file.display()
                ))
            })?;
            let password = password.trim_end_matches(['\r', '\n']);
            url = url.with_password(password);
            for replica in &mut replicas {
                *replica = replica.with_password(password);
            }
        }
        Ok(Options {
            url,
            replicas,
            pool_size: self.pool_size,
            timeout: self.request_timeout,
            migrate: self.migrate == Switch::On,
        })
    }

    /// The standbys that are named, of which only PostgreSQL has any.
    fn replicas(&self, database: &DatabaseUrl) -> Result<Vec<DatabaseUrl>, InvalidSetting> {
        let refuse = |why: &dyn fmt::Display| InvalidSetting(format!("a replica's URL is wrong: {why}"));
        let read = |url: &SecretString| match DatabaseUrl::parse(url.expose_secret()) {
            Err(error) => Err(refuse(&error)),
            Ok(url) if url.is_sqlite() || database.is_sqlite() => {
                Err(refuse(&"replicas are PostgreSQL's: name a standby of --database-url, or leave --replica-url away"))
            }
            Ok(url) => Ok(url),
        };
        self.replica_url.iter().map(read).collect()
    }

    /// Reads the signing keys. Where none is named, the embedded database's server has one of its own; servers that
    /// share a database must share their keys, so there they have to be named.
    fn signing_keys(&self, url: &DatabaseUrl) -> Result<SigningKeys, InvalidSetting> {
        let own;
        let files = match &self.signing_key[..] {
            [] if url.is_sqlite() => {
                own = [self.own_signing_key()?];
                &own
            }
            files => files,
        };
        let keys = files.iter().map(|file| {
            let refuse = |why: &dyn fmt::Display| {
                let file = file.display();
                InvalidSetting(format!("the signing key {file} {why}: make one with `posts key generate > {file}`"))
            };
            let text = std::fs::read_to_string(file).map_err(|error| refuse(&format!("cannot be read ({error})")))?;
            SigningKey::from_pem(&text).map_err(|error| refuse(&error))
        });
        SigningKeys::new(keys.collect::<Result<_, _>>()?).ok_or_else(|| {
            let mend =
                "make one with `posts key generate > signing-key.pem`, and name it with --signing-key signing-key.pem";
            InvalidSetting(format!("servers that share a PostgreSQL must share a signing key: {mend}"))
        })
    }

    /// The file of the server's own signing key, which is made where it is missing.
    fn own_signing_key(&self) -> Result<PathBuf, InvalidSetting> {
        self.make_data_folder()?;
        let file = self.data_dir.join("signing-key.pem");
        if !file.exists() {
            let refuse = |why: &dyn fmt::Display| {
                InvalidSetting(format!(
                    "the signing key {} cannot be made ({why}): name one with --signing-key",
                    file.display()
                ))
            };
            let pem = SigningKey::generate().map_err(|error| refuse(&error))?;
            write_private_file(&file, &pem).map_err(|error| refuse(&error))?;
        }
        Ok(file)
    }

    fn make_data_folder(&self) -> Result<(), InvalidSetting> {
        make_private_folder(&self.data_dir).map_err(|error| {
            let folder = self.data_dir.display();
            InvalidSetting(format!("the data folder {folder} cannot be made ({error}): choose another with --data-dir"))
        })
    }

    /// The address under which clients reach the service.
    #[must_use]
    pub fn public_url(&self) -> Option<&str> {
        self.public_url.as_deref()
    }

    /// The part that is needed before anything can be said.
    #[must_use]
    pub fn log(&self) -> LogConfig {
        LogConfig { filter: self.log.clone(), format: self.log_format }
    }

    /// Where a client on the same machine reaches a server with these settings.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        local(self.bind)
    }
}

/// An address to connect to, for one that was bound: "all addresses" is none of them.
#[must_use]
pub fn local(bound: SocketAddr) -> SocketAddr {
    if bound.ip().is_unspecified() { SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), bound.port()) } else { bound }
}

/// Writes a file that nobody else may read, all of it or none. Leaves alone what another has written meanwhile.
fn write_private_file(file: &Path, text: &str) -> io::Result<()> {
    // Not by the process's number, which in a container is the same each time: who was killed here left a draft, which is
    // nobody's.
    let draft = file.with_extension(Uuid::new_v4().to_string());
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut written = options.open(&draft)?;
    let outcome = written.write_all(text.as_bytes()).and_then(|()| written.sync_all());
    let outcome = outcome.and_then(|()| match std::fs::hard_link(&draft, file) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    std::fs::remove_file(&draft)?;
    outcome
}

fn make_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn bind(text: &str) -> Result<SocketAddr, String> {
    let mut addresses = text.to_socket_addrs().map_err(|_| "write an address and a port, as 127.0.0.1:8080")?;
    addresses.next().ok_or_else(|| "the name has no address".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds: &f64| (0.0..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "write a number of seconds, from 0 to 86400".to_owned())
}

fn public_url(text: &str) -> Result<String, String> {
    let url = text.trim_end_matches('/');
    let is_whole = url.starts_with("https://") || url.starts_with("http://");
    // `;` would end the path of a cookie.
    match Url::parse(url) {
        Ok(parsed) if is_whole && !url.contains(['?', '#', ' ', ';']) && parsed.username().is_empty() => {
            Ok(url.to_owned())
        }
        _ => Err("write the whole address, as https://blog.example".to_owned()),
    }
}

fn origin(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_origin = rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(['/', '?', '#', '@', '*']));
    if text == "*" || (is_origin && text.bytes().all(|byte| byte.is_ascii_graphic())) {
        Ok(text.to_owned())
    } else {
        Err("write scheme and host, without a path, as https://app.example".to_owned())
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map_err(|_| "write an address or a network, as 10.0.0.0/8".to_owned())
}

fn log_filter(text: &str) -> Result<String, String> {
    let filter = text.parse::<tracing_subscriber::EnvFilter>();
    filter.map(|_| text.to_owned()).map_err(|_| "write error, warn, info, debug or trace".to_owned())
}
