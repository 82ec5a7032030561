//! Sees that a run does not fill the disk that others need too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::broker::Broker;
use crate::meter::float;
use crate::{files, process};

const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A thread that looks at a broker's data.
#[derive(Debug)]
pub(crate) struct Guard {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<f64>>,
    most: f64,
}

impl Guard {
    /// Kills `broker` when its data takes more than `most` GB.
    pub(crate) fn watch(broker: &Broker, most: f64) -> Self {
        let (home, pid) = (broker.home.clone(), broker.pid);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut peak = 0.0_f64;
            while !stopped.load(Ordering::Relaxed) && peak <= most {
                peak = peak.max(float(files::allocated(&home)?) / 1e9);
                if peak > most && process::is_child(pid) {
                    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
                    if let Some(pid) = pid {
                        kill_process(pid, Signal::KILL)?;
                    }
                }
                thread::sleep(LOOK_EVERY);
            }
            Ok(peak)
        });
        Self { stop, thread, most }
    }

    /// The most that the data took, GB; an error if that was too much.
    pub(crate) fn end(self) -> Result<f64> {
        self.stop.store(true, Ordering::Relaxed);
        let peak = self
            .thread
            .join()
            .map_err(|_panic| anyhow!("the guard panicked"))??;
        let most = self.most;
        ensure!(
            peak <= most,
            "the data took {peak:.3} GB, at most {most} GB are allowed"
        );
        Ok(peak)
    }
}
