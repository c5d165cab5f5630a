//! Signing in as a client does.

use serde_json::{Value, json};

use super::{Answer, Api, PASSWORD, User};

/// What signing in gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub access_token: String,
    pub refresh_token: String,
}

impl Session {
    /// The tokens in an answer that must have them.
    #[track_caller]
    pub fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{answer:?}");
        let body = answer.json();
        let token = |name: &str| body[name].as_str().unwrap().to_owned();
        Self { access_token: token("access_token"), refresh_token: token("refresh_token") }
    }
}

impl Api {
    /// An attempt to sign in, as nobody.
    pub async fn login(&self, email: &str, password: &str) -> Answer {
        self.post("/auth/login", json!({"email": email, "password": password})).anonymous().await
    }

    /// Signs a user in that has the tests' password.
    pub async fn sign_in(&self, user: &User) -> Session {
        Session::of(&self.login(&user.email, PASSWORD).await)
    }

    /// An attempt to refresh a session, as nobody.
    pub async fn refresh(&self, token: &str) -> Answer {
        self.post("/auth/refresh", json!({"refresh_token": token})).anonymous().await
    }

    /// Makes an API key of a user's, and returns it.
    pub async fn api_key(&self, user: &User, role: &str) -> String {
        let answer = self.post("/api-keys", json!({"name": "a key", "role": role})).by(user).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["key"].as_str().unwrap().to_owned()
    }

    /// What `GET /auth/me` says to the bearer of a token or key.
    pub async fn me(&self, token: &str) -> Answer {
        self.get("/auth/me").bearing(token).await
    }

    /// Asserts that a token or key counts, and is this user's.
    #[track_caller]
    pub fn assert_counts(&self, token: &str, user: &User) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            let answer = self.me(token).await;
            assert_eq!(answer.status, 200, "{place}: {answer:?}");
            assert_eq!(answer.json()["id"], Value::from(user.id), "{place}");
        }
    }
}
