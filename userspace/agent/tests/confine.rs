//! What a confined process can no longer do, and what it still can, on the running kernel. Needs root.
//!
//! Capabilities are kept in these cases, so that it is the confinement that refuses.
#![expect(clippy::unwrap_used, reason = "a test")]

mod alone;

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::Duration;

use alone::{Case, End, cases, proc, runtime};
use aya::programs::BtfTracePoint;
use aya::{Ebpf, EbpfLoader};
use podscope_agent::cgroup::Layout;
use podscope_agent::confine::{Confine, SINCE, Wants, confine};
use podscope_agent::descriptors;
use podscope_agent::kernel::btf::{Btf, VMLINUX};
use podscope_agent::kernel::offsets::{Wishes, resolve};
use podscope_agent::oom::Kmsg;
use podscope_agent::privileges::{Facts, drop_to_needed};
use podscope_agent::status::{Board, Kind, State};
use rustix::io::Errno;
use tempfile::TempDir;

const CASES: &[Case] = cases![
    root_with_all_capabilities_is_refused_what_the_agent_no_longer_does,
    without_a_way_out_no_internet_socket_is_made,
    what_the_agent_still_does_goes_on,
    a_program_is_attached_later_and_again,
    files_and_sockets_that_are_replaced_stay_within_reach,
    switched_off_nothing_is_refused,
];

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    alone::main(CASES)
}

/// A shell that was started before the confinement and does what this process no longer may; ends with it.
struct Hand {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Hand {
    /// `at_end`: what it does when this process has ended, however it has.
    fn start(at_end: &str) -> Self {
        let script = format!("trap '{at_end}' EXIT; while read -r line; do eval \"$line\"; echo; done");
        let mut shell = Command::new("sh");
        let mut child = shell.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, to, from }
    }

    /// Runs a line of shell to its end.
    fn run(&mut self, line: &str) {
        writeln!(self.to, "{line}").unwrap();
        let mut answer = String::new();
        self.from.read_line(&mut answer).unwrap();
        assert_eq!(answer, "\n", "{line}");
    }
}

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/probes-hash"));

/// The kernel programs, of which none is loaded.
fn programs() -> Ebpf {
    let layout = Layout::detect(proc(), "/sys/fs/cgroup".as_ref()).unwrap();
    let (controller, hierarchy) = (layout.accounting.controller, layout.accounting.hierarchy);
    let wishes = Wishes { controller, hierarchy, ..Wishes::default() };
    let offsets = resolve(&Btf::read(VMLINUX.as_ref()).unwrap(), wishes).unwrap();
    let mut loader = EbpfLoader::new();
    loader.override_global("OFFSETS", bytemuck::bytes_of(&offsets), true).map_max_entries("TASKS", 4096);
    loader.load(OBJECT).unwrap()
}

fn tracepoint(ebpf: &mut Ebpf) -> &mut BtfTracePoint {
    ebpf.program_mut("cgroup_rmdir").unwrap().try_into().unwrap()
}

/// Where the attempts take place.
struct Ground {
    folder: TempDir,
    ebpf: RefCell<Ebpf>,
    btf: aya::Btf,
    victim: Hand,
    tcp: TcpListener,
    _unix: [UnixListener; 2],
}

impl Ground {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "text").unwrap();
        let path = folder.path().join("socket");
        let listeners = [UnixListener::bind(path).unwrap(), UnixListener::bind_addr(&hidden()).unwrap()];
        Self {
            folder,
            ebpf: RefCell::new(programs()),
            btf: aya::Btf::from_sys_fs().unwrap(),
            victim: Hand::start(""),
            tcp: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
            _unix: listeners,
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn wants(&self, port: Option<u16>) -> Wants {
        Wants { cgroup_root: "/sys/fs/cgroup".into(), ports: port.into_iter().collect(), ..Wants::default() }
    }
}

/// An address in the abstract name space.
fn hidden() -> SocketAddr {
    SocketAddr::from_abstract_name(format!("podscope-confine-{}", std::process::id())).unwrap()
}

type Attempt = (&'static str, fn(&Ground) -> anyhow::Result<()>);

/// What an attempt was answered, without what it made.
fn done<T, E: Into<anyhow::Error>>(result: Result<T, E>) -> anyhow::Result<()> {
    result.map(drop).map_err(Into::into)
}

/// What no kernel lets a confined process do; in this order each works without confinement.
const REFUSED: &[Attempt] = &[
    ("load a program", |ground| {
        let mut ebpf = ground.ebpf.borrow_mut();
        let program = tracepoint(&mut ebpf);
        program.load("cgroup_rmdir", &ground.btf)?;
        Ok(program.unload()?)
    }),
    ("make maps", |_| done(EbpfLoader::new().map_max_entries("TASKS", 64).load(OBJECT))),
    ("make a file", |ground| done(File::create(ground.at("new")))),
    ("write to a file", |ground| Ok(OpenOptions::new().append(true).open(ground.at("file"))?.write_all(b"more")?)),
    ("rename a file", |ground| done(fs::rename(ground.at("new"), ground.at("old")))),
    ("remove a file", |ground| done(fs::remove_file(ground.at("old")))),
    ("make a folder", |ground| done(fs::create_dir(ground.at("folder")))),
    ("make a link", |ground| done(symlink("file", ground.at("link")))),
    ("change a mode", |ground| done(fs::set_permissions(ground.at("file"), fs::Permissions::from_mode(0o600)))),
    ("make a file without a name", |_| done(rustix::fs::memfd_create("new", rustix::fs::MemfdFlags::empty()))),
    ("execute a program", |_| {
        let status = Command::new("/proc/self/exe").env_clear().arg("--list").stdout(Stdio::null()).status()?;
        anyhow::ensure!(status.success(), "{status}");
        Ok(())
    }),
    ("signal a process", |ground| {
        done(rustix::process::test_kill_process(rustix::process::Pid::from_child(&ground.victim.child)))
    }),
    ("listen", |_| done(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))),
];

/// What Landlock refuses, and from which version of its interface on.
const OUT_OF_REACH: &[(u32, Attempt)] = &[
    (1, ("read a file", |ground| done(fs::read(ground.at("file"))))),
    (1, ("list a folder", |ground| done(fs::read_dir(ground.folder.path())))),
    (1, ("read the memory of a process", |ground| done(File::open(format!("/proc/{}/mem", ground.victim.child.id()))))),
    (4, ("connect to a TCP port", |ground| done(TcpStream::connect(ground.tcp.local_addr()?)))),
    (6, ("connect to an abstract socket", |_| done(UnixStream::connect_addr(&hidden())))),
    (9, ("connect to a UNIX socket", |ground| done(UnixStream::connect(ground.at("socket"))))),
];

/// The kernel's answer.
fn answer(result: anyhow::Result<()>) -> Option<i32> {
    let error = result.err()?;
    let number = error.chain().find_map(|cause| {
        let of_kernel = cause.downcast_ref::<Errno>().map(|errno| errno.raw_os_error());
        of_kernel.or_else(|| cause.downcast_ref::<io::Error>()?.raw_os_error())
    });
    Some(number.unwrap_or_else(|| panic!("no answer of the kernel: {error:#}")))
}

fn assert_refused(name: &str, answered: Option<i32>) {
    let refused = [Errno::PERM, Errno::ACCESS, Errno::NOSYS].map(|errno| Some(errno.raw_os_error()));
    assert!(refused.contains(&answered), "{name}: {answered:?}");
}

/// Confines this process with a board of its own, and returns Landlock's version.
fn confined(wants: &Wants) -> Option<u32> {
    let board = Board::default();
    let interface = confine(Confine::Auto, wants, &board);
    let states = board.all();
    let state = |name: &str| states[&(Kind::Source, name.to_owned())].clone();
    assert_eq!(state("seccomp"), State::Up);
    assert_eq!(state("landlock").is_up(), interface.is_some());
    println!("Landlock's interface: {interface:?}, {:?}", state("landlock"));
    interface
}

fn root_with_all_capabilities_is_refused_what_the_agent_no_longer_does() -> End {
    let ground = Ground::new();
    let receiver = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let out_of_reach = OUT_OF_REACH.iter().map(|(_, attempt)| attempt);
    for (name, attempt) in REFUSED.iter().chain(out_of_reach) {
        assert_eq!(answer(attempt(&ground)), None, "{name} before confinement");
    }
    let interface = confined(&ground.wants(Some(receiver.local_addr()?.port()))).unwrap_or(0);
    for (name, attempt) in REFUSED {
        assert_refused(name, answer(attempt(&ground)));
    }
    for (since, (name, attempt)) in OUT_OF_REACH {
        let answered = answer(attempt(&ground));
        if interface >= *since {
            assert_refused(name, answered);
        } else {
            assert_eq!(answered, None, "{name}: Landlock before {since} is said to leave it open");
        }
    }
    TcpStream::connect(receiver.local_addr()?)?;
    assert!(OUT_OF_REACH.iter().all(|(since, _)| SINCE.iter().any(|(known, ..)| known == since)));

    // Threads that were started since are held as well.
    let folder = ground.folder.path().to_owned();
    let attempts = move || {
        assert_refused("make a file", File::create(folder.join("new")).err().and_then(|e| e.raw_os_error()));
        let read = fs::read(folder.join("file")).err().and_then(|e| e.raw_os_error());
        assert_eq!(read.is_some(), interface > 0, "{read:?}");
        assert_refused("execute", Command::new("true").status().err().and_then(|e| e.raw_os_error()));
    };
    let runtime = runtime();
    let in_blocking = attempts.clone();
    runtime.block_on(runtime.spawn(async move { attempts() }))?;
    runtime.block_on(runtime.spawn_blocking(in_blocking))?;
    Ok(())
}

fn without_a_way_out_no_internet_socket_is_made() -> End {
    let ground = Ground::new();
    confined(&ground.wants(None));
    for address in ["127.0.0.1:9", "[::1]:9"] {
        assert_eq!(TcpStream::connect(address).unwrap_err().raw_os_error(), Some(Errno::PERM.raw_os_error()));
    }
    assert_eq!(UdpSocket::bind("127.0.0.1:0").unwrap_err().raw_os_error(), Some(Errno::PERM.raw_os_error()));
    Ok(())
}

fn what_the_agent_still_does_goes_on() -> End {
    let board = Board::default();
    let (mut kernel, _events) = alone::load(&board)?;
    let mut kmsg = Kmsg::open("/dev/kmsg".as_ref(), &board);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let mut hand = Hand::start("");
    let mut stranger = Command::new("sh");
    let stranger = stranger.args(["-c", "read -r line"]).stdin(Stdio::piped()).uid(65_534).gid(65_534).spawn()?;
    // As before Linux 6.2, where other users' descriptors have to be listed.
    drop_to_needed(&Facts { descriptors_are_told: false, ..Facts::read(proc()) })?;
    confined(&Wants { cgroup_root: "/sys/fs/cgroup".into(), ports: vec![address.port()], ..Wants::default() });
    let runtime = runtime();

    let mut own = 0;
    kernel.tasks(|record| own += u32::from(record.tgid == std::process::id()))?;
    assert!(own >= 4, "{own} of this process's threads");
    assert!(kernel.books.for_each(|_, _| ())? > 0);
    kernel.free_slot(1);
    assert!(kernel.capacities().iter().all(|(_, capacity)| *capacity > 0));
    assert!(kernel.run_stats().contains_key("sched_switch"));
    hand.run("echo 'podscope: a test of reading the log' > /dev/kmsg");
    assert!(kmsg.poll(|_| ()) > 0, "{:?}", board.all());
    assert!(descriptors::count(proc(), hand.child.id()).is_some_and(|count| count >= 3));
    assert!(fs::read_dir(format!("/proc/{}/fd", stranger.id()))?.count() >= 3);
    assert!(fs::read_dir("/sys/fs/cgroup")?.count() > 0);
    for file in ["1/net/dev", "1/mountinfo", "diskstats", "vmstat", &format!("{}/net/dev", stranger.id())] {
        assert!(!fs::read(proc().join(file))?.is_empty(), "{file}");
    }
    assert!(rustix::fs::statvfs("/")?.f_blocks > 0);
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let (connected, accepted) = tokio::join!(tokio::net::TcpStream::connect(address), listener.accept());
        connected.and(accepted.map(|_| ()))?;
        assert!(tokio::net::lookup_host("localhost:1").await?.count() > 0);
        tokio::time::sleep(Duration::from_millis(1)).await;
        io::Result::Ok(())
    })?;
    Ok(())
}

/// Runs of a program so far, as the kernel counts them where it is told to.
fn runs(program: &BtfTracePoint) -> u64 {
    let fd = std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(program.fd().unwrap()));
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
    text.lines().find_map(|line| line.strip_prefix("run_cnt:")?.trim().parse().ok()).unwrap()
}

/// As for a tracepoint of a module that is loaded after the agent's start.
fn a_program_is_attached_later_and_again() -> End {
    const COUNTED: &str = "/proc/sys/kernel/bpf_stats_enabled";
    let before = fs::read_to_string(COUNTED)?;
    let mut hand = Hand::start(&format!("echo {} > {COUNTED}", before.trim()));
    hand.run(&format!("echo 1 > {COUNTED}"));
    let cgroup = Layout::detect(proc(), "/sys/fs/cgroup".as_ref())?.accounting.mount.directory("/podscope-confine");
    let folder = cgroup.ok_or("the root of the hierarchy is not mounted")?;
    let mut event = || hand.run(&format!("mkdir {0} && rmdir {0}", folder.display()));
    let mut ebpf = programs();
    let program = tracepoint(&mut ebpf);
    program.load("cgroup_rmdir", &aya::Btf::from_sys_fs()?)?;

    drop_to_needed(&Facts::read(proc()))?;
    confined(&Wants { cgroup_root: "/sys/fs/cgroup".into(), ..Wants::default() });
    let _threads = runtime();
    event();
    assert_eq!(runs(program), 0);
    let link = program.attach()?;
    event();
    assert_eq!(runs(program), 1);
    program.detach(link)?;
    event();
    assert_eq!(runs(program), 1);
    program.attach()?;
    event();
    assert_eq!(runs(program), 2);
    Ok(())
}

fn files_and_sockets_that_are_replaced_stay_within_reach() -> End {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    // As a secret is mounted in a pod: links into a folder that is exchanged as a whole.
    fs::create_dir_all(at("tls/..1"))?;
    fs::create_dir(at("run"))?;
    fs::write(at("tls/..1/cert.pem"), "first")?;
    symlink("..1", at("tls/..data"))?;
    symlink("..data/cert.pem", at("tls/cert.pem"))?;
    let socket = at("run/runtime.sock");
    let first = UnixListener::bind(&socket)?;
    let other = UnixListener::bind(at("other.sock"))?;
    // The listener that comes later is bound already: only its name is given to it then.
    let second = UnixListener::bind(at("run/next.sock"))?;
    let mut hand = Hand::start("");

    let interface = confined(&Wants {
        cgroup_root: "/sys/fs/cgroup".into(),
        sockets: vec![socket.clone()],
        gpu_sockets: Vec::new(),
        tls_files: vec![at("tls/cert.pem")],
        kube_files: Vec::new(),
        ports: Vec::new(),
    });
    assert_eq!(fs::read_to_string(at("tls/cert.pem"))?, "first");
    UnixStream::connect(&socket)?;
    drop(first);
    let root = folder.path().display();
    hand.run(&format!("cd {root}/tls && mkdir ..2 && echo second > ..2/cert.pem && ln -sfn ..2 ..data && rm -r ..1"));
    hand.run(&format!("cd {root}/run && mv next.sock runtime.sock"));
    assert_eq!(fs::read_to_string(at("tls/cert.pem"))?, "second\n");
    let mut stream = UnixStream::connect(&socket)?;
    drop(second.accept()?);
    assert_eq!(stream.read(&mut [0])?, 0);
    assert_eq!(UnixStream::connect(at("other.sock")).is_err(), interface >= Some(9));
    drop(other);
    hand.run(&format!("rm -r {root}"));
    Ok(())
}

fn switched_off_nothing_is_refused() -> End {
    let ground = Ground::new();
    let board = Board::default();
    assert_eq!(confine(Confine::Off, &ground.wants(None), &board), None);
    for name in ["seccomp", "landlock"] {
        assert_eq!(board.all()[&(Kind::Source, name.to_owned())], State::Off { reason: "--confine off".to_owned() });
    }
    for (name, attempt) in REFUSED {
        assert_eq!(answer(attempt(&ground)), None, "{name}");
    }
    Ok(())
}
