//! The door between the HTTP listener and a broker that may still be starting, or stopping.
//!
//! The listener runs from the first moment, so that `/startupz` can say how far recovery is; the
//! backend is put in when the broker is up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::backend::Backend;
use crate::catalogue::Code;
use crate::model::{Listeners, Recovery};
use crate::problem::Refusal;

/// Tells how far recovery is.
pub type Progress = Box<dyn Fn() -> Recovery + Send + Sync>;

/// Where the broker is between start and stop.
#[derive(Default)]
pub struct Gate {
    open: OnceLock<(Arc<dyn Backend>, Listeners)>,
    progress: OnceLock<Progress>,
    draining: AtomicBool,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate")
            .field("open", &self.open.get().is_some())
            .field("progress", &self.progress())
            .field("draining", &self.draining)
            .finish()
    }
}

impl Gate {
    /// From here on recovery is asked how far it is. A second call changes nothing.
    pub fn watch(&self, progress: Progress) {
        self.progress.get_or_init(|| progress);
    }

    /// What recovery does, while it does anything.
    pub fn recovery(&self) -> Option<Recovery> {
        if self.is_open() {
            return None;
        }
        self.progress.get().map(|progress| progress())
    }

    /// How far recovery is, percent. All of it only when the broker is up.
    pub fn progress(&self) -> u8 {
        if self.is_open() {
            return 100;
        }
        self.recovery().map_or(0, |recovery| recovery.percent())
    }

    /// Lets requests through: all listeners accept. A second call changes nothing.
    pub fn open(&self, backend: Arc<dyn Backend>, listeners: Listeners) {
        self.open.get_or_init(|| (backend, listeners));
    }

    /// Whether it was opened.
    pub fn is_open(&self) -> bool {
        self.open.get().is_some()
    }

    /// Says that the broker is stopping: not ready any more, still alive.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the broker is stopping.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// The addresses of all listeners, once they accept.
    pub fn listeners(&self) -> Listeners {
        self.open
            .get()
            .map(|(_, listeners)| listeners.clone())
            .unwrap_or_default()
    }

    /// The broker.
    ///
    /// # Errors
    ///
    /// [`Code::Starting`] while it is not open.
    pub fn backend(&self) -> Result<&Arc<dyn Backend>, Refusal> {
        let starting = || Refusal::new(Code::Starting, format!("{}% done", self.progress()));
        self.open
            .get()
            .map(|(backend, _)| backend)
            .ok_or_else(starting)
    }
}
