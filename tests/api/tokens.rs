//! Contract section 6, tokens: what counts, and how it is shown.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{Answer, Api, Database, PASSWORD, Postgres, Session, Sqlite, Token, auth_options, now, start};

/// Asserts that an answer is the one that every bad token gets.
#[track_caller]
pub fn assert_is_refusal(answer: &Answer, what: &str) {
    assert_eq!(answer.status, 401, "{what}: {answer:?}");
    assert_eq!(answer.header("www-authenticate"), "Bearer error=\"invalid_token\"", "{what}");
    let mut problem = answer.problem("unauthorized");
    for varies in ["instance", "request_id"] {
        assert!(problem.as_object_mut().unwrap().remove(varies).is_some(), "{what}: {answer:?}");
    }
    let expected = json!({
        "type": "/problems/unauthorized",
        "title": "Unauthorized",
        "status": 401,
        "detail": "The token is not valid, or no longer. Sign in again, and send the new one in `Authorization`.",
    });
    assert_eq!(problem, expected, "{what}");
}

/// Asserts that an answer has nothing of a secret.
#[track_caller]
pub fn assert_says_nothing_of(answer: &Answer, secret: &str) {
    let said = format!("{:?}\n{}", answer.headers, answer.text());
    for part in secret.split(['.', ' ']).filter(|part| part.len() >= 16) {
        assert!(!said.contains(part), "{part}: {answer:?}");
    }
}

/// Asserts that a token is refused, where one is needed and where none is.
pub async fn assert_refused(api: &Api, token: &str, what: &str) {
    for path in ["/auth/me", "/posts"] {
        let answer = api.get(path).bearing(token).await;
        assert_is_refusal(&answer, what);
        assert_says_nothing_of(&answer, token);
    }
}

/// The server's public key, as it publishes it.
pub fn public_key() -> Value {
    serde_json::to_value(&auth_options().keys.public().keys[0]).unwrap()
}

/// A good token with one claim set, or taken away.
pub fn with_claim(api: &Api, name: &str, value: Option<Value>) -> Token {
    let mut token = Token::of(api.root.id);
    set(&mut token.claims, name, value);
    token
}

pub fn set(object: &mut Value, name: &str, value: Option<Value>) {
    let members = object.as_object_mut().unwrap();
    match value {
        Some(value) => members.insert(name.to_owned(), value),
        None => members.remove(name),
    };
}

// What counts.

#[rstest]
#[tokio::test]
async fn a_sign_in_gives_a_token_that_says_just_what_it_must(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let user = api.user("author");
    let before = now();
    let Session { access_token, .. } = api.sign_in(&user).await;
    let parts: Vec<_> = access_token.split('.').collect();
    let part = |part: &str| serde_json::from_slice::<Value>(&BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).unwrap();
    assert_eq!(parts.len(), 3);
    assert_eq!(part(parts[0]), json!({"alg": "EdDSA", "typ": "at+jwt", "kid": public_key()["kid"]}));
    let claims = part(parts[1]);
    let names: Vec<_> = claims.as_object().unwrap().keys().collect();
    assert_eq!(names, ["aud", "exp", "iat", "iss", "jti", "nbf", "sub"]);
    assert_eq!(claims["iss"], "posts");
    assert_eq!(claims["aud"], "posts");
    assert_eq!(claims["sub"], user.id.to_string());
    let time = |name: &str| claims[name].as_u64().unwrap();
    assert!((before..=now()).contains(&time("iat")), "{claims}");
    assert_eq!(time("nbf"), time("iat"));
    assert_eq!(time("exp") - time("iat"), 900);
    assert!(claims["jti"].as_str().unwrap().len() >= 32, "{claims}");
    let again = api.sign_in(&user).await;
    assert_ne!(part(again.access_token.split('.').nth(1).unwrap())["jti"], claims["jti"]);
    api.assert_counts(&access_token, &user).await;
}

#[tokio::test]
async fn the_published_key_checks_a_token_and_has_its_thumbprint_for_a_name() {
    let api = start!(Sqlite);
    let Session { access_token, .. } = api.sign_in(&api.user("reader")).await;
    let answer = api.get("/.well-known/jwks.json").anonymous().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    assert!(answer.header("cache-control").contains("max-age"), "{answer:?}");
    let keys = answer.json()["keys"].as_array().unwrap().clone();
    assert_eq!(keys.len(), 1);
    let key = &keys[0];
    let names: Vec<_> = key.as_object().unwrap().keys().collect();
    assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x"], "and nothing of the private key");
    for (name, value) in [("kty", "OKP"), ("crv", "Ed25519"), ("alg", "EdDSA"), ("use", "sig")] {
        assert_eq!(key[name], value);
    }
    let x = key["x"].as_str().unwrap();
    let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    assert_eq!(key["kid"], BASE64URL_NOPAD.encode(digest(&SHA256, canonical.as_bytes()).as_ref()));

    let (message, signature) = access_token.rsplit_once('.').unwrap();
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
    let public = UnparsedPublicKey::new(&ED25519, BASE64URL_NOPAD.decode(x.as_bytes()).unwrap());
    public.verify(message.as_bytes(), &signature).unwrap();
}

#[rstest]
#[tokio::test]
async fn clocks_may_differ_by_five_seconds(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let now = now();
    for (claim, value) in [("exp", now - 3), ("nbf", now + 3), ("iat", now + 3), ("iat", 0), ("nbf", 0)] {
        let token = with_claim(&api, claim, Some(value.into())).sign();
        api.assert_counts(&token, &api.root).await;
    }
    for (claim, value) in [("exp", now - 6), ("exp", 0), ("nbf", now + 12), ("iat", now + 12), ("iat", u64::MAX)] {
        let token = with_claim(&api, claim, Some(value.into())).sign();
        assert_refused(&api, &token, &format!("{claim} {value}")).await;
    }
}

#[tokio::test]
async fn the_scheme_may_be_written_in_any_case_and_before_several_spaces() {
    let api = start!(Sqlite);
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR", "Bearer ", "Bearer   "] {
        let line = format!("{scheme} {}", api.root.token);
        let answer = api.get("/auth/me").anonymous().header("Authorization", line).await;
        assert_eq!(answer.status, 200, "{scheme}: {answer:?}");
    }
}

// What does not.

#[rstest]
#[tokio::test]
async fn who_shows_no_token_is_told_that_one_is_needed(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for (method, path) in [
        ("GET", "/auth/me"),
        ("PUT", "/auth/password"),
        ("POST", "/posts"),
        ("GET", "/users"),
        ("GET", "/api-keys"),
        ("DELETE", "/users/1"),
    ] {
        let answer = api.request(method, path).anonymous().await;
        assert_eq!(answer.status, 401, "{method} {path}: {answer:?}");
        assert_eq!(answer.header("www-authenticate"), "Bearer", "{method} {path}");
        answer.problem("unauthorized");
    }
    assert_eq!(api.get("/posts").anonymous().await.status, 200);
}

#[rstest]
#[tokio::test]
async fn a_token_is_from_here_for_here_and_about_somebody(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let id = api.root.id;
    let wrong = [
        ("iss", vec!["post", "Posts", "posts ", "https://posts", "evil"]),
        ("aud", vec!["post", "Posts", "posts ", "posts,evil", "evil"]),
        ("jti", vec!["1", "2.00", "0.00", "-1.00", "x.00", "01.00", "+1.00", ".00", "9223372036854775808.00"]),
        ("sub", vec!["4711", "0", "-1", "9223372036854775807", "9223372036854775808", "1e0", "1.0", "0x1", "１", "*"]),
        ("sub", vec!["1 OR 1=1", "' OR '1'='1", "admin", &api.root.email]),
    ];
    for (claim, values) in wrong {
        for value in values {
            let what = format!("{claim} {value}");
            assert_refused(&api, &with_claim(&api, claim, Some(value.into())).sign(), &what).await;
        }
    }
    for name in [format!("0{id}"), format!("+{id}"), format!(" {id}"), format!("{id} "), format!("{id}\0")] {
        let what = format!("sub {name:?}");
        assert_refused(&api, &with_claim(&api, "sub", Some(name.into())).sign(), &what).await;
    }
    // A server that goes by other names.
    let other = api.another(|config| {
        config.auth.issuer = "https://elsewhere.example".to_owned();
        config.auth.audience = "others".to_owned();
    });
    assert_refused(&other, &api.root.token, "another's token").await;
    assert_refused(&api, &other.sign_in(&api.root).await.access_token, "another's token").await;
}

#[rstest]
#[tokio::test]
async fn each_kind_of_secret_opens_its_own_door_alone(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let user = api.user("author");
    let Session { access_token, refresh_token } = api.sign_in(&user).await;
    let key = api.api_key(&user, "reader").await;
    api.assert_counts(&key, &user).await;

    for token in [&access_token, &key, &user.email, PASSWORD, "posts_", ""] {
        if token.is_empty() {
            continue;
        }
        let answer = api.refresh(token).await;
        assert_is_refusal(&answer, "as a refresh token");
        assert_says_nothing_of(&answer, token);
    }
    let mut wrong_key = key.clone();
    wrong_key.replace_range(key.len() - 1.., if key.ends_with('0') { "1" } else { "0" });
    let (prefix, secret) = key.rsplit_once('_').unwrap();
    let tokens = [
        refresh_token.clone(),
        format!("posts_{refresh_token}"),
        wrong_key,
        key.to_uppercase(),
        key.to_lowercase().replacen("posts", "Posts", 1),
        format!("{prefix}_"),
        prefix.to_owned(),
        secret.to_owned(),
        format!("{key}0"),
        format!("{key}\u{20}{key}"),
        "posts_".to_owned(),
        "posts_00000000_%".to_owned(),
        "posts_' OR '1'='1".to_owned(),
        BASE64URL_NOPAD.encode(digest(&SHA256, key.as_bytes()).as_ref()),
        PASSWORD.to_owned(),
    ];
    for token in tokens {
        assert_refused(&api, &token, "as an access token").await;
    }
    for length in 6..key.len() {
        assert_refused(&api, &key[..length], "a key cut short").await;
    }
    api.assert_counts(&key, &user).await;
    assert_eq!(api.refresh(&refresh_token).await.status, 200);
}

#[tokio::test]
async fn a_token_is_written_in_one_way() {
    let api = start!(Sqlite);
    let token = Token::of(api.root.id).sign();
    let (first, rest) = token.split_once('.').unwrap();
    let changed = [
        format!("{token}="),
        format!("{token}=="),
        format!("{first}=.{rest}"),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.x"),
        format!("{token}.{token}"),
        format!("{first}..{rest}"),
        format!("{first} .{rest}"),
        format!("{token} x"),
        format!("{token};"),
        format!("{token},"),
        format!("{token}, Bearer {token}"),
        format!("{token},{token}"),
        format!("{token} {token}"),
        format!("\"{token}\""),
        format!("'{token}'"),
        format!("<{token}>"),
        format!("Bearer {token}"),
        format!("token={token}"),
        format!("%20{token}"),
        format!("{token}%00"),
        format!("\u{e9}{token}"),
        format!("\t{token}"),
        token.replace('.', "%2E"),
        token.replace('.', "。"),
        token.to_lowercase(),
        BASE64.encode(token.as_bytes()),
        "..".to_owned(),
        ".".to_owned(),
        "...".to_owned(),
        "null".to_owned(),
        "undefined".to_owned(),
        "{}".to_owned(),
    ];
    for token in changed {
        let answer = api.get("/auth/me").anonymous().header("Authorization", format!("Bearer {token}")).await;
        assert_is_refusal(&answer, &token);
    }
}

#[tokio::test]
async fn no_other_scheme_counts() {
    let api = start!(Sqlite);
    let token = Token::of(api.root.id).sign();
    let basic = BASE64.encode(format!("{}:{PASSWORD}", api.root.email).as_bytes());
    let lines = [
        String::new(),
        "Bearer".to_owned(),
        "bearer".to_owned(),
        "Bearer:".to_owned(),
        format!("Bearer{token}"),
        format!("Bearer:{token}"),
        format!("Bearer: {token}"),
        format!("Bearer\t{token}"),
        format!("Bearer={token}"),
        format!("Bearer,{token}"),
        format!("Basic {basic}"),
        format!("Basic {token}"),
        format!("Digest {token}"),
        format!("DPoP {token}"),
        format!("Token {token}"),
        format!("JWT {token}"),
        format!("MAC {token}"),
        format!("Bearer2 {token}"),
        format!("ＢearerＸ {token}"),
        token.clone(),
    ];
    for line in lines {
        for path in ["/auth/me", "/posts"] {
            let answer = api.get(path).anonymous().header("Authorization", &line).await;
            assert_is_refusal(&answer, &line);
            assert_says_nothing_of(&answer, &line);
        }
    }
}

#[tokio::test]
async fn one_request_shows_one_token() {
    let api = start!(Sqlite);
    let good = format!("Bearer {}", api.root.token);
    for (one, other) in [(good.as_str(), good.as_str()), (good.as_str(), "Bearer x"), ("", ""), ("Basic x", &good)] {
        for path in ["/auth/me", "/posts"] {
            let request = api.get(path).anonymous().header("Authorization", one);
            let answer = request.another_header("Authorization", other).await;
            assert_eq!(answer.status, 400, "{one} and {other}: {answer:?}");
            answer.faults("malformed-header", &["Authorization duplicate"]);
            assert_says_nothing_of(&answer, &good);
        }
    }
}

#[tokio::test]
async fn a_token_in_the_query_is_refused_even_beside_a_good_one() {
    let api = start!(Sqlite);
    let token = &api.root.token;
    for name in ["access_token", "token", "jwt", "api_key", "apikey", "Access_Token", "TOKEN", "authorization"] {
        for query in [format!("{name}={token}"), format!("limit=5&{name}={token}"), format!("{name}="), name.to_owned()]
        {
            for path in ["/auth/me", "/posts", "/posts/1", "/users"] {
                let path = format!("{path}?{query}");
                for request in [api.get(&path), api.get(&path).anonymous()] {
                    let answer = request.await;
                    assert_is_refusal(&answer, &path);
                    assert_says_nothing_of(&answer, token);
                }
            }
        }
    }
    // A form's body is the third place of RFC 6750, and none here.
    let form = api.request("POST", "/posts").anonymous();
    let answer = form.body("application/x-www-form-urlencoded", format!("access_token={token}")).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("www-authenticate"), "Bearer");
}
