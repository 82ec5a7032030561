//! The client's side of the admin API: small, and blocking for its callers.
//!
//! One connection for each request: a command sends few of them, and a stale connection is no trouble
//! that way.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::{Failure, Outcome};
use mulgil_admin::catalogue::Code;
use mulgil_admin::model::{
    AlterTopic, CreateTopic, GroupDetail, GroupList, OffsetsReset, ResetOffsets, Status,
    TopicDetail, TopicPage, TrimTopic,
};
use mulgil_admin::problem::Problem;

mod queues;

const CONNECT_TIME: Duration = Duration::from_secs(5);
const ANSWER_TIME: Duration = Duration::from_secs(60);
/// An answer of the server is a page at most; something else could answer, and without end.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A server's API.
#[derive(Debug)]
pub(crate) struct Api {
    url: String,
    host: String,
    port: u16,
    runtime: tokio::runtime::Runtime,
}

impl Api {
    /// The API at `url`. Nothing is sent yet.
    pub(crate) fn new(url: &str) -> Outcome<Self> {
        let bad = |why: &str| Failure::new(Code::ServerUrl, format!("\"{url}\": {why}"));
        let full = if url.contains("://") {
            url.to_owned()
        } else {
            format!("http://{url}")
        };
        let uri: Uri = full.parse().map_err(|_bad| bad("not a URL"))?;
        if uri.scheme_str() != Some("http") {
            return Err(bad("only http is possible"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(bad("a path is not possible"));
        }
        let host = uri
            .host()
            .filter(|host| !host.is_empty())
            .ok_or_else(|| bad("no host"))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
        let port = uri.port_u16().unwrap_or(80);
        Ok(Self {
            url: format!("http://{host}:{port}"),
            host: host.to_owned(),
            port,
            runtime,
        })
    }

    /// Its address, for messages.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The host alone, an IPv6 address in brackets.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn status(&self) -> Outcome<Status> {
        self.get("/api/v1/status")
    }

    pub(crate) fn topics(&self, after: Option<&str>) -> Outcome<TopicPage> {
        let after = after
            .map(|name| format!("?after={}", escaped(name)))
            .unwrap_or_default();
        self.get(&format!("/api/v1/topics{after}"))
    }

    pub(crate) fn topic(&self, name: &str) -> Outcome<TopicDetail> {
        self.get(&topic_path(name))
    }

    pub(crate) fn create_topic(&self, topic: &CreateTopic) -> Outcome<TopicDetail> {
        self.send(Method::POST, "/api/v1/topics", Some(topic))
    }

    pub(crate) fn alter_topic(&self, name: &str, change: &AlterTopic) -> Outcome<TopicDetail> {
        self.send(Method::PATCH, &topic_path(name), Some(change))
    }

    pub(crate) fn delete_topic(&self, name: &str) -> Outcome<()> {
        self.send::<(), ()>(Method::DELETE, &topic_path(name), None)
    }

    pub(crate) fn trim_topic(&self, name: &str, trim: &TrimTopic) -> Outcome<TopicDetail> {
        let path = format!("{}/trim", topic_path(name));
        self.send(Method::POST, &path, Some(trim))
    }

    pub(crate) fn groups(&self) -> Outcome<GroupList> {
        self.get("/api/v1/groups")
    }

    pub(crate) fn group(&self, name: &str) -> Outcome<GroupDetail> {
        self.get(&group_path(name))
    }

    pub(crate) fn reset_group(&self, name: &str, reset: &ResetOffsets) -> Outcome<OffsetsReset> {
        let path = format!("{}/offsets", group_path(name));
        self.send(Method::POST, &path, Some(reset))
    }

    pub(crate) fn delete_group(&self, name: &str) -> Outcome<()> {
        self.send::<(), ()>(Method::DELETE, &group_path(name), None)
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Outcome<T> {
        self.send::<(), T>(Method::GET, path, None)
    }

    fn send<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Outcome<T> {
        let body = match body {
            Some(body) => serde_json::to_vec(body)
                .map_err(|error| Failure::new(Code::Internal, error.to_string()))?,
            None => Vec::new(),
        };
        self.send_bytes(method, path, "application/json", body)
    }

    fn send_bytes<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        kind: &'static str,
        body: Vec<u8>,
    ) -> Outcome<T> {
        let answered = self.runtime.block_on(async {
            let late = |_elapsed| Failure::new(Code::TimedOut, self.url.clone());
            tokio::time::timeout(ANSWER_TIME, self.exchange(method, path, kind, body.into()))
                .await
                .map_err(late)?
        });
        let (status, body) = answered?;
        self.read(status, &body)
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        kind: &'static str,
        body: Bytes,
    ) -> Outcome<(StatusCode, Bytes)> {
        let unreachable = |why: &dyn std::fmt::Display| {
            Failure::new(Code::Unreachable, format!("{} ({why})", self.url))
        };
        let bad = |error: &dyn std::fmt::Display| {
            Failure::new(Code::BadAnswer, format!("{} ({error})", self.url))
        };
        let plain = self.host.trim_start_matches('[').trim_end_matches(']');
        let connecting = tokio::net::TcpStream::connect((plain, self.port));
        let stream = tokio::time::timeout(CONNECT_TIME, connecting)
            .await
            .map_err(|_elapsed| unreachable(&"no answer to the connection"))?
            .map_err(|error| unreachable(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| bad(&error))?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, format!("{}:{}", self.host, self.port))
            .header(
                header::USER_AGENT,
                concat!("mulgil/", env!("CARGO_PKG_VERSION")),
            )
            .header(header::CONTENT_TYPE, kind)
            .body(Full::new(body))
            .map_err(|error| bad(&error))?;
        let talking = async {
            let response = sender
                .send_request(request)
                .await
                .map_err(|error| bad(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
                .collect()
                .await;
            Ok((status, body.map_err(|error| bad(&error))?.to_bytes()))
        };
        let mut talking = std::pin::pin!(talking);
        tokio::select! {
            answer = &mut talking => answer,
            // The connection may end with the last byte of the answer in it.
            _ended = connection => talking.await,
        }
    }

    fn read<T: DeserializeOwned>(&self, status: StatusCode, body: &[u8]) -> Outcome<T> {
        if status.is_success() {
            let json = if status == StatusCode::NO_CONTENT {
                b"null".as_slice()
            } else {
                body
            };
            return serde_json::from_slice(json)
                .map_err(|error| Failure::new(Code::BadAnswer, format!("{}: {error}", self.url)));
        }
        match serde_json::from_slice::<Problem>(body) {
            Ok(problem) => Err(Failure::from(problem).at(&self.url)),
            Err(_other) => Err(Failure::new(
                Code::BadAnswer,
                format!("{} answers {status}", self.url),
            )),
        }
    }
}

fn topic_path(name: &str) -> String {
    format!("/api/v1/topics/{}", escaped(name))
}

fn group_path(name: &str) -> String {
    format!("/api/v1/groups/{}", escaped(name))
}

/// Percent-escapes what may not stand in a part of a path or a query.
fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        // A part that is only dots would be taken for a step in the path.
        b'.' if !text.trim_matches('.').is_empty() => ".".to_owned(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_completed_or_refused() {
        let url = |text: &str| {
            Api::new(text)
                .map(|api| api.url)
                .map_err(|failure| failure.code)
        };
        assert_eq!(url("localhost:1"), Ok("http://localhost:1".to_owned()));
        assert_eq!(
            url("http://[::1]:15672/"),
            Ok("http://[::1]:15672".to_owned())
        );
        for bad in ["https://x", "http://x/api", "http://", "", "http://a b"] {
            assert_eq!(url(bad), Err(Code::ServerUrl), "{bad}");
        }
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!(escaped("a.b"), "a.b");
        assert_eq!(escaped(".."), "%2E%2E");
        assert_eq!(escaped("a/b?é"), "a%2Fb%3F%C3%A9");
    }
}
