//! `podscope-load`: work of a known shape, to run in containers that are measured.
//!
//! One file on the standard library alone, so that it can be compiled statically with a single call of rustc. Under
//! the name `pause` it waits for ever, as the pause program of a pod does.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

const HELP: &str = "\
usage: podscope-load WORK
  spin MS             burn CPU for MS milliseconds (0: for ever)
  pulse MS EVERY      burn CPU for MS of every EVERY milliseconds, for ever
  sleep MS            sleep for MS milliseconds (0: for ever)
  forks N             start N processes one after another, each burning 1 ms (0: for ever)
  burst N             start N processes one after another, each ending at once
  idle N              N threads that sleep for ever
  threads N MS ROUNDS N threads burn MS milliseconds each and end, ROUNDS times
  together N MS       N threads burn CPU, and after MS milliseconds the process ends with all of them
  mem MB MS           touch MB megabytes of anonymous memory and hold them for MS milliseconds (0: for ever)
  io MB               write MB megabytes to a file in /tmp, sync, read them back and remove the file
  exec-chain NAME MS  burn MS milliseconds, become a program called NAME in /tmp, burn MS milliseconds again
  vcpus N …           N threads with the names of virtual CPUs that sleep; a line M on standard input makes the first
                      two wake each other M times, and is answered with the nanoseconds; the rest is passed over
  mix MS              spinners, short processes, threads, sleepers and memory together for MS milliseconds
";

/// What a short-lived process burns.
const SHORT: Duration = Duration::from_millis(1);
const PAGE: usize = 4096;
const MEGABYTE: usize = 1 << 20;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if args.first().is_some_and(|name| Path::new(name).file_name().is_some_and(|name| name == "pause")) {
        pass(Duration::MAX);
    }
    let words: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
    match work(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("podscope-load {}: {error}", words.join(" "));
            ExitCode::FAILURE
        }
    }
}

fn work(words: &[&str]) -> io::Result<()> {
    match words {
        ["spin", ms] => spin(endless_if_zero(number(ms)?)),
        ["pulse", ms, every] => pulse(millis(ms)?, millis(every)?),
        ["sleep", ms] => pass(endless_if_zero(number(ms)?)),
        ["forks", n] => return forks(number(n)?),
        ["burst", n] => return burst(number(n)?),
        ["end"] => {}
        ["idle", n] => return idle(number(n)?),
        ["threads", n, ms, rounds] => threads(number(n)?, millis(ms)?, number(rounds)?),
        ["together", n, ms] => together(number(n)?, millis(ms)?),
        ["mem", mb, ms] => memory(number(mb)?, endless_if_zero(number(ms)?)),
        ["io", mb] => return disk(number(mb)?),
        ["vcpus", n, ..] => return vcpus(number(n)?),
        ["exec-chain", name, ms] => return exec_chain(name, ms),
        ["mix", ms] => return mix(millis(ms)?),
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, HELP)),
    }
    Ok(())
}

fn number<T: std::str::FromStr>(word: &str) -> io::Result<T> {
    word.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("{word:?} is not a number\n{HELP}")))
}

fn millis(word: &str) -> io::Result<Duration> {
    number(word).map(Duration::from_millis)
}

fn endless_if_zero(ms: u64) -> Duration {
    if ms == 0 { Duration::MAX } else { Duration::from_millis(ms) }
}

/// Burns CPU for a span of wall-clock time.
fn spin(span: Duration) {
    let start = Instant::now();
    while start.elapsed() < span {
        for _ in 0..1000 {
            std::hint::spin_loop();
        }
    }
}

fn pulse(span: Duration, every: Duration) -> ! {
    loop {
        spin(span);
        pass(every.saturating_sub(span));
    }
}

fn pass(span: Duration) {
    thread::sleep(span);
}

/// Runs this program again with other work.
fn again(words: &[&str]) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(words);
    Ok(command)
}

fn forks(count: u64) -> io::Result<()> {
    let mut left = count;
    loop {
        again(&["spin", &SHORT.as_millis().to_string()])?.status()?;
        left = left.wrapping_sub(1);
        if left == 0 {
            return Ok(());
        }
    }
}

fn burst(count: u64) -> io::Result<()> {
    (0..count).try_for_each(|_| again(&["end"])?.status().map(drop))
}

fn idle(count: usize) -> io::Result<()> {
    // The least that the standard library accepts: there may be tens of thousands.
    let sleeper = || thread::Builder::new().stack_size(16 << 10).spawn(|| pass(Duration::MAX));
    let sleepers = (1..count).map(|_| sleeper()).collect::<io::Result<Vec<_>>>()?;
    pass(Duration::MAX);
    drop(sleepers);
    Ok(())
}

fn threads(count: usize, span: Duration, rounds: u64) {
    for _ in 0..rounds {
        thread::scope(|scope| {
            for _ in 0..count {
                scope.spawn(|| spin(span));
            }
        });
    }
}

/// Threads that the end of the process finds at work; `main` returns.
fn together(count: usize, span: Duration) {
    for _ in 0..count {
        thread::spawn(|| spin(Duration::MAX));
    }
    spin(span);
}

fn memory(megabytes: usize, span: Duration) {
    let mut block = vec![0_u8; megabytes * MEGABYTE];
    for page in block.chunks_mut(PAGE) {
        page[0] = 1;
    }
    std::hint::black_box(&block);
    pass(span);
}

fn disk(megabytes: usize) -> io::Result<()> {
    let path = Path::new("/tmp").join(format!("podscope-load-{}", std::process::id()));
    let mut file = File::create(&path)?;
    let block = vec![b'x'; MEGABYTE];
    for _ in 0..megabytes {
        file.write_all(&block)?;
    }
    file.sync_all()?;
    let mut read = Vec::new();
    File::open(&path)?.read_to_end(&mut read)?;
    fs::remove_file(&path)
}

fn exec_chain(name: &str, ms: &str) -> io::Result<()> {
    spin(millis(ms)?);
    let next = Path::new("/tmp").join(name);
    fs::copy(std::env::current_exe()?, &next)?;
    Err(Command::new(next).args(["spin", ms]).exec())
}

/// The threads of an emulator, whose arguments are its own too.
fn vcpus(count: usize) -> io::Result<()> {
    let named = |index: usize| thread::Builder::new().name(format!("CPU {index}/KVM")).stack_size(64 << 10);
    let (mut first, mut second) = UnixStream::pair()?;
    let ((order, orders), (answer, answers)) = (channel::<u64>(), channel());
    let wakes = move || -> io::Result<()> {
        for count in orders {
            let start = Instant::now();
            for _ in 0..count {
                first.write_all(&[0])?;
                first.read_exact(&mut [0])?;
            }
            // Nobody waits for it any more.
            let _gone = answer.send(start.elapsed());
        }
        Ok(())
    };
    named(0).spawn(wakes)?;
    named(1).spawn(move || -> io::Result<()> {
        loop {
            second.read_exact(&mut [0])?;
            second.write_all(&[0])?;
        }
    })?;
    for index in 2..count {
        named(index).spawn(|| pass(Duration::MAX))?;
    }
    for line in io::stdin().lines() {
        order.send(number(&line?)?).map_err(io::Error::other)?;
        println!("{}", answers.recv().map_err(io::Error::other)?.as_nanos());
    }
    pass(Duration::MAX);
    Ok(())
}

/// Runs every kind of work until `span` has passed, and waits for all of it.
fn mix(span: Duration) -> io::Result<()> {
    let ms = span.as_millis().to_string();
    let jobs: [&[&str]; 3] = [&["spin", &ms], &["sleep", &ms], &["mem", "8", &ms]];
    let mut children = jobs.into_iter().map(|job| again(job)?.spawn()).collect::<io::Result<Vec<_>>>()?;
    let start = Instant::now();
    while start.elapsed() < span {
        forks(20)?;
        threads(4, SHORT, 5);
        pass(Duration::from_millis(10));
    }
    for child in &mut children {
        child.wait()?;
    }
    Ok(())
}
