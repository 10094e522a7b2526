//! The admin API, as the commands use it.

use std::{error::Error as _, net::IpAddr, path::Path, time::Duration};

use reqwest::{Method, StatusCode, Url, header};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::{
    arguments::{DEFAULT_TOKEN_FILE, DEFAULT_URL, Remote},
    failure::{Failure, Refusal},
    tls,
};
use crate::config::Secret;

/// To answer a connection.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// For one whole request: compiling a large plugin or replaying much takes its time.
const REQUEST_TIME: Duration = Duration::from_mins(10);
/// For what is read again and again.
const OPEN_TIME: Duration = Duration::from_secs(5);
/// Until Ctrl-C.
const STREAM_TIME: Duration = Duration::from_hours(24 * 365);
/// Items asked for at a time.
const PAGE: &str = "1000";
/// A token file is shorter.
const TOKEN_BYTES_MAX: u64 = 4096;

#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<Secret>,
}

/// A body on its way to the gateway.
#[derive(Debug)]
pub struct Sent {
    pub content_type: &'static str,
    pub bytes: Vec<u8>,
}

impl Sent {
    pub fn json(value: &impl serde::Serialize) -> Result<Sent, Failure> {
        let bytes = serde_json::to_vec(value).map_err(|error| Failure::Usage(error.to_string()))?;
        Ok(Sent {
            content_type: "application/json",
            bytes,
        })
    }
}

/// What the gateway answered with.
#[derive(Debug)]
pub struct Reply {
    pub created: bool,
    pub text: String,
    url: String,
}

impl Reply {
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        read(&self.text, &self.url)
    }
}

/// Reads JSON of the gateway's.
fn read<T: DeserializeOwned>(text: &str, url: &str) -> Result<T, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::Answer {
        url: url.to_owned(),
        cause: error.to_string(),
    })
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Box<RawValue>>,
    next: Option<String>,
}

/// Server-sent events.
pub struct Stream {
    answer: reqwest::Response,
    url: String,
    unread: Vec<u8>,
}

impl Stream {
    /// The next one's type and data; none where the gateway has ended the stream.
    pub async fn next(&mut self) -> Result<Option<(String, String)>, Failure> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.unread, b"\n\n") {
                let block: Vec<u8> = self.unread.drain(..end + 2).collect();
                let (mut kind, mut data) = (String::new(), String::new());
                for line in String::from_utf8_lossy(&block).lines() {
                    if let Some(text) = line.strip_prefix("event:") {
                        kind = text.trim_start().to_owned();
                    } else if let Some(text) = line.strip_prefix("data:") {
                        data.push_str(text.strip_prefix(' ').unwrap_or(text));
                    }
                }
                if !data.is_empty() {
                    return Ok(Some((kind, data)));
                }
                continue;
            }
            let chunk = self.answer.chunk().await.map_err(|error| Failure::Transport {
                url: self.url.clone(),
                cause: causes(&error),
            })?;
            match chunk {
                Some(chunk) => self.unread.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }
}

impl Client {
    pub fn new(remote: &Remote) -> Result<Client, Failure> {
        let text = if remote.url.is_empty() {
            DEFAULT_URL
        } else {
            &remote.url
        };
        let base = Url::parse(text)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| {
                let shown = crate::cli::output::printable(text);
                Failure::Usage(format!(
                    "--url {shown:?} is no URL: write one such as {DEFAULT_URL}"
                ))
            })?;
        let local = is_local(&base);
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("headworks/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIME)
            .timeout(REQUEST_TIME)
            // A token goes only where the user sent it.
            .redirect(reqwest::redirect::Policy::none());
        if local {
            builder = builder.no_proxy();
        }
        let http = tls::with(builder, &remote.tls)?
            .build()
            .map_err(|error| Failure::Transport {
                url: shown(&base),
                cause: causes(&error),
            })?;
        let given = remote
            .token
            .as_deref()
            .map(str::trim)
            .filter(|token| !token.is_empty());
        let token = match given {
            Some(token) => Some(token.to_owned()),
            None if local => token_file(Path::new(DEFAULT_TOKEN_FILE)),
            None => None,
        };
        Ok(Client {
            http,
            base,
            token: token.map(Secret::new),
        })
    }

    pub async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Reply, Failure> {
        self.request(Method::GET, path, query, None, &[]).await
    }

    /// The gateway, as people call it.
    pub fn place(&self) -> String {
        shown(&self.base)
    }

    /// Prometheus' text of all metrics, which needs no token.
    pub async fn metrics(&self) -> Result<String, Failure> {
        let answer = self.open("metrics").await?;
        answer.text().await.map_err(|error| self.transport(&error))
    }

    /// Why the gateway is not ready; none where it is.
    pub async fn unready(&self) -> Option<String> {
        let answer = match self.open("readyz").await {
            Ok(answer) if answer.status().is_success() => return None,
            Ok(answer) => answer,
            Err(failure) => return Some(failure.to_string()),
        };
        let body: serde_json::Value = answer.json().await.unwrap_or_default();
        let checks = body["checks"].as_array().into_iter().flatten();
        let failing = checks.filter(|check| check["ok"] == false).filter_map(|check| {
            let detail = check["detail"].as_str().unwrap_or_default();
            Some(format!("{} {detail}", check["name"].as_str()?))
        });
        let reasons: Vec<String> = failing.collect();
        Some(format!("NOT READY: {}", reasons.join("; ")))
    }

    /// Something beside the API that is open to all.
    async fn open(&self, name: &str) -> Result<reqwest::Response, Failure> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push(name);
        }
        let answer = self.http.get(url).timeout(OPEN_TIME).send().await;
        answer.map_err(|error| self.transport(&error))
    }

    fn transport(&self, error: &reqwest::Error) -> Failure {
        Failure::Unreachable {
            url: shown(&self.base),
            cause: causes(error),
        }
    }

    /// Server-sent events, for as long as the gateway sends them.
    pub async fn stream(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Stream, Failure> {
        let mut request = self.http.get(self.url(path, query)).timeout(STREAM_TIME);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.reveal());
        }
        let answer = request.send().await.map_err(|error| self.transport(&error))?;
        if !answer.status().is_success() {
            let status = answer.status();
            let text = answer.text().await.map_err(|error| self.transport(&error))?;
            return Err(self.refused(status, &text));
        }
        Ok(Stream {
            answer,
            url: shown(&self.base),
            unread: Vec::new(),
        })
    }

    pub async fn put(&self, path: &[&str], query: &[(&str, &str)], body: Sent) -> Result<Reply, Failure> {
        self.request(Method::PUT, path, query, Some(body), &[]).await
    }

    /// Puts what must not be there yet.
    pub async fn put_new(&self, path: &[&str], body: Sent) -> Result<Reply, Failure> {
        let absent = [(header::IF_NONE_MATCH, "*")];
        self.request(Method::PUT, path, &[], Some(body), &absent).await
    }

    pub async fn post(&self, path: &[&str], body: Option<Sent>) -> Result<Reply, Failure> {
        self.request(Method::POST, path, &[], body, &[]).await
    }

    pub async fn post_with(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        body: Sent,
    ) -> Result<Reply, Failure> {
        self.request(Method::POST, path, query, Some(body), &[]).await
    }

    pub async fn delete(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Reply, Failure> {
        self.request(Method::DELETE, path, query, None, &[]).await
    }

    /// All items of a list, page by page, at most `limit`. The second is whether there are more.
    pub async fn list(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        limit: usize,
    ) -> Result<(Vec<Box<RawValue>>, bool), Failure> {
        let mut items: Vec<Box<RawValue>> = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let mut query = query.to_vec();
            query.push(("limit", PAGE));
            if let Some(after) = &after {
                query.push(("after", after));
            }
            let page: Page = self.get(path, &query).await?.read()?;
            items.extend(page.items);
            let more = items.len() > limit || page.next.is_some();
            if items.len() >= limit || page.next.is_none() {
                items.truncate(limit);
                return Ok((items, more));
            }
            after = page.next;
        }
    }

    /// All items of a list, read.
    pub async fn all<T: DeserializeOwned>(&self, path: &[&str]) -> Result<Vec<T>, Failure> {
        let (items, _) = self.list(path, &[], usize::MAX).await?;
        items.iter().map(|item| self.parse(item)).collect()
    }

    /// An item of a list, read.
    pub fn parse<T: DeserializeOwned>(&self, item: &RawValue) -> Result<T, Failure> {
        read(item.get(), &shown(&self.base))
    }

    /// A part of an answer, read.
    pub fn value<T: DeserializeOwned>(&self, value: serde_json::Value) -> Result<T, Failure> {
        serde_json::from_value(value).map_err(|error| Failure::Answer {
            url: shown(&self.base),
            cause: error.to_string(),
        })
    }

    async fn request(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<Sent>,
        headers: &[(header::HeaderName, &str)],
    ) -> Result<Reply, Failure> {
        let url = self.url(path, query);
        let place = shown(&url);
        let mut request = self.http.request(method, url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.reveal());
        }
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        if let Some(body) = body {
            request = request
                .header(header::CONTENT_TYPE, body.content_type)
                .body(body.bytes);
        }
        let failed = |error: reqwest::Error| {
            if error.is_connect() {
                Failure::Unreachable {
                    url: shown(&self.base),
                    cause: causes(&error),
                }
            } else {
                Failure::Transport {
                    url: place.clone(),
                    cause: causes(&error),
                }
            }
        };
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let text = response.text().await.map_err(failed)?;
        if status.is_success() {
            return Ok(Reply {
                created: status == StatusCode::CREATED,
                text,
                url: place,
            });
        }
        Err(self.refused(status, &text))
    }

    /// What an answer that is no success says.
    fn refused(&self, status: StatusCode, text: &str) -> Failure {
        match serde_json::from_str::<Refusal>(text) {
            Ok(refusal) if !refusal.code.is_empty() => Failure::Refused(Box::new(refusal)),
            _ => Failure::Answer {
                url: shown(&self.base),
                cause: format!("it answered {status} without a problem"),
            },
        }
    }

    fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        url.set_fragment(None);
        url.set_query(None);
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}

/// The URL without what could be a secret in it.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Fails only for URLs that have no host, and so no user.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.as_str().trim_end_matches('/').to_owned()
}

fn is_local(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn token_file(path: &Path) -> Option<String> {
    let text = crate::config::bounded_text(path, TOKEN_BYTES_MAX).ok()?;
    Some(text.trim().to_owned()).filter(|token| !token.is_empty())
}

/// An error and what caused it, without the URL, which may hold a secret.
fn causes(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it took too long".to_owned();
    }
    let mut deepest = error.source();
    while let Some(source) = deepest.and_then(std::error::Error::source) {
        deepest = Some(source);
    }
    deepest.map_or_else(|| "the connection broke off".to_owned(), ToString::to_string)
}
