//! How posts are created: by a lane, in which many requests are one statement. See [`Inserter`].

use std::io;

use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::web::Data;
use futures_util::future::LocalBoxFuture;

use super::store::{self, OwnedPost};
use super::{NewPost, Post};
use crate::db::{Db, Inserter, Lane};
use crate::http::problem::Problem;

/// Two statements at once keep both sides busy: while the one waits for the disk, the other is carried out.
const CREATES: Lane = Lane { name: "creates", threads: 2, batch: 64, waiting: 1024 };

/// The lane.
#[derive(Debug)]
pub struct Creates(Inserter<OwnedPost, Post>);

impl Creates {
    /// Starts the lane's threads, where the database wants them.
    pub fn start(db: &Db) -> io::Result<Self> {
        db.inserter(CREATES, store::insert_all, store::insert).map(Self)
    }

    /// Refuses where there is no room for one more at this moment.
    fn admit(&self) -> Result<(), Problem> {
        Ok(self.0.admit()?)
    }

    /// Creates a post of this owner's, and returns it as it is stored.
    pub(super) async fn create(&self, owner_id: i64, post: NewPost) -> Result<Post, Problem> {
        let post = OwnedPost { owner_id, post };
        let size = post.size();
        Ok(self.0.insert(post, size).await?)
    }
}

/// Refuses a post that there is no room for at this moment, before who sends it is looked up and its text is read.
#[must_use]
pub fn admit(request: HttpRequest) -> LocalBoxFuture<'static, Result<(), Problem>> {
    Box::pin(async move {
        let creates = request.app_data::<Data<Creates>>().filter(|_| request.method() == Method::POST);
        creates.map_or(Ok(()), |creates| creates.admit())
    })
}
