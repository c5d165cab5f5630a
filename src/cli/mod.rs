//! The command line: what was asked for, and the program's exit status.

mod user;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use secrecy::ExposeSecret as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::auth::setup::SetupState;
use crate::auth::{InvalidKey, SigningKey};
use crate::config::{Config, InvalidSetting, Settings, local};
use crate::db::DatabaseUrl;
use crate::db::migrations::{self, PrepareError};
use crate::http::problem::{Code, Fault, Problem};
use crate::server::{Server, StartError, Stop};
use crate::{openapi, probe, telemetry};

/// A JSON REST service over /posts, on PostgreSQL or on an embedded SQLite file.
#[derive(Debug, Parser)]
#[command(name = "posts", version, args_conflicts_with_subcommands = false)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Default, Subcommand)]
enum Command {
    /// Serve (the default).
    #[default]
    Serve,
    /// Bring the database's schema up to date, and exit.
    Migrate {
        /// Only show which steps the database has.
        #[arg(long)]
        status: bool,
    },
    /// Manage users, past the service.
    #[command(subcommand)]
    User(user::Command),
    /// Make keys.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Print the OpenAPI document.
    Openapi,
    /// Ask a server with these settings whether it is ready: exit status 0 if so, 1 if not.
    Health,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Print a new private key for --signing-key, as PEM.
    Generate,
}

/// Why the program ends early.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Setting(#[from] InvalidSetting),
    #[error("{0}")]
    Start(#[from] StartError),
    #[error("{0}")]
    Migration(#[from] PrepareError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the OpenAPI document cannot be rendered: {0}")]
    Document(#[from] serde_json::Error),
    #[error("the key {0}")]
    Key(#[from] InvalidKey),
    #[error("{}", sentences(.0))]
    Refused(#[from] Problem),
    #[error("there is no user with this e-mail: `posts user list` shows who there is")]
    NoSuchUser,
    #[error("not ready: {0}")]
    Unhealthy(String),
}

impl Failure {
    fn exit_status(&self) -> u8 {
        match self {
            Self::Setting(_) => 2,
            Self::Refused(problem) if problem.code() == Code::ValidationFailed => 2,
            _ => 1,
        }
    }
}

/// Runs the program: exit status 0 when all went well, 2 for a setting that is wrong, 1 for anything else.
pub async fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse_arguments(&error),
    };
    match Box::pin(execute(cli)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure.to_string());
            ExitCode::from(failure.exit_status())
        }
    }
}

async fn execute(cli: Cli) -> Result<(), Failure> {
    telemetry::install_logs(&cli.settings.log());
    match cli.command.unwrap_or_default() {
        Command::Serve => serve(cli.settings.check()?).await,
        Command::Migrate { status } => migrate(&cli.settings.database()?.url, status),
        Command::User(command) => user::run(command, cli.settings.database()?).await,
        Command::Key(KeyCommand::Generate) => Ok(io::stdout().write_all(SigningKey::generate()?.as_bytes())?),
        Command::Openapi => {
            let document = openapi::render(&openapi::document(cli.settings.public_url()))?;
            Ok(io::stdout().write_all(document.as_bytes())?)
        }
        Command::Health => probe::ask(cli.settings.local_address()).map_err(Failure::Unhealthy),
    }
}

async fn serve(config: Config) -> Result<(), Failure> {
    let greeting = Greeting::of(&config);
    let mut server = Server::build(config).await?;
    tokio::spawn(stop_on_signal(server.stop())?);
    greeting.print(&server)?;
    let (address, setup) = (server.address(), server.setup());
    tokio::spawn(async move {
        if let Some(state) = setup.await
            && let Err(error) = announce(address, &state)
        {
            tracing::warn!(%error, "the setup token could not be printed");
        }
    });
    Ok(server.run().await?)
}

/// Prints how the first admin is made, and warns where nobody manages a service that others can reach.
fn announce(address: SocketAddr, state: &SetupState) -> io::Result<()> {
    if !state.has_admin && !address.ip().is_loopback() {
        tracing::warn!(%address, "listening beyond this machine, and there is no admin: create one, by the setup token or `posts user create`");
    }
    let Some(token) = &state.token else { return Ok(()) };
    let mut out = io::stdout().lock();
    writeln!(out, "setup token: {}", token.expose_secret())?;
    out.flush()
}

/// Watches for SIGTERM and SIGINT from now on. A second one ends the program at once.
fn stop_on_signal(stop: Stop) -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        for _ in 0..2 {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            stop.now();
        }
        std::process::exit(1);
    })
}

/// What `posts serve` prints once it accepts connections.
struct Greeting {
    data: String,
    public_url: Option<String>,
}

impl Greeting {
    fn of(config: &Config) -> Self {
        Self { data: config.database.url.to_string(), public_url: config.public_url.clone() }
    }

    fn print(&self, server: &Server) -> io::Result<()> {
        let listening = format!("http://{}", server.address());
        let url = self.public_url.clone().unwrap_or_else(|| format!("http://{}", local(server.address())));
        let mut out = io::stdout().lock();
        writeln!(out, "listening on {listening}")?;
        writeln!(out, "  data   {}", self.data)?;
        writeln!(out, "  docs   {url}/docs")?;
        writeln!(out, "  admin  {url}/admin")?;
        writeln!(out, "  try    curl {url}/posts")?;
        out.flush()
    }
}

fn migrate(url: &DatabaseUrl, only_show: bool) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    if only_show {
        for step in migrations::status(url)? {
            writeln!(out, "{}  {}", if step.applied { "applied" } else { "missing" }, step.name)?;
        }
        return Ok(());
    }
    let applied = migrations::run(url)?;
    if applied.is_empty() {
        writeln!(out, "the schema is up to date")?;
    }
    for name in applied {
        writeln!(out, "applied  {name}")?;
    }
    Ok(())
}

/// What is wrong, in whole sentences: each fault, or else the problem as a whole.
fn sentences(problem: &Problem) -> String {
    let faults: Vec<_> = problem.faults().iter().map(Fault::detail).collect();
    if faults.is_empty() { problem.detail().to_owned() } else { faults.join(" ") }
}

/// One sentence for a setting that is wrong, in place of clap's paragraphs.
fn refuse_arguments(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // `--help` and `--version`.
        return if error.print().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let text = error.to_string();
    let paragraph = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect::<Vec<_>>().join(" ");
    complain(paragraph.trim_start_matches("error: "));
    ExitCode::from(2)
}

/// Says on stderr why the program ends. Where nobody reads it, the exit status has to do.
fn complain(sentence: &str) {
    let _ = writeln!(io::stderr(), "posts: {sentence}");
}
