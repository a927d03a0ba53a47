//! The queries of one source, by name.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use crate::params::{ParamSpec, Params};
use crate::query::{QueryName, QueryNameError, QueryTemplate, QueryType};
use crate::similar::similar;
use crate::template::{RenderError, Template, TemplateError, Ways};
use crate::transform;
use crate::variant::{PodVaMapper, PodVariants};

/// The registered queries of a source.
///
/// Cheap to clone; clones show the same queries. Reading takes no lock.
///
/// ```
/// use fleetgauge_core::query::QueryTemplate;
/// use fleetgauge_core::query_list::QueryList;
///
/// let queries = QueryList::new();
/// queries.register(QueryTemplate::promql("up", r#"up{namespace="{{.namespace}}"}"#).params(["namespace"]))?;
/// assert_eq!(queries.list(), ["up"]);
/// assert_eq!(queries.get("up").unwrap().template().description, "");
/// assert_eq!(queries.render("up", &[("namespace", "a\"b")].into())?, r#"up{namespace="a\"b"}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct QueryList(Arc<Inner>);

/// A query that passed registration: its template is parsed and checked.
///
/// Cheap to clone.
#[derive(Clone)]
pub struct RegisteredQuery(Arc<Registered>);

/// What [`QueryList::replace_all`] changed, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueryChanges {
    /// Queries that were not registered before.
    pub added: Vec<QueryName>,
    /// Queries whose template is another one now, or that of a query which their answers depend on: the weights of a mean,
    /// or who should report.
    pub replaced: Vec<QueryName>,
    /// Queries that are not registered any more.
    pub removed: Vec<QueryName>,
}

/// Why a query was not registered.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The name does not fit.
    #[error(transparent)]
    Name(#[from] QueryNameError),
    /// The name is taken.
    #[error("query {name} is registered already")]
    Duplicate {
        /// The name.
        name: QueryName,
    },
    /// The template does not stand up.
    #[error("query {name}: {error}")]
    Template {
        /// The query's name.
        name: QueryName,
        /// What is wrong, with line and column.
        error: TemplateError,
    },
    /// A parameter is declared twice.
    #[error("query {name}: parameter {param:?} is declared twice")]
    DuplicateParam {
        /// The query's name.
        name: QueryName,
        /// The parameter.
        param: String,
    },
    /// The source cannot answer it.
    #[error("query {name}: {why}")]
    Refused {
        /// The query's name.
        name: QueryName,
        /// What is wrong, and what to do.
        why: String,
    },
    /// The weights of a mean are of the query itself.
    #[error(
        "query {name}: it cannot be weighted by itself; name the query that tells how much each pod counts"
    )]
    WeightedByItself {
        /// The query's name.
        name: QueryName,
    },
    /// Who should report is asked of the query itself.
    #[error(
        "query {name}: it cannot tell itself who should report; name the query that has a row for each that should"
    )]
    ExpectedByItself {
        /// The query's name.
        name: QueryName,
    },
    /// A time to live or timeout of zero: no answer would ever hold, or arrive.
    #[error("query {name}: {field} must be more than zero")]
    ZeroDuration {
        /// The query's name.
        name: QueryName,
        /// `ttl` or `timeout`.
        field: &'static str,
    },
}

/// Why a query could not be rendered.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryRenderError {
    /// No query of that name is registered.
    #[error("query {query:?} is not registered{}", DidYouMean(.similar.as_deref()))]
    UnknownQuery {
        /// The name asked for.
        query: String,
        /// A registered name much like it.
        similar: Option<String>,
    },
    /// The parameters do not fit the template.
    #[error("query {query}: {error}")]
    Render {
        /// The query's name.
        query: QueryName,
        /// What does not fit.
        error: RenderError,
    },
}

#[derive(Default)]
struct Inner {
    queries: papaya::HashMap<QueryName, RegisteredQuery, foldhash::fast::RandomState>,
    next_id: AtomicU64,
    /// Held by who registers, replaces or removes.
    writing: Mutex<Vec<OnReplaced>>,
    check: OnceLock<Check>,
    /// `None`: there are none so far.
    variants: ArcSwapOption<Arc<dyn PodVariants>>,
}

/// Is told of queries that are not registered any more.
type OnReplaced = Box<dyn Fn(&[RegisteredQuery]) + Send + Sync>;

/// Looks at a query before it is registered.
type Check = Box<dyn Fn(&RegisteredQuery) -> Result<Vec<ParamSpec>, String> + Send + Sync>;

struct Registered {
    /// Unique in its list: stands for the name in cache keys.
    id: u64,
    name: QueryName,
    template: QueryTemplate,
    compiled: Template,
    takes_lists: bool,
    /// Whether another query has its name now, or none.
    replaced: AtomicBool,
}

struct DidYouMean<'a>(Option<&'a str>);

// === impl QueryList ===

impl QueryList {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a query. Its template is parsed and checked now, so that it cannot fail later for its own
    /// faults.
    ///
    /// *Errors*: [`RegisterError`]; the list is then unchanged.
    pub fn register(&self, template: QueryTemplate) -> Result<(), RegisterError> {
        let query = self.compile(template)?;
        let name = query.name().clone();
        let _writing = self.write();
        match self.0.queries.pin().try_insert(name.clone(), query) {
            Ok(_) => Ok(()),
            Err(_) => Err(RegisterError::Duplicate { name }),
        }
    }

    /// Registers a query in place of the one of its name, if there is one. Whether that changed anything: an
    /// equal template keeps the values that its query has, those of another one go.
    ///
    /// *Errors*: [`RegisterError`]; the list is then unchanged.
    ///
    /// ```
    /// # use fleetgauge_core::{query::QueryTemplate, query_list::QueryList};
    /// # let queries = QueryList::new();
    /// assert!(queries.replace(QueryTemplate::promql("up", "up"))?);
    /// assert!(!queries.replace(QueryTemplate::promql("up", "up"))?);
    /// assert!(queries.replace(QueryTemplate::promql("up", "sum(up)"))?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn replace(&self, template: QueryTemplate) -> Result<bool, RegisterError> {
        let query = self.compile(template)?;
        Ok(self.change(vec![query], |_| false) != QueryChanges::default())
    }

    /// Removes the query `name`, and its values. Whether there was one.
    pub fn remove(&self, name: &str) -> bool {
        self.change(Vec::new(), |known| known.as_str() == name) != QueryChanges::default()
    }

    /// Registers these queries, as [`replace`](Self::replace) does, and removes all others: for a configuration
    /// that was read anew. A read meanwhile finds each query as it was or as it is to be.
    ///
    /// *Errors*: [`RegisterError`] of the first that does not stand up; the list is then unchanged.
    pub fn replace_all(
        &self,
        templates: impl IntoIterator<Item = QueryTemplate>,
    ) -> Result<QueryChanges, RegisterError> {
        let templates = templates.into_iter();
        let queries: Vec<_> = templates
            .map(|template| self.compile(template))
            .collect::<Result<_, _>>()?;
        let mut names = HashSet::new();
        if let Some(twice) = queries.iter().find(|query| !names.insert(query.name().clone())) {
            let name = twice.name().clone();
            return Err(RegisterError::Duplicate { name });
        }
        Ok(self.change(queries, |known| !names.contains(known)))
    }

    /// Calls `told` with queries that are not registered any more, each time that there are some.
    pub(crate) fn on_replaced(&self, told: impl Fn(&[RegisteredQuery]) + Send + Sync + 'static) {
        self.write().push(Box::new(told));
    }

    /// Lets a source refuse queries that it cannot answer: `check` sees each query before it is registered, and says
    /// why it is not, or which further parameters its answers depend on, which it then declares too. The first check
    /// that is set stays.
    pub fn set_check(
        &self,
        check: impl Fn(&RegisteredQuery) -> Result<Vec<ParamSpec>, String> + Send + Sync + 'static,
    ) {
        // A list has one source.
        let _ = self.0.check.set(Box::new(check));
    }

    /// Sets the variants that queries with [`by_variant`](crate::transform::TransformStep::ByVariant) join pods to, in the place of those before. What is
    /// registered with `variants` later counts from then on.
    pub fn set_variants(&self, variants: &(impl PodVariants + Clone + 'static)) {
        let variants: Arc<dyn PodVariants> = Arc::new(variants.clone());
        self.0.variants.store(Some(Arc::new(variants)));
    }

    /// The variants that pods are joined to.
    pub(crate) fn variants(&self) -> Arc<dyn PodVariants> {
        let variants = self.0.variants.load_full();
        match variants {
            Some(variants) => Arc::clone(&variants),
            None => Arc::new(PodVaMapper::new()),
        }
    }

    /// The query of this template, not yet registered, if the source takes it.
    fn compile(&self, template: QueryTemplate) -> Result<RegisteredQuery, RegisterError> {
        let query = self.compile_as_given(template)?;
        let Some(check) = self.0.check.get() else {
            return Ok(query);
        };
        let further = check(&query).map_err(|why| RegisterError::Refused {
            name: query.name().clone(),
            why,
        })?;
        if further.is_empty() {
            return Ok(query);
        }
        let mut template = query.template().clone();
        template.params.extend(further);
        self.compile_as_given(template)
    }

    fn compile_as_given(&self, template: QueryTemplate) -> Result<RegisteredQuery, RegisterError> {
        let name: QueryName = template.name.parse()?;
        for (field, duration) in [("ttl", template.ttl), ("timeout", template.timeout)] {
            if duration == Some(Duration::ZERO) {
                return Err(RegisterError::ZeroDuration { name, field });
            }
        }
        if transform::weights(&template.transform).any(|weights| weights == template.name) {
            return Err(RegisterError::WeightedByItself { name });
        }
        if template.expected.as_ref() == Some(&name) {
            return Err(RegisterError::ExpectedByItself { name });
        }
        for (i, param) in template.params.iter().enumerate() {
            if template.params[..i]
                .iter()
                .any(|earlier| earlier.name() == param.name())
            {
                return Err(RegisterError::DuplicateParam {
                    name,
                    param: param.name().to_owned(),
                });
            }
        }
        let compiled = match template.query_type {
            QueryType::PromQl => Template::compile(&template.template, &template.params),
            QueryType::MetricName => Template::compile_metric_name(&template.template, &template.params),
        };
        let compiled = compiled.map_err(|error| RegisterError::Template {
            name: name.clone(),
            error,
        })?;
        Ok(RegisteredQuery(Arc::new(Registered {
            id: self.0.next_id.fetch_add(1, Ordering::Relaxed),
            name,
            takes_lists: template.params.iter().any(|param| param.kind().is_list()),
            template,
            compiled,
            replaced: AtomicBool::new(false),
        })))
    }

    /// Registers `queries`, and removes those whose names are `removed`.
    fn change(&self, queries: Vec<RegisteredQuery>, removed: impl Fn(&QueryName) -> bool) -> QueryChanges {
        let writing = self.write();
        let registered = self.0.queries.pin();
        let (mut changes, mut gone) = (QueryChanges::default(), Vec::new());
        for query in queries {
            let name = query.name().clone();
            match registered.get(&name) {
                Some(known) if known.template() == query.template() => continue,
                Some(known) => {
                    gone.push(known.clone());
                    changes.replaced.push(name.clone());
                }
                None => changes.added.push(name.clone()),
            }
            registered.insert(name, query);
        }
        for (name, known) in &registered {
            if removed(name) {
                gone.push(known.clone());
                changes.removed.push(name.clone());
            }
        }
        changes.removed.sort_unstable();
        changes.removed.iter().for_each(|name| {
            registered.remove(name);
        });
        // What was answered with the help of a query that has gone is not what the one in its place would give.
        let mut done: HashSet<_> = changes.added.iter().chain(&changes.replaced).cloned().collect();
        let mut helped: HashMap<String, Vec<RegisteredQuery>> = HashMap::new();
        for query in registered.values() {
            for helper in query.helpers() {
                helped.entry(helper.to_owned()).or_default().push(query.clone());
            }
        }
        let mut at = 0;
        while let Some(helper) = gone.get(at) {
            at += 1;
            for query in helped.remove(helper.name().as_str()).unwrap_or_default() {
                let name = query.name().clone();
                if done.insert(name.clone()) {
                    registered.insert(name.clone(), self.renewed(&query));
                    changes.replaced.push(name);
                    gone.push(query);
                }
            }
        }
        for query in &gone {
            query.0.replaced.store(true, Ordering::Release);
        }
        if !gone.is_empty() {
            writing.iter().for_each(|told| told(&gone));
        }
        changes
    }

    /// The same query, as if it were registered now.
    fn renewed(&self, query: &RegisteredQuery) -> RegisteredQuery {
        let Registered {
            name,
            template,
            compiled,
            takes_lists,
            ..
        } = &*query.0;
        RegisteredQuery(Arc::new(Registered {
            id: self.0.next_id.fetch_add(1, Ordering::Relaxed),
            name: name.clone(),
            template: template.clone(),
            compiled: compiled.clone(),
            takes_lists: *takes_lists,
            replaced: AtomicBool::new(false),
        }))
    }

    fn write(&self) -> MutexGuard<'_, Vec<OnReplaced>> {
        // What it guards is whole at any time.
        self.0.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a query that is part of the program.
    ///
    /// ```
    /// # use fleetgauge_core::{query::QueryTemplate, query_list::QueryList};
    /// # let queries = QueryList::new();
    /// queries.must_register(QueryTemplate::metric_name("queue_depth", "vllm:num_requests_waiting"));
    /// ```
    ///
    /// # Panics
    /// Where [`register`](Self::register) gives an error.
    pub fn must_register(&self, template: QueryTemplate) {
        if let Err(error) = self.register(template) {
            panic!("{error}");
        }
    }

    /// The query `name`.
    ///
    /// ```
    /// # use fleetgauge_core::{query::QueryTemplate, query_list::QueryList};
    /// # let queries = QueryList::new();
    /// # queries.must_register(QueryTemplate::promql("up", "up").description("1 where a target answers"));
    /// assert_eq!(queries.get("up").unwrap().template().description, "1 where a target answers");
    /// assert!(queries.get("down").is_none());
    /// ```
    pub fn get(&self, name: &str) -> Option<RegisteredQuery> {
        self.0.queries.pin().get(name).cloned()
    }

    /// The names of all queries, sorted.
    ///
    /// ```
    /// # use fleetgauge_core::{query::QueryTemplate, query_list::QueryList};
    /// # let queries = QueryList::new();
    /// for name in ["queue_depth", "kv_cache"] {
    ///     queries.must_register(QueryTemplate::promql(name, "up"));
    /// }
    /// assert_eq!(queries.list(), ["kv_cache", "queue_depth"]);
    /// ```
    pub fn list(&self) -> Vec<String> {
        self.all()
            .iter()
            .map(|query| query.name().as_str().to_owned())
            .collect()
    }

    /// All queries, sorted by name.
    pub fn all(&self) -> Vec<RegisteredQuery> {
        let mut queries: Vec<_> = self.0.queries.pin().values().cloned().collect();
        queries.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        queries
    }

    /// How many queries are registered.
    pub fn len(&self) -> usize {
        self.0.queries.len()
    }

    /// Whether no query is registered.
    pub fn is_empty(&self) -> bool {
        self.0.queries.is_empty()
    }

    /// The text of query `name` with `params` filled in. Parameters that the query does not declare are
    /// ignored.
    ///
    /// *Errors*: [`QueryRenderError`].
    pub fn render(&self, name: &str, params: &Params) -> Result<String, QueryRenderError> {
        self.find(name)?.render(params)
    }

    /// The query `name`.
    ///
    /// *Errors*: [`QueryRenderError::UnknownQuery`], with the most similar name.
    pub fn find(&self, name: &str) -> Result<RegisteredQuery, QueryRenderError> {
        self.get(name).ok_or_else(|| {
            let names = self.list();
            let similar = similar(name, names.iter().map(String::as_str)).map(str::to_owned);
            QueryRenderError::UnknownQuery {
                query: name.chars().take(200).collect(),
                similar,
            }
        })
    }

    /// Calls `with` with the query `name`, without touching its reference count.
    pub(crate) fn with<R>(&self, name: &str, with: impl FnOnce(&RegisteredQuery) -> R) -> Option<R> {
        self.0.queries.pin().get(name).map(with)
    }
}

impl fmt::Debug for QueryList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("QueryList").field(&self.list()).finish()
    }
}

// === impl RegisteredQuery ===

impl RegisteredQuery {
    /// The query's name.
    pub fn name(&self) -> &QueryName {
        &self.0.name
    }

    /// The query as it was registered.
    pub fn template(&self) -> &QueryTemplate {
        &self.0.template
    }

    /// The parameters that it declares.
    pub fn params(&self) -> &[ParamSpec] {
        &self.0.template.params
    }

    /// The query's text with `params` filled in.
    ///
    /// *Errors*: [`QueryRenderError::Render`].
    pub fn render(&self, params: &Params) -> Result<String, QueryRenderError> {
        let rendered = self.0.compiled.render(params);
        rendered.map_err(|error| QueryRenderError::Render {
            query: self.name().clone(),
            error,
        })
    }

    /// The ways through the template's conditions: at most `max` of them, or each branch once.
    pub fn ways(&self, max: usize) -> Ways {
        self.0.compiled.ways(max)
    }

    /// The declared parameters that the template does not use.
    pub fn unused_params(&self) -> impl Iterator<Item = &ParamSpec> {
        self.0.compiled.unused_params()
    }

    /// The queries that its answers depend on, by name.
    fn helpers(&self) -> impl Iterator<Item = &str> {
        let expected = self.0.template.expected.as_ref().map(QueryName::as_str);
        transform::weights(&self.0.template.transform).chain(expected)
    }

    /// Whether another query has taken its name since, or none has it any more, or its answers depend on such a one.
    pub fn is_replaced(&self) -> bool {
        self.0.replaced.load(Ordering::Acquire)
    }

    /// Whether a parameter may have several values.
    pub(crate) fn takes_lists(&self) -> bool {
        self.0.takes_lists
    }

    pub(crate) fn id(&self) -> u64 {
        self.0.id
    }
}

impl fmt::Debug for RegisteredQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.template().fmt(f)
    }
}

// === impl QueryRenderError ===

impl QueryRenderError {
    /// One word for the variant, bounded for use as a label value.
    pub fn reason(&self) -> &'static str {
        match self {
            QueryRenderError::UnknownQuery { .. } => "unknown_query",
            QueryRenderError::Render {
                error: RenderError::MissingParam { .. },
                ..
            } => "missing_param",
            QueryRenderError::Render { .. } => "bad_param",
        }
    }
}

impl fmt::Display for DidYouMean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(similar) => write!(f, "; did you mean {similar:?}?"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
