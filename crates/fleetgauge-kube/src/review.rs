//! Who somebody is and what he may see: the API server is asked, as its own extensions do it.
//!
//! Nothing is remembered here.

use std::collections::BTreeMap;

use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
    SubjectAccessReview, SubjectAccessReviewSpec, SubjectAccessReviewStatus,
};
use kube::Client;
use kube::api::{Api, PostParams};

use crate::right::Right;

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

    /// What has to be allowed for it.
    pub fn rights() -> [Right; 2] {
        [
            Right::to_create("authentication.k8s.io", "tokenreviews"),
            Right::to_create("authorization.k8s.io", "subjectaccessreviews"),
        ]
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
        let (resource_attributes, non_resource_attributes) = what.split();
        let spec = SubjectAccessReviewSpec {
            user: some(&subject.name),
            uid: some(&subject.uid),
            groups: Some(subject.groups.clone()),
            extra: Some(subject.extra.clone()),
            resource_attributes,
            non_resource_attributes,
        };
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
        Ok(Decision::read(answer.status.unwrap_or_default()))
    }

    /// Whether we may do something ourselves.
    ///
    /// # Errors
    /// When the API server does not say.
    pub async fn may_we(&self, what: &Attributes) -> Result<Decision, ReviewError> {
        let (resource_attributes, non_resource_attributes) = what.split();
        let spec = SelfSubjectAccessReviewSpec {
            resource_attributes,
            non_resource_attributes,
        };
        let review = SelfSubjectAccessReview {
            spec,
            ..SelfSubjectAccessReview::default()
        };
        let reviews: Api<SelfSubjectAccessReview> = Api::all(self.client.clone());
        let answer = reviews.create(&PostParams::default(), &review).await;
        let answer = answer.map_err(|error| ReviewError {
            review: "creating a SelfSubjectAccessReview",
            source: Box::new(error),
        })?;
        Ok(Decision::read(answer.status.unwrap_or_default()))
    }

    /// Who we are ourselves.
    ///
    /// # Errors
    /// When the API server does not say.
    pub async fn who_are_we(&self) -> Result<String, ReviewError> {
        let reviews: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let answer = reviews
            .create(&PostParams::default(), &SelfSubjectReview::default())
            .await;
        let answer = answer.map_err(|error| ReviewError {
            review: "creating a SelfSubjectReview",
            source: Box::new(error),
        })?;
        let user = answer.status.and_then(|status| status.user_info);
        Ok(user.and_then(|user| user.username).unwrap_or_default())
    }
}

// === impl Subject ===

impl Subject {
    /// A service account, as the API server knows it by its token.
    pub fn service_account(namespace: &str, name: &str) -> Self {
        let groups = [
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".to_owned(),
        ];
        Self {
            name: format!("system:serviceaccount:{namespace}:{name}"),
            groups: groups.into(),
            ..Self::default()
        }
    }
}

// === impl Attributes ===

impl Attributes {
    /// What a right allows by one of its verbs.
    pub fn of(right: &Right, verb: &str) -> Self {
        Self::Resource {
            verb: verb.to_owned(),
            group: right.group.clone(),
            version: String::new(),
            namespace: right.namespace.clone(),
            resource: right.resource.clone(),
            name: right.name.clone(),
            subresource: String::new(),
        }
    }

    fn split(&self) -> (Option<ResourceAttributes>, Option<NonResourceAttributes>) {
        match self {
            Self::Page { path } => {
                let page = NonResourceAttributes {
                    path: some(path),
                    verb: some("get"),
                };
                (None, Some(page))
            }
            Self::Resource {
                verb,
                group,
                version,
                namespace,
                resource,
                name,
                subresource,
            } => {
                let resource = ResourceAttributes {
                    verb: some(verb),
                    group: some(group),
                    version: some(version),
                    namespace: some(namespace),
                    resource: some(resource),
                    name: some(name),
                    subresource: some(subresource),
                    ..ResourceAttributes::default()
                };
                (Some(resource), None)
            }
        }
    }
}

// === impl Decision ===

impl Decision {
    fn read(status: SubjectAccessReviewStatus) -> Self {
        Self {
            is_allowed: status.allowed && status.denied != Some(true),
            reason: status.reason.or(status.evaluation_error).unwrap_or_default(),
        }
    }
}

/// A field that is not sent where it is empty.
fn some(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}
