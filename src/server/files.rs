//! How many connections there are files for.

/// The most connections that a worker takes, where there are files for more.
const CONNECTIONS_MAX: usize = 25_600;

/// How many files a connection takes: its socket, and the handle by which it is watched.
const FILES_OF_A_CONNECTION: usize = 2;

/// How many files a connection to the database takes: on SQLite its file and the log, and one that is there for a moment.
const FILES_OF_A_DATABASE_CONNECTION: usize = 3;

/// How many files all else takes, and what a worker has for itself.
const FILES_OF_THE_SERVER: usize = 64;
const FILES_OF_A_WORKER: usize = 8;

/// How many connections each worker may have: as many as there are files for. Further ones wait in the system until others
/// end, so that the database never lacks a file.
pub(super) fn connections_max(workers: usize, database_connections: usize) -> usize {
    let files = files_max();
    let others = FILES_OF_THE_SERVER
        + workers.saturating_mul(FILES_OF_A_WORKER)
        + database_connections.saturating_mul(FILES_OF_A_DATABASE_CONNECTION);
    let left = files.saturating_sub(others).max(files / 2);
    (left / FILES_OF_A_CONNECTION / workers.max(1)).clamp(1, CONNECTIONS_MAX)
}

/// How many files, connections among them, may be open at once: all that the system lets this process have. What it gives
/// at first is often 1,024, for programs that cannot count further.
#[cfg(target_os = "linux")]
fn files_max() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "no more files may be open at once than at first");
    }
    let files = getrlimit(Resource::Nofile).current;
    files.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX)
}

#[cfg(not(target_os = "linux"))]
fn files_max() -> usize {
    usize::MAX
}
