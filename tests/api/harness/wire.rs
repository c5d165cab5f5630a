//! Requests and answers.

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::pin::Pin;

use posts_api::http::problem::Code;
use reqwest::header::HeaderMap;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::User;
use super::document::{self, Message, percent_decoded};

/// A request that is sent when awaited.
#[must_use]
pub struct Request {
    request: reqwest::RequestBuilder,
    token: Option<String>,
}

impl Request {
    pub fn new(request: reqwest::RequestBuilder) -> Self {
        Self { request, token: None }
    }

    /// As this user.
    pub fn by(self, user: &User) -> Self {
        self.bearing(&user.token)
    }

    /// With this token or key.
    pub fn bearing(self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self }
    }

    /// As nobody.
    pub fn anonymous(self) -> Self {
        Self { token: None, ..self }
    }

    fn map(self, change: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder) -> Self {
        Self { request: change(self.request), ..self }
    }

    /// Sets a header, in place of one with that name.
    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let mut headers = HeaderMap::new();
        let name: reqwest::header::HeaderName = name.parse().unwrap();
        headers.insert(name, reqwest::header::HeaderValue::from_bytes(value.as_ref()).unwrap());
        self.map(|request| request.headers(headers))
    }

    /// Adds a header beside one with that name.
    pub fn another_header(self, name: &str, value: &str) -> Self {
        self.map(|request| request.header(name, value))
    }

    pub fn json(self, body: &impl serde::Serialize) -> Self {
        self.map(|request| request.json(body))
    }

    /// A body as it is, with its type.
    pub fn body(self, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.map(|request| request.body(body.into())).header("Content-Type", media_type)
    }

    /// A body as it is, without a type.
    pub fn untyped_body(self, body: impl Into<Vec<u8>>) -> Self {
        self.map(|request| request.body(body.into()))
    }
}

impl Request {
    /// Sends it. Fails where the connection ends before the whole answer is there.
    pub async fn attempt(self) -> reqwest::Result<Answer> {
        let request = match &self.token {
            Some(token) => self.request.bearer_auth(token),
            None => self.request,
        };
        let (client, request) = request.build_split();
        let request = request.expect("a request that can be sent");
        let (method, url, headers) = (request.method().to_string(), request.url().clone(), request.headers().clone());
        let sent = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default().to_vec();
        let response = client.execute(request).await?;
        let status = response.status().as_u16();
        let answer = Answer { status, headers: response.headers().clone(), body: response.bytes().await?.to_vec() };
        answer.keeps_the_contract(&method, url.path());
        if status < 400 {
            let sent = Message { headers: &headers, body: &sent };
            let checked = document::check_request(&method, url.path(), url.query().unwrap_or_default(), sent);
            checked.unwrap_or_else(|fault| panic!("{method} {url} was not refused, and {fault}"));
        }
        Ok(answer)
    }
}

impl IntoFuture for Request {
    type Output = Answer;
    type IntoFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async { self.attempt().await.expect("an answer") })
    }
}

/// What came back. Holds what the contract says of every answer, or the test has failed already.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value, empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts that this is the problem with that code, and returns its body.
    #[track_caller]
    pub fn problem(&self, code: &str) -> Value {
        let problem = self.json();
        assert_eq!(problem["type"], format!("/problems/{code}"), "{self:?}");
        problem
    }

    /// Asserts the problem's code and its faults, each as where and code (`/title too_long`), in any order.
    #[track_caller]
    pub fn faults(&self, code: &str, expected: &[&str]) {
        let problem = self.problem(code);
        let faults = problem["errors"].as_array().cloned().unwrap_or_default();
        let mut found: Vec<_> = faults
            .iter()
            .map(|fault| {
                let place = ["pointer", "parameter", "header"].iter().find_map(|place| fault[place].as_str());
                format!("{} {}", place.unwrap(), fault["code"].as_str().unwrap())
            })
            .collect();
        found.sort();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected, "{self:?}");
    }

    /// The body without its content coding.
    pub fn decoded(&self) -> Vec<u8> {
        document::decoded(self.header("content-encoding"), &self.body).unwrap()
    }

    /// Contract sections 4 and 8, and what the OpenAPI document says, for any answer to any request.
    fn keeps_the_contract(&self, method: &str, path: &str) {
        let context = || format!("{method} {path} → {self:?}");
        let message = Message { headers: &self.headers, body: &self.body };
        document::check_answer(method, path, self.status, message)
            .unwrap_or_else(|fault| panic!("{fault}: {}", context()));
        assert!(!self.header("x-request-id").is_empty(), "{}", context());
        assert_eq!(self.header("x-content-type-options"), "nosniff", "{}", context());
        assert_eq!(self.header("referrer-policy"), "no-referrer", "{}", context());
        assert!(self.header("content-security-policy").starts_with("default-src 'none'"), "{}", context());
        assert!(!self.header("cache-control").is_empty(), "{}", context());
        assert!(self.header("vary").to_lowercase().contains("accept-encoding"), "{}", context());
        if self.status < 400 {
            return;
        }
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", context());
        assert_eq!(self.header("cache-control"), "no-store", "{}", context());
        if self.status == 401 {
            assert!(self.header("www-authenticate").starts_with("Bearer"), "{}", context());
        }
        if matches!(self.status, 429 | 503) {
            assert!(self.header("retry-after").parse::<u32>().is_ok(), "{}", context());
        }
        if method == "HEAD" {
            return;
        }
        let problem = self.json();
        let known = Code::ALL.iter().find(|code| problem["type"] == format!("/problems/{}", code.as_str()));
        let code = known.unwrap_or_else(|| panic!("{}", context()));
        assert_eq!(problem["title"], code.title(), "{}", context());
        assert_eq!(problem["status"], code.status().as_u16(), "{}", context());
        assert_eq!(problem["status"], self.status, "{}", context());
        let instance = problem["instance"].as_str().unwrap();
        // Only of what is no plain path may it be another spelling.
        let is_plain =
            !path.starts_with("//") && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/.-".contains(&byte));
        let is_it = instance == path || !is_plain && percent_decoded(instance) == percent_decoded(path);
        assert!(is_it, "{instance}: {}", context());
        assert_eq!(problem["request_id"], self.header("x-request-id"), "{}", context());
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.ends_with('.')), "{}", context());
    }
}

/// The items of a page.
#[track_caller]
pub fn items(page: &Answer) -> Vec<Value> {
    assert_eq!(page.status, 200, "{page:?}");
    page.json()["items"].as_array().unwrap().clone()
}

/// The ids of a page's items.
#[track_caller]
pub fn ids(page: &Answer) -> Vec<i64> {
    items(page).iter().map(|item| item["id"].as_i64().unwrap()).collect()
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} {:#?}", self.status, self.headers)?;
        let body = String::from_utf8_lossy(&self.body);
        f.write_str(&body.chars().take(2000).collect::<String>())
    }
}

/// A connection of one's own, for what a client library hides: several requests on one, a request that never ends.
pub struct Connection(BufReader<TcpStream>);

impl Connection {
    pub async fn open(address: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(address).await.unwrap()))
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// The next answer, which must have a length, to a request with this method and path.
    pub async fn answer(&mut self, method: &str, path: &str) -> Answer {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = self.0.read_line(&mut head).await.unwrap();
            assert!(read > 0, "the connection ended after {head:?}");
        }
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in lines.map(|line| line.split_once(':').unwrap()) {
            let name: reqwest::header::HeaderName = name.parse().unwrap();
            headers.append(name, value.trim().parse().unwrap());
        }
        assert!(!headers.contains_key("transfer-encoding"), "{head}");
        let length = headers.get("content-length").map_or(0, |length| length.to_str().unwrap().parse().unwrap());
        let mut body = vec![0; if method == "HEAD" { 0 } else { length }];
        self.0.read_exact(&mut body).await.unwrap();
        let answer = Answer { status, headers, body };
        answer.keeps_the_contract(method, path);
        answer
    }

    /// Closes this half, as who wants nothing more does.
    pub async fn hangs_up(&mut self) {
        self.0.shutdown().await.unwrap();
    }

    /// Waits until the server closes the connection, which must come without a further answer.
    pub async fn closes(mut self) {
        let mut rest = Vec::new();
        // A reset is an end, too.
        let _ = self.0.read_to_end(&mut rest).await;
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }
}
