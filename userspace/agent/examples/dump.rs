use podscope_agent::kernel::{Kernel, Options, offsets::Wishes};
use podscope_agent::status::Board;
fn main() {
    tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).init();
    let board = Board::default();
    let t = std::time::Instant::now();
    let (mut k, _e) = Kernel::load(&Options { wishes: Wishes { controller: Some("cpuacct"), hierarchy: 2, trace_wait: false }, max_tasks: 10000, max_cgroups: 1024, max_books: 8192, without: vec![], board: board.clone() }).unwrap();
    println!("load {:?}", t.elapsed());
    for _ in 0..3 {
        let t = std::time::Instant::now();
        let mut n = 0; let mut out = vec![];
        k.tasks(|r| { n += 1; if n < 5 || r.pid == std::process::id() { out.push(*r); } }).unwrap();
        println!("{n} tasks {:?}", t.elapsed());
        for r in out { println!("{} {} {:?} exe {:?} run {} since {} wait {} anon {} file {} cg {} flags {:x} kind {}", r.pid, r.tgid, String::from_utf8_lossy(&r.comm), k.exe_name(r.exe), r.raw.run_ns, r.since.run_ns, r.raw.wait_ns, r.anon_pages, r.file_pages, r.cgroup, r.flags, r.kind); }
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    let n = k.books.for_each(|key, b| println!("book {} {:x} run {} lives {:?}", key.cgroup, key.exe, b.sums.run_ns, b.lives)).unwrap();
    println!("{n} books, losses {:?}", k.losses());
    k.closed.for_each(|key, b| println!("closed {} run {} threads {} ended {}", key.tgid, b.sums.run_ns, b.threads, b.ended_ns)).unwrap();
}
