#![allow(clippy::unwrap_used)]

use std::fs::File;

use super::*;
use crate::kernel::cache::Key;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A cache with kernels that were used so many days ago.
fn cache(days: &[u32]) -> (tempfile::TempDir, Cache, Vec<Key>) {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::at(dir.path().join("cache"));
    let keys: Vec<Key> = days
        .iter()
        .map(|days| {
            let key = Key::new("apt", [days.to_string().as_bytes()]);
            let path = cache.root().join("kernels").join(key.to_string());
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("image"), vec![b'x'; 10_000]).unwrap();
            let used = SystemTime::now() - DAY * *days;
            File::open(&path).unwrap().set_modified(used).unwrap();
            key
        })
        .collect();
    (dir, cache, keys)
}

fn left(cache: &Cache) -> usize {
    cached_kernels(cache).unwrap().len()
}

fn keep(newest: usize, days: u32) -> Keep {
    Keep {
        newest,
        within: DAY * days,
        files_within: DAY * days,
    }
}

#[test]
fn what_is_old_goes_but_for_the_newest() {
    let (_dir, cache, keys) = cache(&[40, 1, 35, 50]);
    let pruned = prune(&cache, keep(2, 30), true).unwrap();
    let names: Vec<&str> = pruned.iter().map(|p| p.kernel.key.as_str()).collect();
    assert_eq!(names, [keys[0].to_string(), keys[3].to_string()]);
    assert_eq!(left(&cache), 4, "a dry run removes nothing");
    assert_eq!(prune(&cache, keep(2, 30), false).unwrap(), pruned);
    assert_eq!(left(&cache), 2);
    assert_eq!(prune(&cache, keep(0, 30), false).unwrap().len(), 1);
    assert_eq!(left(&cache), 1);
}

#[test]
fn what_somebody_uses_or_fills_stays() {
    let (_dir, cache, keys) = cache(&[40, 41]);
    let other = Cache::at(cache.root());
    // Not whole, so that it is taken for nothing: the lock is what counts.
    let _ = other.provide(&keys[0], "k", &crate::kernel::Progress::silent(), |_| {
        let pruned = prune(&cache, keep(0, 30), false).unwrap();
        assert_eq!(pruned.len(), 1, "the damaged one is gone, and being filled");
        assert!(!pruned[0].in_use);
        Err(Error::NoCacheDirectory)
    });
    let (_dir, cache, keys) = self::cache(&[40, 41]);
    let held = cache.lock(&format!("{}.used", keys[1]), || {}).unwrap();
    let pruned = prune(&cache, keep(0, 30), false).unwrap();
    let in_use: Vec<bool> = pruned.iter().map(|pruned| pruned.in_use).collect();
    assert_eq!(in_use, [false, true]);
    assert_eq!(left(&cache), 1);
    drop(held);
    prune(&cache, keep(0, 30), false).unwrap();
    assert_eq!(left(&cache), 0);
}

#[test]
fn nothing_outside_the_cache_and_nothing_that_is_not_its_own_is_removed() {
    let (dir, cache, keys) = cache(&[40]);
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "x").unwrap();
    let kernels = cache.root().join("kernels");
    let link = kernels.join(format!("path-{}", "a".repeat(24)));
    std::os::unix::fs::symlink(&outside, &link).unwrap();
    std::os::unix::fs::symlink(&outside, kernels.join(keys[0].to_string()).join("link")).unwrap();
    let used = SystemTime::now() - DAY * 40;
    let kernel = kernels.join(keys[0].to_string());
    File::open(&kernel).unwrap().set_modified(used).unwrap();
    for name in ["mine", "apt-0123", "apt-ABCDEF0123456789ABCDEF01", "-"] {
        fs::create_dir(kernels.join(name)).unwrap();
    }
    assert_eq!(prune(&cache, keep(0, 0), false).unwrap().len(), 1);
    assert!(outside.join("file").exists() && link.exists());
    assert_eq!(fs::read_dir(&kernels).unwrap().count(), 5);
}

#[test]
fn a_download_that_somebody_waits_for_stays_and_an_old_one_goes() {
    let (_dir, cache, _) = cache(&[]);
    let downloads = cache.subdirectory("downloads").unwrap();
    for (name, age) in [("now.deb", 0), ("old.deb", 2)] {
        let file = File::create(downloads.join(name)).unwrap();
        file.set_modified(SystemTime::now() - DAY * age).unwrap();
    }
    prune(&cache, keep(0, 3), false).unwrap();
    assert_eq!(fs::read_dir(&downloads).unwrap().count(), 2);
    prune(&cache, keep(0, 0), false).unwrap();
    assert!(downloads.join("now.deb").exists() && !downloads.join("old.deb").exists());
}

#[test]
fn a_saved_vm_that_was_not_used_for_long_goes() {
    let (_dir, cache, _) = cache(&[]);
    let snapshots = cache.subdirectory("snapshots").unwrap();
    for (name, age) in [("used", 0), ("old", 2)] {
        fs::create_dir(snapshots.join(name)).unwrap();
        fs::write(snapshots.join(name).join("memory"), "x").unwrap();
        let dir = File::open(snapshots.join(name)).unwrap();
        dir.set_modified(SystemTime::now() - DAY * age).unwrap();
    }
    prune(&cache, keep(0, 3), false).unwrap();
    assert_eq!(fs::read_dir(&snapshots).unwrap().count(), 2);
    prune(&cache, keep(0, 0), false).unwrap();
    assert!(snapshots.join("used").exists() && !snapshots.join("old").exists());
}

#[test]
fn a_prune_that_was_killed_is_finished_by_the_next() {
    let (_dir, cache, keys) = cache(&[1]);
    let kernels = cache.root().join("kernels");
    let hidden = kernels.join(format!("{REMOVED}{}", keys[0]));
    fs::rename(kernels.join(keys[0].to_string()), &hidden).unwrap();
    assert_eq!(left(&cache), 0);
    prune(&cache, keep(9, 30), true).unwrap();
    assert!(hidden.exists());
    prune(&cache, keep(9, 30), false).unwrap();
    assert!(!hidden.exists());
}

#[test]
fn a_cache_that_is_not_there_is_empty() {
    assert_eq!(cached_kernels(&Cache::at("/nowhere/kiln")).unwrap(), []);
}
