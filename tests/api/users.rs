//! Contract section 6, the resource `/users`: who there is, and what an admin can do about it.

use futures_util::future::{join, join_all};
use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{Answer, Api, Database, PASSWORD, Postgres, Sqlite, User, ids, start};

/// A password that will do, beside the one that every test's user has.
const NEW_PASSWORD: &str = "five other words nobody expects";

const ROLES: [&str; 4] = ["reader", "author", "editor", "admin"];

/// What is sent to create a user with this e-mail.
fn new_user(email: &str) -> Value {
    json!({"email": email, "password": PASSWORD, "role": "author"})
}

/// The object with other values in some fields.
fn with(object: &Value, changes: &Value) -> Value {
    let mut object = object.clone();
    for (name, value) in changes.as_object().unwrap() {
        object[name] = value.clone();
    }
    object
}

/// Creates an author, and returns it as the server stored it, with its address.
async fn create(api: &Api, email: &str) -> (Value, String) {
    let answer = api.post("/users", new_user(email)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    (answer.json(), answer.header("location").to_owned())
}

async fn login(api: &Api, email: &str, password: &str) -> Answer {
    api.post("/auth/login", json!({"email": email, "password": password})).anonymous().await
}

/// Whether somebody with this token or key is known.
async fn status_of_me(api: &Api, credential: &str) -> u16 {
    api.get("/auth/me").bearing(credential).await.status
}

async fn refresh(api: &Api, refresh_token: &str) -> u16 {
    api.post("/auth/refresh", json!({"refresh_token": refresh_token})).anonymous().await.status
}

/// All that a user can call with.
struct Credentials {
    user: User,
    access_token: String,
    refresh_token: String,
    key: String,
}

impl Credentials {
    async fn create(api: &Api, role: &str) -> Self {
        let user = api.user(role);
        let signed_in = login(api, &user.email, PASSWORD).await.json();
        let [access_token, refresh_token] =
            ["access_token", "refresh_token"].map(|name| signed_in[name].as_str().unwrap().to_owned());
        let key = api.post("/api-keys", json!({"name": "nightly import", "role": role})).by(&user).await.json();
        let key = key["key"].as_str().unwrap().to_owned();
        Self { user, access_token, refresh_token, key }
    }

    /// The answers to the access token, the key, and a sign-in.
    async fn statuses(&self, api: &Api) -> [u16; 3] {
        [
            status_of_me(api, &self.access_token).await,
            status_of_me(api, &self.key).await,
            login(api, &self.user.email, PASSWORD).await.status,
        ]
    }
}

// Who may.

#[rstest]
#[tokio::test]
async fn users_are_for_admins_alone(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let (stored, path) = create(&api, "ada@example.org").await;
    let requests = || {
        [
            api.get("/users"),
            api.get(&path),
            api.post("/users", new_user("eve@example.org")),
            api.patch(&path, json!({"role": "admin"})),
            api.delete(&path),
            // Neither what is there nor what would be right shows to them.
            api.get("/users/4711"),
            api.post("/users", json!({})),
        ]
    };
    for request in requests() {
        request.anonymous().await.problem("unauthorized");
    }
    for role in ["reader", "author", "editor"] {
        let user = api.user(role);
        for request in requests() {
            request.by(&user).await.problem("forbidden");
        }
    }
    let key = api.post("/api-keys", json!({"name": "nightly import", "role": "editor"})).await.json();
    for request in requests() {
        request.bearing(key["key"].as_str().unwrap()).await.problem("forbidden");
    }
    assert_eq!(api.get(&path).await.json(), stored);
}

// What a user is.

#[rstest]
#[tokio::test]
async fn a_created_user_can_sign_in(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for (id, role) in (2..).zip(ROLES) {
        let email = format!("{role}@example.org");
        let created = api.post("/users", with(&new_user(&email), &json!({"role": role}))).await;
        assert_eq!(created.status, 201, "{created:?}");
        assert_eq!(created.header("location"), format!("/users/{id}"));
        assert_eq!(created.header("etag"), format!("\"{id}.1\""));
        assert!(created.header("last-modified").ends_with(" GMT"), "{created:?}");
        assert_eq!(created.header("content-type"), "application/json");
        let user = created.json();
        let expected = json!({
            "id": id,
            "email": email,
            "role": role,
            "disabled": false,
            "created_on": user["created_on"],
            "updated_on": user["created_on"],
            "version": 1,
        });
        assert_eq!(user, expected);
        assert_eq!(api.get(created.header("location")).await.json(), user);

        let signed_in = login(&api, &email, PASSWORD).await;
        assert_eq!(signed_in.status, 200, "{signed_in:?}");
        let me = api.get("/auth/me").bearing(signed_in.json()["access_token"].as_str().unwrap()).await;
        assert_eq!(me.json(), json!({"id": id, "email": email, "role": role}));
    }
}

#[rstest]
#[tokio::test]
async fn an_email_is_kept_as_it_was_typed_and_signs_in_in_any_case(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for email in [
        "Ada.LOVELACE+posts@Example.ORG",
        "a@b",
        "ÄDA@Exämple.org",
        "\"quoted\"'--;%_@example.org",
        "👩‍💻@example.org",
        &format!("{}@example.org", "é".repeat(242)),
    ] {
        let (user, path) = create(&api, email).await;
        assert_eq!(user["email"], email);
        assert_eq!(api.get(&path).await.json()["email"], email);
        for typed in [email.to_owned(), email.to_lowercase(), email.to_uppercase()] {
            assert_eq!(login(&api, &typed, PASSWORD).await.status, 200, "{typed}");
        }
    }
}

#[rstest]
#[tokio::test]
async fn an_email_is_one_users_in_whatever_case(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for (first, others) in [
        ("Ada@Example.org", ["Ada@Example.org", "ada@example.org", "ADA@EXAMPLE.ORG"]),
        ("zoë@example.org", ["zoë@example.org", "ZOË@example.org", "zoË@Example.org"]),
    ] {
        let (user, path) = create(&api, first).await;
        for other in others {
            let answer = api.post("/users", new_user(other)).await;
            assert_eq!(answer.status, 409, "{other}");
            answer.problem("conflict");
            assert!(!answer.headers.contains_key("location"), "{answer:?}");
        }
        assert_eq!(api.get(&path).await.json(), user);
        // Who is gone leaves the e-mail to others, and the id to nobody.
        assert_eq!(api.delete(&path).await.status, 204);
        let (next, _) = create(&api, others[1]).await;
        assert!(next["id"].as_i64() > user["id"].as_i64(), "{next}");
    }
    assert_eq!(api.get("/users").await.json()["items"].as_array().unwrap().len(), 3);
}

#[rstest]
#[tokio::test]
async fn no_answer_shows_a_password_or_what_is_kept_of_it(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let new = |changes| api.post("/users", with(&new_user("ada@example.org"), &changes));
    let tests = json!([{"op": "test", "path": "/password", "value": PASSWORD}]);
    let weak = "ada@example.org1";
    for (status, answer) in [
        (422, new(json!({"role": "none"})).await),
        (422, new(json!({"password": weak})).await),
        (422, new(json!({"password": [PASSWORD]})).await),
        (422, new(json!({"password": format!("{PASSWORD}\0")})).await),
        (422, new(json!({"passwort": PASSWORD})).await),
        (201, new(json!({})).await),
        (409, new(json!({})).await),
        (200, api.get("/users/2").await),
        (200, api.get("/users").await),
        (409, api.json_patch("/users/2", &tests).await),
        (422, api.patch("/users/2", json!({"password": weak})).await),
        (422, api.patch("/users/2", json!({"role": null, "password": NEW_PASSWORD})).await),
        (200, api.patch("/users/2", json!({"password": NEW_PASSWORD})).await),
        (200, api.patch("/users/2", json!({})).await),
    ] {
        assert_eq!(answer.status, status, "{answer:?}");
        let shown = format!("{answer:?}");
        for secret in [PASSWORD, NEW_PASSWORD, weak, "argon2", "hash", "generation", "email_key"] {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
    }
}

// What is refused.

#[rstest]
#[tokio::test]
async fn an_email_must_look_like_one(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let at_the_end = "@example.org";
    for (email, fault) in [
        (json!(""), "too_short"),
        (json!("a@"), "too_short"),
        (json!(format!("{}{at_the_end}", "a".repeat(243))), "too_long"),
        (json!(format!("{}{at_the_end}", "😀".repeat(243))), "too_long"),
        (json!("ada"), "invalid"),
        (json!("@example.org"), "invalid"),
        (json!("ada@"), "invalid"),
        (json!("ada@example@org"), "invalid"),
        (json!("ada lovelace@example.org"), "invalid"),
        (json!(" ada@example.org"), "invalid"),
        (json!("ada@example.org\n"), "invalid"),
        (json!("ada@example\u{a0}.org"), "invalid"),
        (json!("ada\u{7f}@example.org"), "invalid"),
        (json!("   "), "invalid"),
        (json!("ada\0@example.org"), "contains_nul"),
        (json!(null), "wrong_type"),
        (json!(7), "wrong_type"),
        (json!(["ada@example.org"]), "wrong_type"),
    ] {
        let answer = api.post("/users", with(&new_user(""), &json!({"email": email}))).await;
        assert_eq!(answer.status, 422, "{email}: {answer:?}");
        answer.faults("validation-failed", &[&format!("/email {fault}")]);
    }
    assert_eq!(ids(&api.get("/users").await), [1]);
}

#[rstest]
#[tokio::test]
async fn a_password_must_be_hard_to_guess(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let (stored, path) = create(&api, "ada.lovelace@example.org").await;
    let longest = format!("{PASSWORD}{}", "é".repeat((1024 - PASSWORD.len()) / 2));
    assert_eq!(longest.len(), 1024);
    for (password, fault) in [
        (json!(""), "too_short"),
        (json!("qz7!Kw#2vRm"), "too_short"),
        // Counted in characters, and not in bytes.
        (json!("żółćęśąźńżó"), "too_short"),
        (json!(format!("{longest}a")), "too_long"),
        (json!("a".repeat(1025)), "too_long"),
        (json!(" ".repeat(12)), "too_weak"),
        (json!("a".repeat(1024)), "too_weak"),
        (json!("password1234"), "too_weak"),
        (json!("qwertyuiop[]"), "too_weak"),
        (json!("123456789012"), "too_weak"),
        // What is known of the user is no secret.
        (json!("ada.lovelace"), "too_weak"),
        (json!("Ada.Lovelace1"), "too_weak"),
        (json!("ada.lovelace@example.org"), "too_weak"),
        (json!("ADA.LOVELACE@example.org!"), "too_weak"),
        (json!("postspostsposts"), "too_weak"),
        (json!(format!("{PASSWORD}\0")), "contains_nul"),
        (json!(null), "wrong_type"),
        (json!(123_456_789_012_u64), "wrong_type"),
    ] {
        let expected = format!("/password {fault}");
        let body = json!({"email": "ADA.lovelace@example.org", "password": password, "role": "author"});
        api.post("/users", &body).await.faults("validation-failed", &[&expected]);
        api.patch(&path, json!({"password": password})).await.faults("validation-failed", &[&expected]);
        let add = json!([{"op": "add", "path": "/password", "value": password}]);
        api.json_patch(&path, add).await.faults("validation-failed", &[&expected]);
    }
    assert_eq!(api.get(&path).await.json(), stored);
    assert_eq!(login(&api, "ada.lovelace@example.org", PASSWORD).await.status, 200);
}

#[rstest]
#[tokio::test]
async fn a_password_is_taken_byte_for_byte(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let longest = format!("{PASSWORD}{}", "é".repeat((1024 - PASSWORD.len()) / 2));
    for (number, (password, another)) in [
        ("qz7!Kw#2vRm9", "qz7!kw#2vrm9"),
        (longest.as_str(), &longest[..1022]),
        (" four words nobody expects ", "four words nobody expects"),
        ("f\u{fc}nf W\u{f6}rter, die keiner kennt", "fu\u{308}nf Wo\u{308}rter, die keiner kennt"),
        ("🐎🔋📎 three things nobody expects", "🐎🔋 three things nobody expects"),
    ]
    .into_iter()
    .enumerate()
    {
        let email = format!("ada{number}@example.org");
        let created = api.post("/users", with(&new_user(&email), &json!({"password": password}))).await;
        assert_eq!(created.status, 201, "{password}: {created:?}");
        assert_eq!(login(&api, &email, another).await.status, 401, "{another}");
        assert_eq!(login(&api, &email, password).await.status, 200, "{password}");
    }
}

#[rstest]
#[tokio::test]
async fn every_fault_of_a_new_user_is_reported_at_once(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let cases: [(Value, &[&str]); 12] = [
        (json!({}), &["/email required", "/password required", "/role required"]),
        (
            json!({"email": "ada", "password": "a", "role": "none"}),
            &["/email invalid", "/password too_short", "/role invalid"],
        ),
        (
            json!({"email": 1, "password": 2, "role": 3}),
            &["/email wrong_type", "/password wrong_type", "/role wrong_type"],
        ),
        (json!({"role": null}), &["/role wrong_type"]),
        (json!({"role": ""}), &["/role invalid"]),
        (json!({"role": "Admin"}), &["/role invalid"]),
        (json!({"role": "author\0"}), &["/role invalid"]),
        (json!({"role": ["author"]}), &["/role wrong_type"]),
        (json!({"colour": "red", "a/b~c": null}), &["/colour unknown_field", "/a~1b~0c unknown_field"]),
        // Of these nothing can be said when a user is created.
        (json!({"disabled": false}), &["/disabled unknown_field"]),
        (json!({"id": 7, "version": 1}), &["/id unknown_field", "/version unknown_field"]),
        (
            json!({"password_hash": "x", "email_key": "x"}),
            &["/password_hash unknown_field", "/email_key unknown_field"],
        ),
    ];
    for (index, (fields, faults)) in cases.into_iter().enumerate() {
        let body = if index < 3 { fields } else { with(&new_user("ada@example.org"), &fields) };
        let answer = api.post("/users", &body).await;
        assert_eq!(answer.status, 422, "{body}: {answer:?}");
        answer.faults("validation-failed", faults);
    }
    for body in [json!(null), json!([new_user("ada@example.org")]), json!("ada@example.org")] {
        api.post("/users", body).await.faults("validation-failed", &[" wrong_type"]);
    }
    let post = || api.request("POST", "/users");
    post().body("application/json", "{").await.problem("malformed-json");
    post().body("application/json", r#"{"role": "reader", "role": "admin"}"#).await.problem("malformed-json");
    let body = new_user("ada@example.org").to_string();
    post().body("application/merge-patch+json", body).await.problem("unsupported-media-type");
    assert_eq!(ids(&api.get("/users").await), [1]);
}

// Changes.

#[rstest]
#[tokio::test]
async fn a_patch_changes_what_it_has(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let (created, path) = create(&api, "ada@example.org").await;
    let merge = |media_type: &str, patch: Value| api.request("PATCH", &path).body(media_type, patch.to_string());
    let disable = json!([
        {"op": "test", "path": "/role", "value": "editor"},
        {"op": "replace", "path": "/disabled", "value": true},
    ]);
    let mut before = created.clone();
    for (version, (request, changes)) in (2..).zip([
        (merge("application/merge-patch+json", json!({"role": "reader"})), json!({"role": "reader"})),
        (merge("application/json", json!({"role": "editor"})), json!({"role": "editor"})),
        (merge("application/json-patch+json", disable), json!({"disabled": true})),
        (api.patch(&path, json!({"disabled": null})), json!({"disabled": false})),
        (
            api.patch(&path, json!({"role": "admin", "disabled": true, "password": NEW_PASSWORD})),
            json!({"role": "admin", "disabled": true}),
        ),
        (api.json_patch(&path, json!([{"op": "remove", "path": "/disabled"}])), json!({"disabled": false})),
        (api.json_patch(&path, json!([{"op": "add", "path": "/password", "value": PASSWORD}])), json!({})),
    ]) {
        let answer = request.await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let after = answer.json();
        let unset = json!({"version": version, "updated_on": after["updated_on"]});
        assert_eq!(after, with(&with(&before, &changes), &unset));
        assert!(after["updated_on"].as_str() > before["updated_on"].as_str(), "{after}");
        assert_eq!(answer.header("etag"), format!("\"2.{version}\""));
        assert_eq!(api.get(&path).await.json(), after);
        before = after;
    }
    // As it was read, with an edit.
    let edited = api.patch(&path, with(&before, &json!({"role": "reader"}))).await;
    assert_eq!((edited.status, &edited.json()["role"]), (200, &json!("reader")));
}

#[rstest]
#[tokio::test]
async fn a_patch_that_changes_nothing_leaves_no_trace(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let (created, path) = create(&api, "ada@example.org").await;
    let before = api.get(&path).await;
    for answer in [
        api.patch(&path, json!({})).await,
        api.patch(&path, &created).await,
        api.patch(&path, json!({"role": "author", "disabled": false})).await,
        api.patch(&path, json!({"disabled": null})).await,
        api.json_patch(&path, json!([])).await,
        api.json_patch(&path, json!([{"op": "test", "path": "/email", "value": "ada@example.org"}])).await,
        api.json_patch(&path, json!([{"op": "replace", "path": "/role", "value": "author"}])).await,
    ] {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json(), created);
        for name in ["etag", "last-modified"] {
            assert_eq!(answer.header(name), before.header(name), "{answer:?}");
        }
    }
    assert_eq!(api.get(&path).await.json(), created);
    // The same password may be a new one all the same: what was signed in with it ends.
    assert_eq!(api.patch(&path, json!({"password": PASSWORD})).await.json()["version"], 2);
}

#[rstest]
#[tokio::test]
async fn a_patch_that_breaks_a_rule_changes_nothing(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let (stored, path) = create(&api, "Ada@Example.org").await;
    let cases: [(Value, &[&str]); 18] = [
        (json!({"role": null}), &["/role required"]),
        (json!({"role": "none"}), &["/role invalid"]),
        (json!({"role": 7}), &["/role wrong_type"]),
        (json!({"disabled": "true"}), &["/disabled wrong_type"]),
        (json!({"disabled": 0}), &["/disabled wrong_type"]),
        (json!({"password": null}), &["/password wrong_type"]),
        (json!({"id": 7}), &["/id read_only"]),
        (json!({"email": "eve@example.org"}), &["/email read_only"]),
        (json!({"email": "ada@example.org"}), &["/email read_only"]),
        (json!({"email": null}), &["/email read_only"]),
        (json!({"created_on": null}), &["/created_on read_only"]),
        (json!({"updated_on": "2026-11-22T09:30:00.000000Z"}), &["/updated_on read_only"]),
        (json!({"version": 2}), &["/version read_only"]),
        (json!({"colour": null, "password_hash": "x"}), &["/colour unknown_field", "/password_hash unknown_field"]),
        (json!({"token_generation": 7}), &["/token_generation unknown_field"]),
        (
            json!({"role": "none", "disabled": 1, "password": "a", "version": 7, "colour": 1}),
            &[
                "/role invalid",
                "/disabled wrong_type",
                "/password too_short",
                "/version read_only",
                "/colour unknown_field",
            ],
        ),
        (json!([]), &[" wrong_type"]),
        (json!("editor"), &[" wrong_type"]),
    ];
    for (patch, faults) in cases {
        let answer = api.patch(&path, with_a_change(&patch)).await;
        assert_eq!(answer.status, 422, "{patch}: {answer:?}");
        answer.faults("validation-failed", faults);
    }
    let cases: [(Value, &[&str]); 7] = [
        (json!({"op": "remove", "path": "/role"}), &["/role required"]),
        (json!({"op": "remove", "path": "/email"}), &["/email read_only"]),
        (json!({"op": "add", "path": "/password", "value": null}), &["/password wrong_type"]),
        (json!({"op": "copy", "from": "/email", "path": "/password"}), &["/password too_weak"]),
        (json!({"op": "replace", "path": "/password", "value": NEW_PASSWORD}), &["/1/path cannot_apply"]),
        (json!({"op": "remove", "path": "/password_hash"}), &["/1/path cannot_apply"]),
        (json!({"op": "move", "from": "/disabled", "path": "/role"}), &["/role wrong_type"]),
    ];
    for (operation, faults) in cases {
        let disable = json!({"op": "replace", "path": "/disabled", "value": true});
        let answer = api.json_patch(&path, json!([disable, operation])).await;
        assert_eq!(answer.status, 422, "{operation}: {answer:?}");
        answer.faults("validation-failed", faults);
    }
    for test in [
        json!({"op": "test", "path": "/role", "value": "admin"}),
        json!({"op": "test", "path": "/password", "value": PASSWORD}),
        json!({"op": "test", "path": "/version", "value": 7}),
    ] {
        api.json_patch(&path, json!([test])).await.faults("conflict", &["/0 test_failed"]);
    }
    let text = api.request("PATCH", &path).body("text/plain", "{}").await;
    assert_eq!(
        text.header("accept-patch"),
        "application/merge-patch+json, application/json-patch+json, application/json"
    );
    text.problem("unsupported-media-type");
    assert_eq!(api.get(&path).await.json(), stored);
    assert_eq!(login(&api, "ada@example.org", PASSWORD).await.status, 200);
}

/// The patch with a change beside it that would be right, where it has room for one.
fn with_a_change(patch: &Value) -> Value {
    match patch.as_object() {
        Some(members) if !members.contains_key("disabled") => with(patch, &json!({"disabled": true})),
        _ => patch.clone(),
    }
}

#[rstest]
#[tokio::test]
async fn time_never_runs_backwards_for_a_user(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let ahead = "2999-12-31T23:59:59.999999Z";
    let user = api.user("author");
    api.database.execute(&format!("UPDATE users SET created_on = '{ahead}', updated_on = '{ahead}'")).unwrap();
    let path = format!("/users/{}", user.id);
    let changed = api.patch(&path, json!({"role": "editor"})).await.json();
    assert_eq!([&changed["updated_on"], &changed["version"]], [&json!(ahead), &json!(2)]);
    let body = json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD});
    let answer = api.put("/auth/password", body).by(&user).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    let changed = api.get(&path).await.json();
    assert_eq!([&changed["updated_on"], &changed["version"]], [&json!(ahead), &json!(3)]);
}

// Conditions.

#[rstest]
#[tokio::test]
async fn a_user_is_read_under_conditions(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let (created, path) = create(&api, "ada@example.org").await;
    let changed = api.patch(&path, json!({"role": "editor"})).await;
    let modified = changed.header("last-modified");
    for (name, value, status) in [
        ("If-None-Match", "\"2.2\"", 304),
        ("If-None-Match", "W/\"2.2;gzip\"", 304),
        ("If-None-Match", "*", 304),
        ("If-None-Match", "\"2.1\"", 200),
        ("If-Match", "\"2.2\"", 200),
        ("If-Match", "\"2.1\"", 412),
        ("If-Modified-Since", modified, 304),
        ("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT", 200),
        ("If-Unmodified-Since", "Sun, 06 Nov 1994 08:49:37 GMT", 412),
        ("If-None-Match", "2.2", 400),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = api.request(method, &path).header(name, value).await;
            assert_eq!(answer.status, status, "{method} {name}: {value}");
            if status != 400 {
                assert!(["\"2.2\"", "\"2.2;gzip\""].contains(&answer.header("etag")), "{method} {name}: {value}");
            }
            if [200, 304].contains(&status) {
                assert_eq!(answer.header("last-modified"), modified, "{method} {name}: {value}");
                assert_eq!(answer.header("cache-control"), "no-store", "{method} {name}: {value}");
                assert_eq!(answer.body.is_empty(), method == "HEAD" || status == 304);
            }
        }
    }
    assert_eq!(changed.json()["created_on"], created["created_on"]);
}

#[rstest]
#[tokio::test]
async fn a_write_builds_on_the_version_that_it_names(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for (name, value, status) in [
        ("If-Match", "\"{id}.2\"", 200),
        ("If-Match", "\"{id}.2;gzip\"", 200),
        ("If-Match", "*", 200),
        ("If-Match", "\"{id}.1\"", 412),
        ("If-Match", "W/\"{id}.2\"", 412),
        ("If-Match", "\"1.1\"", 412),
        ("If-Match", "{id}.2", 400),
        ("If-None-Match", "*", 412),
        ("If-None-Match", "\"{id}.1\"", 200),
        ("If-Unmodified-Since", "Sun, 06 Nov 1994 08:49:37 GMT", 412),
    ] {
        for method in ["PATCH", "DELETE"] {
            let user = api.user("author");
            let path = format!("/users/{}", user.id);
            let stored = api.patch(&path, json!({"role": "editor"})).await.json();
            let value = value.replace("{id}", &user.id.to_string());
            let request = api.request(method, &path).header(name, &value);
            let request = if method == "PATCH" { request.json(&json!({"disabled": true})) } else { request };
            let answer = request.await;
            let now = api.get(&path).await;
            let context = format!("{method} {name}: {value}: {answer:?}");
            match (status, method) {
                (200, "DELETE") => assert_eq!((answer.status, now.status), (204, 404), "{context}"),
                (200, _) => {
                    assert_eq!((answer.status, answer.json()), (200, now.json()), "{context}");
                    assert_eq!(answer.header("etag"), format!("\"{}.3\"", user.id), "{context}");
                }
                _ => assert_eq!((answer.status, now.json()), (status, stored), "{context}"),
            }
            if status == 412 {
                assert_eq!(answer.header("etag"), format!("\"{}.2\"", user.id), "{context}");
            }
        }
    }
    for request in [api.patch("/users/4711", json!({"role": "editor"})), api.delete("/users/4711")] {
        request.header("If-Match", "*").await.problem("not-found");
    }
}

#[rstest]
#[tokio::test]
async fn a_server_can_ask_for_if_match_on_users(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database, |config| config.require_if_match = true);
    let (created, path) = create(&api, "ada@example.org").await;
    for request in [api.patch(&path, json!({"role": "editor"})), api.json_patch(&path, json!([])), api.delete(&path)] {
        request.await.problem("precondition-required");
    }
    assert_eq!(api.get(&path).await.json(), created);
    let changed = api.patch(&path, json!({"role": "editor"})).header("If-Match", "\"2.1\"").await;
    assert_eq!(changed.status, 200);
    assert_eq!(api.delete(&path).header("If-Match", changed.header("etag")).await.status, 204);
}

// What a change means to the user.

#[rstest]
#[tokio::test]
async fn a_new_password_ends_what_was_signed_in_with_the_old_one(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let other_server = api.another(|_| {});
    let before = Credentials::create(&api, "author").await;
    let path = format!("/users/{}", before.user.id);
    assert_eq!(before.statuses(&other_server).await, [200, 200, 200]);
    assert_eq!(api.patch(&path, json!({"password": NEW_PASSWORD})).await.status, 200);
    // A key is not signed in with a password, and goes on.
    assert_eq!(before.statuses(&other_server).await, [401, 200, 401]);
    assert_eq!(refresh(&other_server, &before.refresh_token).await, 401);
    let signed_in = login(&other_server, &before.user.email, NEW_PASSWORD).await.json();
    assert_eq!(status_of_me(&api, signed_in["access_token"].as_str().unwrap()).await, 200);
}

#[rstest]
#[tokio::test]
async fn a_disabled_user_is_kept_out_until_enabled(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let other_server = api.another(|_| {});
    let credentials = Credentials::create(&api, "author").await;
    let path = format!("/users/{}", credentials.user.id);
    assert_eq!(api.patch(&path, json!({"disabled": true})).await.status, 200);
    for server in [&api, &other_server] {
        assert_eq!(credentials.statuses(server).await, [401, 401, 401]);
    }
    assert_eq!(api.patch(&path, json!({"disabled": false})).await.status, 200);
    for server in [&api, &other_server] {
        assert_eq!(credentials.statuses(server).await, [200, 200, 200]);
    }
}

#[rstest]
#[tokio::test]
async fn a_lowered_user_may_do_less_at_once_and_so_may_its_keys(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let other_server = api.another(|_| {});
    let Credentials { user, access_token, key, .. } = Credentials::create(&api, "editor").await;
    let own = other_server.post("/posts", json!({"title": "Hello"})).bearing(&key).await;
    assert_eq!((own.status, &own.json()["owner_id"]), (201, &json!(user.id)));
    let path = format!("/users/{}", user.id);
    for (role, status) in [("author", 201), ("reader", 403), ("editor", 201)] {
        assert_eq!(api.patch(&path, json!({"role": role})).await.status, 200);
        for credential in [&access_token, &key] {
            let answer = other_server.post("/posts", json!({"title": "Hello"})).bearing(credential).await;
            assert_eq!(answer.status, status, "{role}");
            let me = other_server.get("/auth/me").bearing(credential).await;
            assert_eq!(me.json()["role"], role);
        }
    }
}

#[rstest]
#[tokio::test]
async fn a_deleted_user_is_gone_with_all_that_it_could_call_with(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let other_server = api.another(|_| {});
    let deleted = Credentials::create(&api, "admin").await;
    let other = Credentials::create(&api, "author").await;
    let path = format!("/users/{}", deleted.user.id);
    let answer = api.delete(&path).await;
    assert_eq!((answer.status, answer.text(), answer.header("content-type")), (204, "", ""));
    for server in [&api, &other_server] {
        assert_eq!(deleted.statuses(server).await, [401, 401, 401]);
        assert_eq!(refresh(server, &deleted.refresh_token).await, 401);
        assert_eq!(server.get("/posts").bearing(&deleted.access_token).await.status, 401, "what is public, too");
        for request in [server.get(&path), server.patch(&path, json!({"role": "reader"})), server.delete(&path)] {
            request.await.problem("not-found");
        }
        assert_eq!(other.statuses(server).await, [200, 200, 200]);
    }
    assert_eq!(ids(&api.get("/users").await), [api.root.id, other.user.id]);
    // Whoever gets the e-mail next is somebody else.
    let (next, _) = create(&api, &deleted.user.email).await;
    assert!(next["id"].as_i64().unwrap() > other.user.id, "{next}");
    assert_eq!(status_of_me(&api, &deleted.access_token).await, 401);
    assert_eq!(status_of_me(&api, &deleted.key).await, 401);
    assert_eq!(refresh(&api, &deleted.refresh_token).await, 401);
}

#[rstest]
#[tokio::test]
async fn a_deleted_users_posts_stay_without_an_owner(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let [owner, other] = ["author", "author"].map(|role| api.user(role));
    let mut before = Vec::new();
    for (user, published) in [(&owner, true), (&owner, false), (&other, true), (&owner, true)] {
        let answer = api.post("/posts", json!({"title": "Hello", "published": published})).by(user).await;
        assert_eq!(answer.json()["owner_id"], user.id);
        before.push(answer);
    }
    let ahead = "2999-12-31T23:59:59.999999Z";
    api.database.execute(&format!("UPDATE posts SET updated_on = '{ahead}' WHERE id = 4")).unwrap();
    assert_eq!(api.delete(&format!("/users/{}", owner.id)).await.status, 204);

    for (id, before) in (1..).zip(&before) {
        let path = format!("/posts/{id}");
        let (before, tag, after) = (before.json(), before.header("etag"), api.get(&path).await);
        if id == 3 {
            assert_eq!((after.json(), after.header("etag")), (before, tag), "another's is left alone");
            continue;
        }
        let now = after.json();
        let expected = json!({"owner_id": null, "version": 2, "updated_on": now["updated_on"]});
        assert_eq!(now, with(&before, &expected));
        assert_eq!(after.header("etag"), format!("\"{id}.2\""));
        assert!(now["updated_on"].as_str() > before["updated_on"].as_str(), "{now}");
        let stale = api.patch(&path, json!({"title": "Bye"})).header("If-Match", tag).await;
        assert_eq!((stale.status, stale.header("etag")), (412, after.header("etag")));
        assert_eq!(api.get(&path).header("If-None-Match", tag).await.status, 200);
        // Without an owner it is nobody's but an editor's.
        assert_ne!(api.patch(&path, json!({"title": "Bye"})).by(&other).await.status, 200);
        assert_eq!(api.patch(&path, json!({"title": "Bye"})).by(&api.user("editor")).await.status, 200);
    }
    // Time does not run backwards for a post, either.
    assert_eq!(api.get("/posts/4").await.json()["updated_on"], ahead);
}

// The last admin.

#[rstest]
#[tokio::test]
async fn the_last_admin_who_can_sign_in_stays_one(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let [disabled, editor] = ["admin", "editor"].map(|role| api.user(role));
    let path = format!("/users/{}", api.root.id);
    assert_eq!(api.patch(&format!("/users/{}", disabled.id), json!({"disabled": true})).await.status, 200);
    let before = api.get(&path).await.json();
    for request in [
        api.patch(&path, json!({"role": "editor"})),
        api.patch(&path, json!({"role": "reader", "password": NEW_PASSWORD})),
        api.patch(&path, json!({"disabled": true})),
        api.json_patch(&path, json!([{"op": "replace", "path": "/disabled", "value": true}])),
        api.delete(&path),
        api.delete(&path).header("If-Match", "*"),
    ] {
        let answer = request.await;
        assert_eq!(answer.status, 409, "{answer:?}");
        answer.problem("conflict");
    }
    assert_eq!(api.get(&path).await.json(), before);
    assert_eq!(login(&api, &api.root.email, PASSWORD).await.status, 200);

    // All others may go, and the last one may change what keeps it an admin.
    assert_eq!(api.delete(&format!("/users/{}", disabled.id)).await.status, 204);
    let raise = api.patch(&format!("/users/{}", editor.id), json!({"role": "admin"})).await;
    assert_eq!(raise.status, 200);
    assert_eq!(api.patch(&path, json!({"role": "editor"})).await.status, 200, "there is another one now");
    let path = format!("/users/{}", editor.id);
    assert_eq!(api.delete(&path).by(&editor).await.status, 409);
    assert_eq!(api.patch(&path, json!({"password": NEW_PASSWORD})).by(&editor).await.status, 200);
}

#[rstest]
#[tokio::test]
async fn of_two_admins_who_lower_each_other_at_once_one_stays(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let other_server = api.another(|_| {});
    let lower = |server: &Api, by: &User, whom: &User, round: usize| {
        let path = format!("/users/{}", whom.id);
        let request = match round % 3 {
            0 => server.patch(&path, json!({"role": "reader"})),
            1 => server.patch(&path, json!({"disabled": true})),
            _ => server.delete(&path),
        };
        request.by(by)
    };
    for round in 0..12 {
        let [first, second] = [api.user("admin"), api.user("admin")];
        let others = format!("id NOT IN ({}, {})", first.id, second.id);
        api.database.execute(&format!("UPDATE users SET role = 'reader' WHERE {others}")).unwrap();
        let (one, two) = join(
            lower(&api, &first, &second, round).into_future(),
            lower(&other_server, &second, &first, round / 3).into_future(),
        )
        .await;
        let statuses = [one.status, two.status];
        let won = statuses.map(|status| [200, 204].contains(&status));
        assert!(won[0] != won[1], "{round}: {statuses:?}");
        // Who lost was either the last one's enemy, or no admin any more when its turn came.
        assert!(statuses.iter().any(|status| [401, 403, 409].contains(status)), "{round}: {statuses:?}");
        let [winner, loser] = if won[0] { [&first, &second] } else { [&second, &first] };
        let users = api.get("/users?limit=100").by(winner).await.json();
        let is_admin = |user: &&Value| user["role"] == "admin" && user["disabled"] == false;
        let admins: Vec<_> = users["items"].as_array().unwrap().iter().filter(is_admin).collect();
        assert!(admins.len() == 1 && admins[0]["id"] == winner.id, "{round}: {admins:?}");
        assert_ne!(api.get("/users").by(loser).await.status, 200);
    }
}

// At the same moment.

#[rstest]
#[tokio::test]
async fn an_email_is_one_users_also_where_many_ask_at_once(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let other_server = api.another(|_| {});
    let emails = ["ada@example.org", "ADA@example.org", "Ada@example.org", "ada@EXAMPLE.org"];
    let requests = emails.iter().zip([&api, &other_server].into_iter().cycle());
    let answers = join_all(requests.map(|(email, server)| server.post("/users", new_user(email)).into_future())).await;
    let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409]);
    for answer in answers.iter().filter(|answer| answer.status == 409) {
        answer.problem("conflict");
    }
    assert_eq!(ids(&api.get("/users").await).len(), 2);
}

#[rstest]
#[tokio::test]
async fn of_changes_at_once_none_undoes_another(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let other_server = api.another(|_| {});
    for round in 0..8 {
        let user = api.user("author");
        let path = format!("/users/{}", user.id);
        let (role, disabled) = join(
            api.patch(&path, json!({"role": "editor"})).into_future(),
            other_server.patch(&path, json!({"disabled": true})).into_future(),
        )
        .await;
        for answer in [&role, &disabled] {
            assert!([200, 409].contains(&answer.status), "{round}: {answer:?}");
        }
        let changes = i64::from(role.status == 200) + i64::from(disabled.status == 200);
        assert!(changes > 0, "{round}: one is the first");
        let now = api.get(&path).await.json();
        assert_eq!(now["role"], if role.status == 200 { "editor" } else { "author" }, "{round}");
        assert_eq!(now["disabled"], disabled.status == 200, "{round}");
        assert_eq!(now["version"], 1 + changes, "{round}");
    }
}

#[rstest]
#[tokio::test]
async fn a_post_that_is_created_while_its_owner_goes_has_none_or_is_not_created(
    #[values(Sqlite, Postgres)] database: Database,
) {
    let api = start!(database);
    let mut created = 0;
    for round in 0..8 {
        let user = api.user("author");
        let posts = (0..4).map(|_| api.post("/posts", json!({"title": "Hello"})).by(&user).into_future());
        let path = format!("/users/{}", user.id);
        let (posts, deleted) = join(join_all(posts), api.delete(&path).into_future()).await;
        assert_eq!(deleted.status, 204, "{round}: {deleted:?}");
        for post in &posts {
            assert!([201, 401, 409].contains(&post.status), "{round}: {post:?}");
        }
        created += posts.iter().filter(|post| post.status == 201).count();
    }
    let list = api.get("/posts?limit=100").await.json();
    let list = list["items"].as_array().unwrap();
    assert_eq!(list.len(), created);
    assert!(list.iter().all(|post| post["owner_id"].is_null() && post["version"] == 2), "{list:?}");
}

// The list, and what HTTP asks of every path.

#[rstest]
#[tokio::test]
async fn the_list_begins_with_the_oldest(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let (created, path) = create(&api, "ada@example.org").await;
    let list = api.get("/users").await;
    assert_eq!(list.header("content-type"), "application/json");
    let root = api.get("/users/1").await.json();
    assert_eq!(list.json(), json!({"items": [root, created], "next_cursor": null}));
    for _ in 0..101 {
        api.user("reader");
    }
    api.patch(&path, json!({"role": "reader"})).await;
    for (query, count) in [("", 20), ("?", 20), ("?limit=1", 1), ("?limit=21", 21), ("?limit=100", 100)] {
        let list = api.get(&format!("/users{query}")).await;
        assert_eq!(ids(&list), (1..=count).collect::<Vec<_>>(), "{query}");
        assert_eq!(list.header("cache-control"), "no-store");
    }
    for (query, fault) in [
        ("limit=0", "limit out_of_range"),
        ("limit=101", "limit out_of_range"),
        ("limit=1.0", "limit invalid"),
        ("limit=", "limit empty"),
        ("limit=1&limit=1", "limit duplicate"),
        ("role=admin", "role unknown_parameter"),
        ("email=ada@example.org", "email unknown_parameter"),
    ] {
        api.get(&format!("/users?{query}")).await.faults("malformed-query", &[fault]);
    }
    api.get("/users/1?limit=1").await.faults("malformed-query", &["limit unknown_parameter"]);
}

#[rstest]
#[tokio::test]
async fn a_user_is_not_replaced(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let (created, path) = create(&api, "ada@example.org").await;
    for (path, method, allow) in [
        (path.as_str(), "PUT", "GET, HEAD, PATCH, DELETE, OPTIONS"),
        (&path, "POST", "GET, HEAD, PATCH, DELETE, OPTIONS"),
        ("/users", "PUT", "GET, HEAD, POST, OPTIONS"),
        ("/users", "DELETE", "GET, HEAD, POST, OPTIONS"),
    ] {
        let answer = api.request(method, path).json(&created).await;
        assert_eq!((answer.status, answer.header("allow")), (405, allow), "{method} {path}");
        answer.problem("method-not-allowed");
        let options = api.request("OPTIONS", path).await;
        assert_eq!((options.status, options.header("allow")), (204, allow), "{path}");
        assert_eq!(options.headers.contains_key("accept-patch"), path != "/users", "{path}");
    }
    for path in ["/users", &path, "/users/7"] {
        let [get, head] = [api.get(path).await, api.request("HEAD", path).await];
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
        for name in ["etag", "last-modified", "content-type", "content-length", "cache-control", "vary"] {
            assert_eq!(head.header(name), get.header(name), "{path}: {name}");
        }
    }
    assert_eq!(api.get(&path).await.json(), created);
}

#[rstest]
#[tokio::test]
async fn only_plain_decimals_name_a_user(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let stored = api.get("/users/1").await.json();
    for id in "0 01 +1 -1 1.0 1. 1e0 1abc abc me 0x1 1;a=b 1.json %201 1%20 %2B1 1%00 %00 １ % %ff null 2 4711 \
        ada@example.org 9007199254740991 9007199254740992 9223372036854775808 18446744073709551617"
        .split(' ')
    {
        let path = format!("/users/{id}");
        for request in [
            api.get(&path),
            api.patch(&path, json!({"disabled": false})),
            api.json_patch(&path, json!([])),
            api.delete(&path),
        ] {
            let answer = request.await;
            assert_eq!(answer.status, 404, "{path} {answer:?}");
            answer.problem("not-found");
        }
    }
    for path in ["/users/", "/users/1/", "//users", "/Users", "/users/1/posts", "/user"] {
        assert_eq!(api.get(path).await.status, 404, "{path}");
    }
    assert_eq!(api.get("/users/1").await.json(), stored);
}
