//! A rig's life against the kernel's own account of it: processes, cgroups, mounts, files.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use xtask::rig::{ContainerSpec, Options, PodSpec, Qos, Rig, cgroup};

const LIMIT: Duration = Duration::from_secs(30);

fn work<const N: usize>(words: [&str; N]) -> ContainerSpec {
    ContainerSpec::new("work", ["podscope-load"].into_iter().chain(words))
}

fn proc_file(pid: u32, name: &str) -> Result<String> {
    Ok(fs::read_to_string(format!("/proc/{pid}/{name}"))?)
}

/// Whether a process still runs; one that has ended and waits for its parent has no command line.
fn lives(pid: u32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

/// What of a rig's is left: processes that name its folder, mounts below it, the folder, the pods' cgroups.
fn leftovers(dir: &Path, cgroups: &[String]) -> Vec<String> {
    let name = dir.display().to_string();
    let mut left = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&command).contains(&name) {
            left.push(format!("process {}", entry.path().display()));
        }
    }
    for line in
        fs::read_to_string("/proc/self/mountinfo").unwrap_or_default().lines().filter(|line| line.contains(&name))
    {
        left.push(format!("mount {line}"));
    }
    if dir.exists() {
        left.push(format!("folder {name}"));
    }
    left.extend(cgroups.iter().flat_map(|path| cgroup::dirs(path)).map(|dir| format!("cgroup {}", dir.display())));
    left
}

#[tokio::test]
async fn a_pod_lives_in_its_own_cgroup_and_nothing_is_left_of_it() -> Result<()> {
    let rig = Rig::start(Options::default()).await?;
    let dir = rig.dir().to_path_buf();
    let pod = rig.pod(PodSpec::new("web").namespace("shop").label("app", "web").qos(Qos::Burstable)).await?;
    assert_eq!(pod.cgroup(), format!("/kubepods/burstable/pod{}", pod.uid()));
    let container = pod.container(work(["sleep", "0"]).memory_limit(64 << 20).cpu_limit(200)).await?;

    // The kernel agrees about the process and where it stands.
    let lines = proc_file(container.pid(), "cgroup")?;
    assert!(lines.lines().any(|line| line.ends_with(container.cgroup())), "{} not in\n{lines}", container.cgroup());
    assert_eq!(proc_file(container.pid(), "comm")?.trim(), "podscope-load");
    assert!(!cgroup::dirs(container.cgroup()).is_empty());

    let answer = container.exec(["sh", "-c", "echo out; echo err >&2; cat /proc/self/comm; exit 3"]).await?;
    assert_eq!((answer.code, answer.stdout.as_str(), answer.stderr.as_str()), (3, "out\ncat\n", "err\n"));

    // A second container of the pod, which ends by itself and burned what it was told to.
    let burner = pod.container(ContainerSpec::new("burner", ["podscope-load", "spin", "300"])).await?;
    let (sleeper, whole) = (container.cpu_time()?, cgroup::cpu_time(pod.cgroup())?);
    assert_eq!(burner.wait(LIMIT).await?, 0);
    let (sleeper, whole) = (container.cpu_time()? - sleeper, cgroup::cpu_time(pod.cgroup())? - whole);
    assert!(sleeper < 10_000_000 && whole > 30_000_000, "sleeper burned {sleeper} ns, the pod {whole} ns");

    let cgroups = [pod.cgroup().to_owned()];
    let pid = container.pid();
    pod.remove().await?;
    assert!(cgroup::dirs(&cgroups[0]).is_empty());
    assert!(!lives(pid));
    rig.stop()?;
    assert_eq!(leftovers(&dir, &cgroups), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn containers_outlive_a_restart_of_containerd_and_a_frozen_one_does_not_answer() -> Result<()> {
    let mut rig = Rig::start(Options::default()).await?;
    let pod = rig.pod(PodSpec::new("steady")).await?;
    let container = pod.container(work(["spin", "0"]).cpu_limit(100)).await?;
    let before = container.cpu_time()?;

    rig.restart_containerd().await?;
    assert_eq!(container.exec(["true"]).await?.code, 0);
    assert!(container.cpu_time()? > before);

    rig.freeze()?;
    let call = tokio::time::timeout(Duration::from_millis(500), container.exec(["true"])).await;
    assert!(call.is_err(), "a frozen containerd answered");
    rig.thaw()?;
    assert_eq!(container.exec(["true"]).await?.code, 0);

    let (dir, cgroups, pid) = (rig.dir().to_path_buf(), [pod.cgroup().to_owned()], container.pid());
    rig.freeze()?;
    // Of v1, a frozen process does not die before it is let go.
    let freezer = cgroup::dir("freezer", container.cgroup()).join("freezer.state");
    if freezer.is_file() {
        fs::write(freezer, "FROZEN")?;
    }
    drop(rig);
    assert_eq!(leftovers(&dir, &cgroups), Vec::<String>::new());
    assert!(!lives(pid));
    Ok(())
}

#[test]
fn nothing_is_left_of_a_rig_whose_process_was_killed() -> Result<()> {
    let mut owner =
        Command::new(env!("CARGO_BIN_EXE_xtask")).arg("rig").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(owner.stdout.take().expect("a pipe")).lines();
    let mut field = |name: &str| -> Result<String> {
        for line in lines.by_ref() {
            if let Some(value) = line?.strip_prefix(name) {
                return Ok(value.trim().to_owned());
            }
        }
        bail!("`xtask rig` ended without {name}")
    };
    let pods = [field("pod ")?, field("pod ")?, field("pod ")?];
    let socket = field("socket ")?;
    let dir = Path::new(&socket).parent().expect("a folder").to_path_buf();
    for pod in &pods {
        ensure!(!cgroup::dirs(pod).is_empty(), "{pod} has no cgroup");
    }

    owner.kill()?;
    owner.wait()?;
    let start = Instant::now();
    while !leftovers(&dir, &pods).is_empty() && start.elapsed() < LIMIT {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(leftovers(&dir, &pods), Vec::<String>::new());
    Ok(())
}
