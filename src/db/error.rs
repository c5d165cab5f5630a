//! What can go wrong between a query and its answer, told apart by what the caller can do about it.

use std::sync::Arc;

use diesel::result::{DatabaseErrorKind, Error as QueryError};

/// Why the database gave no answer. May be many callers' whose request was one query.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The database has not been reached yet, or its schema is older than this program.
    #[error("the database is not ready yet")]
    NotReady,
    /// All connections are busy, and as many callers wait as may.
    #[error("too many callers wait for the database")]
    Overloaded,
    /// No connection could be made.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// The connection broke, or the server cannot write any more. Of a write, the outcome is unknown.
    #[error("the connection to the database was lost")]
    ConnectionLost(#[source] Arc<QueryError>),
    /// No answer in time. Of a write, the outcome is unknown.
    #[error("the database did not answer in time")]
    Timeout,
    /// Another transaction held what this one needed for too long. Nothing was changed.
    #[error("the database is locked")]
    Locked(#[source] Arc<QueryError>),
    /// It was to be committed with others, and the database undid all of it for a fault of one. Nothing was changed.
    #[error("a write failed so that those beside it were undone, too")]
    Undone,
    /// There is no room left to write to. Nothing was changed.
    #[error("the database's disk is full")]
    StorageFull(#[source] Arc<QueryError>),
    /// Another row has the value that must be one row's. Nothing was changed.
    #[error("a value is taken")]
    Taken(#[source] Arc<QueryError>),
    /// What a row would refer to is gone. Nothing was changed.
    #[error("what this refers to is gone")]
    Dangling(#[source] Arc<QueryError>),
    /// A query failed that should not have.
    #[error("a query failed")]
    Query(#[source] Arc<QueryError>),
    /// The closure panicked; its transaction was rolled back.
    #[error("the work on the database panicked")]
    Panicked,
}

impl From<QueryError> for Error {
    fn from(error: QueryError) -> Self {
        let QueryError::DatabaseError(kind, information) = &error else {
            return match error {
                // The connection broke inside a transaction: diesel reports it in these two ways.
                QueryError::BrokenTransactionManager | QueryError::RollbackErrorOnCommit { .. } => {
                    Self::ConnectionLost(error.into())
                }
                _ => Self::Query(error.into()),
            };
        };
        match kind {
            DatabaseErrorKind::ClosedConnection
            | DatabaseErrorKind::UnableToSendCommand
            | DatabaseErrorKind::ReadOnlyTransaction => Self::ConnectionLost(error.into()),
            DatabaseErrorKind::UniqueViolation => Self::Taken(error.into()),
            DatabaseErrorKind::ForeignKeyViolation => Self::Dangling(error.into()),
            DatabaseErrorKind::SerializationFailure => Self::Locked(error.into()),
            // Neither library passes on a code, so the message has to do. SQLite's are never translated;
            // PostgreSQL's may be, and are then an ordinary `Query`.
            DatabaseErrorKind::Unknown => {
                let message = information.message();
                let is = |text: &str| message.contains(text);
                if is("database or disk is full") || is("No space left on device") {
                    Self::StorageFull(error.into())
                } else if is("database is locked") || is("lock timeout") || is("deadlock detected") {
                    Self::Locked(error.into())
                } else if is("statement timeout") {
                    Self::Timeout
                } else if is("terminating connection") || is("server closed the connection") {
                    Self::ConnectionLost(error.into())
                } else {
                    Self::Query(error.into())
                }
            }
            _ => Self::Query(error.into()),
        }
    }
}
