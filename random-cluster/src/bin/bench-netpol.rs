//! Time and memory of `netpol list` and `netpol why` on clusters of several sizes, and how they grow.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use clap::Parser;
use nix::sys::resource::{UsageWho, getrusage};
use random_cluster::large::{Size, cluster};

/// Measure netpol on random clusters of several sizes
///
/// For each size and command a line: the quickest of the runs, the largest memory of one, and the
/// lines of the answer. With --other, the other program's `list` too, and by how much it is slower.
#[derive(Debug, Parser)]
struct Cli {
    /// The program netpol
    #[arg(long, default_value = "target/release/netpol")]
    netpol: PathBuf,

    /// Another analyser's command; {} stands for the folder with the manifests
    #[arg(long)]
    other: Option<String>,

    /// Workloads x policies, several times
    #[arg(long = "size", default_values = ["100x10", "1000x10", "1000x200", "1000x1000", "10000x1000"])]
    sizes: Vec<String>,

    /// How often each command is run
    #[arg(long, default_value_t = 3)]
    runs: u32,

    /// Runs this one command, and prints what it took; this program calls itself so
    #[arg(long, hide = true, num_args = 1.., allow_hyphen_values = true)]
    once: Option<Vec<OsString>>,
}

/// What a run of a command took.
struct Figures {
    seconds: f64,
    kilobytes: i64,
    lines: usize,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    if let Some(command) = cli.once {
        let figures = measure(&command)?;
        println!("{} {} {}", figures.seconds, figures.kilobytes, figures.lines);
        return Ok(());
    }
    println!("{:>12} {:>6} {:>9} {:>8} {:>9}", "size", "", "s", "MB", "lines");
    for text in &cli.sizes {
        let (workloads, policies) =
            text.split_once('x').with_context(|| format!("{text:?}: expected 1000x200"))?;
        let size = Size { workloads: workloads.parse()?, policies: policies.parse()? };
        let folder = Folder::with(size)?;
        let of = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let netpol = cli.netpol.to_string_lossy().into_owned();
        let path = folder.0.to_string_lossy().into_owned();
        let list = best(cli.runs, &of(&[&netpol, "list", &path]))?;
        print_line(text, "list", &list);
        let (source, destination) = ("namespace-0/app-0", "namespace-0/app-1:80");
        print_line(
            text,
            "why",
            &best(cli.runs, &of(&[&netpol, "why", source, destination, &path]))?,
        );
        if let Some(other) = &cli.other {
            let command: Vec<_> =
                other.split_whitespace().map(|word| word.replace("{}", &path)).collect();
            let command: Vec<_> = command.iter().map(String::as_str).collect();
            let other = best(1, &of(&command))?;
            print_line(text, "other", &other);
            println!("{:>12} {:>6} {:>8.1}x", "", "", other.seconds / list.seconds);
        }
    }
    Ok(())
}

fn print_line(size: &str, what: &str, figures: &Figures) {
    let Figures { seconds, kilobytes, lines } = figures;
    println!("{size:>12} {what:>6} {seconds:>9.3} {:>8} {lines:>9}", kilobytes / 1024);
}

/// The quickest of several runs, each measured by a process of its own: memory is known of all children
/// of a process together.
fn best(runs: u32, command: &[OsString]) -> anyhow::Result<Figures> {
    let mut best: Option<Figures> = None;
    for _ in 0..runs {
        let output = Command::new(std::env::current_exe()?).arg("--once").args(command).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout)?;
        let [seconds, kilobytes, lines] = text.split_whitespace().collect::<Vec<_>>()[..] else {
            bail!("expected three figures: {text:?}");
        };
        let figures = Figures {
            seconds: seconds.parse()?,
            kilobytes: kilobytes.parse()?,
            lines: lines.parse()?,
        };
        if best.as_ref().is_none_or(|best| figures.seconds < best.seconds) {
            best = Some(figures);
        }
    }
    best.context("at least one run")
}

fn measure(command: &[OsString]) -> anyhow::Result<Figures> {
    let (program, arguments) = command.split_first().context("a command")?;
    let start = Instant::now();
    let mut child = Command::new(program)
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let mut counter = LineCounter(0);
    std::io::copy(child.stdout.as_mut().context("its output")?, &mut counter)?;
    let status = child.wait()?;
    let seconds = start.elapsed().as_secs_f64();
    // "Unknown" is an answer too.
    let has_answered = matches!(status.code(), Some(0 | 3));
    ensure!(has_answered, "{} failed: {status}", program.display());
    let kilobytes = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss();
    Ok(Figures { seconds, kilobytes, lines: counter.0 })
}

struct LineCounter(usize);

impl Write for LineCounter {
    fn write(&mut self, part: &[u8]) -> std::io::Result<usize> {
        self.0 += part.split(|byte| *byte == b'\n').count() - 1;
        Ok(part.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A folder with the manifests of a cluster, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn with(size: Size) -> anyhow::Result<Self> {
        let folder =
            Self(std::env::temp_dir().join(format!("bench-netpol-{}", std::process::id())));
        std::fs::create_dir_all(&folder.0)?;
        let lines: Vec<_> =
            cluster(size, 1).iter().map(|object| format!("---\n{object}\n")).collect();
        std::fs::write(Path::new(&folder.0).join("cluster.yaml"), lines.concat())?;
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
