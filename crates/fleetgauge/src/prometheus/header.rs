//! The headers that a configuration adds to every request.

use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderName, HeaderValue};

use crate::client::{ConfigError, Secret};

/// Headers that the client sets itself.
const OWN_HEADERS: [HeaderName; 9] = [
    ACCEPT_ENCODING,
    CONNECTION,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    HOST,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Whether a header can be sent with every request, for those who check a configuration.
///
/// *Errors*: why not, without its value.
pub fn check_header(name: &str, value: &Secret) -> Result<(), ConfigError> {
    own_header(name, value).map(drop)
}

/// A header that is sent with every request.
///
/// *Errors*: it cannot be, whatever else is configured.
pub(super) fn own_header(name: &str, value: &Secret) -> Result<(HeaderName, HeaderValue), ConfigError> {
    let field = format!("headers.{name}");
    // What does not fit may be a whole header, with its value.
    let parsed: Option<HeaderName> = name.parse().ok();
    let name = parsed.ok_or_else(|| invalid("headers", "one of them has a name that no header can have"))?;
    if OWN_HEADERS.contains(&name) {
        return Err(invalid(&field, "is set by the client itself"));
    }
    let value: Option<HeaderValue> = value.expose().parse().ok();
    let mut value =
        value.ok_or_else(|| invalid(&field, "its value holds other characters than visible ASCII"))?;
    value.set_sensitive(true);
    Ok((name, value))
}

fn invalid(field: &str, problem: &str) -> ConfigError {
    ConfigError::Invalid {
        field: field.into(),
        problem: problem.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_header_is_told_without_its_value() {
        let check = |name: &str, value: &str, expected: &str| {
            let error = check_header(name, &Secret::from(value)).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{error}");
        };
        check(
            "Authorization: Bearer hunter2",
            "x",
            "a name that no header can have",
        );
        check(
            "X-Scope-OrgID",
            "hunter2\n",
            "X-Scope-OrgID: its value holds other characters",
        );
        check("Host", "hunter2", "is set by the client itself");
        assert!(check_header("X-Scope-OrgID", &Secret::from("team")).is_ok());
    }
}
