//! Tokens that nobody was given: everything that somebody might try who has none.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::Ed25519KeyPair;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use posts_api::auth::{SigningKey, SigningKeys};
use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{Api, Database, Postgres, SIGNING_KEY, Sqlite, Token, now, start};
use crate::tokens::{assert_is_refusal, assert_refused, public_key, set, with_claim};

/// A token with this text for a header and this for claims, signed with the server's key.
fn signed(header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
    let pair = Ed25519KeyPair::from_pkcs8(pem::parse(SIGNING_KEY).unwrap().contents()).unwrap();
    let message = message(header, claims);
    format!("{message}.{}", BASE64URL_NOPAD.encode(pair.sign(message.as_bytes()).as_ref()))
}

/// What is signed.
fn message(header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
    format!("{}.{}", BASE64URL_NOPAD.encode(header.as_ref()), BASE64URL_NOPAD.encode(claims.as_ref()))
}

/// A signing key that the server does not have: its PEM, and its public half.
fn foreign_key() -> (String, Value) {
    let pem = SigningKey::generate().unwrap();
    let keys = SigningKeys::new(vec![SigningKey::from_pem(&pem).unwrap()]).unwrap();
    (pem, serde_json::to_value(&keys.public().keys[0]).unwrap())
}

/// A good token with one header member set, or taken away.
fn with_header(api: &Api, name: &str, value: Option<Value>) -> Token {
    let mut token = Token::of(api.root.id);
    set(&mut token.header, name, value);
    token
}

#[tokio::test]
async fn a_token_needs_a_signature() {
    let api = start!(Sqlite);
    for algorithm in ["none", "None", "NONE", "nOnE", "none ", "", "null"] {
        let token = with_header(&api, "alg", Some(algorithm.into())).sign();
        let (message, signature) = token.rsplit_once('.').unwrap();
        for forged in [format!("{message}."), message.to_owned(), format!("{message}.{signature}")] {
            assert_refused(&api, &forged, algorithm).await;
        }
    }
    let good = Token::of(api.root.id).sign();
    let (message, _) = good.rsplit_once('.').unwrap();
    let zeros = BASE64URL_NOPAD.encode(&[0; 64]);
    for signature in ["", "A", "AA", zeros.as_str()] {
        assert_refused(&api, &format!("{message}.{signature}"), "no signature").await;
    }
    assert_refused(&api, message, "no third part").await;
}

#[tokio::test]
async fn a_token_is_signed_in_one_way_and_no_other() {
    let api = start!(Sqlite);
    let algorithms = [
        "HS256", "HS384", "HS512", "RS256", "RS512", "PS256", "ES256", "ES384", "ES256K", "Ed25519", "Ed448", "eddsa",
        "EDDSA", "EdDSA ", "dir",
    ];
    for algorithm in algorithms {
        let token = with_header(&api, "alg", Some(algorithm.into())).sign();
        assert_refused(&api, &token, algorithm).await;
    }
    for algorithm in [None, Some(Value::Null), Some(json!(7)), Some(json!(["EdDSA"]))] {
        let token = with_header(&api, "alg", algorithm).sign();
        assert_refused(&api, &token, "no algorithm").await;
    }
}

#[tokio::test]
async fn the_public_key_is_no_secret_to_sign_with() {
    let api = start!(Sqlite);
    let key = public_key();
    let x = key["x"].as_str().unwrap();
    let raw = BASE64URL_NOPAD.decode(x.as_bytes()).unwrap();
    // A SubjectPublicKeyInfo (RFC 8410 §4).
    let info = [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00][..], &raw].concat();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", BASE64.encode(&info));
    let json = key.to_string();
    let secrets: [&[u8]; 9] = [
        &raw,
        x.as_bytes(),
        &info,
        pem.as_bytes(),
        &[pem.as_bytes(), b"\n"].concat(),
        json.as_bytes(),
        key["kid"].as_str().unwrap().as_bytes(),
        b"secret",
        b"",
    ];
    let ways = [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)];
    for (algorithm, way) in ways {
        for (index, secret) in secrets.iter().enumerate() {
            for header in [algorithm, "EdDSA"] {
                let Token { header, claims } = with_header(&api, "alg", Some(header.into()));
                let message = message(header.to_string(), claims.to_string());
                let signature = hmac::sign(&hmac::Key::new(way, secret), message.as_bytes());
                let token = format!("{message}.{}", BASE64URL_NOPAD.encode(signature.as_ref()));
                assert_refused(&api, &token, &format!("{algorithm} with secret {index}")).await;
            }
        }
    }
}

#[tokio::test]
async fn a_token_names_a_key_of_the_servers_own() {
    let api = start!(Sqlite);
    let (foreign, foreign_public) = foreign_key();
    let ours = public_key()["kid"].clone();
    let shouted = ours.as_str().unwrap().to_uppercase();
    let names = [
        None,
        Some(Value::Null),
        Some(json!(7)),
        Some(json!([ours])),
        Some(json!({"kid": ours})),
        Some(json!("")),
        Some(json!(shouted)),
        Some(json!(format!("{}\0", ours.as_str().unwrap()))),
        Some(json!("../../../../dev/null")),
        Some(json!("file:///dev/null")),
        Some(json!("http://127.0.0.1/key")),
        Some(json!("' OR '1'='1")),
        Some(json!("x' UNION SELECT 'AAAA'; DROP TABLE users; --")),
        Some(json!("|id")),
        Some(json!("k".repeat(10_000))),
        Some(foreign_public["kid"].clone()),
    ];
    for name in names {
        let what = format!("{name:.80?}");
        let token = with_header(&api, "kid", name);
        assert_refused(&api, &token.sign(), &what).await;
        assert_refused(&api, &token.sign_with(&foreign), &what).await;
    }
    let token = Token::of(api.root.id);
    assert_refused(&api, &token.sign_with(&foreign), "our key's name, another's signature").await;
    api.assert_counts(&token.sign(), &api.root).await;
}

#[tokio::test]
async fn a_token_brings_no_key_along_and_asks_for_no_extension() {
    let api = start!(Sqlite);
    let (foreign, public) = foreign_key();
    let certificate = BASE64.encode(b"certificate");
    let members = [
        ("jwk", public.clone()),
        ("jwk", public_key()),
        ("jku", json!("http://127.0.0.1:1/jwks.json")),
        ("x5u", json!("http://127.0.0.1:1/key.pem")),
        ("x5c", json!([certificate])),
        ("x5t", json!("dGh1bWJwcmludA")),
        ("x5t#S256", json!("dGh1bWJwcmludA")),
        ("crit", json!([])),
        ("crit", json!(["exp"])),
        ("crit", json!(["b64"])),
        ("crit", json!("exp")),
        ("crit", Value::Null),
        ("b64", json!(false)),
        ("b64", json!(true)),
        ("zip", json!("DEF")),
        ("enc", json!("A256GCM")),
        ("cty", json!("JWT")),
        ("nonce", json!("1")),
        ("anything", json!("else")),
    ];
    for (name, value) in members {
        let what = format!("{name} {value}");
        let mut token = with_header(&api, name, Some(value));
        assert_refused(&api, &token.sign(), &what).await;
        assert_refused(&api, &token.sign_with(&foreign), &what).await;
        token.header["kid"] = public["kid"].clone();
        assert_refused(&api, &token.sign_with(&foreign), &what).await;
    }
}

#[tokio::test]
async fn a_header_and_claims_are_plain_json_objects_without_repetition() {
    let api = start!(Sqlite);
    let Token { header, claims } = Token::of(api.root.id);
    let (header, claims) = (header.to_string(), claims.to_string());
    api.assert_counts(&signed(&header, &claims), &api.root).await;
    let but_last = |object: &str| object.strip_suffix('}').unwrap().to_owned();
    let kid = &public_key()["kid"];
    for doubled in
        [r#""alg":"none""#, r#""alg":"EdDSA""#, r#""typ":"JWT""#, r#""typ":"at+jwt""#, &format!(r#""kid":{kid}"#)]
    {
        assert_refused(&api, &signed(format!("{},{doubled}}}", but_last(&header)), &claims), doubled).await;
        assert_refused(&api, &signed(header.replacen('{', &format!("{{{doubled},"), 1), &claims), doubled).await;
    }
    for doubled in [r#""sub":"1""#, r#""sub":"2""#, r#""exp":9999999999"#, r#""jti":"1.0""#, r#""aud":"posts""#] {
        assert_refused(&api, &signed(&header, format!("{},{doubled}}}", but_last(&claims))), doubled).await;
    }
    let array = format!(r#"["EdDSA","at+jwt",{kid}]"#);
    let others: [&[u8]; 8] = [b"", b"{}", b"[]", b"null", b"\"EdDSA\"", b"\xff\xfe{}", b"{", array.as_bytes()];
    for other in others {
        let what = String::from_utf8_lossy(other);
        assert_refused(&api, &signed(other, &claims), &what).await;
        assert_refused(&api, &signed(&header, other), &what).await;
    }
    let time = now();
    let array = format!(r#"["posts","posts","{}",{},{time},{time},"1.0"]"#, api.root.id, time + 900);
    assert_refused(&api, &signed(&header, array), "claims in an array").await;
    for rest in ["x", "{}", "\0"] {
        assert_refused(&api, &signed(format!("{header}{rest}"), &claims), "more after the header").await;
        assert_refused(&api, &signed(&header, format!("{claims}{rest}")), "more after the claims").await;
    }
}

#[tokio::test]
async fn a_signed_thing_of_another_kind_is_no_access_token() {
    let api = start!(Sqlite);
    let kinds = ["JWT", "jwt", "refresh+jwt", "rt+jwt", "id+jwt", "logout+jwt", "at+jwt2", " at+jwt", "", "none"];
    for kind in kinds.map(Value::from).into_iter().chain([Value::Null, json!(7), json!(["at+jwt"])]) {
        let what = format!("typ {kind}");
        assert_refused(&api, &with_header(&api, "typ", Some(kind)).sign(), &what).await;
    }
    assert_refused(&api, &with_header(&api, "typ", None).sign(), "no typ").await;
}

#[rstest]
#[tokio::test]
async fn each_claim_is_needed_and_of_its_type(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for claim in ["iss", "aud", "sub", "exp", "nbf", "iat", "jti"] {
        assert_refused(&api, &with_claim(&api, claim, None).sign(), &format!("no {claim}")).await;
    }
    let soon = now() + 300;
    for claim in ["exp", "nbf", "iat"] {
        let time = if claim == "exp" { soon } else { soon - 600 };
        #[expect(clippy::cast_precision_loss, reason = "a time of today is exact")]
        let float = time as f64;
        let values = [
            json!(time.to_string()),
            json!(float),
            json!(float + 0.5),
            json!(-1),
            json!(i64::MIN),
            json!(true),
            Value::Null,
            json!([time]),
            json!({"time": time}),
            json!(1e30),
            json!(1e308),
            json!("2026-11-22T09:30:00Z"),
            json!(""),
        ];
        for value in values {
            let what = format!("{claim} {value}");
            assert_refused(&api, &with_claim(&api, claim, Some(value)).sign(), &what).await;
        }
        // What no number of 64 bits holds.
        let mut token = Token::of(api.root.id);
        token.claims[claim] = json!("#");
        for huge in ["18446744073709551616", "1e400", "-0", "99999999999999999999999999"] {
            let claims = token.claims.to_string().replace("\"#\"", huge);
            assert_refused(&api, &signed(token.header.to_string(), claims), &format!("{claim} {huge}")).await;
        }
    }
    for claim in ["iss", "aud", "sub", "jti"] {
        let good = Token::of(api.root.id).claims[claim].clone();
        let values =
            [json!(1), json!(true), Value::Null, json!(""), json!([]), json!([good]), json!([good, "x"]), json!({})];
        for value in values {
            let what = format!("{claim} {value}");
            assert_refused(&api, &with_claim(&api, claim, Some(value)).sign(), &what).await;
        }
    }
}

#[tokio::test]
async fn a_token_cut_short_is_none() {
    let api = start!(Sqlite);
    let token = Token::of(api.root.id).sign();
    for length in 0..token.len() {
        let answer = api.get("/auth/me").bearing(&token[..length]).await;
        assert_is_refusal(&answer, &format!("{length} of {} characters", token.len()));
    }
    for start in 1..token.len() {
        let answer = api.get("/posts").bearing(&token[start..]).await;
        assert_is_refusal(&answer, &format!("without its first {start}"));
    }
}

#[tokio::test]
async fn a_token_with_one_bit_turned_is_none() {
    let api = start!(Sqlite);
    let token = Token::of(api.root.id).sign();
    let parts: Vec<_> = token.split('.').map(|part| BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).collect();
    // All of the signature's bits, and some of every byte of the others'.
    for (part, step) in [(0, 3), (1, 3), (2, 1)] {
        for bit in (0..parts[part].len() * 8).step_by(step) {
            let mut turned = parts.clone();
            turned[part][bit / 8] ^= 1 << (bit % 8);
            let turned = turned.iter().map(|part| BASE64URL_NOPAD.encode(part)).collect::<Vec<_>>().join(".");
            let answer = api.get("/posts").bearing(&turned).await;
            assert_is_refusal(&answer, &format!("bit {bit} of part {part}"));
        }
    }
    // The bits of a part's last character that stand for nothing.
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = token.chars().last().unwrap();
    for other in alphabet.iter().map(|&byte| char::from(byte)).filter(|&other| other != last) {
        let turned = format!("{}{other}", &token[..token.len() - 1]);
        assert_is_refusal(&api.get("/posts").bearing(&turned).await, &format!("{other} for the last character"));
    }
    api.assert_counts(&token, &api.root).await;
}
