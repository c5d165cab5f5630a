//! Signs in, creates, lists, reads, changes and deletes posts, by a client that `build.rs` generates from the service's
//! OpenAPI document. By hand:
//!
//! ```sh
//! POSTS_URL=http://127.0.0.1:8080 POSTS_EMAIL=ada@example.org POSTS_PASSWORD='…' cargo run
//! ```
//!
//! The account is an author's. What it creates are drafts, which it deletes in the end.

/// The generated client.
#[expect(unused_imports, reason = "it offers more than this program takes")]
mod posts {
    include!(concat!(env!("OUT_DIR"), "/posts.rs"));
}

use std::{collections::BTreeMap, env, process::ExitCode};

use posts::types::{ListPostsSort, Login, NewPost, PostItem, PostMergePatch, Problem, RefreshToken};
use posts::{Client, Error, ResponseValue};
use reqwest::header::{AUTHORIZATION, ETAG, HeaderMap, HeaderValue};
use uuid::Uuid;

/// What came is not what the step is for.
struct Unexpected(String);

impl From<Error<Problem>> for Unexpected {
    fn from(error: Error<Problem>) -> Self {
        Self(match error {
            Error::ErrorResponse(problem) => format!("got {} {}: {}", problem.status, problem.type_, problem.detail),
            // Not the content itself: there may be a token in it.
            Error::InvalidResponsePayload(_, error) => format!("got content of another form: {error}"),
            error => format!("{error:#}"),
        })
    }
}

/// The problem that is expected, by its type.
fn problem<T>(kind: &str, answer: Result<ResponseValue<T>, Error<Problem>>) -> Result<Problem, Unexpected> {
    match answer {
        Err(Error::ErrorResponse(problem)) if problem.type_ == kind => Ok(problem.into_inner()),
        Err(error) => Err(error.into()),
        Ok(answer) => Err(Unexpected(format!("got {}", answer.status()))),
    }
}

/// The tag of the version that was sent, for `If-Match`.
fn tag_of<T>(answer: &ResponseValue<T>) -> Result<String, Unexpected> {
    let tag = answer.headers().get(ETAG).and_then(|tag| tag.to_str().ok());
    tag.map(String::from).ok_or_else(|| Unexpected("got no ETag".into()))
}

/// A client that says who is calling.
fn signed_in(url: &str, access_token: &str) -> Result<Client, Unexpected> {
    let mut bearer = HeaderValue::from_str(&format!("Bearer {access_token}"))
        .map_err(|_| Unexpected("got a token that is none".into()))?;
    bearer.set_sensitive(true); // in memory, and in no log
    let headers = HeaderMap::from_iter([(AUTHORIZATION, bearer)]);
    let http = reqwest::Client::builder().default_headers(headers).build().map_err(Error::from)?;
    Ok(Client::new_with_client(url, http))
}

/// The pages of a list, to the last one.
async fn pages(api: &Client, author: &str) -> Result<Vec<Vec<PostItem>>, Unexpected> {
    let mut pages = Vec::new();
    let mut request = api.list_posts().author(author).sort(ListPostsSort::Id).limit(2).fields("title");
    loop {
        let page = request.clone().send().await?.into_inner();
        pages.push(page.items);
        let Some(cursor) = page.next_cursor else { return Ok(pages) };
        request = request.cursor(cursor);
    }
}

async fn run(step: &mut &str) -> Result<(), Unexpected> {
    let setting = |name: &str| env::var(name).map_err(|error| Unexpected(format!("{name}: {error}")));
    let (url, email, password) = (setting("POSTS_URL")?, setting("POSTS_EMAIL")?, setting("POSTS_PASSWORD")?);

    *step = "sign in";
    let tokens = Client::new(&url).login().body(Login { email, password }).send().await?.into_inner();
    let api = signed_in(&url, &tokens.access_token)?;
    println!("{step}: for {} seconds", tokens.expires_in);

    *step = "create";
    let author = format!("Example {}", Uuid::new_v4()); // a byline of this run's own, to list by
    let mut tags = BTreeMap::new(); // of each post, as it was created
    for title in ["One", "Two", "Three", "Four", "Five"] {
        let draft = NewPost::builder().title(title).author(author.clone()).published(false);
        // One key for what is meant, however often it is sent.
        let request = api.create_post().idempotency_key(Uuid::new_v4().to_string()).body(draft);
        let first = request.clone().send().await?;
        let again = request.send().await?; // as if the first answer had been lost
        if first.id != again.id {
            return Err(Unexpected("one key created two posts".into()));
        }
        tags.insert(first.id, tag_of(&first)?);
    }
    println!("{step}: {} posts, each sent twice", tags.len());

    *step = "list";
    let listed = pages(&api, &author).await?;
    let seen: Vec<i64> = listed.iter().flatten().map(|item| item.id).collect();
    if !seen.iter().eq(tags.keys()) {
        return Err(Unexpected(format!("got the posts {seen:?}")));
    }
    println!("{step}: each of them once, on {} pages", listed.len());

    *step = "read";
    let first = *seen.first().ok_or_else(|| Unexpected("there is no post".into()))?;
    let read = api.get_post().id(first).send().await?;
    let tag = tag_of(&read)?;
    println!("{step}: post {} is at {tag}", read.id);

    *step = "change";
    // What is left out stays as it is.
    let change = PostMergePatch::builder().title(String::from("One, mended"));
    let changed = api.update_post().id(read.id).if_match(&tag).body(change).send().await?;
    if changed.title != "One, mended" {
        return Err(Unexpected(format!("got the title {}", changed.title)));
    }
    tags.insert(changed.id, tag_of(&changed)?);
    println!("{step}: version {}, of {}", changed.version, changed.updated_on);

    *step = "change what has changed";
    let change = PostMergePatch::builder().title(String::from("One, mine"));
    let stale = api.update_post().id(read.id).if_match(&tag).body(change).send().await;
    println!("{step}: {}", problem("/problems/precondition-failed", stale)?.detail);

    *step = "send an invalid title";
    let invalid = api.create_post().body(NewPost::builder().title(" ").author(author)).send().await;
    let errors = problem("/problems/validation-failed", invalid)?.errors;
    let faults: Vec<_> = errors.iter().map(|fault| (fault.pointer.as_deref(), fault.code.as_str())).collect();
    if faults != [(Some("/title"), "blank")] {
        return Err(Unexpected(format!("got the faults {faults:?}")));
    }
    println!("{step}: {faults:?}");

    *step = "delete";
    for (id, tag) in &tags {
        api.delete_post().id(*id).if_match(tag).send().await?;
    }
    println!("{step}: {} posts", tags.len());

    *step = "sign out";
    api.logout().body(RefreshToken { refresh_token: tokens.refresh_token }).send().await?;
    println!("{step}: done");
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut step = "settings";
    match run(&mut step).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(Unexpected(what)) => {
            eprintln!("failed at \"{step}\": {what}");
            ExitCode::FAILURE
        }
    }
}
