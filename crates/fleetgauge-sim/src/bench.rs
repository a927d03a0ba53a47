//! One pod without its port, for the benches.

use std::sync::Arc;
use std::time::Duration;

use crate::dice::Dice;
use crate::pod::{Pod, Template, Wanted};
use crate::variant::Variant;
use crate::world::{TURN_NS, World};

/// One replica of a variant and its users.
#[derive(Debug)]
pub struct Bench {
    world: World,
    pod: Arc<Pod>,
    now_ns: u64,
}

impl Bench {
    /// One replica.
    pub fn new(variant: Variant) -> Self {
        let template = Arc::new(Template::new(variant.clone(), 1.7e9));
        let pod = Arc::new(Pod::new(template, "pod".to_owned(), Dice::new(1, "pod"), 0, None));
        let world = World::new(variant, vec![Arc::clone(&pod)], None, Dice::new(1, "world"));
        Self {
            world,
            pod,
            now_ns: 0,
        }
    }

    /// Lets simulated time pass, in whole turns.
    pub fn step(&mut self, by: Duration) {
        for _ in 0..by.as_nanos() / u128::from(TURN_NS) {
            self.now_ns += TURN_NS;
            self.world.turn(self.now_ns);
        }
    }

    /// Makes the page anew into `out`.
    pub fn render(&self, out: &mut Vec<u8>) {
        out.clear();
        self.pod.lock().render(false, out);
    }

    /// The compressed page, made anew; its length.
    pub fn compress(&mut self) -> usize {
        self.pod.lock().advance(self.now_ns);
        self.pod
            .lock()
            .page(Wanted {
                open_metrics: false,
                gzip: true,
            })
            .0
            .len()
    }
}
