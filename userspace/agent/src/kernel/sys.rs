//! The `bpf(2)` map commands that aya has no call for: whole hash maps in one call, typed by `bytemuck`.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd};

use aya::maps::MapData;
use bytemuck::{Pod, Zeroable};

const MAP_LOOKUP: u32 = 1;
const MAP_UPDATE: u32 = 2;
const MAP_DELETE: u32 = 3;
const MAP_LOOKUP_BATCH: u32 = 24;

/// Entries asked for at once.
const BATCH: usize = 512;

/// `union bpf_attr`, commands on one element.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Element {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// `union bpf_attr`, batch commands.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    element_flags: u64,
    flags: u64,
}

fn bpf<T: Pod>(command: u32, attributes: &mut T) -> io::Result<()> {
    // SAFETY: the attributes are plain data of the size passed, and every pointer in them is to a buffer that
    // the caller keeps alive and that has the map's key or value size times the count.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), std::mem::size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A map whose keys and values are plain data.
pub struct Table<K, V> {
    map: MapData,
    keys: Vec<K>,
    values: Vec<V>,
    types: PhantomData<(K, V)>,
}

impl<K: Pod, V: Pod> Table<K, V> {
    /// Takes a map over.
    ///
    /// # Errors
    /// When the map's key or value size is not that of `K` or `V`.
    pub fn new(map: MapData) -> io::Result<Self> {
        let info = map.info().map_err(io::Error::other)?;
        let sizes = (info.key_size() as usize, info.value_size() as usize);
        if sizes != (size_of::<K>(), size_of::<V>()) {
            return Err(io::Error::other(format!("map {:?} has sizes {sizes:?}", info.name_as_str())));
        }
        Ok(Self { map, keys: Vec::new(), values: Vec::new(), types: PhantomData })
    }

    fn fd(&self) -> u32 {
        self.map.fd().as_fd().as_raw_fd() as u32
    }

    fn element(&self, key: &K, value: u64) -> Element {
        Element { map_fd: self.fd(), pad: 0, key: std::ptr::from_ref(key) as u64, value, flags: 0 }
    }

    /// Reads a value.
    pub fn get(&self, key: &K) -> Option<V> {
        let mut value = V::zeroed();
        let at = std::ptr::from_mut(&mut value) as u64;
        bpf(MAP_LOOKUP, &mut self.element(key, at)).ok().map(|()| value)
    }

    /// Writes a value.
    ///
    /// # Errors
    /// The kernel's, E2BIG when the map is full.
    pub fn set(&self, key: &K, value: &V) -> io::Result<()> {
        bpf(MAP_UPDATE, &mut self.element(key, std::ptr::from_ref(value) as u64))
    }

    /// Removes an entry; that it is gone already is no error.
    pub fn remove(&self, key: &K) {
        let _gone_already = bpf(MAP_DELETE, &mut self.element(key, 0));
    }

    /// Calls `each` for every entry and returns how many there were.
    ///
    /// # Errors
    /// The kernel's.
    pub fn for_each(&mut self, mut each: impl FnMut(&K, &V)) -> io::Result<usize> {
        let mut want = BATCH;
        let mut token = 0u64;
        let mut first = true;
        let mut total = 0;
        loop {
            self.keys.resize(want, K::zeroed());
            self.values.resize(want, V::zeroed());
            let mut next = 0u64;
            let mut batch = Batch {
                in_batch: if first { 0 } else { std::ptr::from_ref(&token) as u64 },
                out_batch: std::ptr::from_mut(&mut next) as u64,
                keys: self.keys.as_mut_ptr() as u64,
                values: self.values.as_mut_ptr() as u64,
                count: want as u32,
                map_fd: self.fd(),
                element_flags: 0,
                flags: 0,
            };
            let result = bpf(MAP_LOOKUP_BATCH, &mut batch);
            let end = match result {
                Ok(()) => false,
                // The end of the map: the count is valid all the same.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
                // A bucket has more entries than were asked for.
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                    want *= 2;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let count = (batch.count as usize).min(want);
            for (key, value) in self.keys[..count].iter().zip(&self.values[..count]) {
                each(key, value);
            }
            total += count;
            if end {
                return Ok(total);
            }
            (token, first) = (next, false);
        }
    }

    /// Entries it can hold.
    pub fn capacity(&self) -> u32 {
        self.map.info().map_or(0, |info| info.max_entries())
    }
}
