//! Whose an API group of metrics is, and whether the API server gets through to him.

use std::sync::Arc;

use fleetgauge_kube::survey::{self, Survey};
use fleetgauge_server::door::kubernetes;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, RootCertStore};
use serde_json::Value;

use super::report::Report;
use crate::config::{Config, DoorTls};
use crate::pem;

/// Who answers for a group.
pub(super) enum Server {
    /// A daemon as this one.
    Ours,
    /// Somebody else, by namespace and name of his Service.
    Other(String),
    /// Nobody.
    Nobody,
    /// It is not known.
    Unknown,
}

/// Looks who has the group. Only where it is the daemon's to answer, something is wrong with what it lacks.
pub(super) async fn examine(
    survey: &Survey,
    group: &str,
    version: &str,
    config: &Config,
    report: &mut Report,
) -> Server {
    let subject = &format!("apiservice {version}.{group}");
    let door = config.external_metrics.as_ref();
    // What answers says who it is; the registration may be hidden from us, and says where it is.
    let answered = survey.get(&format!("/apis/{group}/{version}")).await;
    let is_ours = matches!(&answered, Ok(Some(page)) if page.server == kubernetes::NAME);
    let path = format!("/apis/apiregistration.k8s.io/v1/apiservices/{version}.{group}");
    let found = match survey.get(&path).await {
        Ok(Some(found)) => found.body,
        Ok(None) => {
            if door.is_some() {
                report.warning(
                    subject,
                    format!("nobody is registered for {group}: HorizontalPodAutoscalers get no metrics of it"),
                    "register the daemon, as the Helm chart does it (docs/external-metrics.md), unless nobody asks for them",
                );
            }
            return Server::Nobody;
        }
        Err(error) => {
            if door.is_some() {
                report.unread(subject, &error);
            }
            return if is_ours { Server::Ours } else { Server::Unknown };
        }
    };
    let service = &found["spec"]["service"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let owner = match service.is_object() {
        true => format!("{}/{}", text(&service["namespace"]), text(&service["name"])),
        false => "the API server itself".to_owned(),
    };
    let available = found["status"]["conditions"].as_array().into_iter().flatten();
    let mut available = available.filter(|condition| condition["type"] == "Available");
    let available = available.next().cloned().unwrap_or_default();
    if available["status"] == "True" && !is_ours && matches!(answered, Ok(Some(_))) {
        if door.is_some() {
            report.warning(
                subject,
                format!(
                    "{group} is answered by {owner}, and not by this daemon: only one server may have a group"
                ),
                advice_for_other(&owner, config),
            );
        }
        return Server::Other(owner);
    }
    let Some(door) = door else { return Server::Unknown };
    let before = report_faults(subject, &found, &owner, &available, report);
    if let Some(tls) = &door.tls
        && let Some(bundle) = survey::bytes(&found["spec"]["caBundle"])
    {
        let host = format!("{}.{}.svc", text(&service["name"]), text(&service["namespace"]));
        if let Some(wrong) = wrong_certificate(&bundle, tls, &host) {
            report.error(
                subject,
                wrong,
                "let the caBundle be the authority that has signed cert_file, and that one be for the name of the Service",
            );
            return Server::Ours;
        }
    }
    if before {
        report.ok(subject, format!("{group} is answered by {owner}"), "");
    }
    Server::Ours
}

fn advice_for_other(owner: &str, config: &Config) -> String {
    let is_keda = owner.contains("keda");
    match (is_keda, config.keda.is_some()) {
        (true, true) => {
            "KEDA has it: let ScaledObjects ask, which come in by the door keda (docs/keda.md)".to_owned()
        }
        (true, false) => {
            "KEDA has it: open the door `keda`, and let ScaledObjects ask there (docs/keda.md)".to_owned()
        }
        (false, _) => format!(
            "decide which of both is to answer: as long as it is {owner}, the daemon is asked for nothing there; to move from \
             prometheus-adapter, let the APIService name the daemon's Service once it has all the metrics"
        ),
    }
}

/// Tells what is wrong with a registration; whether nothing is.
fn report_faults(subject: &str, found: &Value, owner: &str, available: &Value, report: &mut Report) -> bool {
    let mut is_fine = true;
    let spec = &found["spec"];
    let skips = spec["insecureSkipTLSVerify"] == true;
    if skips {
        is_fine = false;
        report.warning(
            subject,
            "the API server does not look whose certificate it is (insecureSkipTLSVerify): whoever is on the way can tell the \
             autoscalers any number",
            "give it the caBundle in its place",
        );
    } else if survey::bytes(&spec["caBundle"]).is_none() {
        is_fine = false;
        report.error(
            subject,
            "it has no caBundle, and the API server believes no certificate but those of public authorities",
            "let caBundle be the authority that has signed cert_file, in base64; cert-manager writes it by the annotation \
             cert-manager.io/inject-ca-from",
        );
    }
    if available["status"] != "True" {
        is_fine = false;
        let (reason, message) = (&available["reason"], &available["message"]);
        let advice = match reason.as_str().unwrap_or_default() {
            "ServiceNotFound" => "let spec.service name the daemon's Service",
            "ServicePortError" => "let spec.service.port be a port of the daemon's Service",
            "EndpointsNotFound" | "MissingEndpoints" => {
                "no pod behind the Service is ready: look at the daemon's pods, and what /readyz says there"
            }
            "FailedDiscoveryCheck" => {
                "the API server does not get through, or not the right answer: see that the Service's targetPort is that of \
                 external_metrics.listen, that no NetworkPolicy keeps it out, and that the caBundle fits"
            }
            _ => "",
        };
        let text = |value: &Value| value.as_str().unwrap_or("it does not say why").to_owned();
        report.error(
            subject,
            format!("{owner} is not available: {}: {}", text(reason), text(message)),
            advice,
        );
    }
    is_fine
}

/// What the API server will find wrong with the certificate of the door. Nothing is said of one that is not here, or of what
/// others judge otherwise than we do.
fn wrong_certificate(bundle: &[u8], tls: &DoorTls, host: &str) -> Option<String> {
    let chain = pem::certificates(&tls.cert_file).ok()?;
    let (end, between) = chain.split_first()?;
    let mut roots = RootCertStore::empty();
    let bundled: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bundle).collect();
    for certificate in bundled.unwrap_or_default() {
        // One that is not read is not believed either.
        let _ = roots.add(certificate);
    }
    if roots.is_empty() {
        return Some("its caBundle has no certificate".to_owned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = verifier.build().ok()?;
    let name = ServerName::try_from(host.to_owned()).ok()?;
    let verified = verifier.verify_server_cert(end, between, &name, &[], UnixTime::now());
    let file = tls.cert_file.display();
    match verified {
        Err(rustls::Error::InvalidCertificate(error)) => match error {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                Some(format!("its caBundle is not of who has signed {file}"))
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Some(format!("{file} is not for {host}, by which the API server asks"))
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                Some(format!("{file} has expired"))
            }
            _ => None,
        },
        _ => None,
    }
}
