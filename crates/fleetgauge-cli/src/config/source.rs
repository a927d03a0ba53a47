//! The Prometheus that is meant: what the file says, under the environment, under the flags.

use fleetgauge::prometheus::{Auth, PrometheusSourceConfig};

use super::prometheus::{from_section, proxy};
use super::{Config, Environment};
use crate::cli::SourceArgs;
use crate::failure::Usage;
use crate::output;

const URL: &str = "PROMETHEUS_BASE_URL";
const INSECURE: &str = "PROMETHEUS_TLS_INSECURE_SKIP_VERIFY";

/// Merges the three, field by field.
pub(crate) fn prometheus_source(
    config: &Config,
    environment: &Environment,
    args: &SourceArgs,
) -> anyhow::Result<PrometheusSourceConfig> {
    let mut source = from_section(config.prometheus());
    let url = args.prometheus.as_deref().or(environment.get(URL));
    if let Some(url) = url
        && !source.url.is_empty()
        && belongs_elsewhere(&source, url, "the configuration file")
    {
        source.auth = Auth::None;
        source.headers.clear();
        (source.tls.client_cert_file, source.tls.client_key_file) = (None, None);
    }
    overlay_environment(&mut source, environment, args.prometheus.as_deref())?;
    overlay_flags(&mut source, args)?;
    let section = config.prometheus().access.proxy.as_ref();
    source.proxy = proxy(args.access.proxy.as_deref(), section, environment)?;
    if source.url.is_empty() {
        let message = "no Prometheus is named; use --prometheus URL, the variable PROMETHEUS_BASE_URL, or \
                       prometheus.url in the file of --config";
        return Err(Usage(message.to_owned()).into());
    }
    Ok(source)
}

/// Whether flag, environment or file say where the source `prometheus` is.
pub(crate) fn names_prometheus(config: &Config, environment: &Environment, args: &SourceArgs) -> bool {
    args.prometheus.is_some() || environment.get(URL).is_some() || config.prometheus().url.is_some()
}

/// Whether `layer` has credentials for its own server, and another server is asked. They are then not sent
/// there: a token that stands beside one URL was not given for another.
fn belongs_elsewhere(layer: &PrometheusSourceConfig, url: &str, name: &str) -> bool {
    let credentials =
        layer.auth != Auth::None || !layer.headers.is_empty() || layer.tls.client_cert_file.is_some();
    let own = layer.origin();
    let elsewhere = own != PrometheusSourceConfig::new(url).origin();
    if credentials && elsewhere {
        let own = own.as_deref().unwrap_or("its own URL");
        output::note(&format!(
            "warning: the credentials of {name} are for {own}, and are not sent to another server"
        ));
    }
    credentials && elsewhere
}

fn overlay_environment(
    source: &mut PrometheusSourceConfig,
    environment: &Environment,
    given_url: Option<&str>,
) -> anyhow::Result<()> {
    let own_url = environment.get(URL).filter(|_| given_url.is_none());
    // The library wants a URL among the variables; where another one is meant, any will do.
    let stand_in = own_url
        .is_none()
        .then(|| (URL.to_owned(), "http://localhost".to_owned()));
    // The proxies are read apart: a broken one does no harm where another is named.
    let vars = environment.vars().filter(|(name, _)| {
        (name != URL || own_url.is_some()) && !name.to_ascii_uppercase().ends_with("_PROXY")
    });
    let mut from = PrometheusSourceConfig::from_vars(vars.chain(stand_in))?;
    if own_url.is_some() {
        source.url = from.url.clone();
    }
    if let (Some(given), Some(own)) = (given_url, environment.get(URL)) {
        from.url = own.to_owned();
        if belongs_elsewhere(&from, given, "the environment") {
            from.auth = Auth::None;
            (from.tls.client_cert_file, from.tls.client_key_file) = (None, None);
        }
    }
    if from.auth != Auth::None {
        source.auth = from.auth;
    }
    let tls = &mut source.tls;
    tls.ca_file = from.tls.ca_file.or(tls.ca_file.take());
    tls.client_cert_file = from.tls.client_cert_file.or(tls.client_cert_file.take());
    tls.client_key_file = from.tls.client_key_file.or(tls.client_key_file.take());
    tls.server_name = from.tls.server_name.or(tls.server_name.take());
    if environment.get(INSECURE).is_some() {
        tls.insecure_skip_verify = from.tls.insecure_skip_verify;
    }
    Ok(())
}

fn overlay_flags(source: &mut PrometheusSourceConfig, args: &SourceArgs) -> Result<(), Usage> {
    if let Some(url) = &args.prometheus {
        let checked = PrometheusSourceConfig::from_vars([(URL.to_owned(), url.clone())]);
        if let Err(error) = checked {
            let error = error.to_string().replacen(URL, "--prometheus", 1);
            return Err(Usage(error.replacen("`query_params`", "--query-param", 1)));
        }
        source.url = url.clone();
    }
    if let Some(timeout) = args.timeout {
        source.query_timeout = timeout;
    }
    for (name, value) in &args.headers {
        source
            .headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        source.headers.push((name.clone(), value.as_str().into()));
    }
    for (name, value) in &args.query_params {
        source.query_params.retain(|(known, _)| known != name);
        source.query_params.push((name.clone(), value.as_str().into()));
    }
    if let Some(file) = &args.access.bearer_token_file {
        *source = source.clone().with_bearer_token_file(file);
    }
    let tls = &mut source.tls;
    tls.ca_file = args.access.ca_file.clone().or(tls.ca_file.take());
    tls.client_cert_file = args.access.cert_file.clone().or(tls.client_cert_file.take());
    tls.client_key_file = args.access.key_file.clone().or(tls.client_key_file.take());
    tls.server_name = args.access.server_name.clone().or(tls.server_name.take());
    tls.insecure_skip_verify |= args.access.insecure_skip_verify;
    Ok(())
}
