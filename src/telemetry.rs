//! What the program says of itself while it runs: logs on stderr, metrics for Prometheus.

use std::fmt;
use std::io::IsTerminal as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;
use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_log::NormalizeEvent as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::{LogConfig, LogFormat};
use crate::db::Timestamp;

/// Upper bounds of the duration histogram's buckets, in seconds: from an answer that needs no database to the
/// default request timeout.
const DURATION_BUCKETS: [f64; 12] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// Upper bounds of the buckets of batches, in requests or keys.
const BATCH_BUCKETS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// How long what was recorded may wait to be summed up.
const UPKEEP_PERIOD: Duration = Duration::from_secs(5);

/// Begins to log. A second call changes nothing.
pub fn install_logs(config: &LogConfig) {
    let filter = EnvFilter::try_new(&config.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let format = config
        .format
        .unwrap_or_else(|| if std::io::stderr().is_terminal() { LogFormat::Text } else { LogFormat::Json });
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let installed = match format {
        LogFormat::Text => subscriber.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => subscriber.event_format(JsonLine).try_init(),
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

/// A line of the log as JSON: when, how grave, what, and the event's fields beside it. There are no spans to name.
///
/// As the subscriber's own format, with a fraction of its work: every request is such a line.
struct JsonLine;

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        // What a library says by the older facade `log` has where it is from among its fields.
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let mut line = Members(Vec::with_capacity(384));
        line.add("timestamp", &Timestamp::now());
        line.add("level", metadata.level().as_str());
        event.record(&mut line);
        line.add("target", metadata.target());
        line.0.extend_from_slice(b"}\n");
        writer.write_str(str::from_utf8(&line.0).map_err(|_| fmt::Error)?)
    }
}

/// An object that is being written.
struct Members(Vec<u8>);

impl Members {
    fn add(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        if name.starts_with("log.") {
            return;
        }
        self.0.extend_from_slice(if self.0.is_empty() { b"{\"" } else { b",\"" });
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
        // Neither a text nor a number can fail to be JSON.
        if serde_json::to_writer(&mut self.0, value).is_err() {
            self.0.extend_from_slice(b"null");
        }
    }
}

impl Visit for Members {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field.name(), &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field.name(), &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field.name(), &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field.name(), &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field.name(), &value);
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
        let batch_size = Matcher::Full("posts_db_batch_size".to_owned());
        let builder = PrometheusBuilder::new().set_buckets_for_metric(duration, &DURATION_BUCKETS).ok()?;
        let builder = builder.set_buckets_for_metric(batch_size, &BATCH_BUCKETS).ok()?;
        let recorded = builder.install_recorder().ok()?;
        describe_gauge!("posts_build_info", "The program's version, as a label. Always 1.");
        gauge!("posts_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1);
        describe_gauge!("posts_ready", "Whether requests should be sent here: 1, or 0.");
        describe_counter!("posts_http_requests_total", "Requests answered.");
        describe_histogram!(
            "posts_http_request_duration_seconds",
            Unit::Seconds,
            "From the head's arrival to the answer's begin."
        );
        describe_gauge!("posts_db_connections_max", "Connections that may be open to the database.");
        describe_gauge!("posts_db_connections_in_use", "Connections that requests hold.");
        describe_gauge!("posts_db_requests_waiting", "Requests that wait for a connection, or for a lane's answer.");
        describe_histogram!("posts_db_batch_size", "What a lane did at once: keys that a query asked for, or writes.");
        describe_counter!("posts_db_requests_refused_total", "Requests refused because too many waited, or too long.");
        describe_counter!(
            "posts_db_replica_failures_total",
            "How often a replica failed, and was left alone for that."
        );
        describe_counter!("posts_db_replica_late_total", "Reads that a replica had not come far enough for.");
        describe_gauge!("posts_passwords_waiting", "Passwords that wait to be hashed or checked.");
        describe_counter!("posts_limits_refused_total", "Requests refused because too many like them failed.");
        let process = Collector::default();
        process.describe();
        Some(Self { recorded, process })
    }

    /// Sums up what was recorded, again and again. Until it is summed up each request takes some bytes, whether or not
    /// somebody ever asks for the metrics.
    pub async fn keep_up(self) {
        loop {
            tokio::time::sleep(UPKEEP_PERIOD).await;
            // Without it the process would grow from then on; a panic's hook has logged it.
            drop(catch_unwind(AssertUnwindSafe(|| self.recorded.run_upkeep())));
        }
    }

    /// Everything, in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.process.collect();
        self.recorded.run_upkeep();
        self.recorded.render()
    }
}
