//! Records that come one by one, just when the reader is falling asleep. Needs root and BPF.
//!
//! What is tested is the protocol between producers and reader, not the machine: the time that the
//! reader or the producer stood ready to run and was given no processor is subtracted from each
//! record's wait, and what a hypervisor withheld from the whole machine meanwhile. A reader that
//! nobody woke is not ready to run, so a lost wake-up stays.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tracer_abi::RecordHeader;
use tracer_probe::{LoadError, bench::Generator, time::BootNanos};

/// How long the reader sleeps if nobody wakes it.
const SLEEP: Duration = Duration::from_secs(20);
/// No record waits longer. After a lost wake-up the records behind it would wake the reader when
/// they fill a quarter of the ring, which takes longer than this in both tests. A pause of the whole
/// machine that no counter tells is shorter.
const LONGEST: Duration = Duration::from_millis(200);
const RINGS: usize = 8 << 20;

/// `short`, or in a full run (`TRACER_FULL=1`) `full`.
fn records(short: u32, full: u32) -> u32 {
    match std::env::var_os("TRACER_FULL") {
        Some(_) => full,
        None => short,
    }
}

/// The reader sleeps whenever it has read all there is, and each record comes while it is about to:
/// it wakes, reads and sleeps again within some tens of microseconds.
#[test]
fn a_reader_that_sleeps_at_once_is_woken_for_every_record() {
    let count = records(60_000, 900_000);
    no_record_waits(Duration::ZERO, Duration::from_micros(100), count);
}

/// The reader falls asleep by its timer: after 2 ms without a record, the first interval after a
/// wake-up, but not before 300 µs.
#[test]
fn a_reader_that_sleeps_by_its_timer_is_woken_for_every_record() {
    let count = records(2_500, 100_000);
    no_record_waits(Duration::from_micros(300), Duration::from_millis(4), count);
}

/// `count` records, each after a pause up to `longest_pause`, for a reader that stays awake for
/// `awake` after a record.
fn no_record_waits(awake: Duration, longest_pause: Duration, count: u32) {
    let mut generator = match Generator::load(RINGS) {
        Ok(generator) => generator,
        Err(LoadError::Obstacle(obstacle)) if std::env::var_os("CI").is_none() => {
            return eprintln!("skipped no_record_waits: {obstacle}");
        }
        Err(error) => panic!("{error}"),
    };
    generator.stay_awake_for(awake);
    let stolen = Stolen::watch();
    let source = generator.source(1).expect("uprobe_multi works");
    let producer = thread::spawn(move || {
        let delay = RunDelay::of_this_thread();
        let longest = u64::try_from(longest_pause.as_nanos()).expect("it is milliseconds");
        // Always the same sequence of pauses.
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut delays = Vec::new();
        for _ in 0..count {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let end = Instant::now() + Duration::from_nanos(random % longest);
            while Instant::now() < end {
                std::hint::spin_loop();
            }
            let before = delay.read();
            source.emit();
            delays.push(delay.read() - before);
        }
        delays
    });

    let delay = RunDelay::of_this_thread();
    let mut looks = Looks::new(&delay);
    let mut received = Vec::new();
    let mut sleeps = 0_u32;
    while received.len() < count as usize {
        generator.wait(SLEEP).expect("epoll works");
        sleeps += 1;
        looks.look(&delay);
        let batches = generator.drain();
        let (now, total) = (BootNanos::now(), delay.read());
        for record in batches.iter().flat_map(|batch| batch.iter()) {
            let (header, _) = RecordHeader::parse(record).expect("records are whole");
            let made = BootNanos(header.time);
            received.push(Received {
                made,
                waited: now.since(made),
                unscheduled: total - looks.delay_at(made),
            });
        }
        looks.look(&delay);
    }
    let delays = producer.join().expect("the producer does not panic");
    assert_eq!(generator.lost().expect("counters are readable"), 0);

    // One thread made them all, so their times tell which is which, whatever rings they went through.
    received.sort_by_key(|record| record.made.0);
    let stolen = stolen.end();
    let (mut waits, mut caused): (Vec<Duration>, Vec<Duration>) = received
        .iter()
        .zip(delays)
        .map(|(record, producer)| {
            let machine = record.unscheduled + producer + stolen.during(record);
            (record.waited, record.waited.saturating_sub(machine))
        })
        .unzip();
    for times in [&mut waits, &mut caused] {
        times.sort_unstable();
    }
    let shown = |times: &[Duration]| {
        let at = |share: usize| times[(times.len() - 1) * share / 10_000];
        format!(
            "{:?} median, {:?} at 99.99 %, {:?} at most",
            at(5_000),
            at(9_999),
            at(10_000)
        )
    };
    eprintln!(
        "{count} records, {sleeps} waits: waited {}; without the time when the machine was busy \
         elsewhere {}",
        shown(&waits),
        shown(&caused)
    );
    assert!(
        sleeps > count / 100,
        "the reader hardly slept: {sleeps} waits"
    );
    let longest = *caused.last().expect("there were records");
    assert!(longest < LONGEST, "{longest:?}");
}

/// A record as it arrived.
struct Received {
    made: BootNanos,
    waited: Duration,
    /// How long the reader stood ready to run meanwhile.
    unscheduled: Duration,
}

/// What a hypervisor has withheld from the machine, by time.
struct Stolen {
    ends: Arc<AtomicBool>,
    watch: thread::JoinHandle<Vec<(BootNanos, Duration)>>,
}

/// The same, when there is no more to come.
struct StolenUntilNow(Vec<(BootNanos, Duration)>);

impl Stolen {
    /// Finer than what a record may wait, coarser than what would disturb.
    const EVERY: Duration = Duration::from_millis(5);

    fn watch() -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&ends);
        let watch = thread::spawn(move || {
            let mut changes = vec![(BootNanos::now(), total_stolen())];
            while !asked.load(Ordering::Relaxed) {
                thread::sleep(Self::EVERY);
                let now = total_stolen();
                if changes.last().is_some_and(|(_, before)| now != *before) {
                    changes.push((BootNanos::now(), now));
                }
            }
            changes
        });
        Self { ends, watch }
    }

    fn end(self) -> StolenUntilNow {
        self.ends.store(true, Ordering::Relaxed);
        StolenUntilNow(self.watch.join().expect("the watch does not panic"))
    }
}

impl StolenUntilNow {
    /// What was withheld while a record waited, or so close to it that it cannot be told apart.
    fn during(&self, record: &Received) -> Duration {
        let margin = 2 * Stolen::EVERY;
        let from = record.made.0.saturating_sub(margin.as_nanos() as u64);
        let to = record.made.after(record.waited).after(margin);
        let at = |time: u64| {
            let before = self.0.partition_point(|(change, _)| change.0 <= time);
            self.0[before.saturating_sub(1)].1
        };
        at(to.0) - at(from)
    }
}

/// Since boot, all processors together: the eighth number of the first line, in hundredths of a
/// second.
fn total_stolen() -> Duration {
    let stat = fs::read_to_string("/proc/stat").expect("proc is mounted");
    let total = stat.split_whitespace().nth(8);
    let ticks: u64 = total.and_then(|ticks| ticks.parse().ok()).unwrap_or(0);
    Duration::from_millis(ticks * 1000 / tracer_abi::USER_HZ)
}

/// How long a thread stood ready to run and had no processor.
struct RunDelay(File);

impl RunDelay {
    fn of_this_thread() -> Self {
        Self(File::open("/proc/thread-self/schedstat").expect("the kernel counts run delays"))
    }

    /// Since the thread began.
    fn read(&self) -> Duration {
        let mut text = [0; 96];
        let length = self.0.read_at(&mut text, 0).expect("proc is readable");
        let text = std::str::from_utf8(&text[..length]).expect("proc writes numbers");
        let delay = text.split_whitespace().nth(1);
        let nanoseconds = delay.and_then(|delay| delay.parse().ok());
        Duration::from_nanos(nanoseconds.expect("the second number is the run delay"))
    }
}

/// The reader's run delay at its last few steps: a record waits for two of them at most.
struct Looks([(BootNanos, Duration); 6]);

impl Looks {
    fn new(delay: &RunDelay) -> Self {
        Self([(BootNanos::now(), delay.read()); 6])
    }

    fn look(&mut self, delay: &RunDelay) {
        self.0.rotate_left(1);
        self.0[5] = (BootNanos::now(), delay.read());
    }

    /// The run delay at the last step before `time`.
    fn delay_at(&self, time: BootNanos) -> Duration {
        let mut before = self.0.iter().rev().filter(|(at, _)| at.0 <= time.0);
        before.next().unwrap_or(&self.0[0]).1
    }
}
