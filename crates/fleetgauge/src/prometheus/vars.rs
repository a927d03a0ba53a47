//! Configuration by the variables that the ecosystem's controllers read.
//!
//! Pure: the variables are handed in, as a library reads no environment.

use std::path::PathBuf;

use super::config::PrometheusSourceConfig;
use super::endpoint::Base;
use crate::client::credentials::bearer;
use crate::client::tls::server_name;
use crate::client::{Auth, ConfigError, ProxyConfig};

impl PrometheusSourceConfig {
    /// The configuration in these variables; all others, and empty ones, are ignored.
    ///
    /// | variable | is |
    /// |---|---|
    /// | `PROMETHEUS_BASE_URL` | [`url`](Self::url), required |
    /// | `PROMETHEUS_BEARER_TOKEN` | the token of [`Auth::Bearer`] |
    /// | `PROMETHEUS_TLS_INSECURE_SKIP_VERIFY` | `insecure_skip_verify`: `true` or `false`, as Go reads them |
    /// | `PROMETHEUS_CA_CERT_PATH` | `ca_file` |
    /// | `PROMETHEUS_CLIENT_CERT_PATH` | `client_cert_file` |
    /// | `PROMETHEUS_CLIENT_KEY_PATH` | `client_key_file` |
    /// | `PROMETHEUS_SERVER_NAME` | `server_name` |
    /// | `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY` | [`proxy`](Self::proxy), by [`ProxyConfig::from_vars`] |
    ///
    /// *Errors*: [`ConfigError`], which names the variable. Files are read when the source is made.
    ///
    /// ```
    /// use fleetgauge::prometheus::PrometheusSourceConfig;
    ///
    /// let vars = [("PROMETHEUS_BASE_URL".to_owned(), "https://prometheus:9090".to_owned())];
    /// let config = PrometheusSourceConfig::from_vars(vars)?;
    /// assert_eq!(config.url, "https://prometheus:9090");
    /// # Ok::<(), fleetgauge::prometheus::ConfigError>(())
    /// ```
    pub fn from_vars(vars: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        let vars: Vec<_> = vars.into_iter().collect();
        config.proxy = ProxyConfig::from_vars(vars.iter().cloned())?;
        let tls = &mut config.tls;
        for (name, value) in vars {
            if value.is_empty() {
                continue;
            }
            match &*name {
                URL => config.url = value,
                TOKEN => {
                    bearer(&value).map_err(|problem| invalid(TOKEN, problem))?;
                    config.auth = Auth::Bearer { token: value.into() };
                }
                INSECURE => {
                    tls.insecure_skip_verify = parse_bool(&value).ok_or_else(|| {
                        invalid(
                            INSECURE,
                            format!("{value:?} is not a boolean; use \"true\" or \"false\""),
                        )
                    })?;
                }
                CA => tls.ca_file = Some(PathBuf::from(value)),
                CERT => tls.client_cert_file = Some(PathBuf::from(value)),
                KEY => tls.client_key_file = Some(PathBuf::from(value)),
                SERVER_NAME => {
                    server_name(&value).map_err(|error| renamed(SERVER_NAME, error))?;
                    tls.server_name = Some(value);
                }
                _ => {}
            }
        }
        for (set, set_file, missing, missing_file) in [
            (CERT, &tls.client_cert_file, KEY, &tls.client_key_file),
            (KEY, &tls.client_key_file, CERT, &tls.client_cert_file),
        ] {
            if set_file.is_some() && missing_file.is_none() {
                let problem = format!("missing, while {set} is set; a client certificate takes both");
                return Err(invalid(missing, problem));
            }
        }
        match Base::parse(&config.url) {
            Err(error) => Err(renamed(URL, error)),
            Ok(base) if base.user.is_some() && config.auth != Auth::None => {
                let problem = format!("set, while {URL} holds a user; only one of them can be used");
                Err(invalid(TOKEN, problem))
            }
            Ok(_) => Ok(config),
        }
    }
}

const URL: &str = "PROMETHEUS_BASE_URL";
const TOKEN: &str = "PROMETHEUS_BEARER_TOKEN";
const INSECURE: &str = "PROMETHEUS_TLS_INSECURE_SKIP_VERIFY";
const CA: &str = "PROMETHEUS_CA_CERT_PATH";
const CERT: &str = "PROMETHEUS_CLIENT_CERT_PATH";
const KEY: &str = "PROMETHEUS_CLIENT_KEY_PATH";
const SERVER_NAME: &str = "PROMETHEUS_SERVER_NAME";

fn invalid(variable: &str, problem: String) -> ConfigError {
    ConfigError::Invalid {
        field: variable.into(),
        problem,
    }
}

/// What is wrong with a value, told of the variable that it came from.
fn renamed(variable: &str, error: ConfigError) -> ConfigError {
    match error {
        ConfigError::Invalid { problem, .. } => invalid(variable, problem),
        other => other,
    }
}

/// Source: <https://pkg.go.dev/strconv#ParseBool>.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(vars: &[(&str, &str)]) -> Result<PrometheusSourceConfig, ConfigError> {
        let vars = vars.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        PrometheusSourceConfig::from_vars(vars)
    }

    #[test]
    fn every_variable_is_honoured() {
        let config = from(&[
            ("PROMETHEUS_BASE_URL", "https://prom/p"),
            ("PROMETHEUS_BEARER_TOKEN", "hunter2"),
            ("PROMETHEUS_TLS_INSECURE_SKIP_VERIFY", "T"),
            ("PROMETHEUS_CA_CERT_PATH", "/ca"),
            ("PROMETHEUS_CLIENT_CERT_PATH", "/cert"),
            ("PROMETHEUS_CLIENT_KEY_PATH", "/key"),
            ("PROMETHEUS_SERVER_NAME", "name"),
            ("HTTPS_PROXY", "http://u:hunter2@proxy:3128"),
            ("PATH", "/bin"),
        ])
        .unwrap();
        let shown = format!("{config:?}");
        for expected in [
            "url: \"https://prom/p\"",
            "Bearer { token: <secret> }",
            "ca_file: Some(\"/ca\")",
            "client_cert_file: Some(\"/cert\")",
            "client_key_file: Some(\"/key\")",
            "server_name: Some(\"name\")",
            "insecure_skip_verify: true",
            "https: Some(\"http://proxy:3128\")",
        ] {
            assert!(shown.contains(expected), "{expected} in {shown}");
        }
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn empty_variables_count_as_unset() {
        let config = from(&[
            ("PROMETHEUS_BASE_URL", "http://prom"),
            ("PROMETHEUS_BEARER_TOKEN", ""),
            ("PROMETHEUS_TLS_INSECURE_SKIP_VERIFY", ""),
            ("PROMETHEUS_CLIENT_KEY_PATH", ""),
        ])
        .unwrap();
        assert_eq!((config.auth, config.tls), (Auth::None, Default::default()));
    }

    #[test]
    fn errors_name_the_variable_and_what_would_be_right() {
        let check = |vars: &[(&str, &str)], expected: &[&str]| {
            let error = from(vars).unwrap_err().to_string();
            assert!(expected.iter().all(|e| error.contains(e)), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        };
        let url = (URL, "http://prom");
        check(&[], &[URL, "missing", "http://prometheus"]);
        check(&[(URL, "ftp://prom:9090")], &[URL, "must be http or https"]);
        check(&[url, (INSECURE, "yes")], &[INSECURE, "\"yes\"", "\"true\""]);
        check(&[url, (CERT, "/c")], &[KEY, "missing", CERT]);
        check(&[url, (KEY, "/k")], &[CERT, "missing", KEY]);
        check(&[url, (TOKEN, "hunter2\n")], &[TOKEN, "control character"]);
        check(
            &[url, (SERVER_NAME, "a b")],
            &[SERVER_NAME, "\"a b\"", "DNS name"],
        );
        check(&[(URL, "http://u:hunter2@prom"), (TOKEN, "t")], &[TOKEN, URL]);
    }
}
