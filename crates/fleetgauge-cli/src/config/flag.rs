//! Errors of settings, told of the flags that set them: who types `--ca-file` need not know of `tls.ca_file`.

use fleetgauge::prometheus::ConfigError;

use crate::cli::{AccessArgs, SourceArgs};
use crate::failure::Usage;
use crate::input;

/// The error, with the flag in place of the setting, if a flag set it.
pub(crate) fn name_flag(
    error: ConfigError,
    access: &AccessArgs,
    source: Option<&SourceArgs>,
) -> anyhow::Error {
    let flag = match &error {
        ConfigError::Invalid { field, .. } | ConfigError::File { field, .. } => flag(field, access, source),
        _ => None,
    };
    match (flag, error) {
        (Some(field), ConfigError::Invalid { problem, .. }) => {
            let token_file = access.bearer_token_file.as_deref();
            let problem = match token_file.and_then(|path| path.to_str()) {
                Some(path) if input::looks_like_path(path) => {
                    problem.replacen("the file that it names", path, 1)
                }
                _ => problem,
            };
            let problem = match token_file {
                Some(_) => problem.replacen("`auth`", BEARER, 1),
                None => problem,
            };
            let is_file = field == BEARER;
            let error = ConfigError::Invalid { field, problem };
            if is_file {
                error.into()
            } else {
                Usage(error.to_string()).into()
            }
        }
        (
            Some(field),
            ConfigError::File {
                path,
                problem,
                source,
                ..
            },
        ) => ConfigError::File {
            field,
            path,
            problem,
            source,
        }
        .into(),
        (_, error) => error.into(),
    }
}

const BEARER: &str = "--bearer-token-file";

/// The flag that set the field, if one did.
fn flag(field: &str, access: &AccessArgs, source: Option<&SourceArgs>) -> Option<String> {
    let one = |is_given: bool, flag: &str| is_given.then(|| flag.to_owned());
    match field {
        "auth" | "auth.bearer" => one(access.bearer_token_file.is_some(), BEARER),
        "tls.ca_file" => one(access.ca_file.is_some(), "--ca-file"),
        "tls.client_cert_file and tls.client_key_file" => {
            one(access.cert_file.is_some(), "--cert-file and --key-file")
        }
        "tls.server_name" => one(access.server_name.is_some(), "--server-name"),
        // Names that no header can have are refused in a file before.
        "headers" => one(
            source.is_some_and(|source| !source.headers.is_empty()),
            "--header",
        ),
        // What `scrape` sets by its only duration.
        "interval" | "timeout" => one(source.is_none(), "--timeout"),
        _ => {
            let (map, name) = field.split_once('.')?;
            let (pairs, flag) = match map {
                "headers" => (&source?.headers, "--header"),
                "query_params" => (&source?.query_params, "--query-param"),
                _ => return None,
            };
            let mut names = pairs.iter().map(|(name, _)| name);
            let typed = names.find(|typed| typed.eq_ignore_ascii_case(name))?;
            Some(format!("{flag} {typed}"))
        }
    }
}
