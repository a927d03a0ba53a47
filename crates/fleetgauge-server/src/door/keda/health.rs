//! gRPC's health checks: the door serves while the daemon may be asked.

use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt as _};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::readiness::Readiness;

/// How often it is looked whether a watcher has to be told. Readiness changes with time as well, which nobody announces.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub(super) struct Checks {
    readiness: Readiness,
    /// The service that may be asked for; so may the whole door, by no name.
    service: &'static str,
}

// === impl Checks ===

impl Checks {
    pub(super) fn new(readiness: Readiness, service: &'static str) -> Self {
        Self { readiness, service }
    }

    fn knows(&self, service: &str) -> bool {
        service.is_empty() || service == self.service
    }
}

#[tonic::async_trait]
impl Health for Checks {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match self.knows(&request.get_ref().service) {
            true => Ok(Response::new(response(status(&self.readiness)))),
            false => Err(Status::not_found(format!(
                "there is no such service here; there is {}",
                self.service
            ))),
        }
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        if !self.knows(&request.get_ref().service) {
            let unknown = stream::iter([Ok(response(ServingStatus::ServiceUnknown))]);
            // As its specification asks for, the call goes on.
            return Ok(Response::new(unknown.chain(stream::pending()).boxed()));
        }
        let told: Option<ServingStatus> = None;
        let changes = stream::unfold((self.readiness.clone(), told), |(readiness, told)| async move {
            loop {
                let status = status(&readiness);
                if told != Some(status) {
                    return Some((Ok(response(status)), (readiness, Some(status))));
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        Ok(Response::new(changes.boxed()))
    }
}

fn status(readiness: &Readiness) -> ServingStatus {
    match readiness.check() {
        Ok(()) => ServingStatus::Serving,
        Err(_) => ServingStatus::NotServing,
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}
