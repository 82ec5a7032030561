//! The read pool: a few threads that read from disk, so that no thread that serves sockets does.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};

use mulgil_log::access::Sparing;
use mulgil_log::chunk::ChunkFile;
use mulgil_log::fault::{Fault, FaultKind};
use mulgil_log::footer::Footer;
use mulgil_log::index::ColdRead;
use mulgil_log::position::ChunkId;
use mulgil_log::reader::{ReadError, Unlisted};
use mulgil_log::store::ChunkStore;

use crate::lane::{
    Burial, ColdTask, ColdWork, FindFurther, Origin, ReplyTo, max_timestamp, read_limit,
};
use crate::mailbox::lock;
use crate::request::Reply;
use crate::shell::Broker;

mod bury;
mod find;
mod part;
mod queue;

use part::Part;
use queue::{Job, Queue};

/// How many threads read from disk.
const THREADS: usize = 2;

/// How many chunks are kept open, so that a reader that goes through one opens it once.
const OPEN_MAX: usize = 64;

/// Memory for what was found in chunks whose footer is damaged, bytes: a partition whose smallest batches
/// fill a chunk takes about as much, and to find it again costs reading the chunk.
const UNLISTED_BYTES_MAX: usize = 64 << 20;

/// A chunk, a slot of its footer, and whose it is: damaged records share one.
type Extent = (ChunkId, u32, u64);

type Open = (Arc<ChunkFile>, Option<Footer>);

/// Chunks that were read lately, kept open, each with its footer if it has one.
///
/// Who has a chunk open can read it though it is deleted meanwhile.
#[derive(Debug)]
pub struct OpenChunks {
    store: Arc<dyn ChunkStore>,
    open: Mutex<VecDeque<(ChunkId, Open)>>,
    /// What was found in chunks whose footer is damaged, by chunk, slot and partition.
    unlisted: Mutex<VecDeque<(Extent, Arc<Unlisted>)>>,
}

impl OpenChunks {
    /// No chunk is open yet.
    #[must_use]
    pub fn new(store: Arc<dyn ChunkStore>) -> Self {
        Self {
            store,
            open: Mutex::default(),
            unlisted: Mutex::default(),
        }
    }

    fn file(&self, chunk: ChunkId) -> Result<Arc<ChunkFile>, Fault> {
        Ok(self.get(chunk, false)?.0)
    }

    fn sealed(&self, chunk: ChunkId) -> Result<(Arc<ChunkFile>, Footer), Fault> {
        match self.get(chunk, true)? {
            (file, Some(footer)) => Ok((file, footer)),
            (file, None) => footer_of(&file).map(|footer| (file, footer)),
        }
    }

    fn get(&self, chunk: ChunkId, with_footer: bool) -> Result<Open, Fault> {
        let mut open = lock(&self.open);
        let at = open
            .iter()
            .position(|(id, found)| *id == chunk && (found.1.is_some() || !with_footer));
        if let Some(found) = at.and_then(|at| open.remove(at)) {
            open.push_back(found.clone());
            return Ok(found.1);
        }
        drop(open);
        let file = self.store.open_chunk(chunk)?;
        let footer = with_footer.then(|| footer_of(&file)).transpose()?;
        let mut open = lock(&self.open);
        open.retain(|(id, _)| *id != chunk);
        while open.len() >= OPEN_MAX {
            open.pop_front();
        }
        open.push_back((chunk, (Arc::clone(&file), footer)));
        Ok((file, footer))
    }

    /// Reads by the footer of a chunk, or, if that is damaged, by what its entries say of themselves.
    fn by_footer_or_entries<T>(
        &self,
        read: &ColdRead,
        by_footer: impl FnOnce(&Sparing<'_>, &Footer) -> Result<T, ReadError>,
        by_entries: impl FnOnce(&Sparing<'_>, &Unlisted) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let opened = self.sealed(read.chunk).map_err(ReadError::from);
        let listed = opened.and_then(|(file, footer)| by_footer(&Sparing(&file), &footer));
        match listed {
            Err(ReadError::Fault(fault)) if fault.kind == FaultKind::Corrupt => {
                let file = self.file(read.chunk)?;
                let unlisted = self.unlisted(&file, read, &fault)?;
                by_entries(&Sparing(&file), &unlisted)
            }
            other => other,
        }
    }

    /// Where the entries of a partition lie in a chunk whose footer is damaged.
    fn unlisted(
        &self,
        file: &ChunkFile,
        read: &ColdRead,
        damage: &Fault,
    ) -> Result<Arc<Unlisted>, Fault> {
        let key = (read.chunk, read.slot, read.partition);
        let known = |kept: &VecDeque<(Extent, Arc<Unlisted>)>| {
            let found = kept.iter().find(|(of, _)| *of == key);
            found.map(|(_, unlisted)| Arc::clone(unlisted))
        };
        if let Some(unlisted) = known(&lock(&self.unlisted)) {
            return Ok(unlisted);
        }
        tracing::warn!(%damage, partition = read.partition, "entries are read without their footer");
        let kind = file.header().kind;
        let file = Sparing(file);
        let footer = Footer::open_as(&file, kind).ok();
        let found = Unlisted::find(&file, kind, footer.as_ref(), read, &max_timestamp)?;
        let found = Arc::new(found);
        let mut kept = lock(&self.unlisted);
        kept.push_back((key, Arc::clone(&found)));
        let mut bytes: usize = kept.iter().map(|(_, found)| found.memory_bytes()).sum();
        while bytes > UNLISTED_BYTES_MAX && kept.len() > 1 {
            let gone = kept.pop_front();
            bytes -= gone.map_or(0, |(_, gone)| gone.memory_bytes());
        }
        Ok(found)
    }

    /// Lets go of chunks that are gone, so that the system can have their room back.
    pub fn forget(&self, chunks: &[ChunkId]) {
        lock(&self.open).retain(|(id, _)| !chunks.contains(id));
        lock(&self.unlisted).retain(|((id, ..), _)| !chunks.contains(id));
    }
}

/// Figures of the read pool, for operators.
#[derive(Clone, Copy, Debug, Default)]
pub struct PoolFigures {
    /// Reads that wait for a thread.
    pub waiting: usize,
    /// Reads that were ever handed to it.
    pub submitted: u64,
    /// Chunks kept open.
    pub open_chunks: usize,
}

/// Threads that read from disk.
#[derive(Debug)]
pub(crate) struct ReadPool {
    queue: Arc<Queue>,
    chunks: Arc<OpenChunks>,
}

impl ReadPool {
    /// Starts the threads; they end with the pool.
    pub(crate) fn start(store: Arc<dyn ChunkStore>, broker: &Weak<Broker>) -> Self {
        let chunks = Arc::new(OpenChunks::new(store));
        let queue = Arc::<Queue>::default();
        for number in 0..THREADS {
            let (queue, chunks, broker) = (Arc::clone(&queue), Arc::clone(&chunks), broker.clone());
            std::thread::Builder::new()
                .name(format!("read-{number}"))
                .spawn(move || run(&queue, &chunks, &broker))
                .expect("the process may start a thread");
        }
        Self { queue, chunks }
    }

    /// Lets go of chunks that are gone.
    pub(crate) fn forget(&self, chunks: &[ChunkId]) {
        self.chunks.forget(chunks);
    }

    /// Figures for operators.
    pub(crate) fn figures(&self) -> PoolFigures {
        let (waiting, submitted) = self.queue.counts();
        PoolFigures {
            waiting,
            submitted,
            open_chunks: lock(&self.chunks.open).len(),
        }
    }

    /// Hands work to the pool.
    pub(crate) fn submit(&self, work: ColdWork) {
        self.queue.submit(work);
    }

    /// Drops the work of a connection that is gone.
    pub(crate) fn forget_origin(&self, origin: Origin) {
        self.queue.forget(origin);
    }

    /// How much was handed to the pool until now.
    pub(crate) fn submitted(&self) -> u64 {
        self.queue.submitted()
    }

    /// Whether the first `count` pieces that were handed to the pool are done.
    pub(crate) fn has_done(&self, count: u64) -> bool {
        self.queue.has_done(count)
    }
}

impl Drop for ReadPool {
    fn drop(&mut self) {
        self.queue.end();
    }
}

fn run(queue: &Queue, chunks: &OpenChunks, broker: &Weak<Broker>) {
    while let Some(taken) = queue.take() {
        let (number, origin) = (taken.number, taken.origin);
        let carried = match taken.job {
            Job::Part(part) => {
                let filled = part.read(chunks);
                let Some(broker) = broker.upgrade() else {
                    return;
                };
                let bytes_max = read_limit(unsent_bytes(&broker), u32::MAX);
                if let Some((to, reply)) = queue.put(number, origin, filled, bytes_max) {
                    broker.answer(to, reply);
                }
                continue;
            }
            Job::Whole(work) => carry_out(work, chunks, u32::MAX),
        };
        let Some(broker) = broker.upgrade() else {
            return;
        };
        match carried {
            Carried::More(work) => queue.put_back(number, work),
            Carried::Answer(to, reply) => {
                queue.done(number, origin);
                broker.answer(to, reply);
            }
            Carried::Further(further) => {
                if !queue.is_gone(origin) {
                    broker.find_further(further);
                }
                queue.done(number, origin);
            }
            Carried::Buried(burial) => {
                broker.bury(burial);
                queue.done(number, origin);
            }
        }
    }
}

fn unsent_bytes(broker: &Broker) -> usize {
    broker.unsent().load(Ordering::Relaxed)
}

/// What came of work.
#[derive(Debug)]
pub enum Carried {
    /// The answer, and where it goes.
    Answer(ReplyTo, Reply),
    /// What was looked for lies elsewhere, and the lane has to say where:
    /// [`crate::lane::Lane::find_further`].
    Further(FindFurther),
    /// A record is packed for a dead-letter target: [`crate::lane::Lane::bury`].
    Buried(Burial),
    /// There is more to do; others may come first.
    More(ColdWork),
}

/// Does one part of what the lane asked. An answer has at most `bytes_max` bytes, or one batch.
pub fn carry_out(work: ColdWork, chunks: &OpenChunks, bytes_max: u32) -> Carried {
    let ColdWork { to, task } = work;
    match task {
        ColdTask::Read(mut read) => {
            read.bytes_max = read.bytes_max.min(u64::from(bytes_max));
            if let Some(part) = Part::take(&mut read) {
                part.read(chunks).put(&mut read);
            }
            if part::is_whole(&read) {
                return Carried::Answer(to, Reply::Read(read.outcomes));
            }
            let task = ColdTask::Read(read);
            Carried::More(ColdWork { to, task })
        }
        ColdTask::Find(mut find) => {
            if let Some((at, part)) = find.missing.pop_front() {
                find::look(&mut find, at, &part, chunks);
            }
            if !find.missing.is_empty() {
                let task = ColdTask::Find(find);
                return Carried::More(ColdWork { to, task });
            }
            let (outcomes, left) = (find.outcomes, find.left);
            if left.is_empty() {
                return Carried::Answer(to, Reply::FindOffsets(outcomes));
            }
            Carried::Further(FindFurther { to, outcomes, left })
        }
        ColdTask::Bury(task) => Carried::Buried(bury::pack(&task, chunks)),
    }
}

fn footer_of(file: &ChunkFile) -> Result<Footer, Fault> {
    Footer::open_as(&Sparing(file), file.header().kind)
}
