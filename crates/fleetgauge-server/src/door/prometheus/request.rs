//! A request's parameters: of the URL, and of a form in the body.

use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, StatusCode};

use super::param::Params;
use super::reply::{ApiError, ErrorKind};

const FORM: &str = "application/x-www-form-urlencoded";
/// May hold parameters as well, and Prometheus reads the first at some of its routes: passing over them would answer for now where a
/// time was meant.
const REFUSED: [&str; 2] = ["multipart/form-data", "application/json"];

/// How many parameters are read.
const MAX_PARAMS: usize = 10_000;

/// Reads the parameters of `request`. A body that is no form is not read, as Prometheus does it.
///
/// *Errors*: the body is larger than `limit` bytes, does not come within `within`, or is not written as a form is; or it holds
/// parameters in another form.
pub(super) async fn params(request: Request, limit: usize, within: Duration) -> Result<Params, ApiError> {
    let (parts, body) = request.into_parts();
    let too_large = || {
        let message = format!("the request's body is larger than {limit} bytes");
        ApiError::new(ErrorKind::TooLarge(StatusCode::PAYLOAD_TOO_LARGE), message)
    };
    if length(&parts.headers).is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let mut params = Params::default();
    let refused = REFUSED.iter().find(|refused| is_of(refused, &parts.headers));
    if let (&Method::POST, Some(refused)) = (&parts.method, refused) {
        let message = format!("a body of the type {refused} is not read: send {FORM}");
        return Err(ApiError::new(ErrorKind::BadData, message));
    }
    if parts.method == Method::POST && is_of(FORM, &parts.headers) {
        let read = tokio::time::timeout(within, to_bytes(body, limit)).await;
        let body = match read {
            Ok(Ok(body)) => body,
            Ok(Err(error)) if is_length_limit(&error) => return Err(too_large()),
            Ok(Err(error)) => {
                let message = format!("the request's body cannot be read: {error}");
                return Err(ApiError::new(ErrorKind::BadData, message));
            }
            Err(_) => {
                let message = format!("the request's body did not come within {within:?}");
                return Err(ApiError::new(ErrorKind::Slow, message));
            }
        };
        add(&body, &mut params)?;
    }
    add(parts.uri.query().unwrap_or_default().as_bytes(), &mut params)?;
    Ok(params)
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn is_of(wanted: &str, headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = content_type.and_then(|value| value.split(';').next());
    media_type.is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(wanted))
}

fn is_length_limit(error: &axum::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if error.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        source = error.source();
    }
    false
}

fn add(form: &[u8], params: &mut Params) -> Result<(), ApiError> {
    let fail = |why: &str| {
        Err(ApiError::new(
            ErrorKind::BadData,
            format!("the parameters cannot be read: {why}"),
        ))
    };
    let mut rest = form;
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        let digits = rest.get(at + 1..at + 3);
        if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return fail("a % without two hexadecimal digits");
        }
        rest = &rest[at + 3..];
    }
    for (name, value) in form_urlencoded::parse(form) {
        if params.0.len() >= MAX_PARAMS {
            return fail("there are too many");
        }
        params.0.push((name.into_owned(), value.into_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    async fn read(method: &str, query: &str, content_type: &str, body: &'static str) -> Result<String, u16> {
        let request = Request::builder()
            .method(method)
            .uri(format!("/x?{query}"))
            .header(CONTENT_TYPE, content_type)
            .body(Body::from(body))
            .unwrap();
        let params = params(request, 20, Duration::from_secs(10)).await;
        let params = params.map_err(|error| {
            use axum::response::IntoResponse;
            error.into_response().status().as_u16()
        })?;
        let pairs: Vec<_> = params.0.iter().map(|(n, v)| format!("{n}={v}")).collect();
        Ok(pairs.join(" "))
    }

    #[tokio::test]
    async fn parameters_are_of_the_body_and_then_of_the_url() {
        let check =
            async |method: &str, query: &str, content_type: &str, body, expected: Result<&str, u16>| {
                let read = read(method, query, content_type, body).await;
                assert_eq!(read, expected.map(str::to_owned), "{method} {query} {body}");
            };
        let form = "application/x-www-form-urlencoded; charset=utf-8";
        check("GET", "a=1&b=%2B+x&a=2", form, "c=3", Ok("a=1 b=+ x a=2")).await;
        check("POST", "a=1", form, "a=2&match[]=b", Ok("a=2 match[]=b a=1")).await;
        check("POST", "a=1", "text/plain", "a=2", Ok("a=1")).await;
        check("POST", "a=1", "multipart/form-data; boundary=b", "a=2", Err(400)).await;
        check("POST", "a=1", "application/json", "{}", Err(400)).await;
        check("POST", "", form, "a=%zz", Err(400)).await;
        check("GET", "a=%4", form, "", Err(400)).await;
        check("POST", "", form, "a=012345678901234567890", Err(413)).await;
    }
}
