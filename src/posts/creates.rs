//! How posts are created: by a lane, in which many requests are one statement. See [`Inserter`].

use std::io;

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
    pub(super) fn admit(&self) -> Result<(), Problem> {
        Ok(self.0.admit()?)
    }

    /// Creates a post of this owner's, and returns it as it is stored.
    pub(super) async fn create(&self, owner_id: i64, post: NewPost) -> Result<Post, Problem> {
        let post = OwnedPost { owner_id, post };
        let size = post.size();
        Ok(self.0.insert(post, size).await?)
    }
}
