//! Access tokens. An input is a header and claims, which are signed with the server's key, and what is done to the token
//! then; or, where there is no second line, what might be taken for a token.

use std::sync::LazyLock;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use data_encoding::BASE64URL_NOPAD;
use posts_api::auth::token::{AccessTokens, Subject};
use posts_api::auth::{SigningKey, SigningKeys};
use posts_api::db::Timestamp;
use posts_api::http::json::parse;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::lines;

/// A private key in PKCS #8 (RFC 8410 §7), up to the key itself.
const PKCS8: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

/// By how many seconds a time has to be off from now for this test to be sure what follows from it.
const NEAR: i64 = 60;

struct Signer {
    pair: Ed25519KeyPair,
    tokens: AccessTokens,
    /// The key's name.
    kid: String,
}

/// A key that is no secret, so that the corpus is the same tokens each time; and another.
static SIGNERS: LazyLock<[Signer; 2]> = LazyLock::new(|| [Signer::new(1), Signer::new(2)]);

impl Signer {
    fn new(byte: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[byte; 32]).unwrap();
        let der = [PKCS8, &[byte; 32]].concat();
        let key = SigningKey::from_pem(&pem::encode(&pem::Pem::new("PRIVATE KEY", der))).unwrap();
        let keys = SigningKeys::new(vec![key]).unwrap();
        let public = serde_json::to_value(keys.public()).unwrap();
        assert_eq!(public["keys"][0]["x"], BASE64URL_NOPAD.encode(pair.public_key().as_ref()));
        let kid = public["keys"][0]["kid"].as_str().unwrap().to_owned();
        Self { pair, kid, tokens: AccessTokens::new(keys, "posts".to_owned(), "posts".to_owned()) }
    }

    fn sign(&self, header: &str, claims: &str) -> String {
        let message = [header, claims].map(|part| BASE64URL_NOPAD.encode(part.as_bytes())).join(".");
        format!("{message}.{}", BASE64URL_NOPAD.encode(self.pair.sign(message.as_bytes()).as_ref()))
    }
}

/// What we signed as an access token counts, for whom it names, and nothing else.
pub fn holds(data: &[u8]) {
    let Some([header, claims, changes]) = lines(data) else { return };
    let [ours, strangers] = &*SIGNERS;
    assert_eq!(ours.tokens.verify(header), None, "nobody signed this");
    if !data.contains(&b'\n') {
        return;
    }
    let token = ours.sign(header, claims);
    let found = ours.tokens.verify(&token);
    // Now that it is remembered, where it is good, it is the same.
    assert_eq!(ours.tokens.verify(&token), found);
    assert_eq!(ours.tokens.verify(&strangers.sign(header, claims)), None);
    match (found, is_ours(header, &ours.kid).then(|| subject(claims))) {
        (Some(_), None) => panic!("the header was taken"),
        (None, None) | (_, Some(Expected::EitherWay)) => {}
        (found, Some(Expected::Is(subject))) => assert_eq!(found, subject),
        (found, Some(Expected::AtMost(subject))) => assert!(found.is_none() || found == Some(subject), "{found:?}"),
    }
    for forged in changed(&token, changes) {
        assert_eq!(ours.tokens.verify(&forged), None, "{forged}");
    }
    assert_issued_counts(ours, changes);
}

/// What we issue counts, and no longer once something of it is changed.
fn assert_issued_counts(ours: &Signer, changes: &str) {
    let subject = Subject { user_id: 7, generation: 3 };
    let issued = ours.tokens.issue(subject).unwrap();
    let issued = issued.expose_secret();
    assert_eq!(ours.tokens.verify(issued), Some(subject));
    for forged in changed(issued, changes) {
        assert_eq!(ours.tokens.verify(&forged), None, "{forged}");
    }
}

/// Whether a header says what an access token's says, and nothing else.
fn is_ours(header: &str, kid: &str) -> bool {
    parse(header.as_bytes()).is_ok_and(|header| header == json!({"alg": "EdDSA", "typ": "at+jwt", "kid": kid}))
}

#[derive(Debug)]
enum Expected {
    Is(Option<Subject>),
    /// It may be refused for what is in claims that nobody reads.
    AtMost(Subject),
    /// The time is about to come, or to be over.
    EitherWay,
}

/// Whom claims are about that count.
fn subject(claims: &str) -> Expected {
    // A name that is there twice may be read in either way, or be refused.
    let (strict, lenient) = (parse(claims.as_bytes()).is_ok(), serde_json::from_str::<Value>(claims));
    let Ok(claims) = lenient else { return Expected::Is(None) };
    let now = Timestamp::now().seconds();
    let time =
        |name: &str| claims.get(name).and_then(Value::as_u64).map(|time| i64::try_from(time).unwrap_or(i64::MAX));
    let (Some(expires), Some(not_before), Some(issued)) = (time("exp"), time("nbf"), time("iat")) else {
        return if strict { Expected::Is(None) } else { Expected::EitherWay };
    };
    if [expires, not_before, issued].iter().any(|time| time.abs_diff(now) < NEAR.unsigned_abs()) {
        return Expected::EitherWay;
    }
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    let number = |text: &str| text.parse().ok().filter(|number: &i64| number.to_string() == text);
    let named = text("jti").split_once('.').and_then(|(generation, _)| number(generation)).zip(number(text("sub")));
    let counts = expires > now && not_before.max(issued) < now && text("iss") == "posts" && text("aud") == "posts";
    match named.filter(|_| counts) {
        Some((generation, user_id)) if strict => Expected::Is(Some(Subject { user_id, generation })),
        Some((generation, user_id)) => Expected::AtMost(Subject { user_id, generation }),
        None if strict => Expected::Is(None),
        None => Expected::EitherWay,
    }
}

/// Tokens that differ from this one: without a signature, cut, and with characters changed at places that the input
/// chooses.
fn changed(token: &str, choice: &str) -> Vec<String> {
    let (message, signature) = token.rsplit_once('.').unwrap();
    let none = BASE64URL_NOPAD.encode(br#"{"alg":"none","typ":"at+jwt"}"#);
    let (_, claims) = message.split_once('.').unwrap();
    let mut changed = vec![
        message.to_owned(),
        format!("{message}."),
        format!("{none}.{claims}."),
        format!("{none}.{claims}.{signature}"),
        format!("{token}A"),
        format!("{token}="),
        format!("{token}."),
        token[..token.len() - 1].to_owned(),
    ];
    for pair in choice.as_bytes().chunks_exact(2).take(4) {
        let place = usize::from(pair[0]) * token.len() / 256;
        let mut bytes = token.as_bytes().to_vec();
        bytes[place] = if pair[1].is_ascii() && pair[1] != bytes[place] { pair[1] } else { bytes[place] ^ 1 };
        changed.push(String::from_utf8(bytes).unwrap());
    }
    changed
}
