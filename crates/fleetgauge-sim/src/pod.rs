//! One pod: a server process and the pages that it shows.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;

use crate::dice::Dice;
use crate::fault::Fault;
use crate::gateway::{Endpoint, Gateway};
use crate::page::{Format, Numbers, Outline, Sink, Skeleton};
use crate::process::{self, Process};
use crate::request::Request;
use crate::scheduler::{Engine, seconds};
use crate::variant::{EngineKind, Variant};
use crate::{epp, sglang, trtllm, vllm};

/// One pod, shared by what steps it and what serves it.
#[derive(Debug)]
pub(crate) struct Pod(Mutex<State>);

/// What all pods of a variant share.
#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) variant: Variant,
    /// When the fleet's time began. *Unit*: seconds since the Unix epoch.
    pub(crate) epoch: f64,
    text: OnceLock<Skeleton>,
    open_metrics: OnceLock<Skeleton>,
}

/// A pod's state, locked.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) name: String,
    pub(crate) port: u16,
    /// What is wrong with it now; never one that is over at once.
    pub(crate) fault: Option<Fault>,
    template: Arc<Template>,
    dice: Dice,
    started_ns: u64,
    now_ns: u64,
    server: Server,
    pages: Pages,
}

#[derive(Debug)]
enum Server {
    /// A rank each.
    Engines(Vec<Engine>),
    /// The first replica leads, the others stand by with a gateway that nobody asks.
    Gateway(Arc<Mutex<Gateway>>),
}

/// The pages of the present moment, made when first asked for.
#[derive(Debug, Default)]
struct Pages {
    /// By format and encoding.
    made: [Option<Bytes>; 4],
    /// A page of an earlier moment, whose memory the next one takes over.
    spare: Option<Bytes>,
    numbers: Vec<f64>,
}

/// How a page is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) open_metrics: bool,
    pub(crate) gzip: bool,
}

// === impl Template ===

impl Template {
    pub(crate) fn new(variant: Variant, epoch: f64) -> Self {
        Self {
            variant,
            epoch,
            text: OnceLock::new(),
            open_metrics: OnceLock::new(),
        }
    }

    fn engines(&self, now_ns: u64) -> Vec<Engine> {
        let Variant { limits, shape, .. } = self.variant;
        let bounds = match self.variant.engine {
            EngineKind::Vllm { .. } => &vllm::BOUNDS,
            EngineKind::Sglang { .. } => &sglang::BOUNDS,
            EngineKind::TensorRtLlm | EngineKind::Epp { .. } => &trtllm::BOUNDS,
        };
        (0..self.variant.ranks())
            .map(|_| Engine::new(limits, shape.prefixes, bounds, now_ns))
            .collect()
    }
}

// === impl Pod ===

impl Pod {
    /// A pod that starts at `now_ns`; `gateway` if it is an endpoint picker.
    pub(crate) fn new(
        template: Arc<Template>,
        name: String,
        dice: Dice,
        now_ns: u64,
        gateway: Option<Arc<Mutex<Gateway>>>,
    ) -> Self {
        let server = match gateway {
            Some(gateway) => Server::Gateway(gateway),
            None => Server::Engines(template.engines(now_ns)),
        };
        Self(Mutex::new(State {
            name,
            port: 0,
            fault: None,
            template,
            dice,
            started_ns: now_ns,
            now_ns,
            server,
            pages: Pages::default(),
        }))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

/// Locks; a state that a panic left behind is still one that can be shown.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl State ===

impl State {
    pub(crate) fn is_dead(&self) -> bool {
        self.fault == Some(Fault::Die)
    }

    /// The gateway that runs in it, if it is an endpoint picker.
    pub(crate) fn gateway(&self) -> Option<Arc<Mutex<Gateway>>> {
        match &self.server {
            Server::Gateway(gateway) => Some(Arc::clone(gateway)),
            Server::Engines(_) => None,
        }
    }

    /// Gives the request to the rank that has least to do.
    pub(crate) fn push(&mut self, request: Request) {
        if let Server::Engines(engines) = &mut self.server
            && let Some(engine) = engines.iter_mut().min_by_key(|e| (e.waiting(), e.running()))
        {
            engine.push(request);
        }
    }

    /// Lets the time pass; a dead process stands still.
    pub(crate) fn advance(&mut self, until_ns: u64) {
        if self.is_dead() {
            return;
        }
        if let Server::Engines(engines) = &mut self.server {
            engines.iter_mut().for_each(|engine| engine.advance(until_ns));
        }
        self.now_ns = until_ns;
        self.forget_pages();
    }

    /// What an endpoint picker gets to know of it; of what doesn't answer, only its name.
    pub(crate) fn report_to(&self, endpoint: &mut Endpoint) {
        endpoint.ready = !self.is_dead();
        if endpoint.name != self.name {
            endpoint.name.clone_from(&self.name);
            endpoint.dispatched = 0;
        }
        let Server::Engines(engines) = &self.server else {
            return;
        };
        if self.fault.is_none() {
            let sum = |f: fn(&Engine) -> usize| engines.iter().map(f).sum();
            (endpoint.waiting, endpoint.running) = (sum(Engine::waiting), sum(Engine::running));
            endpoint.kv_cache_ratio = engines.iter().map(Engine::usage_ratio).fold(0.0, f64::max);
        }
    }

    /// Puts `fault` in force at `now_ns`; false if it can't be, as a name that is fixed.
    pub(crate) fn suffer(&mut self, fault: Fault, now_ns: u64) -> bool {
        let was_dead = self.is_dead();
        if fault == Fault::Rename {
            match self.template.variant.workload.renamed(&self.name, &mut self.dice) {
                Some(name) => self.name = name,
                None => return false,
            }
        }
        let new_process = matches!(fault, Fault::Restart | Fault::Rename);
        if new_process || fault == Fault::Die || was_dead {
            self.restart(now_ns);
        }
        let over = new_process || fault == Fault::Recover;
        self.fault = (!over).then_some(fault);
        self.forget_pages();
        true
    }

    fn restart(&mut self, now_ns: u64) {
        (self.started_ns, self.now_ns) = (now_ns, now_ns);
        match &mut self.server {
            Server::Engines(engines) => *engines = self.template.engines(now_ns),
            Server::Gateway(gateway) => lock(gateway).restart(),
        }
    }

    fn forget_pages(&mut self) {
        for page in &mut self.pages.made {
            if let Some(page) = page.take() {
                self.pages.spare = Some(page);
            }
        }
    }

    /// The page of this moment.
    pub(crate) fn page(&mut self, mut wanted: Wanted) -> (Bytes, Wanted) {
        // Go's client serves text only, as its usual handler is set up.
        wanted.open_metrics &= matches!(self.server, Server::Engines(_));
        wanted.gzip &= self.template.variant.gzip;
        let slot = |wanted: Wanted| usize::from(wanted.open_metrics) | usize::from(wanted.gzip) << 1;
        if let Some(page) = &self.pages.made[slot(wanted)] {
            return (page.clone(), wanted);
        }
        let page = if wanted.gzip {
            let (plain, _) = self.page(Wanted {
                gzip: false,
                ..wanted
            });
            compress(&plain)
        } else {
            let memory = self.pages.spare.take().and_then(|page| page.try_into_mut().ok());
            let mut out = memory.map(Vec::from).unwrap_or_default();
            out.clear();
            self.render(wanted.open_metrics, &mut out);
            Bytes::from(out)
        };
        self.pages.made[slot(wanted)] = Some(page.clone());
        (page, wanted)
    }

    /// Appends the page of this moment, always made anew.
    pub(crate) fn render(&mut self, open_metrics: bool, out: &mut Vec<u8>) {
        let mut numbers = std::mem::take(&mut self.pages.numbers);
        self.describe(&mut Numbers::new(
            &mut numbers,
            self.fault == Some(Fault::NotANumber),
        ));
        let outline = |format| {
            let mut outline = Outline::new(format);
            self.describe(&mut outline);
            outline.finish()
        };
        let template = Arc::clone(&self.template);
        match (&self.server, open_metrics) {
            (Server::Gateway(_), _) => outline(Format::GoText).render(&numbers, out),
            (_, false) => template
                .text
                .get_or_init(|| outline(Format::PythonText))
                .render(&numbers, out),
            (_, true) => template
                .open_metrics
                .get_or_init(|| outline(Format::OpenMetrics))
                .render(&numbers, out),
        }
        self.pages.numbers = numbers;
    }

    fn describe(&self, sink: &mut impl Sink) {
        let started = self.template.epoch + seconds(self.started_ns);
        let uptime_ns = self.now_ns - self.started_ns;
        // Metrics come to be when the server has loaded its model, some seconds after the process.
        let created = started + 4.25;
        let variant = &self.template.variant;
        let engines = match &self.server {
            Server::Engines(engines) => engines,
            Server::Gateway(gateway) => {
                let gateway = lock(gateway);
                epp::describe_process(sink, &gateway, started, uptime_ns);
                return epp::describe(sink, &gateway);
            }
        };
        let process = Process {
            started,
            uptime_ns,
            busy_ns: engines.iter().map(|e| e.tally.busy_ns).sum(),
            tokens: engines.iter().map(|e| e.tally.generation_tokens).sum(),
            requests_inside: engines.iter().map(|e| e.running() + e.waiting()).sum(),
        };
        match (&variant.engine, engines.as_slice()) {
            (EngineKind::Vllm { .. }, engines) => {
                process::describe(sink, &process);
                vllm::describe(sink, &variant.model, engines, created);
                process::describe_http(sink, engines, created);
            }
            (EngineKind::Sglang { .. }, engines) => {
                sglang::describe(sink, &variant.model, engines, uptime_ns)
            }
            (EngineKind::TensorRtLlm, [engine, ..]) => {
                process::describe(sink, &process);
                trtllm::describe(sink, &variant.model, engine, created);
            }
            _ => {}
        }
    }

    /// For tests of what isn't exposed.
    #[cfg(test)]
    pub(crate) fn engines(&self) -> &[Engine] {
        match &self.server {
            Server::Engines(engines) => engines,
            Server::Gateway(_) => &[],
        }
    }
}

fn compress(page: &[u8]) -> Bytes {
    use std::io::Write;
    let fast = flate2::Compression::fast();
    let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(page.len() / 8), fast);
    // Into memory, so it can't fail; an empty page would be noticed.
    let done = encoder.write_all(page).and_then(|()| encoder.finish());
    Bytes::from(done.unwrap_or_default())
}
