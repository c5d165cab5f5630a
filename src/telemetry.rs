//! What the program says of itself while it runs: logs on stderr, metrics for Prometheus.

use std::io::IsTerminal as _;
use std::sync::OnceLock;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;
use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

/// Upper bounds of the duration histogram's buckets, in seconds: from an answer that needs no database to the
/// default request timeout.
const DURATION_BUCKETS: [f64; 12] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// Begins to log. A second call changes nothing.
pub fn install_logs(config: &LogConfig) {
    let filter = EnvFilter::try_new(&config.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let format = config
        .format
        .unwrap_or_else(|| if std::io::stderr().is_terminal() { LogFormat::Text } else { LogFormat::Json });
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let installed = match format {
        LogFormat::Text => subscriber.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => {
            subscriber.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
        }
    };
    if installed.is_ok() {
        // A panic is a log line like any other: where, and what it says.
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string);
            let message = panic.payload_as_str();
            tracing::error!(place, message, "panic");
        }));
    }
}

/// The program's metrics, which all parts write to by name.
#[derive(Clone, Debug)]
pub struct Metrics {
    recorded: PrometheusHandle,
    process: Collector,
}

impl Metrics {
    /// Begins to record; a further call returns the same. `None` where something else records already.
    #[must_use]
    pub fn install() -> Option<Self> {
        static INSTALLED: OnceLock<Option<Metrics>> = OnceLock::new();
        INSTALLED.get_or_init(Self::record).clone()
    }

    fn record() -> Option<Self> {
        let duration = Matcher::Full("posts_http_request_duration_seconds".to_owned());
        let builder = PrometheusBuilder::new().set_buckets_for_metric(duration, &DURATION_BUCKETS).ok()?;
        let recorded = builder.install_recorder().ok()?;
        describe_counter!("posts_http_requests_total", "Requests answered.");
        describe_histogram!(
            "posts_http_request_duration_seconds",
            Unit::Seconds,
            "From the head's arrival to the answer's begin."
        );
        describe_gauge!("posts_db_connections_max", "Connections that may be open to the database.");
        describe_gauge!("posts_db_connections_in_use", "Connections that requests hold.");
        describe_gauge!("posts_db_requests_waiting", "Requests that wait for a connection.");
        describe_counter!("posts_db_requests_refused_total", "Requests refused because too many waited, or too long.");
        describe_gauge!("posts_passwords_waiting", "Passwords that wait to be hashed or checked.");
        describe_counter!("posts_limits_refused_total", "Requests refused because too many like them failed.");
        let process = Collector::default();
        process.describe();
        Some(Self { recorded, process })
    }

    /// Everything, in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.process.collect();
        self.recorded.run_upkeep();
        self.recorded.render()
    }
}
