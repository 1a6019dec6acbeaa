//! The CPU quotas of this process's cgroups, and how often the kernel throttled the cgroups for them.
//!
//! `cpu.max` and `cpu.stat` of cgroup v2 (Linux, Documentation/admin-guide/cgroup-v2.rst), `cpu.cfs_quota_us` and `cpu.stat`
//! of v1 (Documentation/scheduler/sched-bwc.rst).

use std::{
    fs,
    path::{Path, PathBuf},
};

use procfs::{
    ProcessCGroups,
    process::{MountInfos, Process},
};

/// The most cgroups with a quota that are read, the innermost first.
const QUOTAS_MAX: usize = 4;

/// The counters of the cgroups that have a quota: the process's own cgroup and its ancestors, as far as they are visible. In
/// a container, the container's own cgroup is visible.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct CpuQuotas([Option<Counted>; QUOTAS_MAX]);

/// The effect of a quota on its cgroup during a measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Throttling {
    /// The quota, in CPUs.
    pub cpus: f64,
    /// The share of periods in which the cgroup used up its quota and was throttled, from 0 to 1.
    pub share: f64,
    /// How long the cgroup was throttled, in seconds, summed over its CPUs.
    pub throttled_s: f64,
}

/// The counters of one cgroup.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Counted {
    /// The cgroup's position in the list of own cgroup and ancestors.
    group: usize,
    /// The quota, in CPUs.
    cpus: f64,
    stat: Stat,
}

/// The quota's counters in the file `cpu.stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stat {
    periods: u64,
    throttled_periods: u64,
    throttled_ns: u64,
}

/// A cgroup's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    folder: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

impl CpuQuotas {
    /// Reads the counters.
    pub(crate) fn now() -> Self {
        let groups = own_groups();
        let mut quotas = Self::default();
        let counted = groups.iter().enumerate().filter_map(|(group, folder)| folder.counted(group));
        quotas.0.iter_mut().zip(counted).for_each(|(place, counted)| *place = Some(counted));
        quotas
    }

    /// The effect since `before` of the quota that throttled in the largest share of its periods. None without a quota.
    pub(crate) fn since(&self, before: &Self) -> Option<Throttling> {
        let earlier = |now: &Counted| before.0.iter().flatten().find(|before| before.group == now.group);
        let each = self.0.iter().flatten().filter_map(|now| Some(now.since(earlier(now)?)));
        each.reduce(|most, next| if next.share > most.share { next } else { most })
    }
}

impl Counted {
    fn since(&self, before: &Self) -> Throttling {
        let difference = |of: fn(&Stat) -> u64| of(&self.stat).saturating_sub(of(&before.stat)) as f64;
        let periods = difference(|stat| stat.periods);
        Throttling {
            cpus: self.cpus,
            // The kernel may update a counter while the file is read.
            share: (difference(|stat| stat.throttled_periods) / periods.max(1.0)).min(1.0),
            throttled_s: difference(|stat| stat.throttled_ns) / 1e9,
        }
    }
}

impl Group {
    /// None without a quota, or without counters.
    fn counted(&self, group: usize) -> Option<Counted> {
        let read = |name| fs::read_to_string(self.folder.join(name)).ok();
        let cpus = match self.version {
            Version::V1 => cpus(&read("cpu.cfs_quota_us")?, &read("cpu.cfs_period_us")?),
            Version::V2 => read("cpu.max")?.split_once(' ').and_then(|(quota, period)| cpus(quota, period)),
        };
        Some(Counted { group, cpus: cpus?, stat: Stat::parse(&read("cpu.stat")?) })
    }
}

impl Stat {
    fn parse(text: &str) -> Self {
        let value = |name: &str| -> Option<u64> {
            text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        };
        let throttled_us = || value("throttled_usec ").map(|us| us.saturating_mul(1_000));
        Self {
            periods: value("nr_periods ").unwrap_or(0),
            throttled_periods: value("nr_throttled ").unwrap_or(0),
            // v1 has another name, and nanoseconds.
            throttled_ns: value("throttled_time ").or_else(throttled_us).unwrap_or(0),
        }
    }
}

/// A quota and its period, both in microseconds, as CPUs; None without a limit (`max` in v2, -1 in v1).
fn cpus(quota: &str, period: &str) -> Option<f64> {
    let quota_us: u64 = quota.trim().parse().ok()?;
    let period_us: u64 = period.trim().parse().ok()?;
    (period_us > 0).then(|| quota_us as f64 / period_us as f64)
}

fn own_groups() -> Vec<Group> {
    let found = || {
        let process = Process::myself().ok()?;
        Some(groups(&process.cgroups().ok()?, &process.mountinfo().ok()?))
    };
    found().unwrap_or_default()
}

/// The folders of a process's cgroups and their ancestors, from its `cgroup` and `mountinfo` files (cgroups(7),
/// proc_pid_mountinfo(5)).
fn groups(cgroups: &ProcessCGroups, mounts: &MountInfos) -> Vec<Group> {
    let of_hierarchy = |version, path: &str, is_its: &dyn Fn(&procfs::process::MountInfo) -> bool| {
        let found = mounts.0.iter().filter(|mount| is_its(mount)).find_map(|mount| {
            let below = Path::new(path).strip_prefix(&mount.root).ok()?;
            Some((mount.mount_point.clone(), below.to_owned()))
        });
        found.map_or_else(Vec::new, |(top, below)| {
            below.ancestors().map(|below| Group { folder: top.join(below), version }).collect()
        })
    };
    let of_process = cgroups.0.iter().flat_map(|cgroup| match cgroup.hierarchy {
        0 => of_hierarchy(Version::V2, &cgroup.pathname, &|mount| mount.fs_type == "cgroup2"),
        _ if cgroup.controllers.iter().any(|controller| controller == "cpu") => {
            of_hierarchy(Version::V1, &cgroup.pathname, &|mount| {
                mount.fs_type == "cgroup" && mount.super_options.contains_key("cpu")
            })
        }
        _ => Vec::new(),
    });
    of_process.collect()
}

#[cfg(test)]
mod tests {
    use procfs::FromBufRead;

    use super::*;

    #[test]
    fn a_quota_is_read_as_cpus() {
        for (quota, period, expected) in [
            ("50000", "100000\n", Some(0.5)),
            ("150000\n", "100000\n", Some(1.5)),
            ("max", "100000\n", None),
            ("-1\n", "100000\n", None),
            ("50000", "0", None),
            ("", "", None),
        ] {
            assert_eq!(cpus(quota, period), expected, "{quota:?} {period:?}");
        }
    }

    #[test]
    fn both_versions_counters_are_read() {
        let v2 = "usage_usec 81\nuser_usec 80\nsystem_usec 1\nnr_periods 12\nnr_throttled 11\nthrottled_usec 600\n\
                  nr_bursts 0\nburst_usec 0\n";
        let v1 = "nr_periods 12\nnr_throttled 11\nthrottled_time 600000\nnr_bursts 0\nburst_time 0\n";
        let expected = Stat { periods: 12, throttled_periods: 11, throttled_ns: 600_000 };
        assert_eq!(Stat::parse(v2), expected);
        assert_eq!(Stat::parse(v1), expected);
        // The root cgroup has no quota.
        assert_eq!(Stat::parse("usage_usec 81\n"), Stat::default());
        assert_eq!(Stat::parse("nr_periods many\n"), Stat::default());
    }

    #[test]
    fn the_groups_around_a_process_are_found() {
        const V2: &str =
            "25 30 0:23 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n";
        const V1: &str = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                          34 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n\
                          41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        // Docker without a cgroup namespace: the mount shows the container's own group.
        const BOUND: &str = "32 31 0:29 /docker/1f /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu,cpuacct\n";
        for (cgroup, mountinfo, expected) in [
            ("0::/\n", V2, &["2 /sys/fs/cgroup"][..]),
            (
                "0::/user.slice/a.scope\n",
                V2,
                &["2 /sys/fs/cgroup/user.slice/a.scope", "2 /sys/fs/cgroup/user.slice", "2 /sys/fs/cgroup"],
            ),
            (
                "3:cpuset:/other\n1:cpu,cpuacct:/box\n0::/\n",
                V1,
                &[
                    "1 /sys/fs/cgroup/cpu,cpuacct/box",
                    "1 /sys/fs/cgroup/cpu,cpuacct",
                    "2 /sys/fs/cgroup/unified",
                ],
            ),
            ("1:cpu,cpuacct:/docker/1f\n", BOUND, &["1 /sys/fs/cgroup/cpu"]),
            // A cgroup outside of the mount.
            ("1:cpu,cpuacct:/\n", BOUND, &[]),
            ("0::/\n", "", &[]),
            ("", V2, &[]),
        ] {
            let cgroups = ProcessCGroups::from_buf_read(cgroup.as_bytes()).unwrap();
            let mounts = MountInfos::from_buf_read(mountinfo.as_bytes()).unwrap();
            let found = groups(&cgroups, &mounts);
            let found: Vec<_> = found
                .iter()
                .map(|Group { folder, version }| {
                    let version = if *version == Version::V1 { 1 } else { 2 };
                    format!("{version} {}", folder.display())
                })
                .map(|line| line.trim_end_matches('/').to_owned())
                .collect();
            assert_eq!(found, expected, "{cgroup:?} in {mountinfo:?}");
        }
    }

    #[test]
    fn a_folder_tells_its_quota() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name, text| fs::write(folder.path().join(name), text).unwrap();
        let group = |version| Group { folder: folder.path().to_owned(), version };
        write("cpu.stat", "nr_periods 5\nnr_throttled 2\nthrottled_usec 7\n");
        // The root cgroup has no file for a limit.
        assert_eq!(group(Version::V2).counted(0), None);
        write("cpu.max", "max 100000\n");
        assert_eq!(group(Version::V2).counted(0), None);
        write("cpu.max", "20000 100000\n");
        let counted = group(Version::V2).counted(0).unwrap();
        assert_eq!((counted.cpus, counted.stat.throttled_ns), (0.2, 7_000));
        write("cpu.cfs_quota_us", "30000\n");
        write("cpu.cfs_period_us", "100000\n");
        assert_eq!(group(Version::V1).counted(0).map(|counted| counted.cpus), Some(0.3));
    }

    #[test]
    fn the_quota_that_limited_the_most_counts() {
        let quotas = |all: &[(f64, u64, u64)]| {
            let mut quotas = CpuQuotas::default();
            for (group, (cpus, periods, throttled_periods)) in all.iter().enumerate() {
                let (periods, throttled_periods) = (*periods, *throttled_periods);
                let stat = Stat { periods, throttled_periods, throttled_ns: throttled_periods * 1_000_000 };
                quotas.0[group] = Some(Counted { group, cpus: *cpus, stat });
            }
            quotas
        };
        let before = quotas(&[(2.0, 100, 10), (0.5, 100, 50)]);
        let after = quotas(&[(2.0, 200, 20), (0.5, 200, 130)]);
        let most = Throttling { cpus: 0.5, share: 0.8, throttled_s: 0.08 };
        assert_eq!(after.since(&before), Some(most));
        // Without a period, nothing was throttled.
        assert_eq!(before.since(&before).map(|none| (none.share, none.throttled_s)), Some((0.0, 0.0)));
        assert_eq!(CpuQuotas::default().since(&CpuQuotas::default()), None);
    }
}
