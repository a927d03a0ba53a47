//! Whether it serves, what it serves, and to whom: health, reflection and TLS.

use std::sync::Arc;

use fleetgauge_server::door::access::Access;
use fleetgauge_server::door::keda::KedaConfig;
use fleetgauge_server::door::keda::proto::external_scaler_client::ExternalScalerClient;
use fleetgauge_server::door::listener::Tls;
use fleetgauge_testkit::Certificates;
use fleetgauge_testkit::tls::{Client, Server};
use futures_util::stream;
use tonic::Code;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::{Door, fleet, h100, numbers, spec};

#[tokio::test]
async fn it_says_whether_it_serves_and_what() {
    let mut config = KedaConfig::default();
    config.access = Access::new(Some("secret"), false);
    let door = Door::with(config, None).await;
    let channel = door.channel().await;
    let mut health = HealthClient::new(channel.clone());
    let of = |service: &str| HealthCheckRequest {
        service: service.to_owned(),
    };
    let is = |status: ServingStatus| HealthCheckResponse {
        status: status.into(),
    };
    // One metric has no answer yet.
    let mut watched = health.watch(of("")).await.unwrap().into_inner();
    assert_eq!(
        watched.message().await.unwrap().unwrap(),
        is(ServingStatus::NotServing)
    );
    let mut fleet = fleet(&door.backend);
    fleet.metrics.retain(|metric| metric.name.as_str() != "slow");
    door.scheduler.apply(&fleet).unwrap();
    assert_eq!(
        watched.message().await.unwrap().unwrap(),
        is(ServingStatus::Serving)
    );
    for service in ["", "externalscaler.ExternalScaler"] {
        let checked = health.check(of(service)).await.unwrap().into_inner();
        assert_eq!(checked, is(ServingStatus::Serving));
    }
    let status = health.check(of("other")).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let mut other = health.watch(of("other")).await.unwrap().into_inner();
    assert_eq!(
        other.message().await.unwrap().unwrap(),
        is(ServingStatus::ServiceUnknown)
    );
    door.readiness.end();
    assert_eq!(
        watched.message().await.unwrap().unwrap(),
        is(ServingStatus::NotServing)
    );

    // The rest is for those who have the token.
    let mut stranger = door.scaler().await;
    let status = numbers(&mut stranger, &h100("queue")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    let asks = |request: MessageRequest| {
        let message = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(request),
        };
        let mut request = tonic::Request::new(stream::iter([message]));
        let token = "Bearer secret".parse().unwrap();
        request.metadata_mut().insert("authorization", token);
        let mut reflection = ServerReflectionClient::new(channel.clone());
        async move {
            let mut answers = reflection
                .server_reflection_info(request)
                .await
                .unwrap()
                .into_inner();
            answers
                .message()
                .await
                .unwrap()
                .unwrap()
                .message_response
                .unwrap()
        }
    };
    let MessageResponse::ListServicesResponse(services) =
        asks(MessageRequest::ListServices(String::new())).await
    else {
        panic!("no list of services");
    };
    let mut names: Vec<_> = services.service.into_iter().map(|service| service.name).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "externalscaler.ExternalScaler",
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
        ]
    );
    let symbol = "externalscaler.ExternalScaler.StreamMetricSpec".to_owned();
    let file = asks(MessageRequest::FileContainingSymbol(symbol)).await;
    assert!(
        matches!(file, MessageResponse::FileDescriptorResponse(_)),
        "{file:?}"
    );
    door.close().await;
}

#[tokio::test]
async fn it_speaks_tls_and_asks_for_certificates() {
    let certificates = Certificates::generate().unwrap();
    let read = |path| std::fs::read(path).unwrap();
    let identity = |kind| {
        let client = certificates.client(kind).unwrap();
        Identity::from_pem(read(client.cert), read(client.key))
    };
    let trusting = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(read(certificates.ca())))
        .domain_name("localhost");
    let plain = certificates.server_config(Server::Valid).unwrap();
    let mutual = certificates.server_config_requiring_client().unwrap();
    let valid = trusting.clone().identity(identity(Client::Valid));
    let wrong = trusting.clone().identity(identity(Client::WrongCa));
    for (server, clients) in [
        (plain, [(&trusting, true), (&valid, true), (&wrong, true)]),
        (mutual, [(&trusting, false), (&valid, true), (&wrong, false)]),
    ] {
        let door = Door::with(KedaConfig::default(), Some(Tls::new(Arc::new(server)))).await;
        for (client, expected) in clients {
            let endpoint = Endpoint::from_shared(format!("https://{}", door.address)).unwrap();
            let channel = endpoint.tls_config(client.clone()).unwrap().connect_lazy();
            let mut scaler = ExternalScalerClient::new(channel);
            let told = spec(&mut scaler, &h100("queue")).await;
            assert_eq!(told.is_ok(), expected, "{told:?}");
        }
        let mut scaler = ExternalScalerClient::new(
            Endpoint::from_shared(format!("http://{}", door.address))
                .unwrap()
                .connect_lazy(),
        );
        assert!(spec(&mut scaler, &h100("queue")).await.is_err());
        door.close().await;
    }
}
