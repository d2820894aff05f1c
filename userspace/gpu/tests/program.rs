//! The program with a library that stands in for NVML, and what its socket says.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use podscope_gpu::document::{Answer, Device, Document, Memory, Node, Utilization};
use podscope_gpu::server::MOST_CONNECTIONS;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(20);

/// A running program; ends with this value.
struct Helper {
    child: Child,
    dir: TempDir,
}

impl Helper {
    /// `flags`: of the compiler of the library; `fault`: how that fails.
    fn start(flags: &[&str], fault: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let library = build(dir.path(), flags);
        let child = launch(dir.path(), &library, fault);
        let helper = Self { child, dir };
        helper.wait();
        helper
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("run/gpu.sock")
    }

    fn wait(&self) {
        let start = Instant::now();
        while UnixStream::connect(self.socket()).is_err() {
            assert!(start.elapsed() < LIMIT, "nobody listens on {}", self.socket().display());
            sleep(Duration::from_millis(20));
        }
    }

    fn answer(&self) -> Answer {
        read(UnixStream::connect(self.socket()).unwrap())
    }

    fn node(&self) -> Node {
        match self.answer() {
            Answer::Node(node) => node,
            Answer::Unavailable(reason) => panic!("{reason}"),
        }
    }

    fn reason(&self) -> String {
        match self.answer() {
            Answer::Unavailable(reason) => reason,
            Answer::Node(node) => panic!("{node:?}"),
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn build(dir: &Path, flags: &[&str]) -> PathBuf {
    let library = dir.join("libnvidia-ml.so.1");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/nvml.c");
    let mut compiler = Command::new("cc");
    let built = compiler.args(["-shared", "-fPIC", "-Wall", "-o"]).arg(&library).arg(source).args(flags).status();
    assert!(built.expect("this test needs cc (apt-get install gcc)").success());
    library
}

fn launch(dir: &Path, library: &Path, fault: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_podscope-gpu"));
    command.arg("--socket").arg(dir.join("run/gpu.sock")).arg("--library").arg(library);
    command.env("NVML_FAULT", fault).env("NVML_PID", "4242").stderr(Stdio::null()).spawn().unwrap()
}

fn read(mut stream: UnixStream) -> Answer {
    let mut bytes = Vec::new();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.read_to_end(&mut bytes).unwrap();
    Document::from_json(&bytes).unwrap().answer
}

#[test]
fn every_connection_gets_what_the_library_says() {
    let helper = Helper::start(&[], "");
    let mode = fs::metadata(helper.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o660);
    let node = helper.node();
    assert_eq!(node.driver.as_deref(), Some("550.54.15"));
    assert_eq!(node.faults, ["GPU 2: device fell off the bus or has otherwise become inacessible"]);
    let [plain, divided] = &node.devices[..] else { panic!("{node:?}") };
    check_plain(plain);
    assert_eq!((divided.uuid.as_str(), divided.pci.as_deref()), ("GPU-2", Some("0000:af:00.0")));
    assert_eq!((divided.mig, divided.utilization, divided.energy_mj), (Some(true), None, None));
    assert_eq!(divided.faults, ["power: an internal driver error occurred"]);
    let instances: Vec<_> = divided.instances.iter().map(|i| (i.uuid.as_str(), i.gpu_instance)).collect();
    assert_eq!(instances, [("MIG-1", Some(5)), ("MIG-3", None)]);
    let [process] = &divided.processes[..] else { panic!("{divided:?}") };
    assert_eq!((process.pid, process.gpu_instance, process.compute_instance), (4242, Some(5), Some(0)));
    assert_eq!((process.compute, process.graphics, process.utilization), (true, false, None));
}

fn check_plain(device: &Device) {
    assert_eq!((device.uuid.as_str(), device.name.as_deref()), ("GPU-1", Some("NVIDIA L4")));
    assert_eq!(device.pci.as_deref(), Some("0000:3b:00.0"));
    assert_eq!(device.utilization, Some(Utilization { gpu: 87, memory: 41 }));
    let (total, used) = (1 << 30, 1 << 20);
    assert_eq!(device.memory, Some(Memory { total, used, free: total - used - 1024 }));
    assert_eq!((device.power_mw, device.energy_mj), (Some(61_532), Some(987_654_321)));
    assert_eq!((device.temperature_c, device.mig), (Some(61), None));
    let [process] = &device.processes[..] else { panic!("{device:?}") };
    assert_eq!((process.pid, process.compute, process.graphics), (4242, true, true));
    assert_eq!((process.memory, process.gpu_instance), (Some(7 << 20), None));
    assert_eq!(process.utilization, Some(Utilization { gpu: 33, memory: 22 }));
    assert_eq!(device.faults, [""; 0]);
}

#[test]
fn an_older_library_leaves_figures_out() {
    let helper = Helper::start(&["-DOLD"], "");
    let devices = helper.node().devices;
    assert_eq!((devices[0].memory, devices[0].faults.len()), (None, 0));
    assert_eq!(devices[0].temperature_c, Some(61));
}

#[test]
fn without_a_driver_or_a_library_the_answer_is_why() {
    let helper = Helper::start(&[], "driver");
    assert!(helper.reason().contains("NVIDIA driver is not loaded"), "{}", helper.reason());

    let dir = tempfile::tempdir().unwrap();
    let child = launch(dir.path(), &dir.path().join("libnvidia-ml.so.1"), "");
    let helper = Helper { child, dir };
    helper.wait();
    assert!(helper.reason().contains("libnvidia-ml.so.1"), "{}", helper.reason());
    build(helper.dir.path(), &[]);
    let start = Instant::now();
    while matches!(helper.answer(), Answer::Unavailable(_)) {
        assert!(start.elapsed() < LIMIT, "the library has come and is not loaded");
        sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_library_that_hangs_holds_nobody_up() {
    let helper = Helper::start(&[], "hang");
    let start = Instant::now();
    assert!(helper.reason().contains("has not answered"));
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

#[test]
fn idle_connections_do_not_keep_others_out_for_long() {
    let helper = Helper::start(&[], "");
    // What they are sent fits into the kernel's buffers, so each is done with at once.
    let idle: Vec<_> = (0..4 * MOST_CONNECTIONS).map(|_| UnixStream::connect(helper.socket()).unwrap()).collect();
    let start = Instant::now();
    loop {
        let mut stream = UnixStream::connect(helper.socket()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        if Document::from_json(&bytes).is_ok() {
            break;
        }
        assert!(start.elapsed() < LIMIT, "nobody is answered any more");
    }
    drop(idle);
}

#[test]
fn a_socket_that_a_dead_helper_left_is_replaced_and_a_living_one_is_not() {
    let mut helper = Helper::start(&[], "");
    let library = helper.dir.path().join("libnvidia-ml.so.1");
    let second = launch(helper.dir.path(), &library, "").wait_with_output().unwrap();
    assert!(!second.status.success(), "two helpers on one socket");
    assert_eq!(helper.node().devices.len(), 2, "the first one still answers");
    helper.child.kill().unwrap();
    helper.child.wait().unwrap();
    assert!(helper.socket().exists());
    helper.child = launch(helper.dir.path(), &library, "");
    helper.wait();
    assert_eq!(helper.node().devices.len(), 2);
}
