//! The External Metrics API and the Custom Metrics API, behind the API server's aggregator: what HorizontalPodAutoscalers
//! scale by.
//!
//! An HPA takes what it is told for all there is, and adds items up. So a number that is withheld is an error with its
//! reason, never an item with 0 and never an empty list, and rows are told together only where their sum means something.
//!
//! - [`selector`]: label selectors, read and applied
//! - [`quantity`]: numbers as Kubernetes writes them
//! - [`pods`]: what has to be known of pods beside their metrics
//! - [`caller`]: who asks, and what the cluster says of that
//! - [`trust`]: whose certificates are believed
//!
//! *Source*: <https://github.com/kubernetes/metrics>

pub mod caller;
mod custom;
mod group;
mod guard;
mod openapi;
pub mod pods;
pub mod quantity;
mod remembered;
mod rows;
pub mod selector;
mod status;
pub mod trust;
mod user;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::{CONTENT_TYPE, SERVER, VARY};
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router, middleware};
use fleetgauge_core::printable::{Excerpt, Quoted};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::excess::bounded;
use super::health;
use crate::readiness::Readiness;
use crate::store::Store;

use caller::{Access, Cluster};
use custom::Which;
use group::Group;
use guard::{Caller, Guard};
use pods::PodLabels;
use rows::Told;
use selector::Selector;
use status::Failure;

/// What the door shows.
#[derive(Clone)]
struct Served(Arc<Inner>);

struct Inner {
    store: Store,
    pods: Box<dyn PodLabels>,
}

/// What clients of Kubernetes send with any list, and what changes no answer of ours.
const OF_ANY_LIST: [&str; 9] = [
    "allowWatchBookmarks",
    "continue",
    "limit",
    "pretty",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeout",
    "timeoutSeconds",
];

/// What the header `Server` of all answers says.
pub const NAME: &str = "fleetgauge";

const LABEL_SELECTOR: &str = "labelSelector";
const METRIC_LABEL_SELECTOR: &str = "metricLabelSelector";

/// The door's routes over `store`, for whoever `cluster` lets in; `pods` knows the labels of pods.
///
/// Who asks is known by the certificates of the connection, which a [listener](crate::door::listener) tells that
/// [asks for them](crate::door::listener::asking_for_certificates).
pub fn routes(store: Store, readiness: Readiness, cluster: Arc<dyn Cluster>, pods: impl PodLabels) -> Router {
    let guard = Guard::new(cluster, store.clock().clone());
    let served = Served(Arc::new(Inner {
        store,
        pods: Box::new(pods),
    }));
    let mut api = Router::new()
        .route("/apis", get(groups))
        .route("/openapi/v2", get(async || Json(openapi::v2())))
        .route("/openapi/v3", get(async || Json(openapi::v3_index())));
    for group in Group::ALL {
        let (name, group_version) = (group.name(), group.group_version());
        let resources =
            async move |State(served): State<Served>| Json(group::resources(group, &served.0.store));
        api = api
            .route(
                &format!("/apis/{name}"),
                get(async move || Json(group::group(group))),
            )
            .route(&format!("/apis/{group_version}"), get(resources))
            .route(
                &format!("/openapi/v3/apis/{group_version}"),
                get(async move || Json(openapi::v3(group))),
            );
    }
    let external = format!(
        "/apis/{}/namespaces/{{namespace}}/{{metric}}",
        Group::External.group_version()
    );
    let custom = format!(
        "/apis/{}/namespaces/{{namespace}}/{{resource}}/{{object}}/{{metric}}",
        Group::Custom.group_version()
    );
    let unknown = || async { Failure::not_found("the server could not find the requested resource") };
    let not_so = || async { Failure::new(StatusCode::METHOD_NOT_ALLOWED, "this is read by GET") };
    let metrics = Router::new()
        .route(&external, get(external_metric))
        .route(&custom, get(custom_metric))
        .method_not_allowed_fallback(not_so);
    let api = api
        .method_not_allowed_fallback(not_so)
        .fallback(unknown)
        .layer(middleware::from_fn(guard::may_see_page))
        .merge(metrics)
        .layer(middleware::from_fn_with_state(guard, guard::authenticate))
        .with_state(served);
    let alive = Router::new().route("/healthz", get(async || "ok"));
    // Who asks by way of the API server sees by it whose the group is.
    let api = api.layer(middleware::map_response(async |mut response: Response| {
        response
            .headers_mut()
            .insert(SERVER, HeaderValue::from_static(NAME));
        response
    }));
    bounded(api.merge(alive).merge(health::routes(readiness)), |excess| {
        Failure::from(excess).into_response()
    })
}

async fn groups(State(served): State<Served>, request: Request) -> Response {
    let vary = (VARY, "Accept");
    match group::is_aggregated(request.headers()) {
        true => {
            let all = Json(group::aggregated(&served.0.store));
            ([vary, (CONTENT_TYPE, group::AGGREGATED)], all).into_response()
        }
        false => ([vary], Json(group::groups())).into_response(),
    }
}

async fn external_metric(
    State(served): State<Served>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
) -> Result<Response, Failure> {
    let Path((namespace, name)) = path.map_err(|error| Failure::bad_request(error.body_text()))?;
    let group = Group::External;
    let what = Access::Resource {
        verb: "list",
        group: group.name(),
        version: group.version(),
        namespace: namespace.clone(),
        resource: name.clone(),
        name: String::new(),
        subresource: String::new(),
    };
    caller.may(what).await?;
    let answer = || {
        let params = Params::read(&uri, &[LABEL_SELECTOR])?;
        let selector = params.selector(LABEL_SELECTOR)?;
        let store = &served.0.store;
        let snapshot = rows::metric(store, &name, &namespace)?.read(store.clock());
        let told = rows::external(&snapshot, store.clock(), &namespace, &selector)?;
        let items = told.iter().map(|told| {
            let labels: BTreeMap<&str, &str> = told.row.labels().collect();
            let mut item = item(told, "window");
            item["metricName"] = (*name).into();
            item["metricLabels"] = json!(labels);
            item
        });
        Ok(list(group, items.collect()))
    };
    answer().map_err(|failure: Failure| failure.about(group.name(), &name))
}

async fn custom_metric(
    State(served): State<Served>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<(String, String, String, String)>, PathRejection>,
    uri: Uri,
) -> Result<Response, Failure> {
    let Path((namespace, resource, object, name)) =
        path.map_err(|error| Failure::bad_request(error.body_text()))?;
    let group = Group::Custom;
    let what = Access::Resource {
        verb: "get",
        group: group.name(),
        version: group.version(),
        namespace: namespace.clone(),
        resource: resource.clone(),
        name: object.clone(),
        subresource: name.clone(),
    };
    caller.may(what).await?;
    let answer = || {
        if resource != "pods" {
            let resource = Excerpt(&resource);
            return Err(Failure::not_found(format!(
                "pods have metrics here, and {resource} have none"
            )));
        }
        let params = Params::read(&uri, &[LABEL_SELECTOR, METRIC_LABEL_SELECTOR])?;
        let labelled = params.selector(LABEL_SELECTOR)?;
        let selector = params.selector(METRIC_LABEL_SELECTOR)?;
        let which = match &*object {
            "*" => Which::Labelled(labelled),
            _ if !labelled.is_empty() => {
                return Err(Failure::bad_request(
                    "a pod is meant by its name or by its labels, and not by both",
                ));
            }
            _ => Which::Named(object.clone()),
        };
        let store = &served.0.store;
        let snapshot = rows::metric(store, &name, &namespace)?.read(store.clock());
        let told = custom::custom(
            &snapshot,
            store.clock(),
            &namespace,
            &which,
            &selector,
            &*served.0.pods,
        )?;
        let items = told.iter().map(|(pod, told)| {
            let mut item = item(told, "windowSeconds");
            item["describedObject"] =
                json!({"kind": "Pod", "namespace": namespace, "name": pod, "apiVersion": "v1"});
            item["metric"] = json!({"name": name, "selector": null});
            item
        });
        Ok(list(group, items.collect()))
    };
    answer().map_err(|failure: Failure| failure.about(group.name(), &name))
}

/// What both groups tell of a row alike; `window` is what its window is called.
fn item(told: &Told<'_>, window: &str) -> Value {
    let mut item = json!({"timestamp": told.timestamp, "value": told.value});
    if let Some(seconds) = told.window_seconds {
        item[window] = seconds.into();
    }
    item
}

fn list(group: Group, items: Vec<Value>) -> Response {
    let list = json!({
        "kind": group.list_kind(),
        "apiVersion": group.group_version(),
        "metadata": {},
        "items": items,
    });
    Json(list).into_response()
}

/// What stands after the path.
struct Params(Vec<(String, String)>);

// === impl Params ===

impl Params {
    /// *Errors*: a parameter that is not known, and might have said which rows are meant.
    fn read(uri: &Uri, known: &[&str]) -> Result<Self, Failure> {
        let query = uri.query().unwrap_or_default();
        if percent_decode_str(query).decode_utf8().is_err() {
            let query = Excerpt(query);
            return Err(Failure::bad_request(format!(
                "{query} is not percent-encoded UTF-8"
            )));
        }
        let mut params = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "watch" | "fieldSelector" if matches!(&*value, "" | "0" | "false") => {}
                name if OF_ANY_LIST.contains(&name) => {}
                name if !known.contains(&name) => {
                    let (name, known) = (Quoted(name), known.join(" and "));
                    return Err(Failure::bad_request(format!(
                        "the parameter {name} is not known here; {known} is"
                    )));
                }
                name if params.iter().any(|(before, _)| before == name) => {
                    return Err(Failure::bad_request(format!("{name} is given more than once")));
                }
                name => params.push((name.to_owned(), value.into_owned())),
            }
        }
        Ok(Self(params))
    }

    fn selector(&self, name: &str) -> Result<Selector, Failure> {
        let given = self.0.iter().find(|(known, _)| known == name);
        match given {
            None => Ok(Selector::default()),
            Some((_, text)) => text
                .parse()
                .map_err(|error| Failure::bad_request(format!("{name}: {error}"))),
        }
    }
}
