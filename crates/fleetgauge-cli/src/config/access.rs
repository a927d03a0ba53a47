//! Who asks, whom to trust, and through what: the same fields for every source that talks to a server.

use std::path::{Path, PathBuf};

use fleetgauge::document::{Fields, Node, Reader};
use fleetgauge::file;
use fleetgauge::prometheus::{Auth, ConfigError, ProxyConfig, TlsConfig};
use fleetgauge_core::printable::Printable;

use crate::input;

/// No token and no certificate is longer, as the client reads them.
const MAX_SECRET_BYTES: u64 = 1 << 20;

/// `basic_auth`, `bearer_token`, `bearer_token_file`, `tls` and `proxy`.
#[derive(Default)]
pub(crate) struct Access {
    pub(super) auth: Auth,
    pub(super) tls: TlsConfig,
    /// `None`: that of the environment.
    pub(crate) proxy: Option<ProxyConfig>,
}

/// Takes the fields from a section. Relative paths begin at `directory`.
pub(super) fn read_access(fields: &mut Fields<'_>, directory: &Path, reader: &mut Reader) -> Access {
    let basic = fields.take("basic_auth");
    let token = fields.take("bearer_token");
    let token_file = fields.take("bearer_token_file");
    let mut ways = [basic, token, token_file].into_iter().flatten();
    if let (Some(_), Some(second)) = (ways.next(), ways.next()) {
        let message = "only one of basic_auth, bearer_token and bearer_token_file can be used";
        reader.problem(second.position(), message);
    }
    let auth = basic
        .and_then(|node| read_basic_auth(node, directory, reader))
        .or_else(|| {
            let token = token.and_then(|node| reader.secret(node))?.into();
            Some(Auth::Bearer { token })
        })
        .or_else(|| {
            let token_file = read_path(token_file, "bearer_token_file", directory, reader)?;
            Some(Auth::BearerFile { token_file })
        });
    let tls = fields.take("tls").map(|node| read_tls(node, directory, reader));
    let proxy = fields.take("proxy").and_then(|node| read_proxy(node, reader));
    Access {
        auth: auth.unwrap_or_default(),
        tls: tls.unwrap_or_default(),
        proxy,
    }
}

/// The proxy that `text` names, a URL or `none`; `None` leaves it to the environment.
///
/// *Errors*: what is wrong with the URL, without the password in it.
pub(crate) fn named_proxy(text: &str) -> Result<Option<ProxyConfig>, ConfigError> {
    match text {
        "environment" => Ok(None),
        "none" => Ok(Some(ProxyConfig::none())),
        url => ProxyConfig::url(url).map(Some),
    }
}

fn read_proxy(node: &Node, reader: &mut Reader) -> Option<ProxyConfig> {
    match named_proxy(reader.text(node)?) {
        Ok(proxy) => proxy,
        Err(error) => {
            reader.problem(node.position(), problem_of(&error));
            None
        }
    }
}

/// What is wrong, without the name of the setting: the place in the file says more.
pub(super) fn problem_of(error: &ConfigError) -> String {
    match error {
        ConfigError::Invalid { problem, .. } => problem.clone(),
        other => other.to_string(),
    }
}

fn read_basic_auth(node: &Node, directory: &Path, reader: &mut Reader) -> Option<Auth> {
    let mut fields = reader.fields(node, "basic_auth")?;
    let username = fields
        .require("username", reader)
        .and_then(|node| reader.text(node));
    let password = fields.take("password");
    let password_file = fields.take("password_file");
    fields.finish(reader);
    let user = username?.to_owned();
    match (password, password_file) {
        (Some(password), None) => {
            let password = reader.secret(password)?.into();
            Some(Auth::Basic { user, password })
        }
        (None, Some(_)) => {
            let password_file = read_path(password_file, "password_file", directory, reader)?;
            Some(Auth::BasicFile { user, password_file })
        }
        _ => {
            let message = "basic_auth takes either password or password_file";
            reader.problem(node.position(), message);
            None
        }
    }
}

fn read_tls(node: &Node, directory: &Path, reader: &mut Reader) -> TlsConfig {
    let mut tls = TlsConfig::default();
    let Some(mut fields) = reader.fields(node, "tls") else {
        return tls;
    };
    tls.ca_file = read_path(fields.take("ca_file"), "ca_file", directory, reader);
    let (cert, key) = (fields.take("cert_file"), fields.take("key_file"));
    if cert.is_some() != key.is_some() {
        let message = "a client certificate takes both cert_file and key_file";
        reader.problem(node.position(), message);
    }
    tls.client_cert_file = read_path(cert, "cert_file", directory, reader);
    tls.client_key_file = read_path(key, "key_file", directory, reader);
    let name = fields.take("server_name").and_then(|node| reader.text(node));
    tls.server_name = name.map(str::to_owned);
    let skip = fields.take("insecure_skip_verify");
    tls.insecure_skip_verify = skip.and_then(|node| reader.bool(node)).unwrap_or(false);
    fields.finish(reader);
    tls
}

/// The path in a field, from the directory of the file that it stands in; a warning if it cannot be used here. It may
/// be a secret that was put into the wrong field.
fn read_path(node: Option<&Node>, field: &str, directory: &Path, reader: &mut Reader) -> Option<PathBuf> {
    let node = node?;
    let typed = reader.secret(node)?;
    let path = directory.join(typed);
    // It may be there where the configuration is used.
    if let Err(error) = file::read(&path, MAX_SECRET_BYTES) {
        let named = if path.exists() || input::looks_like_path(typed) {
            Printable(&path.to_string_lossy()).to_string()
        } else {
            format!("<what {field} names>")
        };
        reader.warning(node.position(), format!("{named} {}", error.problem()));
    }
    Some(path)
}
