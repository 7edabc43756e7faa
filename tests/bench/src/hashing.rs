//! How fast model files are hashed, with everything that `tracer verify` does beside: leases, the
//! look at the page cache, idle I/O priority.

mod model;

use std::{
    fs::{self, File},
    io::Write as _,
    num::NonZeroUsize,
    path::Path,
    process::Command,
    thread,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use tracer_integrity::{
    Algorithm, Guarantee,
    hash::{self, Contents, Options, Progress, Target},
    lease::Leases,
    tree::{Symlinks, Tree},
};
use tracer_tests::tracer;

use crate::{
    peer::{self, LeftOut},
    row::{Bar, Row},
};

/// Group on the command line.
pub const GROUP: &str = "hashing";

/// Of OpenSSL's speed.
const LEAST_OF_OPENSSL: f64 = 0.90;
/// Of one core's speed, with two.
const LEAST_OF_TWO_CORES: f64 = 1.8;
const ONE_FILE: u64 = 768 << 20;
const EACH_OF_EIGHT: u64 = 96 << 20;

/// How much to measure.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Figures of each row.
    pub repetitions: usize,
}

/// Measures one file against OpenSSL, eight files on two cores against one, and whole commands against
/// others. A comparison that cannot be made is added to `left_out`.
///
/// # Errors
/// If OpenSSL or a second processor is missing, or a file cannot be hashed.
pub fn measure(extent: Extent, left_out: &mut Vec<LeftOut>) -> Result<Vec<Row>> {
    let bench = Bench::new()?;
    let mut rows = vec![bench.one_file(extent)?, bench.eight_files(extent)?];
    let eight = bench.folder.path().join("eight");
    rows.extend(model::measure(
        &eight,
        8 * EACH_OF_EIGHT,
        extent.repetitions,
        left_out,
    )?);
    Ok(rows)
}

struct Bench {
    folder: tempfile::TempDir,
    leases: Leases,
}

impl Bench {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join("eight"))?;
        write(&folder.path().join("one"), ONE_FILE)?;
        for number in 0..8 {
            write(
                &folder.path().join(format!("eight/{number}")),
                EACH_OF_EIGHT,
            )?;
        }
        let leases = Leases::start(Command::new(tracer::binary()?).arg("lease-keeper"));
        Ok(Self { folder, leases })
    }

    fn one_file(&self, extent: Extent) -> Result<Row> {
        let path = self.folder.path().join("one");
        self.seconds(self.folder.path(), &["one"], 1)?; // the page cache holds it from now on
        let program = peer::distribution("openssl", "openssl")?;
        let version = peer::version(&program, &["version"]);
        let mut ratios = Vec::new();
        for _ in 0..extent.repetitions {
            let openssl = Instant::now();
            let status = Command::new(&program)
                .args(["dgst", "-sha256"])
                .arg(&path)
                .output()
                .context("cannot run `openssl`")?
                .status;
            let openssl = openssl.elapsed().as_secs_f64();
            ensure!(status.success(), "`openssl dgst` ended with {status}");
            ratios.push(openssl / self.seconds(self.folder.path(), &["one"], 1)?);
        }
        Row::judge(
            GROUP,
            "one file, SHA-256, against openssl dgst",
            "x",
            ratios,
            Bar::AtLeast(LEAST_OF_OPENSSL),
            format!(
                "{} MiB in the page cache, one thread; {version}",
                ONE_FILE >> 20
            ),
        )
    }

    fn eight_files(&self, extent: Extent) -> Result<Row> {
        let processors = thread::available_parallelism()?.get();
        ensure!(processors >= 2, "two cores are needed, and there is one");
        let folder = self.folder.path().join("eight");
        let names = ["0", "1", "2", "3", "4", "5", "6", "7"];
        self.seconds(&folder, &names, 2)?;
        let mut ratios = Vec::new();
        for _ in 0..extent.repetitions {
            let one = self.seconds(&folder, &names, 1)?;
            ratios.push(one / self.seconds(&folder, &names, 2)?);
        }
        Row::judge(
            GROUP,
            "eight files on two cores against one",
            "x",
            ratios,
            Bar::AtLeast(LEAST_OF_TWO_CORES),
            format!("{} MiB each in the page cache", EACH_OF_EIGHT >> 20),
        )
    }

    /// Hashes the files and returns how long it took.
    fn seconds(&self, folder: &Path, names: &[&str], workers: usize) -> Result<f64> {
        let tree = Tree::open(folder, Symlinks::Refuse)?;
        let targets: Vec<Target<'_>> = names
            .iter()
            .map(|name| Target {
                contents: Contents::InTree(&tree, name),
                algorithm: Algorithm::Sha256,
                shard_size: None,
                size_hint: 0,
            })
            .collect();
        let options = Options {
            workers: NonZeroUsize::new(workers),
            check_disk: false,
        };
        let start = Instant::now();
        let results = hash::hash(&targets, &self.leases, options, &Progress::default());
        let seconds = start.elapsed().as_secs_f64();
        for result in results {
            let guarantee = result?.assurance.guarantee;
            ensure!(
                guarantee == Guarantee::Leased,
                "a file was hashed with guarantee {guarantee}, not as users get it"
            );
        }
        Ok(seconds)
    }
}

/// Writes bytes that no file system makes a hole of, and waits for the disk.
fn write(path: &Path, size: u64) -> Result<()> {
    let block: Vec<u8> = (0..1_u32 << 20)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let mut file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
    for _ in 0..size >> 20 {
        file.write_all(&block)?;
    }
    Ok(file.sync_all()?)
}
