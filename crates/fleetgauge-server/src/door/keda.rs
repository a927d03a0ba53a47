//! KEDA's external scaler, over gRPC: <https://keda.sh/docs/latest/concepts/external-scalers/>
//!
//! What a metric is held to is told from the trigger alone, at any time: KEDA counts only failures of `GetMetrics` towards
//! a ScaledObject's `fallback`, and freezes without it where the specification fails. A number that is withheld is an error
//! with its reason, never 0 and never inactive.

mod bound;
mod health;
pub mod proto;
mod row;
mod trigger;

use std::time::Duration;

use axum::{Router, middleware};
use futures_util::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_server::HealthServer;

use super::access::Access;
use super::listener::Limits;
use crate::readiness::Readiness;
use crate::store::Store;

use bound::Bounds;
use health::Checks;
use proto::external_scaler_server::{ExternalScaler, ExternalScalerServer};
use proto::{
    GetMetricSpecResponse, GetMetricsRequest, GetMetricsResponse, IsActiveResponse, MetricSpec, MetricValue,
    ScaledObjectRef,
};
use row::{Refusal, ScaledObject};
use trigger::{MIN, Trigger};

/// The largest message that is read. A trigger's metadata are a few lines.
const MAX_MESSAGE: usize = 64 << 10;
/// How long an open stream pauses between two looks at the store: metrics that others read change as well.
const PAUSE: Duration = Duration::from_millis(100);
const SERVICE: &str = "externalscaler.ExternalScaler";

/// What the door bears, and whom it lets in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KedaConfig {
    /// Who may ask. KEDA sends no token: it shows a certificate, or nothing.
    pub access: Access,
    /// How many streams are open at once, of all clients; more are refused. KEDA opens two for each trigger
    /// `external-push`.
    pub max_streams: usize,
    /// How many other requests are answered at once; more are refused.
    pub max_requests: usize,
}

/// The service itself.
struct Scaler {
    store: Store,
}

// === impl KedaConfig ===

impl KedaConfig {
    /// The limits of a listener for the door.
    ///
    /// KEDA's operator asks for all ScaledObjects over one connection. One that is full makes it wait, and it sets no
    /// deadline: a stream too many would stop the scaling of all. So a connection bears more than the door does.
    pub fn limits(&self) -> Limits {
        let all = self.max_streams.saturating_add(self.max_requests);
        let mut limits = Limits::default();
        limits.max_streams = u32::try_from(all).unwrap_or(u32::MAX).max(limits.max_streams);
        limits
    }
}

impl Default for KedaConfig {
    fn default() -> Self {
        Self {
            access: Access::open(),
            max_streams: 4_096,
            max_requests: 1_024,
        }
    }
}

/// The external scaler over `store`, with gRPC's health checks, which answer as `readiness` does, and its reflection.
///
/// Streams end at `stop`; whoever serves the routes closes the connections.
///
/// # Panics
/// Never on what is asked; only if what was compiled into this program does not describe its services.
pub fn routes(store: Store, readiness: Readiness, config: KedaConfig, stop: CancellationToken) -> Router {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTION)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let described = "the description of a service is compiled with it";
    let reflection_v1 = reflection().build_v1().expect(described);
    let reflection_v1alpha = reflection().build_v1alpha().expect(described);
    let scaler = ExternalScalerServer::new(Scaler { store });
    let health = HealthServer::new(Checks::new(readiness, SERVICE));
    let bounds = Bounds::new(config.access, config.max_streams, config.max_requests, stop);
    Routes::new(scaler.max_decoding_message_size(MAX_MESSAGE))
        .add_service(health.max_decoding_message_size(MAX_MESSAGE))
        .add_service(reflection_v1.max_decoding_message_size(MAX_MESSAGE))
        .add_service(reflection_v1alpha.max_decoding_message_size(MAX_MESSAGE))
        .into_axum_router()
        .layer(middleware::from_fn_with_state(bounds, bound::within))
}

/// What a ScaledObject's trigger asks for.
struct Asked {
    trigger: Trigger,
    asker: ScaledObject,
}

// === impl Asked ===

impl Asked {
    fn read(object: ScaledObjectRef) -> Result<Self, Status> {
        let trigger = Trigger::read(&object.scaler_metadata);
        let trigger = trigger.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let ScaledObjectRef { name, namespace, .. } = object;
        let asker = ScaledObject { name, namespace };
        Ok(Self { trigger, asker })
    }

    fn number(&self, store: &Store) -> Result<f64, Refusal> {
        row::number(store, &self.trigger, &self.asker)
    }

    fn is_active(&self, value: f64) -> bool {
        value > self.trigger.activation
    }

    fn spec(&self, store: &Store) -> Result<GetMetricSpecResponse, Refusal> {
        row::metric(store, &self.trigger.metric, &self.asker)?;
        let target = self.trigger.target;
        let spec = MetricSpec {
            metric_name: self.trigger.metric.clone(),
            // Who reads whole numbers alone rather has a replica too many than one too few.
            target_size: target.floor().max(1.0) as i64,
            target_size_float: target,
        };
        Ok(GetMetricSpecResponse {
            metric_specs: vec![spec],
        })
    }
}

/// Whether there is work, each time that it changes.
struct Activity {
    asked: Asked,
    store: Store,
    changes: watch::Receiver<u64>,
    /// The number of the metric's change that was looked at last.
    seen: Option<u64>,
    told: Option<bool>,
}

// === impl Activity ===

impl Activity {
    /// The next that is to be told; none once the store is gone.
    async fn next(&mut self) -> Result<Option<IsActiveResponse>, Status> {
        loop {
            // Before it is read, so that what changes meanwhile is seen.
            self.changes.borrow_and_update();
            let newest = self
                .store
                .get(&self.asked.trigger.metric)
                .map(|entry| entry.changed());
            if newest.is_none() || newest != self.seen {
                self.seen = newest;
                match self.asked.number(&self.store) {
                    Ok(value) => {
                        let result = self.asked.is_active(value);
                        if self.told.replace(result) != Some(result) {
                            return Ok(Some(IsActiveResponse { result }));
                        }
                    }
                    Err(refusal) if refusal.may_pass() => {}
                    Err(refusal) => return Err(refusal.into()),
                }
            }
            tokio::time::sleep(PAUSE).await;
            if self.changes.changed().await.is_err() {
                return Ok(None);
            }
        }
    }
}

// === impl Scaler ===

#[tonic::async_trait]
impl ExternalScaler for Scaler {
    type StreamIsActiveStream = BoxStream<'static, Result<IsActiveResponse, Status>>;
    type StreamMetricSpecStream = BoxStream<'static, Result<GetMetricSpecResponse, Status>>;

    async fn is_active(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<IsActiveResponse>, Status> {
        let asked = Asked::read(request.into_inner())?;
        let result = asked.is_active(asked.number(&self.store)?);
        Ok(Response::new(IsActiveResponse { result }))
    }

    /// The current value when it opens, if there is one, and then each change. Nothing waits for a slow reader, and nothing
    /// gathers for it: it is asked for the value of then when it has room for it.
    async fn stream_is_active(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<Self::StreamIsActiveStream>, Status> {
        let activity = Activity {
            asked: Asked::read(request.into_inner())?,
            changes: self.store.changes(),
            store: self.store.clone(),
            seen: None,
            told: None,
        };
        if let Err(refusal) = activity.asked.number(&activity.store)
            && !refusal.may_pass()
        {
            return Err(refusal.into());
        }
        let changes = stream::try_unfold(activity, |mut activity| async move {
            Ok(activity.next().await?.map(|told| (told, activity)))
        });
        Ok(Response::new(changes.boxed()))
    }

    async fn get_metric_spec(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<GetMetricSpecResponse>, Status> {
        let asked = Asked::read(request.into_inner())?;
        Ok(Response::new(asked.spec(&self.store)?))
    }

    /// The specification, once: it is the trigger's, and another trigger is another stream.
    async fn stream_metric_spec(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<Self::StreamMetricSpecStream>, Status> {
        let spec = Asked::read(request.into_inner())?.spec(&self.store)?;
        let told = stream::iter([Ok(spec)]);
        Ok(Response::new(told.chain(stream::pending()).boxed()))
    }

    async fn get_metrics(
        &self,
        request: Request<GetMetricsRequest>,
    ) -> Result<Response<GetMetricsResponse>, Status> {
        let GetMetricsRequest {
            scaled_object_ref,
            metric_name,
        } = request.into_inner();
        let asked = Asked::read(scaled_object_ref.unwrap_or_default())?;
        if metric_name != asked.trigger.metric {
            let wanted = &asked.trigger.metric;
            let text = format!("the metric's name is to be that of the trigger, {wanted:?}");
            return Err(Status::invalid_argument(text));
        }
        let value = asked.number(&self.store)?;
        let number = MetricValue {
            metric_name,
            // Who reads whole numbers alone rather has a replica too many than one too few.
            metric_value: value.ceil() as i64,
            metric_value_float: if value > 0.0 { value.max(MIN) } else { 0.0 },
        };
        Ok(Response::new(GetMetricsResponse {
            metric_values: vec![number],
        }))
    }
}
