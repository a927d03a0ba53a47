//! What a cluster says once to whoever looks for what does not fit together there. What is kept fresh is in [`watch`](crate::watch).
//!
//! Pages are read as they are, since many kinds are looked at, some of which a cluster may lack, and little of each.

use std::time::Duration;

use http::header::SERVER;
use http::{Request, StatusCode};
use kube::Client;
use kube::client::Body;
use serde::Deserialize as _;
use serde_json::Value;
use tokio::time::timeout;

/// How many objects are asked for at once.
const PAGE: usize = 500;
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Reads pages of the API server.
///
/// Cheap to clone.
#[derive(Clone)]
pub struct Survey {
    client: Client,
}

/// A page, and who has answered.
#[derive(Clone, Debug)]
pub struct Page {
    /// What it says.
    pub body: Value,
    /// Who has answered, where he says so; the API server itself does not.
    pub server: String,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SurveyError {
    /// We may not see it.
    #[error("{0}")]
    Forbidden(String),
    /// The API server, or whoever answers behind it, has failed.
    #[error("{0}")]
    Failed(String),
    /// It cannot be asked.
    #[error("the API server cannot be asked: {0}")]
    Unreachable(String),
}

// === impl Survey ===

impl Survey {
    /// By this client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The page at `path`; `None` where there is none.
    ///
    /// # Errors
    /// When that is not known.
    pub async fn get(&self, path: &str) -> Result<Option<Page>, SurveyError> {
        let unreachable = |error: &dyn std::error::Error| {
            let mut cause = error;
            while let Some(next) = cause.source() {
                cause = next;
            }
            SurveyError::Unreachable(cause.to_string())
        };
        let request = Request::get(path).header("Accept", "application/json");
        let request = request
            .body(Body::empty())
            .map_err(|error| SurveyError::Failed(error.to_string()))?;
        let answered = async {
            let sent = self.client.send(request).await;
            let (head, body) = sent.map_err(|error| unreachable(&error))?.into_parts();
            let bytes = body.collect_bytes().await;
            Ok((head, bytes.map_err(|error| unreachable(&error))?))
        };
        let waited = timeout(TIMEOUT, answered).await;
        let late = |_| SurveyError::Unreachable(format!("no answer within {TIMEOUT:?}"));
        let (head, bytes) = waited.map_err(late)??;
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let said = || {
            let said = body["message"].as_str().unwrap_or_else(|| head.status.as_str());
            said.to_owned()
        };
        let server = head.headers.get(SERVER);
        let server = server.and_then(|server| server.to_str().ok()).unwrap_or_default();
        match head.status {
            status if status.is_success() => Ok(Some(Page {
                server: server.to_owned(),
                body,
            })),
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => Err(SurveyError::Forbidden(said())),
            _ => Err(SurveyError::Failed(said())),
        }
    }

    /// All objects at `path`; `None` where the cluster has no such kind.
    ///
    /// # Errors
    /// When they are not known.
    pub async fn list(&self, path: &str) -> Result<Option<Vec<Value>>, SurveyError> {
        let mut objects = Vec::new();
        let mut from = String::new();
        loop {
            let Some(mut page) = self.get(&format!("{path}?limit={PAGE}{from}")).await? else {
                return Ok(None);
            };
            if let Value::Array(items) = page.body["items"].take() {
                objects.extend(items);
            }
            match page.body["metadata"]["continue"].as_str().unwrap_or_default() {
                "" => return Ok(Some(objects)),
                // What it is of is base64 in a URL's alphabet.
                next => from = format!("&continue={next}"),
            }
        }
    }
}

/// What a field holds that is base64, as `caBundle` is; `None` where it is not there.
pub fn bytes(value: &Value) -> Option<Vec<u8>> {
    let bytes = k8s_openapi::ByteString::deserialize(value).ok()?;
    (!bytes.0.is_empty()).then_some(bytes.0)
}
