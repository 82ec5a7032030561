//! Ctrl-C and SIGTERM.
//!
//! A thread of its own listens, so that a second signal ends the process at once even when the main
//! thread hangs in a disk or a socket. What has to be finished first (a line of output, a drain) says
//! so with [`Interrupt::politely`]; everything else ends with the first signal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::failure::{Failure, Outcome};
use mulgil_admin::catalogue::Code;

/// Whether the user wants an end.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    asked: watch::Receiver<bool>,
    politely: Arc<AtomicBool>,
}

impl Interrupt {
    /// Starts to listen.
    pub(crate) fn listen() -> Outcome<Self> {
        let failed = |error: std::io::Error| {
            Failure::new(
                Code::Internal,
                format!("signals can not be listened for: {error}"),
            )
        };
        let (ask, asked) = watch::channel(false);
        let politely = Arc::new(AtomicBool::new(false));
        let polite = Arc::clone(&politely);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(failed)?;
        let (mut interrupt, mut terminate) = {
            let _context = runtime.enter();
            let listen = |kind| signal(kind).map_err(failed);
            (
                listen(SignalKind::interrupt())?,
                listen(SignalKind::terminate())?,
            )
        };
        let next = async move || {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        let listener = move || {
            let mut next = next;
            loop {
                runtime.block_on(next());
                let end = !polite.load(Ordering::Relaxed) || ask.send_replace(true);
                end.then(|| std::process::exit(i32::from(Code::Interrupted.entry().exit)));
            }
        };
        let named = std::thread::Builder::new().name("signals".to_owned());
        named.spawn(listener).map_err(failed)?;
        Ok(Self { asked, politely })
    }

    /// One that is never asked.
    #[cfg(test)]
    pub(crate) fn never() -> (watch::Sender<bool>, Self) {
        let (ask, asked) = watch::channel(false);
        (
            ask,
            Self {
                asked,
                politely: Arc::default(),
            },
        )
    }

    /// From here on the first signal only asks; the caller looks at [`Interrupt::asked`].
    pub(crate) fn politely(&self) {
        self.politely.store(true, Ordering::Relaxed);
    }

    /// Whether there was a signal.
    pub(crate) fn asked(&self) -> bool {
        *self.asked.borrow()
    }

    /// Returns at the first signal.
    pub(crate) async fn wait(&self) {
        let mut asked = self.asked.clone();
        if asked.wait_for(|asked| *asked).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
