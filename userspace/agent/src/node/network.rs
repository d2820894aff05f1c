//! /proc/…/net: what has passed through the interfaces of a network namespace.

use podscope_catalog::{MetricId, id};

use super::file::{lines, number, numbers, words};
use crate::accounting::points::Points;
use crate::snapshot::Point;
use crate::text::visible;

/// One direction of a line of `net/dev`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Flow {
    bytes: u64,
    packets: u64,
    errors: u64,
    dropped: u64,
    fifo: u64,
    compressed: u64,
}

/// A line of `net/dev`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interface {
    /// Name, shown harmlessly: whoever rules the namespace chooses it.
    pub(crate) name: String,
    /// In and out.
    flows: [Flow; 2],
    frame: u64,
    multicast: u64,
    collisions: u64,
    carrier: u64,
}

/// The metrics of an interface.
#[derive(Debug)]
pub(crate) struct Metrics {
    io: MetricId,
    packets: MetricId,
    dropped: MetricId,
    errors: MetricId,
    faults: MetricId,
    compressed: MetricId,
    multicast: MetricId,
}

/// Those of the node.
pub(crate) const OF_NODE: Metrics = Metrics {
    io: id::SYSTEM_NETWORK_IO,
    packets: id::SYSTEM_NETWORK_PACKETS,
    dropped: id::SYSTEM_NETWORK_DROPPED,
    errors: id::SYSTEM_NETWORK_ERRORS,
    faults: id::NODE_NETWORK_FAULTS,
    compressed: id::NODE_NETWORK_COMPRESSED,
    multicast: id::NODE_NETWORK_MULTICAST,
};

/// Those of a pod.
pub(crate) const OF_POD: Metrics = Metrics {
    io: id::POD_NETWORK_IO,
    packets: id::POD_NETWORK_PACKETS,
    dropped: id::POD_NETWORK_DROPPED,
    errors: id::POD_NETWORK_ERRORS,
    faults: id::POD_NETWORK_FAULTS,
    compressed: id::POD_NETWORK_COMPRESSED,
    multicast: id::POD_NETWORK_MULTICAST,
};

/// The interfaces of a `net/dev` that anything has passed, but for `lo` and what else the name rules out.
pub(crate) fn interfaces(text: &[u8], is_wanted: impl Fn(&[u8]) -> bool) -> impl Iterator<Item = Interface> {
    lines(text).filter_map(move |line| {
        let (name, counters) = line.split_at(line.iter().position(|&byte| byte == b':')?);
        let name = name.trim_ascii_start();
        if name.is_empty() || !is_wanted(name) {
            return None;
        }
        let values: [u64; 16] = numbers(words(&counters[1..]))?;
        values.iter().any(|&value| value > 0).then(|| interface(name, values))
    })
}

fn interface(name: &[u8], values: [u64; 16]) -> Interface {
    let [bytes, packets, errors, dropped, fifo, frame, compressed, multicast, out @ ..] = values;
    let received = Flow { bytes, packets, errors, dropped, fifo, compressed };
    let [bytes, packets, errors, dropped, fifo, collisions, carrier, compressed] = out;
    let sent = Flow { bytes, packets, errors, dropped, fifo, compressed };
    Interface { name: visible(name), flows: [received, sent], frame, multicast, collisions, carrier }
}

/// The host's ends of pods' cables, as the usual networks name them: their traffic is the pods' own.
pub(crate) fn is_cable(name: &[u8]) -> bool {
    ["veth", "cali", "lxc"].iter().any(|prefix| name.starts_with(prefix.as_bytes()))
}

impl Interface {
    /// One that only grows.
    pub(crate) fn total(&self) -> u64 {
        self.flows.iter().fold(0, |total: u64, flow| total.saturating_add(flow.packets))
    }

    pub(crate) fn points(&self, metrics: &Metrics) -> Vec<Point> {
        let mut points = Points::default();
        let rare = |points: &mut Points, metric, at, count| {
            if count > 0 {
                points.int(metric, at, count);
            }
        };
        for (direction, flow) in self.flows.iter().enumerate() {
            points
                .int(metrics.io, direction, flow.bytes)
                .int(metrics.packets, direction, flow.packets)
                .int(metrics.dropped, direction, flow.dropped)
                .int(metrics.errors, direction, flow.errors);
            rare(&mut points, metrics.compressed, direction, flow.compressed);
        }
        let faults = [self.flows[0].fifo, self.frame, self.flows[1].fifo, self.collisions, self.carrier];
        for (fault, count) in faults.into_iter().enumerate() {
            rare(&mut points, metrics.faults, fault, count);
        }
        rare(&mut points, metrics.multicast, 0, self.multicast);
        points.finish()
    }

    /// The points of the whole node, where this is the interface of its default route.
    pub(crate) fn add_to_node(&self, points: &mut Points) {
        for (direction, flow) in self.flows.iter().enumerate() {
            points.int(id::NODE_NETWORK_IO, direction, flow.bytes).int(id::NODE_NETWORK_ERRORS, direction, flow.errors);
        }
    }
}

/// The interface of the default route with the smallest metric, from `net/route`.
pub(crate) fn default_route(text: &[u8]) -> Option<String> {
    const UP: u64 = 1;
    let routes = lines(text).skip(1).filter_map(|line| {
        let fields: Vec<&[u8]> = words(line).collect();
        let [name, destination, _, flags, _, _, metric, mask, ..] = fields[..] else { return None };
        let flags = u64::from_str_radix(std::str::from_utf8(flags).ok()?, 16).ok()?;
        let is_default = destination == b"00000000" && mask == b"00000000" && flags & UP != 0;
        is_default.then_some((number(metric)?, name))
    });
    routes.min().map(|(_, name)| visible(name))
}

/// Sockets in use, in the order of the attribute `podscope.socket.kind`, from `net/sockstat` and `net/sockstat6`.
pub(crate) fn sockets(text: &[u8], of_six: &[u8]) -> [Option<u64>; 5] {
    let value = |text: &[u8], protocol: &str, key: &str| {
        let line = lines(text).find_map(|line| line.strip_prefix(protocol.as_bytes())?.strip_prefix(b":"))?;
        let mut words = words(line);
        words.find(|word| *word == key.as_bytes())?;
        number(words.next()?)
    };
    let used = |protocol: &str| {
        let four = value(text, protocol, "inuse")?;
        Some(four.saturating_add(value(of_six, &format!("{protocol}6"), "inuse").unwrap_or(0)))
    };
    [used("TCP"), value(text, "TCP", "orphan"), value(text, "TCP", "tw"), used("UDP"), used("RAW")]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DEV: &[u8] = b"Inter-|   Receive                            |  Transmit\n \
        face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
        lo: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0\n  \
        ifb0: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n  \
        eth0.100: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n  \
        eth\x1b[2J:1 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n  \
        cut: 1 1 0 0";

    fn value(points: &[Point], metric: MetricId, combination: u8) -> Option<&crate::snapshot::Value> {
        points.iter().find(|point| (point.metric, point.combination) == (metric, combination)).map(|point| &point.value)
    }

    #[test]
    fn every_column_has_its_place() {
        let found: Vec<_> = interfaces(DEV, |name| name != b"lo").collect();
        let [vlan, hostile] = &found[..] else { panic!("{found:?}") };
        assert_eq!((&*vlan.name, vlan.total()), ("eth0.100", 12));
        assert_eq!(hostile.name, r"eth\x1b[2J");
        let points = vlan.points(&OF_POD);
        assert!(points.is_sorted_by_key(|point| (point.metric, point.combination)));
        let int = |metric, at| match value(&points, metric, at) {
            Some(crate::snapshot::Value::Int(value)) => *value,
            other => panic!("{other:?}"),
        };
        let pair = |metric| [int(metric, 0), int(metric, 1)];
        assert_eq!(pair(id::POD_NETWORK_IO), [1, 9]);
        assert_eq!(pair(id::POD_NETWORK_PACKETS), [2, 10]);
        assert_eq!(pair(id::POD_NETWORK_ERRORS), [3, 11]);
        assert_eq!(pair(id::POD_NETWORK_DROPPED), [4, 12]);
        assert_eq!(pair(id::POD_NETWORK_COMPRESSED), [7, 16]);
        assert_eq!([0, 1, 2, 3, 4].map(|at| int(id::POD_NETWORK_FAULTS, at)), [5, 6, 13, 14, 15]);
        assert_eq!(int(id::POD_NETWORK_MULTICAST, 0), 8);
        let quiet = hostile.points(&OF_NODE);
        assert_eq!(quiet.len(), 8, "what has never happened has no series: {quiet:?}");
    }

    #[test]
    fn the_default_route_is_the_one_that_is_up_with_the_smallest_metric() {
        let head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n";
        let routes = |lines: &str| default_route(format!("{head}{lines}").as_bytes());
        let wan = "wan0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0 \n";
        let lan = "lan0\t00000000\t010200C0\t0003\t0\t0\t50\t00000000\t0\t0\t0\n";
        let down = "old0\t00000000\t010200C0\t0002\t0\t0\t1\t00000000\t0\t0\t0\n";
        let near = "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        assert_eq!(routes(&[wan, lan, down, near].concat()).as_deref(), Some("lan0"));
        assert_eq!(routes(&[down, near].concat()), None);
    }

    #[test]
    fn sockets_of_both_protocols_are_added() {
        let four =
            b"sockets: used 15\nTCP: inuse 4 orphan 1 tw 156 alloc 9 mem 123\nUDP: inuse 2 mem 0\nRAW: inuse 0\n";
        let six = b"TCP6: inuse 3\nUDP6: inuse 5\nRAW6: inuse 1\n";
        assert_eq!(sockets(four, six), [7, 1, 156, 7, 1].map(Some));
        assert_eq!(sockets(four, b""), [4, 1, 156, 2, 0].map(Some));
        assert_eq!(sockets(b"TCP: inuse", six), [None; 5]);
    }

    proptest! {
        #[test]
        fn any_text_is_accepted(text in any::<Vec<u8>>(), near in "(eth0|:| |TCP|inuse |00000000\t|0003\t|[0-9]{0,21}|\n){0,40}") {
            for text in [&text[..], near.as_bytes()] {
                interfaces(text, |_| true).for_each(|interface| drop(interface.points(&OF_NODE)));
                default_route(text);
                sockets(text, text);
            }
        }
    }
}
