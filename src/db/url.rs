//! Which database, from a URL whose scheme decides.

use std::fmt;
use std::path::{Path, PathBuf};

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};

use super::connection::TARGET;

/// A parameter of ours, in the words of `PgBouncer`: for how long a pooler before the server lends one of its sessions.
const POOL_MODE: &str = "pool_mode";

/// A database's address. `Debug` and `Display` leave the password out.
#[derive(Clone)]
pub enum DatabaseUrl {
    /// `postgres://` or `postgresql://`, as libpq reads it: several hosts, `?host=/socket/folder` and all its
    /// parameters work, and besides `pool_mode=transaction`, where a pooler in that mode is before the server.
    Postgres(SecretString),
    /// `sqlite:` and the path of a file, which is made where it is missing.
    Sqlite(PathBuf),
}

/// Why a text is no [`DatabaseUrl`], in one sentence with the mend. Never quotes the text, which may hold a
/// password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidDatabaseUrl(String);

impl DatabaseUrl {
    /// Reads a URL by its scheme.
    pub fn parse(text: &str) -> Result<Self, InvalidDatabaseUrl> {
        let refuse = |why: &str| Err(InvalidDatabaseUrl(why.to_owned()));
        let Some((scheme, rest)) = text.split_once(':') else {
            return refuse(
                "the database URL has no scheme: write postgres://user@host/database, or sqlite: and a path",
            );
        };
        match scheme {
            "postgres" | "postgresql" if !rest.starts_with("//") => {
                refuse("the database URL lacks its //: write postgres://user@host/database")
            }
            "postgres" | "postgresql" => {
                let url = Self::Postgres(text.to_owned().into());
                url.refuse_tls_that_is_not_built_in()?;
                url.refuse_unknown_pool_mode()?;
                Ok(url)
            }
            "sqlite" => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                if path.is_empty() || path.contains(":memory:") || path.contains(['?', '\0']) {
                    return refuse(
                        "the SQLite URL does not name a file: write sqlite: and a path, as in sqlite:data/posts.db",
                    );
                }
                Ok(Self::sqlite(Path::new(path)))
            }
            _ => refuse("the database URL's scheme is not known: use postgres:, postgresql: or sqlite:"),
        }
    }

    /// The file at `path`.
    #[must_use]
    pub fn sqlite(path: &Path) -> Self {
        // Absolute, so that SQLite never takes a name for one of its own, as `file:` or `:memory:`.
        Self::Sqlite(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
    }

    /// Whether this is the embedded database.
    #[must_use]
    pub const fn is_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }

    /// The same with the password from elsewhere; SQLite knows none.
    #[must_use]
    pub fn with_password(&self, password: &str) -> Self {
        match self {
            Self::Postgres(url) => {
                Self::Postgres(with_parameters(url.expose_secret(), &[("password", password)]).into())
            }
            Self::Sqlite(_) => self.clone(),
        }
    }

    /// The same for a server that need not be the primary.
    pub(super) fn at_any_server(&self) -> Self {
        match self {
            Self::Postgres(url) if parameter(url.expose_secret(), TARGET).is_none() => {
                Self::Postgres(with_parameters(url.expose_secret(), &[(TARGET, "any")]).into())
            }
            _ => self.clone(),
        }
    }

    /// Whether a pooler gives each transaction another session of the server's, in which nothing is as it was set or
    /// prepared before.
    pub(super) fn has_no_session(&self) -> bool {
        self.pool_mode().is_some_and(|mode| mode == "transaction")
    }

    fn pool_mode(&self) -> Option<String> {
        match self {
            Self::Postgres(url) => parameter(url.expose_secret(), POOL_MODE),
            Self::Sqlite(_) => None,
        }
    }

    fn refuse_unknown_pool_mode(&self) -> Result<(), InvalidDatabaseUrl> {
        match self.pool_mode().as_deref() {
            None | Some("session" | "transaction") => Ok(()),
            Some(_) => Err(InvalidDatabaseUrl(
                "the database URL's pool_mode is not known: write pool_mode=transaction, or leave it away".to_owned(),
            )),
        }
    }

    fn refuse_tls_that_is_not_built_in(&self) -> Result<(), InvalidDatabaseUrl> {
        let Self::Postgres(url) = self else { return Ok(()) };
        let mode = parameter(url.expose_secret(), "sslmode").or_else(|| std::env::var("PGSSLMODE").ok());
        let wants_tls = mode.is_some_and(|mode| matches!(mode.as_str(), "require" | "verify-ca" | "verify-full"));
        if wants_tls && !cfg!(feature = "tls") {
            return Err(InvalidDatabaseUrl(
                "the database URL asks for TLS (sslmode), which this build lacks: \
                 build with `--features tls` (the system's OpenSSL) or `--features tls-vendored`"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(url) => {
                let url = url.expose_secret();
                let after_scheme = url.split_once("//").map_or(url, |(_, rest)| rest);
                let address = after_scheme.split('?').next().unwrap_or_default();
                let address = address.rsplit('@').next().unwrap_or_default();
                let (hosts, database) = address.split_once('/').unwrap_or((address, ""));
                let hosts = Some(hosts.to_owned()).filter(|hosts| !hosts.is_empty()).or_else(|| parameter(url, "host"));
                write!(f, "PostgreSQL, {database} at {}", hosts.as_deref().unwrap_or("the local socket"))
            }
            Self::Sqlite(path) => write!(f, "SQLite, {}", path.display()),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

/// The URL with these parameters added. libpq takes the last of two equal ones.
pub(super) fn with_parameters(url: &str, parameters: &[(&str, &str)]) -> String {
    let mut url = url.to_owned();
    for (name, value) in parameters {
        url.push(if url.contains('?') { '&' } else { '?' });
        url.push_str(name);
        url.push('=');
        url.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
    }
    url
}

/// The URL without the parameters that libpq does not know.
pub(super) fn for_libpq(url: &str) -> String {
    let Some((address, query)) = url.split_once('?') else { return url.to_owned() };
    let is_ours = |pair: &&str| pair.split_once('=').is_some_and(|(name, _)| name == POOL_MODE);
    let theirs: Vec<_> = query.split('&').filter(|pair| !is_ours(pair)).collect();
    if theirs.is_empty() { address.to_owned() } else { format!("{address}?{}", theirs.join("&")) }
}

/// The value of one of the URL's parameters.
pub(super) fn parameter(url: &str, name: &str) -> Option<String> {
    let (_, query) = url.split_once('?')?;
    let value = query.split('&').filter_map(|pair| pair.split_once('=')).rev().find(|(key, _)| *key == name)?.1;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_decides_and_any_other_is_refused() {
        assert!(matches!(DatabaseUrl::parse("postgres://u@h/d"), Ok(DatabaseUrl::Postgres(_))));
        assert!(matches!(DatabaseUrl::parse("postgresql://u@h1,h2:5433/d"), Ok(DatabaseUrl::Postgres(_))));
        assert!(
            matches!(DatabaseUrl::parse("sqlite:/a/b.db"), Ok(DatabaseUrl::Sqlite(path)) if path == Path::new("/a/b.db"))
        );
        assert!(
            matches!(DatabaseUrl::parse("sqlite:///a/b.db"), Ok(DatabaseUrl::Sqlite(path)) if path == Path::new("/a/b.db"))
        );
        assert!(matches!(DatabaseUrl::parse("sqlite:b.db"), Ok(DatabaseUrl::Sqlite(path)) if path.is_absolute()));
        for refused in [
            "",
            "posts.db",
            "host=127.0.0.1 port=1 dbname=x",
            "mysql://h/d",
            "postgres:h",
            "sqlite:",
            "sqlite::memory:",
            "sqlite:a?mode=ro",
        ] {
            assert!(DatabaseUrl::parse(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn no_rendering_and_no_refusal_shows_the_password() {
        let url = DatabaseUrl::parse("postgres://posts:s3cr3t@db.example:5433/blog?application_name=x").unwrap();
        assert_eq!(url.to_string(), "PostgreSQL, blog at db.example:5433");
        assert!(!format!("{url:?}").contains("s3cr3t"));
        let at_in_password = DatabaseUrl::parse("postgres://posts:s3@cr3t@db/blog").unwrap();
        assert!(!format!("{at_in_password:?}").contains("cr3t"));
        assert!(!DatabaseUrl::parse("mysql://u:s3cr3t@h/d").unwrap_err().to_string().contains("s3cr3t"));
    }

    #[test]
    fn a_password_from_elsewhere_is_encoded() {
        let url = DatabaseUrl::parse("postgres://u@h/d?connect_timeout=1").unwrap().with_password("a b&c");
        let DatabaseUrl::Postgres(url) = url else { unreachable!() };
        assert_eq!(url.expose_secret(), "postgres://u@h/d?connect_timeout=1&password=a%20b%26c");
    }

    #[test]
    fn the_mode_of_a_pooler_is_ours_to_read() {
        for (url, has_no_session, rest) in [
            ("postgres://h/d?pool_mode=transaction", true, "postgres://h/d"),
            ("postgres://h/d?a=b&pool_mode=transaction&c=d", true, "postgres://h/d?a=b&c=d"),
            ("postgres://h/d?pool_mode=session&a=b", false, "postgres://h/d?a=b"),
            ("postgres://h/d?a=pool_mode", false, "postgres://h/d?a=pool_mode"),
            ("postgres://h/d", false, "postgres://h/d"),
        ] {
            assert_eq!(DatabaseUrl::parse(url).unwrap().has_no_session(), has_no_session, "{url}");
            assert_eq!(for_libpq(url), rest);
        }
        let refusal = DatabaseUrl::parse("postgres://h/d?pool_mode=statement").unwrap_err().to_string();
        assert!(refusal.contains("pool_mode=transaction"), "{refusal}");
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn tls_that_is_not_built_in_is_refused_with_the_features_name() {
        for mode in ["require", "verify-ca", "verify-full"] {
            let refusal = DatabaseUrl::parse(&format!("postgres://h/d?sslmode={mode}")).unwrap_err().to_string();
            assert!(refusal.contains("--features tls"), "{refusal}");
        }
        assert!(DatabaseUrl::parse("postgres://h/d?sslmode=prefer").is_ok());
    }
}
