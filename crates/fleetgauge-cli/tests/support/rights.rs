//! Service accounts of a real cluster, and what they may do there.

use std::fs;
use std::path::Path;

use fleetgauge_testcluster::Cluster;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};

/// A kubeconfig of the service account `name`, with a token that it is given now.
pub(crate) fn kubeconfig(cluster: &Cluster, namespace: &str, name: &str) -> String {
    let token = cluster
        .kubectl(&["create", "token", name, "--namespace", namespace])
        .unwrap();
    let text = fs::read_to_string(cluster.kubeconfig()).unwrap();
    let mut kubeconfig: Value = serde_json::from_str(&text).unwrap();
    kubeconfig["users"][0]["user"] = json!({"token": token.trim()});
    kubeconfig.to_string()
}

/// Makes the objects, or puts them in the place of those before.
pub(crate) fn apply(cluster: &Cluster, objects: &Value) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("objects.json");
    fs::write(
        &file,
        json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string(),
    )
    .unwrap();
    let file = file.display().to_string();
    cluster
        .kubectl(&["apply", "--server-side", "--force-conflicts", "--filename", &file])
        .unwrap();
}

/// Gives a service account of the namespace `default` these rights in the whole cluster, and no others.
pub(crate) fn give(cluster: &Cluster, account: &str, rules: &Value) {
    apply(
        cluster,
        &json!([
            {
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                "metadata": {"name": account}, "rules": rules,
            },
            {
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
                "metadata": {"name": account},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": account},
                "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": "default"}],
            },
        ]),
    );
}

/// Lets a service account of the namespace `default` read whose certificates are believed.
pub(crate) fn give_config_map(cluster: &Cluster, account: &str) {
    apply(
        cluster,
        &json!([{
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": account, "namespace": "kube-system"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io", "kind": "Role",
                "name": "extension-apiserver-authentication-reader",
            },
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": "default"}],
        }]),
    );
}

/// Writes `tls.crt` and `tls.key` for a server of this name; gives the certificate of their authority.
pub(crate) fn certificate(directory: &Path, host: &str) -> String {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([host.to_owned()]).unwrap();
    let signed = params.signed_by(&key, &issuer).unwrap();
    fs::write(directory.join("tls.crt"), signed.pem()).unwrap();
    fs::write(directory.join("tls.key"), key.serialize_pem()).unwrap();
    authority
}
