//! Who somebody is and what he may see: the API server is asked, as its own extensions do it.
//!
//! Nothing is remembered here.

use std::collections::BTreeMap;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::Client;
use kube::api::{Api, PostParams};

/// Asks the API server.
///
/// Cheap to clone.
#[derive(Clone)]
pub struct Reviews {
    client: Client,
}

/// Somebody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The name.
    pub name: String,
    /// The UID; empty where there is none.
    pub uid: String,
    /// The groups.
    pub groups: Vec<String>,
    /// What else is said.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// What somebody wants to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attributes {
    /// To get a page that is no resource.
    Page {
        /// Its path.
        path: String,
    },
    /// Something with a resource.
    Resource {
        /// What, as `get` or `list`.
        verb: String,
        /// The group of the API.
        group: String,
        /// Its version.
        version: String,
        /// The namespace.
        namespace: String,
        /// The resource, in the plural.
        resource: String,
        /// The name; empty for all of them.
        name: String,
        /// The subresource; empty for none.
        subresource: String,
    },
}

/// Whether somebody may do something, and why, as far as that is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is so.
    pub is_allowed: bool,
    /// Why; empty where that is not said.
    pub reason: String,
}

/// Why the API server does not say.
#[derive(Debug, thiserror::Error)]
#[error("{review}")]
#[non_exhaustive]
pub struct ReviewError {
    /// What was asked for.
    pub review: &'static str,
    /// Why there is no answer.
    #[source]
    pub source: Box<kube::Error>,
}

// === impl Reviews ===

impl Reviews {
    /// By this client, which needs the rights to create TokenReviews and SubjectAccessReviews.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Whose token it is; `None` for nobody's.
    ///
    /// # Errors
    /// When the API server does not say.
    pub async fn whose(&self, token: &str) -> Result<Option<Subject>, ReviewError> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: token.to_owned(),
                ..TokenReviewSpec::default()
            },
            ..TokenReview::default()
        };
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let answer = reviews.create(&PostParams::default(), &review).await;
        let answer = answer.map_err(|error| ReviewError {
            review: "creating a TokenReview",
            source: Box::new(error),
        })?;
        let status = answer.status.unwrap_or_default();
        if status.authenticated != Some(true) {
            return Ok(None);
        }
        let user = status.user.unwrap_or_default();
        let name = user.username.unwrap_or_default();
        if name.is_empty() {
            return Ok(None);
        }
        Ok(Some(Subject {
            name,
            uid: user.uid.unwrap_or_default(),
            groups: user.groups.unwrap_or_default(),
            extra: user.extra.unwrap_or_default(),
        }))
    }

    /// Whether somebody may do something.
    ///
    /// # Errors
    /// When the API server does not say.
    pub async fn may(&self, subject: &Subject, what: &Attributes) -> Result<Decision, ReviewError> {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let mut spec = SubjectAccessReviewSpec {
            user: some(&subject.name),
            uid: some(&subject.uid),
            groups: Some(subject.groups.clone()),
            extra: Some(subject.extra.clone()),
            ..SubjectAccessReviewSpec::default()
        };
        match what {
            Attributes::Page { path } => {
                spec.non_resource_attributes = Some(NonResourceAttributes {
                    path: some(path),
                    verb: some("get"),
                });
            }
            Attributes::Resource {
                verb,
                group,
                version,
                namespace,
                resource,
                name,
                subresource,
            } => {
                spec.resource_attributes = Some(ResourceAttributes {
                    verb: some(verb),
                    group: some(group),
                    version: some(version),
                    namespace: some(namespace),
                    resource: some(resource),
                    name: some(name),
                    subresource: some(subresource),
                    ..ResourceAttributes::default()
                });
            }
        }
        let review = SubjectAccessReview {
            spec,
            ..SubjectAccessReview::default()
        };
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let answer = reviews.create(&PostParams::default(), &review).await;
        let answer = answer.map_err(|error| ReviewError {
            review: "creating a SubjectAccessReview",
            source: Box::new(error),
        })?;
        let status = answer.status.unwrap_or_default();
        Ok(Decision {
            is_allowed: status.allowed && status.denied != Some(true),
            reason: status.reason.or(status.evaluation_error).unwrap_or_default(),
        })
    }
}
