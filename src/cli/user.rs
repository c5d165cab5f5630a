//! `posts user …`: who may sign in, managed past the service, on the database itself: for the first user, and for when
//! nobody can sign in any more.

use std::io::{self, Read as _, Write as _};

use clap::{Args, Subcommand};
use serde_json::json;

use super::Failure;
use crate::auth::account::{self, ChosenPassword, NewAccount};
use crate::auth::{Role, setup};
use crate::db::{Db, Options};
use crate::http::fields::Fields;
use crate::http::problem::Problem;
use crate::users::{self, User, store};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a user.
    Create {
        #[command(flatten)]
        user: Email,
        /// What the user may do.
        #[arg(long, value_parser = role)]
        role: Role,
        #[command(flatten)]
        _password: Password,
    },
    /// Show the users: id, role, whether disabled, e-mail.
    List,
    /// Keep a user from signing in and from all that a token or a key is needed for, at once.
    Disable(Email),
    /// Let a user sign in again.
    Enable(Email),
    /// Change what a user may do.
    SetRole {
        #[command(flatten)]
        user: Email,
        /// What the user may do from now on.
        #[arg(long, value_parser = role)]
        role: Role,
    },
    /// Give a user a new password, which ends what was signed in with the one before.
    SetPassword {
        #[command(flatten)]
        user: Email,
        #[command(flatten)]
        _password: Password,
    },
}

#[derive(Args, Debug)]
pub(super) struct Email {
    /// The user's e-mail, in whatever case.
    #[arg(long)]
    email: String,
}

/// A password is never an argument: those show in the list of processes, and stay in the shell's history.
#[derive(Args, Debug)]
pub(super) struct Password {
    /// Read the password from standard input.
    #[arg(long, required = true)]
    password_stdin: bool,
}

fn role(name: &str) -> Result<Role, &'static str> {
    Role::from_name(name).ok_or("write reader, author, editor or admin")
}

/// Runs a command on the database.
pub(super) async fn run(command: Command, options: Options) -> Result<(), Failure> {
    let db = Db::start(options)?;
    db.prepare().await?;
    match command {
        Command::Create { user, role, .. } => {
            let fields = json!({"email": user.email, "password": read_password()?, "role": role});
            let account = users::NewUser::read(fields)?.into_account()?;
            create(&db, account).await?;
        }
        Command::List => return list(&db).await,
        Command::Disable(user) => change(&db, user, Change { disabled: Some(true), ..Change::default() }).await?,
        Command::Enable(user) => change(&db, user, Change { disabled: Some(false), ..Change::default() }).await?,
        Command::SetRole { user, role } => change(&db, user, Change { role: Some(role), ..Change::default() }).await?,
        Command::SetPassword { user, .. } => {
            let hash = chosen_password(&user.email)?.hash()?;
            change(&db, user, Change { password_hash: Some(hash), ..Change::default() }).await?;
        }
    }
    if !setup::has_admin(&db).await? {
        tracing::warn!("there is no admin who can sign in");
    }
    Ok(())
}

/// What is to change of a user.
#[derive(Default)]
struct Change {
    role: Option<Role>,
    disabled: Option<bool>,
    password_hash: Option<String>,
}

async fn create(db: &Db, account: NewAccount) -> Result<(), Failure> {
    let created =
        db.write(move |connection| store::insert(connection, &account).map_err(|error| users::taken(error.into())));
    Ok(print(&created.await?)?)
}

async fn list(db: &Db) -> Result<(), Failure> {
    for user in db.read(|connection| Ok::<_, Problem>(store::list(connection, None, i64::MAX)?)).await? {
        print(&user)?;
    }
    Ok(())
}

/// Changes the user with that e-mail, and shows the outcome.
async fn change(db: &Db, Email { email }: Email, change: Change) -> Result<(), Failure> {
    let changed = db.write(move |connection| {
        let Some(user) = store::find_by_email_for_update(connection, &email)? else { return Ok(None) };
        if let Some(hash) = &change.password_hash {
            account::set_password(connection, user.id, hash)?;
        }
        let (role, disabled) = (change.role.unwrap_or(user.role), change.disabled.unwrap_or(user.disabled));
        Ok::<_, Problem>(Some(store::update(connection, &user, role, disabled)?))
    });
    let user = changed.await?.ok_or(Failure::NoSuchUser)?;
    Ok(print(&user)?)
}

fn print(user: &User) -> io::Result<()> {
    let state = if user.disabled { "disabled" } else { "enabled" };
    writeln!(io::stdout(), "{:<6} {:<8} {state:<8} {}", user.id, user.role, user.email)
}

/// The whole of standard input, without the end of its last line.
fn read_password() -> Result<String, Failure> {
    let mut text = String::new();
    io::stdin().lock().take(4096).read_to_string(&mut text)?;
    let end = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(end);
    Ok(text)
}

fn chosen_password(email: &str) -> Result<ChosenPassword, Failure> {
    let mut fields = Fields::of(json!({"password": read_password()?}))?;
    let password = account::read_new_password(&mut fields, "password", email);
    Ok(fields.finish(password)?)
}
