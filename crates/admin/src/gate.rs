//! The door between the HTTP listener and a broker that may still be starting, or stopping.
//!
//! The listener runs from the first moment, so that `/startupz` can say how far recovery is; the
//! backend is put in when the broker is up.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use crate::backend::Backend;
use crate::catalogue::Code;
use crate::model::Listeners;
use crate::problem::Refusal;

/// Where the broker is between start and stop.
#[derive(Default)]
pub struct Gate {
    open: OnceLock<(Arc<dyn Backend>, Listeners)>,
    progress_percent: AtomicU8,
    draining: AtomicBool,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate")
            .field("open", &self.open.get().is_some())
            .field("progress_percent", &self.progress_percent)
            .field("draining", &self.draining)
            .finish()
    }
}

impl Gate {
    /// Says how far recovery is.
    pub fn set_progress(&self, percent: u8) {
        self.progress_percent
            .store(percent.min(100), Ordering::Relaxed);
    }

    /// How far recovery is.
    pub fn progress(&self) -> u8 {
        if self.open.get().is_some() {
            100
        } else {
            self.progress_percent.load(Ordering::Relaxed)
        }
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
