//! The work of a pull: chunks of several files at once, each compared with its signed digest before it counts.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::{JoinSet, spawn_blocking};

use super::backoff::Tries;
use super::fault::Fault;
use super::folder::{Folder, partial_of, target_of};
use super::hash::{self, Part, Prover};
use super::journal::{Entry, Fingerprint, Id};
use super::meter::Meter;
use super::plan::Job;
use super::release::{Release, ReleaseFile};
use super::source::{Source, Sources};
use super::wire::{Trouble, Wire};

/// How often what has arrived is synced to the disk, so that a loss of power costs no more.
const SYNC_EVERY: Duration = Duration::from_secs(5);
/// So often the portal itself may send a chunk that is not what it has signed.
const MISMATCHES_MAX: u32 = 3;
/// A mirror has so many times of patience for what is left of a chunk. The portal may be as slow as the line is.
const MIRROR_PATIENCES: u32 = 5;
/// A connection that brought this much was no failure.
const PROGRESS_BYTES: u64 = 64 << 10;

/// Everything the workers share.
pub(super) struct Work {
    wire: Wire,
    sources: Sources,
    folder: Folder,
    release: Release,
    jobs: Vec<Running>,
    queue: Mutex<Queue>,
    wake: Notify,
    meter: Arc<Meter>,
}

/// A file on its way.
struct Running {
    file: usize,
    open: Mutex<Option<Arc<File>>>,
    left: AtomicUsize,
    inherited: Mutex<Vec<u32>>,
}

struct Queue {
    tasks: VecDeque<Task>,
    unfinished: usize,
}

#[derive(Clone, Copy)]
enum Task {
    Fetch { job: usize, chunk: u32 },
    Finish { job: usize },
}

/// A chunk on its way.
struct Chunk<'a> {
    file: &'a ReleaseFile,
    number: u32,
    start: u64,
    length: u64,
    prover: Prover,
    came: u64,
    /// Whose bytes these are, as long as they are one's alone.
    from: Option<Source>,
}

impl Work {
    /// Everything that `jobs` ask for, in their order.
    pub(super) fn new(wire: Wire, sources: Sources, folder: Folder, release: Release, jobs: Vec<Job>, meter: Arc<Meter>) -> Arc<Self> {
        let mut tasks = VecDeque::new();
        for (at, job) in jobs.iter().enumerate() {
            tasks.extend(job.missing.iter().map(|chunk| Task::Fetch { job: at, chunk: *chunk }));
            if job.missing.is_empty() {
                tasks.push_back(Task::Finish { job: at });
            }
        }
        let running = |job: Job| Running {
            file: job.file,
            open: Mutex::new(None),
            left: AtomicUsize::new(job.missing.len()),
            inherited: Mutex::new(job.inherited),
        };
        let queue = Mutex::new(Queue { tasks, unfinished: jobs.len() });
        let jobs = jobs.into_iter().map(running).collect();
        Arc::new(Self { wire, sources, folder, release, jobs, queue, wake: Notify::new(), meter })
    }

    /// Does it with so many workers; ends with the first fault. What has arrived by then is kept and known to the next run.
    pub(super) async fn run(self: &Arc<Self>, workers: usize) -> Result<(), Fault> {
        let beat = tokio::spawn(beat(self.clone()));
        let mut crew = JoinSet::new();
        self.wire.lanes.at_most(workers);
        (0..workers).for_each(|number| drop(crew.spawn(worker(self.clone(), number))));
        let mut done = Ok(());
        while let Some(ended) = crew.join_next().await {
            let ended = ended.unwrap_or_else(|cause| Err(Fault::Failed(format!("a worker broke down: {cause}"))));
            if ended.is_err() {
                done = ended;
                break;
            }
        }
        crew.shutdown().await;
        beat.abort();
        let work = self.clone();
        let synced = spawn_blocking(move || work.sync()).await.map_err(|cause| Fault::Failed(cause.to_string()))?;
        done.and(synced)
    }

    /// A whole chunk, from whoever sends the right one.
    async fn fetch(&self, job: usize, number: u32) -> Result<(), Fault> {
        let file = &self.release.files[self.jobs[job].file];
        let target = self.open(job)?;
        let (start, length) = file.range(number as usize);
        let mut chunk = Chunk { file, number, start, length, prover: Prover::new(file.proof(number as usize)), came: 0, from: None };
        let (mut tries, mut mismatches) = (Tries::default(), 0);
        loop {
            let source = self.sources.pick(tries.count());
            let before = chunk.came;
            let trouble = match self.stream(&mut chunk, source, &target).await {
                Ok(()) if chunk.prover.is_right() => break,
                Ok(()) => {
                    self.meter.lost(chunk.came);
                    let why = format!("chunk {number} of {} came with other bytes than were signed", file.path);
                    match chunk.from {
                        Some(Source::Portal) => mismatches += 1,
                        Some(mirror) => self.sources.expel(mirror, &why, &self.meter),
                        None => {}
                    }
                    chunk.restart();
                    if mismatches == MISMATCHES_MAX {
                        return Err(Fault::Mismatch(format!(
                            "{why}, {MISMATCHES_MAX} times. Nothing of it was kept; the portal's store, or something on the way, is broken"
                        )));
                    }
                    Trouble::Again(why)
                }
                Err(trouble) => {
                    if chunk.came - before >= PROGRESS_BYTES {
                        tries = Tries::default();
                    }
                    match &trouble {
                        Trouble::Wrong(why) => self.sources.strike(source, why, &self.meter),
                        Trouble::Again(why) | Trouble::Wait(_, why) => self.sources.strike(source, why, &self.meter),
                        Trouble::Final(_) => {}
                    }
                    trouble
                }
            };
            self.wire.recover(trouble, &mut tries, &self.meter).await?;
        }
        self.record(Entry::Chunk { path: Id::of_path(&file.path), chunk: number, digest: Id::of(&file.chunks[number as usize]) })
    }

    /// The rest of a chunk from one source, into the file as it comes. What comes is never the body of an error: `range` sees to it.
    async fn stream(&self, chunk: &mut Chunk<'_>, source: Source, target: &File) -> Result<(), Trouble> {
        chunk.from = if chunk.came == 0 { Some(source) } else { chunk.from.filter(|from| *from == source) };
        let url = self.sources.url(source, &chunk.file.path);
        let ends = Instant::now() + self.wire.patience() * MIRROR_PATIENCES;
        let mut body = self.wire.range(url, chunk.start + chunk.came, chunk.length - chunk.came, chunk.file.size_bytes).await?;
        while let Some(piece) = body.next().await? {
            let written = target.write_all_at(&piece, chunk.start + chunk.came);
            written.map_err(|cause| Trouble::Final(Fault::io("write", &partial_of(self.folder.root(), &chunk.file.path), &cause)))?;
            chunk.prover.update(&piece);
            chunk.came += piece.len() as u64;
            self.meter.came(piece.len() as u64);
            if matches!(source, Source::Mirror(_)) && chunk.came < chunk.length && Instant::now() > ends {
                return Err(Trouble::Again(format!("{} is too slow", body.from)));
            }
        }
        Ok(())
    }

    /// The partial file of a job, opened when its first chunk is.
    fn open(&self, job: usize) -> Result<Arc<File>, Fault> {
        let running = &self.jobs[job];
        let mut open = lock(&running.open);
        if let Some(file) = &*open {
            return Ok(file.clone());
        }
        let file = &self.release.files[running.file];
        let (opened, inode) = self.folder.partial(&file.path, file.size_bytes)?;
        let path = Id::of_path(&file.path);
        let known = self.folder.journal.known().get(&path).and_then(|known| known.inode);
        if known != Some(inode) && lock(&running.inherited).is_empty() {
            self.record(Entry::Begun { path, inode })?;
        }
        let opened = Arc::new(opened);
        *open = Some(opened.clone());
        Ok(opened)
    }

    /// Gives a file its name, unless a chunk that an earlier run has written is not right: such chunks are returned.
    fn complete(&self, job: usize) -> Result<Vec<u32>, Fault> {
        let running = &self.jobs[job];
        let file = &self.release.files[running.file];
        let opened = self.open(job)?;
        let inherited = std::mem::take(&mut *lock(&running.inherited));
        let bad: Vec<u32> = inherited.into_iter().filter(|chunk| !hash::is_right(&opened, &Part::of(file, *chunk as usize))).collect();
        if !bad.is_empty() {
            return Ok(bad);
        }
        let (partial, target) = (partial_of(self.folder.root(), &file.path), target_of(self.folder.root(), &file.path));
        opened.sync_data().map_err(|cause| Fault::io("sync", &partial, &cause))?;
        fs::rename(&partial, &target).map_err(|cause| Fault::io("name", &target, &cause))?;
        let metadata = opened.metadata().map_err(|cause| Fault::io("look at", &target, &cause))?;
        let digest = Id::of(&file.listed());
        self.record(Entry::Done { path: Id::of_path(&file.path), digest, as_it_is: Fingerprint::from(&metadata) })?;
        *lock(&running.open) = None;
        Ok(bad)
    }

    /// Lets what has arrived outlive a loss of power: first the bytes, then the names, then what the journal says of them.
    fn sync(&self) -> Result<(), Fault> {
        let open: Vec<Arc<File>> = self.jobs.iter().filter_map(|job| lock(&job.open).clone()).collect();
        let synced = open.iter().try_for_each(|file| file.sync_data()).and_then(|()| File::open(self.folder.root())?.sync_all());
        synced.and_then(|()| self.folder.journal.sync()).map_err(|cause| Fault::io("sync", self.folder.root(), &cause))
    }

    fn record(&self, entry: Entry) -> Result<(), Fault> {
        self.folder.journal.append(entry).map_err(|cause| Fault::io("keep the journal in", &self.folder.ours(), &cause))
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }
}

impl Chunk<'_> {
    fn restart(&mut self) {
        (self.prover, self.came, self.from) = (Prover::new(self.file.proof(self.number as usize)), 0, None);
    }
}

/// Takes one task after the other, until every file has its name, or there is no lane for this worker any more. The first always has one.
async fn worker(work: Arc<Work>, number: usize) -> Result<(), Fault> {
    loop {
        if number >= work.wire.lanes.open() {
            return Ok(());
        }
        let woken = work.wake.notified();
        tokio::pin!(woken);
        // Before looking: who is told between the look and the wait must not miss it.
        woken.as_mut().enable();
        let task = {
            let mut queue = work.queue();
            if queue.unfinished == 0 {
                return Ok(());
            }
            queue.tasks.pop_front()
        };
        match task {
            None => woken.await,
            Some(Task::Finish { job }) => finish(&work, job).await?,
            Some(Task::Fetch { job, chunk }) => {
                work.fetch(job, chunk).await?;
                if work.jobs[job].left.fetch_sub(1, Ordering::AcqRel) == 1 {
                    finish(&work, job).await?;
                }
            }
        }
    }
}

async fn finish(work: &Arc<Work>, job: usize) -> Result<(), Fault> {
    let worker = work.clone();
    let bad = spawn_blocking(move || worker.complete(job)).await.map_err(|cause| Fault::Failed(cause.to_string()))??;
    {
        let mut queue = work.queue();
        if bad.is_empty() {
            queue.unfinished -= 1;
        } else {
            let file = &work.release.files[work.jobs[job].file];
            work.meter.note(format!(
                "{}: {} chunks on the disk were not what an earlier run had written; fetching them again",
                file.path,
                bad.len()
            ));
            work.meter.lost(bad.iter().map(|chunk| file.range(*chunk as usize).1).sum());
            work.jobs[job].left.store(bad.len(), Ordering::Release);
            queue.tasks.extend(bad.into_iter().map(|chunk| Task::Fetch { job, chunk }));
        }
    }
    work.wake.notify_waiters();
    Ok(())
}

async fn beat(work: Arc<Work>) {
    loop {
        tokio::time::sleep(SYNC_EVERY).await;
        let work = work.clone();
        // What cannot be synced now will be told when it is written, or at the end.
        let _ = spawn_blocking(move || work.sync()).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics while holding this lock")
}
