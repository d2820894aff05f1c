//! Which processes of a container are published: the top by CPU and by memory, chosen so that it does not flap.

/// A process that could be published.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<K> {
    /// Who.
    pub key: K,
    /// Run time in the last interval.
    pub cpu: u64,
    /// Resident pages.
    pub memory: u64,
    /// Published now, and for how many collections it has not been among the top.
    pub selected: Option<u32>,
}

/// What becomes of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Published, among the top.
    Wanted,
    /// Published, though not among the top for so many collections.
    Kept(u32),
    /// Not published.
    Out,
}

/// Collections for which a published process stays published after it has left the top.
pub const PATIENCE: u32 = 12;

/// Chooses among a container's processes.
///
/// `limit` is the number taken by CPU and by memory each; the whole published set is at most three times that.
/// A process stays published for [`PATIENCE`] collections after it has left the top, unless the bound is reached:
/// then those out of the top for longest go first.
pub fn choose<K: Copy + Ord>(candidates: &[Candidate<K>], limit: usize) -> Vec<(K, Verdict)> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    let mut wanted = vec![candidates.len() <= limit; candidates.len()];
    if limit == 0 {
        return candidates.iter().map(|c| (c.key, Verdict::Out)).collect();
    }
    for figure in [|c: &Candidate<K>| c.cpu, |c: &Candidate<K>| c.memory] {
        if candidates.len() <= limit {
            break;
        }
        // On a tie the published one stays, then the smaller key: an idle container keeps its selection.
        let (top, ..) = order.select_nth_unstable_by(limit, |&a, &b| {
            let (a, b) = (&candidates[a], &candidates[b]);
            figure(b).cmp(&figure(a)).then(b.selected.is_some().cmp(&a.selected.is_some())).then(a.key.cmp(&b.key))
        });
        top.iter().for_each(|&i| wanted[i] = true);
    }
    let mut verdicts: Vec<(K, Verdict)> = candidates
        .iter()
        .zip(&wanted)
        .map(|(c, &wanted)| {
            let verdict = match (wanted, c.selected) {
                (true, _) => Verdict::Wanted,
                (false, Some(unwanted)) if unwanted < PATIENCE => Verdict::Kept(unwanted + 1),
                _ => Verdict::Out,
            };
            (c.key, verdict)
        })
        .collect();
    let mut kept: Vec<usize> = (0..verdicts.len()).filter(|&i| matches!(verdicts[i].1, Verdict::Kept(_))).collect();
    let room = (3 * limit).saturating_sub(verdicts.iter().filter(|(_, v)| *v == Verdict::Wanted).count());
    if kept.len() > room {
        kept.sort_unstable_by_key(|&i| match verdicts[i].1 {
            Verdict::Kept(unwanted) => (unwanted, verdicts[i].0),
            _ => (0, verdicts[i].0),
        });
        kept.drain(..room);
        kept.into_iter().for_each(|i| verdicts[i].1 = Verdict::Out);
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn published(verdicts: &[(u32, Verdict)]) -> Vec<u32> {
        verdicts.iter().filter(|(_, v)| *v != Verdict::Out).map(|(k, _)| *k).collect()
    }

    proptest! {
        #[test]
        fn is_bounded_and_holds_the_top(figures in prop::collection::vec((0u64..50, 0u64..50, prop::option::of(0u32..20)), 0..80), limit in 1usize..12) {
            let candidates: Vec<_> = figures.iter().enumerate()
                .map(|(i, &(cpu, memory, selected))| Candidate { key: i as u32, cpu, memory, selected }).collect();
            let chosen = published(&choose(&candidates, limit));
            prop_assert!(chosen.len() <= 3 * limit);
            let least = candidates.len().min(limit);
            prop_assert!(chosen.len() >= least);
            for figure in [|c: &Candidate<u32>| c.cpu, |c: &Candidate<u32>| c.memory] {
                let mut all: Vec<u64> = candidates.iter().map(figure).collect();
                all.sort_unstable_by(|a, b| b.cmp(a));
                if let Some(&bound) = all.get(limit) {
                    for c in candidates.iter().filter(|c| figure(c) > bound) {
                        prop_assert!(chosen.contains(&c.key));
                    }
                }
            }
        }

        #[test]
        fn does_not_flap_on_equal_figures(count in 1usize..60, limit in 1usize..12) {
            let mut candidates: Vec<_> =
                (0..count as u32).map(|key| Candidate { key, cpu: 0, memory: 7, selected: None }).collect();
            let first = choose(&candidates, limit);
            for (candidate, (_, verdict)) in candidates.iter_mut().zip(&first) {
                candidate.selected = (*verdict != Verdict::Out).then_some(0);
            }
            prop_assert_eq!(published(&choose(&candidates, limit)), published(&first));
        }
    }

    #[test]
    fn one_that_leaves_the_top_stays_for_a_while() {
        let busy = |key, cpu, selected| Candidate { key, cpu, memory: 0, selected };
        let verdicts = choose(&[busy(1, 0, Some(0)), busy(2, 9, None), busy(3, 8, None)], 1);
        assert_eq!(verdicts[0].1, Verdict::Wanted, "it still leads by memory, on the tie");
        let with_memory = |key, cpu, memory, selected| Candidate { key, cpu, memory, selected };
        let verdicts = choose(&[with_memory(1, 0, 0, Some(3)), with_memory(2, 9, 9, None)], 1);
        assert_eq!(verdicts[0].1, Verdict::Kept(4));
        let verdicts = choose(&[with_memory(1, 0, 0, Some(PATIENCE)), with_memory(2, 9, 9, None)], 1);
        assert_eq!(verdicts[0].1, Verdict::Out);
    }
}
